//! The files that modules are mapped from, so that a file that is open is not opened again.
//!
//! A module that lives keeps its file from being deleted, so no other file has the same numbers of
//! device and inode meanwhile. And nobody writes to the file, by the contract of [`Module::open`].
//! So a path that leads to a file with these numbers leads to what is mapped. To ask the system
//! where a path leads is one system call. Length and times of the file are compared as well: if
//! somebody wrote to it against the contract, it is opened anew.
//!
//! This is only for files that are mapped as they are. Where the caller requires more, as with
//! [`Module::open_sealed`], the content may have changed since the last time, and counts.
//!
//! A thread that finds the lock taken does without it. So nobody waits, neither for another thread
//! nor in a child process whose parent forked while a thread held the lock.
//!
//! [`Module::open`]: crate::Module::open
//! [`Module::open_sealed`]: crate::Module::open_sealed

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};

use crate::sys::file_id::FileId;
use crate::vm::module::MappedModule;

/// The number of paths that may be known without a look at whether their modules are gone.
const FEW: usize = 64;

struct Opened {
    by_path: BTreeMap<OsString, (FileId, Weak<MappedModule>)>,
    /// Above this number of paths, those whose modules are gone are removed.
    most: usize,
}

static OPENED: Mutex<Opened> = Mutex::new(Opened {
    by_path: BTreeMap::new(),
    most: FEW,
});

/// The module that is mapped from the file that `path` leads to now, if it was opened by this path
/// and still lives.
pub(crate) fn find(path: &Path) -> Option<Arc<MappedModule>> {
    let (id, module) = {
        let opened = lock()?;
        let (id, module) = opened.by_path.get(path.as_os_str())?;
        (*id, module.upgrade()?)
    };
    let data = path.metadata().ok()?;
    (FileId::of(&data) == id).then_some(module)
}

/// Remembers that a module was mapped from the file that `path` leads to.
pub(crate) fn remember(path: &Path, id: FileId, module: &Arc<MappedModule>) {
    if let Some(mut opened) = lock() {
        opened.add(path.as_os_str(), (id, Arc::downgrade(module)));
    }
}

fn lock() -> Option<MutexGuard<'static, Opened>> {
    match OPENED.try_lock() {
        Ok(opened) => Some(opened),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl Opened {
    fn add(&mut self, path: &OsStr, entry: (FileId, Weak<MappedModule>)) {
        if let Some(known) = self.by_path.get_mut(path) {
            *known = entry;
            return;
        }
        if self.by_path.len() >= self.most {
            self.by_path
                .retain(|_, (_, module)| module.strong_count() > 0);
            // So that a look at all of them is rare.
            self.most = FEW.max(2 * self.by_path.len());
        }
        self.by_path.insert(path.to_owned(), entry);
    }
}
