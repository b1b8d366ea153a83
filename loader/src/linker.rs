//! Imports by name.

mod modules;
mod unknown;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Error, LinkError};
use crate::externs::Extern;
use crate::func::Func;
use crate::host::Caller;
use crate::imports::Import;
use crate::instance::Instance;
use crate::instance_pre::InstancePre;
use crate::interface::ImportType;
use crate::into_func::IntoFunc;
use crate::module::Module;
use crate::redirect::Redirections;
use crate::shared_memory::SharedMemory;
use crate::store::{AsContext, AsContextMut, Invariant};
use crate::types::{ExternType, FuncType};
use crate::val::Val;
use crate::vm::host::HostFunc;
use crate::vm::item_types::import_type;

/// Definitions of the items that modules import, by name.
///
/// ```
/// use precast_loader::{Error, Instance, Linker, Module, Store};
///
/// fn start(module: &Module, store: &mut Store<()>) -> Result<Instance, Error> {
///     let mut linker = Linker::new(module.engine());
///     linker.func_wrap("env", "log", |x: i32| println!("{x}"))?;
///     linker.define_unknown_imports_as_traps(module)?;
///     linker.instantiate(store, module)
/// }
/// ```
#[derive(Debug)]
pub struct Linker<T: 'static> {
    engine: Engine,
    /// By module name, then by item name.
    definitions: BTreeMap<String, BTreeMap<String, Import>>,
    allow_shadowing: bool,
    allow_unknown_exports: bool,
    data: Invariant<T>,
}

impl<T: 'static> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine,
            definitions: self.definitions.clone(),
            allow_shadowing: self.allow_shadowing,
            allow_unknown_exports: self.allow_unknown_exports,
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
            allow_unknown_exports: false,
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

    pub(crate) fn insert(
        &mut self,
        module: &str,
        name: &str,
        item: Import,
    ) -> Result<&mut Self, Error> {
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

    /// Defines an item of a store. A module that imports the item can be instantiated only in that
    /// store.
    ///
    /// # Errors
    /// [`Error::Duplicate`], [`Error::WrongStore`] for an item of another store.
    pub fn define(
        &mut self,
        store: impl AsContext<Data = T>,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Self, Error> {
        let item = item.into();
        if !item.belongs_to(&store.as_context().0.core) {
            return Err(Error::WrongStore { what: "the item" });
        }
        self.insert(module, name, Import::Extern(item))
    }

    /// Defines a memory of several threads. It belongs to no store, so a module that imports the
    /// memory can be instantiated in any store.
    ///
    /// # Errors
    /// [`Error::Duplicate`].
    pub fn shared_memory(
        &mut self,
        module: &str,
        name: &str,
        memory: SharedMemory,
    ) -> Result<&mut Self, Error> {
        self.insert(module, name, Import::Extern(memory.into()))
    }

    /// Defines all exports of an instance under the module name `module`.
    ///
    /// # Errors
    /// [`Error::Duplicate`].
    pub fn instance(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
        instance: Instance,
    ) -> Result<&mut Self, Error> {
        for export in instance.exports(store.as_context_mut()) {
            let item = Import::Extern(export.clone().into_extern());
            self.insert(module, export.name(), item)?;
        }
        Ok(self)
    }

    /// Defines the item `module`.`name` a second time, as `as_module`.`as_name`.
    ///
    /// # Errors
    /// [`Error::Link`] if nothing is defined under the first name, [`Error::Duplicate`].
    pub fn alias(
        &mut self,
        module: &str,
        name: &str,
        as_module: &str,
        as_name: &str,
    ) -> Result<&mut Self, Error> {
        let found = self.find(module, name).cloned();
        let item = found.ok_or_else(|| undefined(module, name))?;
        self.insert(as_module, as_name, item)
    }

    /// Defines all items of the module name `module` a second time, under `as_module`. Does nothing
    /// if `module` has no items.
    ///
    /// # Errors
    /// [`Error::Duplicate`].
    pub fn alias_module(&mut self, module: &str, as_module: &str) -> Result<&mut Self, Error> {
        let items = self.definitions.get(module).cloned().unwrap_or_default();
        for (name, item) in items {
            self.insert(as_module, &name, item)?;
        }
        Ok(self)
    }

    fn find(&self, module: &str, name: &str) -> Option<&Import> {
        self.definitions.get(module)?.get(name)
    }

    /// The item that is defined under these names. A host function that belongs to no store yet
    /// becomes a function of this store.
    pub fn get(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
        name: &str,
    ) -> Option<Extern> {
        let item = self.find(module, name)?;
        Some(item.to_extern(store.as_context_mut().core()))
    }

    /// [`Linker::get`] for an import.
    pub fn get_by_import(
        &self,
        store: impl AsContextMut<Data = T>,
        import: &ImportType<'_>,
    ) -> Option<Extern> {
        self.get(store, import.module(), import.name())
    }

    /// The function that runs a module which [`Linker::module`] defined: the function whose name is
    /// empty, or else `_start`.
    ///
    /// # Errors
    /// [`Error::NoExport`] if there is none.
    pub fn get_default(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
    ) -> Result<Func, Error> {
        let mut get = |name| self.get(store.as_context_mut(), module, name)?.into_func();
        get("").or_else(|| get("_start")).ok_or(Error::NoExport {
            kind: "function",
            name: "_start".into(),
        })
    }

    /// All definitions: module name, item name and item, in the order of the names.
    pub fn iter<'a>(
        &'a self,
        mut store: impl AsContextMut<Data = T> + 'a,
    ) -> impl Iterator<Item = (&'a str, &'a str, Extern)> {
        let items = self.definitions.iter().flat_map(|(module, items)| {
            let items = items.iter();
            items.map(move |(name, item)| (module.as_str(), name.as_str(), item))
        });
        items.map(move |(module, name, item)| {
            (module, name, item.to_extern(store.as_context_mut().core()))
        })
    }

    /// The definitions under a module name.
    pub(crate) fn items(&self, module: &str) -> impl Iterator<Item = (&str, &Import)> {
        let items = self.definitions.get(module).into_iter().flatten();
        items.map(|(name, item)| (name.as_str(), item))
    }

    /// The type of the host function that is defined under these names, if there is one.
    pub fn host_func(&self, module: &str, name: &str) -> Option<&FuncType> {
        match self.find(module, name)? {
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
            let found = match self.find(target_module, target_name) {
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
                expected: import_type(&module.code, record).to_string(),
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

#[cold]
fn undefined(module: &str, name: &str) -> Error {
    Error::Link(vec![LinkError {
        module: module.into(),
        name: name.into(),
        found: None,
        expected: "any item".into(),
    }])
}
