//! Modules linked with their imports, for any number of instances.

use std::marker::PhantomData;
use std::sync::Arc;

use precast_artifact::records::IMPORTED;

use crate::error::Error;
use crate::imports::{Import, check_imports};
use crate::instance::{Begun, Instance};
use crate::module::Module;
use crate::snapshot::Snapshot;
use crate::store::{AsContextMut, Invariant, StoreContextMut};
use crate::vm::instance::InstanceData;
use crate::vm::owner::Owner;
use crate::vm::pool;
use crate::vm::quota;
use crate::vm::state::State;
use crate::vm::store::StoreCore;
use crate::vm::usage::Demand;

/// A module whose imports are resolved. Cheap to clone; can be used by many threads.
///
/// If all imports are host functions, a thread keeps instances for reuse when their store is
/// dropped, up to [`Config::pool_per_thread`](crate::Config::pool_per_thread). What the last
/// instance wrote is restored then: pages that instances of this `InstancePre` write to again and
/// again are copied and stay in memory, and the rest is given back to the system by a few system
/// calls. Keep the `InstancePre` for as long as instances are wanted, because no parked instance is
/// used after it. The thread that drops the last handle drops its own parked instances at once, and
/// every other thread when it next needs an instance that it has not parked, or when it ends. Until
/// then, they hold the module and the host functions.
///
/// ```
/// use precast_loader::{Error, InstancePre, Store};
///
/// /// An instance for each request: nothing of a request is left for the next.
/// fn answer(pre: &InstancePre<()>, request: i32) -> Result<i32, Error> {
///     let mut store = Store::new(pre.module().engine(), ());
///     let instance = pre.instantiate(&mut store)?;
///     let answer = instance.get_typed_func::<i32, i32>(&mut store, "answer")?;
///     answer.call(&mut store, request)
/// }
/// ```
#[derive(Debug)]
pub struct InstancePre<T: 'static> {
    inner: Arc<PreInner>,
    data: Invariant<T>,
}

/// What the clones of a handle share.
#[derive(Debug)]
pub(crate) struct PreInner {
    pub(crate) module: Module,
    pub(crate) imports: Box<[Import]>,
    /// What an instance takes of its store.
    pub(crate) demand: Demand,
    /// What instances start with instead of what the module says.
    pub(crate) state: Option<Arc<State>>,
    /// For instances that can be reused in other stores: no import belongs to a store.
    pub(crate) owner: Option<Arc<Owner>>,
}

impl Drop for PreInner {
    fn drop(&mut self) {
        if let Some(owner) = &self.owner {
            pool::close(owner);
        }
    }
}

impl<T: 'static> Clone for InstancePre<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            data: PhantomData,
        }
    }
}

impl<T: 'static> InstancePre<T> {
    pub(crate) fn new(module: Module, imports: Vec<Import>) -> Self {
        Self::with_state(module, imports.into(), None)
    }

    fn with_state(module: Module, imports: Box<[Import]>, state: Option<Arc<State>>) -> Self {
        let reusable = imports
            .iter()
            .all(|import| matches!(import, Import::Host(_)));
        let limits = module.engine().config().pool_limits();
        let memories = module.code.artifact().memories();
        let own = memories.iter().filter(|m| m.flags & IMPORTED == 0);
        let own = own.count();
        let inner = PreInner {
            demand: Demand::of(&module.code.artifact(), state.as_deref()),
            module,
            imports,
            state,
            owner: reusable.then(|| Arc::new(Owner::new(limits, own))),
        };
        Self {
            inner: Arc::new(inner),
            data: PhantomData,
        }
    }

    /// The same module and imports, whose instances start with the state of a snapshot instead of
    /// being initialised. The start function does not run.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] if the snapshot is of an instance of another module.
    pub fn from_snapshot(pre: &Self, snapshot: &Snapshot) -> Result<Self, Error> {
        if !Arc::ptr_eq(&pre.inner.module.code, &snapshot.module.code) {
            return Err(Error::Unsuitable {
                action: "start instances with the snapshot",
                why: "it is of an instance of another module; link the module of the snapshot"
                    .into(),
            });
        }
        let (module, imports) = (pre.inner.module.clone(), pre.inner.imports.clone());
        let state = Some(Arc::clone(&snapshot.state));
        Ok(Self::with_state(module, imports, state))
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.inner.module
    }

    /// Whether instances can be made in every store.
    pub(crate) fn is_reusable(&self) -> bool {
        self.inner.owner.is_some()
    }

    /// Whether this is `module` linked with the very host functions `imports`.
    pub(crate) fn is_of(&self, module: &Module, imports: &[Import]) -> bool {
        let same = |(a, b): (&Import, &Import)| match (a, b) {
            (Import::Host(a), Import::Host(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        let own = &self.inner;
        own.state.is_none()
            && Module::same(&own.module, module)
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
        let mut store = store.as_context_mut();
        let core = store.core_ptr();
        // SAFETY: the store is borrowed exclusively, and not used otherwise until this returns.
        unsafe { self.begin(&mut store)?.run(core) }
    }

    /// Does what [`InstancePre::instantiate`] does, except that the start function is not run.
    ///
    /// # Errors
    /// As for [`InstancePre::instantiate`].
    ///
    /// # Panics
    /// As for [`InstancePre::instantiate`].
    #[inline]
    pub(crate) fn begin(&self, store: &mut StoreContextMut<'_, T>) -> Result<Begun, Error> {
        let module = &self.inner.module;
        store.engine().check(*module.engine(), &module.code)?;
        // SAFETY: the store is borrowed exclusively, and not used otherwise until this returns.
        unsafe { make(store.core_ptr(), &self.inner) }
    }
}

/// Makes an instance with linked imports, or takes a parked one over. Its start function has
/// not run yet.
///
/// # Safety
/// `core` is the pointer that machine code uses, of a store that is used by nobody else until
/// this returns.
unsafe fn make(core: *mut StoreCore, pre: &PreInner) -> Result<Begun, Error> {
    // SAFETY: by this function's contract.
    unsafe {
        (*core).check_interruption(pre.module.interruption())?;
        // Host functions were checked when they were linked. The types of a store's items can
        // change.
        if pre.owner.is_none() {
            check_imports(&*core, &pre.module.code, &pre.imports)?;
        }
        let artifact = pre.module.code.artifact();
        let state = pre.state.as_ref();
        quota::for_instance(core, &pre.demand, &artifact, state.map(|state| &**state))?;
        let instance = match pre.owner.as_ref().and_then(pool::take) {
            Some(mut instance) => {
                instance.enter_store(core.cast());
                instance
            }
            None => {
                Instance::prepare(&artifact);
                let mut raw = pre.imports.iter().map(|import| import.to_raw(&*core));
                let owner = pre.owner.as_ref();
                InstanceData::new(core.cast(), &pre.module.code, &mut raw, owner, state)
                    .inspect_err(|_| (*core).settle())?
            }
        };
        Instance::begin(core, instance, &pre.demand)
    }
}
