//! Reads inputs and writes outputs, with errors that name the file.
//!
//! An output is written to a temporary file in the same directory, which is then renamed. So a full
//! disk or an interrupt leaves the old file, and a process that has mapped the old file does not
//! see it change. An output has the permissions of the file that it replaces, which may be private,
//! and otherwise those that the umask allows.
//!
//! A command whose output would replace one of its inputs or another output is refused before it
//! writes anything ([`check_outputs`]), whatever the paths look like.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use precast_artifact::shown;

use crate::held::{HeldFile, Kind, replaced};
use crate::usage_error;

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

/// Writes a file, all or nothing, or writes to standard output for `-`.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    Target::find(path)?.write(path, bytes)
}

/// Like [`write()`], for a file that can be executed.
pub(crate) fn write_executable(path: &Path, bytes: &[u8]) -> Result<()> {
    Target::find(path)?.write_as(Kind::Executable, path, bytes)
}

/// Writes to standard output.
pub(crate) fn print(bytes: impl AsRef<[u8]>) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes.as_ref())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}

/// A path as text for standard output. A name of a file may have any characters.
pub(crate) fn shown_path(path: &Path) -> String {
    shown(&path.display().to_string()).to_string()
}

/// What a file is, such as "the module", and its path.
pub(crate) type Named<'a> = (&'static str, &'a Path);

/// Exits with a usage error if a file that the command is about to write is one of its inputs, or
/// is written twice.
pub(crate) fn check_outputs(command: &str, inputs: &[Named<'_>], outputs: &[Named<'_>]) {
    let stdin = Path::new("/dev/stdin");
    let inputs = inputs
        .iter()
        .map(|(what, path)| match *path == Path::new("-") {
            true => (*what, stdin),
            false => (*what, *path),
        });
    let inputs: Vec<Named<'_>> = inputs.collect();
    for (i, (what, output)) in outputs.iter().enumerate() {
        let Some(place) = FileIdentity::of(output) else {
            continue;
        };
        let mut others = inputs.iter().chain(&outputs[..i]);
        let same = others.find(|(_, other)| FileIdentity::of(other).as_ref() == Some(&place));
        if let Some((other_what, other)) = same {
            let message = format!(
                "{what} `{}` and {other_what} `{}` are the same file: give another name",
                output.display(),
                other.display()
            );
            usage_error(command, message);
        }
    }
}

/// What identifies a file, which is the same for all paths that lead to the file.
#[derive(PartialEq, Eq)]
enum FileIdentity {
    /// Device and inode.
    Existing(u64, u64),
    /// Device and inode of the directory, and the name in the directory.
    New(u64, u64, std::ffi::OsString),
}

impl FileIdentity {
    /// `None` for what nothing can replace (standard streams, devices, pipes, directories), and for
    /// what cannot be written.
    fn of(path: &Path) -> Option<Self> {
        let path = match Target::of(path) {
            // An open file may have a name that leads to the other path.
            Ok(Target::InPlace(place)) => place.path,
            Ok(Target::File(file)) => {
                let [path, _temporary] = file.paths();
                path
            }
            Ok(Target::Stdout) | Err(_) => return None,
        };
        if let Ok(found) = fs::metadata(&path) {
            let is_file = found.is_file();
            return is_file.then(|| Self::Existing(found.dev(), found.ino()));
        }
        let name = path.file_name()?.to_owned();
        let directory = fs::metadata(directory(&path)).ok()?;
        Some(Self::New(directory.dev(), directory.ino(), name))
    }
}

/// Where an output goes.
pub(crate) enum Target {
    /// To standard output, at the place where other programs have written to it and go on.
    Stdout,
    /// To what exists under a path that is not a name of a file: devices and pipes, which a file
    /// must not replace and which have no old content to keep, and open files of a process.
    InPlace(InPlace),
    /// To a file, which may exist, by way of a temporary file.
    File(HeldFile),
}

