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
//! Invariants:
//!
//! - An entry is there whole or not at all, and it never changes.
//! - An entry that is damaged, stale or written by somebody else is a miss, never an error.
//! - Files that precast did not write are never deleted.
//! - A module in use outlives its entry, its cache and the directory.
//! - When the directory cannot be written to, the cache works in memory and warns once.
//!
//! Warnings and decisions are reported through `tracing`. A subscriber may use the cache, like a
//! progress callback: see [`CompilationCache::get_or_compile_with_progress`].

// Where things are, for those who change the crate:
//
// | module | what |
// |---|---|
// | `key` | the key of a compiled module |
// | `compile` | a module that this process has not mapped yet: look on disk, compile, write |
// | `callback` | progress callbacks and events, in which a thread must not wait |
// | `live` | modules that this process has mapped: one mapping each, one compilation at a time |
// | `kept` | modules that are kept in memory instead of a directory |
// | `directory` | file names in the directory, and whether the directory can be trusted |
// | `entry`, `seal` | one entry: finding, checking and writing it |
// | `source` | the digests of module files that did not change |
// | `lock` | one compilation at a time between processes |
// | `policy` | the rule by which a cache keeps entries |
// | `budget`, `verify` | removing entries, and finding damaged ones |
// | `options`, `stats`, `error` | the cache's options, counters and errors |

mod budget;
mod callback;
mod compile;
mod directory;
mod entry;
mod error;
mod kept;
mod key;
mod live;
mod lock;
mod options;
mod policy;
mod seal;
mod source;
mod stats;
mod verify;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use precast_artifact::metadata::Metadata;
use precast_compiler::{Compiler, Settings};
use precast_loader::{Engine, Module, WeakModule};

pub use budget::{Entry, Removed, Usage};
pub use error::Error;
pub use key::{Key, NotAKey};
pub use options::{DIRECTORY_VARIABLE, Options, default_directory};
pub use stats::Stats;
pub use verify::Verified;

use callback::event;
use directory::Directory;
use kept::KeptModules;
use key::Request;
use live::CacheId;
use source::Source;
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
    id: CacheId,
    kept: Mutex<KeptModules>,
    counters: Counters,
    /// The warning that the directory cannot be written to has been given.
    warned: AtomicBool,
}

impl Options {
    /// Makes a cache in memory. It keeps modules, within the budget, until it is dropped.
    pub fn in_memory(self) -> CompilationCache {
        CompilationCache::new(self, None)
    }

    /// Opens a cache in a directory, and creates the directory if it does not exist.
    ///
    /// The cache runs the code that it finds in the directory. So the subdirectory that the cache
    /// uses must belong to this user or to root, and nobody else may be able to write to it. A
    /// directory that cannot be written to works: modules that are not in it are compiled and kept
    /// in memory.
    ///
    /// Only this user can read a subdirectory that the cache has made. To share what root compiles
    /// with all users, root makes the subdirectory `artifacts-1` readable (mode 0755) before the
    /// cache is filled: new entries are readable for those who may read the subdirectory.
    ///
    /// # Errors
    /// [`Error::Directory`] when there is something else at that path, or somebody else's
    /// directory; [`Error::File`] when the directory cannot be created; [`Error::Untrusted`] when
    /// the cache could not use what it [signs](Options::sign).
    pub fn open(self, directory: impl AsRef<Path>) -> Result<CompilationCache, Error> {
        self.check_key()?;
        let directory = Directory::open(directory.as_ref(), self.read_only)?;
        if directory.is_writable()
            && let Err(error) = budget::sweep_crashed(&directory)
        {
            event!(debug, %error, "cannot sweep the cache");
        }
        Ok(CompilationCache::new(self, Some(directory)))
    }
}

impl CompilationCache {
    /// Makes a cache in memory with the default options.
    pub fn in_memory() -> Self {
        Options::default().in_memory()
    }

