//! Reads inputs and writes outputs, with errors that name the file.
//!
//! An output is written to a temporary file in the same directory, which is then renamed. So a full
//! disk or an interrupt leaves the old file, and a process that has mapped the old file does not
//! see it change. An output has the permissions of the file that it replaces, which may be private,
//! and otherwise those that the umask allows.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Reads a file, or standard input for `-`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin()
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        return Ok(bytes);
    }
    if path.is_dir() {
        bail!("`{}` is a directory; expected a file", path.display());
    }
    fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// Whether those who may read a file may execute it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Executable,
}

/// Writes a file, all or nothing, or writes to standard output for `-`.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_as(Kind::Data, path, bytes)
}

/// Like [`write()`], for a file that can be executed.
pub(crate) fn write_executable(path: &Path, bytes: &[u8]) -> Result<()> {
    write_as(Kind::Executable, path, bytes)
}

fn write_as(kind: Kind, path: &Path, bytes: &[u8]) -> Result<()> {
    if path == Path::new("-") {
        return io::stdout()
            .write_all(bytes)
            .context("cannot write to standard output");
    }
    let context = || format!("cannot write `{}`", path.display());
    if path.is_dir() {
        bail!("{}: it is a directory", context());
    }
    // Devices and pipes are written in place: a file must not replace them, and they have no old
    // content to keep. Their permissions do not change.
    let special = fs::metadata(path).is_ok_and(|found| !found.is_file());
    if special {
        fs::write(path, bytes)
    } else {
        replace(kind, path, bytes)
    }
    .with_context(context)
}

fn replace(kind: Kind, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A symbolic link is followed, as it would be by writing in place.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = fs::metadata(path).ok().map(|found| {
        let mode = found.permissions().mode() & 0o777;
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
    let (temporary, mut file) = create_beside(path, old.map_or(new, |_| 0o600))?;
    let permissions = old.map(Permissions::from_mode);
    let written = permissions
        .map_or(Ok(()), |permissions| file.set_permissions(permissions))
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        fs::remove_file(&temporary).ok();
    }
    written
}

/// Creates a temporary file in the same directory, under a name that is not in use.
fn create_beside(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let process = std::process::id();
    for attempt in 0..100 {
        let temporary = path.with_file_name(format!(".{name}.{process}-{attempt}.tmp"));
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)
        {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return Ok((temporary, opened?)),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "no free name for a temporary file",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_files_and_leaves_nothing_behind() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = temporary.path();
        let (path, link) = (dir.join("out"), dir.join("link"));
        write(&path, b"old").expect("writable");
        std::os::unix::fs::symlink(&path, &link).expect("writable");
        let opened = File::open(&path).expect("exists");
        write(&link, b"new").expect("writable");
        assert_eq!(read(&path).expect("readable"), b"new");
        assert!(link.is_symlink());
        assert_eq!(
            io::read_to_string(opened).expect("readable"),
            "old",
            "not changed in place"
        );
        assert_eq!(fs::read_dir(dir).expect("exists").count(), 2);
    }

    #[test]
    fn outputs_keep_permissions() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let mode = |path: &Path| {
            let found = fs::metadata(path).expect("exists");
            found.permissions().mode() & 0o777
        };
        let path = temporary.path().join("out");
        // A new file and a new directory show the permissions that the umask allows.
        File::create(temporary.path().join("file")).expect("writable");
        fs::create_dir(temporary.path().join("directory")).expect("writable");
        write(&path, b"new").expect("writable");
        assert_eq!(mode(&path), mode(&temporary.path().join("file")));
        for (old, as_data, as_executable) in [
            (0o600, 0o600, 0o700),
            (0o640, 0o640, 0o750),
            (0o444, 0o444, 0o555),
        ] {
            let set = || fs::set_permissions(&path, Permissions::from_mode(old)).expect("ours");
            set();
            write(&path, b"data").expect("writable");
            assert_eq!(mode(&path), as_data);
            set();
            write_executable(&path, b"program").expect("writable");
            assert_eq!(mode(&path), as_executable);
        }
        fs::remove_file(&path).expect("ours");
        write_executable(&path, b"program").expect("writable");
        assert_eq!(mode(&path), mode(&temporary.path().join("directory")));
        let device = Path::new("/dev/null");
        let before = mode(device);
        write_executable(device, b"program").expect("writable");
        assert_eq!(mode(device), before);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = temporary.path();
        let error = write(&dir.join("missing/out"), b"new").expect_err("no such directory");
        assert!(error.to_string().starts_with("cannot write `"), "{error}");
        let error = write(dir, b"new").expect_err("a directory");
        assert!(error.to_string().ends_with("it is a directory"), "{error}");
        assert_eq!(fs::read_dir(dir).expect("exists").count(), 0);
        write(Path::new("/dev/null"), b"new").expect("a device is written in place");
    }
}
