//! A path that has been resolved except for its last name: one name in one open directory.
//!
//! Functions use the name without following symbolic links, so they work in exactly that directory,
//! even if the path changes meanwhile. Symbolic links at the end of the path are followed here, by
//! reading the link and resolving its target. So the system never gets a path with a slash at its
//! end: with the slash, the link would not be the last component, and the system would follow it
//! although it was told not to.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cap_std::fs::{Dir, Metadata};

use crate::errno::{Errno, Result};
use crate::look;

/// How many symbolic links at the end of one path are followed: the limit of Linux.
const MAX_LINKS: usize = 40;

/// A directory and a name in it.
pub(crate) struct PathAt<'a> {
    dir: Handle<'a>,
    /// A single name, or any path if the path is [not resolved](PathAt::unresolved).
    path: Cow<'a, Path>,
    is_unresolved: bool,
    /// The file or directory that had the name when the path was resolved, if any.
    pub(crate) found: Option<Metadata>,
}

enum Handle<'a> {
    Borrowed(&'a Dir),
    Opened(Dir),
}

impl Deref for Handle<'_> {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        match self {
            Self::Borrowed(dir) => dir,
            Self::Opened(dir) => dir,
        }
    }
}

impl<'a> PathAt<'a> {
    /// A path that is not resolved. The function that uses it resolves it.
    pub(crate) fn unresolved(dir: &'a Dir, path: &'a Path) -> Self {
        Self {
            dir: Handle::Borrowed(dir),
            path: Cow::Borrowed(path),
            is_unresolved: true,
            found: None,
        }
    }

    /// Resolves a path beneath a directory. A symbolic link at its end is followed if `follow` is
    /// set, or if the path can only be that of a directory.
    ///
    /// # Errors
    /// `PERM` if the path leads out of the directory; `NOTDIR` if it can only be that of a
    /// directory and is not; `LOOP` after too many links; those of the system.
    pub(crate) fn resolve(dir: &'a Dir, path: &Path, follow: bool) -> Result<Self> {
        let mut path = Cow::Borrowed(path);
        for _ in 0..=MAX_LINKS {
            let wants_dir = names_directory(&path);
            let Some((parent, name)) = split(&path) else {
                let dir = dir.open_dir(&*path)?;
                return Ok(Self {
                    found: Some(dir.dir_metadata()?),
                    dir: Handle::Opened(dir),
                    path: Cow::Borrowed(Path::new(".")),
                    is_unresolved: false,
                });
            };
            let parent_dir = match parent.as_os_str().is_empty() {
                true => Handle::Borrowed(dir),
                false => Handle::Opened(dir.open_dir(parent)?),
            };
            let found = match parent_dir.symlink_metadata(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                found => Some(found?),
            };
            if (follow || wants_dir) && found.as_ref().is_some_and(Metadata::is_symlink) {
                let target = look::read_link(&parent_dir, name.as_ref())?;
                if target.is_absolute() {
                    return Err(Errno::PERM);
                }
                let mut next = parent.join(target);
                if wants_dir {
                    next.push("");
                }
                path = Cow::Owned(next);
                continue;
            }
            if wants_dir && found.as_ref().is_some_and(|found| !found.is_dir()) {
                return Err(Errno::NOTDIR);
            }
            return Ok(Self {
                path: Cow::Owned(name.to_owned().into()),
                is_unresolved: false,
                dir: parent_dir,
                found,
            });
        }
        Err(Errno::LOOP)
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path is not resolved yet, so that the function that uses it has to follow
    /// symbolic links at its end.
    pub(crate) fn is_unresolved(&self) -> bool {
        self.is_unresolved
    }

    /// The name in the directory, if the path was [resolved](PathAt::resolve).
    pub(crate) fn name(&self) -> OsString {
        self.path.as_os_str().to_owned()
    }
}

/// Splits a path into its parent and its last name. `None` if the path ends in `..`, or is `.` or
/// the root: these are directories without a name of their own.
fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    let name = path.file_name()?;
    Some((path.parent()?, name))
}

/// Whether the path can only be that of a directory, because it ends in `/` or `/.`.
/// ([`Path::components`] hides these endings.)
pub(crate) fn names_directory(path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    path.ends_with(b"/") || path.ends_with(b"/.")
}

/// The text of a guest's path.
///
/// # Errors
/// `ILSEQ` if it is not UTF-8, which no path of a guest is.
pub(crate) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or(Errno::ILSEQ)
}

/// The path without slashes at its end. The root is returned as it is.
pub(crate) fn without_slashes(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    match bytes.iter().rposition(|b| *b != b'/') {
        Some(last) => Path::new(OsStr::from_bytes(&bytes[..=last])),
        None => path,
    }
}
