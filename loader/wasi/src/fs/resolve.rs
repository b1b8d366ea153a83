//! **The sandbox of mounted file systems.** Every path of a guest is resolved here, name by name,
//! to a path without `.`, `..` and symbolic links, beneath the directory that the guest named by a
//! descriptor. `..`, absolute paths and symbolic links that lead out of that directory are refused
//! with `PERM`, as for [directories of the system](crate::path).

use crate::errno::{Errno, Result};
use crate::fs::{FileKind, FileSystem, Stat, join, split};
use crate::guest::MAX_PATH;

/// How many symbolic links one path may lead through: the limit of Linux.
const MAX_LINKS: usize = 40;

/// The maximum number of names of a path. The time that a file system takes grows with the square
/// of this number.
const MAX_DEPTH: usize = 256;

/// How many names of files and directories one path may lead through, with those of symbolic links.
/// Each is looked up from the root, in a call that nothing interrupts. A path without links has
/// fewer: `a/..` as often as fits is 819 look-ups.
const MAX_LOOKUPS: usize = 1024;

/// The maximum length of a name in bytes, as in most file systems.
const MAX_NAME: usize = 255;

/// Whether a directory may have an entry of this name. `.` and `..` are no entries.
pub(crate) fn is_name(name: &str) -> bool {
    let is_short = (1..=MAX_NAME).contains(&name.len());
    is_short && !matches!(name, "." | "..") && !name.contains(['/', '\0'])
}

/// Whether a path of a file system is short enough for it.
pub(super) fn is_path(path: &str) -> bool {
    path.len() <= MAX_PATH && path.matches('/').count() < MAX_DEPTH
}

/// Where a path leads.
#[derive(Debug)]
pub(super) struct Resolved {
    /// The path in the file system.
    pub(super) path: String,
    /// The attributes of the file or directory at the path, if any.
    pub(super) found: Option<Stat>,
    /// Whether the path ends in a name, not in `.` or `..`. Only names can be created and removed.
    pub(super) is_named: bool,
}

impl Resolved {
    /// The attributes of the file or directory at the path.
    ///
    /// # Errors
    /// `NOENT` if nothing is.
    pub(super) fn existing(&self) -> Result<Stat> {
        self.found.ok_or(Errno::NOENT)
    }
}

/// Resolves a guest's path beneath the directory `base`. A symbolic link at its end is followed if
/// `follow` is set, or if the path ends in a slash, and so can only be that of a directory.
///
/// # Errors
/// `PERM` if the path leads out of the directory, `NOENT` and `NOTDIR` for names on the way, `LOOP`
/// after too many symbolic links or names in them, `NAMETOOLONG`, and those of the file system.
pub(super) fn resolve(
    fs: &dyn FileSystem,
    base: &str,
    path: &str,
    follow: bool,
) -> Result<Resolved> {
    // The names that are still to come, the next one last.
    let mut rest = names(path)?;
    let mut at = base.to_owned();
    let (mut links, mut lookups) = (0, 0);
    // `at` is a directory: it is `base`, or the loop has checked it.
    while let Some(name) = rest.pop() {
        match &*name {
            "." => continue,
            ".." if at == base => return Err(Errno::PERM),
            ".." => {
                at.truncate(split(&at).map_or(0, |(dir, _)| dir.len()));
                continue;
            }
            _ => {}
        }
        let next = join(&at, &name);
        if name.len() > MAX_NAME || !is_path(&next) {
            return Err(Errno::NAMETOOLONG);
        }
        lookups += 1;
        if lookups > MAX_LOOKUPS {
            return Err(Errno::LOOP);
        }
        let is_last = rest.is_empty();
        let found = match fs.stat(&next) {
            Err(Errno::NOENT) if is_last => None,
            found => Some(found?),
        };
        match found.map(|found| found.kind) {
            Some(FileKind::Symlink) if follow || !is_last => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                rest.extend(names(&fs.read_link(&next)?)?);
            }
            _ if is_last => {
                return Ok(Resolved {
                    path: next,
                    found,
                    is_named: true,
                });
            }
            Some(FileKind::Directory) => at = next,
            Some(FileKind::File | FileKind::Symlink) => return Err(Errno::NOTDIR),
            None => return Err(Errno::NOENT),
        }
    }
    let found = fs.stat(&at)?;
    if !found.is_dir() {
        return Err(Errno::NOTDIR);
    }
    Ok(Resolved {
        path: at,
        found: Some(found),
        is_named: false,
    })
}

