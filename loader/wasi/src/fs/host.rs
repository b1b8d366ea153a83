//! [`HostFs`], a directory of the system that is only read.

use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::Path;
use std::time::Duration;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, FileExt, FileType, Metadata, MetadataExt, OpenOptionsExt};
use rustix::fs::OFlags;

use crate::errno::{Errno, Result};
use crate::fs::{Creation, DirEntry, File, FileKind, FileSystem, OpenOptions, Stat};
use crate::{look, procfs};

/// A directory of the system as a read-only file system, for example as the lower one of an
/// [`Overlay`](super::Overlay). To give a guest the directory itself,
/// [`preopened_dir`](crate::WasiCtxBuilder::preopened_dir) is faster, and can let it write.
///
/// Files and directories can be read, and symbolic links that stay in the directory are followed.
/// Pipes, sockets and devices are hidden, and nothing of procfs can be looked at.
#[derive(Debug)]
pub struct HostFs {
    dir: Dir,
}

impl HostFs {
    /// The directory at `path`.
    ///
    /// # Errors
    /// Those of the system; `PermissionDenied` for a directory of procfs.
    pub fn new(path: impl AsRef<Path>) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        Ok(Self {
            dir: procfs::refuse_dir(dir)?,
        })
    }
}

/// The path of cap-std for a path of a file system.
fn here(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

fn kind(ty: FileType) -> Option<FileKind> {
    if ty.is_file() {
        Some(FileKind::File)
    } else if ty.is_dir() {
        Some(FileKind::Directory)
    } else if ty.is_symlink() {
        Some(FileKind::Symlink)
    } else {
        None
    }
}

fn stat(found: &Metadata) -> Result<Stat> {
    let time = |seconds: i64, nanoseconds: i64| {
        let nanoseconds = u32::try_from(nanoseconds).unwrap_or_default();
        Duration::new(u64::try_from(seconds).unwrap_or_default(), nanoseconds)
    };
    Ok(Stat {
        kind: kind(found.file_type()).ok_or(Errno::NOENT)?,
        ino: found.ino(),
        nlink: found.nlink(),
        size: found.size(),
        accessed: time(found.atime(), found.atime_nsec()),
        modified: time(found.mtime(), found.mtime_nsec()),
        changed: time(found.ctime(), found.ctime_nsec()),
    })
}

impl FileSystem for HostFs {
    fn stat(&self, path: &str) -> Result<Stat, Errno> {
        stat(&look::metadata(&self.dir, here(path).as_ref(), false)?)
    }

    fn open(&self, path: &str, options: OpenOptions) -> Result<Box<dyn File>, Errno> {
        let found = match self.stat(path) {
            Err(Errno::NOENT) if options.create != Creation::Never => Err(Errno::ROFS),
            Ok(_) if options.create == Creation::New => Err(Errno::EXIST),
            found => found,
        }?;
        match found.kind {
            FileKind::File if options.write => return Err(Errno::ROFS),
            FileKind::File => {}
            FileKind::Directory => return Err(Errno::ISDIR),
            FileKind::Symlink => return Err(Errno::LOOP),
        }
        // Another process may have put a link there meanwhile, or a pipe that nobody writes to.
        let mut how = cap_std::fs::OpenOptions::new();
        how.read(true)
            .follow(FollowSymlinks::No)
            .custom_flags((OFlags::NOCTTY | OFlags::NONBLOCK).bits() as i32);
        let file = self.dir.open_with(here(path), &how)?;
        let found = file.metadata()?;
        procfs::refuse(&file)?;
        if !found.is_file() {
            return Err(Errno::NOENT);
        }
        Ok(Box::new(Handle(file)))
    }

    fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>, Errno> {
        let mut entries = Vec::new();
        let dir = self.dir.open_dir(here(path))?;
        procfs::refuse(&dir)?;
        for entry in dir.entries()? {
            let entry = entry?;
            // Paths of guests are UTF-8, so a guest could not use another name.
            let (Ok(name), Some(kind)) =
                (entry.file_name().into_string(), kind(entry.file_type()?))
            else {
                continue;
            };
            let ino = entry.ino();
            entries.push(DirEntry { name, kind, ino });
        }
        Ok(entries)
    }

    fn read_link(&self, path: &str) -> Result<String, Errno> {
        let target = look::read_link(&self.dir, here(path).as_ref())?;
        target
            .into_os_string()
            .into_string()
            .map_err(|_| Errno::ILSEQ)
    }
}

/// An open file.
struct Handle(cap_std::fs::File);

impl File for Handle {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
        Ok(self.0.read_at(bytes, offset)?)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        stat(&self.0.metadata()?)
    }
}
