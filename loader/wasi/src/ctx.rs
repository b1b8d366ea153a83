//! What a guest is given: [`WasiCtx`] and its builder.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::clock::{Clocks, SystemClocks};
use crate::descriptor::{Descriptor, Descriptors, MAX_DESCRIPTORS, OpenDir};
use crate::protect::Protected;
use crate::reach::Reach;
use crate::stdio::{Input, Output};
use crate::types::Rights;

/// What can be wrong with what a guest is to be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An argument with a NUL, which would end it.
    #[error("argument {index} has a NUL byte: {arg:?}; arguments end at the first NUL")]
    Arg {
        /// Its place, from 0.
        index: usize,
        /// The argument.
        arg: String,
    },
    /// A variable that no environment can hold.
    #[error("environment variable {key:?}: {what}")]
    Env {
        /// Its name.
        key: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A directory that cannot be opened.
    #[error("cannot open directory {} for the guest's {guest:?}", host.display())]
    Preopen {
        /// The directory.
        host: PathBuf,
        /// The guest's name for it.
        guest: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A guest's name for a directory that no path can begin with.
    #[error("the guest's name {guest:?} of directory {}: {what}", host.display())]
    GuestPath {
        /// The directory.
        host: PathBuf,
        /// The guest's name for it.
        guest: String,
        /// What is wrong.
        what: &'static str,
    },
    /// What is to be protected cannot be found out.
    #[error("cannot protect {} from the guest", path.display())]
    Protect {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Too many directories.
    #[error("{wanted} preopened directories, at most {limit} are possible")]
    TooManyPreopens {
        /// How many were given.
        wanted: usize,
        /// How many can be given.
        limit: usize,
    },
}

/// What a guest may do with a directory and everything in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirAccess {
    /// Look, but change nothing: neither contents nor names nor times.
    ReadOnly,
    /// Everything.
    ReadWrite,
}

type RandomSource = Box<dyn FnMut(&mut [u8]) + Send>;

/// Says what a guest is given. By default: no arguments, no environment, no directories, an empty
/// standard input, standard output and error that go nowhere; the system's clocks and secure random
/// numbers.
///
/// ```
/// # fn main() -> Result<(), precast_wasi::ConfigError> {
/// use precast_wasi::WasiCtxBuilder;
///
/// let wasi = WasiCtxBuilder::new()
///     .inherit_stdio()
///     .args(["program", "--verbose"])?
///     .env("LANG", "C.UTF-8")?
///     .build();
/// # drop(wasi);
/// # Ok(())
/// # }
/// ```
pub struct WasiCtxBuilder {
    ctx: WasiCtx,
    preopens: usize,
    reach: Reach,
}

impl Default for WasiCtxBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl WasiCtxBuilder {
    /// Nothing of the host.
    pub fn new() -> Self {
        let ctx = WasiCtx {
            args: Strings::default(),
            env: Vec::new(),
            environ: Strings::default(),
            stdin: Input::Reader(Box::new(std::io::empty())),
            stdout: Output::Writer(Box::new(std::io::sink())),
            stderr: Output::Writer(Box::new(std::io::sink())),
            clocks: Box::new(SystemClocks::new()),
            random: None,
            descriptors: Descriptors::new(),
            protected: Protected::default(),
        };
        Self {
            ctx,
            preopens: 0,
            reach: Reach::default(),
        }
    }

    /// Adds an argument. The first one is the program's name.
    ///
    /// # Errors
    /// [`ConfigError::Arg`] for a NUL.
    pub fn arg(mut self, arg: impl AsRef<str>) -> Result<Self, ConfigError> {
        let arg = arg.as_ref();
        if arg.contains('\0') {
            return Err(ConfigError::Arg {
                index: self.ctx.args.count(),
                arg: arg.into(),
            });
        }
        self.ctx.args.push(&[arg]);
        Ok(self)
    }

    /// Adds arguments.
    ///
    /// # Errors
    /// As for [`arg`](Self::arg).
    pub fn args(
        self,
        args: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, ConfigError> {
        args.into_iter().try_fold(self, Self::arg)
    }

    /// Sets an environment variable, instead of an earlier one of the same name.
    ///
    /// # Errors
    /// [`ConfigError::Env`] for an empty name, one with `=`, or a NUL in the name or the value.
    pub fn env(
        mut self,
        key: impl AsRef<str>,
        value: impl AsRef<str>,
    ) -> Result<Self, ConfigError> {
        let (key, value) = (key.as_ref(), value.as_ref());
        let what = if key.is_empty() {
            "the name is empty"
        } else if key.contains('=') {
            "the name has a `=`, which would end it"
        } else if key.contains('\0') {
            "the name has a NUL byte"
        } else if value.contains('\0') {
            "the value has a NUL byte, which would end it"
        } else {
            let env = &mut self.ctx.env;
            match env.iter_mut().find(|(k, _)| k == key) {
                Some((_, old)) => *old = value.into(),
                None => env.push((key.into(), value.into())),
            }
            return Ok(self);
        };
        Err(ConfigError::Env {
            key: key.into(),
            what,
        })
    }

    /// Sets environment variables.
    ///
    /// # Errors
    /// As for [`env`](Self::env).
    pub fn envs(
        self,
        envs: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
    ) -> Result<Self, ConfigError> {
        envs.into_iter()
            .try_fold(self, |this, (key, value)| this.env(key, value))
    }

    /// Gives the guest the host's standard streams.
    pub fn inherit_stdio(self) -> Self {
        self.inherit_stdin().inherit_stdout().inherit_stderr()
    }

    /// Gives the guest the host's standard input. It is read without a buffer: bytes that
    /// [`std::io::stdin`] has taken already are not seen.
    pub fn inherit_stdin(mut self) -> Self {
        self.ctx.stdin = Input::Inherited;
        self
    }

    /// Gives the guest the host's standard output.
    pub fn inherit_stdout(mut self) -> Self {
        self.ctx.stdout = Output::Stdout;
        self
    }

    /// Gives the guest the host's standard error.
    pub fn inherit_stderr(mut self) -> Self {
        self.ctx.stderr = Output::Stderr;
        self
    }

    /// What the guest reads from its standard input. It is always taken to be ready.
    pub fn stdin(mut self, reader: impl Read + Send + 'static) -> Self {
        self.ctx.stdin = Input::Reader(Box::new(reader));
        self
    }

    /// What the guest writes its standard output to. It is flushed after each write of the guest's,
    /// whose result tells of errors.
    pub fn stdout(mut self, writer: impl Write + Send + 'static) -> Self {
        self.ctx.stdout = Output::Writer(Box::new(writer));
        self
    }

    /// What the guest writes its standard error to; as for [`stdout`](Self::stdout).
    pub fn stderr(mut self, writer: impl Write + Send + 'static) -> Self {
        self.ctx.stderr = Output::Writer(Box::new(writer));
        self
    }

    /// Gives the guest the directory `host` under the name `guest`: the next descriptor from 3 on.
    /// No path leads out of it, whatever symbolic links it holds.
    ///
    /// # Errors
    /// [`ConfigError::Preopen`], [`ConfigError::GuestPath`], [`ConfigError::TooManyPreopens`].
    pub fn preopened_dir(
        mut self,
        host: impl AsRef<Path>,
        guest: impl AsRef<str>,
        access: DirAccess,
    ) -> Result<Self, ConfigError> {
        let (host, guest) = (host.as_ref(), guest.as_ref());
        if guest.is_empty() || guest.contains('\0') {
            let what = "it is empty or has a NUL byte; expected a path such as `/` or `data`";
            return Err(ConfigError::GuestPath {
                host: host.into(),
                guest: guest.into(),
                what,
            });
        }
        let dir = Dir::open_ambient_dir(host, ambient_authority()).map_err(|source| {
            ConfigError::Preopen {
                host: host.into(),
                guest: guest.into(),
                source,
            }
        })?;
        let dir = OpenDir {
            dir,
            read_only: access == DirAccess::ReadOnly,
            preopen: Some(guest.into()),
            listing: None,
        };
        if access == DirAccess::ReadWrite {
            self.reach.add(host);
        }
        let inheriting = Rights::DIRECTORY.and(Rights::FILE);
        self.preopens += 1;
        self.ctx
            .descriptors
            .insert(Descriptor::directory(dir, inheriting))
            .map_err(|_| ConfigError::TooManyPreopens {
                wanted: self.preopens,
                limit: MAX_DESCRIPTORS - 3,
            })?;
        Ok(self)
    }

    /// Whether the guest could change the file or directory at `path`, or what the path leads to, through
    /// one of the directories that it can write to so far.
    ///
    /// That is so if a name on the way to `path` is in such a directory, under whatever mounts and through
    /// whatever symbolic links; if it is a directory and such a directory is inside of it; and if it is a
    /// file with several names (hard links), of which one could be in such a directory because that is on
    /// the same file system. Directories are compared by device and inode and by their places in their file
    /// systems, not by paths. When the system does not tell, the answer is yes. Directories that are to be
    /// looked at only do not count.
    ///
    /// Whoever maps code from a file must know: see `Module::open` and `Module::open_sealed` of
    /// `precast-loader`.
    pub fn reaches(&self, path: impl AsRef<Path>) -> bool {
        self.reach.includes(path.as_ref())
    }

    /// Keeps the guest from changing the file or directory at `path`, although it may be in a directory
    /// that the guest can write to. It can look, and no more: nothing in a protected directory changes, a
    /// protected file is not written to, truncated, linked or removed, whatever name the guest uses (a hard
    /// link, a symbolic link, another mount), because files are recognised by device and inode. Nor can it
    /// change any of the names that lead to `path`: move a directory away in which it is, put another file
    /// in its place, make it if it does not exist yet. What is refused fails with `EROFS`.
    ///
    /// For what becomes code of the host's or says what does: artifacts, caches of compiled modules,
    /// programs, configuration. It costs every use of a path some microseconds.
    ///
    /// # Errors
    /// [`ConfigError::Protect`].
    pub fn protect(mut self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let added = self.ctx.protected.add(path);
        added.map_err(|source| ConfigError::Protect {
            path: path.into(),
            source,
        })?;
        Ok(self)
    }

    /// As [`protect`](Self::protect), for the file or directory with this device and inode number. The
    /// names that lead there are the guest's to change.
    pub fn protect_inode(mut self, dev: u64, ino: u64) -> Self {
        self.ctx.protected.add_inode(dev, ino);
        self
    }

    /// Other clocks than the system's.
    pub fn clocks(mut self, clocks: impl Clocks + 'static) -> Self {
        self.ctx.clocks = Box::new(clocks);
        self
    }

    /// Fills what `random_get` gives, instead of the system's secure source.
    pub fn random(mut self, fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        self.ctx.random = Some(Box::new(fill));
        self
    }

    /// The context.
    pub fn build(self) -> WasiCtx {
        let mut ctx = self.ctx;
        for (key, value) in std::mem::take(&mut ctx.env) {
            ctx.environ.push(&[&key, "=", &value]);
        }
        for dir in ctx.descriptors.directories_mut() {
            // What cannot be told may be protected.
            dir.read_only |= ctx.protected.holds_directory(&dir.dir).unwrap_or(true);
        }
        ctx
    }
}

/// What a guest was given, and what it made of it: its open files. Dropping it closes the
/// files.
pub struct WasiCtx {
    pub(crate) args: Strings,
    /// Until it is built.
    env: Vec<(String, String)>,
    pub(crate) environ: Strings,
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) clocks: Box<dyn Clocks>,
    /// `None`: the system's.
    pub(crate) random: Option<RandomSource>,
    pub(crate) descriptors: Descriptors,
    pub(crate) protected: Protected,
}

impl std::fmt::Debug for WasiCtx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasiCtx").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WasiCtxBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasiCtxBuilder").finish_non_exhaustive()
    }
}

/// Strings as guests want them: one after the other, each ended by NUL.
#[derive(Default)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Strings {
    /// Adds one string that is given in parts.
    fn push(&mut self, parts: &[&str]) {
        self.starts.push(self.bytes.len());
        for part in parts {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.bytes.push(0);
    }

    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Offsets of the first bytes.
    pub(crate) fn starts(&self) -> &[usize] {
        &self.starts
    }
}
