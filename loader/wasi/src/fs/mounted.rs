//! Descriptors of mounted file systems, and what the functions of the snapshot do with them. Paths
//! go through [`resolve`], and read-only mounts are refused here.

use std::io::{IoSlice, IoSliceMut, SeekFrom};
use std::sync::Arc;

use crate::descriptor::{Descriptor, Kind};
use crate::errno::{Errno, Result};
use crate::fs::resolve::{Resolved, is_path, resolve};
use crate::fs::{Creation, DirEntry, File, FileKind, FileSystem, OpenOptions, Stat, Times, is_in};
use crate::path_at::{names_directory, utf8, without_slashes};
use crate::readdir::Listing;
use crate::types::{FdFlags, Filestat, Filetype, OFlags, Rights};

/// A file system, as it is mounted in one guest.
pub(crate) struct Mount {
    pub(crate) fs: Box<dyn FileSystem>,
    pub(crate) read_only: bool,
    /// The number of the device that a guest sees.
    pub(crate) dev: u64,
}

impl Mount {
    fn require_writable(&self) -> Result<()> {
        if self.read_only {
            Err(Errno::ROFS)
        } else {
            Ok(())
        }
    }
}

/// An open directory of a mounted file system.
pub(crate) struct MountedDir {
    pub(crate) mount: Arc<Mount>,
    /// The directory's path in the file system. It is updated if the guest renames the directory,
    /// and is `None` if the guest has removed it, or has moved it to where no path leads.
    pub(crate) path: Option<String>,
    /// The guest's name for the directory, if the file system is mounted there.
    pub(crate) preopen: Option<String>,
    /// The listing that `fd_readdir` reads from.
    pub(crate) listing: Option<Listing>,
}

/// An open file of a mounted file system.
pub(crate) struct MountedFile {
    pub(crate) mount: Arc<Mount>,
    pub(crate) file: Box<dyn File>,
    pub(crate) position: u64,
}

/// How a guest asks to open a path.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) follow: bool,
    pub(crate) oflags: OFlags,
    pub(crate) fdflags: FdFlags,
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// A change of the names of directories, which open directories follow.
pub(crate) enum Moved {
    Renamed { from: String, to: String },
    Removed(String),
}

impl MountedDir {
    fn path(&self) -> Result<&str> {
        self.path.as_deref().ok_or(Errno::NOENT)
    }

    fn resolve(&self, path: &str, follow: bool) -> Result<Resolved> {
        resolve(&*self.mount.fs, self.path()?, path, follow)
    }

    /// Resolves the path of a name that is created, removed or replaced. The path of a directory
    /// may end in a slash.
    fn name(&self, path: &str, may_be_dir: bool) -> Result<Resolved> {
        if !may_be_dir || !names_directory(path.as_ref()) {
            return self.resolve(path, false);
        }
        self.resolve(utf8(without_slashes(path.as_ref()))?, false)
    }

    pub(crate) fn open(
        &self,
        path: &str,
        request: Request,
        inheriting: Rights,
    ) -> Result<Descriptor> {
        let has = |flag| request.oflags.contains(flag);
        let creates = has(OFlags::CREAT);
        let exclusive = creates && has(OFlags::EXCL);
        let write = request.write || has(OFlags::TRUNC);
        let at = self.resolve(path, request.follow && !exclusive)?;
        let read_only = self.mount.read_only;
        if read_only && write {
            return Err(Errno::ROFS);
        }
        let create = match at.found.map(|found| found.kind) {
            Some(_) if exclusive => return Err(Errno::EXIST),
            Some(FileKind::Directory) if creates || write => return Err(Errno::ISDIR),
            Some(FileKind::Directory) => {
                let dir = Self {
                    mount: Arc::clone(&self.mount),
                    path: Some(at.path),
                    preopen: None,
                    listing: None,
                };
                return Ok(Descriptor::mounted_directory(dir, inheriting));
            }
            Some(_) if has(OFlags::DIRECTORY) => return Err(Errno::NOTDIR),
            Some(FileKind::Symlink) => return Err(Errno::LOOP),
            Some(FileKind::File) => Creation::Never,
            None if creates && read_only => return Err(Errno::ROFS),
            None if exclusive => Creation::New,
            None if creates => Creation::IfMissing,
            None => return Err(Errno::NOENT),
        };
        let options = OpenOptions {
            write: write || create != Creation::Never,
            truncate: has(OFlags::TRUNC),
            create,
        };
        let file = MountedFile {
            file: self.mount.fs.open(&at.path, options)?,
            mount: Arc::clone(&self.mount),
            position: 0,
        };
        let rights = Rights::of_file(request.read || !request.write, request.write);
        Ok(Descriptor {
            kind: Kind::MountedFile(file),
            flags: request.fdflags,
            rights: rights.common(inheriting),
            inheriting: Rights::NONE,
        })
    }

    pub(crate) fn stat(&self) -> Result<Filestat> {
        Ok(filestat(self.mount.fs.stat(self.path()?)?, &self.mount))
    }

