//! What a guest of `precast run` could change through the directories that it was given: machine code that
//! runs, and machine code that will.
//!
//! An artifact is mapped from its file, so whoever writes to the file writes code. For a guest that may write
//! to the file (see [`WasiCtxBuilder::reaches`] for when that is) there are two walls: its code runs from a
//! sealed copy in memory, and it is refused to change the file and every name that leads there.
//!
//! What is in the cache of compiled modules is run by whoever runs the module next. If the guest can write
//! to it, nothing is taken from the cache, because an earlier guest may have written there, and nothing put
//! into it; and the guest is refused to change what is there, whether this run uses the cache or not.
//!
//! Everything else that a guest may write to and somebody runs, sources or reads as configuration later is
//! out of our hands: other artifacts, this program, start-up files of shells, caches at other places.

use std::path::{Path, PathBuf};

use anyhow::Result;
use precast_wasi::WasiCtxBuilder;

use crate::cache::is_wasm;

/// What is exposed to the guest.
#[derive(Default)]
pub(crate) struct Exposure {
    /// The artifact. (A module does not matter: it is compiled anew when it changes.)
    artifact: Option<PathBuf>,
    /// The directory of the cache.
    cache: Option<PathBuf>,
}

impl Exposure {
    /// For a guest with these directories, of the file that is run and of the cache.
    pub(crate) fn new(wasi: &WasiCtxBuilder, file: &Path, cache: Option<PathBuf>) -> Self {
        Self {
            artifact: (!is_wasm(file) && wasi.reaches(file)).then(|| file.to_owned()),
            cache: cache.filter(|cache| wasi.reaches(cache)),
        }
    }

    pub(crate) fn artifact(&self) -> bool {
        self.artifact.is_some()
    }

    pub(crate) fn cache(&self) -> bool {
        self.cache.is_some()
    }

    /// Refuses to the guest to change any of it.
    pub(crate) fn protect(&self, wasi: WasiCtxBuilder) -> Result<WasiCtxBuilder> {
        let exposed = self.artifact.iter().chain(&self.cache);
        Ok(exposed
            .into_iter()
            .try_fold(wasi, |wasi, path| wasi.protect(path))?)
    }
}
