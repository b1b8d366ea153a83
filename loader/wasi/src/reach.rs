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
use crate::names::{Inode, Name, Names};

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
        let target = Names::of(path)?;
        for dir in &self.dirs {
            let granted = Granted::new(dir.as_deref(), &mounts)?;
            for name in &target.names {
                if granted.has(name, &mounts)? {
                    return Ok(true);
                }
            }
            let Some((path, found)) = &target.end else {
                continue;
            };
            let end = location(&mounts, path)?;
            let regions = &granted.regions;
            let is_part = regions.iter().any(|region| region.is_in(&end));
            let has_other_names = !found.is_dir() && found.nlink() > 1;
            let is_beside = regions.iter().any(|region| region.is_beside(&end));
            if Inode::of(found) == granted.inode || is_part || (has_other_names && is_beside) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first symbolic link on the way of a path that is in one of the regions, by its path
    /// without other links.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn link(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        if self.dirs.is_empty() {
            return Ok(None);
        }
        let mounts = Mounts::read()?;
        let dirs = self.dirs.iter();
        let granted = dirs.map(|dir| Granted::new(dir.as_deref(), &mounts));
        let granted: Vec<Granted> = granted.collect::<io::Result<_>>()?;
        for name in Names::of(path)?.names {
            let link = name.path.join(&name.name);
            if !link.is_symlink() {
                continue;
            }
            for granted in &granted {
                if granted.has(&name, &mounts)? {
                    return Ok(Some(link));
                }
            }
        }
        Ok(None)
    }
}

/// A directory that the guest may write to.
struct Granted {
    inode: Inode,
    /// Its region, and those of the directories that are mounted below it.
    regions: Vec<Location>,
}

impl Granted {
    fn new(dir: Option<&Path>, mounts: &Mounts) -> io::Result<Self> {
        let dir = dir.ok_or_else(unknown)?;
        let mut regions: Vec<Location> = mounts.below(dir).collect();
        regions.push(location(mounts, dir)?);
        Ok(Self {
            inode: Inode::of(&fs::metadata(dir)?),
            regions,
        })
    }

    /// Whether a name is in one of the regions.
    fn has(&self, name: &Name, mounts: &Mounts) -> io::Result<bool> {
        if name.dir == self.inode {
            return Ok(true);
        }
        let location = location(mounts, &name.path)?;
        Ok(self.regions.iter().any(|region| location.is_in(region)))
    }
}

fn location(mounts: &Mounts, path: &Path) -> io::Result<Location> {
    mounts.location(path).ok_or_else(unknown)
}

fn unknown() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}