    pub(crate) fn stat_at(&self, path: &str, follow: bool) -> Result<Filestat> {
        let found = self.resolve(path, follow)?.existing()?;
        Ok(filestat(found, &self.mount))
    }

    /// The entries, and the number of the directory.
    pub(crate) fn entries(&self) -> Result<(Vec<DirEntry>, u64)> {
        let path = self.path()?;
        let ino = self.mount.fs.stat(path)?.ino;
        Ok((self.mount.fs.read_dir(path)?, ino))
    }

    pub(crate) fn read_link(&self, path: &str) -> Result<String> {
        let at = self.resolve(path, false)?;
        if at.existing()?.kind != FileKind::Symlink {
            return Err(Errno::INVAL);
        }
        let target = self.mount.fs.read_link(&at.path)?;
        // Guests get no absolute targets, as in directories of the system.
        if target.starts_with('/') {
            Err(Errno::PERM)
        } else {
            Ok(target)
        }
    }

    pub(crate) fn create_dir(&self, path: &str) -> Result<()> {
        self.mount.require_writable()?;
        let at = self.name(path, true)?;
        match at.found {
            Some(_) => Err(Errno::EXIST),
            None => self.mount.fs.create_dir(&at.path),
        }
    }

    pub(crate) fn set_times(&self, times: Times) -> Result<()> {
        self.mount.require_writable()?;
        self.mount.fs.set_times(self.path()?, times)
    }

    pub(crate) fn set_times_at(&self, path: &str, follow: bool, times: Times) -> Result<()> {
        self.mount.require_writable()?;
        let at = self.resolve(path, follow)?;
        at.existing()?;
        self.mount.fs.set_times(&at.path, times)
    }

    pub(crate) fn remove_dir(&self, path: &str) -> Result<Moved> {
        self.mount.require_writable()?;
        let at = self.name(path, true)?;
        match at.existing()?.kind {
            FileKind::File | FileKind::Symlink => Err(Errno::NOTDIR),
            // `.`, or the directory itself.
            FileKind::Directory if !at.is_named => Err(Errno::INVAL),
            FileKind::Directory => {
                self.mount.fs.remove_dir(&at.path)?;
                Ok(Moved::Removed(at.path))
            }
        }
    }

    pub(crate) fn remove_file(&self, path: &str) -> Result<()> {
        self.mount.require_writable()?;
        let at = self.resolve(path, false)?;
        match at.existing()?.kind {
            FileKind::Directory => Err(Errno::ISDIR),
            FileKind::File | FileKind::Symlink => self.mount.fs.remove_file(&at.path),
        }
    }

    pub(crate) fn symlink(&self, target: &str, path: &str) -> Result<()> {
        self.mount.require_writable()?;
        if target.starts_with('/') {
            return Err(Errno::PERM);
        }
        let at = self.resolve(path, false)?;
        match at.found {
            Some(_) => Err(Errno::EXIST),
            None => self.mount.fs.symlink(target, &at.path),
        }
    }

    /// Gives a file of this directory a second name in another directory of the same file system.
    pub(crate) fn link(&self, old: &str, follow: bool, to: &Self, new: &str) -> Result<()> {
        self.same_mount(to)?;
        let old = self.resolve(old, follow)?;
        let new = to.resolve(new, false)?;
        match old.existing()?.kind {
            _ if new.found.is_some() => Err(Errno::EXIST),
            FileKind::Directory => Err(Errno::PERM),
            FileKind::Symlink => Err(Errno::NOTSUP),
            FileKind::File => self.mount.fs.link(&old.path, &new.path),
        }
    }

    /// Moves a file or directory of this directory to another directory of the same file system.
    pub(crate) fn rename(&self, old: &str, to: &Self, new: &str) -> Result<Moved> {
        self.same_mount(to)?;
        let wants_dir = names_directory(old.as_ref()) || names_directory(new.as_ref());
        let old = self.name(old, true)?;
        if wants_dir && !old.existing()?.is_dir() {
            return Err(Errno::NOTDIR);
        }
        let new = to.name(new, true)?;
        if !old.is_named || !new.is_named {
            return Err(Errno::BUSY);
        }
        let is_dir = old.existing()?.is_dir();
        if old.path == new.path {
            let (from, to) = (old.path, new.path);
            return Ok(Moved::Renamed { from, to });
        }
        if is_dir && is_in(&new.path, &old.path) {
            return Err(Errno::INVAL);
        }
        if is_in(&old.path, &new.path) {
            return Err(Errno::NOTEMPTY);
        }
        match new.found {
            Some(found) if found.is_dir() && !is_dir => return Err(Errno::ISDIR),
            Some(found) if !found.is_dir() && is_dir => return Err(Errno::NOTDIR),
            Some(_) | None => {}
        }
        self.mount.fs.rename(&old.path, &new.path)?;
        let (from, to) = (old.path, new.path);
        Ok(Moved::Renamed { from, to })
    }

