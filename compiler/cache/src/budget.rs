//! Lists what is in the directory, and removes from it: entries by age or size, the leftovers of
//! crashed processes, or everything.
//!
//! Removing an entry only removes its name: a process that has mapped the entry keeps the mapping.
//! One process at a time evicts entries. A process that finds another process evicting does
//! nothing.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use crate::callback::event;
use crate::directory::{Directory, Name};
use crate::lock::{FileLock, Locked, is_at};
use crate::policy::{Candidate, superfluous};
use crate::{Error, Key, source};

/// How old a temporary file must be before it counts as left over by a crashed process. A living
/// process holds a lock on its temporary file. The age covers the moment before the lock is taken,
/// and file systems without locks.
const TEMPORARIES_LIVE: Duration = Duration::from_secs(60);

/// One entry, as its directory shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The key of the entry.
    pub key: Key,
    /// The path of the entry's file.
    pub path: PathBuf,
    /// Size of the artifact in bytes.
    pub bytes: u64,
    /// When the entry was written, or last checked in full.
    pub written: SystemTime,
    /// When the entry was last used, to about a day.
    pub used: SystemTime,
    /// Whether the entry is kept whatever the budget.
    pub pinned: bool,
}

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Number of entries.
    pub entries: u64,
    /// Size of all entries in bytes.
    pub bytes: u64,
    /// Number of pinned entries.
    pub pinned: u64,
    /// Number of temporary files: entries that are being written, or that were being written when
    /// their process died.
    pub temporaries: u64,
    /// Number of files that had the name of an entry but were not written by precast. The cache
    /// moved them aside and never deletes them.
    pub foreign: u64,
    /// The last use of the entry that was used least recently.
    pub oldest_use: Option<SystemTime>,
    /// The last use of the entry that was used most recently.
    pub newest_use: Option<SystemTime>,
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Removed {
    /// Number of entries.
    pub entries: u64,
    /// Size of these entries in bytes. Zero for a cache in memory.
    pub bytes: u64,
    /// Number of left-over temporary files and locks, and of old digests of module files.
    pub leftovers: u64,
}

/// All entries, the least recently used first.
pub(crate) fn entries(directory: &Directory) -> Result<Vec<Entry>, Error> {
    let names = names(directory)?;
    let pinned: HashSet<Key> = names
        .iter()
        .filter_map(|(name, _)| match name {
            Name::Pin(key) => Some(*key),
            _ => None,
        })
        .collect();
    let mut entries: Vec<Entry> = names
        .into_iter()
        .filter_map(|(name, path)| {
            let Name::Entry(key) = name else {
                return None;
            };
            // Only a regular file is an entry. Other processes may remove entries meanwhile, so a
            // missing file is skipped.
            let data = fs::symlink_metadata(&path)
                .ok()
                .filter(fs::Metadata::is_file)?;
            Some(Entry {
                key,
                path,
                bytes: data.len(),
                written: data.modified().ok()?,
                used: data.accessed().ok()?,
                pinned: pinned.contains(&key),
            })
        })
        .collect();
    entries.sort_by_key(|entry| (entry.used, entry.key));
    Ok(entries)
}

pub(crate) fn usage(directory: &Directory) -> Result<Usage, Error> {
    let entries = entries(directory)?;
    let mut usage = Usage {
        entries: entries.len() as u64,
        bytes: entries.iter().map(|entry| entry.bytes).sum(),
        pinned: entries.iter().filter(|entry| entry.pinned).count() as u64,
        oldest_use: entries.first().map(|entry| entry.used),
        newest_use: entries.last().map(|entry| entry.used),
        ..Usage::default()
    };
    for (name, _) in names(directory)? {
        match name {
            Name::Temporary => usage.temporaries += 1,
            Name::Foreign => usage.foreign += 1,
            Name::Entry(_) | Name::Lock(_) | Name::Pin(_) | Name::Source => {}
        }
    }
    Ok(usage)
}

