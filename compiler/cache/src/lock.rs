//! Locks between processes: files that are locked while somebody writes what they stand for.
//!
//! The lock belongs to the open file, so it ends with its process, however that ends; a lock file
//! that is left over locks nothing. Whoever holds the lock removes the file before letting go, and
//! whoever gets a lock checks that the file is still the one at the path: otherwise two could hold
//! "the" lock, one on a removed file and one on its successor.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    /// Locked; closing it unlocks.
    _file: File,
}

/// Whether waiting is over.
#[derive(Debug)]
pub(crate) enum Locked {
    /// The lock, and whether somebody else had it first.
    Yes(FileLock, bool),
    /// Somebody else has it, for longer than the patience lasts.
    No,
}

impl FileLock {
    /// Takes the lock at `path`, waiting for at most `patience`.
    ///
    /// Polls: a blocking lock could not be given up, and a holder that is stopped, or whose
    /// children inherited the open file, may keep it for ever. The wait between two looks grows
    /// to 10 ms, which is little beside a compilation.
    pub(crate) fn take(path: &Path, patience: Duration) -> io::Result<Locked> {
        // A pipe must not make us wait, a link must not lead elsewhere.
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
                // Of a file that its last holder has removed.
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

    /// Removes a lock file that nobody holds; says whether it did.
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
        // If it cannot be removed, it stays, unlocked: as good.
        fs::remove_file(&self.path).ok();
    }
}

/// Whether the open file is the one at `path`.
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
        let path = std::env::temp_dir().join(format!("precast-lock-{}", std::process::id()));
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
