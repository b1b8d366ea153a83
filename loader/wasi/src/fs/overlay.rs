//! [`Overlay`], a file system over another.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::errno::{Errno, Result};
use crate::fs::{
    Creation, DirEntry, File, FileKind, FileSystem, OpenOptions, Stat, Times, join, split,
};

/// This bit is set in the numbers of files of the lower file system, and not in those of the upper
/// one.
const LOWER: u64 = 1 << 63;

/// How much is copied from the lower to the upper file system at once.
const PIECE: usize = 64 << 10;

/// A file system over another one that is only read: guests see both, and their changes go to the
/// upper one. See the example of the [module](super).
///
/// - A file of the lower file system is copied when it is opened for writing, renamed or linked, or
///   gets other times. This can take long for a large file. Handles that were open before continue
///   to read the lower file.
/// - A file or directory of the lower file system that is removed becomes hidden. Only the overlay
///   itself knows what is hidden, so another overlay with the same upper file system does not.
/// - A directory of the lower file system cannot be renamed: the error is `XDEV`, as for the
///   overlays of Linux by default, and programs such as `mv` then copy.
#[derive(Debug)]
pub struct Overlay<U, L> {
    upper: U,
    lower: L,
    /// Paths of the lower file system that are hidden, with everything below them. The set is
    /// locked while anything changes.
    hidden: Mutex<HashSet<String>>,
}

type Hidden<'a> = MutexGuard<'a, HashSet<String>>;

impl<U: FileSystem, L: FileSystem> Overlay<U, L> {
    /// Puts `upper` over `lower`. Where both have a file of the same path, guests see the upper
    /// one. Directories are merged.
    pub fn new(upper: U, lower: L) -> Self {
        Self {
            upper,
            lower,
            hidden: Mutex::default(),
        }
    }

    fn hidden(&self) -> Hidden<'_> {
        // A set of paths is never half changed.
        self.hidden.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the lower file system has at a path, if it is not hidden or covered.
    fn below(&self, hidden: &HashSet<String>, path: &str) -> Result<Stat> {
        let above = path.match_indices('/').map(|(end, _)| &path[..end]);
        for part in above.chain([path]) {
            if hidden.contains(part) {
                return Err(Errno::NOENT);
            }
            // A file or link of the upper file system covers a directory of the lower one.
            if part.len() < path.len() && self.upper.stat(part).is_ok_and(|found| !found.is_dir()) {
                return Err(Errno::NOTDIR);
            }
        }
        let found = self.lower.stat(path)?;
        Ok(Stat {
            ino: found.ino | LOWER,
            ..found
        })
    }

    /// What is at a path, and whether it is in the upper file system.
    fn find(&self, hidden: &HashSet<String>, path: &str) -> Result<(Stat, bool)> {
        match self.upper.stat(path) {
            Ok(found) => Ok((found, true)),
            Err(Errno::NOENT) => Ok((self.below(hidden, path)?, false)),
            Err(errno) => Err(errno),
        }
    }

    /// Makes the directories above a path in the upper file system. Each must exist in one of the
    /// two file systems.
    fn make_parents(&self, hidden: &HashSet<String>, path: &str) -> Result<()> {
        let dirs = path.match_indices('/').map(|(end, _)| &path[..end]);
        for dir in dirs {
            match self.find(hidden, dir)? {
                (found, true) if found.is_dir() => {}
                (found, false) if found.is_dir() => self.upper.create_dir(dir)?,
                _ => return Err(Errno::NOTDIR),
            }
        }
        Ok(())
    }

    /// Copies what the lower file system has at a path into the upper one, with its content unless
    /// `empty`.
    fn copy_up(&self, path: &str, found: Stat, empty: bool) -> Result<()> {
        match found.kind {
            FileKind::Directory => self.upper.create_dir(path)?,
            FileKind::Symlink => self.upper.symlink(&self.lower.read_link(path)?, path)?,
            FileKind::File => {
                let options = OpenOptions {
                    write: true,
                    truncate: false,
                    create: Creation::New,
                };
                let file = self.upper.open(path, options)?;
                let copied = match empty {
                    true => Ok(()),
                    false => self.copy_content(path, &*file),
                };
                if copied.is_err() {
                    drop(file);
                    self.upper.remove_file(path)?;
                    return copied;
                }
            }
        }
        let times = Times {
            accessed: Some(found.accessed),
            modified: Some(found.modified),
        };
        self.upper.set_times(path, times)
    }

