//! One cache of compiled modules for many runtimes, threads and processes.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use precast_cache::CompilationCache;
//! use precast_compiler::Settings;
//! use precast_loader::Engine;
//!
//! let cache = CompilationCache::open("/var/cache/my-app")?;
//! let wasm = std::fs::read("plugin.wasm")?;
//! let module = cache.get_or_compile(&Engine::default(), &wasm, &Settings::default())?;
//! # drop(module);
//! # Ok(()) }
//! ```
//!
//! | module | what |
//! |---|---|
//! | `key` | what a module is found by |
//! | `compile` | what happens when this process does not have a module yet |
//! | `callback` | why nobody waits inside of a progress callback |
//! | `live` | modules that this process has mapped: one mapping each, one compilation at a time |
//! | `resident` | modules that only the cache's memory holds |
//! | `directory` | names on disk, and the boundary of trust |
//! | `entry`, `seal` | one entry: finding, checking, writing |
//! | `lock` | one compilation at a time between processes |
//! | `budget`, `verify` | what goes, and what is damaged |
//! | `options`, `stats`, `error` | what the user chooses and learns |
//!
//! Invariants: an entry is there whole or not at all, and never changes; what is damaged, stale or
//! not ours is a miss and never an error; nothing that precast did not write is deleted; a module
//! in use outlives its entry, its cache and the directory; where the disk does not play along, the
//! cache works in memory and says so once. Everything worth knowing is told through `tracing`.

mod budget;
mod callback;
mod compile;
mod directory;
mod entry;
mod error;
mod key;
mod live;
mod lock;
mod options;
mod resident;
mod seal;
mod stats;
#[cfg(test)]
mod testing;
mod verify;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use precast_artifact::metadata::Metadata;
use precast_compiler::{Compiler, Settings};
use precast_loader::{Engine, Module};

pub use budget::{Entry, Removed, Usage};
pub use error::Error;
pub use key::{Key, NotAKey};
pub use options::{DIRECTORY_VARIABLE, Options, default_directory};
pub use stats::Stats;
pub use verify::Verified;

use directory::Directory;
use key::Wanted;
use live::Place;
use resident::Residents;
use stats::Counters;

/// Compiled modules, shared by any number of runtimes. Cheap to clone; clones are the same cache.
///
/// Modules belong to their users: dropping the cache takes none away, and modules that came from a
/// directory are unmapped when their last user drops them.
#[derive(Debug, Clone)]
pub struct CompilationCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    directory: Option<Directory>,
    place: Place,
    residents: Mutex<Residents>,
    counters: Counters,
    /// Somebody was told that the directory cannot be written to.
    warned: AtomicBool,
}

impl Options {
    /// A cache in memory: it keeps modules, within the budget, until it is dropped.
    pub fn in_memory(self) -> CompilationCache {
        CompilationCache::new(self, None)
    }

    /// A cache in a directory, which is made if it is not there.
    ///
    /// What is in the directory will be run, so the part of it that the cache uses must belong to
    /// this user or to root, and nobody else may be able to write to it. A directory that cannot be
    /// written to is fine: what is not in it is compiled, and kept in memory.
    ///
    /// # Errors
    /// [`Error::Directory`] when there is something else at that path, or somebody else's
    /// directory; [`Error::File`] when the directory cannot be made.
    pub fn open(self, directory: impl AsRef<Path>) -> Result<CompilationCache, Error> {
        let directory = Directory::open(directory.as_ref(), self.read_only)?;
        if directory.is_writable()
            && let Err(error) = budget::sweep_crashed(&directory)
        {
            tracing::debug!(%error, "cannot sweep the cache");
        }
        Ok(CompilationCache::new(self, Some(directory)))
    }
}

impl CompilationCache {
    /// A cache in memory with the default options.
    pub fn in_memory() -> Self {
        Options::default().in_memory()
    }

