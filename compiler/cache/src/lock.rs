//! Locks between processes, made of lock files.
//!
//! The lock belongs to the open file, so it ends when its process ends, in whatever way. A lock
//! file that is left over locks nothing. The holder removes the lock file before it unlocks. So a
//! process that gets a lock checks that its open file is still the one at the path: otherwise two
//! processes could hold the lock, one through a removed file and one through the file that replaced
//! it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

/// A held lock. Dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    /// The locked file. Closing it unlocks.
    _file: File,
}

/// The result of taking a lock.
#[derive(Debug)]
pub(crate) enum Locked {
    /// The lock, and whether this process had to wait for it.
    Yes(FileLock, bool),
    /// Another process held the lock until the patience was over.
    No,
}

impl FileLock {
    /// Takes the lock at `path`, and waits for it for at most `patience`.
    ///
    /// The wait is a poll, because a blocking call could not be given up, and a holder that is
    /// stopped, or whose children inherited the open file, may keep the lock for ever. The pause
    /// between two attempts grows to 10 ms, which is short compared to a compilation.
    pub(crate) fn take(path: &Path, patience: Duration) -> io::Result<Locked> {
        // Opening must not wait for the other end of a pipe, and must not follow a link.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let start = Instant::now();
        let mut pause = Duration::from_micros(500);
        let mut waited = false;
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(flags.bits().cast_signed())
                .open(path)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is not a file"));
            }
            match file.try_lock() {
                Ok(()) if is_at(&file, path) => {
                    let path = path.to_owned();
                    return Ok(Locked::Yes(Self { path, _file: file }, waited));
                }
                // The last holder has removed this file.
                Ok(()) => continue,
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => waited = true,
            }
            if start.elapsed() >= patience {
                return Ok(Locked::No);
            }
            sleep(pause);
            pause = (2 * pause).min(Duration::from_millis(10));
        }
    }

    /// Removes a lock file that nobody holds. Returns whether it was removed.
    pub(crate) fn sweep(path: &Path) -> bool {
        match Self::take(path, Duration::ZERO) {
            Ok(Locked::Yes(lock, _)) => {
                drop(lock);
                true
            }
            Ok(Locked::No) | Err(_) => false,
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // A file that cannot be removed stays, but it is unlocked and so does no harm.
        fs::remove_file(&self.path).ok();
    }
}

/// Whether the open file is the file at `path`.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let there = fs::symlink_metadata(path).map(|m| (m.dev(), m.ino()));
    let open = file.metadata().map(|m| (m.dev(), m.ino()));
    matches!((there, open), (Ok(there), Ok(open)) if there == open)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_holder_at_a_time_and_no_file_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let holders = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = FileLock::take(&path, Duration::from_secs(60)).unwrap();
                        assert!(matches!(lock, Locked::Yes(..)));
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        holders.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(!path.exists());
        let Locked::Yes(held, false) = FileLock::take(&path, Duration::ZERO).unwrap() else {
            panic!("nobody else has it");
        };
        assert!(matches!(
            FileLock::take(&path, Duration::from_millis(5)).unwrap(),
            Locked::No
        ));
        assert!(!FileLock::sweep(&path));
        drop(held);
        assert!(!path.exists());
        File::create(&path).unwrap();
        assert!(FileLock::sweep(&path) && !path.exists(), "left over");
    }
}
