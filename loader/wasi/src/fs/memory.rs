//! [`MemoryFs`], a file system in memory.
//!
//! All nodes are in one table, and directories refer to them by number, so nothing recurses,
//! however deep a guest nests directories. Everything that a guest makes is charged to the file
//! system's limit: the memory that is allocated for contents, names, and a fixed sum for each node,
//! which is less than the tables take for a directory with one entry.
//! A file that has lost its last name is charged until its last handle is closed.

mod file;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::errno::{Errno, Result};
use crate::fs::{
    Creation, DirEntry, File, FileKind, FileSystem, OpenOptions, Stat, Times, host_path, is_in,
    split,
};
use file::{FileNode, Handle};

/// The bytes that are charged for a file, a directory or a symbolic link besides contents and
/// names.
const NODE: u64 = 256;

/// The bytes that are charged for an entry of a directory besides its name.
const ENTRY: u64 = 96;

const ROOT: u64 = 1;

/// A file system in memory. Cheap to clone: clones are the same file system, so a host can look at
/// what a guest writes, and several guests can share one.
///
/// ```
/// use precast_wasi::fs::MemoryFs;
/// use precast_wasi::{DirAccess, WasiCtxBuilder};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let files = MemoryFs::new(1 << 20);
/// files.write("in/data.csv", b"a,b\n")?;
/// let wasi = WasiCtxBuilder::new().mount("/", files.clone(), DirAccess::ReadWrite)?.build();
/// # drop(wasi);
/// assert_eq!(files.read("in/data.csv")?, b"a,b\n");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryFs(Arc<Shared>);

struct Shared {
    tree: Mutex<Tree>,
    account: Arc<Account>,
    now: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// How much memory is used, and how much may be.
struct Account {
    limit: u64,
    used: AtomicU64,
}

impl Account {
    fn charge(&self, bytes: u64) -> Result<()> {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let order = Ordering::Relaxed;
        let charged = self.used.fetch_update(order, order, more);
        charged.map(drop).map_err(|_| Errno::NOSPC)
    }

    fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

struct Tree {
    nodes: HashMap<u64, Node>,
    next: u64,
}

enum Node {
    Dir {
        entries: BTreeMap<String, u64>,
        times: [Duration; 3],
    },
    Link {
        target: String,
        times: [Duration; 3],
    },
    File(Arc<FileNode>),
}

impl MemoryFs {
    /// An empty file system whose contents, names and nodes count as at most `limit` bytes. A file
    /// or directory counts as 256 bytes and its name. In the worst case, many small directories,
    /// the memory that the process takes is 1.8 times the limit, and does not all go back to the
    /// system when they are removed. While a file grows, its contents may be in memory twice.
    pub fn new(limit: u64) -> Self {
        Self::with_clock(limit, || {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.unwrap_or_default()
        })
    }

    /// Like [`new`](Self::new), with another source of the times of files: the time since
    /// 1970-01-01 00:00 UTC.
    pub fn with_clock(limit: u64, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let root = Node::Dir {
            entries: BTreeMap::new(),
            times: [now(); 3],
        };
        let tree = Tree {
            nodes: HashMap::from([(ROOT, root)]),
            next: ROOT + 1,
        };
        let account = Account {
            limit,
            used: AtomicU64::new(0),
        };
        Self(Arc::new(Shared {
            tree: Mutex::new(tree),
            account: Arc::new(account),
            now: Box::new(now),
        }))
    }

    /// How many bytes of the limit are used.
    pub fn used(&self) -> u64 {
        self.0.account.used.load(Ordering::Relaxed)
    }

    /// Writes a whole file, and creates the directories above it.
    ///
    /// # Errors
    /// `NOSPC` beyond the limit; `INVAL` for a path with `.` or `..`; `ISDIR`, `NOTDIR`.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        let path = host_path(path)?;
        for (end, _) in path.match_indices('/') {
            match self.create_dir(&path[..end]) {
                Err(Errno::EXIST) => {}
                result => result?,
            }
        }
        let options = OpenOptions {
            write: true,
            truncate: true,
            create: Creation::IfMissing,
        };
        let written = self.open(&path, options)?.write_at(bytes, 0)?;
        debug_assert_eq!(written, bytes.len());
        Ok(())
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// `NOENT`, `ISDIR`, `NOTDIR`; `INVAL` for a path with `.` or `..`.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, Errno> {
        let file = self.file(&host_path(path)?)?;
        Ok(file.content().bytes.clone())
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        // No code panics between two changes of the tree that belong together.
        self.0.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        (self.0.now)()
    }

