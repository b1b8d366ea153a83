//! Reads every entry, to find damage that seals cannot detect.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use crate::directory::Directory;
use crate::entry::{Remedy, Unusable, check, discard, may_be_ours, one_name, open};
use crate::lock::{FileLock, Locked};
use crate::{Error, Key, budget};

/// What [`CompilationCache::verify`](crate::CompilationCache::verify) found out about one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The key of the entry.
    pub key: Key,
    /// The path of the entry's file.
    pub path: PathBuf,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// What is wrong with the entry. `None` if it is whole.
    pub fault: Option<String>,
    /// Whether the file was removed: deleted if precast wrote it, moved aside if not.
    pub removed: bool,
}

pub(crate) fn verify(directory: &Directory) -> Result<Vec<Verified>, Error> {
    let mut all = Vec::new();
    for entry in budget::entries(directory)? {
        let Some(result) = check_at(directory, &entry.key)? else {
            continue;
        };
        let mut removed = false;
        if result.is_err() && directory.is_writable() {
            // Under the lock nobody replaces the entry between the second check and its removal.
            let lock = FileLock::take(&directory.lock(&entry.key), Duration::from_secs(1));
            if let Ok(Locked::Yes(..)) = lock
                && let Some(Err(fault)) = check_at(directory, &entry.key)?
                && fault.remedy != Remedy::Leave
            {
                removed = discard(directory, &entry.key, fault.remedy).is_ok();
            }
        }
        all.push(Verified {
            key: entry.key,
            path: entry.path,
            bytes: entry.bytes,
            fault: result.err().map(|fault| fault.reason),
            removed,
        });
    }
    Ok(all)
}

/// Checks an entry in full. `None` if the entry was removed meanwhile.
///
/// # Errors
/// [`Error::File`] if the file cannot be opened.
fn check_at(directory: &Directory, key: &Key) -> Result<Option<Result<(), Unusable>>, Error> {
    let path = directory.entry(key);
    let mut file = match open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("open", path)(error)),
    };
    let found = file
        .metadata()
        .map_err(Error::file("read the size of", path))?;
    let fault = may_be_ours(&found).and_then(|()| one_name(&found));
    Ok(Some(
        fault.and_then(|()| check(&mut file, &found, None).map(drop)),
    ))
}