    fn same_mount(&self, other: &Self) -> Result<()> {
        if !Arc::ptr_eq(&self.mount, &other.mount) {
            return Err(Errno::XDEV);
        }
        self.mount.require_writable()
    }

    /// Updates the path of this directory after a change of names in the same file system.
    pub(crate) fn follow(&mut self, mount: &Arc<Mount>, moved: &Moved) {
        if !Arc::ptr_eq(&self.mount, mount) {
            return;
        }
        let Some(path) = &mut self.path else {
            return;
        };
        match moved {
            Moved::Removed(removed) if path == removed => self.path = None,
            Moved::Renamed { from, to } if from != to && path == to => self.path = None,
            // A guest can nest directories deeper than any path may lead. File systems get no such
            // path, and the host keeps none, which could be as long as the guest likes.
            Moved::Renamed { from, to } if is_in(path, from) => {
                let moved = format!("{to}{}", &path[from.len()..]);
                self.path = is_path(&moved).then_some(moved);
            }
            Moved::Removed(_) | Moved::Renamed { .. } => {}
        }
    }
}

fn filestat(found: Stat, mount: &Mount) -> Filestat {
    let nanoseconds =
        |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Filestat {
        dev: mount.dev,
        ino: found.ino,
        filetype: found.kind.into(),
        nlink: found.nlink,
        size: found.size,
        atim: nanoseconds(found.accessed),
        mtim: nanoseconds(found.modified),
        ctim: nanoseconds(found.changed),
    }
}

impl From<FileKind> for Filetype {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::File => Self::RegularFile,
            FileKind::Directory => Self::Directory,
            FileKind::Symlink => Self::SymbolicLink,
        }
    }
}

impl MountedFile {
    pub(crate) fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let n = self.read_at(buffers, self.position)?;
        self.position += n as u64;
        Ok(n)
    }

    pub(crate) fn read_at(&self, buffers: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        let buffers = buffers.iter_mut().map(|buffer| &mut **buffer);
        transfer(
            offset,
            buffers,
            |bytes| bytes.len(),
            |bytes, at| self.file.read_at(bytes, at),
        )
    }

    pub(crate) fn write(&mut self, buffers: &[IoSlice<'_>], appends: bool) -> Result<usize> {
        if !appends {
            let n = self.write_at(buffers, self.position)?;
            self.position += n as u64;
            return Ok(n);
        }
        let buffers = buffers.iter().map(|buffer| &**buffer);
        let append = |bytes: &mut &[u8], _| self.file.append(bytes);
        let n = transfer(0, buffers, |bytes| bytes.len(), append)?;
        // What was written is reported even if the file does not tell its size.
        let end = self.file.stat().map(|found| found.size);
        self.position = end.unwrap_or(self.position.saturating_add(n as u64));
        Ok(n)
    }

    pub(crate) fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        let buffers = buffers.iter().map(|buffer| &**buffer);
        transfer(
            offset,
            buffers,
            |bytes| bytes.len(),
            |bytes, at| self.file.write_at(bytes, at),
        )
    }

    pub(crate) fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.file.stat()?.size.checked_add_signed(offset),
        };
        self.position = position
            .filter(|position| i64::try_from(*position).is_ok())
            .ok_or(Errno::INVAL)?;
        Ok(self.position)
    }

    pub(crate) fn stat(&self) -> Result<Filestat> {
        Ok(filestat(self.file.stat()?, &self.mount))
    }

    pub(crate) fn set_len(&self, len: u64) -> Result<()> {
        if i64::try_from(len).is_err() {
            return Err(Errno::INVAL);
        }
        self.file.set_len(len)
    }

    /// Makes the file at least `end` bytes long.
    pub(crate) fn allocate(&self, end: u64) -> Result<()> {
        if self.file.stat()?.size < end {
            self.file.set_len(end)?;
        }
        Ok(())
    }

    pub(crate) fn set_times(&self, times: Times) -> Result<()> {
        self.mount.require_writable()?;
        self.file.set_times(times)
    }

    /// The number of bytes after the position.
    pub(crate) fn left(&self) -> Result<u64> {
        Ok(self.file.stat()?.size.saturating_sub(self.position))
    }
}

/// Transfers buffers one after the other, until one of them is transferred in part only.
fn transfer<B>(
    offset: u64,
    buffers: impl Iterator<Item = B>,
    len: impl Fn(&B) -> usize,
    mut one: impl FnMut(&mut B, u64) -> Result<usize>,
) -> Result<usize> {
    if i64::try_from(offset).is_err() {
        return Err(Errno::INVAL);
    }
    let mut total = 0;
    for mut buffer in buffers {
        let wanted = len(&buffer);
        match one(&mut buffer, offset + total as u64) {
            Ok(n) => {
                // An implementation may return any number.
                total += n.min(wanted);
                if n < wanted {
                    break;
                }
            }
            // The bytes transferred so far are reported. The guest's next call gets the error.
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(total)
}
