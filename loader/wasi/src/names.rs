//! The names that the system looks up to resolve a path of the host, each with its directory.
//! Symbolic links are followed one by one.
//!
//! A guest that can change one of these names decides what the path leads to the next time it is
//! used. The name may be a directory above the file, a symbolic link on the way, or one that does
//! not exist yet.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// How many symbolic links one path may lead through: the limit of Linux.
const MAX_LINKS: usize = 40;

/// Identifies a file or directory, whatever its names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Inode {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
}

impl Inode {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
        }
    }
}

/// A name in a directory.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// The path of the directory, without symbolic links.
    pub(crate) path: PathBuf,
    pub(crate) dir: Inode,
    pub(crate) name: OsString,
}

/// The names on the way of a path, and where the path ends.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) names: Vec<Name>,
    /// The file or directory at the end, by its path without symbolic links. `None` if a name on
    /// the way does not exist.
    pub(crate) end: Option<(PathBuf, Metadata)>,
}

impl Names {
    /// Resolves a path.
    ///
    /// # Errors
    /// Those of the system, except that a name does not exist.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut rest = components(&std::path::absolute(path)?);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        let mut names = Vec::new();
        while let Some(name) = rest.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            names.push(Name {
                dir: Inode::of(&fs::metadata(&at)?),
                path: at.clone(),
                name: name.clone(),
            });
            let next = at.join(&name);
            match fs::symlink_metadata(&next) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Self { names, end: None });
                }
                Err(error) => return Err(error),
                Ok(found) if found.is_symlink() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(rustix::io::Errno::LOOP.into());
                    }
                    let target = fs::read_link(&next)?;
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    rest.extend(components(&target));
                }
                Ok(_) => at = next,
            }
        }
        let found = fs::metadata(&at)?;
        Ok(Self {
            names,
            end: Some((at, found)),
        })
    }
}

/// The names of a path, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_name_on_the_way_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("real/dir")).unwrap();
        fs::write(root.join("real/dir/file"), "").unwrap();
        symlink("real/../real/dir", root.join("link")).unwrap();
        let below = |path: &str| {
            let names = Names::of(&root.join(path)).unwrap();
            let relative = |name: &Name| {
                let dir = name.path.strip_prefix(&root).ok()?;
                Some(dir.join(&name.name).display().to_string())
            };
            let all: Vec<String> = names.names.iter().filter_map(relative).collect();
            let end = names.end.map(|(path, _)| path);
            (all.join(" "), end)
        };
        let file = Some(root.join("real/dir/file"));
        assert_eq!(
            below("real/dir/file"),
            ("real real/dir real/dir/file".into(), file.clone())
        );
        assert_eq!(
            below("link/./file"),
            ("link real real real/dir real/dir/file".into(), file)
        );
        assert_eq!(below("link/new/more"), {
            ("link real real real/dir real/dir/new".into(), None)
        });
        symlink("loop", root.join("loop")).unwrap();
        assert!(Names::of(&root.join("loop")).is_err());
    }
}
