//! Whole modules as definitions: libraries and commands.

use std::sync::Arc;

use super::Linker;
use crate::error::Error;
use crate::func::Func;
#[cfg(feature = "async")]
use crate::host::Caller;
use crate::imports::Import;
use crate::instance::Instance;
use crate::instance_pre::InstancePre;
use crate::module::Module;
use crate::store::AsContextMut;
use crate::types::{ExternType, FuncType};
use crate::vm::host::HostFunc;

/// Exports that commands have for their runtime, and that [`Linker::module`] leaves out.
const IGNORED_EXPORTS: [&str; 5] = [
    "memory",
    "__indirect_function_table",
    "__heap_base",
    "__data_end",
    "__rtti_base",
];

impl<T: 'static> Linker<T> {
    /// Sets whether [`Linker::module`] leaves out exports of a command that are not functions,
    /// instead of failing.
    pub fn allow_unknown_exports(&mut self, allow: bool) -> &mut Self {
        self.allow_unknown_exports = allow;
        self
    }

    /// Defines the exports of a module under the module name `name`.
    ///
    /// A *reactor*, which is a module without an exported function `_start`, is instantiated here,
    /// and its function `_initialize` is called if there is one. A *command* runs once in an
    /// instance: each call of one of its functions makes an instance of its own in the store of the
    /// caller. (These instances stay until the store is dropped.)
    ///
    /// # Errors
    /// As for [`Linker::instantiate_pre`] and [`InstancePre::instantiate`], what `_initialize`
    /// ended with, [`Error::Duplicate`], and [`Error::Unsuitable`] for a command that exports items
    /// of its own which are not functions, see [`Linker::allow_unknown_exports`].
    ///
    /// [`InstancePre::instantiate`]: crate::InstancePre::instantiate
    pub fn module(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        name: &str,
        module: &Module,
    ) -> Result<&mut Self, Error> {
        if is_command(module) {
            return self.command(name, module, |ty, pre, called| {
                HostFunc::new::<T, _>(ty, move |mut caller, params, results| {
                    let instance = pre.instantiate(&mut caller)?;
                    let func = export(&mut caller, instance, &called)?;
                    func.call(&mut caller, params, results)
                })
            });
        }
        let instance = self.instantiate(store.as_context_mut(), module)?;
        if let Some(initialize) = instance.get_func(store.as_context_mut(), "_initialize") {
            let initialize = initialize.typed::<(), ()>(store.as_context())?;
            initialize.call(store.as_context_mut(), ())?;
        }
        self.instance(store, name, instance)
    }

    /// Defines the functions of a command. `define` makes a host function of a type that calls the
    /// function of this name in an instance of its own.
    fn command(
        &mut self,
        name: &str,
        module: &Module,
        define: impl Fn(FuncType, InstancePre<T>, String) -> HostFunc,
    ) -> Result<&mut Self, Error> {
        let pre = self.instantiate_pre(module)?;
        for export in module.exports() {
            match export.ty() {
                ExternType::Func(ty) if export.name() != "_initialize" => {
                    let host = define(ty, pre.clone(), export.name().to_owned());
                    self.insert(name, export.name(), Import::Host(Arc::new(host)))?;
                }
                ExternType::Func(_) => {}
                _ if IGNORED_EXPORTS.contains(&export.name()) || self.allow_unknown_exports => {}
                ty => {
                    return Err(Error::Unsuitable {
                        action: "define the exports of a command",
                        why: format!(
                            "it exports `{}`, which is a {ty} and no function, and is of no use \
                             without the instance of a call; see `Linker::allow_unknown_exports`",
                            precast_artifact::shown(export.name())
                        ),
                    });
                }
            }
        }
        Ok(self)
    }
}

#[cfg(feature = "async")]
impl<T: Send + 'static> Linker<T> {
    /// Like [`Linker::module`], for modules that call asynchronous host functions: `_initialize`
    /// can be suspended, and the functions of a command are asynchronous host functions, in which
    /// its instances can be.
    ///
    /// # Errors
    /// As for [`Linker::module`].
    pub async fn module_async(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        name: &str,
        module: &Module,
    ) -> Result<&mut Self, Error> {
        if is_command(module) {
            return self.command(name, module, |ty, pre, called| {
                HostFunc::new_async(ty, move |mut caller: Caller<'_, T>, params, results| {
                    let (pre, called) = (pre.clone(), called.clone());
                    Box::new(async move {
                        let instance = pre.instantiate_async(&mut caller).await?;
                        let func = export(&mut caller, instance, &called)?;
                        func.call_async(&mut caller, params, results).await
                    })
                })
            });
        }
        let instance = self
            .instantiate_async(store.as_context_mut(), module)
            .await?;
        if let Some(initialize) = instance.get_func(store.as_context_mut(), "_initialize") {
            let initialize = initialize.typed::<(), ()>(store.as_context())?;
            initialize.call_async(store.as_context_mut(), ()).await?;
        }
        self.instance(store, name, instance)
    }
}

/// A function that an instance exports, as its module says.
fn export(store: impl AsContextMut, instance: Instance, name: &str) -> Result<Func, Error> {
    let func = instance.get_func(store, name);
    func.ok_or_else(|| Error::NoExport {
        kind: "function",
        name: name.to_owned(),
    })
}

fn is_command(module: &Module) -> bool {
    let start = module.get_export("_start");
    start == Some(ExternType::Func(FuncType::of([], [])))
}
