//! [`WasiCtx`], which holds what a guest is given, and its builder.

mod error;
mod strings;

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use precast_loader::InterruptHandle;

use crate::clock::{Clocks, Replaced, SystemClocks};
use crate::descriptor::{Descriptor, Descriptors, MAX_DESCRIPTORS, OpenDir};
use crate::fs::FileSystem;
use crate::fs::mounted::{Mount, MountedDir};
use crate::procfs;
use crate::protect::Protected;
use crate::reach::Reach;
use crate::stdio::{Input, Output, Target};
#[cfg(feature = "async")]
use crate::suspend::{AsyncInput, AsyncOutput};
#[cfg(feature = "async")]
use crate::timer::Timer;
use crate::types::Rights;

pub use error::ConfigError;
pub(crate) use strings::Strings;

/// What a guest may do with a directory and everything in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirAccess {
    /// The guest can read, but change nothing: neither contents nor names, and it cannot set times.
    /// Named pipes are refused before they are opened.
    ///
    /// The system notes when files, directories and links were last read, for a guest as for any
    /// program: access times stay as they are only in file systems that are mounted with
    /// `noatime`. (A program can keep the system from noting access times only for files of its
    /// own user, and not for links at all.)
    ReadOnly,
    /// The guest can read and change everything.
    ReadWrite,
}

type RandomSource = Box<dyn FnMut(&mut [u8]) + Send>;