    /// A cache in a directory with the default options; see [`Options::open`].
    ///
    /// # Errors
    /// Those of [`Options::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, Error> {
        Options::default().open(directory)
    }

    fn new(options: Options, directory: Option<Directory>) -> Self {
        let place = directory
            .as_ref()
            .map_or_else(Place::in_memory, |directory| directory.place);
        Self(Arc::new(Inner {
            options,
            directory,
            place,
            residents: Mutex::default(),
            counters: Counters::default(),
            warned: AtomicBool::new(false),
        }))
    }

    /// The module that `wasm` compiles to with these settings.
    ///
    /// However many threads and processes ask for one module at the same time, one compiles it and
    /// the others wait. All modules that this process gets from one place share one mapping for
    /// each artifact, whatever their engines.
    ///
    /// # Errors
    /// [`Error::Compile`] for the module's own faults; [`Error::Load`] when the artifact cannot run
    /// here; [`Error::Missing`] when compiling is ruled out. Not for anything that is wrong with
    /// the cache.
    pub fn get_or_compile(
        &self,
        engine: &Engine,
        wasm: &[u8],
        settings: &Settings,
    ) -> Result<Module, Error> {
        self.get_or_compile_with_progress(engine, wasm, settings, &|_, _| {})
    }

    /// [`get_or_compile`](Self::get_or_compile) that tells how far a compilation is; see
    /// [`Compiler::compile_with_progress`].
    ///
    /// `progress` may use the cache. If it asks for a module that somebody is just getting, such as the
    /// one whose progress it hears of, it does not wait for that, and compiles the module once more.
    ///
    /// # Errors
    /// Those of [`get_or_compile`](Self::get_or_compile).
    pub fn get_or_compile_with_progress(
        &self,
        engine: &Engine,
        wasm: &[u8],
        settings: &Settings,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Module, Error> {
        let wanted = wanted(wasm, settings)?;
        let counters = &self.0.counters;
        let slot = live::slot(self.0.place, wanted.key);
        let Some((mut live, waited)) = slot.lock(!callback::is_running()) else {
            return self.load_or_compile_apart(engine, wasm, settings, &wanted);
        };
        if waited {
            counters.waits.one();
        }
        if let Some(module) = live.upgrade(engine) {
            counters.memory_hits.one();
            self.residents().touch(wanted.key);
            return Ok(module);
        }
        let module = self.load_or_compile(engine, wasm, settings, &wanted, progress)?;
        *live = module.downgrade();
        Ok(module)
    }

    /// The key of a module with these settings.
    ///
    /// # Errors
    /// [`Error::Compile`] for settings that are not supported.
    pub fn key(wasm: &[u8], settings: &Settings) -> Result<Key, Error> {
        Ok(wanted(wasm, settings)?.key)
    }

    /// What the cache did so far.
    pub fn stats(&self) -> Stats {
        self.0.counters.read()
    }

    /// The directory, as it was given, made absolute.
    pub fn directory(&self) -> Option<&Path> {
        self.0.directory.as_ref().map(|directory| &*directory.root)
    }

    /// What the cache holds: in its directory, or in memory if it has none.
    ///
    /// # Errors
    /// [`Error::File`] when the directory cannot be read.
    pub fn usage(&self) -> Result<Usage, Error> {
        match &self.0.directory {
            Some(directory) => budget::usage(directory),
            None => {
                let residents = self.residents();
                Ok(Usage {
                    entries: residents.len() as u64,
                    bytes: residents.bytes(),
                    ..Usage::default()
                })
            }
        }
    }

    /// All entries of the directory, the least recently used first.
    ///
    /// # Errors
    /// [`Error::InMemory`], or [`Error::File`] when the directory cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        budget::entries(self.on_disk("list")?)
    }

    /// What an entry says about where it comes from, if it can be read. Not checked.
    pub fn describe(&self, entry: &Entry) -> Option<Metadata> {
        entry::describe(&entry.path)
    }

    /// Reads and checks every entry in full. Those that are damaged are removed, unless the cache is
    /// read-only.
    ///
    /// # Errors
    /// [`Error::InMemory`], or [`Error::File`] when the directory cannot be read.
    pub fn verify(&self) -> Result<Vec<Verified>, Error> {
        let all = verify::verify(self.on_disk("verify")?)?;
        let damaged = all.iter().filter(|entry| entry.fault.is_some()).count();
        self.0.counters.damaged.add(damaged as u64);
        Ok(all)
    }

    /// Removes what was not used for `max_age`, then what was used least recently until the rest fits
    /// in `max_bytes`, but nothing that is pinned. The options' budget is kept without this.
    ///
    /// # Errors
    /// [`Error::File`] when the directory cannot be read, or a file not be removed.
    pub fn prune(
        &self,
        max_bytes: Option<u64>,
        max_age: Option<Duration>,
    ) -> Result<Removed, Error> {
        let options = Options {
            max_bytes,
            max_age,
            ..self.0.options.clone()
        };
        let forgotten = self.residents().prune(&options);
        self.0.counters.evictions.add(forgotten);
        match &self.0.directory {
            None => Ok(Removed {
                entries: forgotten,
                ..Removed::default()
            }),
            Some(_) => {
                let directory = self.writable("prune")?;
                let removed = budget::prune(directory, max_bytes, max_age)?;
                self.0.counters.evictions.add(removed.entries);
                Ok(removed)
            }
        }
    }

    /// Removes everything that precast wrote, pinned or not, and nothing else.
    ///
    /// # Errors
    /// [`Error::File`] when the directory cannot be read, or a file not be removed.
    pub fn clear(&self) -> Result<Removed, Error> {
        self.residents().clear();
        match &self.0.directory {
            None => Ok(Removed::default()),
            Some(_) => budget::clear(self.writable("clear")?),
        }
    }

    /// Keeps an entry, there already or yet to come, whatever the budget; for every process that
    /// uses the directory, until it is [unpinned](Self::unpin).
    ///
    /// # Errors
    /// [`Error::File`] when that cannot be noted in the directory.
    pub fn pin(&self, key: &Key) -> Result<(), Error> {
        self.set_pin(key, true)
    }

    /// Undoes [`pin`](Self::pin).
    ///
    /// # Errors
    /// [`Error::File`] when that cannot be noted in the directory.
    pub fn unpin(&self, key: &Key) -> Result<(), Error> {
        self.set_pin(key, false)
    }

    fn set_pin(&self, key: &Key, on: bool) -> Result<(), Error> {
        self.residents().pin(*key, on);
        match &self.0.directory {
            None => Ok(()),
            Some(_) => budget::pin(self.writable("pin")?, key, on),
        }
    }

    fn residents(&self) -> MutexGuard<'_, Residents> {
        let residents = self.0.residents.lock();
        residents.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a warning about the directory is due: the first is.
    fn warns(&self) -> bool {
        !self.0.warned.swap(true, Ordering::Relaxed)
    }

    fn on_disk(&self, action: &'static str) -> Result<&Directory, Error> {
        self.0.directory.as_ref().ok_or(Error::InMemory(action))
    }

    fn writable(&self, action: &'static str) -> Result<&Directory, Error> {
        let directory = self.on_disk(action)?;
        if self.0.options.read_only {
            let error = std::io::Error::other("the cache was opened to be read only");
            return Err(Error::file(action, &directory.root)(error));
        }
        Ok(directory)
    }
}

fn wanted(wasm: &[u8], settings: &Settings) -> Result<Wanted, Error> {
    let compiler = Compiler::new(settings.clone())?;
    Ok(Wanted::new(wasm, compiler.identity()))
}
