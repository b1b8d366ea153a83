//! What a guest can change through the directories that it may write to.
//!
//! A *region* is such a directory, or a part of a file system that is mounted below it. It reaches a path if
//!
//! 1. one of the [names](crate::names) on the way there is in the region: then the guest can write to what
//!    is there or put something else in its place;
//! 2. or the region is inside of what is there: then the guest can change a part of it;
//! 3. or what is there is a file with more than one name, and on the file system of the region: then one of
//!    its names may be in the region, and nobody can tell but by looking at every file.
//!
//! Whether one directory is inside another is decided by their [places](crate::mounts) in the file system,
//! and by device and inode of all directories above, so neither bind mounts nor links are missed. What
//! the system does not tell counts as reached.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::mounts::{Mounts, Place};
use crate::names::{Inode, Names};

/// Where a guest can write.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Directories, without links in their paths. `None`: one whose path is not known.
    dirs: Vec<Option<PathBuf>>,
}

impl Reach {
    pub(crate) fn add(&mut self, dir: &Path) {
        self.dirs.push(fs::canonicalize(dir).ok());
    }

    /// Whether one of the directories reaches a path.
    pub(crate) fn includes(&self, path: &Path) -> bool {
        !self.dirs.is_empty() && self.try_includes(path).unwrap_or(true)
    }

    fn try_includes(&self, path: &Path) -> io::Result<bool> {
        let mounts = Mounts::read()?;
        let unknown = || io::Error::from(io::ErrorKind::NotFound);
        let place = |path: &Path| mounts.place(path).ok_or_else(unknown);
        let target = Names::of(path)?;
        for dir in &self.dirs {
            let dir = dir.as_deref().ok_or_else(unknown)?;
            let inode = Inode::of(&fs::metadata(dir)?);
            let mut regions: Vec<Place> = mounts.below(dir).collect();
            regions.push(place(dir)?);
            for name in &target.names {
                if name.dir == inode || is_in_any(&place(&name.path)?, &regions) {
                    return Ok(true);
                }
            }
            let Some((path, found)) = &target.end else {
                continue;
            };
            let end = place(path)?;
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

fn is_in_any(place: &Place, regions: &[Place]) -> bool {
    regions.iter().any(|region| place.is_in(region))
}