    fn copy_content(&self, path: &str, to: &dyn File) -> Result<()> {
        let from = self.lower.open(path, OpenOptions::default())?;
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        loop {
            // An implementation may return any number.
            let n = from.read_at(&mut piece, at)?.min(PIECE);
            if n == 0 {
                return Ok(());
            }
            let mut written = 0;
            while written < n {
                match to.write_at(&piece[written..n], at + written as u64)? {
                    0 => return Err(Errno::NOSPC),
                    more => written += more.min(n - written),
                }
            }
            at += n as u64;
        }
    }

    /// Copies a file or directory into the upper file system, unless it is there already.
    fn copy_up_if_lower(&self, hidden: &HashSet<String>, path: &str) -> Result<Stat> {
        let (found, is_upper) = self.find(hidden, path)?;
        if !is_upper {
            self.make_parents(hidden, path)?;
            self.copy_up(path, found, false)?;
        }
        Ok(found)
    }

    /// Checks that nothing has this path, and makes the directories above it in the upper file
    /// system.
    fn make_room(&self, hidden: &HashSet<String>, path: &str) -> Result<()> {
        match self.find(hidden, path) {
            Err(Errno::NOENT) => self.make_parents(hidden, path),
            found => found.and(Err(Errno::EXIST)),
        }
    }

    /// Hides a path, if the lower file system has it.
    fn hide(&self, hidden: &mut Hidden<'_>, path: &str) {
        if self.below(hidden, path).is_ok() {
            hidden.insert(path.to_owned());
        }
    }

    fn list(&self, hidden: &HashSet<String>, path: &str) -> Result<Vec<DirEntry>> {
        let (found, is_upper) = self.find(hidden, path)?;
        if !found.is_dir() {
            return Err(Errno::NOTDIR);
        }
        let mut entries = BTreeMap::new();
        if self.below(hidden, path).is_ok_and(|found| found.is_dir()) {
            for mut entry in self.lower.read_dir(path)? {
                entry.ino |= LOWER;
                if !hidden.contains(&join(path, &entry.name)) {
                    entries.insert(entry.name.clone(), entry);
                }
            }
        }
        if is_upper {
            for entry in self.upper.read_dir(path)? {
                entries.insert(entry.name.clone(), entry);
            }
        }
        Ok(entries.into_values().collect())
    }
}

impl<U: FileSystem, L: FileSystem> FileSystem for Overlay<U, L> {
    fn stat(&self, path: &str) -> Result<Stat, Errno> {
        Ok(self.find(&self.hidden(), path)?.0)
    }

    fn open(&self, path: &str, options: OpenOptions) -> Result<Box<dyn File>, Errno> {
        let hidden = self.hidden();
        match self.find(&hidden, path) {
            Ok((_, true)) => {}
            Ok((_, false)) if options.create == Creation::New => return Err(Errno::EXIST),
            Ok((found, false)) => match found.kind {
                FileKind::Directory => return Err(Errno::ISDIR),
                FileKind::Symlink => return Err(Errno::LOOP),
                FileKind::File if options.write => {
                    self.make_parents(&hidden, path)?;
                    self.copy_up(path, found, options.truncate)?;
                }
                FileKind::File => {
                    let file = self.lower.open(path, options)?;
                    return Ok(Box::new(Lower(file)));
                }
            },
            Err(Errno::NOENT) if options.create != Creation::Never => {
                self.make_parents(&hidden, path)?;
            }
            Err(errno) => return Err(errno),
        }
        self.upper.open(path, options)
    }

    fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>, Errno> {
        self.list(&self.hidden(), path)
    }

    fn read_link(&self, path: &str) -> Result<String, Errno> {
        match self.find(&self.hidden(), path)? {
            (_, true) => self.upper.read_link(path),
            (_, false) => self.lower.read_link(path),
        }
    }

