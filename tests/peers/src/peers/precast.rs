//! precast, with its defaults or without its pool.

use std::path::Path;

use precast_loader::{Config, Engine, ExternType, InstancePre, Linker, Module, Store, TypedFunc};

use super::Peer;
use crate::Result;

/// precast.
pub struct Precast(Engine);

impl Precast {
    /// An engine with the defaults. Threads keep instances for reuse.
    pub fn pooled() -> Self {
        Self(Engine::default())
    }

    /// An engine whose threads keep up to `instances`, with up to `resident` bytes of memory or the
    /// default.
    ///
    /// # Errors
    /// Those of precast.
    pub fn keeping(instances: usize, resident: Option<usize>) -> Result<Self> {
        let mut config = Config::new();
        config.pool_per_thread(instances);
        if let Some(bytes) = resident {
            config.pool_resident_per_thread(bytes);
            config.pool_resident_per_process(bytes);
        }
        Ok(Self(Engine::new(&config)?))
    }

    /// An engine that keeps no instances.
    pub fn fresh() -> Self {
        let config = Config::new().pool_per_thread(0).clone();
        Self(Engine::new(&config).expect("the settings are valid"))
    }
}

impl Peer for Precast {
    const EXTENSION: &'static str = "precast";
    type Module = Module;
    type Linker = Linker<()>;
    type Linked = InstancePre<()>;
    type Live = (Store<()>, precast_loader::Instance);
    type Func = TypedFunc<i32, i32>;

    #[inline]
    fn open(&self, artifact: &Path) -> Result<Module> {
        // SAFETY: precast made the artifact for this benchmark.
        Ok(unsafe { Module::open(&self.0, artifact)? })
    }

    fn linker(&self, module: &Module) -> Result<Linker<()>> {
        let mut linker = Linker::new(&self.0);
        linker.func_wrap("h", "f", |x: i32| x + 1)?;
        for import in module.imports() {
            if let (ExternType::Func(ty), true) = (import.ty(), import.module() != "h") {
                linker.func_new(import.module(), import.name(), ty, |_, _, _| Ok(()))?;
            }
        }
        Ok(linker)
    }

    #[inline]
    fn link(&self, linker: &Linker<()>, module: &Module) -> Result<InstancePre<()>> {
        Ok(linker.instantiate_pre(module)?)
    }

    #[inline]
    fn instantiate(&self, linked: &InstancePre<()>) -> Result<Self::Live> {
        let mut store = Store::new(&self.0, ());
        let instance = linked.instantiate(&mut store)?;
        Ok((store, instance))
    }

    #[inline]
    fn func(&self, (store, instance): &mut Self::Live, name: &str) -> Result<Self::Func> {
        Ok(instance.get_typed_func(store, name)?)
    }

    #[inline]
    fn call(&self, live: &mut Self::Live, func: &Self::Func, argument: i32) -> Result<i32> {
        Ok(func.call(&mut live.0, argument)?)
    }
}
