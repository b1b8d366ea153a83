//! Files and directories that a guest must not change although they are in its directories: those that
//! become code of the host's, or say what does.
//!
//! Three things are kept, each whatever name a guest uses, because files are recognised by device and
//! inode:
//!
//! - **Files**: not opened for writing, not truncated, no times set, no further names, none taken away.
//! - **Directories** with everything in them: whether something is in one is seen by going up from where
//!   it is, so files and directories that come later are included.
//! - **Names** that lead there from the root of the file system, each in its directory: whoever moves a
//!   directory above a file and puts another one there has changed the file for all who come by its name.
//!   Names that do not exist yet are among them: nobody makes them.
//!
//! To look is allowed. What is refused fails as in a read-only directory, with `ROFS`.
//!
//! What this does not see: a file system that gives one file several inode numbers (an overlay's layers
//! beside the overlay, some in user space), and whatever another process does.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cap_std::fs::{Dir, Metadata};
use rustix::fs::{Mode, OFlags, fstat, openat};

use crate::errno::{Errno, Result};
use crate::names::{Inode, Names};
use crate::spot::Spot;

#[derive(Debug, Default)]
pub(crate) struct Protected {
    inodes: HashSet<Inode>,
    /// In lower case: in some directories case does not count.
    names: HashSet<(Inode, OsString)>,
}

impl Protected {
    pub(crate) fn add_inode(&mut self, dev: u64, ino: u64) {
        self.inodes.insert(Inode { dev, ino });
    }

    /// A file or directory and all names that lead there.
    pub(crate) fn add(&mut self, path: &Path) -> io::Result<()> {
        let names = Names::of(path)?;
        for name in names.names {
            self.names
                .insert((name.dir, name.name.to_ascii_lowercase()));
        }
        match names.end {
            Some((path, found)) => self.add_tree(&path, &found),
            None => Ok(()),
        }
    }

    /// What has one name is found by going up from there; directories can be mounted elsewhere, too, and
    /// files can have other names.
    fn add_tree(&mut self, path: &Path, found: &fs::Metadata) -> io::Result<()> {
        self.inodes.insert(Inode::of(found));
        if !found.is_dir() {
            return Ok(());
        }
        let entries = match fs::read_dir(path) {
            // What this process may not look into, its guest may not either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(found) if found.is_dir() || found.nlink() > 1 => {
                    self.add_tree(&entry.path(), &found)?;
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.inodes.is_empty() && self.names.is_empty()
    }

    /// Where a path leads, and whether what is there may be changed. If nothing is protected, the path is
    /// left as it is.
    pub(crate) fn object<'a>(
        &self,
        dir: &'a Dir,
        path: &'a Path,
        follow: bool,
    ) -> Result<(Spot<'a>, bool)> {
        if self.is_empty() {
            return Ok((Spot::plain(dir, path), true));
        }
        self.resolved(dir, path, follow)
    }

    /// As [`object`](Self::object), but the path is resolved in any case.
    pub(crate) fn resolved<'a>(
        &self,
        dir: &'a Dir,
        path: &'a Path,
        follow: bool,
    ) -> Result<(Spot<'a>, bool)> {
        let spot = Spot::resolve(dir, path, follow)?;
        let kept = spot.found.as_ref().is_some_and(|found| self.has(found))
            || self.holds_directory(spot.dir())?;
        Ok((spot, !kept))
    }

    /// Where a path leads, if the name there may be made, taken away, or given to something else.
    ///
    /// # Errors
    /// `ROFS` if not; those of [`Spot::resolve`].
    pub(crate) fn name<'a>(&self, dir: &'a Dir, path: &'a Path) -> Result<Spot<'a>> {
        let (spot, changeable) = self.object(dir, path, false)?;
        if !changeable || self.keeps_name(&spot)? {
            return Err(Errno::ROFS);
        }
        Ok(spot)
    }

    /// Whether the name of a spot leads to something that is protected.
    pub(crate) fn keeps_name(&self, spot: &Spot<'_>) -> Result<bool> {
        if self.names.is_empty() {
            return Ok(false);
        }
        let stat = fstat(spot.dir())?;
        let dir = Inode {
            dev: stat.st_dev,
            ino: stat.st_ino,
        };
        let name = spot.name().to_ascii_lowercase();
        Ok(self.names.contains(&(dir, name)))
    }

    fn has(&self, found: &Metadata) -> bool {
        use cap_std::fs::MetadataExt;
        let (dev, ino) = (found.dev(), found.ino());
        self.inodes.contains(&Inode { dev, ino })
    }

    /// Whether a directory, or one above it, is protected.
    pub(crate) fn holds_directory(&self, dir: &impl AsFd) -> Result<bool> {
        if self.inodes.is_empty() {
            return Ok(false);
        }
        let inode = |fd: &dyn AsFd| -> Result<Inode> {
            let stat = fstat(fd.as_fd())?;
            Ok(Inode {
                dev: stat.st_dev,
                ino: stat.st_ino,
            })
        };
        let up = |fd: &dyn AsFd| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat(fd.as_fd(), OsStr::new(".."), flags, Mode::empty())
        };
        // The root is above itself; so is, once, a directory that is mounted on one of its own.
        const ROOT: usize = 3;
        let mut at = inode(dir)?;
        let mut above = up(dir)?;
        let mut same = 0;
        while same < ROOT {
            if self.inodes.contains(&at) {
                return Ok(true);
            }
            let next = inode(&above)?;
            same = if next == at { same + 1 } else { 0 };
            at = next;
            above = up(&above)?;
        }
        Ok(false)
    }
}
