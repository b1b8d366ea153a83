//! A file by its name in a directory that is held open.
//!
//! A path is resolved once. Afterwards the file is read and replaced in that directory, whatever
//! others do to the names that lead there: while a program runs, guests of other processes may
//! rename directories and make symbolic links. A symbolic link in the file's own place is not
//! followed, neither to read nor to write.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

/// Whether those who may read a file may execute it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Executable,
}

/// A file that may exist.
pub(crate) struct HeldFile {
    /// A handle, which needs no permission to read the directory.
    directory: OwnedFd,
    /// The path that led to the directory.
    directory_path: PathBuf,
    name: OsString,
    /// The name of a temporary file in the same directory, which nobody else uses.
    temporary: OsString,
}

impl HeldFile {
    /// The file with this path, which is no symbolic link.
    ///
    /// # Errors
    /// Those of the system, if there is no such directory.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let bytes = path.as_os_str().as_bytes();
        // Slashes at the end belong to the name, with which the system then refuses a file.
        let end = bytes.iter().rposition(|byte| *byte != b'/');
        let mut names = bytes[..end.map_or(0, |end| end + 1)].iter();
        let (directory, name) = match names.rposition(|byte| *byte == b'/') {
            Some(slash) => bytes.split_at(slash + 1),
            None => (&b"."[..], bytes),
        };
        let directory_path = PathBuf::from(OsStr::from_bytes(directory));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Each state has keys of its own. The name is short, because the file's may be as long as
        // the file system allows.
        let random = RandomState::new().hash_one(std::process::id());
        Ok(Self {
            directory: openat(CWD, &directory_path, flags, Mode::empty())?,
            directory_path,
            name: OsStr::from_bytes(name).to_owned(),
            temporary: format!(".precast.{random:016x}.tmp").into(),
        })
    }

    /// The paths that led to the file and to the temporary file.
    pub(crate) fn paths(&self) -> [PathBuf; 2] {
        [&self.name, &self.temporary].map(|name| self.directory_path.join(name))
    }

    /// The directory, opened so that it can be locked.
    ///
    /// # Errors
    /// Those of the system: it may not be readable.
    pub(crate) fn open_directory(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(&self.directory, ".", flags, Mode::empty())?.into())
    }

    /// Reads the file; `None` if it does not exist.
    ///
    /// # Errors
    /// Those of the system; `InvalidData` if it is not a regular file.
    pub(crate) fn read(&self) -> io::Result<Option<Vec<u8>>> {
        // Opening a pipe must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(&self.directory, &self.name, flags, Mode::empty());
        let mut file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(replaced()),
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file() {
            return Err(replaced());
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Checks that the directory allows that the file is replaced.
    ///
    /// # Errors
    /// Those of the system; `NotADirectory` for a name that ends in a slash.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.name.as_bytes().ends_with(b"/") {
            return Err(Errno::NOTDIR.into());
        }
        self.create(0o600)?;
        Ok(unlinkat(
            &self.directory,
            &self.temporary,
            AtFlags::empty(),
        )?)
    }

    /// Replaces the file, all or nothing.
    ///
    /// # Errors
    /// Those of the system. The old file is left then.
    pub(crate) fn replace(&self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        let old = statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let old = old.filter(|found| FileType::from_raw_mode(found.st_mode).is_file());
        let old = old.map(|found| {
            let mode = found.st_mode & 0o777;
            match kind {
                Kind::Data => mode,
                Kind::Executable => mode | (mode & 0o444) >> 2,
            }
        });
        // The system removes the permissions that the umask forbids.
        let new = match kind {
            Kind::Data => 0o666,
            Kind::Executable => 0o777,
        };
        let mut file = self.create(old.map_or(new, |_| 0o600))?;
        let permissions = old.map(Permissions::from_mode);
        let (directory, temporary) = (&self.directory, &self.temporary);
        let written = permissions
            .map_or(Ok(()), |permissions| file.set_permissions(permissions))
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.sync_all())
            .and_then(|()| Ok(renameat(directory, temporary, directory, &self.name)?));
        if written.is_err() {
            unlinkat(directory, temporary, AtFlags::empty()).ok();
        }
        written
    }

    /// Creates the temporary file.
    fn create(&self, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        Ok(openat(&self.directory, &self.temporary, flags, mode)?.into())
    }
}

/// The error for a place that had a file, or nothing, when the path was resolved.
pub(crate) fn replaced() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        "something else has been put in its place since the start",
    )
}