/// What an output is written to without replacing it.
pub(crate) struct InPlace {
    path: PathBuf,
    /// The device and inode that the path led to when it was resolved.
    found: (u64, u64),
}

impl InPlace {
    fn new(path: PathBuf) -> io::Result<Self> {
        let found = fs::metadata(&path)?;
        Ok(Self {
            path,
            found: (found.dev(), found.ino()),
        })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(&self.path)?;
        let found = file.metadata()?;
        if (found.dev(), found.ino()) != self.found {
            return Err(replaced());
        }
        if found.is_file() {
            file.set_len(0)?;
        }
        file.write_all(bytes)
    }
}

impl Target {
    /// Where an output with this path goes. The error names the path.
    pub(crate) fn find(path: &Path) -> Result<Self> {
        let context = || format!("cannot write `{}`", path.display());
        let target = Self::of(path).with_context(context)?;
        if path.is_dir() && !matches!(target, Self::Stdout) {
            bail!("{}: it is a directory", context());
        }
        Ok(target)
    }

    /// Writes an output, whose path errors name.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.write_as(Kind::Data, path, bytes)
    }

    fn write_as(&self, kind: Kind, path: &Path, bytes: &[u8]) -> Result<()> {
        let context = || format!("cannot write `{}`", path.display());
        match self {
            Self::Stdout => print(bytes),
            // Permissions do not change.
            Self::InPlace(place) => place.write(bytes).with_context(context),
            Self::File(file) => file.replace(kind, bytes).with_context(context),
        }
    }

    /// Whether the directory of a file allows that the file is written. Errors name the path.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let Self::File(file) = self else {
            return Ok(());
        };
        file.check()
            .with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// What writing to this path would do. Directories are accepted, although they cannot be
    /// written to.
    fn of(path: &Path) -> io::Result<Self> {
        /// The number of links that Linux follows at most.
        const MAX_LINKS: usize = 40;
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        // A symbolic link is followed, as it would be by writing in place, even to a file that
        // does not exist yet.
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let Ok(link) = fs::read_link(&path) else {
                let special = fs::metadata(&path).is_ok_and(|found| !found.is_file());
                return Ok(match special {
                    true => Self::InPlace(InPlace::new(path)?),
                    false => Self::File(HeldFile::new(&path)?),
                });
            };
            // `/dev/stdout` leads to a link of the system to the open file, which may have a name
            // that other files have by now.
            let parent = fs::canonicalize(directory(&path))?;
            if parent == Path::new(&format!("/proc/{}/fd", std::process::id()))
                && path.file_name().is_some_and(|name| name == "1")
            {
                return Ok(Self::Stdout);
            }
            if parent.starts_with("/proc") {
                return Ok(Self::InPlace(InPlace::new(path)?));
            }
            path = directory(&path).join(link);
        }
        Err(io::Error::from_raw_os_error(libc::ELOOP))
    }
}

/// The directory that a path's last name is in.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions};
    use std::os::unix::fs::PermissionsExt;

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
    fn links_are_followed_to_files_that_do_not_exist() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = temporary.path();
        fs::create_dir(dir.join("sub")).expect("writable");
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(to, dir.join(name)).expect("writable");
        };
        link("sub/second", "first");
        link("../out", "sub/second");
        write(&dir.join("first"), b"new").expect("writable");
        assert!(dir.join("first").is_symlink() && dir.join("sub/second").is_symlink());
        assert_eq!(read(&dir.join("out")).expect("there"), b"new");
        link("circle", "circle");
        let error = write(&dir.join("circle"), b"new").expect_err("a circle");
        assert!(format!("{error:#}").contains("symbolic links"), "{error:#}");
        assert!(dir.join("circle").is_symlink());
    }

    #[test]
    fn names_may_be_as_long_as_the_file_system_allows() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let path = temporary.path().join("n".repeat(255));
        write(&path, b"new").expect("writable");
        assert_eq!(read(&path).expect("there"), b"new");
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
