//! Backtraces that the host takes while wasm code is active, and the modules of frames.

use std::any::Any;
use std::sync::Arc;

use crate::backtrace::{FrameInfo, WasmBacktrace};
use crate::engine::Engine;
use crate::module::Module;
use crate::store::AsContext;
use crate::vm::activation;
use crate::vm::module::MappedModule;

impl WasmBacktrace {
    /// The wasm frames that are active in a store. There are none unless this is called by a host
    /// function that wasm code called, or by a callback in its place.
    ///
    /// ```
    /// use precast_loader::{Caller, Engine, Error, Linker, WasmBacktrace};
    ///
    /// let mut linker: Linker<()> = Linker::new(&Engine::default());
    /// linker.func_wrap("debug", "where", |caller: Caller<'_, ()>| {
    ///     println!("{}", WasmBacktrace::capture(&caller));
    /// })?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn capture(store: impl AsContext) -> Self {
        let store = store.as_context();
        // SAFETY: the store is borrowed, so its machine code is not running.
        unsafe { activation::capture(&store.0.core) }
    }
}

impl FrameInfo {
    /// The module of the function, for an engine.
    pub fn module(&self, engine: &Engine) -> Module {
        let module: Arc<dyn Any + Send + Sync> = self.module.clone();
        match module.downcast::<MappedModule>() {
            Ok(code) => Module::of_code(code, *engine),
            Err(_) => unreachable!("no other type is a module of frames"),
        }
    }
}
