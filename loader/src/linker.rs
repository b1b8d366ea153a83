//! Imports by name.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Error, LinkError};
use crate::host::Caller;
use crate::imports::Import;
use crate::instance::{Extern, Instance};
use crate::instance_pre::InstancePre;
use crate::into_func::IntoFunc;
use crate::module::Module;
use crate::redirect::Redirections;
use crate::store::{AsContextMut, Invariant};
use crate::types::{ExternType, FuncType, import_type};
use crate::val::Val;
use crate::vm::host::HostFunc;

/// Names for what modules import.
///
/// ```
/// use precast_loader::{Error, Instance, Linker, Module, Store};
///
/// fn start(module: &Module, store: &mut Store<()>) -> Result<Instance, Error> {
///     let mut linker = Linker::new(module.engine());
///     linker.func_wrap("env", "log", |x: i32| println!("{x}"))?;
///     linker.define_unknown_imports_as_traps(module);
///     linker.instantiate(store, module)
/// }
/// ```
#[derive(Debug)]
pub struct Linker<T: 'static> {
    engine: Engine,
    /// By module name, then by item name.
    definitions: BTreeMap<String, BTreeMap<String, Import>>,
    allow_shadowing: bool,
    data: Invariant<T>,
}

impl<T: 'static> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine,
            definitions: self.definitions.clone(),
            allow_shadowing: self.allow_shadowing,
            data: PhantomData,
        }
    }
}

impl<T: 'static> Linker<T> {
    /// A linker without definitions.
    pub fn new(engine: &Engine) -> Self {
        Self {
            engine: *engine,
            definitions: BTreeMap::new(),
            allow_shadowing: false,
            data: PhantomData,
        }
    }

    /// The engine that the linker was made with.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Sets whether a later definition of the same name replaces the earlier one, instead of being
    /// an error.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Self {
        self.allow_shadowing = allow;
        self
    }

    fn items_mut(&mut self, module: &str) -> &mut BTreeMap<String, Import> {
        // `entry` alone would allocate a string for each name.
        if !self.definitions.contains_key(module) {
            self.definitions.insert(module.to_string(), BTreeMap::new());
        }
        let Some(items) = self.definitions.get_mut(module) else {
            unreachable!("just inserted");
        };
        items
    }

    fn insert(&mut self, module: &str, name: &str, item: Import) -> Result<&mut Self, Error> {
        let allow_shadowing = self.allow_shadowing;
        let items = self.items_mut(module);
        if !allow_shadowing && items.contains_key(name) {
            return Err(Error::Duplicate {
                module: module.into(),
                name: name.into(),
            });
        }
        items.insert(name.to_string(), item);
        Ok(self)
    }

    /// Defines a host function from a closure over wasm's own types, see [`IntoFunc`].
    ///
    /// # Errors
    /// [`Error::Duplicate`].
    pub fn func_wrap<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Result<&mut Self, Error> {
        self.insert(module, name, Import::Host(Arc::new(func.into_host())))
    }

    /// Defines a host function whose type is known only at run time, see
    /// [`Func::new`](crate::Func::new).
    ///
    /// # Errors
    /// [`Error::Duplicate`].
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Result<&mut Self, Error> {
        self.insert(
            module,
            name,
            Import::Host(Arc::new(HostFunc::new(ty, func))),
        )
    }

    /// Defines a host function for each imported function of a module that has no definition yet.
    /// Such a function fails with an error that names the import. This is for hosts that know which
    /// imports a guest never calls.
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> &mut Self {
        let artifact = module.code.artifact();
        for record in artifact.imports() {
            let ExternType::Func(ty) = import_type(&artifact, record) else {
                continue;
            };
            let from = artifact.str(record.module).unwrap_or_default();
            let name = artifact.str(record.name).unwrap_or_default();
            let items = self.items_mut(from);
            if items.contains_key(name) {
                continue;
            }
            let message = [
                "nothing is defined for `",
                from,
                "`.`",
                name,
                "`, which was called",
            ];
            let message = message.concat();
            let host =
                HostFunc::new::<T, _>(ty, move |_, _, _| Err(Error::host(message.to_string())));
            items.insert(name.to_string(), Import::Host(Arc::new(host)));
        }
        self
    }

    /// Defines an item of a store. A module that imports the item can be instantiated only in that
    /// store.
    ///
    /// # Errors
    /// [`Error::Duplicate`].
    pub fn define(
        &mut self,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Self, Error> {
        self.insert(module, name, Import::Extern(item.into()))
    }

    /// Defines all exports of an instance under the module name `module`.
    ///
    /// # Errors
    /// [`Error::Duplicate`].
    pub fn instance(
        &mut self,
        store: impl AsContextMut<Data = T>,
        module: &str,
        instance: Instance,
    ) -> Result<&mut Self, Error> {
        for (name, item) in instance.exports(store) {
            self.define(module, &name, item)?;
        }
        Ok(self)
    }

    /// The definitions under a module name.
    pub(crate) fn items(&self, module: &str) -> impl Iterator<Item = (&str, &Import)> {
        let items = self.definitions.get(module).into_iter().flatten();
        items.map(|(name, item)| (name.as_str(), item))
    }

    /// The type of the host function that is defined under these names, if there is one.
    pub fn host_func(&self, module: &str, name: &str) -> Option<&FuncType> {
        match self.definitions.get(module)?.get(name)? {
            Import::Host(host) => Some(host.ty()),
            Import::Extern(_) => None,
        }
    }

    /// Resolves the imports of a module once, for any number of instances.
    ///
    /// # Errors
    /// [`Error::Link`] with all imports that have no definition, or a host function of another
    /// type. Items of a store are checked at instantiation, because their types can change.
    /// [`Error::DifferentEngines`] for a module of another engine.
    pub fn instantiate_pre(&self, module: &Module) -> Result<InstancePre<T>, Error> {
        self.instantiate_pre_redirected(module, &Redirections::new())
    }

    /// [`Linker::instantiate_pre`] with rules that look some imports up under other names.
    ///
    /// # Errors
    /// As for [`Linker::instantiate_pre`].
    pub fn instantiate_pre_redirected(
        &self,
        module: &Module,
        redirections: &Redirections,
    ) -> Result<InstancePre<T>, Error> {
        module
            .engine()
            .check_same(self.engine, "the module", "the linker")?;
        let artifact = module.code.artifact();
        let mut imports = Vec::with_capacity(artifact.imports().len());
        let mut errors = Vec::new();
        for record in artifact.imports() {
            let import_module = artifact.str(record.module).unwrap_or_default();
            let name = artifact.str(record.name).unwrap_or_default();
            let (target_module, target_name) = redirections.target(import_module, name);
            let found = self
                .definitions
                .get(target_module)
                .and_then(|items| items.get(target_name));
            let found = match found {
                Some(item) if item.may_fit(&module.code, record) => {
                    imports.push(item.clone());
                    continue;
                }
                Some(Import::Host(host)) => Some(ExternType::Func(host.ty().clone()).to_string()),
                _ => None,
            };
            errors.push(LinkError {
                module: import_module.into(),
                name: name.into(),
                found,
                expected: import_type(&artifact, record).to_string(),
            });
        }
        if !errors.is_empty() {
            return Err(Error::Link(errors));
        }
        Ok(InstancePre::new(module.clone(), imports))
    }

    /// Resolves the imports of a module and instantiates it.
    ///
    /// # Errors
    /// As for [`Linker::instantiate_pre`] and [`InstancePre::instantiate`].
    pub fn instantiate(
        &self,
        store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance, Error> {
        self.instantiate_pre(module)?.instantiate(store)
    }
}
