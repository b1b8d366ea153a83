//! Files of a [`MemoryFs`]: their contents, and handles of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Account, CHANGED, MODIFIED, MemoryFs, NODE, set, stat};
use crate::errno::{Errno, Result};
use crate::fs::{File, FileKind, Stat, Times, read_at};

/// A file. Its names and its handles keep it alive.
pub(super) struct FileNode {
    ino: u64,
    content: Mutex<Content>,
    account: Arc<Account>,
}

pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// The number of bytes that are charged for `bytes`, which never grows beyond this number.
    charged: u64,
    pub(super) nlink: u64,
    pub(super) times: [Duration; 3],
}

impl Drop for FileNode {
    fn drop(&mut self) {
        self.account.release(NODE + self.content().charged);
    }
}

impl FileNode {
    /// An empty file with one name.
    pub(super) fn new(ino: u64, now: Duration, account: &Arc<Account>) -> Arc<Self> {
        let content = Content {
            bytes: Vec::new(),
            charged: 0,
            nlink: 1,
            times: [now; 3],
        };
        Arc::new(Self {
            ino,
            content: Mutex::new(content),
            account: Arc::clone(account),
        })
    }

    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    pub(super) fn stat(&self, ino: u64) -> Stat {
        stat(
            FileKind::File,
            ino,
            self.nlink,
            self.bytes.len() as u64,
            self.times,
        )
    }

    /// Makes room for `len` bytes, and for twice the former size if the limit allows that.
    fn reserve(&mut self, len: u64, account: &Account) -> Result<()> {
        if len <= self.charged {
            return Ok(());
        }
        let double = len.max(self.charged.saturating_mul(2));
        let wanted = match account.charge(double - self.charged) {
            Ok(()) => double,
            Err(_) => {
                account.charge(len - self.charged)?;
                len
            }
        };
        let more = usize::try_from(wanted)
            .ok()
            .map(|all| all - self.bytes.len());
        if more.is_none_or(|more| self.bytes.try_reserve_exact(more).is_err()) {
            account.release(wanted - self.charged);
            return Err(Errno::NOMEM);
        }
        self.charged = wanted;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], offset: u64, account: &Account) -> Result<usize> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        self.reserve(end, account)?;
        let (start, end) = (offset as usize, end as usize);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

/// An open file.
pub(super) struct Handle {
    pub(super) node: Arc<FileNode>,
    pub(super) fs: MemoryFs,
    pub(super) write: bool,
}

impl Handle {
    /// Changes the content, and its times.
    fn change<R>(&self, change: impl FnOnce(&mut Content, &Account) -> Result<R>) -> Result<R> {
        if !self.write {
            return Err(Errno::BADF);
        }
        let now = self.fs.now();
        let mut content = self.node.content();
        let result = change(&mut content, &self.node.account)?;
        (content.times[MODIFIED], content.times[CHANGED]) = (now, now);
        Ok(result)
    }
}

impl File for Handle {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
        Ok(read_at(&self.node.content().bytes, bytes, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        self.change(|content, account| content.write(bytes, offset, account))
    }

    fn append(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.change(|content, account| content.write(bytes, content.bytes.len() as u64, account))
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.node.content().stat(self.node.ino))
    }

    fn set_len(&self, len: u64) -> Result<(), Errno> {
        self.change(|content, account| {
            content.reserve(len, account)?;
            let len = len as usize;
            content.bytes.resize(len, 0);
            // Up to half of the room may stay unused, for later writes.
            if len < content.bytes.capacity() / 2 {
                content.bytes.shrink_to(len);
                account.release(content.charged - len as u64);
                content.charged = len as u64;
            }
            Ok(())
        })
    }

    fn set_times(&self, times: Times) -> Result<(), Errno> {
        let now = self.fs.now();
        set(&mut self.node.content().times, times, now);
        Ok(())
    }
}
