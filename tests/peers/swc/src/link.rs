//! Linking a plug-in with functions that find the closures of their store.

use std::sync::Arc;

use anyhow::Context;
use precast_loader::{
    Caller, Error, FuncType, InstancePre, Linker, Memory, Module, TypedFunc, Val, ValType,
};
use precast_wasi::WasiCtx;
use swc_plugin_runner::runtime;

/// The module of swc's functions.
const MODULE: &str = "env";

/// The data of a store.
pub(crate) struct Guest {
    pub(crate) wasi: WasiCtx,
    /// swc's functions, in the order in which they were linked.
    pub(crate) imports: Arc<[runtime::Func]>,
    /// The plug-in's own functions, once it has been instantiated.
    pub(crate) exports: Option<Exports>,
}

/// What the host uses of an instance while it runs.
#[derive(Clone, Copy)]
pub(crate) struct Exports {
    pub(crate) memory: Memory,
    pub(crate) alloc: TypedFunc<u32, u32>,
    pub(crate) free: TypedFunc<(u32, u32), u32>,
}

/// A module linked with functions of these names and numbers of parameters and results.
#[derive(Clone)]
pub(crate) struct Linked {
    pub(crate) pre: InstancePre<Guest>,
    types: Arc<[(String, (u8, u8))]>,
}

impl Linked {
    pub(crate) fn new(
        module: &Module,
        imports: &[(String, runtime::Func)],
    ) -> anyhow::Result<Self> {
        let mut linker = Linker::new(module.engine());
        precast_wasi::add_to_linker(&mut linker, |guest: &mut Guest| &mut guest.wasi)?;
        for (i, (name, func)) in imports.iter().enumerate() {
            let (params, results) = func.sign;
            let numbers = |count| (0..count).map(|_| ValType::I32);
            let ty = FuncType::new(module.engine(), numbers(params), numbers(results));
            linker.func_new(MODULE, name, ty, move |caller, params, results| {
                call(caller, i, params, results)
            })?;
        }
        let types = imports
            .iter()
            .map(|(name, func)| (name.clone(), func.sign))
            .collect();
        Ok(Self {
            pre: linker.instantiate_pre(module)?,
            types,
        })
    }

    /// Whether this was linked with functions like these.
    pub(crate) fn has(&self, imports: &[(String, runtime::Func)]) -> bool {
        let types = imports.iter().map(|(name, func)| (name, func.sign));
        types.eq(self.types.iter().map(|(name, sign)| (name, *sign)))
    }
}

/// Calls swc's function number `i` of the store.
fn call(
    caller: Caller<'_, Guest>,
    i: usize,
    params: &[Val],
    results: &mut [Val],
) -> Result<(), Error> {
    let mut numbers = [0; 8];
    let params = numbers
        .get_mut(..params.len())
        .map(|numbers| {
            for (number, param) in numbers.iter_mut().zip(params) {
                *number = param.i32().unwrap_or_default();
            }
            &*numbers
        })
        .ok_or_else(|| Error::msg("a function of swc has more than 8 parameters"))?;
    let imports = Arc::clone(&caller.data().imports);
    let exports = caller.data().exports;
    let exports = exports.ok_or_else(|| Error::msg("the plug-in calls swc while it starts"))?;
    let mut values = [0; 8];
    let values = values
        .get_mut(..results.len())
        .ok_or_else(|| Error::msg("a function of swc has more than 8 results"))?;
    (imports[i].func)(&mut InCall { caller, exports }, params, values);
    for (result, value) in results.iter_mut().zip(values) {
        *result = Val::I32(*value);
    }
    Ok(())
}

/// A plug-in that has called a function of swc.
struct InCall<'a> {
    caller: Caller<'a, Guest>,
    exports: Exports,
}

impl<'a> runtime::Caller<'a> for InCall<'a> {
    fn read_buf(&self, at: u32, bytes: &mut [u8]) -> anyhow::Result<()> {
        let memory = self.exports.memory;
        memory
            .read(&self.caller, at as usize, bytes)
            .context("swc reads the plug-in's memory")
    }

    fn write_buf(&mut self, at: u32, bytes: &[u8]) -> anyhow::Result<()> {
        let memory = self.exports.memory;
        memory
            .write(&mut self.caller, at as usize, bytes)
            .context("swc writes to the plug-in's memory")
    }

    fn alloc(&mut self, size: u32) -> anyhow::Result<u32> {
        Ok(self.exports.alloc.call(&mut self.caller, size)?)
    }

    fn free(&mut self, at: u32, size: u32) -> anyhow::Result<u32> {
        Ok(self.exports.free.call(&mut self.caller, (at, size))?)
    }
}