/// Builds a [`WasiCtx`], which holds what a guest is given.
///
/// By default a guest has no arguments, no environment variables and no directories. Its standard
/// input is empty, and its standard output and error are discarded. It has the system's clocks and
/// secure random numbers.
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
    /// Starts with the defaults.
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
            interrupt: None,
            at_once: false,
            #[cfg(feature = "async")]
            has_own_sleep: false,
            #[cfg(feature = "async")]
            timer: None,
            #[cfg(feature = "async")]
            suspends: false,
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
    /// [`ConfigError::Arg`] if the argument contains a NUL byte.
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

    /// Sets an environment variable. It replaces an earlier one of the same name.
    ///
    /// # Errors
    /// [`ConfigError::Env`] if the name is empty or contains `=`, or if the name or the value
    /// contains a NUL byte.
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

    /// Gives the guest the host's standard input. The guest reads it without a buffer, so it does
    /// not see bytes that [`std::io::stdin`] has buffered already.
    pub fn inherit_stdin(mut self) -> Self {
        self.ctx.stdin = Input::of(None);
        self
    }

    /// Gives the guest the host's standard output.
    pub fn inherit_stdout(mut self) -> Self {
        self.ctx.stdout = Output::of(Target::Stdout);
        self
    }

    /// Gives the guest the host's standard error.
    pub fn inherit_stderr(mut self) -> Self {
        self.ctx.stderr = Output::of(Target::Stderr);
        self
    }

    /// Sets the reader of the guest's standard input. `poll_oneoff` always reports it as ready.
    pub fn stdin(mut self, reader: impl Read + Send + 'static) -> Self {
        self.ctx.stdin = Input::Reader(Box::new(reader));
        self
    }

    /// Sets where the guest's standard input comes from: a pipe, a socket or a file of the host. A
    /// guest that waits for this input ends at its deadline, unlike a guest that waits in a
    /// [reader](Self::stdin).
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// # fn main() -> Result<(), std::io::Error> {
    /// let (reader, mut writer) = std::io::pipe()?;
    /// let wasi = precast_wasi::WasiCtxBuilder::new().stdin_from(reader).build();
    /// // At any time, while the guest runs on another thread:
    /// writer.write_all(b"hello\n")?;
    /// # drop(wasi);
    /// # Ok(()) }
    /// ```
    pub fn stdin_from(mut self, source: impl Into<OwnedFd>) -> Self {
        self.ctx.stdin = Input::of(Some(source.into()));
        self
    }

    /// Sets where the guest's standard output goes: to a pipe, a socket, a terminal or a file of
    /// the host. A guest that waits because a pipe is full ends at its deadline, unlike a guest
    /// that waits in a [writer](Self::stdout).
    pub fn stdout_to(mut self, target: impl Into<OwnedFd>) -> Self {
        self.ctx.stdout = Output::of(Target::Owned(target.into()));
        self
    }

    /// Sets where the guest's standard error goes, like [`stdout_to`](Self::stdout_to).
    pub fn stderr_to(mut self, target: impl Into<OwnedFd>) -> Self {
        self.ctx.stderr = Output::of(Target::Owned(target.into()));
        self
    }

    /// Sets the stream of the guest's standard input, which suspends the guest while there is no
    /// input. The guest's functions must be those of
    /// [`add_to_linker_async`](crate::add_to_linker_async); other functions return `EAGAIN` while
    /// there is no input.
    #[cfg(feature = "async")]
    pub fn stdin_async(mut self, input: impl AsyncInput + 'static) -> Self {
        self.ctx.stdin = Input::Async(Box::new(input));
        self
    }

    /// Sets the stream of the guest's standard output, which suspends the guest while there is no
    /// room; see [`stdin_async`](Self::stdin_async).
    #[cfg(feature = "async")]
    pub fn stdout_async(mut self, output: impl AsyncOutput + 'static) -> Self {
        self.ctx.stdout = Output::Async(Box::new(output));
        self
    }

    /// Sets the stream of the guest's standard error, like [`stdout_async`](Self::stdout_async).
    #[cfg(feature = "async")]
    pub fn stderr_async(mut self, output: impl AsyncOutput + 'static) -> Self {
        self.ctx.stderr = Output::Async(Box::new(output));
        self
    }

    /// Sets what wakes the guest when it sleeps in functions of
    /// [`add_to_linker_async`](crate::add_to_linker_async): the timer of an executor, for example.
    #[cfg(feature = "async")]
    pub fn timer(mut self, timer: impl Timer + 'static) -> Self {
        self.ctx.timer = Some(Box::new(timer));
        self
    }

    /// Sets the writer of the guest's standard output. It is flushed after each write of the guest,
    /// and the guest gets the errors of both.
    pub fn stdout(mut self, writer: impl Write + Send + 'static) -> Self {
        self.ctx.stdout = Output::Writer(Box::new(writer));
        self
    }

    /// Sets the writer of the guest's standard error, like [`stdout`](Self::stdout).
    pub fn stderr(mut self, writer: impl Write + Send + 'static) -> Self {
        self.ctx.stderr = Output::Writer(Box::new(writer));
        self
    }

    /// Gives the guest the directory `host` under the name `guest`, as the next descriptor from 3
    /// on. No path leads out of the directory, whatever symbolic links are in it. Where procfs is
    /// mounted below the directory, the guest can open and look at nothing (`EPERM`).
    ///
    /// # Errors
    /// [`ConfigError::Preopen`] if the directory cannot be opened or is in procfs;
    /// [`ConfigError::GuestPath`] if `guest` is empty or contains a NUL byte;
    /// [`ConfigError::TooManyPreopens`].
    pub fn preopened_dir(
        mut self,
        host: impl AsRef<Path>,
        guest: impl AsRef<str>,
        access: DirAccess,
    ) -> Result<Self, ConfigError> {
        let (host, guest) = (host.as_ref(), guest.as_ref());
        if let Some(what) = wrong_name(guest) {
            return Err(ConfigError::GuestPath {
                host: host.into(),
                guest: guest.into(),
                what,
            });
        }
        let dir = Dir::open_ambient_dir(host, ambient_authority()).and_then(procfs::refuse_dir);
        let dir = dir.map_err(|source| ConfigError::Preopen {
            host: host.into(),
            guest: guest.into(),
            source,
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
        self.preopen(Descriptor::directory(dir, inheriting))
    }

    fn preopen(mut self, descriptor: Descriptor) -> Result<Self, ConfigError> {
        self.preopens += 1;
        self.ctx
            .descriptors
            .insert(descriptor)
            .map_err(|_| ConfigError::TooManyPreopens {
                wanted: self.preopens,
                limit: self.ctx.descriptors.max.saturating_sub(3),
            })?;
        Ok(self)
    }

    /// Gives the guest a [file system](crate::fs) of the host's making under the name `guest`, as
    /// the next descriptor from 3 on. No path leads out of the file system, nor from it into
    /// another one.
    ///
    /// The file system decides how much memory the guest can make it use: a
    /// [`MemoryFs`](crate::fs::MemoryFs) has a limit.
    ///
    /// # Errors
    /// [`ConfigError::MountPath`] if `guest` is empty or contains a NUL byte;
    /// [`ConfigError::TooManyPreopens`].
    pub fn mount(
        self,
        guest: impl AsRef<str>,
        fs: impl FileSystem + 'static,
        access: DirAccess,
    ) -> Result<Self, ConfigError> {
        let guest = guest.as_ref();
        if let Some(what) = wrong_name(guest) {
            return Err(ConfigError::MountPath {
                guest: guest.into(),
                what,
            });
        }
        let mount = Mount {
            fs: Box::new(fs),
            read_only: access == DirAccess::ReadOnly,
            // No device of the system has a number this large.
            dev: (1 << 63) + self.preopens as u64,
        };
        let dir = MountedDir {
            mount: Arc::new(mount),
            path: Some(String::new()),
            preopen: Some(guest.into()),
            listing: None,
        };
        let inheriting = Rights::DIRECTORY.and(Rights::FILE);
        self.preopen(Descriptor::mounted_directory(dir, inheriting))
    }

    /// Whether the guest could change the file or directory at `path`, or make `path` lead to
    /// another one, through the read-write directories that were given so far.
    ///
    /// That is so in three cases:
    ///
    /// - A name on the way to `path` is in such a directory, through whatever mounts and symbolic
    ///   links.
    /// - `path` is a directory, and such a directory is inside of it.
    /// - `path` is a file with several names (hard links), and such a directory is on the same file
    ///   system: one of the names could be in it.
    ///
    /// Directories are compared by device and inode and by their locations in their file systems,
    /// not by paths. If the system does not provide this information, the answer is yes.
    ///
    /// A host that maps code from a file needs to know this: see `Module::open` and
    /// `Module::open_sealed` of `precast-loader`.
    pub fn reaches(&self, path: impl AsRef<Path>) -> bool {
        self.reach.includes(path.as_ref())
    }

    /// The first symbolic link on the way to `path` that a guest with the read-write directories
    /// that were given so far could have made. Its path is without other links.
    ///
    /// A host that writes to a path with such a link writes where a guest wants it to.
    ///
    /// # Errors
    /// Those of the system, if it cannot tell.
    pub fn writable_link(&self, path: impl AsRef<Path>) -> io::Result<Option<PathBuf>> {
        self.reach.link(path.as_ref())
    }

    /// Sets how many descriptors the guest can have at most, with its three standard streams and
    /// the directories that it is given. It keeps directories that were given before this call,
    /// even if they are more. The default and the maximum is 1,024. Each descriptor takes one of
    /// the process, except those of [mounted file systems](Self::mount).
    pub fn max_descriptors(mut self, max: usize) -> Self {
        self.ctx.descriptors.max = max.min(MAX_DESCRIPTORS);
        self
    }

    /// Sets how many bytes the listings of the guest's open directories can take in the memory of
    /// the process, all together: the names and 32 bytes for each. The vectors that these are in
    /// may have room for twice as much. The default is 256 MiB. A directory that is too large for
    /// what is left cannot be listed (`ENOMEM`).
    pub fn max_listings(mut self, bytes: usize) -> Self {
        self.ctx.descriptors.max_listings = bytes;
        self
    }

    /// Keeps the guest from changing the file or directory at `path`, even if it is in a directory
    /// that the guest can write to.
    ///
    /// The guest can still read. But it can change nothing in a protected directory, and it cannot
    /// write to, truncate, link or remove a protected file. The name that the guest uses (a hard
    /// link, a symbolic link, another mount) makes no difference, because files are recognised by
    /// device and inode. Nor can the guest change the names that lead to `path`: it cannot rename a
    /// directory above it, replace the file by another one, or create the file if it does not exist
    /// yet. A file that the host creates there later is protected too, a directory is not. Such
    /// calls fail with `EROFS`.
    ///
    /// This is for files that the host runs as code or that decide what it runs: artifacts, caches
    /// of compiled modules, programs, configuration. It makes every call with a path slower: by two
    /// microseconds or so for each directory above the one that the path leads to, up to the root
    /// of the system, so a guest that nests directories deep makes its own calls slow.
    ///
    /// # Errors
    /// [`ConfigError::Protect`] if the system cannot tell what `path` leads to.
    pub fn protect(mut self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let added = self.ctx.protected.add(path);
        added.map_err(|source| ConfigError::Protect {
            path: path.into(),
            source,
        })?;
        Ok(self)
    }

    /// Like [`protect`](Self::protect), for the file or directory with this device and inode
    /// number. The guest can change the names that lead to it.
    pub fn protect_inode(mut self, dev: u64, ino: u64) -> Self {
        self.ctx.protected.add_inode(dev, ino);
        self
    }

    /// Sets the guest's clocks, instead of the system's, and how a guest sleeps that cannot be
    /// suspended. A guest that can be suspended sleeps in real time, or by the host's `timer`
    /// (feature `async`).
    pub fn clocks(mut self, clocks: impl Clocks + 'static) -> Self {
        self.ctx.clocks = Box::new(clocks);
        #[cfg(feature = "async")]
        {
            self.ctx.has_own_sleep = false;
        }
        self
    }

    /// Sets the guest's wall clock, which returns the time since 1970-01-01 00:00 UTC. The other
    /// clock and sleeping stay what they are.
    pub fn wall_clock(mut self, now: impl FnMut() -> Duration + Send + 'static) -> Self {
        self.ctx.clocks = Box::new(Replaced {
            wall_clock: Some(Box::new(now)),
            ..Replaced::nothing_of(self.ctx.clocks)
        });
        self
    }

    /// Sets the guest's monotonic clock, which returns the time since a fixed moment, and never
    /// less than before.
    pub fn monotonic_clock(mut self, now: impl FnMut() -> Duration + Send + 'static) -> Self {
        self.ctx.clocks = Box::new(Replaced {
            monotonic_clock: Some(Box::new(now)),
            ..Replaced::nothing_of(self.ctx.clocks)
        });
        self
    }

    /// Sets how the guest sleeps, for example not at all. A deadline does not interrupt such a
    /// sleep. A guest that can be suspended keeps its thread for it, unless the host has set a
    /// `timer` (feature `async`) as well, which then takes its place.
    pub fn sleep(mut self, sleep: impl FnMut(Duration) + Send + 'static) -> Self {
        self.ctx.clocks = Box::new(Replaced {
            sleep: Some(Box::new(sleep)),
            ..Replaced::nothing_of(self.ctx.clocks)
        });
        #[cfg(feature = "async")]
        {
            self.ctx.has_own_sleep = true;
        }
        self
    }

    /// Sets the source of the random numbers of `random_get`, instead of the system's secure
    /// source. For many numbers it is called several times.
    pub fn random(mut self, fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        self.ctx.random = Some(Box::new(fill));
        self
    }

    /// Builds the context.
    pub fn build(self) -> WasiCtx {
        let mut ctx = self.ctx;
        for (key, value) in std::mem::take(&mut ctx.env) {
            ctx.environ.push(&[&key, "=", &value]);
        }
        for dir in ctx.descriptors.directories_mut() {
            // If the system cannot tell whether the directory is protected, it counts as protected.
            dir.read_only |= ctx.protected.holds_directory(&dir.dir).unwrap_or(true);
        }
        ctx
    }
}

/// What is wrong with a guest's name for a directory, if anything.
fn wrong_name(guest: &str) -> Option<&'static str> {
    let is_wrong = guest.is_empty() || guest.contains('\0');
    is_wrong.then_some("it is empty or has a NUL byte; expected a path such as `/` or `data`")
}

