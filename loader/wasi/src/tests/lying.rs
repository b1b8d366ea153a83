//! File systems of a host that do not tell the truth: they harm nobody.

use std::time::Duration;

use super::mounted::guest;
use super::*;
use crate::fs::{DirEntry, File, FileSystem, OpenOptions, Stat};

/// A file system whose answers make no sense.
struct Liar;

impl FileSystem for Liar {
    fn stat(&self, path: &str) -> Result<Stat> {
        let kind = match path {
            "" | "dir" => crate::fs::FileKind::Directory,
            "link" => crate::fs::FileKind::Symlink,
            _ => crate::fs::FileKind::File,
        };
        Ok(Stat {
            size: u64::MAX,
            modified: Duration::MAX,
            ..Stat::new(kind, 0)
        })
    }

    fn open(&self, _: &str, _: OpenOptions) -> Result<Box<dyn File>> {
        Ok(Box::new(Liar))
    }

    fn read_dir(&self, _: &str) -> Result<Vec<DirEntry>> {
        let entry = |name: &str| DirEntry {
            name: name.to_owned(),
            kind: crate::fs::FileKind::File,
            ino: 0,
        };
        let names = ["../..", "", ".", "..", "a/b", "a\0b", "/", "good"];
        let long = "x".repeat(256);
        Ok(names
            .iter()
            .chain([&&*long])
            .map(|name| entry(name))
            .collect())
    }

    fn read_link(&self, _: &str) -> Result<String> {
        Ok("../../../link/".to_owned())
    }
}

impl File for Liar {
    fn read_at(&self, _: &mut [u8], _: u64) -> Result<usize> {
        Ok(usize::MAX)
    }

    fn write_at(&self, _: &[u8], _: u64) -> Result<usize> {
        Ok(usize::MAX)
    }

    fn stat(&self) -> Result<Stat> {
        FileSystem::stat(self, "")
    }
}

#[test]
fn a_file_system_that_lies_harms_nobody() {
    let mut guest = guest(Liar, DirAccess::ReadWrite);
    let fd = guest.open("f", 0, READ | WRITE).unwrap();
    assert_eq!(guest.read(fd, 4).map(|bytes| bytes.len()), Ok(4));
    assert_eq!(guest.write(fd, b"abc"), Ok(3));
    assert_eq!(guest.seek(fd, 0, 2), Err(Errno::INVAL));
    assert_eq!(guest.seek(fd, 0, 1), Ok(7));
    let stat = guest.stat("f", FOLLOW).unwrap();
    assert_eq!(stat, (4, u64::MAX));
    assert_eq!(guest.open("link", 0, READ), Err(Errno::PERM));
    assert_eq!(guest.readlink("link", 4), Ok("../.".to_owned()));
    let dir = guest.open("dir", DIRECTORY, READ).unwrap();
    // No path has the other names.
    let listed = dirs::list(&mut guest, dir, 8192);
    let names: Vec<_> = listed.iter().map(|(name, _)| name).collect();
    assert_eq!(names, [".", "..", "good"]);
}

/// A file system whose files do not tell their size.
struct Mute;

impl FileSystem for Mute {
    fn stat(&self, path: &str) -> Result<Stat> {
        FileSystem::stat(&Liar, path)
    }

    fn open(&self, _: &str, _: OpenOptions) -> Result<Box<dyn File>> {
        Ok(Box::new(Mute))
    }

    fn read_dir(&self, _: &str) -> Result<Vec<DirEntry>> {
        Ok(Vec::new())
    }
}

impl File for Mute {
    fn read_at(&self, _: &mut [u8], _: u64) -> Result<usize> {
        Ok(0)
    }

    fn append(&self, bytes: &[u8]) -> Result<usize> {
        Ok(bytes.len())
    }

    fn stat(&self) -> Result<Stat> {
        Err(Errno::IO)
    }
}

#[test]
fn what_was_appended_is_reported_whatever_the_file_says_of_its_size() {
    let mut guest = guest(Mute, DirAccess::ReadWrite);
    let with = Open {
        rights: READ | WRITE,
        fdflags: APPEND,
        ..Open::default()
    };
    let fd = guest.open_with(DIR, "f", with).unwrap();
    assert_eq!(guest.write(fd, b"abc"), Ok(3));
    assert_eq!(guest.seek(fd, 0, 1), Ok(3));
}
