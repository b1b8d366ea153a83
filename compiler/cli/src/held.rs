//! Outputs that are written after a guest has run.
//!
//! A guest with a directory can put a symbolic link, a pipe or another directory where the output
//! goes. So the place is found before the guest runs, and held by descriptors: what a path leads to
//! later does not matter. In the directory that is held, no link is followed.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::files::{self, Target};

/// How long to wait for other processes that add to the same file. Each takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The place of an output.
pub(crate) struct Held {
    /// As the user wrote it.
    path: PathBuf,
    place: Place,
}

enum Place {
    Stdout,
    /// A device, a pipe, or an open file of a process: a descriptor of the system's object, without
    /// the right to read or write.
    Special(File),
    /// A file that exists or not.
    File {
        directory: File,
        name: OsString,
    },
}

impl Held {
    /// Finds and holds the place of an output.
    ///
    /// # Errors
    /// If the path is a directory's, or the directory that it is in does not exist.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let context = || format!("cannot write `{}`", path.display());
        let hold = |path: &Path, flags| {
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(flags | libc::O_CLOEXEC);
            options.open(path).with_context(context)
        };
        let place = match Target::of(path).with_context(context)? {
            Target::Stdout => Place::Stdout,
            _ if path.is_dir() => bail!("{}: it is a directory", context()),
            Target::InPlace(path) => Place::Special(hold(&path, libc::O_PATH)?),
            Target::File(file) => Place::File {
                directory: hold(files::directory(&file), libc::O_DIRECTORY)?,
                name: file.file_name().with_context(context)?.to_owned(),
            },
        };
        Ok(Self {
            path: path.to_owned(),
            place,
        })
    }

    /// The path as the user wrote it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the file has, unless it is empty or does not exist. What is no file has no old content.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>> {
        let Place::File { directory, name } = &self.place else {
            return Ok(None);
        };
        let context = || format!("cannot read `{}`", self.path.display());
        let mut options = OpenOptions::new();
        // A pipe does not make the call wait.
        options
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let mut file = match options.open(entry(directory, name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // A link, which the output will replace.
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Ok(None),
            Err(error) => return Err(error).with_context(context),
        };
        if !file.metadata().with_context(context)?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(context)?;
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// Keeps other processes from writing the file until the result is dropped.
    pub(crate) fn lock(&self) -> Result<Option<File>> {
        let Place::File { directory, .. } = &self.place else {
            return Ok(None);
        };
        let context = || format!("cannot lock the directory of `{}`", self.path.display());
        // The lock belongs to this descriptor. Another one would share it with its copies.
        let lock = File::open(entry(directory, ".")).with_context(context)?;
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Some(lock)),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(TryLockError::WouldBlock) => bail!(
                    "{}: another process has held the lock for {PATIENCE:?}",
                    context()
                ),
                Err(TryLockError::Error(error)) => return Err(error).with_context(context),
            }
        }
    }

    /// Writes the output.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        let written = match &self.place {
            Place::Stdout => return files::print(bytes),
            Place::Special(object) => std::fs::write(descriptor(object), bytes),
            Place::File { directory, name } => files::replace(&entry(directory, name), bytes),
        };
        written.with_context(|| format!("cannot write `{}`", self.path.display()))
    }
}

/// A path to what a descriptor of this process refers to.
fn descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn entry(directory: &File, name: impl AsRef<Path>) -> PathBuf {
    descriptor(directory).join(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_place_stays_what_it_was() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = temporary.path();
        let (inside, outside) = (dir.join("inside"), dir.join("outside"));
        fs::create_dir(&inside).expect("writable");
        fs::create_dir(&outside).expect("writable");
        let path = inside.join("out");
        let held = Held::new(&path).expect("a place");
        assert_eq!(held.read().expect("nothing there"), None);
        // A link to another file, which exists.
        fs::write(outside.join("secret"), b"secret").expect("writable");
        symlink("../outside/secret", &path).expect("writable");
        assert_eq!(held.read().expect("a link"), None);
        held.write(b"new").expect("writable");
        assert_eq!(fs::read(outside.join("secret")).expect("there"), b"secret");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        assert!(!path.is_symlink());
        assert_eq!(held.read().expect("there").as_deref(), Some(&b"new"[..]));
        // A link instead of the directory.
        fs::rename(&inside, dir.join("moved")).expect("ours");
        symlink("outside", &inside).expect("writable");
        held.write(b"newer").expect("writable");
        assert!(!outside.join("out").exists());
        assert_eq!(fs::read(dir.join("moved/out")).expect("there"), b"newer");
        // A directory instead of the file.
        fs::remove_file(dir.join("moved/out")).expect("ours");
        fs::create_dir(dir.join("moved/out")).expect("writable");
        assert_eq!(held.read().expect("a directory"), None);
        assert!(held.write(b"newest").is_err());
        assert_eq!(fs::read_dir(dir.join("moved")).expect("there").count(), 1);
    }

    #[test]
    fn links_that_were_there_before_are_followed_once() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = temporary.path();
        fs::create_dir(dir.join("sub")).expect("writable");
        symlink("sub/out", dir.join("link")).expect("writable");
        let held = Held::new(&dir.join("link")).expect("a place");
        let _lock = held.lock().expect("free").expect("a directory");
        // All links to one file share one lock.
        let other = Held::new(&dir.join("sub/out")).expect("a place");
        let Place::File { directory, .. } = &other.place else {
            panic!("a file");
        };
        let busy = File::open(entry(directory, ".")).expect("there").try_lock();
        assert!(matches!(busy, Err(TryLockError::WouldBlock)), "{busy:?}");
        held.write(b"new").expect("writable");
        assert_eq!(fs::read(dir.join("sub/out")).expect("there"), b"new");
        assert!(dir.join("link").is_symlink());
    }

    #[test]
    fn only_files_have_old_content() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let empty = temporary.path().join("empty");
        fs::write(&empty, b"").expect("writable");
        for path in [&empty, Path::new("-"), Path::new("/dev/null")] {
            let held = Held::new(path).expect("a place");
            assert_eq!(held.read().expect("nothing"), None, "{}", path.display());
        }
        let missing = Held::new(&temporary.path().join("missing/out"));
        assert!(missing.is_err_and(|error| error.to_string().contains("missing/out")));
        assert!(Held::new(temporary.path()).is_err());
        Held::new(Path::new("/dev/null"))
            .and_then(|held| held.write(b"gone"))
            .expect("a device");
    }
}
