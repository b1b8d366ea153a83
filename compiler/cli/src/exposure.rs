//! What a guest of `precast run` could change through its directories although that is not its
//! business: the artifact that runs now, the cached code that runs later, the keys that say which
//! code is trusted, and the name of the profile that precast writes when the guest has ended.
//!
//! An artifact is mapped from its file, so writing to the file changes the code. For a guest that
//! may write to the file (see [`WasiCtxBuilder::reaches`]) there are two defences: the code runs
//! from a sealed copy in memory, and the guest cannot change the file or any name that leads to it.
//!
//! The cache of compiled modules holds code that later runs execute. If the guest may write to the
//! cache, this run neither takes code from the cache (an earlier guest may have written there) nor
//! stores code in it. The guest cannot change the cache either, whether this run uses it or not.
//!
//! The files of trusted keys (`--trusted-key`) decide which artifacts later runs accept. A guest
//! that replaced a key by its own could have any code of its own accepted, so the guest cannot
//! change these files, nor any name that leads to them.
//!
//! The profile (`--profile-out`) is written with the rights of precast. If the guest could replace
//! the profile's name by a symbolic link, precast would write to a place that the guest has no
//! access to. So the guest cannot change the file, the temporary file beside it, or any name that
//! leads to them. An earlier guest may have made such a link, so a profile that is exposed must not
//! have a symbolic link in its path that a guest with these directories could have made.
//!
//! Nothing protects other files that a guest may write to and that somebody runs, sources or reads
//! as configuration later: other artifacts, this program, start-up files of shells, other caches.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use precast_wasi::WasiCtxBuilder;

use crate::profile::Place;
use crate::program::Program;
use crate::signing::Trusted;

/// The files that the guest could change and must not.
#[derive(Default)]
pub(crate) struct Exposure {
    /// The artifact that is run, if it is exposed. A WebAssembly module is never exposed code: a
    /// changed module is compiled anew.
    artifact: Option<PathBuf>,
    /// The directory of the cache, if it is exposed.
    cache: Option<PathBuf>,
    /// The files of trusted keys that are exposed.
    keys: Vec<PathBuf>,
    /// The file for the profile and its temporary file, if they are exposed.
    profile: Vec<PathBuf>,
}

impl Exposure {
    /// Finds out whether a guest with the directories of `wasi` could change the program that is
    /// run, the cache, the files of trusted keys or the profile.
    ///
    /// # Errors
    /// The profile is exposed, and its path has a symbolic link that a guest may have made.
    pub(crate) fn new(
        wasi: &WasiCtxBuilder,
        program: &Program,
        cache: Option<PathBuf>,
        trusted: &Trusted,
        profile: Option<&Place>,
    ) -> Result<Self> {
        let artifact = match program {
            Program::File(file) => Some(file).filter(|file| wasi.reaches(file)),
            Program::Bytes(_) | Program::Module(_) => None,
        };
        let profile = match profile {
            Some(place) => exposed_profile(wasi, place)
                .with_context(|| format!("cannot write `{}`", place.path().display()))?,
            None => Vec::new(),
        };
        Ok(Self {
            artifact: artifact.cloned(),
            cache: cache.filter(|cache| wasi.reaches(cache)),
            keys: trusted
                .files()
                .filter(|key| wasi.reaches(key))
                .map(Path::to_path_buf)
                .collect(),
            profile,
        })
    }

    /// Whether the artifact is exposed.
    pub(crate) fn artifact(&self) -> bool {
        self.artifact.is_some()
    }

    /// Whether the cache is exposed.
    pub(crate) fn cache(&self) -> bool {
        self.cache.is_some()
    }

    /// Keeps the guest from changing the exposed files.
    pub(crate) fn protect(&self, wasi: WasiCtxBuilder) -> Result<WasiCtxBuilder> {
        let code = self.artifact.iter().chain(&self.cache);
        Ok(code
            .chain(&self.keys)
            .chain(&self.profile)
            .try_fold(wasi, |wasi, path| wasi.protect(path))?)
    }
}

/// The files that are written for a profile, if the guest could change them.
fn exposed_profile(wasi: &WasiCtxBuilder, place: &Place) -> Result<Vec<PathBuf>> {
    let files = place.files();
    if files.is_empty() || !wasi.reaches(place.path()) {
        return Ok(Vec::new());
    }
    if let Some(link) = wasi.writable_link(place.path())? {
        bail!(
            "the guest may write to a directory that leads to this file, and `{}` is a symbolic \
             link, which a guest may have made: give a path without this link, or a file that the \
             guest cannot reach",
            link.display()
        );
    }
    Ok(files)
}
