//! The seal of an entry, which shows in constant time whether the file was written to since it was
//! checked.
//!
//! Every write to a file sets the file's modification time to the current time. When this cache has
//! written an entry, or has read and checked all of it, it sets the modification time itself. It
//! computes the nanoseconds of that time from the entry's key, its length and the seconds. Other
//! nanoseconds mean that the entry was written to, truncated, renamed from another key, or copied
//! without its times. Such an entry is read and checked in full once, and sealed again.
//!
//! A write sets exactly these nanoseconds by accident with a probability of one in a thousand
//! million. A seal does not stop an attacker who forges it: that takes write access to the
//! directory, whose content is trusted like any other program of its owner. Nor does a seal detect
//! bits that change on the disk. The checksum in the header detects those in the hot tables, and
//! `verify` detects all of them.
//!
//! On a file system that does not keep nanoseconds no seal ever holds, and every lookup checks the
//! entry in full, which is slower but correct.

use std::fs::{File, FileTimes, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Key;

/// Seals an entry with this key and length.
pub(crate) fn set(file: &File, key: &Key, len: u64) -> io::Result<()> {
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let sealed = UNIX_EPOCH + Duration::new(seconds, nanoseconds(key, len, seconds));
    file.set_times(FileTimes::new().set_modified(sealed).set_accessed(now))
}

/// Whether an entry with this metadata has the seal of this key.
pub(crate) fn holds(data: &Metadata, key: &Key) -> bool {
    u64::try_from(data.mtime())
        .is_ok_and(|seconds| data.mtime_nsec() == i64::from(nanoseconds(key, data.len(), seconds)))
}

fn nanoseconds(key: &Key, len: u64, seconds: u64) -> u32 {
    let mut hasher = blake3::Hasher::new_keyed(key.as_bytes());
    hasher.update(&len.to_le_bytes());
    hasher.update(&seconds.to_le_bytes());
    let mut number = [0; 8];
    hasher.finalize_xof().fill(&mut number);
    (u64::from_le_bytes(number) % 1_000_000_000) as u32
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn a_seal_breaks_when_the_file_is_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("entry");
        let key: Key = "0f".repeat(32).parse().unwrap();
        let other: Key = "f0".repeat(32).parse().unwrap();
        let sealed = || {
            fs::write(&path, b"content").unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            assert!(!holds(&file.metadata().unwrap(), &key));
            set(&file, &key, 7).unwrap();
            assert!(holds(&file.metadata().unwrap(), &key));
            assert!(!holds(&file.metadata().unwrap(), &other));
            file
        };
        let holds = || holds(&fs::metadata(&path).unwrap(), &key);

        let mut file = sealed();
        file.rewind().unwrap();
        file.write_all(b"C").unwrap();
        assert!(!holds(), "written");
        sealed().set_len(3).unwrap();
        assert!(!holds(), "truncated");
        let times = FileTimes::new().set_accessed(SystemTime::now());
        sealed().set_times(times).unwrap();
        assert!(holds(), "only used");
        let moved = dir.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        fs::rename(&moved, &path).unwrap();
        assert!(holds(), "the same name again");
    }
}
