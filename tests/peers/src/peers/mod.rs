//! The runtimes behind one trait, so that the same inlined code measures all of them.
//!
//! Artifacts are trusted, because the compiler of their runtime has made them on this machine.

#[cfg(not(feature = "wasmer"))]
mod absent;
mod precast;
#[cfg(feature = "wasmer")]
mod wasmer;
mod wasmtime;

#[cfg(not(feature = "wasmer"))]
pub use absent::Wasmer;
#[cfg(feature = "wasmer")]
pub use wasmer::Wasmer;

pub use precast::Precast;
pub use wasmtime::{Setting, Wasmtime, compile_config, settings};

use std::path::Path;

use crate::Result;

/// The extension of the names of Wasmer's artifacts.
pub const WASMER_EXTENSION: &str = "wasmu";

/// A runtime with its settings.
pub trait Peer: Sync {
    /// The extension of the names of its artifacts.
    const EXTENSION: &'static str;
    /// An opened artifact.
    type Module;
    /// The definitions for the imports of a module, which a host makes once.
    type Linker;
    /// A linked module, which can be instantiated any number of times.
    type Linked: Sync;
    /// A store with one instance.
    type Live;
    /// An exported function `(i32) -> i32` that has been looked up and checked.
    type Func;

    /// Opens an artifact.
    ///
    /// # Errors
    /// Those of the runtime.
    fn open(&self, artifact: &Path) -> Result<Self::Module>;

    /// Defines the imports of `module`. `h.f` is typed and adds one. All others do nothing or trap.
    ///
    /// # Errors
    /// Those of the runtime.
    fn linker(&self, module: &Self::Module) -> Result<Self::Linker>;

    /// Resolves the imports, if the runtime can do that before instantiation.
    ///
    /// # Errors
    /// Those of the runtime.
    fn link(&self, linker: &Self::Linker, module: &Self::Module) -> Result<Self::Linked>;

    /// Makes an instance in a store of its own.
    ///
    /// # Errors
    /// Those of the runtime.
    fn instantiate(&self, linked: &Self::Linked) -> Result<Self::Live>;

    /// Looks up an exported function.
    ///
    /// # Errors
    /// Those of the runtime.
    fn func(&self, live: &mut Self::Live, name: &str) -> Result<Self::Func>;

    /// Calls a function.
    ///
    /// # Errors
    /// Those of the runtime.
    fn call(&self, live: &mut Self::Live, func: &Self::Func, argument: i32) -> Result<i32>;
}
