//! Profiles: `--profile`, which reads one, and `precast run --profile-out`, which adds to one.
//!
//! Runs at the same time add up: each reads and replaces the file while it holds a lock on the
//! file's directory.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use precast_artifact::Profile;
use precast_loader::Module;

use crate::files;

/// Reads the profile in a file.
pub(crate) fn read(path: &Path) -> Result<Profile> {
    let bytes = files::read(path)?;
    Profile::decode(&bytes).with_context(|| format!("cannot use `{}`", path.display()))
}

/// The file that gets the profile of a program when the program ends.
#[derive(Clone)]
pub(crate) struct Output(Arc<Writing>);

struct Writing {
    path: PathBuf,
    module: Module,
    is_written: Mutex<bool>,
}

impl Output {
    /// Checks, before the program runs, that there will be a profile, and that it can be added to
    /// what the file has.
    pub(crate) fn new(path: &Path, module: &Module) -> Result<Self> {
        let Some(mut profile) = module.profile()? else {
            bail!(
                "the artifact was compiled without counters, so there is no profile of it: run the \
                 module itself, or compile it with `precast compile --counters`"
            );
        };
        add_file(&mut profile, path)?;
        Ok(Self(Arc::new(Writing {
            path: path.to_owned(),
            module: module.clone(),
            is_written: Mutex::default(),
        })))
    }

    /// Adds what the program did to the file. Only the first call has an effect, and others wait
    /// for its end.
    pub(crate) fn write(&self) -> Result<()> {
        let Writing {
            path,
            module,
            is_written,
        } = &*self.0;
        let mut is_written = is_written.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *is_written, true) {
            return Ok(());
        }
        let Some(mut profile) = module.profile()? else {
            return Ok(()); // checked when this was made
        };
        let context = || format!("cannot lock the directory of `{}`", path.display());
        let lock = File::open(files::directory(path)).with_context(context)?;
        lock.lock().with_context(context)?;
        add_file(&mut profile, path)?;
        files::write(path, &profile.encode())
        // Closing the directory ends the lock.
    }
}

/// Adds the profile in a file, if there is one. Pipes and devices have none.
fn add_file(profile: &mut Profile, path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    let old = read(path)?;
    profile
        .add(&old)
        .with_context(|| format!("cannot add to `{}`", path.display()))
}
