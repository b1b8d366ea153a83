//! Reading every entry, to find what the seals cannot tell.

use std::path::PathBuf;
use std::time::Duration;

use crate::directory::{Directory, is_trusted};
use crate::entry::{Unusable, check, discard, one_name, open};
use crate::lock::{FileLock, Locked};
use crate::{Error, Key, budget};

/// What [`CompilationCache::verify`](crate::CompilationCache::verify) found in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Key of the entry.
    pub key: Key,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes of the file.
    pub bytes: u64,
    /// What is wrong with it, if anything is.
    pub fault: Option<String>,
    /// It is no longer there: deleted if precast wrote it, moved aside if not.
    pub removed: bool,
}

pub(crate) fn verify(directory: &Directory) -> Result<Vec<Verified>, Error> {
    let mut all = Vec::new();
    for entry in budget::entries(directory)? {
        let Some(result) = check_at(directory, &entry.key) else {
            continue;
        };
        let mut removed = false;
        if result.is_err() && directory.is_writable() {
            // Nobody replaces it between the second look and its removal.
            let lock = FileLock::take(&directory.lock(&entry.key), Duration::from_secs(1));
            if let Ok(Locked::Yes(..)) = lock
                && let Some(Err(fault)) = check_at(directory, &entry.key)
            {
                removed = discard(directory, &entry.key, fault.foreign).is_ok();
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

/// Whether an entry is whole; nothing when it is gone meanwhile.
fn check_at(directory: &Directory, key: &Key) -> Option<Result<(), Unusable>> {
    let mut file = open(&directory.entry(key)).ok()?;
    let found = file.metadata().ok()?;
    if !is_trusted(&found) {
        return Some(Err(Unusable {
            reason: crate::directory::distrust(&found),
            foreign: true,
        }));
    }
    Some(one_name(&found).and_then(|()| check(&mut file, &found, None).map(drop)))
}