/// The names of a relative path, the last one first. A slash at the end counts as `/.`.
fn names(path: &str) -> Result<Vec<String>> {
    if path.starts_with('/') {
        return Err(Errno::PERM);
    }
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    if path.len() > MAX_PATH {
        return Err(Errno::NAMETOOLONG);
    }
    let end = path.ends_with('/').then(|| ".".to_owned());
    let names = path.split('/').rev().filter(|name| !name.is_empty());
    Ok(end.into_iter().chain(names.map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::fs::{DirEntry, File, MemoryFs, OpenOptions};

    fn tree() -> MemoryFs {
        let fs = MemoryFs::new(1 << 20);
        fs.write("a/b/file", b"1").unwrap();
        fs.write("secret", b"2").unwrap();
        for (target, path) in [
            ("..", "a/up"),
            ("../../secret", "a/b/out"),
            ("b/file", "a/link"),
            ("b/", "a/dir"),
            ("loop", "a/loop"),
            ("/secret", "a/absolute"),
            ("new", "a/dangling"),
        ] {
            fs.symlink(target, path).unwrap();
        }
        fs
    }

    #[test]
    fn paths_lead_where_the_system_would_lead_them() {
        let fs = tree();
        for (base, path, follow, expected) in [
            ("", "a/b/file", true, "a/b/file"),
            ("", "a//b/./file", true, "a/b/file"),
            ("", "a/b/../b/file", true, "a/b/file"),
            ("a", "link", true, "a/b/file"),
            ("a", "link", false, "a/link"),
            ("a", "dir", false, "a/dir"),
            ("a", "dir/", false, "a/b"),
            ("a", "dir/file", false, "a/b/file"),
            ("a", "dir/..", false, "a"),
            ("a", "dangling", true, "a/new"),
            ("", "a/up/secret", true, "secret"),
            ("", "a/b/out", true, "secret"),
            ("a", ".", false, "a"),
        ] {
            let resolved = resolve(&fs, base, path, follow).unwrap();
            assert_eq!(resolved.path, expected, "{base} {path}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_directory() {
        let fs = tree();
        for (base, path, expected) in [
            ("", "..", Errno::PERM),
            ("", "a/../..", Errno::PERM),
            ("a", "..", Errno::PERM),
            ("a", "../a", Errno::PERM),
            ("a", "b/../../secret", Errno::PERM),
            ("a", "up/secret", Errno::PERM),
            ("a", "b/out", Errno::PERM),
            ("a", "absolute", Errno::PERM),
            ("a", "/secret", Errno::PERM),
            ("a", "loop", Errno::LOOP),
            ("a", "missing/x", Errno::NOENT),
            ("a", "missing/", Errno::NOENT),
            ("a", "missing/..", Errno::NOENT),
            ("a", "link/", Errno::NOTDIR),
            ("a", "link/..", Errno::NOTDIR),
            ("a", "b/file/x", Errno::NOTDIR),
            ("gone", "x/y", Errno::NOENT),
            ("gone", ".", Errno::NOENT),
        ] {
            let found = resolve(&fs, base, path, true).map(|resolved| resolved.path);
            assert_eq!(found, Err(expected), "{base} {path}");
        }
        let long = "x".repeat(MAX_NAME + 1);
        let found = resolve(&fs, "", &long, true).map(drop);
        assert_eq!(found, Err(Errno::NAMETOOLONG));
        let deep = ["a"; MAX_DEPTH].join("/");
        let found = resolve(&fs, &deep, "b", true).map(drop);
        assert_eq!(found, Err(Errno::NAMETOOLONG));
    }

    #[test]
    fn links_cannot_make_a_path_endless() {
        /// Counts the names that are looked up.
        struct Counted(MemoryFs, AtomicUsize);

        impl FileSystem for Counted {
            fn stat(&self, path: &str) -> Result<Stat> {
                self.1.fetch_add(1, Ordering::Relaxed);
                self.0.stat(path)
            }

            fn open(&self, path: &str, options: OpenOptions) -> Result<Box<dyn File>> {
                self.0.open(path, options)
            }

            fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>> {
                self.0.read_dir(path)
            }

            fn read_link(&self, path: &str) -> Result<String> {
                self.0.read_link(path)
            }
        }

        let fs = Counted(MemoryFs::new(1 << 20), AtomicUsize::new(0));
        fs.0.write("a/file", b"1").unwrap();
        // The longest path without links is legal, and a link to it, but not many in a row.
        let winding = "a/../".repeat(818);
        fs.0.symlink(&format!("{winding}a"), "0").unwrap();
        for link in 1..30 {
            let target = format!("{winding}{}", link - 1);
            fs.0.symlink(&target, &link.to_string()).unwrap();
        }
        let looked = |path: &str| {
            let found = resolve(&fs, "", path, true).map(|resolved| resolved.path);
            (found, fs.1.swap(0, Ordering::Relaxed))
        };
        let straight = format!("{winding}a");
        assert_eq!(looked(&straight), (Ok("a".into()), 819));
        assert_eq!(looked("0/file"), (Ok("a/file".into()), 821));
        let (found, lookups) = looked("29/file");
        assert_eq!(found, Err(Errno::LOOP));
        assert!(lookups <= MAX_LOOKUPS, "{lookups}");
    }
}
