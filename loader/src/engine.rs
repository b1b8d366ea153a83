//! The engine: settings that stores and modules share.
//!
//! An [`Engine`] is a reference to settings that live as long as the process. Equal settings are
//! kept once, so making engines does not use up memory. Why is it not a counted reference? Each
//! store holds one, and the count would move a cache line between threads that only make stores of
//! their own.
//!
//! The requirements of an engine, the stack that it gives and its epoch apply to the stores made
//! with it. So a module, a linker and a store that are used together must be of one engine:
//! otherwise a module of an engine that requires deadlines could run in a store without one.
//! Nothing else depends on the engine: types of functions mean the same in every engine.
//!
//! An engine also has the epoch that deadlines of stores are counted in. Each engine with
//! [`Config::epoch_interruption`] has an epoch of its own. All other engines of equal settings are
//! the same engine and share its epoch.

use std::sync::{Mutex, PoisonError};

use precast_artifact::{Feature, Interruption};

use crate::error::Error;
#[cfg(feature = "async")]
use crate::sys::stack_pool::StackSettings;
use crate::types::FuncType;
use crate::types::ValType;
use crate::vm::interrupt::{self, Epochs};
use crate::vm::module::MappedModule;
use crate::vm::owner::Limits;
use crate::vm::pool;

/// Settings of an [`Engine`].
///
/// ```
/// use precast_loader::{Config, Engine};
///
/// let mut config = Config::new();
/// config.max_wasm_stack(512 << 10).pool_per_thread(0);
/// let engine = Engine::new(&config)?;
/// # Ok::<(), precast_loader::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    max_wasm_stack: usize,
    pool: Limits,
    required: Interruption,
    /// Bits of the proposals that modules must not use.
    forbidden: u64,
    #[cfg(feature = "async")]
    async_stacks: StackSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_wasm_stack: 1 << 20,
            pool: Limits {
                instances: 16,
                resident_per_thread: 64 << 20,
                resident_per_process: 512 << 20,
            },
            required: Interruption::None,
            forbidden: 0,
            #[cfg(feature = "async")]
            async_stacks: StackSettings::new(2 << 20, 1024),
        }
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the maximum number of bytes of stack that wasm code may use, counted from where the
    /// host calls it. The default is 1 MiB. If less is left of a thread's stack, wasm code gets
    /// less: a guest never reaches the end of the stack, and 96 KiB are left for each host function
    /// that the guest calls. The loader does not know the end of a stack that the program made
    /// itself, for instance for a coroutine: such a stack must have 256 KiB more than this maximum.
    pub fn max_wasm_stack(&mut self, bytes: usize) -> &mut Self {
        self.max_wasm_stack = bytes;
        self
    }

    /// Sets the maximum number of instances that a thread keeps for reuse after their store is
    /// gone. The default is 16. Each of them keeps its address space and the pages that it writes
    /// to again and again, see [`InstancePre`]. A host that starts one instance chooses zero.
    ///
    /// The instances that all threads keep have at most 16,384 mappings together, a quarter of what
    /// Linux allows a process by default, and those of one thread at most 256. An instance has two
    /// for each memory, a third one after growth beyond 8 MiB, and two more for each piece of its
    /// initial content. One with more than 64 is never kept.
    ///
    /// Whatever this number is, a thread also keeps the address space of up to two memories of
    /// instances that are gone. Nothing of these memories is left in it, and it takes no memory.
    ///
    /// When the system is short of memory or mappings, all threads give back what they keep, and
    /// the system is asked once more. [`Engine::release_idle`] gives back what is not used.
    ///
    /// [`InstancePre`]: crate::InstancePre
    pub fn pool_per_thread(&mut self, instances: usize) -> &mut Self {
        self.pool.instances = instances;
        self
    }

    /// Sets the maximum number of bytes of linear memories and tables that stay in memory for the
    /// instances that a thread keeps. The default is 64 MiB. Beyond that, the instances that were
    /// used least recently give them back to the system, and take them again when they are used:
    /// memories page by page. With zero, all instances do so always. A context of more than 64 KiB,
    /// which a module with thousands of globals or functions in tables has, counts too, and is not
    /// given back: an instance whose context does not fit is not kept any more.
    pub fn pool_resident_per_thread(&mut self, bytes: usize) -> &mut Self {
        self.pool.resident_per_thread = bytes;
        self
    }

    /// Sets the maximum number of bytes of linear memories and tables that stay in memory for the
    /// instances that all threads of the process keep, of all engines together. The default is 512
    /// MiB. Each engine keeps to the bound in its own settings.
    pub fn pool_resident_per_process(&mut self, bytes: usize) -> &mut Self {
        self.pool.resident_per_process = bytes;
        self
    }

    /// Sets whether every module must have been compiled so that a deadline stops it wherever it is
    /// ([`Interruption::has_epochs`]). Instantiating any other module fails with
    /// [`Error::Interruption`].
    ///
    /// Each engine made with this setting has an epoch of its own and lives as long as the process,
    /// so a program makes one, and not one for each guest. Without the setting, engines of equal
    /// settings are the same engine, see [`Engine::new`].
    pub fn epoch_interruption(&mut self, required: bool) -> &mut Self {
        self.required = Interruption::of(self.required.counts_fuel(), required);
        self
    }

    /// Sets whether every module must have been compiled so that it counts fuel
    /// ([`Interruption::counts_fuel`]). Instantiating any other module fails with
    /// [`Error::Interruption`].
    pub fn consume_fuel(&mut self, required: bool) -> &mut Self {
        self.required = Interruption::of(required, self.required.has_epochs());
        self
    }

    /// Sets the size, in bytes, of the stacks that calls like
    /// [`TypedFunc::call_async`](crate::TypedFunc::call_async) run on. The default is 2 MiB, and
    /// the minimum is 320 KiB. Of that, 256 KiB are left for host functions. Wasm code may use the
    /// rest, up to [`Config::max_wasm_stack`]. Only the part of a stack that is used takes memory.
    #[cfg(feature = "async")]
    pub fn async_stack_size(&mut self, bytes: usize) -> &mut Self {
        self.async_stacks.set_bytes(bytes);
        self
    }

    /// Sets the maximum number of stacks that are kept for reuse after the calls that used them are
    /// over. The default is 1,024. Four of them are kept by each thread as they are; the others, by
    /// the process, take up to 32 KiB of memory each. With zero, no stack is kept.
    #[cfg(feature = "async")]
    pub fn async_stacks_kept(&mut self, stacks: usize) -> &mut Self {
        self.async_stacks.kept = stacks;
        self
    }

    #[cfg(feature = "async")]
    pub(crate) fn async_stacks(&self) -> StackSettings {
        self.async_stacks
    }

    /// Sets whether modules may use a proposal. By default, all proposals are allowed. Opening or
    /// instantiating a module that uses a forbidden one fails with [`Error::Features`].
    ///
    /// What a module uses is recorded in its artifact, and `precast inspect` shows it. The loader
    /// believes the record: an artifact is trusted for its code, so it is trusted for this, too.
    pub fn wasm_feature(&mut self, feature: Feature, allowed: bool) -> &mut Self {
        if allowed {
            self.forbidden &= !feature.bit();
        } else {
            self.forbidden |= feature.bit();
        }
        self
    }

    pub(crate) fn stack_bytes(&self) -> usize {
        self.max_wasm_stack
    }

    pub(crate) fn pool_limits(&self) -> Limits {
        self.pool
    }
}

