//! Which files a guest can change through the directories that it may write to.
//!
//! A *region* is such a directory, or a directory that is mounted below it. A region reaches a path
//! in three cases:
//!
//! 1. One of the [names](crate::names) on the way is in the region. Then the guest can write to the
//!    file, or put another file in its place.
//! 2. The region is inside of the directory that the path leads to. Then the guest can change a
//!    part of that directory.
//! 3. The path leads to a file with more than one name, on the file system of the region. Then one
//!    of the names may be in the region, and only a look at every file could rule that out.
//!
//! Whether one directory is inside another is decided by their [locations](crate::mounts) in the
//! file system and by their device and inode, so bind mounts and links do not hide anything. A path
//! that the system cannot give this information about counts as reached.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::mounts::{Location, Mounts};
use crate::names::{Inode, Names};

/// The directories that a guest can write to.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Their paths without symbolic links; `None` for a directory whose path is unknown.
    dirs: Vec<Option<PathBuf>>,
}

impl Reach {
    pub(crate) fn add(&mut self, dir: &Path) {
        self.dirs.push(fs::canonicalize(dir).ok());
    }

    /// Whether the guest can change a path through one of the directories.
    pub(crate) fn includes(&self, path: &Path) -> bool {
        !self.dirs.is_empty() && self.try_includes(path).unwrap_or(true)
    }

    fn try_includes(&self, path: &Path) -> io::Result<bool> {
        let mounts = Mounts::read()?;
        let unknown = || io::Error::from(io::ErrorKind::NotFound);
        let location = |path: &Path| mounts.location(path).ok_or_else(unknown);
        let target = Names::of(path)?;
        for dir in &self.dirs {
            let dir = dir.as_deref().ok_or_else(unknown)?;
            let inode = Inode::of(&fs::metadata(dir)?);
            let mut regions: Vec<Location> = mounts.below(dir).collect();
            regions.push(location(dir)?);
            for name in &target.names {
                if name.dir == inode || is_in_any(&location(&name.path)?, &regions) {
                    return Ok(true);
                }
            }
            let Some((path, found)) = &target.end else {
                continue;
            };
            let end = location(path)?;
            let is_part = regions.iter().any(|region| region.is_in(&end));
            let has_other_names = !found.is_dir() && found.nlink() > 1;
            let is_beside = regions.iter().any(|region| region.is_beside(&end));
            if Inode::of(found) == inode || is_part || (has_other_names && is_beside) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_in_any(location: &Location, regions: &[Location]) -> bool {
    regions.iter().any(|region| location.is_in(region))
}
