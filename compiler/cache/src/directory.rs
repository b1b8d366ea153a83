//! The directory of a cache: the file names in it, and whether it can be trusted.
//!
//! ```text
//! DIR/                            the user's directory; it may hold other files, too
//!   artifacts-1/                  mode 0700, owned by this user or root, writable for nobody else
//!     CACHEDIR.TAG                tells backup programs that the content can be made again
//!     KEY.precast                 an entry: an artifact, mode 0400; appears whole, never changes;
//!                                 those who may read this directory may read new entries
//!     KEY.lock                    locked while a process compiles the entry
//!     KEY.pin                     the entry is pinned: it is never evicted
//!     KEY.source                  the digest of a module's file; here the key names that file
//!     .KEY.PID-N.tmp              an entry that is being written; locked meanwhile
//!     KEY.foreign-N               a file that had an entry's name but is not from precast
//!     prune.lock                  locked while a process evicts entries
//! ```
//!
//! The cache runs the code in its entries, so a user who can write to the directory can run code as
//! the user of the cache. The owner and mode of the directory and of every entry are therefore
//! checked: they are the boundary of trust. Files with other names are not touched.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::callback::event;
use crate::live::CacheId;
use crate::{Error, Key};

/// Name of the directory with the entries. Its number changes when the naming scheme changes.
const ENTRIES: &str = "artifacts-1";

const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This directory was made by precast. It can be deleted at any time.\n\
    # For information about cache directory tags see https://bford.info/cachedir/\n";

/// The directory of a cache. It need not exist if the cache is read-only.
#[derive(Debug)]
pub(crate) struct Directory {
    /// The directory that the user gave, as an absolute path.
    pub(crate) root: PathBuf,
    /// The directory of the entries.
    pub(crate) entries: PathBuf,
    pub(crate) id: CacheId,
    /// The cache writes nothing: it was opened read-only, or writing failed for a lasting reason.
    frozen: AtomicBool,
    /// The system does not allow code to be mapped from files in the directory.
    no_executable_files: AtomicBool,
}

/// The kind of a file in the directory of the entries, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Entry(Key),
    Lock(Key),
    Pin(Key),
    Source,
    Temporary,
    Foreign,
}

impl Directory {
    /// Opens the cache in `root`, and makes it if it is not there.
    pub(crate) fn open(root: &Path, read_only: bool) -> Result<Self, Error> {
        let root = std::path::absolute(root).map_err(Error::file("use", root))?;
        let mut frozen = read_only;
        if !frozen {
            create(&root).or_else(|error| obstacle(&root, error))?;
        } else if let Err(error) = fs::metadata(&root)
            && error.kind() != ErrorKind::NotFound
        {
            obstacle(&root, error)?;
        }
        if let Ok(found) = fs::metadata(&root)
            && !found.is_dir()
        {
            return Err(not_a_directory(&root, &found));
        }
        let entries = root.join(ENTRIES);
        if !frozen && let Err(error) = create(&entries) {
            match fs::symlink_metadata(&entries) {
                Ok(_) => obstacle(&entries, error)?,
                Err(missing) if missing.kind() == ErrorKind::NotFound => {
                    event!(warn,
                        directory = %root.display(), %error,
                        "cannot write to the cache: what is compiled stays in memory"
                    );
                    frozen = true;
                }
                Err(error) => return Err(Error::file("use", &entries)(error)),
            }
        }
        let id = match fs::symlink_metadata(&entries) {
            Ok(found) => {
                check(&entries, &found)?;
                CacheId::Directory {
                    dev: found.dev(),
                    ino: found.ino(),
                }
            }
            // The directory does not exist, and this cache does not create it. So the cache shares
            // modules with no other cache.
            Err(error) if error.kind() == ErrorKind::NotFound => CacheId::in_memory(),
            Err(error) => return Err(Error::file("use", &entries)(error)),
        };
        if !frozen {
            tag(&entries);
        }
        Ok(Self {
            root,
            entries,
            id,
            frozen: AtomicBool::new(frozen),
            no_executable_files: AtomicBool::new(false),
        })
    }

    /// The mode of a new entry: its owner may read it, and others who may read the directory. So
    /// the mode of the directory decides whose code is private.
    pub(crate) fn entry_mode(&self) -> io::Result<u32> {
        Ok(0o400 | fs::metadata(&self.entries)?.mode() & 0o044)
    }

    pub(crate) fn is_writable(&self) -> bool {
        !self.frozen.load(Ordering::Relaxed)
    }

