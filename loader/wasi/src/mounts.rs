//! Finds the location of a directory within its file system.
//!
//! A directory has one path within its file system, because there are no hard links to directories.
//! It can have several paths in a process, because parts of a file system can be mounted several
//! times (bind mounts). So whether one directory is inside another is decided by their locations.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The location of a directory or file within its file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// The device of the file system, as the mount table writes it.
    device: Vec<u8>,
    /// The path from the root of the file system.
    path: PathBuf,
}

impl Location {
    /// Whether this is `other` or inside of it.
    pub(crate) fn is_in(&self, other: &Self) -> bool {
        self.is_beside(other) && self.path.starts_with(&other.path)
    }

    /// Whether both are on the same file system, so that a file can have names in both.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.device == other.device
    }
}

/// The mount table of the process, in the order of mounting.
#[derive(Debug)]
pub(crate) struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    /// The directory that is mounted.
    location: Location,
    /// The path where it is mounted.
    point: PathBuf,
}

impl Mounts {
    /// Reads the mount table.
    ///
    /// # Errors
    /// Those of reading `/proc/self/mountinfo`; `InvalidData` if its form is unknown.
    pub(crate) fn read() -> io::Result<Self> {
        Self::parse(&std::fs::read("/proc/self/mountinfo")?).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "/proc/self/mountinfo has another form than the one that is known",
            )
        })
    }

    /// Parses lines of the form `ID PARENT DEVICE ROOT POINT …`; see `proc_pid_mountinfo(5)`.
    fn parse(text: &[u8]) -> Option<Self> {
        let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let mount = |line: &[u8]| {
            let mut fields = line.split(|b| *b == b' ').skip(2);
            let device = fields.next()?.to_vec();
            let path = unescaped(fields.next()?);
            let point = unescaped(fields.next()?);
            let location = Location { device, path };
            Some(Mount { location, point })
        };
        lines.map(mount).collect::<Option<_>>().map(Self)
    }

    /// The location of a path without symbolic links.
    pub(crate) fn location(&self, path: &Path) -> Option<Location> {
        let inside = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        // The last mount at a path hides the earlier ones: `max_by_key` returns the last maximum.
        let mount = inside.max_by_key(|mount| mount.point.components().count())?;
        let rest = path.strip_prefix(&mount.point).ok()?;
        let within = &mount.location.path;
        let path = if rest.as_os_str().is_empty() {
            within.clone()
        } else {
            within.join(rest)
        };
        Some(Location {
            device: mount.location.device.clone(),
            path,
        })
    }

    /// The directories that are mounted below a path without symbolic links, or at it.
    pub(crate) fn below(&self, path: &Path) -> impl Iterator<Item = Location> {
        let inside = self.0.iter().filter(move |m| m.point.starts_with(path));
        inside.map(|mount| mount.location.clone())
    }
}

/// Decodes a path in which some bytes are written as `\ooo`.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let number = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match number {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
        21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
        22 21 0:5 / /proc rw - proc proc rw\n\
        23 21 8:1 /home/me/app /srv/app rw shared:3 - ext4 /dev/sda1 rw\n\
        24 21 0:40 / /srv/with\\040space rw - tmpfs tmpfs rw\n\
        25 21 8:2 /data /srv/data rw - ext4 /dev/sdb2 rw\n\
        26 25 8:1 /hidden /srv/data rw - ext4 /dev/sda1 rw\n";

    fn mounts() -> Mounts {
        Mounts::parse(TABLE).unwrap()
    }

    fn location(path: &str) -> Location {
        mounts().location(Path::new(path)).unwrap()
    }

    #[test]
    fn one_directory_has_one_place() {
        assert_eq!(location("/srv/app"), location("/home/me/app"));
        assert_eq!(location("/srv/app/x/y"), location("/home/me/app/x/y"));
        assert!(location("/srv/app/x").is_in(&location("/home/me")));
        assert!(location("/srv/app").is_in(&location("/srv/app")));
        assert!(!location("/home/me").is_in(&location("/srv/app")));
        assert!(!location("/home/me/app2").is_in(&location("/srv/app")));
        assert!(!location("/srv/with space/app").is_in(&location("/srv")));
        assert!(!location("/proc/1").is_beside(&location("/srv/with space")));
        assert_eq!(
            location("/srv/data"),
            location("/hidden"),
            "the last mount counts"
        );
    }

    #[test]
    fn mounts_below_a_directory_are_part_of_it() {
        let below: Vec<Location> = mounts().below(Path::new("/srv")).collect();
        assert!(below.contains(&location("/home/me/app")));
        assert_eq!(below.len(), 4);
        assert_eq!(mounts().below(Path::new("/home")).count(), 0);
    }

    #[test]
    fn the_systems_own_table_is_understood() {
        let mounts = Mounts::read().unwrap();
        assert!(mounts.location(Path::new("/")).is_some());
        assert!(Mounts::parse(b"nonsense\n").is_none());
    }
}
