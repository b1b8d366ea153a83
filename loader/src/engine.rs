//! The engine: settings that stores and modules share.
//!
//! An [`Engine`] is a reference to settings that live as long as the process; equal settings are
//! kept once, so making engines does not use up memory. A counted reference would do, but stores
//! hold one each, and counting it would bounce a cache line between threads that only want to make
//! stores of their own.

use std::sync::{Mutex, PoisonError};

/// Settings of an [`Engine`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    max_wasm_stack: usize,
    pool_per_thread: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_wasm_stack: 1 << 20,
            pool_per_thread: 16,
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
    pub fn max_wasm_stack(&mut self, bytes: usize) -> &mut Self {
        self.max_wasm_stack = bytes;
        self
    }

    /// Most instances that a thread keeps for reuse after their store is gone; 16 if not set. Each
    /// keeps its address space and the few pages that it rewrites, see [`InstancePre`].
    /// Zero keeps nothing: the choice of hosts that start once.
    ///
    /// [`InstancePre`]: crate::InstancePre
    pub fn pool_per_thread(&mut self, instances: usize) -> &mut Self {
        self.pool_per_thread = instances;
        self
    }

    pub(crate) fn stack_bytes(&self) -> usize {
        self.max_wasm_stack
    }

    pub(crate) fn pooled(&self) -> usize {
        self.pool_per_thread
    }
}

/// Settings shared by modules and stores. Free to copy.
#[derive(Debug, Clone, Copy)]
pub struct Engine(&'static Config);

impl Default for Engine {
    fn default() -> Self {
        Self::new(&Config::default())
    }
}

impl Engine {
    /// An engine with these settings.
    pub fn new(config: &Config) -> Self {
        static CONFIGS: Mutex<Vec<&'static Config>> = Mutex::new(Vec::new());
        let mut configs = CONFIGS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = configs.iter().find(|known| **known == config) {
            return Self(known);
        }
        let config: &'static Config = Box::leak(Box::new(config.clone()));
        configs.push(config);
        Self(config)
    }

    pub(crate) fn config(self) -> &'static Config {
        self.0
    }
}