    /// Adds a node under a new name.
    fn add(&self, path: &str, cost: u64, node: impl FnOnce(u64) -> Node) -> Result<u64> {
        let now = self.now();
        let mut tree = self.tree();
        let ino = tree.next;
        let (dir, name) = split(path).ok_or(Errno::EXIST)?;
        let (parent, _) = tree.node(dir)?;
        if tree.dir(parent)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        self.0.account.charge(cost + entry_cost(name))?;
        tree.next += 1;
        tree.nodes.insert(ino, node(ino));
        tree.dir_mut(parent, now)?.insert(name.to_owned(), ino);
        Ok(ino)
    }

    /// The file with this path.
    fn file(&self, path: &str) -> Result<Arc<FileNode>> {
        match self.tree().node(path)?.1 {
            Node::File(node) => Ok(Arc::clone(node)),
            Node::Dir { .. } => Err(Errno::ISDIR),
            Node::Link { .. } => Err(Errno::LOOP),
        }
    }

    /// Drops a node that has lost a name.
    fn unname(&self, tree: &mut Tree, ino: u64, now: Duration) {
        let cost = match tree.nodes.get(&ino) {
            Some(Node::File(file)) => {
                let mut content = file.content();
                content.nlink -= 1;
                content.times[CHANGED] = now;
                if content.nlink > 0 {
                    return;
                }
                // When the last handle is closed, the file's node releases its own cost.
                0
            }
            Some(Node::Dir { .. }) => NODE,
            Some(Node::Link { target, .. }) => NODE + target.len() as u64,
            None => return,
        };
        tree.nodes.remove(&ino);
        self.0.account.release(cost);
    }
}

const ACCESSED: usize = 0;
const MODIFIED: usize = 1;
const CHANGED: usize = 2;

fn entry_cost(name: &str) -> u64 {
    ENTRY + name.len() as u64
}

fn stat(kind: FileKind, ino: u64, nlink: u64, size: u64, times: [Duration; 3]) -> Stat {
    Stat {
        kind,
        ino,
        nlink,
        size,
        accessed: times[ACCESSED],
        modified: times[MODIFIED],
        changed: times[CHANGED],
    }
}

impl Node {
    fn stat(&self, ino: u64) -> Stat {
        match self {
            Self::Dir { times, .. } => stat(FileKind::Directory, ino, 1, 0, *times),
            Self::Link { target, times } => {
                stat(FileKind::Symlink, ino, 1, target.len() as u64, *times)
            }
            Self::File(file) => file.content().stat(ino),
        }
    }
}

impl Tree {
    /// The node with this path, and its number.
    fn node(&self, path: &str) -> Result<(u64, &Node)> {
        let mut ino = ROOT;
        for name in path.split('/').filter(|_| !path.is_empty()) {
            ino = *self.dir(ino)?.get(name).ok_or(Errno::NOENT)?;
        }
        let node = self.nodes.get(&ino).ok_or(Errno::NOENT)?;
        Ok((ino, node))
    }

    fn dir(&self, ino: u64) -> Result<&BTreeMap<String, u64>> {
        match self.nodes.get(&ino) {
            Some(Node::Dir { entries, .. }) => Ok(entries),
            Some(Node::File(_) | Node::Link { .. }) => Err(Errno::NOTDIR),
            None => Err(Errno::NOENT),
        }
    }

    /// The entries of a directory that changes now.
    fn dir_mut(&mut self, ino: u64, now: Duration) -> Result<&mut BTreeMap<String, u64>> {
        match self.nodes.get_mut(&ino) {
            Some(Node::Dir { entries, times }) => {
                (times[MODIFIED], times[CHANGED]) = (now, now);
                Ok(entries)
            }
            Some(Node::File(_) | Node::Link { .. }) => Err(Errno::NOTDIR),
            None => Err(Errno::NOENT),
        }
    }

    /// The number of the directory that contains this path, the name in that directory, and the
    /// number of the node.
    fn named<'a>(&self, path: &'a str) -> Result<(u64, &'a str, u64)> {
        let (dir, name) = split(path).ok_or(Errno::BUSY)?;
        let (parent, _) = self.node(dir)?;
        let ino = *self.dir(parent)?.get(name).ok_or(Errno::NOENT)?;
        Ok((parent, name, ino))
    }
}

