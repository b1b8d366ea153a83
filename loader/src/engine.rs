//! The engine: settings that stores and modules share.

use std::sync::Arc;

/// Settings of an [`Engine`].
#[derive(Debug, Clone)]
pub struct Config {
    max_wasm_stack: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_wasm_stack: 1 << 20,
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
}

/// Settings shared by modules and stores. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Engine(Arc<Config>);

impl Engine {
    /// An engine with these settings.
    pub fn new(config: &Config) -> Self {
        Self(Arc::new(config.clone()))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0
    }
}

impl Config {
    pub(crate) fn stack_bytes(&self) -> usize {
        self.max_wasm_stack
    }
}
