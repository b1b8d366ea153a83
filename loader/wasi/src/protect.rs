//! Files and directories that a guest must not change although they are in its directories: those
//! that the host runs as code, or that decide what the host runs.
//!
//! Three things are protected. Files are recognised by device and inode, so the name that a guest
//! uses makes no difference.
//!
//! - **Files**: a guest cannot open them for writing, truncate them, set their times, or add or
//!   remove names of theirs.
//! - **Directories** with everything in them. Whether something is in a protected directory is
//!   found out by going up from its own directory, so files that are created later are included.
//! - **Names** that lead to a protected file or directory from the root of the file system, each in
//!   its directory. A guest that renames a directory above a file and puts another directory there
//!   has changed the file for everybody who uses its path. Names that do not exist yet are
//!   included: a guest cannot create them, nor change files that the host creates there later.
//!
//! Reading is allowed. Other calls fail with `ROFS`, as in a read-only directory.
//!
//! This does not protect against changes by other processes, nor in a file system that gives one
//! file several inode numbers (the layers of an overlay beside the overlay, some file systems in
//! user space).

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
use crate::path_at::PathAt;

#[derive(Debug, Default)]
pub(crate) struct Protected {
    inodes: HashSet<Inode>,
    /// Names in lower case, because some directories ignore case.
    names: HashSet<(Inode, OsString)>,
}

impl Protected {
    pub(crate) fn add_inode(&mut self, dev: u64, ino: u64) {
        self.inodes.insert(Inode { dev, ino });
    }

    /// Protects a file or directory, and all names that lead to it.
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

    /// Protects the inode of a file or directory and, within a directory, of everything that a
    /// guest could also reach from outside of it: directories, which can be mounted elsewhere, and
    /// files with several names. A file with one name needs no entry: going up from its directory
    /// finds the protected one.
    fn add_tree(&mut self, path: &Path, found: &fs::Metadata) -> io::Result<()> {
        self.inodes.insert(Inode::of(found));
        if !found.is_dir() {
            return Ok(());
        }
        let entries = match fs::read_dir(path) {
            // A directory that this process may not read is not readable for its guest either.
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

    /// Resolves a path, and returns whether the guest may change the file or directory that it
    /// leads to. If nothing is protected, the path is not resolved.
    pub(crate) fn object<'a>(
        &self,
        dir: &'a Dir,
        path: &'a Path,
        follow: bool,
    ) -> Result<(PathAt<'a>, bool)> {
        if self.is_empty() {
            return Ok((PathAt::unresolved(dir, path), true));
        }
        self.resolved(dir, path, follow)
    }

    /// Like [`object`](Self::object), but always resolves the path.
    pub(crate) fn resolved<'a>(
        &self,
        dir: &'a Dir,
        path: &'a Path,
        follow: bool,
    ) -> Result<(PathAt<'a>, bool)> {
        let at = PathAt::resolve(dir, path, follow)?;
        // A file that does not exist at this moment may exist when it is opened.
        let is_dir = at.found.as_ref().is_some_and(Metadata::is_dir);
        let kept = at.found.as_ref().is_some_and(|found| self.has(found))
            || self.holds_directory(at.dir())?
            || (!is_dir && self.keeps_name(&at)?);
        Ok((at, !kept))
    }

    /// Resolves a path, if the guest may create, remove or replace the name that the path ends in.
    ///
    /// # Errors
    /// `ROFS` if the name is protected; those of [`PathAt::resolve`].
    pub(crate) fn name<'a>(&self, dir: &'a Dir, path: &'a Path) -> Result<PathAt<'a>> {
        let (at, changeable) = self.object(dir, path, false)?;
        if !changeable || self.keeps_name(&at)? {
            return Err(Errno::ROFS);
        }
        Ok(at)
    }

    /// Whether a resolved name is one of the protected names.
    pub(crate) fn keeps_name(&self, at: &PathAt<'_>) -> Result<bool> {
        if self.names.is_empty() {
            return Ok(false);
        }
        let stat = fstat(at.dir())?;
        let dir = Inode {
            dev: stat.st_dev,
            ino: stat.st_ino,
        };
        let name = at.name().to_ascii_lowercase();
        Ok(self.names.contains(&(dir, name)))
    }

    fn has(&self, found: &Metadata) -> bool {
        use cap_std::fs::MetadataExt;
        let (dev, ino) = (found.dev(), found.ino());
        self.inodes.contains(&Inode { dev, ino })
    }

    /// Whether a directory or one above it is protected.
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
        // The parent of the root is the root. A directory that is mounted on one of its own
        // subdirectories is also followed by itself, but only once, so the walk ends when the same
        // directory has come several times.
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