/// Removes entries that were not used for `max_age`, then the least recently used ones until the
/// rest fits in `max_bytes`, but no pinned ones. Then removes the leftovers of crashed processes.
pub(crate) fn prune(
    directory: &Directory,
    max_bytes: Option<u64>,
    max_age: Option<Duration>,
) -> Result<Removed, Error> {
    let path = directory.prune_lock();
    let _lock = match FileLock::take(&path, Duration::ZERO) {
        Ok(Locked::Yes(lock, _)) => Some(lock),
        Ok(Locked::No) => return Ok(Removed::default()),
        // The disk is full, or the file system has no locks. Two processes that evict at the same
        // time do no harm.
        Err(_) => None,
    };
    let entries = entries(directory)?;
    let now = SystemTime::now();
    let candidates = entries.iter().enumerate().map(|(id, entry)| Candidate {
        id,
        bytes: entry.bytes,
        // A time in the future (the clock was set back) counts as recent.
        unused_for: now.duration_since(entry.used).unwrap_or_default(),
        pinned: entry.pinned,
    });
    let mut removed = Removed::default();
    for id in superfluous(candidates.collect(), max_bytes, max_age) {
        let entry = &entries[id];
        if remove(&entry.path)? {
            event!(debug, key = %entry.key, bytes = entry.bytes, "evicted");
            removed.entries += 1;
            removed.bytes += entry.bytes;
        }
    }
    removed.leftovers = sweep(directory, TEMPORARIES_LIVE)?;
    Ok(removed)
}

/// Removes the leftovers of processes that died while they wrote.
pub(crate) fn sweep_crashed(directory: &Directory) -> Result<u64, Error> {
    sweep(directory, TEMPORARIES_LIVE)
}

fn sweep(directory: &Directory, older_than: Duration) -> Result<u64, Error> {
    let mut count = 0;
    for (name, path) in names(directory)? {
        let gone = match name {
            Name::Temporary => is_abandoned(&path, older_than) && remove(&path)?,
            Name::Lock(_) => FileLock::sweep(&path),
            Name::Source => is_older(&path, source::RECORDS_LIVE) && remove(&path)?,
            Name::Entry(_) | Name::Pin(_) | Name::Foreign => false,
        };
        count += u64::from(gone);
    }
    Ok(count)
}

/// Removes everything that precast wrote, pinned or not.
pub(crate) fn clear(directory: &Directory) -> Result<Removed, Error> {
    let mut removed = Removed::default();
    for entry in entries(directory)? {
        // A file with the name of an entry that precast did not write is not deleted. The next
        // lookup of that entry moves the file aside.
        if crate::entry::is_ours(&entry.path) && remove(&entry.path)? {
            removed.entries += 1;
            removed.bytes += entry.bytes;
        }
    }
    for (name, path) in names(directory)? {
        if let Name::Pin(_) | Name::Source = name {
            remove(&path)?;
        }
    }
    removed.leftovers = sweep(directory, Duration::ZERO)?;
    Ok(removed)
}

/// Pins an entry (`on`) or unpins it.
pub(crate) fn pin(directory: &Directory, key: &Key, on: bool) -> Result<(), Error> {
    let path = directory.pin(key);
    if on {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(&path)
            .map(drop)
            .map_err(Error::file("create", path))
    } else {
        remove(&path).map(drop)
    }
}

fn is_abandoned(path: &Path, older_than: Duration) -> bool {
    let Ok(file) = crate::entry::open(path) else {
        return false;
    };
    is_older(path, older_than) && file.try_lock().is_ok() && is_at(&file, path)
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|data| data.modified());
    modified.is_ok_and(|modified| {
        let found = SystemTime::now().duration_since(modified);
        found.is_ok_and(|found| found >= age)
    })
}

/// Removes a file. Returns whether it existed.
fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::file("remove", path)(error)),
    }
}

fn names(directory: &Directory) -> Result<Vec<(Name, PathBuf)>, Error> {
    directory
        .names()
        .map_err(Error::file("list", &directory.entries))
}