impl FileSystem for MemoryFs {
    fn stat(&self, path: &str) -> Result<Stat, Errno> {
        let tree = self.tree();
        let (ino, node) = tree.node(path)?;
        Ok(node.stat(ino))
    }

    fn open(&self, path: &str, options: OpenOptions) -> Result<Box<dyn File>, Errno> {
        let now = self.now();
        let mut file = None;
        if options.create != Creation::Never {
            let made = self.add(path, NODE, |ino| {
                let new = FileNode::new(ino, now, &self.0.account);
                file = Some(Arc::clone(&new));
                Node::File(new)
            });
            match made {
                Err(Errno::EXIST) if options.create == Creation::IfMissing => {}
                made => drop(made?),
            }
        }
        let node = match file {
            Some(node) => node,
            None => self.file(path)?,
        };
        let file = Handle {
            node,
            fs: self.clone(),
            write: options.write,
        };
        if options.truncate {
            file.set_len(0)?;
        }
        Ok(Box::new(file))
    }

    fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>, Errno> {
        let tree = self.tree();
        let (ino, _) = tree.node(path)?;
        let entry = |(name, ino): (&String, &u64)| DirEntry {
            name: name.clone(),
            kind: match tree.nodes.get(ino) {
                Some(Node::Dir { .. }) => FileKind::Directory,
                Some(Node::Link { .. }) => FileKind::Symlink,
                Some(Node::File(_)) | None => FileKind::File,
            },
            ino: *ino,
        };
        Ok(tree.dir(ino)?.iter().map(entry).collect())
    }

    fn read_link(&self, path: &str) -> Result<String, Errno> {
        match self.tree().node(path)?.1 {
            Node::Link { target, .. } => Ok(target.clone()),
            Node::Dir { .. } | Node::File(_) => Err(Errno::INVAL),
        }
    }

    fn create_dir(&self, path: &str) -> Result<(), Errno> {
        let now = self.now();
        let made = self.add(path, NODE, |_| Node::Dir {
            entries: BTreeMap::new(),
            times: [now; 3],
        });
        made.map(drop)
    }

