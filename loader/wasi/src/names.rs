//! The names that lead to a path of the host's: each in its directory, links followed one by one.
//!
//! Whoever can change one of these names decides what the path means the next time it is used, be it a
//! directory above the file, a symbolic link on the way, or a name that does not exist yet.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Links of one path, as Linux follows them.
const MAX_LINKS: usize = 40;

/// A file or directory, whatever its names.
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
    /// The directory, without links in its path.
    pub(crate) path: PathBuf,
    pub(crate) dir: Inode,
    pub(crate) name: OsString,
}

/// What leads to a path, and where to.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) names: Vec<Name>,
    /// What is there, and its path without links; nothing if a name on the way does not exist.
    pub(crate) end: Option<(PathBuf, Metadata)>,
}

impl Names {
    /// # Errors
    /// Those of the system, but not that something does not exist.
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