/// What a guest was given, and its open files. Dropping the context closes the files.
pub struct WasiCtx {
    pub(crate) args: Strings,
    /// The variables while the context is being built; empty after that.
    env: Vec<(String, String)>,
    pub(crate) environ: Strings,
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) clocks: Box<dyn Clocks>,
    /// `None` for the system's secure source.
    pub(crate) random: Option<RandomSource>,
    pub(crate) descriptors: Descriptors,
    pub(crate) protected: Protected,
    /// The interrupt handle of the store from which the current call came. It is set before every
    /// call that may wait.
    pub(crate) interrupt: Option<InterruptHandle>,
    /// Whether functions report that they would have to wait, instead of waiting.
    pub(crate) at_once: bool,
    /// Whether [`WasiCtxBuilder::sleep`] says how the guest sleeps.
    #[cfg(feature = "async")]
    pub(crate) has_own_sleep: bool,
    /// What wakes the guest when it is suspended; `None` for the timer of the process.
    #[cfg(feature = "async")]
    pub(crate) timer: Option<Box<dyn Timer>>,
    /// Whether the function that is called can suspend the guest.
    #[cfg(feature = "async")]
    pub(crate) suspends: bool,
}

impl WasiCtx {
    /// Waits for this time, or until the guest must end.
    pub(crate) fn sleep(&mut self, time: Duration) {
        match &self.interrupt {
            Some(interrupt) => self.clocks.sleep_interruptibly(time, interrupt),
            None => self.clocks.sleep(time),
        }
    }
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