    /// Stops writing to the directory.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_executable_files(&self) -> bool {
        !self.no_executable_files.load(Ordering::Relaxed)
    }

    /// Remembers that the system refused to map code from the directory, and warns once.
    pub(crate) fn note_no_executable_files(&self, error: io::Error) {
        if !self.no_executable_files.swap(true, Ordering::Relaxed) {
            event!(warn,
                directory = %self.root.display(), %error,
                "code cannot be mapped from the cache, whose file system may be mounted `noexec`: \
                 it runs from copies in memory"
            );
        }
    }

    /// Creates the directory again, after somebody removed it while the cache was in use.
    pub(crate) fn restore(&self) -> io::Result<()> {
        create(&self.root)?;
        create(&self.entries)
    }

    pub(crate) fn entry(&self, key: &Key) -> PathBuf {
        self.entries.join(format!("{key}.precast"))
    }

    pub(crate) fn lock(&self, key: &Key) -> PathBuf {
        self.entries.join(format!("{key}.lock"))
    }

    pub(crate) fn pin(&self, key: &Key) -> PathBuf {
        self.entries.join(format!("{key}.pin"))
    }

    pub(crate) fn source(&self, name: &Key) -> PathBuf {
        self.entries.join(format!("{name}.source"))
    }

    pub(crate) fn prune_lock(&self) -> PathBuf {
        self.entries.join("prune.lock")
    }

    pub(crate) fn temporary(&self, key: &Key, number: u64) -> PathBuf {
        let process = std::process::id();
        self.entries.join(format!(".{key}.{process}-{number}.tmp"))
    }

    pub(crate) fn foreign(&self, key: &Key, number: u64) -> PathBuf {
        self.entries.join(format!("{key}.foreign-{number}"))
    }

    /// Lists the files in the directory whose names this module defines.
    pub(crate) fn names(&self) -> io::Result<Vec<(Name, PathBuf)>> {
        let listing = match fs::read_dir(&self.entries) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing?,
        };
        let mut names = Vec::new();
        for file in listing {
            let file = file?;
            if let Some(name) = Name::of(&file.file_name()) {
                names.push((name, file.path()));
            }
        }
        Ok(names)
    }
}

impl Name {
    fn of(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if let Some(rest) = name.strip_prefix('.') {
            let (key, rest) = rest.split_once('.')?;
            let (process, attempt) = rest.strip_suffix(".tmp")?.split_once('-')?;
            key.parse::<Key>().ok()?;
            return (number(process) && number(attempt)).then_some(Self::Temporary);
        }
        let (key, kind) = name.split_once('.')?;
        let key = key.parse().ok()?;
        match kind {
            "precast" => Some(Self::Entry(key)),
            "lock" => Some(Self::Lock(key)),
            "pin" => Some(Self::Pin(key)),
            "source" => Some(Self::Source),
            _ => number(kind.strip_prefix("foreign-")?).then_some(Self::Foreign),
        }
    }
}

/// Whether only this user and root can have written to the file or directory with this metadata.
pub(crate) fn is_trusted(found: &Metadata) -> bool {
    let us = rustix::process::geteuid().as_raw();
    (found.uid() == us || found.uid() == 0) && found.mode() & 0o022 == 0
}

/// Says what is wrong with an owner or mode that is not trusted.
pub(crate) fn distrust(found: &Metadata) -> String {
    let us = rustix::process::geteuid().as_raw();
    if found.uid() != us && found.uid() != 0 {
        return format!("it belongs to user {}, and this is user {us}", found.uid());
    }
    format!(
        "others than its owner may write to it (mode {:03o})",
        found.mode() & 0o777
    )
}

fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn check(path: &Path, found: &Metadata) -> Result<(), Error> {
    if !found.is_dir() {
        return Err(not_a_directory(path, found));
    }
    if !is_trusted(found) {
        return Err(Error::Directory {
            path: path.to_owned(),
            found: distrust(found),
            expected: "a directory of this user's or of root's that nobody else may write to, \
                       because what is in it will be run",
        });
    }
    Ok(())
}

/// The error for a directory that cannot be created. It names the file that is in the way, if there
/// is one.
fn obstacle(path: &Path, error: io::Error) -> Result<(), Error> {
    for ancestor in path.ancestors() {
        match fs::metadata(ancestor) {
            Ok(found) if !found.is_dir() => return Err(not_a_directory(ancestor, &found)),
            Ok(_) => break,
            Err(_) => {}
        }
    }
    Err(Error::file("create the directory", path)(error))
}

fn not_a_directory(path: &Path, found: &Metadata) -> Error {
    let kind = found.file_type();
    Error::Directory {
        path: path.to_owned(),
        found: if kind.is_file() {
            "a file"
        } else if kind.is_symlink() {
            "a symbolic link"
        } else if kind.is_fifo() {
            "a pipe"
        } else {
            "a special file"
        }
        .to_owned(),
        expected: "a directory, or a path at which one can be made",
    }
}

/// Writes the tag if it is missing. The cache itself does not need it, so failing does not matter.
fn tag(entries: &Path) {
    let path = entries.join("CACHEDIR.TAG");
    if path.exists() {
        return;
    }
    let create = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    if let Err(error) = create.and_then(|mut file: File| file.write_all(TAG.as_bytes())) {
        event!(debug, path = %path.display(), %error, "no tag for backups");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path(), false).unwrap();
        let key: Key = "5a".repeat(32).parse().unwrap();
        let name = |path: PathBuf| Name::of(path.file_name().unwrap());
        assert_eq!(name(directory.entry(&key)), Some(Name::Entry(key)));
        assert_eq!(name(directory.lock(&key)), Some(Name::Lock(key)));
        assert_eq!(name(directory.pin(&key)), Some(Name::Pin(key)));
        assert_eq!(name(directory.source(&key)), Some(Name::Source));
        assert_eq!(name(directory.temporary(&key, 3)), Some(Name::Temporary));
        assert_eq!(name(directory.foreign(&key, 0)), Some(Name::Foreign));
        for other in [
            "notes.txt",
            "CACHEDIR.TAG",
            "prune.lock",
            "a.precast",
            ".tmp",
            "..tmp",
            &format!("{key}.precast.bak"),
            &format!("{key}.foreign-"),
            &format!(".{key}.1-x.tmp"),
        ] {
            assert_eq!(Name::of(OsStr::new(other)), None, "{other}");
        }
        assert_eq!(directory.names().unwrap(), []);
        let mode = fs::metadata(&directory.entries).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
