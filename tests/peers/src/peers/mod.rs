//! The runtimes, behind one trait: what is measured of one is measured of all, by the same code, inlined.
//!
//! Artifacts are trusted: every one was made by the runtime's own compiler on this machine.

mod precast;
mod wasmer;
mod wasmtime;

pub use precast::Precast;
pub use wasmer::Wasmer;
pub use wasmtime::{Setting, Wasmtime, compile_config, settings};

use std::path::Path;

use crate::Result;

/// A runtime with its settings.
pub trait Peer: Sync {
    /// Ends the names of its artifacts.
    const EXTENSION: &'static str;
    /// An opened artifact.
    type Module;
    /// Definitions for its imports, which a host makes once.
    type Linker;
    /// Ready to be instantiated any number of times.
    type Linked: Sync;
    /// A store with one instance.
    type Live;
    /// An exported `(i32) -> i32`, looked up and checked.
    type Func;

    /// Opens an artifact.
    ///
    /// # Errors
    /// The runtime's.
    fn open(&self, artifact: &Path) -> Result<Self::Module>;

    /// Defines the imports of `module`: `h.f`, typed, adds one; all others do nothing or trap.
    ///
    /// # Errors
    /// The runtime's.
    fn linker(&self, module: &Self::Module) -> Result<Self::Linker>;

    /// Resolves imports, if the runtime can do that ahead.
    ///
    /// # Errors
    /// The runtime's.
    fn link(&self, linker: &Self::Linker, module: &Self::Module) -> Result<Self::Linked>;

    /// An instance in a store of its own.
    ///
    /// # Errors
    /// The runtime's.
    fn instantiate(&self, linked: &Self::Linked) -> Result<Self::Live>;

    /// An export.
    ///
    /// # Errors
    /// The runtime's.
    fn func(&self, live: &mut Self::Live, name: &str) -> Result<Self::Func>;

    /// Calls it.
    ///
    /// # Errors
    /// The runtime's.
    fn call(&self, live: &mut Self::Live, func: &Self::Func, argument: i32) -> Result<i32>;
}
