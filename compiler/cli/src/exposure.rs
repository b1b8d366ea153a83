//! The machine code that a guest of `precast run` could change through its directories: the
//! artifact that runs now, and the cached code that runs later.
//!
//! An artifact is mapped from its file, so writing to the file changes the code. For a guest that
//! may write to the file (see [`WasiCtxBuilder::reaches`]) there are two defences: the code runs
//! from a sealed copy in memory, and the guest cannot change the file or any name that leads to it.
//!
//! The cache of compiled modules holds code that later runs execute. If the guest may write to the
//! cache, this run neither takes code from the cache (an earlier guest may have written there) nor
//! stores code in it. The guest cannot change the cache either, whether this run uses it or not.
//!
//! Nothing protects other files that a guest may write to and that somebody runs, sources or reads
//! as configuration later: other artifacts, this program, start-up files of shells, other caches.

use std::path::PathBuf;

use anyhow::Result;
use precast_wasi::WasiCtxBuilder;

use crate::program::Program;

/// The files that hold machine code and that the guest could change.
#[derive(Default)]
pub(crate) struct Exposure {
    /// The artifact that is run, if it is exposed. A WebAssembly module is never exposed code: a
    /// changed module is compiled anew.
    artifact: Option<PathBuf>,
    /// The directory of the cache, if it is exposed.
    cache: Option<PathBuf>,
}

impl Exposure {
    /// Finds out whether a guest with the directories of `wasi` could change the program that is
    /// run or the cache.
    pub(crate) fn new(wasi: &WasiCtxBuilder, program: &Program, cache: Option<PathBuf>) -> Self {
        let artifact = match program {
            Program::File(file) => Some(file).filter(|file| wasi.reaches(file)),
            Program::Bytes(_) | Program::Module(_) => None,
        };
        Self {
            artifact: artifact.cloned(),
            cache: cache.filter(|cache| wasi.reaches(cache)),
        }
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
        let exposed = self.artifact.iter().chain(&self.cache);
        Ok(exposed
            .into_iter()
            .try_fold(wasi, |wasi, path| wasi.protect(path))?)
    }
}
