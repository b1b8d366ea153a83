//! Modules linked with their imports, for any number of instances.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::imports::Import;
use crate::instance::Instance;
use crate::module::Module;
use crate::store::{AsContextMut, Invariant};
use crate::vm::pool;
use crate::vm::quota::Demand;

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