    fn create_dir(&self, path: &str) -> Result<(), Errno> {
        let hidden = self.hidden();
        self.make_room(&hidden, path)?;
        self.upper.create_dir(path)
    }

    fn remove_file(&self, path: &str) -> Result<(), Errno> {
        let mut hidden = self.hidden();
        match self.find(&hidden, path)? {
            (found, _) if found.is_dir() => return Err(Errno::ISDIR),
            (_, true) => self.upper.remove_file(path)?,
            (_, false) => {}
        }
        self.hide(&mut hidden, path);
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> Result<(), Errno> {
        let mut hidden = self.hidden();
        if split(path).is_none() {
            return Err(Errno::BUSY);
        }
        if !self.list(&hidden, path)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        if self.find(&hidden, path)?.1 {
            self.upper.remove_dir(path)?;
        }
        self.hide(&mut hidden, path);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        let mut hidden = self.hidden();
        let (found, _) = self.find(&hidden, from)?;
        if found.is_dir() && self.below(&hidden, from).is_ok_and(|below| below.is_dir()) {
            return Err(Errno::XDEV);
        }
        match self.find(&hidden, to) {
            Ok((there, _)) if there.is_dir() => {
                if !found.is_dir() {
                    return Err(Errno::ISDIR);
                }
                if !self.list(&hidden, to)?.is_empty() {
                    return Err(Errno::NOTEMPTY);
                }
            }
            Ok(_) if found.is_dir() => return Err(Errno::NOTDIR),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        if from == to {
            return Ok(());
        }
        self.make_parents(&hidden, to)?;
        self.copy_up_if_lower(&hidden, from)?;
        self.upper.rename(from, to)?;
        if found.is_dir() {
            // The entries of a lower directory at this path must not appear in the new directory.
            self.hide(&mut hidden, to);
        }
        self.hide(&mut hidden, from);
        Ok(())
    }

    fn symlink(&self, target: &str, path: &str) -> Result<(), Errno> {
        let hidden = self.hidden();
        self.make_room(&hidden, path)?;
        self.upper.symlink(target, path)
    }

    fn link(&self, file: &str, path: &str) -> Result<(), Errno> {
        let hidden = self.hidden();
        self.make_room(&hidden, path)?;
        self.copy_up_if_lower(&hidden, file)?;
        self.upper.link(file, path)
    }

    fn set_times(&self, path: &str, times: Times) -> Result<(), Errno> {
        self.copy_up_if_lower(&self.hidden(), path)?;
        self.upper.set_times(path, times)
    }
}

/// An open file of the lower file system.
struct Lower(Box<dyn File>);

impl File for Lower {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
        self.0.read_at(bytes, offset)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        let found = self.0.stat()?;
        Ok(Stat {
            ino: found.ino | LOWER,
            ..found
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::MemoryFs;

    /// A file system with one file that claims to have read more bytes than there is room for.
    struct Boaster;

    impl FileSystem for Boaster {
        fn stat(&self, path: &str) -> Result<Stat, Errno> {
            match path {
                "" => Ok(Stat::new(FileKind::Directory, 0)),
                "file" => Ok(Stat::new(FileKind::File, 10)),
                _ => Err(Errno::NOENT),
            }
        }

        fn open(&self, _: &str, _: OpenOptions) -> Result<Box<dyn File>, Errno> {
            Ok(Box::new(Self))
        }

        fn read_dir(&self, _: &str) -> Result<Vec<DirEntry>, Errno> {
            Ok(Vec::new())
        }
    }

    impl File for Boaster {
        fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
            bytes.fill(b'x');
            Ok(if offset == 0 { usize::MAX } else { 0 })
        }

        fn stat(&self) -> Result<Stat, Errno> {
            Ok(Stat::new(FileKind::File, 10))
        }
    }

    #[test]
    fn a_file_that_says_it_has_read_more_than_there_is_room_for_is_copied() {
        let upper = MemoryFs::new(1 << 20);
        let overlay = Overlay::new(upper.clone(), Boaster);
        let options = OpenOptions {
            write: true,
            ..OpenOptions::default()
        };
        overlay.open("file", options).unwrap();
        assert_eq!(upper.read("file").unwrap(), [b'x'; PIECE]);
    }
}
