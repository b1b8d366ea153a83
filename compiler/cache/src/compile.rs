//! Gets a module that this process has not mapped yet: looks on disk, compiles, writes.
//!
//! ```text
//!   look ── hit ─────────────────────────────────> module
//!     └─ miss ─ lock the key ─ look again ─ hit ─> module     (another process compiled it)
//!                                 └─ miss ─ make room ─ compile ─ write ─ look ─> module
//!                                                                   └─ cannot ──> module in memory
//! ```
//!
//! There is no lock in a read-only directory, on a full disk, or on a file system without locks.
//! Then everything works in the same way, except that two processes may compile the same module.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use precast_compiler::{Compiler, Settings};
use precast_loader::{Engine, Module};

use crate::callback::event;
use crate::directory::Directory;
use crate::entry::{self, Found, Remedy, Unusable};
use crate::key::Request;
use crate::lock::{FileLock, Locked};
use crate::{CompilationCache, Error, budget, callback};

/// How long to wait for another process that compiles the same module. Hardly any compilation takes
/// so long: a lock that is held longer belongs to a stopped process, or to a child process that
/// inherited it unknowingly. After that, this process compiles the module itself.
const PATIENCE: Duration = Duration::from_secs(300);

/// After how long a wait for another process is reported.
const SILENCE: Duration = Duration::from_secs(1);

type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

impl CompilationCache {
    /// Loads the module from the directory, or compiles it. The caller holds the module's slot.
    pub(crate) fn load_or_compile(
        &self,
        engine: &Engine,
        wasm: &[u8],
        settings: &Settings,
        request: &Request,
        progress: Progress<'_>,
    ) -> Result<Module, Error> {
        let mut lock = None;
        let mut may_store = true;
        if let Some(directory) = &self.0.directory {
            let mut found = entry::load(directory, engine, request, &self.0.options)?;
            let may_write = directory.is_writable() && !self.0.options.require_hit;
            if !matches!(found, Found::Module { .. }) && may_write {
                lock = self.lock(directory, request);
                if lock.is_some() {
                    found = entry::load(directory, engine, request, &self.0.options)?;
                }
            }
            may_store = !found.is_to_be_left();
            if let Some(module) = self.use_found(directory, request, found, lock.is_some()) {
                return Ok(module);
            }
        }
        let counters = &self.0.counters;
        let artifact = self.compile(wasm, settings, request, progress)?;
        if may_store
            && let Some(directory) = &self.0.directory
            && let Some(module) = self.store(directory, engine, request, &artifact)?
        {
            drop(lock);
            self.keep_budget(directory);
            return Ok(module);
        }
        // SAFETY: the compiler has just written these bytes in this process.
        let module = unsafe { Module::from_bytes(engine, &artifact) }?;
        let bytes = artifact.len() as u64;
        counters.bytes.add(bytes);
        let mut kept = self.kept();
        kept.insert(request.key, &module, bytes);
        counters.evictions.add(kept.prune(&self.0.options));
        Ok(module)
    }

    /// Like [`load_or_compile`](Self::load_or_compile), for a caller that must not wait for the
    /// module's slot. Takes no lock, and stores nothing.
    pub(crate) fn load_or_compile_apart(
        &self,
        engine: &Engine,
        wasm: &[u8],
        settings: &Settings,
        request: &Request,
    ) -> Result<Module, Error> {
        if let Some(module) = self.load(engine, request)? {
            return Ok(module);
        }
        // There is no progress callback, because a callback that asks for its own module would
        // start compilations without end.
        let artifact = self.compile(wasm, settings, request, &|_, _| {})?;
        // SAFETY: the compiler has just written these bytes in this process.
        Ok(unsafe { Module::from_bytes(engine, &artifact) }?)
    }

    /// Loads the module from the directory, if there is a usable entry.
    pub(crate) fn load(&self, engine: &Engine, request: &Request) -> Result<Option<Module>, Error> {
        let Some(directory) = &self.0.directory else {
            return Ok(None);
        };
        Ok(
            match entry::load(directory, engine, request, &self.0.options)? {
                found @ Found::Module { .. } => self.use_found(directory, request, found, false),
                // The thread that locks the entry reports and replaces it.
                Found::Nothing | Found::Unusable(_) => None,
            },
        )
    }

    /// Reads the artifact from the directory, or compiles and stores it. The artifact is not
    /// mapped, so it can be for another machine.
    pub(crate) fn read_or_compile(
        &self,
        wasm: &[u8],
        settings: &Settings,
        request: &Request,
    ) -> Result<Vec<u8>, Error> {
        let Some(directory) = &self.0.directory else {
            return self.compile(wasm, settings, request, &|_, _| {});
        };
        if let Ok(Some(bytes)) = entry::read(directory, request, &self.0.options) {
            return Ok(self.read(bytes));
        }
        let mut lock = None;
        if directory.is_writable() && !self.0.options.require_hit {
            lock = self.lock(directory, request);
        }
        // Like `load_or_compile`, this stores without a lock if the file system has none.
        let mut may_store = directory.is_writable() && !self.0.options.require_hit;
        match entry::read(directory, request, &self.0.options) {
            Ok(Some(bytes)) => return Ok(self.read(bytes)),
            Ok(None) => {}
            Err(fault) => {
                may_store &= fault.remedy != Remedy::Leave;
                self.report(directory, request, fault, lock.is_some());
            }
        }
        let artifact = self.compile(wasm, settings, request, &|_, _| {})?;
        if may_store {
            self.write(directory, request, &artifact);
            drop(lock);
            self.keep_budget(directory);
        }
        Ok(artifact)
    }

