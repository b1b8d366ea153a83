//! File systems that a host makes itself, and the trait that they implement.
//!
//! [`WasiCtxBuilder::mount`](crate::WasiCtxBuilder::mount) gives a guest such a file system under a
//! name. [`WasiCtxBuilder::preopened_dir`](crate::WasiCtxBuilder::preopened_dir) is for directories
//! of the system that guests may write to, and resolves paths in the system.
//!
//! | file system | what |
//! |---|---|
//! | [`MemoryFs`] | in memory, up to a number of bytes |
//! | [`EmbeddedFs`] | files that are part of the program; read-only |
//! | [`HostFs`] | a directory of the system; read-only |
//! | [`Overlay`] | one file system over another, which is only read |
//!
//! ```
//! use precast_wasi::fs::{EmbeddedFs, MemoryFs, Overlay};
//! use precast_wasi::{DirAccess, WasiCtxBuilder};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let defaults = EmbeddedFs::new(&[
//!     ("settings/app.toml", b"colour = \"red\"\n"), // or include_bytes!("…")
//!     ("index.html", b"<html>"),
//! ])?;
//! let changes = MemoryFs::new(16 << 20);
//! let overlay = Overlay::new(changes.clone(), defaults);
//! let wasi = WasiCtxBuilder::new()
//!     .mount("/", overlay, DirAccess::ReadWrite)?
//!     .build();
//! # drop(wasi);
//! // When the guest has run:
//! let settings = changes.read("settings/app.toml");
//! # drop(settings);
//! # Ok(())
//! # }
//! ```

mod embedded;
mod host;
mod memory;
pub(crate) mod mounted;
mod overlay;
mod resolve;

use std::sync::Arc;
use std::time::Duration;

pub use crate::errno::Errno;
pub use embedded::{EmbeddedError, EmbeddedFs};
pub use host::HostFs;
pub use memory::MemoryFs;
pub use overlay::Overlay;

pub(crate) use resolve::is_name;

/// A file system that can be given to guests.
///
/// # Paths
/// A path is relative to the root of the file system: names with `/` between them, and the empty
/// path for the root. No name is empty, `.` or `..`, or longer than 255 bytes, and no path has more
/// than 256 names or 4095 bytes. The caller has resolved symbolic links, except one at the end of
/// the path. So no implementation resolves paths, and no path leads a guest out of a file system.
///
/// # What callers check
/// A caller has looked at a path before, and refuses what can never work, such as to remove a
/// directory as a file. But guests on other threads may share the file system, so an implementation
/// must check again and keep its own structure intact.
///
/// # Errors
/// An implementation returns the [`Errno`] that POSIX names for the case: `NOENT` where nothing is,
/// `NOTDIR` if a name on the way is no directory, `EXIST` for a name that is taken, `ISDIR` for a
/// directory where a file is expected, `NOTEMPTY`, `NOSPC`, `XDEV` if only a copy can do it, `IO`.
/// Functions that change something return `ROFS` unless they are implemented.
///
/// # Time
/// While a call runs, its guest cannot be stopped, and neither can any other guest that waits for a
/// lock of the file system. So no call should take long.
pub trait FileSystem: Send + Sync {
    /// The attributes of a file, a directory, or a symbolic link itself.
    ///
    /// # Errors
    /// `NOENT` if nothing has this path; see [`FileSystem`].
    fn stat(&self, path: &str) -> Result<Stat, Errno>;

    /// Opens a file, or creates it as `options` say. It is never asked to follow a symbolic link.
    ///
    /// # Errors
    /// `NOENT`, `EXIST` for [`Creation::New`], `ISDIR`, `ROFS`; see [`FileSystem`].
    fn open(&self, path: &str, options: OpenOptions) -> Result<Box<dyn File>, Errno>;

    /// The entries of a directory in any order, without `.` and `..`.
    ///
    /// # Errors
    /// `NOTDIR`; see [`FileSystem`].
    fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>, Errno>;

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// `INVAL` if it is no symbolic link, which is what a file system without links returns.
    fn read_link(&self, path: &str) -> Result<String, Errno> {
        self.stat(path).and(Err(Errno::INVAL))
    }