    fn remove_file(&self, path: &str) -> Result<(), Errno> {
        let now = self.now();
        let mut tree = self.tree();
        let (parent, name, ino) = tree.named(path)?;
        if tree.dir(ino).is_ok() {
            return Err(Errno::ISDIR);
        }
        tree.dir_mut(parent, now)?.remove(name);
        self.0.account.release(entry_cost(name));
        self.unname(&mut tree, ino, now);
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> Result<(), Errno> {
        let now = self.now();
        let mut tree = self.tree();
        let (parent, name, ino) = tree.named(path)?;
        if !tree.dir(ino)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        tree.dir_mut(parent, now)?.remove(name);
        self.0.account.release(entry_cost(name));
        self.unname(&mut tree, ino, now);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        let now = self.now();
        let mut tree = self.tree();
        let (parent, name, ino) = tree.named(from)?;
        let (to_dir, to_name) = split(to).ok_or(Errno::BUSY)?;
        let (to_parent, _) = tree.node(to_dir)?;
        let there = tree.dir(to_parent)?.get(to_name).copied();
        if there == Some(ino) {
            return Ok(());
        }
        let is_dir = tree.dir(ino).is_ok();
        if is_dir && is_in(to, from) {
            return Err(Errno::INVAL);
        }
        if let Some(there) = there {
            match tree.dir(there) {
                Ok(_) if !is_dir => return Err(Errno::ISDIR),
                Ok(entries) if !entries.is_empty() => return Err(Errno::NOTEMPTY),
                Ok(_) => {}
                Err(_) if is_dir => return Err(Errno::NOTDIR),
                Err(_) => {}
            }
        }
        // The difference is charged first, if the new name costs more than the old one.
        let (before, after) = match there {
            Some(_) => (entry_cost(name), 0),
            None => (entry_cost(name), entry_cost(to_name)),
        };
        self.0.account.charge(after.saturating_sub(before))?;
        tree.dir_mut(parent, now)?.remove(name);
        self.0.account.release(before.saturating_sub(after));
        tree.dir_mut(to_parent, now)?
            .insert(to_name.to_owned(), ino);
        if let Some(there) = there {
            self.unname(&mut tree, there, now);
        }
        Ok(())
    }

    fn symlink(&self, target: &str, path: &str) -> Result<(), Errno> {
        let times = [self.now(); 3];
        let made = self.add(path, NODE + target.len() as u64, |_| Node::Link {
            target: target.to_owned(),
            times,
        });
        made.map(drop)
    }

    fn link(&self, file: &str, path: &str) -> Result<(), Errno> {
        let now = self.now();
        let mut tree = self.tree();
        let (ino, node) = tree.node(file)?;
        let Node::File(node) = node else {
            return Err(Errno::PERM);
        };
        let node = Arc::clone(node);
        let (dir, name) = split(path).ok_or(Errno::EXIST)?;
        let (parent, _) = tree.node(dir)?;
        if tree.dir(parent)?.contains_key(name) {
            return Err(Errno::EXIST);
        }
        self.0.account.charge(entry_cost(name))?;
        tree.dir_mut(parent, now)?.insert(name.to_owned(), ino);
        let mut content = node.content();
        content.nlink += 1;
        content.times[CHANGED] = now;
        Ok(())
    }

    fn set_times(&self, path: &str, times: Times) -> Result<(), Errno> {
        let now = self.now();
        let mut tree = self.tree();
        let (ino, _) = tree.node(path)?;
        match tree.nodes.get_mut(&ino) {
            Some(Node::File(file)) => set(&mut file.content().times, times, now),
            Some(Node::Dir { times: own, .. } | Node::Link { times: own, .. }) => {
                set(own, times, now);
            }
            None => return Err(Errno::NOENT),
        }
        Ok(())
    }
}

fn set(own: &mut [Duration; 3], times: Times, now: Duration) {
    own[ACCESSED] = times.accessed.unwrap_or(own[ACCESSED]);
    own[MODIFIED] = times.modified.unwrap_or(own[MODIFIED]);
    own[CHANGED] = now;
}

impl std::fmt::Debug for MemoryFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryFs")
            .field("limit", &self.0.account.limit)
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_used_is_charged_and_given_back() {
        let fs = MemoryFs::new(100_000);
        fs.write("a/b/c", &[1; 10_000]).unwrap();
        fs.symlink("b", "a/link").unwrap();
        fs.link("a/b/c", "a/second").unwrap();
        assert!(fs.used() > 10_000 + 3 * NODE, "{}", fs.used());
        let used = fs.used();
        assert_eq!(fs.write("d", &[1; 100_000]), Err(Errno::NOSPC));
        fs.remove_file("d").unwrap();
        assert_eq!(fs.used(), used);
        fs.rename("a/second", "a/b/another-name").unwrap();
        fs.rename("a/b/another-name", "a/second").unwrap();
        assert_eq!(fs.used(), used);

        let open = fs.open("a/b/c", OpenOptions::default()).unwrap();
        for path in ["a/b/c", "a/second", "a/link"] {
            fs.remove_file(path).unwrap();
        }
        fs.remove_dir("a/b").unwrap();
        fs.remove_dir("a").unwrap();
        let mut bytes = [0; 3];
        assert_eq!(open.read_at(&mut bytes, 9_998), Ok(2));
        assert_eq!(fs.used(), 10_000 + NODE, "of a file that is open");
        drop(open);
        assert_eq!(fs.used(), 0);
    }

    #[test]
    fn a_size_costs_nothing_before_it_is_charged() {
        let fs = MemoryFs::new(1 << 20);
        fs.write("f", b"1").unwrap();
        let options = OpenOptions {
            write: true,
            ..OpenOptions::default()
        };
        let file = fs.open("f", options).unwrap();
        for len in [1 << 20, 1 << 40, u64::MAX] {
            assert_eq!(file.set_len(len), Err(Errno::NOSPC));
            assert!(file.write_at(b"x", len).is_err());
        }
        assert_eq!(file.set_len(500_000), Ok(()));
        assert_eq!(file.append(b"end"), Ok(3));
        assert_eq!(file.stat().unwrap().size, 500_003);
        assert_eq!(file.set_len(1), Ok(()));
        assert!(fs.used() < 1000, "{}", fs.used());
    }

    #[test]
    fn directories_nested_without_end_are_dropped_without_recursion() {
        let fs = MemoryFs::new(u64::MAX);
        fs.create_dir("x").unwrap();
        for _ in 0..100_000 {
            fs.create_dir("top").unwrap();
            fs.rename("x", "top/x").unwrap();
            fs.rename("top", "x").unwrap();
        }
    }
}
