//! Imports by name, and modules linked with them.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::Engine;
use crate::error::{Error, LinkError};
use crate::host::{Caller, HostFunc};
use crate::instance::{Extern, Instance};
use crate::into_func::IntoFunc;
use crate::limits::Demand;
use crate::link::Import;
use crate::module::Module;
use crate::pool;
use crate::redirect::Redirections;
use crate::store::{AsContextMut, Invariant};
use crate::types::{ExternType, FuncType, import_type};
use crate::val::Val;

/// Names for what modules import.
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

    /// Whether a later definition of the same name replaces the earlier one, instead of being an
    /// error.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Self {
        self.allow_shadowing = allow;
        self
    }

    fn items_mut(&mut self, module: &str) -> &mut BTreeMap<String, Import> {
        // `entry` alone would make a string of each name.
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

    /// Defines a host function of a type that is known at run time only, see
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

    /// Defines a host function for each imported function of a module that nothing is defined for;
    /// it fails with an error that names the import. For hosts that know which imports a guest never
    /// calls.
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> &mut Self {
        let artifact = module.0.artifact();
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
            let host = HostFunc::new::<T, _>(ty, move |_, _, _| Err(Error::host(&*message)));
            items.insert(name.to_string(), Import::Host(Arc::new(host)));
        }
        self
    }

    /// Defines an item of a store. Modules can then be instantiated in that store only.
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

    /// What is defined under a module name.
    pub(crate) fn items(&self, module: &str) -> impl Iterator<Item = (&str, &Import)> {
        let items = self.definitions.get(module).into_iter().flatten();
        items.map(|(name, item)| (name.as_str(), item))
    }

    /// The type of the host function that is defined under these names, if one is.
    pub fn host_func(&self, module: &str, name: &str) -> Option<&FuncType> {
        match self.definitions.get(module)?.get(name)? {
            Import::Host(host) => Some(host.ty()),
            Import::Extern(_) => None,
        }
    }

    /// Resolves the imports of a module once, for any number of instances.
    ///
    /// # Errors
    /// [`Error::Link`] with all imports that nothing is defined for, or a host function of another
    /// type. Items of a store are checked at instantiation, because their types can change.
    /// [`Error::DifferentEngines`].
    pub fn instantiate_pre(&self, module: &Module) -> Result<InstancePre<T>, Error> {
        self.instantiate_pre_redirected(module, &Redirections::new())
    }

    /// [`Linker::instantiate_pre`] with some imports looked up elsewhere.
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
        let artifact = module.0.artifact();
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
                Some(item) if item.may_fit(&module.0, record) => {
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

/// A module whose imports are resolved. Cheap to clone; can be used by many threads.
///
/// If all imports are host functions, a thread keeps instances for reuse when their store is
/// dropped, up to [`Config::pool_per_thread`](crate::Config::pool_per_thread): making one again
/// costs no system call, only what the last one wrote is put back. Keep the `InstancePre` for as long
/// as instances are wanted; what is parked goes with it.
#[derive(Debug)]
pub struct InstancePre<T: 'static> {
    handle: Arc<Handle>,
    data: Invariant<T>,
}

/// What parked instances share with the handles that users hold.
#[derive(Debug)]
pub(crate) struct PreInner {
    pub(crate) module: Module,
    pub(crate) imports: Box<[Import]>,
    /// Whether instances can be reused in other stores: no import belongs to a store.
    pub(crate) reusable: bool,
    /// What an instance takes of its store.
    pub(crate) demand: Demand,
    /// Whether all handles are gone.
    closed: AtomicBool,
}

impl PreInner {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Handle(Arc<PreInner>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
        pool::purge();
    }
}

impl<T: 'static> Clone for InstancePre<T> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
            data: PhantomData,
        }
    }
}

impl<T: 'static> InstancePre<T> {
    pub(crate) fn new(module: Module, imports: Vec<Import>) -> Self {
        let reusable = imports
            .iter()
            .all(|import| matches!(import, Import::Host(_)));
        let demand = Demand::of(&module.0.artifact());
        let (imports, closed) = (imports.into(), AtomicBool::new(false));
        let inner = Arc::new(PreInner {
            module,
            imports,
            reusable,
            demand,
            closed,
        });
        Self {
            handle: Arc::new(Handle(inner)),
            data: PhantomData,
        }
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.handle.0.module
    }

    /// Whether instances can be made in any store.
    pub(crate) fn is_reusable(&self) -> bool {
        self.handle.0.reusable
    }

    /// Whether this is that module linked with those very host functions.
    pub(crate) fn is_of(&self, module: &Module, imports: &[Import]) -> bool {
        let same = |(a, b): (&Import, &Import)| match (a, b) {
            (Import::Host(a), Import::Host(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        let own = &self.handle.0;
        Arc::ptr_eq(&own.module.0, &module.0)
            && own.imports.len() == imports.len()
            && own.imports.iter().zip(imports).all(same)
    }

    /// Makes an instance.
    ///
    /// # Errors
    /// As for [`Instance::new`].
    ///
    /// # Panics
    /// If an item that was defined in the linker belongs to another store.
    pub fn instantiate(&self, mut store: impl AsContextMut<Data = T>) -> Result<Instance, Error> {
        let core = store.as_context_mut().core_ptr();
        // SAFETY: the store is borrowed exclusively, and not used otherwise until this returns.
        unsafe { Instance::from_pre(core, &self.handle.0) }
    }
}
