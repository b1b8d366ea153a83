//! The files that modules are mapped from, so that a file that is open is not opened again.
//!
//! A module that lives keeps its file from being deleted, so no other file has the same numbers of
//! device and inode meanwhile. And nobody writes to the file, by the contract of [`Module::open`].
//! So a path that leads to a file with these numbers leads to what is mapped. Finding the file that
//! a path leads to takes one system call. The length and the times of the file are compared as
//! well: if somebody wrote to the file against the contract, it is opened anew.
//!
//! This is only for files that are mapped as they are. [`Module::open_sealed`] and the functions
//! that verify a file do not use it: they must see the present content, which may have changed
//! since the last time.
//!
//! Threads that look for a path do so at the same time. A thread that finds the lock taken by one
//! that notes a path tries again a few times, and then does without it ([`lock_if_free`]).
//!
//! [`Module::open`]: crate::Module::open
//! [`Module::open_sealed`]: crate::Module::open_sealed

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Arc, RwLock, Weak};

use crate::lock::lock_if_free;
use crate::sys::file_id::FileId;
use crate::vm::module::MappedModule;

/// Up to this number of paths, the loader does not look for modules that are gone.
const FEW: usize = 64;

struct Opened {
    by_path: BTreeMap<OsString, (FileId, Weak<MappedModule>)>,
    /// Above this number of paths, those whose modules are gone are removed.
    max: usize,
}

static OPENED: RwLock<Opened> = RwLock::new(Opened {
    by_path: BTreeMap::new(),
    max: FEW,
});

/// The module that is mapped from the file that `path` leads to now, if it was opened by this path
/// and still lives.
pub(crate) fn find(path: &Path) -> Option<Arc<MappedModule>> {
    let (id, module) = {
        let opened = lock_if_free(|| OPENED.try_read())?;
        let (id, module) = opened.by_path.get(path.as_os_str())?;
        (*id, module.upgrade()?)
    };
    let data = path.metadata().ok()?;
    (FileId::of(&data) == id).then_some(module)
}

/// Remembers that a module was mapped from the file that `path` leads to.
pub(crate) fn remember(path: &Path, id: FileId, module: &Arc<MappedModule>) {
    if let Some(mut opened) = lock_if_free(|| OPENED.try_write()) {
        opened.add(path.as_os_str(), (id, Arc::downgrade(module)));
    }
}

impl Opened {
    fn add(&mut self, path: &OsStr, entry: (FileId, Weak<MappedModule>)) {
        if let Some(known) = self.by_path.get_mut(path) {
            // A thread that could not take the lock has opened the file once more. The entry stays,
            // so that the other threads find the same module as before.
            if known.0 != entry.0 || known.1.strong_count() == 0 {
                *known = entry;
            }
            return;
        }
        if self.by_path.len() >= self.max {
            self.by_path
                .retain(|_, (_, module)| module.strong_count() > 0);
            // The bound doubles, so all paths are looked at only rarely.
            self.max = FEW.max(2 * self.by_path.len());
        }
        self.by_path.insert(path.to_owned(), entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_whose_modules_are_gone_are_forgotten() {
        let file = std::fs::File::open("/dev/null").and_then(|file| file.metadata());
        let id = FileId::of(&file.expect("a file that is always there"));
        let mut opened = Opened {
            by_path: BTreeMap::new(),
            max: FEW,
        };
        for i in 0..10 * FEW {
            opened.add(OsStr::new(&i.to_string()), (id, Weak::new()));
            assert!(opened.by_path.len() <= FEW && opened.max == FEW);
        }
    }
}
