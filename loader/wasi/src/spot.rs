//! One name in one directory: what a path comes to when everything but its end has been resolved.
//!
//! What is done with the name does not follow links, so it happens in that very directory, whatever
//! becomes of the path meanwhile. Links at the end are followed here, by reading them and beginning
//! anew, so that no path with a slash at its end reaches the system: with one, a link is no last
//! component, and to be told not to follow it means nothing.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cap_std::fs::{Dir, Metadata};

use crate::errno::{Errno, Result};

/// Links at the end of one path, as Linux follows them.
const MAX_LINKS: usize = 40;

pub(crate) struct Spot<'a> {
    dir: Handle<'a>,
    /// A single name, but in a [plain](Spot::plain) spot.
    path: Cow<'a, Path>,
    is_plain: bool,
    /// What is there: looked for when the path was resolved.
    pub(crate) found: Option<Metadata>,
}

enum Handle<'a> {
    Given(&'a Dir),
    Opened(Dir),
}

impl Deref for Handle<'_> {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        match self {
            Self::Given(dir) => dir,
            Self::Opened(dir) => dir,
        }
    }
}

impl<'a> Spot<'a> {
    /// A path that is left to be resolved by whoever uses it.
    pub(crate) fn plain(dir: &'a Dir, path: &'a Path) -> Self {
        Self {
            dir: Handle::Given(dir),
            path: Cow::Borrowed(path),
            is_plain: true,
            found: None,
        }
    }

    /// Resolves a path beneath a directory. A link at its end is followed if `follow` says so, or if the
    /// path can only be that of a directory.
    ///
    /// # Errors
    /// `PERM` if the path leads out of the directory; `NOTDIR`, `LOOP`; those of the system.
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
                    is_plain: false,
                });
            };
            let parent_dir = match parent.as_os_str().is_empty() {
                true => Handle::Given(dir),
                false => Handle::Opened(dir.open_dir(parent)?),
            };
            let found = match parent_dir.symlink_metadata(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                found => Some(found?),
            };
            if (follow || wants_dir) && found.as_ref().is_some_and(Metadata::is_symlink) {
                let target = parent_dir.read_link_contents(name)?;
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
                is_plain: false,
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

    /// Whether links at the end are still to be followed, by whoever uses the path.
    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// The name, of one that was [resolved](Spot::resolve).
    pub(crate) fn name(&self) -> OsString {
        self.path.as_os_str().to_owned()
    }
}

/// The directory that a path is in and its last name; nothing if that is `.`, `..` or the root, which
/// are directories without a name of their own.
fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    let name = path.file_name()?;
    Some((path.parent()?, name))
}

/// Whether the path can only be that of a directory. ([`Path::components`] hides it.)
pub(crate) fn names_directory(path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    path.ends_with(b"/") || path.ends_with(b"/.")
}

/// The path without slashes at its end; the root stays what it is.
pub(crate) fn without_slashes(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    match bytes.iter().rposition(|b| *b != b'/') {
        Some(last) => Path::new(OsStr::from_bytes(&bytes[..=last])),
        None => path,
    }
}
