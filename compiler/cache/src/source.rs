//! The digests of module files, so that a hit neither reads nor hashes a file that did not change.
//!
//! A record holds the digest that a file had. It identifies the file by device and inode number,
//! and the file's state by length, modification time and change time. Writing to a file or
//! replacing it changes one of these, and no program can set the change time. The clock may be too
//! coarse to tell two writes apart, though: a file that changed less than [`SETTLED`] before it was
//! read gets no record, as in the index of git.
//!
//! Some file systems have no change time of their own and report the modification time, which
//! programs can set: squashfs, EROFS, ISO 9660, FAT. Images of the same build at different versions
//! often have one time in all of their files, and the same numbers of device and inode when one is
//! mounted in the place of the other. Such times are in whole [`COARSE`] units, so a file with such
//! a change time gets no record. Other clocks give such a time for one file in millions.
//!
//! One kind of change is not seen: a program that has mapped the file and writes to pages that it
//! has written to before, until the system writes these pages to the disk. No compiler or linker
//! does this to a file that it has completed.
//!
//! ```text
//!   u64 × 7: device, inode, length, modified (s, ns), changed (s, ns)
//!   32 bytes: the BLAKE3 digest of the file
//!   32 bytes: the BLAKE3 digest of everything before
//! ```
//! A process that gets a module of 30 MB from the cache, runs it and ends took 1.25 times as long
//! as one that opens the artifact by name, and 14 times as long when it hashed the file (medians of
//! 25 interleaved runs).
//!
//! Records are trusted like entries, by their owner and mode. A damaged record is a miss.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::directory::Directory;
use crate::{Error, Key, entry};

/// How long a file must not have changed before its digest is remembered. The time is longer than
/// one tick of the clock of any file system.
const SETTLED: Duration = Duration::from_secs(2);

/// A change time in whole units of this many nanoseconds may be a modification time: seconds in
/// images, hundredths of a second on exFAT.
const COARSE: u64 = 10_000_000;

/// How long a record is kept. A file that is still in use then is hashed once more.
pub(crate) const RECORDS_LIVE: Duration = Duration::from_hours(30 * 24);

const FIELDS: usize = 7;
const DIGEST: usize = 32;
const RECORD: usize = FIELDS * 8 + 2 * DIGEST;

/// A module's file.
pub(crate) struct Source {
    file: File,
    state: State,
}

/// A file, and everything that changes when its content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State([u64; FIELDS]);

impl State {
    fn of(found: &Metadata) -> Self {
        Self([
            found.dev(),
            found.ino(),
            found.len(),
            found.mtime().cast_unsigned(),
            found.mtime_nsec().cast_unsigned(),
            found.ctime().cast_unsigned(),
            found.ctime_nsec().cast_unsigned(),
        ])
    }

    /// Whether the last change is so long ago that a later change will have another time, and the
    /// change time is one that no program has set.
    fn is_settled(&self, now: SystemTime) -> bool {
        let [.., modified, _, changed, nanoseconds] = self.0;
        if nanoseconds.is_multiple_of(COARSE) {
            return false;
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // A time in the future, or before 1970, is not settled.
        let latest = modified.max(changed);
        latest
            .checked_add(SETTLED.as_secs())
            .is_some_and(|end| end < now)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|field| field.to_le_bytes())
            .collect()
    }

    /// The name of the record of this file, whatever the file's state.
    fn name(&self) -> Key {
        let mut hasher = blake3::Hasher::new_derive_key("precast name of a module file, layout 1");
        hasher.update(&self.bytes()[..16]);
        Key::new(hasher.finalize().into())
    }
}

impl Source {
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let failed = || Error::file("read", path);
        let file = File::open(path).map_err(failed())?;
        let found = file.metadata().map_err(failed())?;
        if found.is_dir() {
            return Err(failed()(io::ErrorKind::IsADirectory.into()));
        }
        let state = State::of(&found);
        Ok(Self { file, state })
    }

    /// The digest of the file, if it is known.
    pub(crate) fn digest(&self, directory: &Directory) -> Option<[u8; DIGEST]> {
        let mut record = entry::open(&directory.source(&self.state.name())).ok()?;
        let found = record.metadata().ok()?;
        entry::may_be_ours(&found).ok()?;
        entry::one_name(&found).ok()?;
        if found.len() != RECORD as u64 {
            return None;
        }
        let mut bytes = [0; RECORD];
        record.read_exact(&mut bytes).ok()?;
        let (content, check) = bytes.split_at(RECORD - DIGEST);
        if blake3::hash(content) != *check.first_chunk::<DIGEST>()? {
            return None;
        }
        let (state, digest) = content.split_at(FIELDS * 8);
        (state == self.state.bytes()).then_some(*digest.first_chunk()?)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn read(&mut self, path: &Path) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let len = usize::try_from(self.state.0[2]).unwrap_or(usize::MAX);
        bytes
            .try_reserve(len)
            .map_err(|_| io::ErrorKind::OutOfMemory.into())
            .and_then(|()| self.file.read_to_end(&mut bytes))
            .map_err(Error::file("read", path))?;
        Ok(bytes)
    }

    /// Remembers the digest of the bytes that were just read, unless the file has changed recently.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub(crate) fn remember(
        &self,
        directory: &Directory,
        read: usize,
        digest: &[u8; DIGEST],
    ) -> io::Result<()> {
        let found = self.file.metadata()?;
        let is_same = State::of(&found) == self.state && found.len() == read as u64;
        if !found.is_file() || !is_same || !self.state.is_settled(SystemTime::now()) {
            return Ok(());
        }
        let mut bytes = self.state.bytes();
        bytes.extend(digest);
        let check = blake3::hash(&bytes);
        bytes.extend(check.as_bytes());
        let name = self.state.name();
        let (temporary, mut file) = entry::create(directory, &name)?;
        let written = io::Write::write_all(&mut file, &bytes)
            .and_then(|()| fs::rename(&temporary, directory.source(&name)));
        if written.is_err() {
            fs::remove_file(&temporary).ok();
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_settled_is_remembered() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let state = |modified: i64, changed: i64| {
            let (modified, changed) = (modified.cast_unsigned(), changed.cast_unsigned());
            State([1, 2, 3, modified, 4, changed, 5])
        };
        assert!(state(999_000, 999_990).is_settled(now));
        assert!(state(0, 999_997).is_settled(now));
        for (modified, changed) in [
            (999_000, 999_998),
            (999_999, 999_000),
            (1_000_001, 999_000),
            (-1, 999_000),
            (999_000, i64::MIN),
        ] {
            assert!(
                !state(modified, changed).is_settled(now),
                "{modified} {changed}"
            );
        }
    }

    /// An image of a file system, whose files all have one time, may be replaced by another one.
    #[test]
    fn change_times_that_may_be_set_are_not_believed() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let state = |nanoseconds| State([1, 2, 3, 999_000, 4, 999_000, nanoseconds]);
        assert!(state(1).is_settled(now) && state(COARSE + 1).is_settled(now));
        for coarse in [0, COARSE, 990_000_000] {
            assert!(!state(coarse).is_settled(now), "{coarse}");
        }
        let of_an_image = State([1798, 1, 96, 0, 0, 0, 0]);
        assert!(!of_an_image.is_settled(now));
    }
}
