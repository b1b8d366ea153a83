//! The digests of module files, so that a hit neither reads nor hashes a file that did not change.
//!
//! A record holds the digest that a file had. It identifies the file by device and inode number,
//! and the file's state by length, modification time and change time. Writing to a file or
//! replacing it changes one of these, and no program can set the change time. The clock may be too
//! coarse to tell two writes apart, though: a file that changed less than [`SETTLED`] before it was
//! read gets no record, as in the index of git.
//!
//! Many file systems have no change time of their own. They report the modification time, which
//! programs can set, or what a server says: squashfs, EROFS, FAT, FUSE, NFS, and overlays of these.
//! So a file gets a record only on a file system of [`KEEPS_CHANGE_TIMES`]. Images of these too may
//! have been made with one constant time in all files, and one may be mounted in the place of
//! another. Such times are whole seconds, so a file with such a change time gets no record. The
//! clock gives a whole second to one file in millions.
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

/// The types, in `statfs`, of the file systems whose change times the kernel sets by its clock, and
/// nothing else.
const KEEPS_CHANGE_TIMES: [u64; 6] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0xf2f5_2010, // F2FS
    0xca45_1a4e, // bcachefs
    0x0102_1994, // tmpfs
];

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
        if nanoseconds == 0 {
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

/// Whether a file system of this type says when a file was changed.
fn keeps_change_times(kind: u64) -> bool {
    KEEPS_CHANGE_TIMES.contains(&kind)
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

    /// Remembers the digest of the bytes that were just read, unless the file has changed recently,
    /// or its change time would not tell that it has changed.
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
        if !keeps_change_times(rustix::fs::fstatfs(&self.file)?.f_type as u64) {
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
        assert!(state(1).is_settled(now));
        assert!(!state(0).is_settled(now));
        let of_an_image = State([1798, 1, 96, 0, 0, 0, 0]);
        assert!(!of_an_image.is_settled(now));
        assert!(keeps_change_times(0xef53));
        let others = [
            ("squashfs", 0x7371_7368),
            ("EROFS", 0xe0f5_e1e2),
            ("FUSE", 0x6573_5546),
            ("overlay", 0x794c_7630),
            ("NFS", 0x6969),
        ];
        for (name, kind) in others {
            assert!(!keeps_change_times(kind), "{name}");
        }
    }
}