    /// Counts an artifact that was read.
    fn read(&self, artifact: Vec<u8>) -> Vec<u8> {
        let counters = &self.0.counters;
        counters.disk_hits.one();
        counters.full_checks.one();
        counters.bytes.add(artifact.len() as u64);
        artifact
    }

    /// Compiles a module that is not in the cache, unless [`Options::require_hit`] forbids that.
    ///
    /// [`Options::require_hit`]: crate::Options::require_hit
    fn compile(
        &self,
        wasm: &[u8],
        settings: &Settings,
        request: &Request,
        progress: Progress<'_>,
    ) -> Result<Vec<u8>, Error> {
        let counters = &self.0.counters;
        counters.misses.one();
        if self.0.options.require_hit {
            return Err(Error::Missing {
                key: request.key,
                looked: self.0.directory.as_ref().map_or_else(
                    || "memory".to_owned(),
                    |directory| format!("`{}`", directory.entries.display()),
                ),
            });
        }
        let artifact = compile(wasm, settings, progress)?;
        counters.compilations.one();
        Ok(artifact)
    }

    /// Returns the module that was found on disk. An entry that is not usable is reported, and
    /// removed if the entry is `locked`, so that a new one can be written.
    fn use_found(
        &self,
        directory: &Directory,
        request: &Request,
        found: Found,
        locked: bool,
    ) -> Option<Module> {
        let counters = &self.0.counters;
        let fault = match found {
            Found::Nothing => return None,
            Found::Module {
                module,
                bytes,
                checked,
            } => {
                counters.disk_hits.one();
                counters.bytes.add(bytes);
                if checked {
                    counters.full_checks.one();
                }
                return Some(module);
            }
            Found::Unusable(fault) => fault,
        };
        self.report(directory, request, fault, locked);
        None
    }

    /// Reports an entry that is not usable, and removes it if it is `locked`.
    fn report(&self, directory: &Directory, request: &Request, fault: Unusable, locked: bool) {
        self.0.counters.damaged.one();
        event!(warn,
            path = %directory.entry(&request.key).display(),
            reason = fault.reason,
            "an entry of the cache is not used"
        );
        if locked && let Err(error) = entry::discard(directory, &request.key, fault.remedy) {
            event!(debug, %error, "cannot remove the entry");
        }
    }

    fn lock(&self, directory: &Directory, request: &Request) -> Option<FileLock> {
        let path = directory.lock(&request.key);
        let patience = if callback::is_running() {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let take = |path: &Path| {
            let taken = FileLock::take(path, patience.min(SILENCE));
            if patience <= SILENCE || !matches!(taken, Ok(Locked::No)) {
                return taken;
            }
            event!(
                info,
                lock = %path.display(),
                "waiting for another process that compiles the same module"
            );
            let taken = FileLock::take(path, patience.saturating_sub(SILENCE))?;
            Ok(match taken {
                Locked::Yes(lock, _) => Locked::Yes(lock, true),
                other => other,
            })
        };
        let mut taken = take(&path);
        if taken
            .as_ref()
            .is_err_and(|e| e.kind() == ErrorKind::NotFound)
            && directory.restore().is_ok()
        {
            taken = take(&path);
        }
        match taken {
            Ok(Locked::Yes(lock, waited)) => {
                if waited {
                    self.0.counters.waits.one();
                }
                Some(lock)
            }
            Ok(Locked::No) => {
                event!(warn,
                    path = %path.display(),
                    "gave up waiting for the process that compiles the same module"
                );
                None
            }
            Err(error) => {
                event!(debug, path = %path.display(), %error, "no lock");
                None
            }
        }
    }

    /// Writes an entry and maps it. `None` if the entry could not be written, or somebody removed
    /// it at once.
    fn store(
        &self,
        directory: &Directory,
        engine: &Engine,
        request: &Request,
        artifact: &[u8],
    ) -> Result<Option<Module>, Error> {
        if !directory.is_writable() || !self.write(directory, request, artifact) {
            return Ok(None);
        }
        Ok(
            match entry::load(directory, engine, request, &self.0.options)? {
                Found::Module { module, bytes, .. } => {
                    self.0.counters.bytes.add(bytes);
                    Some(module)
                }
                Found::Nothing | Found::Unusable(_) => None,
            },
        )
    }

    /// Writes an entry. Returns whether that worked.
    fn write(&self, directory: &Directory, request: &Request, artifact: &[u8]) -> bool {
        let counters = &self.0.counters;
        let Some(artifact) = self.0.options.stored(artifact) else {
            return false;
        };
        if let Err(error) = entry::store(directory, &request.key, &artifact) {
            counters.store_failures.one();
            let lasting = matches!(
                error.kind(),
                ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied
            );
            if lasting {
                directory.freeze();
            }
            if self.warns() {
                event!(warn,
                    directory = %directory.root.display(), %error,
                    "cannot write to the cache: what is compiled stays in memory"
                );
            }
            return false;
        }
        counters.stores.one();
        true
    }

    fn keep_budget(&self, directory: &Directory) {
        let options = &self.0.options;
        match budget::prune(directory, options.max_bytes, options.max_age) {
            Ok(removed) => self.0.counters.evictions.add(removed.entries),
            Err(error) => event!(debug, %error, "cannot keep the budget"),
        }
    }
}

fn compile(wasm: &[u8], settings: &Settings, progress: Progress<'_>) -> Result<Vec<u8>, Error> {
    let compiler = Compiler::new(settings.clone())?;
    let progress = |done, all| callback::run(|| progress(done, all));
    Ok(compiler.compile_with_progress(wasm, &progress)?.artifact)
}
