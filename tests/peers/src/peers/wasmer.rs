//! Wasmer's headless engine, which has no compiler.
//!
//! It has no pool, and it cannot link before instantiation. Host functions belong to a store, so
//! each instance needs its own.

use std::path::Path;

use wasmer::{
    Engine, ExternType, Function, FunctionType, Imports, Instance, Module, Store, TypedFunction,
};

use super::Peer;
use crate::Result;

/// Wasmer's headless engine.
pub struct Wasmer(Engine);

impl Default for Wasmer {
    fn default() -> Self {
        use wasmer::sys::NativeEngineExt;
        Self(Engine::headless())
    }
}

impl Peer for Wasmer {
    const EXTENSION: &'static str = super::WASMER_EXTENSION;
    type Module = Module;
    type Linker = ();
    type Linked = (Module, Vec<(String, String, FunctionType)>);
    type Live = (Store, Instance);
    type Func = TypedFunction<i32, i32>;

    #[inline]
    fn open(&self, artifact: &Path) -> Result<Module> {
        // SAFETY: Wasmer made the artifact for this benchmark.
        Ok(unsafe { Module::deserialize_from_file_unchecked(&self.0, artifact)? })
    }

    fn linker(&self, _: &Module) -> Result<()> {
        Ok(())
    }

    fn link(&self, (): &(), module: &Module) -> Result<Self::Linked> {
        let mut imports = Vec::new();
        for import in module.imports() {
            if let ExternType::Function(ty) = import.ty() {
                imports.push((import.module().into(), import.name().into(), ty.clone()));
            }
        }
        Ok((module.clone(), imports))
    }

    #[inline]
    fn instantiate(&self, (module, wanted): &Self::Linked) -> Result<Self::Live> {
        let mut store = Store::new(self.0.clone());
        let mut imports = Imports::new();
        for (from, name, ty) in wanted {
            let function = if from == "h" {
                Function::new_typed(&mut store, |x: i32| x + 1)
            } else {
                Function::new(&mut store, ty.clone(), |_| Ok(Vec::new()))
            };
            imports.define(from, name, function);
        }
        let instance = Instance::new(&mut store, module, &imports)?;
        Ok((store, instance))
    }

    #[inline]
    fn func(&self, (store, instance): &mut Self::Live, name: &str) -> Result<Self::Func> {
        Ok(instance.exports.get_typed_function(store, name)?)
    }

    #[inline]
    fn call(&self, live: &mut Self::Live, func: &Self::Func, argument: i32) -> Result<i32> {
        Ok(func.call(&mut live.0, argument)?)
    }
}
