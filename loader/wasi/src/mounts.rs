//! Where directories are in their file systems, by whatever mount they are reached.
//!
//! A directory has one path in its file system (there are no hard links to directories) and any number
//! in the process, because parts of a file system can be mounted at several places (bind mounts). So
//! whether one directory is inside another is decided by their paths in the file system.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A directory or file by its place in a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The device of the file system.
    device: Vec<u8>,
    path: PathBuf,
}

impl Place {
    pub(crate) fn is_in(&self, other: &Self) -> bool {
        self.is_beside(other) && self.path.starts_with(&other.path)
    }

    /// Whether both are in one file system, so that a file can have names in both.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.device == other.device
    }
}

/// Everything that is mounted, in the order in which it was.
#[derive(Debug)]
pub(crate) struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    /// What is mounted.
    place: Place,
    /// Where.
    point: PathBuf,
}

impl Mounts {
    /// # Errors
    /// Where the system does not tell.
    pub(crate) fn read() -> io::Result<Self> {
        Self::parse(&std::fs::read("/proc/self/mountinfo")?).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "/proc/self/mountinfo has another form than the one that is known",
            )
        })
    }

    /// See `proc_pid_mountinfo(5)`: `ID PARENT DEVICE ROOT POINT …`.
    fn parse(text: &[u8]) -> Option<Self> {
        let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let mount = |line: &[u8]| {
            let mut fields = line.split(|b| *b == b' ').skip(2);
            let device = fields.next()?.to_vec();
            let path = unescaped(fields.next()?);
            let point = unescaped(fields.next()?);
            let place = Place { device, path };
            Some(Mount { place, point })
        };
        lines.map(mount).collect::<Option<_>>().map(Self)
    }

    /// The place of a path without links.
    pub(crate) fn place(&self, path: &Path) -> Option<Place> {
        let inside = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        // The last one at a point hides the earlier ones.
        let mount = inside.max_by_key(|mount| mount.point.components().count())?;
        let rest = path.strip_prefix(&mount.point).ok()?;
        let within = &mount.place.path;
        let path = if rest.as_os_str().is_empty() {
            within.clone()
        } else {
            within.join(rest)
        };
        Some(Place {
            device: mount.place.device.clone(),
            path,
        })
    }

    /// What is mounted somewhere below a path without links.
    pub(crate) fn below(&self, path: &Path) -> impl Iterator<Item = Place> {
        let inside = self.0.iter().filter(move |m| m.point.starts_with(path));
        inside.map(|mount| mount.place.clone())
    }
}

/// A path, in which some bytes are written as `\ooo`.
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

    fn place(path: &str) -> Place {
        mounts().place(Path::new(path)).unwrap()
    }

    #[test]
    fn one_directory_has_one_place() {
        assert_eq!(place("/srv/app"), place("/home/me/app"));
        assert_eq!(place("/srv/app/x/y"), place("/home/me/app/x/y"));
        assert!(place("/srv/app/x").is_in(&place("/home/me")));
        assert!(place("/srv/app").is_in(&place("/srv/app")));
        assert!(!place("/home/me").is_in(&place("/srv/app")));
        assert!(!place("/home/me/app2").is_in(&place("/srv/app")));
        assert!(!place("/srv/with space/app").is_in(&place("/srv")));
        assert!(!place("/proc/1").is_beside(&place("/srv/with space")));
        assert_eq!(
            place("/srv/data"),
            place("/hidden"),
            "the last mount counts"
        );
    }

    #[test]
    fn mounts_below_a_directory_are_part_of_it() {
        let below: Vec<Place> = mounts().below(Path::new("/srv")).collect();
        assert!(below.contains(&place("/home/me/app")));
        assert_eq!(below.len(), 4);
        assert_eq!(mounts().below(Path::new("/home")).count(), 0);
    }

    #[test]
    fn the_systems_own_table_is_understood() {
        let mounts = Mounts::read().unwrap();
        assert!(mounts.place(Path::new("/")).is_some());
        assert!(Mounts::parse(b"nonsense\n").is_none());
    }
}