/// Settings that modules and stores share. Copying an engine costs nothing.
///
/// ```
/// use precast_loader::{Config, Engine, Store};
///
/// let engine = Engine::new(Config::new().epoch_interruption(true))?;
/// let mut store = Store::new(&engine, ());
/// // Code in the store stops when the next epoch begins.
/// store.set_epoch_deadline(1)?;
/// std::thread::spawn(move || engine.increment_epoch());
/// # Ok::<(), precast_loader::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Engine(&'static Inner);

#[derive(Debug)]
struct Inner {
    config: Config,
    epochs: Epochs,
}

impl Default for Engine {
    fn default() -> Self {
        Self::of(&Config::default())
    }
}

impl Engine {
    /// An engine with these settings.
    ///
    /// Engines of equal settings are the same engine ([`Engine::same`]) and have the same epoch,
    /// unless [`Config::epoch_interruption`] is set: then each one has an epoch of its own. So if
    /// two parts of a program use [`Engine::default`], each tick of the one counts for the stores
    /// of the other. A library that increments an epoch sets `epoch_interruption`.
    ///
    /// ```
    /// use precast_loader::{Config, Engine};
    ///
    /// let mut config = Config::new();
    /// assert!(Engine::same(&Engine::new(&config)?, &Engine::new(&config)?));
    /// config.epoch_interruption(true);
    /// assert!(!Engine::same(&Engine::new(&config)?, &Engine::new(&config)?));
    /// # Ok::<(), precast_loader::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Limit`] if code could not run because [`Config::max_wasm_stack`] is zero.
    pub fn new(config: &Config) -> Result<Self, Error> {
        if config.max_wasm_stack == 0 {
            return Err(Error::Limit {
                what: "bytes of stack for wasm code (at least one is needed)",
                wanted: 1,
                limit: 0,
            });
        }
        Ok(Self::of(config))
    }

