//! [`EmbeddedFs`], files that are part of the program.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::errno::{Errno, Result};
use crate::fs::{
    Creation, DirEntry, File, FileKind, FileSystem, OpenOptions, Stat, host_path, read_at, split,
};

/// A read-only file system of files that are part of the program.
///
/// ```
/// use precast_wasi::fs::EmbeddedFs;
///
/// static FILES: &[(&str, &[u8])] = &[
///     ("lib/a.py", b"print(1)"), // or include_bytes!("lib/a.py")
///     ("lib/b.py", b"print(2)"),
/// ];
///
/// let files = EmbeddedFs::new(FILES)?;
/// # Ok::<(), precast_wasi::fs::EmbeddedError>(())
/// ```
///
/// All times are those of 1970, unless [`modified`](Self::modified) sets them.
#[derive(Debug, Clone)]
pub struct EmbeddedFs {
    nodes: BTreeMap<String, Node>,
    modified: Duration,
}

#[derive(Debug, Clone)]
struct Node {
    ino: u64,
    /// `None` for a directory.
    bytes: Option<&'static [u8]>,
}

/// Why a list of files is not a file system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the embedded file {path:?}: {what}")]
pub struct EmbeddedError {
    path: String,
    what: &'static str,
}

impl EmbeddedFs {
    /// Makes a file system of paths and contents. Directories are made as they occur in paths.
    ///
    /// # Errors
    /// [`EmbeddedError`] if a path is empty, has a name `.` or `..`, is there twice, or is a file
    /// and a directory.
    pub fn new(files: &[(&str, &'static [u8])]) -> Result<Self, EmbeddedError> {
        let mut nodes = BTreeMap::new();
        let mut ino = 1;
        let root = Node { ino, bytes: None };
        nodes.insert(String::new(), root);
        for (given, bytes) in files {
            let error = |what| EmbeddedError {
                path: (*given).to_owned(),
                what,
            };
            let path = host_path(given).map_err(|_| error("its path has a name `.` or `..`"))?;
            for (end, _) in path.match_indices('/') {
                ino += 1;
                let dir = nodes.entry(path[..end].to_owned());
                if dir.or_insert(Node { ino, bytes: None }).bytes.is_some() {
                    return Err(error("a directory of its path is a file"));
                }
            }
            ino += 1;
            let bytes = Some(*bytes);
            if nodes.insert(path, Node { ino, bytes }).is_some() {
                return Err(error("its path is empty, or something else has it"));
            }
        }
        let modified = Duration::ZERO;
        Ok(Self { nodes, modified })
    }

    /// Sets all times of all files: the time since 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn modified(self, modified: Duration) -> Self {
        Self { modified, ..self }
    }

    fn node(&self, path: &str) -> Result<&Node> {
        self.nodes.get(path).ok_or_else(|| {
            // The nearest path above that exists may be a file.
            let mut above = split(path);
            while let Some((dir, _)) = above {
                if let Some(node) = self.nodes.get(dir) {
                    return node.bytes.map_or(Errno::NOENT, |_| Errno::NOTDIR);
                }
                above = split(dir);
            }
            Errno::NOENT
        })
    }

    fn stat_of(&self, node: &Node) -> Stat {
        let (kind, size) = match node.bytes {
            Some(bytes) => (FileKind::File, bytes.len() as u64),
            None => (FileKind::Directory, 0),
        };
        Stat {
            ino: node.ino,
            accessed: self.modified,
            modified: self.modified,
            changed: self.modified,
            ..Stat::new(kind, size)
        }
    }
}

impl FileSystem for EmbeddedFs {
    fn stat(&self, path: &str) -> Result<Stat, Errno> {
        Ok(self.stat_of(self.node(path)?))
    }

    fn open(&self, path: &str, options: OpenOptions) -> Result<Box<dyn File>, Errno> {
        let node = match self.node(path) {
            Err(Errno::NOENT) if options.create != Creation::Never => Err(Errno::ROFS),
            Ok(_) if options.create == Creation::New => Err(Errno::EXIST),
            node => node,
        }?;
        let bytes = node.bytes.ok_or(Errno::ISDIR)?;
        if options.write {
            return Err(Errno::ROFS);
        }
        let stat = self.stat_of(node);
        Ok(Box::new(Handle { bytes, stat }))
    }

    fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>, Errno> {
        if self.node(path)?.bytes.is_some() {
            return Err(Errno::NOTDIR);
        }
        // The paths in a directory are adjacent in the map, because all start with the directory
        // and `/`.
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let below = self.nodes.range(prefix.clone()..);
        let names = below.map_while(|(path, node)| Some((path.strip_prefix(&prefix)?, node)));
        let own = names.filter(|(name, _)| !name.is_empty() && !name.contains('/'));
        let entry = |(name, node): (&str, &Node)| DirEntry {
            name: name.to_owned(),
            kind: self.stat_of(node).kind,
            ino: node.ino,
        };
        Ok(own.map(entry).collect())
    }
}

/// An open file.
struct Handle {
    bytes: &'static [u8],
    stat: Stat,
}

impl File for Handle {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
        Ok(read_at(self.bytes, bytes, offset))
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.stat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_those_of_the_paths() {
        let fs = EmbeddedFs::new(&[("/a/b/c", b"1"), ("a.txt", b"22"), ("a/d", b"")]).unwrap();
        let names = |path| {
            let entries = fs.read_dir(path).unwrap();
            let names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
            names.join(" ")
        };
        assert_eq!(names(""), "a a.txt");
        assert_eq!(names("a"), "b d");
        assert_eq!(names("a/b"), "c");
        assert_eq!(fs.stat("a.txt").map(|stat| stat.size), Ok(2));
        assert_eq!(fs.stat("a/x"), Err(Errno::NOENT));
        assert_eq!(fs.stat("a/d/x/y"), Err(Errno::NOTDIR));
        assert_eq!(fs.read_dir("a/d"), Err(Errno::NOTDIR));
    }

    #[test]
    fn lists_that_are_no_file_system_are_refused() {
        for (files, expected) in [
            (&[("a", &b""[..]), ("/a/", b"")][..], "else has it"),
            (&[("a", b""), ("a/b", b"")], "is a file"),
            (&[("a/b", b""), ("a", b"")], "else has it"),
            (&[("a/../b", b"")], "`..`"),
            (&[("", b"")], "empty"),
        ] {
            let error = EmbeddedFs::new(files).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