    /// Opens a cache in a directory with the default options; see [`Options::open`].
    ///
    /// # Errors
    /// Those of [`Options::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, Error> {
        Options::default().open(directory)
    }

    fn new(options: Options, directory: Option<Directory>) -> Self {
        // Modules of a cache that requires signatures are not shared with caches that do not.
        let shared = directory.as_ref().filter(|_| options.trusted.is_none());
        let id = shared.map_or_else(CacheId::in_memory, |directory| directory.id);
        Self(Arc::new(Inner {
            options,
            directory,
            id,
            kept: Mutex::default(),
            counters: Counters::default(),
            warned: AtomicBool::new(false),
        }))
    }

    /// Returns the module that `wasm` compiles to with these settings: from this process, from the
    /// directory, or compiled now.
    ///
    /// When several threads and processes ask for one module at the same time, one of them compiles
    /// it and the others wait. Within this process, all modules of one artifact that come from the
    /// same directory (or the same cache in memory) share one mapping, even with different engines.
    ///
    /// # Errors
    /// [`Error::Compile`] when the module cannot be compiled; [`Error::Load`] when the artifact
    /// cannot run here; [`Error::Missing`] when the module is not in the cache and
    /// [`Options::require_hit`] is set. A fault of the cache itself is not an error: the module is
    /// then compiled.
    pub fn get_or_compile(
        &self,
        engine: &Engine,
        wasm: &[u8],
        settings: &Settings,
    ) -> Result<Module, Error> {
        self.get_or_compile_with_progress(engine, wasm, settings, &|_, _| {})
    }

    /// Like [`get_or_compile`](Self::get_or_compile), and reports the progress of a compilation;
    /// see [`Compiler::compile_with_progress`].
    ///
    /// `progress` may use the cache. If it asks for a module that another request is just getting,
    /// such as the module whose progress it reports, it does not wait for that request, and
    /// compiles the module once more.
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
        let request = request(blake3::hash(wasm).into(), settings)?;
        self.get(engine, wasm, settings, &request, progress)
    }

    /// Like [`get_or_compile`](Self::get_or_compile), for a module in a file. If the cache has a
    /// directory, it remembers the digest of the file, and a hit does not read the file again until
    /// the file changes. The cache recognises a change by device, inode number, length,
    /// modification time and change time.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read, and those of
    /// [`get_or_compile`](Self::get_or_compile).
    pub fn get_or_compile_file(
        &self,
        engine: &Engine,
        path: impl AsRef<Path>,
        settings: &Settings,
    ) -> Result<Module, Error> {
        self.get_or_compile_file_with_progress(engine, path, settings, &|_, _| {})
    }

    /// Like [`get_or_compile_file`](Self::get_or_compile_file), and reports the progress of a
    /// compilation like [`get_or_compile_with_progress`](Self::get_or_compile_with_progress).
    ///
    /// # Errors
    /// Those of [`get_or_compile_file`](Self::get_or_compile_file).
    pub fn get_or_compile_file_with_progress(
        &self,
        engine: &Engine,
        path: impl AsRef<Path>,
        settings: &Settings,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Module, Error> {
        let path = path.as_ref();
        let mut source = Source::open(path)?;
        let directory = self.0.directory.as_ref();
        // Another user who can write to the directory could give one module the digest of another.
        let believed = directory.filter(|_| self.0.options.trusted.is_none());
        let known = believed.and_then(|directory| source.digest(directory));
        if let Some(digest) = known
            && let Some(module) = self.find(engine, &request(digest, settings)?)?
        {
            self.0.counters.unread_hits.one();
            return Ok(module);
        }
        let wasm = source.read(path)?;
        let digest = blake3::hash(&wasm).into();
        let module = self.get(
            engine,
            &wasm,
            settings,
            &request(digest, settings)?,
            progress,
        )?;
        if let Some(directory) = directory
            && directory.is_writable()
            && let Err(error) = source.remember(directory, wasm.len(), &digest)
        {
            event!(debug, path = %path.display(), %error, "cannot remember the digest");
        }
        Ok(module)
    }

    fn get(
        &self,
        engine: &Engine,
        wasm: &[u8],
        settings: &Settings,
        request: &Request,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Module, Error> {
        let counters = &self.0.counters;
        let slot = live::slot(self.0.id, request.key);
        let Some((mut live, waited)) = slot.lock(!callback::is_running()) else {
            return self.load_or_compile_apart(engine, wasm, settings, request);
        };
        if waited {
            counters.waits.one();
        }
        if let Some(module) = self.mapped(&live, engine, request) {
            return Ok(module);
        }
        let module = self.load_or_compile(engine, wasm, settings, request, progress)?;
        *live = module.downgrade();
        Ok(module)
    }

    /// The module of a request, if this process has mapped it or it is in the directory.
    fn find(&self, engine: &Engine, request: &Request) -> Result<Option<Module>, Error> {
        let slot = live::slot(self.0.id, request.key);
        let Some((mut live, waited)) = slot.lock(!callback::is_running()) else {
            return Ok(None);
        };
        if waited {
            self.0.counters.waits.one();
        }
        if let Some(module) = self.mapped(&live, engine, request) {
            return Ok(Some(module));
        }
        let module = self.load(engine, request)?;
        if let Some(module) = &module {
            *live = module.downgrade();
        }
        Ok(module)
    }

    /// The module of a slot, if this process has it mapped.
    fn mapped(&self, live: &WeakModule, engine: &Engine, request: &Request) -> Option<Module> {
        let module = live.upgrade(engine)?;
        self.0.counters.memory_hits.one();
        self.kept().touch(request.key);
        Some(module)
    }

    /// Returns the artifact that `wasm` compiles to with these settings: from the directory, or
    /// compiled now. The artifact is not mapped, so it can be for another machine. This is for
    /// build scripts and packagers.
    ///
    /// An entry is read and its digest is checked, which takes about a millisecond for each MB.
    ///
    /// # Errors
    /// [`Error::Compile`] when the module cannot be compiled, and [`Error::Missing`] when it is not
    /// in the cache and [`Options::require_hit`] is set.
    pub fn artifact(&self, wasm: &[u8], settings: &Settings) -> Result<Vec<u8>, Error> {
        let request = request(blake3::hash(wasm).into(), settings)?;
        self.read_or_compile(wasm, settings, &request)
    }

    /// Returns the key of a module compiled with these settings.
    ///
    /// # Errors
    /// [`Error::Compile`] for settings that are not supported.
    pub fn key(wasm: &[u8], settings: &Settings) -> Result<Key, Error> {
        Ok(request(blake3::hash(wasm).into(), settings)?.key)
    }

    /// Returns what the cache has done so far.
    pub fn stats(&self) -> Stats {
        self.0.counters.read()
    }

    /// Returns the directory that was given to [`open`](Self::open), as an absolute path. `None`
    /// for a cache in memory.
    pub fn directory(&self) -> Option<&Path> {
        self.0.directory.as_ref().map(|directory| &*directory.root)
    }

    /// Returns what the cache holds: in its directory, or in memory if it has no directory.
    ///
    /// # Errors
    /// [`Error::File`] when the directory cannot be read.
    pub fn usage(&self) -> Result<Usage, Error> {
        match &self.0.directory {
            Some(directory) => budget::usage(directory),
            None => {
                let kept = self.kept();
                Ok(Usage {
                    entries: kept.len() as u64,
                    bytes: kept.bytes(),
                    ..Usage::default()
                })
            }
        }
    }

    /// Lists all entries of the directory, the least recently used first.
    ///
    /// # Errors
    /// [`Error::InMemory`] for a cache in memory; [`Error::File`] when the directory cannot be
    /// read.
    pub fn entries(&self) -> Result<Vec<Entry>, Error> {
        budget::entries(self.on_disk("list")?)
    }

    /// Returns the metadata in an entry, which say where it comes from. `None` if they cannot be
    /// read. They are not checked.
    pub fn describe(&self, entry: &Entry) -> Option<Metadata> {
        entry::describe(&entry.path)
    }

    /// Reads and checks every entry in full. Damaged entries are removed, unless the cache is
    /// read-only.
    ///
    /// # Errors
    /// [`Error::InMemory`] for a cache in memory; [`Error::File`] when the directory cannot be
    /// read.
    pub fn verify(&self) -> Result<Vec<Verified>, Error> {
        let all = verify::verify(self.on_disk("verify")?)?;
        let damaged = all.iter().filter(|entry| entry.fault.is_some()).count();
        self.0.counters.damaged.add(damaged as u64);
        Ok(all)
    }

    /// Removes the entries that were not used for `max_age`, then the least recently used ones
    /// until the rest fits in `max_bytes`. Pinned entries stay. The cache keeps the budget of its
    /// [`Options`] by itself; this method is for another budget.
    ///
    /// # Errors
    /// [`Error::File`] when the directory cannot be read or a file cannot be removed.
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
        let forgotten = self.kept().prune(&options);
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
    /// [`Error::File`] when the directory cannot be read or a file cannot be removed.
    pub fn clear(&self) -> Result<Removed, Error> {
        self.kept().clear();
        match &self.0.directory {
            None => Ok(Removed::default()),
            Some(_) => budget::clear(self.writable("clear")?),
        }
    }

    /// Keeps an entry from being evicted until it is [unpinned](Self::unpin), whatever the budget.
    /// The pin holds for every process that uses the directory. The entry need not exist yet.
    ///
    /// # Errors
    /// [`Error::File`] when the pin cannot be written to the directory.
    pub fn pin(&self, key: &Key) -> Result<(), Error> {
        self.set_pin(key, true)
    }

    /// Undoes [`pin`](Self::pin).
    ///
    /// # Errors
    /// [`Error::File`] when the pin cannot be removed from the directory.
    pub fn unpin(&self, key: &Key) -> Result<(), Error> {
        self.set_pin(key, false)
    }

    fn set_pin(&self, key: &Key, on: bool) -> Result<(), Error> {
        self.kept().pin(*key, on);
        match &self.0.directory {
            None => Ok(()),
            Some(_) => budget::pin(self.writable("pin")?, key, on),
        }
    }

    fn kept(&self) -> MutexGuard<'_, KeptModules> {
        let kept = self.0.kept.lock();
        kept.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to warn about the directory. True for the first caller only.
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

fn request(source_digest: [u8; 32], settings: &Settings) -> Result<Request, Error> {
    let compiler = Compiler::new(settings.clone())?;
    Ok(Request::new(source_digest, compiler.identity()))
}