    fn of(config: &Config) -> Self {
        static ENGINES: Mutex<Vec<&'static Inner>> = Mutex::new(Vec::new());
        let new = || -> &'static Inner {
            Box::leak(Box::new(Inner {
                config: config.clone(),
                epochs: Epochs::new(),
            }))
        };
        if config.required.has_epochs() {
            return Self(new());
        }
        let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = engines.iter().find(|known| known.config == *config) {
            return Self(known);
        }
        let engine = new();
        engines.push(engine);
        Self(engine)
    }

    /// Begins the next epoch: code stops in the stores that have this epoch as their deadline, see
    /// [`Store::set_epoch_deadline`](crate::Store::set_epoch_deadline). A timer thread calls this.
    /// A signal handler must not, since it takes a lock.
    pub fn increment_epoch(&self) {
        self.0.epochs.increment();
    }

    /// Drops the instances that threads keep for reuse and that have not been used since the last
    /// call of this function, whatever their engine and thread are. They give their memory back to
    /// the system. So do instances whose [`InstancePre`](crate::InstancePre) is gone: a thread that
    /// is idle would keep them, and their host functions with them.
    ///
    /// The loader gives nothing back only because time passes. A host that may be idle for long
    /// calls this from time to time, such as every ten seconds. The call waits for no other
    /// thread, and a thread that is making or dropping an instance, or ends, at this moment may
    /// keep what it has until the next call.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// std::thread::spawn(|| {
    ///     loop {
    ///         std::thread::sleep(Duration::from_secs(10));
    ///         precast_loader::Engine::release_idle();
    ///     }
    /// });
    /// ```
    pub fn release_idle() {
        pool::release_idle();
    }

    /// The settings that the engine was made with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Whether both are the same engine, so that modules, linkers and stores of the two can be used
    /// together.
    pub fn same(a: &Self, b: &Self) -> bool {
        std::ptr::eq(a.0, b.0)
    }

    /// A handle for code that must not keep an engine, such as a thread that increments the epoch.
    pub fn weak(&self) -> EngineWeak {
        EngineWeak(*self)
    }

    pub(crate) fn epochs(self) -> &'static Epochs {
        &self.0.epochs
    }

    /// # Errors
    /// [`Error::DifferentEngines`] with `first`, which has this engine, and `second`, which has the
    /// other.
    #[inline]
    pub(crate) fn check_same(
        self,
        other: Self,
        first: &'static str,
        second: &'static str,
    ) -> Result<(), Error> {
        if Self::same(&self, &other) {
            Ok(())
        } else {
            Err(Error::DifferentEngines { first, second })
        }
    }

    /// Checks that a store of this engine takes a module of the engine `of`.
    ///
    /// # Errors
    /// [`Error::DifferentEngines`] for a module of another engine, [`Error::Interruption`] and
    /// [`Error::Features`] for one that the engine does not take.
    #[inline]
    pub(crate) fn check(self, of: Self, module: &MappedModule) -> Result<(), Error> {
        of.check_same(self, "the module", "the store")?;
        self.check_features(module)?;
        match self.0.config.required {
            Interruption::None => Ok(()),
            expected => {
                interrupt::require(module.artifact().interruption(), expected, "the engine")
            }
        }
    }

    /// Checks that a module uses only proposals that the engine allows.
    ///
    /// # Errors
    /// [`Error::Features`].
    #[inline]
    pub(crate) fn check_features(self, module: &MappedModule) -> Result<(), Error> {
        let forbidden = self.0.config.forbidden;
        if forbidden == 0 {
            return Ok(());
        }
        let used = module.artifact().header().features;
        let found: Vec<_> = Feature::of_bits(used & forbidden).collect();
        if found.is_empty() {
            Ok(())
        } else {
            Err(Error::Features { found })
        }
    }
}

/// A handle to an [`Engine`] that does not keep it, see [`Engine::weak`].
///
/// Engines live as long as the process, so [`EngineWeak::upgrade`] always finds the engine.
///
/// ```
/// use precast_loader::Engine;
///
/// let engine = Engine::default();
/// let upgraded = engine.weak().upgrade().expect("engines stay");
/// assert!(Engine::same(&engine, &upgraded));
/// ```
#[derive(Debug, Clone)]
pub struct EngineWeak(Engine);

impl EngineWeak {
    /// The engine.
    pub fn upgrade(&self) -> Option<Engine> {
        Some(self.0)
    }
}

impl FuncType {
    /// A function type. Types mean the same in all engines, so it does not matter which engine this
    /// gets.
    pub fn new(
        _engine: &Engine,
        params: impl IntoIterator<Item = ValType>,
        results: impl IntoIterator<Item = ValType>,
    ) -> Self {
        Self::of(params, results)
    }
}
