//! An instance of a plug-in.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use precast_loader::{Store, TypedFunc};
use precast_wasi::{DirAccess, WasiCtxBuilder};
use swc_plugin_runner::runtime;

use crate::Compiled;
use crate::link::{Exports, Guest, Linked};

/// An instance, which transforms one program.
pub(crate) struct PluginInstance {
    /// swc requires that instances can be shared between threads. Nothing ever waits for the lock.
    store: Mutex<Store<Guest>>,
    exports: Exports,
    transform: TypedFunc<(u32, u32, u32, u32), u32>,
    compiled: Compiled,
}

/// Makes an instance, which can use these functions of swc, these environment variables, and the
/// current directory as `/cwd`.
pub(crate) fn start(
    compiled: Compiled,
    linked: &Linked,
    imports: Arc<[runtime::Func]>,
    envs: &[(String, String)],
) -> anyhow::Result<PluginInstance> {
    let wasi = WasiCtxBuilder::new()
        .envs(envs.iter().map(|(name, value)| (name, value)))?
        .preopened_dir(".", "/cwd", DirAccess::ReadWrite)?
        .build();
    let guest = Guest {
        wasi,
        imports,
        exports: None,
    };
    let mut store = Store::new(compiled.module.engine(), guest);
    let instance = linked.pre.instantiate(&mut store)?;
    let memory = instance.get_memory(&mut store, "memory");
    let exports = Exports {
        memory: memory.context("the plug-in exports no memory")?,
        alloc: instance.get_typed_func(&mut store, "__alloc")?,
        free: instance.get_typed_func(&mut store, "__free")?,
    };
    let transform = instance.get_typed_func(&mut store, "__transform_plugin_process_impl")?;
    store.data_mut().exports = Some(exports);
    instance
        .get_typed_func::<(), u32>(&mut store, "__get_transform_plugin_core_pkg_diag")?
        .call(&mut store, ())?;
    Ok(PluginInstance {
        store: Mutex::new(store),
        exports,
        transform,
        compiled,
    })
}

impl PluginInstance {
    fn store(&mut self) -> &mut Store<Guest> {
        self.store.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl runtime::Instance for PluginInstance {
    fn transform(
        &mut self,
        program_at: u32,
        program_len: u32,
        unresolved_mark: u32,
        comments: u32,
    ) -> anyhow::Result<u32> {
        let transform = self.transform;
        let params = (program_at, program_len, unresolved_mark, comments);
        Ok(transform.call(self.store(), params)?)
    }

    fn caller(&mut self) -> anyhow::Result<Box<dyn runtime::Caller<'_> + '_>> {
        let exports = self.exports;
        let store = self.store();
        Ok(Box::new(BetweenCalls { store, exports }))
    }

    fn cache(&self) -> Option<runtime::ModuleCache> {
        Some(self.compiled.clone().into_cache())
    }
}

/// A plug-in that is not running.
struct BetweenCalls<'a> {
    store: &'a mut Store<Guest>,
    exports: Exports,
}

impl<'a> runtime::Caller<'a> for BetweenCalls<'a> {
    fn read_buf(&self, at: u32, bytes: &mut [u8]) -> anyhow::Result<()> {
        let memory = self.exports.memory;
        memory
            .read(&*self.store, at as usize, bytes)
            .context("swc reads the plug-in's memory")
    }

    fn write_buf(&mut self, at: u32, bytes: &[u8]) -> anyhow::Result<()> {
        let memory = self.exports.memory;
        memory
            .write(&mut *self.store, at as usize, bytes)
            .context("swc writes to the plug-in's memory")
    }

    fn alloc(&mut self, size: u32) -> anyhow::Result<u32> {
        Ok(self.exports.alloc.call(&mut *self.store, size)?)
    }

    fn free(&mut self, at: u32, size: u32) -> anyhow::Result<u32> {
        Ok(self.exports.free.call(&mut *self.store, (at, size))?)
    }
}
