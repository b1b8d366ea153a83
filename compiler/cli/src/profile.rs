//! Profiles: `--profile`, which reads one, and `precast run --profile-out`, which adds to one.
//!
//! Runs at the same time add up: each reads and replaces the file while it holds a lock on the
//! file's directory. Everybody who may read the directory may lock it, so a run waits only for a
//! while for the lock.
//!
//! Everything that a program or guests of other processes could take away meanwhile is there before
//! the program runs: the place of the file (see [`HeldFile`](crate::held::HeldFile)), the directory
//! to lock, and descriptors.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, PipeReader, PipeWriter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use precast_artifact::Profile;
use precast_loader::Module;

use crate::files::{self, Target};

/// How long a run waits for others that add to a file in the same directory. Each of them takes
/// milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the profile in a file.
pub(crate) fn read(path: &Path) -> Result<Profile> {
    decode(&files::read(path)?, path)
}

fn decode(bytes: &[u8], path: &Path) -> Result<Profile> {
    Profile::decode(bytes).with_context(|| format!("cannot use `{}`", path.display()))
}

/// Where a profile goes. This is found out before the program runs, which may change what a path
/// leads to, and which may take long: an error comes early.
pub(crate) struct Place {
    path: PathBuf,
    target: Target,
    /// The directory of a file, to lock it.
    directory: Option<io::Result<File>>,
}

impl Place {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let target = Target::find(path)?;
        target.check(path)?;
        Ok(Self {
            path: path.to_owned(),
            directory: match &target {
                Target::File(file) => Some(file.open_directory()),
                Target::Stdout | Target::InPlace(_) => None,
            },
            target,
        })
    }

    /// The path as the user wrote it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The paths that are written to: none for standard output; what the path leads to, such as a
    /// pipe; or a file, and the temporary file beside it.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        match &self.target {
            Target::Stdout => Vec::new(),
            Target::InPlace(_) => vec![self.path.clone()],
            Target::File(file) => {
                let [_, temporary] = file.paths();
                vec![self.path.clone(), temporary]
            }
        }
    }

    /// Adds the profile that was written here before, if there is one.
    fn add_to(&self, profile: &mut Profile) -> Result<()> {
        // Nothing else has old content to keep.
        let Target::File(file) = &self.target else {
            return Ok(());
        };
        let read = file.read();
        let read = read.with_context(|| format!("cannot read `{}`", self.path.display()))?;
        let Some(bytes) = read else {
            return Ok(());
        };
        // mktemp(1) makes an empty file.
        if bytes.is_empty() {
            return Ok(());
        }
        let old = decode(&bytes, &self.path)?;
        profile
            .add(&old)
            .with_context(|| format!("cannot add to `{}`", self.path.display()))
    }

    /// Waits for other runs that add to the file, and keeps them waiting until the lock is dropped.
    fn lock(&self) -> Option<Lock<'_>> {
        let locked = match self.directory.as_ref()? {
            Ok(directory) => Lock::new(directory).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &locked {
            tracing::warn!(
                "cannot lock the directory of `{}`: {error}: if another run adds to the file at \
                 this moment, what one of them has counted is lost",
                self.path.display()
            );
        }
        locked.ok()
    }
}

/// A lock on a directory, until this is dropped.
struct Lock<'a>(&'a File);

impl<'a> Lock<'a> {
    fn new(directory: &'a File) -> io::Result<Self> {
        const PAUSE: Duration = Duration::from_millis(10);
        let start = Instant::now();
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(Self(directory)),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    let message = format!("another process has kept it locked for {PATIENCE:?}");
                    return Err(io::Error::new(ErrorKind::WouldBlock, message));
                }
            }
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // The lock also ends with the process.
        self.0.unlock().ok();
    }
}

/// The place that gets the profile of a program when the program ends.
#[derive(Clone)]
pub(crate) struct Output(Arc<Writing>);

struct Writing {
    place: Place,
    module: Module,
    /// Two descriptors that the guest cannot use up; `None` when the profile is written.
    reserve: Mutex<Option<(PipeReader, PipeWriter)>>,
}

impl Output {
    /// Checks, before the program runs, that there will be a profile, and that it can be added to
    /// what the file has.
    pub(crate) fn new(place: Place, module: &Module) -> Result<Self> {
        let Some(mut profile) = module.profile()? else {
            bail!(
                "the artifact was compiled without counters, so there is no profile of it: run the \
                 module itself, or compile it with `precast compile --counters`"
            );
        };
        place.add_to(&mut profile)?;
        let reserve = io::pipe().context("cannot reserve descriptors for writing the profile")?;
        Ok(Self(Arc::new(Writing {
            place,
            module: module.clone(),
            reserve: Mutex::new(Some(reserve)),
        })))
    }

    /// Adds what the program did to the file. Only the first call has an effect, and others wait
    /// for its end.
    pub(crate) fn write(&self) -> Result<()> {
        let Writing {
            place,
            module,
            reserve,
        } = &*self.0;
        let mut reserve = reserve.lock().unwrap_or_else(PoisonError::into_inner);
        // Threads of the guest that still run may take these descriptors, too. Their program has
        // no profile then.
        if reserve.take().is_none() {
            return Ok(());
        }
        let Some(mut profile) = module.profile()? else {
            return Ok(()); // checked when this was made
        };
        let _lock = place.lock();
        place.add_to(&mut profile)?;
        place.target.write(&place.path, &profile.encode())
    }
}
