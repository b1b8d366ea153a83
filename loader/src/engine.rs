//! The engine: settings that stores and modules share.
//!
//! An [`Engine`] is a reference to settings that live as long as the process; equal settings are
//! kept once, so making engines does not use up memory. A counted reference would do, but stores
//! hold one each, and counting it would bounce a cache line between threads that only want to make
//! stores of their own.
//!
//! What one engine asks of code, the stack that it gives and its epoch apply to the stores made with
//! it. So a module, a linker and a store that are used together must be of one engine: a module of an
//! engine that asks for deadlines would run in another one's store without any. Nothing else depends
//! on it: types of functions mean the same in every engine.
//!
//! An engine also has the epoch that deadlines of stores are counted in. Engines that ask for
//! [`Config::epoch_interruption`] have one each; all others of equal settings are the same engine,
//! epoch and all.

use std::sync::{Mutex, PoisonError};

use precast_artifact::Interruption;

use crate::error::Error;
use crate::vm::interrupt::Epochs;
use crate::vm::pool::Limits;

/// Settings of an [`Engine`].
///
/// ```
/// use precast_loader::{Config, Engine};
///
/// let mut config = Config::new();
/// config.max_wasm_stack(512 << 10).pool_per_thread(0);
/// let engine = Engine::new(&config);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    max_wasm_stack: usize,
    pool: Limits,
    required: Option<Interruption>,
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
            required: None,
        }
    }
}

impl Config {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Most bytes of stack that wasm code may use from where the host enters it; 1 MiB if not set.
    /// A thread whose stack has less left allows less: a guest never reaches the end of the stack.
    /// Of a stack that the program made itself (a coroutine's) the loader does not know the end:
    /// it must have as much as this and 256 KiB more.
    pub fn max_wasm_stack(&mut self, bytes: usize) -> &mut Self {
        self.max_wasm_stack = bytes;
        self
    }

    /// Most instances that a thread keeps for reuse after their store is gone; 16 if not set. Each
    /// keeps its address space and the pages that it writes to again and again, see [`InstancePre`].
    /// Zero keeps nothing: the choice of hosts that start once.
    ///
    /// When the system refuses memory or mappings for want of them, what all threads keep is given back
    /// and the system is asked once more.
    ///
    /// [`InstancePre`]: crate::InstancePre
    pub fn pool_per_thread(&mut self, instances: usize) -> &mut Self {
        self.pool.instances = instances;
        self
    }

    /// Most bytes of linear memories that stay in memory for the instances that a thread keeps; 64 MiB
    /// if not set. Beyond that, the instances that were used least recently give their pages back to the
    /// system, and take them again page by page when they are used. Zero: all of them always do.
    pub fn pool_resident_per_thread(&mut self, bytes: usize) -> &mut Self {
        self.pool.resident_per_thread = bytes;
        self
    }

    /// The same bound for all threads of the process together, whatever engine; 512 MiB if not set.
    /// Engines may have different bounds: each keeps to its own.
    pub fn pool_resident_per_process(&mut self, bytes: usize) -> &mut Self {
        self.pool.resident_per_process = bytes;
        self
    }

    /// Whether every module must have been compiled so that a deadline stops it wherever it is
    /// ([`Interruption::Epoch`]): others are an [`Error::Interruption`] when they are
    /// instantiated.
    ///
    /// Each engine made with this has an epoch of its own and lives as long as the process.
    pub fn epoch_interruption(&mut self, required: bool) -> &mut Self {
        self.required = required.then_some(Interruption::Epoch);
        self
    }

    /// Whether every module must have been compiled so that it counts fuel
    /// ([`Interruption::Fuel`]): others are an [`Error::Interruption`] when they are
    /// instantiated. A module cannot have both.
    pub fn consume_fuel(&mut self, required: bool) -> &mut Self {
        self.required = required.then_some(Interruption::Fuel);
        self
    }

    pub(crate) fn stack_bytes(&self) -> usize {
        self.max_wasm_stack
    }

    pub(crate) fn pool_limits(&self) -> Limits {
        self.pool
    }
}

/// Settings shared by modules and stores. Free to copy.
///
/// ```
/// use precast_loader::{Config, Engine, Store};
///
/// let engine = Engine::new(Config::new().epoch_interruption(true));
/// let mut store = Store::new(&engine, ());
/// // Code in the store stops when the next epoch begins.
/// store.set_epoch_deadline(1);
/// std::thread::spawn(move || engine.increment_epoch());
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
        Self::new(&Config::default())
    }
}

impl Engine {
    /// An engine with these settings.
    pub fn new(config: &Config) -> Self {
        static ENGINES: Mutex<Vec<&'static Inner>> = Mutex::new(Vec::new());
        let new = || -> &'static Inner {
            Box::leak(Box::new(Inner {
                config: config.clone(),
                epochs: Epochs::new(),
            }))
        };
        if config.required == Some(Interruption::Epoch) {
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

    /// The next epoch begins: code in stores whose deadline that is stops, see
    /// [`Store::set_epoch_deadline`](crate::Store::set_epoch_deadline). For a timer thread; takes a
    /// lock, so not for signal handlers.
    pub fn increment_epoch(&self) {
        self.0.epochs.increment();
    }

    pub(crate) fn config(self) -> &'static Config {
        &self.0.config
    }

    pub(crate) fn epochs(self) -> &'static Epochs {
        &self.0.epochs
    }

    /// # Errors
    /// [`Error::DifferentEngines`], naming who has this engine and who has the other.
    #[inline]
    pub(crate) fn check_same(
        self,
        other: Self,
        first: &'static str,
        second: &'static str,
    ) -> Result<(), Error> {
        if std::ptr::eq(self.0, other.0) {
            Ok(())
        } else {
            Err(Error::DifferentEngines { first, second })
        }
    }

    /// Whether a store of this engine takes a module of the engine `of` whose code can be stopped as
    /// `found` says.
    ///
    /// # Errors
    /// [`Error::DifferentEngines`] for a module of another engine, [`Error::Interruption`] for one
    /// that the engine does not take.
    #[inline]
    pub(crate) fn check(self, of: Self, found: Interruption) -> Result<(), Error> {
        of.check_same(self, "the module", "the store")?;
        match self.0.config.required {
            Some(expected) if found != expected => Err(Error::Interruption { found, expected }),
            _ => Ok(()),
        }
    }
}
