//! Looks at what a path leads to without opening it: the attributes of a file, and the target of a
//! symbolic link.
//!
//! Opening can have an effect that no later check takes back: it lets a writer go on that waits for
//! a reader of a named pipe, and some devices do something. Linux has handles of files that are not
//! open (`O_PATH`), which have attributes only. A handle also stays with its file when the path
//! changes, so what was looked at is what was checked not to be of [procfs](crate::procfs).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, File, Metadata, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;

use crate::errno::{Errno, Result};
use crate::procfs;

/// The attributes of a file, a directory or, without `follow`, a symbolic link.
///
/// # Errors
/// `PERM` if it is in procfs or outside of the directory; those of the system.
pub(crate) fn metadata(dir: &Dir, path: &Path, follow: bool) -> Result<Metadata> {
    Ok(handle(dir, path, follow)?.metadata()?)
}

/// The target of a symbolic link, relative or absolute.
///
/// # Errors
/// `PERM` if the link is in procfs or outside of the directory; `INVAL` if it is no symbolic link;
/// those of the system.
pub(crate) fn read_link(dir: &Dir, path: &Path) -> Result<PathBuf> {
    let link = handle(dir, path, false)?;
    if !link.metadata()?.is_symlink() {
        return Err(Errno::INVAL);
    }
    let target = rustix::fs::readlinkat(&link, "", Vec::new())?;
    Ok(OsString::from_vec(target.into_bytes()).into())
}

fn handle(dir: &Dir, path: &Path, follow: bool) -> Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .follow(match follow {
            true => FollowSymlinks::Yes,
            false => FollowSymlinks::No,
        })
        .custom_flags(OFlags::PATH.bits() as i32);
    let handle = dir.open_with(path, &options)?;
    procfs::refuse(&handle)?;
    Ok(handle)
}
