//! Profiles: `--profile`, which reads one, and `precast run --profile-out`, which adds to one.
//!
//! Runs at the same time add up: each reads and replaces the file while it holds a lock on the
//! file's directory.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use precast_artifact::Profile;
use precast_loader::Module;

use crate::files;
use crate::held::Held;

/// Reads the profile in a file.
pub(crate) fn read(path: &Path) -> Result<Profile> {
    let bytes = files::read(path)?;
    Profile::decode(&bytes).with_context(|| format!("cannot use `{}`", path.display()))
}

/// The file that gets the profile of a program when the program ends.
#[derive(Clone)]
pub(crate) struct Output(Arc<Writing>);

struct Writing {
    file: Held,
    module: Module,
    is_written: Mutex<bool>,
}

impl Output {
    /// Checks, before the program runs, that there will be a profile, and that it can be added to
    /// what the file has. From now on nothing that the program does changes which file that is.
    pub(crate) fn new(path: &Path, module: &Module) -> Result<Self> {
        let Some(mut profile) = module.profile()? else {
            bail!(
                "the artifact was compiled without counters, so there is no profile of it: run the \
                 module itself, or compile it with `precast compile --counters`"
            );
        };
        let file = Held::new(path)?;
        add_old(&mut profile, &file)?;
        Ok(Self(Arc::new(Writing {
            file,
            module: module.clone(),
            is_written: Mutex::default(),
        })))
    }

    /// Adds what the program did to the file. Only the first call has an effect, and others wait
    /// for its end.
    pub(crate) fn write(&self) -> Result<()> {
        let Writing {
            file,
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
        let _lock = file.lock()?;
        add_old(&mut profile, file)?;
        file.write(&profile.encode())
    }
}

/// Adds the profile that the file has, if it has one.
fn add_old(profile: &mut Profile, file: &Held) -> Result<()> {
    let Some(bytes) = file.read()? else {
        return Ok(());
    };
    let path = file.path().display();
    let old = Profile::decode(&bytes).with_context(|| format!("cannot use `{path}`"))?;
    let added = profile.add(&old);
    added.with_context(|| format!("cannot add to `{path}`"))
}