    /// Creates a directory.
    ///
    /// # Errors
    /// `EXIST`, `ROFS`; see [`FileSystem`].
    fn create_dir(&self, path: &str) -> Result<(), Errno> {
        let _ = path;
        Err(Errno::ROFS)
    }

    /// Removes the name of a file or a symbolic link. Handles that are open stay valid.
    ///
    /// # Errors
    /// `ISDIR`, `ROFS`; see [`FileSystem`].
    fn remove_file(&self, path: &str) -> Result<(), Errno> {
        let _ = path;
        Err(Errno::ROFS)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NOTEMPTY`, `NOTDIR`, `ROFS`; see [`FileSystem`].
    fn remove_dir(&self, path: &str) -> Result<(), Errno> {
        let _ = path;
        Err(Errno::ROFS)
    }

    /// Gives a file or directory another path. A file there is replaced by a file, and an empty
    /// directory by a directory, in one step.
    ///
    /// # Errors
    /// `NOTEMPTY`, `ISDIR`, `NOTDIR`, `INVAL` for a directory that would move into itself, `XDEV`,
    /// `ROFS`; see [`FileSystem`].
    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        let _ = (from, to);
        Err(Errno::ROFS)
    }

    /// Creates a symbolic link. The target is any text that a guest gave; it is relative.
    ///
    /// # Errors
    /// `EXIST`, `ROFS`; see [`FileSystem`].
    fn symlink(&self, target: &str, path: &str) -> Result<(), Errno> {
        let _ = (target, path);
        Err(Errno::ROFS)
    }

    /// Gives a file a second name.
    ///
    /// # Errors
    /// `EXIST`, `NOTSUP` if files have one name only, `ROFS`; see [`FileSystem`].
    fn link(&self, file: &str, path: &str) -> Result<(), Errno> {
        let _ = (file, path);
        Err(Errno::ROFS)
    }

    /// Sets times of a file, a directory, or a symbolic link itself.
    ///
    /// # Errors
    /// `ROFS`; see [`FileSystem`].
    fn set_times(&self, path: &str, times: Times) -> Result<(), Errno> {
        let _ = (path, times);
        Err(Errno::ROFS)
    }
}

/// An open file of a [`FileSystem`]. The caller keeps the position.
///
/// Functions that change something return `BADF` unless they are implemented, as for a file that is
/// not open for writing.
pub trait File: Send {
    /// Reads from an offset, and returns how many bytes; 0 only at the end of the file.
    ///
    /// # Errors
    /// `IO`, or another error that POSIX names for the function.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Errno>;

    /// Writes at an offset, and returns how many bytes. A gap before the offset is filled with
    /// zeros.
    ///
    /// # Errors
    /// `NOSPC`, `FBIG`, `BADF`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        let _ = (bytes, offset);
        Err(Errno::BADF)
    }

    /// Writes at the end, and returns how many bytes. An implementation whose files several guests
    /// may have open must find the end and write in one step.
    ///
    /// # Errors
    /// Those of [`write_at`](Self::write_at).
    fn append(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.write_at(bytes, self.stat()?.size)
    }

    /// The attributes.
    ///
    /// # Errors
    /// `IO`, or another error that POSIX names for the function.
    fn stat(&self) -> Result<Stat, Errno>;

    /// Sets the size. What is added is zero.
    ///
    /// # Errors
    /// `NOSPC`, `FBIG`, `BADF`.
    fn set_len(&self, len: u64) -> Result<(), Errno> {
        let _ = len;
        Err(Errno::BADF)
    }

    /// Sets times.
    ///
    /// # Errors
    /// `BADF`.
    fn set_times(&self, times: Times) -> Result<(), Errno> {
        let _ = times;
        Err(Errno::BADF)
    }

    /// Makes what was written survive a crash, as far as the file system can.
    ///
    /// # Errors
    /// `IO`.
    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// The attributes of a file, a directory or a symbolic link. Times count from 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// A number that nothing else in the file system has; 0 if there are no such numbers.
    pub ino: u64,
    /// The number of names (hard links).
    pub nlink: u64,
    /// Size in bytes.
    pub size: u64,
    /// When it was read last.
    pub accessed: Duration,
    /// When its content was changed last.
    pub modified: Duration,
    /// When its attributes were changed last.
    pub changed: Duration,
}

impl Stat {
    /// Attributes with this kind and size, one name, no number, and times of 1970.
    pub fn new(kind: FileKind, size: u64) -> Self {
        Self {
            kind,
            ino: 0,
            nlink: 1,
            size,
            accessed: Duration::ZERO,
            modified: Duration::ZERO,
            changed: Duration::ZERO,
        }
    }

    fn is_dir(&self) -> bool {
        self.kind == FileKind::Directory
    }
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Its number, as in [`Stat`].
    pub ino: u64,
}

/// How a file is opened. It is always opened for reading, too: what a guest may do with the
/// descriptor is checked by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenOptions {
    /// Whether the file is opened for writing.
    pub write: bool,
    /// Whether the file is made empty. This is only set with `write`.
    pub truncate: bool,
    /// Whether the file is created. Anything but [`Creation::Never`] is only set with `write`.
    pub create: Creation,
}

/// Whether opening creates a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Creation {
    /// Opening creates no file.
    #[default]
    Never,
    /// Opening creates the file if nothing has the path.
    IfMissing,
    /// Opening creates the file, and fails if anything has the path.
    New,
}

/// Times to set, since 1970-01-01 00:00 UTC; `None` keeps a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// When it was read last.
    pub accessed: Option<Duration>,
    /// When its content was changed last.
    pub modified: Option<Duration>,
}

/// Implements the trait for a pointer to an implementation.
macro_rules! forwarded {
    ($(fn $name:ident(&self $(, $arg:ident: $ty:ty)*) -> $result:ty;)*) => {
        $(fn $name(&self $(, $arg: $ty)*) -> Result<$result, Errno> {
            (**self).$name($($arg),*)
        })*
    };
}

impl<F: FileSystem + ?Sized> FileSystem for Arc<F> {
    forwarded! {
        fn stat(&self, path: &str) -> Stat;
        fn open(&self, path: &str, options: OpenOptions) -> Box<dyn File>;
        fn read_dir(&self, path: &str) -> Vec<DirEntry>;
        fn read_link(&self, path: &str) -> String;
        fn create_dir(&self, path: &str) -> ();
        fn remove_file(&self, path: &str) -> ();
        fn remove_dir(&self, path: &str) -> ();
        fn rename(&self, from: &str, to: &str) -> ();
        fn symlink(&self, target: &str, path: &str) -> ();
        fn link(&self, file: &str, path: &str) -> ();
        fn set_times(&self, path: &str, times: Times) -> ();
    }
}

/// Splits a path of a file system into that of its directory and its name; `None` for the root.
fn split(path: &str) -> Option<(&str, &str)> {
    match path.rsplit_once('/') {
        Some(split) => Some(split),
        None if path.is_empty() => None,
        None => Some(("", path)),
    }
}

/// The path of a name in a directory.
fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        return name.to_owned();
    }
    format!("{dir}/{name}")
}

/// Whether a path is `dir` or in it.
fn is_in(path: &str, dir: &str) -> bool {
    let rest = path.strip_prefix(dir);
    dir.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The path that a host means: slashes at its ends and doubled ones are left out.
fn host_path(path: &str) -> Result<String, Errno> {
    let names = path.split('/').filter(|name| !name.is_empty());
    let names: Vec<_> = names.collect();
    if names.iter().any(|name| matches!(*name, "." | "..")) {
        return Err(Errno::INVAL);
    }
    Ok(names.join("/"))
}

/// Reads from an offset of a file's content, and returns how many bytes.
fn read_at(content: &[u8], bytes: &mut [u8], offset: u64) -> usize {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = content.get(start..).unwrap_or(&[]);
    let n = rest.len().min(bytes.len());
    bytes[..n].copy_from_slice(&rest[..n]);
    n
}
