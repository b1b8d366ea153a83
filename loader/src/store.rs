//! Stores: what instances live in.
//!
//! A [`Store`] owns instances and everything that the host made for them, until it is dropped.
//! Handles ([`Func`](crate::Func), [`Memory`](crate::Memory), …) are a store's number and a pointer
//! into it: whoever can show the store with that number holds it alive, so the pointer is valid.
//!
//! Machine code and the signal handler reach the store through a raw pointer. So does this crate
//! wherever both could look at the same field: [`StoreCore::this`] is the one pointer that all of
//! them use, and no reference to the core is held while wasm code runs.

#![expect(
    clippy::vec_box,
    reason = "handles point into the boxes, which must not move"
)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use precast_artifact::TrapCode;
use precast_artifact::vm::VmStoreContext;
use smallvec::SmallVec;

use crate::activation::Notes;
use crate::builtins::BUILTINS;
use crate::engine::Engine;
use crate::error::Ending;
use crate::externref::ExternRefs;
use crate::func::StoreFunc;
use crate::global::HostGlobal;
use crate::instance::InstanceData;
use crate::interrupt::{self, Given};
use crate::limits::{ResourceLimiter, StoreLimits, Usage};
use crate::memory::MemoryEntity;
use crate::module::ModuleInner;
use crate::pool;
use crate::table::TableEntity;
use crate::trap::RawFrames;

/// Number of a store, unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StoreId(u64);

impl StoreId {
    /// Threads take numbers in blocks, so that making stores does not bounce a cache line.
    fn next() -> Self {
        const BLOCK: u64 = 1 << 16;
        static BLOCKS: AtomicU64 = AtomicU64::new(0);
        thread_local! {
            static NEXT: Cell<u64> = const { Cell::new(0) };
        }
        let mut next = NEXT.get();
        if next.is_multiple_of(BLOCK) {
            next = BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK + 1;
        }
        NEXT.set(next + 1);
        Self(next)
    }
}

/// A store: instances, and data of the host's own type `T` that host functions can reach.
pub struct Store<T: 'static> {
    inner: NonNull<StoreInner<T>>,
    owns: PhantomData<StoreInner<T>>,
}

/// Makes a type that holds this invariant in `T`.
///
/// Every public type that holds host functions of a `T`, or leads to a store that does, holds this:
/// the functions get a [`Caller`](crate::Caller) of the very `T` that they were made for. Were such
/// a type covariant, safe code could turn a store of `for<'a> fn(&'a str)` into one of
/// `fn(&'static str)`, put a function that keeps its argument there, and let an old host function
/// give it a short-lived one. `tests/compile-fail/cases/variance.rs` tries that with each of them.
pub(crate) type Invariant<T> = PhantomData<fn(T) -> T>;

#[repr(C)]
pub(crate) struct StoreInner<T> {
    /// First, so that a pointer to the VM's part of a store is a pointer to all of it.
    pub(crate) core: StoreCore,
    pub(crate) data: T,
    limiter: Option<Box<LimiterOf<T>>>,
    invariant: Invariant<T>,
}

/// How to find a limiter in the host's data.
type LimiterOf<T> = dyn (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync;

/// The part of a store that does not depend on `T`.
#[doc(hidden)]
#[repr(C)]
pub struct StoreCore {
    /// First, see [`StoreInner`].
    pub(crate) vm: VmStoreContext,
    /// The pointer to use for everything that machine code touches too.
    pub(crate) this: *mut StoreCore,
    pub(crate) stack_bytes: usize,
    pub(crate) id: StoreId,
    /// What counts as long as there is no `limiter`.
    pub(crate) limits: StoreLimits,
    /// Finds the host's own limiter.
    pub(crate) limiter: Option<FindLimiter>,
    pub(crate) usage: Usage,
    pub(crate) ending: Option<Ending>,
    pub(crate) frames: RawFrames,
    engine: Engine,
    pub(crate) given: Given,
    /// Modules of the instances, sorted by address. Each `Arc` is held by an instance.
    modules: SmallVec<[TextRange; 1]>,
    guarded: SmallVec<[Guarded; 1]>,
    pub(crate) instances: SmallVec<[Box<InstanceData>; 2]>,
    /// What the host made besides instances; `None` until there is some.
    pub(crate) made: Option<Box<HostItems>>,
    /// `None` until there is one.
    pub(crate) externrefs: Option<Box<ExternRefs>>,
    /// The activation that the innermost one is inside of, of this store.
    pub(crate) outer: *const Notes,
}

/// What the host made in a store besides instances.
#[derive(Default)]
pub(crate) struct HostItems {
    pub(crate) funcs: Vec<Box<StoreFunc>>,
    pub(crate) memories: Vec<Box<MemoryEntity>>,
    pub(crate) tables: Vec<Box<TableEntity>>,
    pub(crate) globals: Vec<Box<HostGlobal>>,
}

/// A store without data of the host's is as large as the allocator still takes from its cache: a
/// store comes and goes with each short-lived instance, and beyond this that costs half as much more.
const _: () = assert!(size_of::<StoreInner<()>>() <= 1032);

/// Finds the limiter in the data of a store, which nobody uses otherwise as long as it is used.
pub(crate) type FindLimiter = for<'a> unsafe fn(
    *mut StoreCore,
    PhantomData<&'a mut ()>,
) -> &'a mut (dyn ResourceLimiter + 'a);

/// A guarded memory and its reservation.
struct Guarded {
    start: usize,
    end: usize,
    memory: NonNull<MemoryEntity>,
}

struct TextRange {
    start: usize,
    end: usize,
    module: *const ModuleInner,
}

// SAFETY: the raw pointers lead to what the store itself owns; `T` decides about the rest.
unsafe impl<T: Send> Send for Store<T> {}
// SAFETY: a shared store only gives out shared references to its data and reads of its fields.
unsafe impl<T: Sync> Sync for Store<T> {}

impl<T: 'static> Store<T> {
    /// A store without instances.
    pub fn new(engine: &Engine, data: T) -> Self {
        let core = StoreCore {
            vm: VmStoreContext {
                stack_limit: usize::MAX,
                fuel: 0,
                interrupt: interrupt::GO_ON,
                exit_fp: 0,
                exit_sp: 0,
                entry_fp: 0,
                entry_sp: 0,
                entry_handler: 0,
                trapped: 0,
                builtins: &raw const BUILTINS.0,
            },
            this: std::ptr::null_mut(),
            stack_bytes: engine.config().stack_bytes(),
            id: StoreId::next(),
            limits: StoreLimits::default(),
            limiter: None,
            usage: Usage::default(),
            ending: None,
            frames: RawFrames::EMPTY,
            engine: *engine,
            given: Given::default(),
            modules: SmallVec::new(),
            guarded: SmallVec::new(),
            instances: SmallVec::new(),
            made: None,
            externrefs: None,
            outer: std::ptr::null(),
        };
        let inner = StoreInner {
            core,
            data,
            limiter: None,
            invariant: PhantomData,
        };
        let mut inner = NonNull::from(Box::leak(Box::new(inner)));
        // SAFETY: just allocated, and nobody else knows it.
        unsafe { inner.as_mut().core.this = inner.as_ptr().cast() };
        Self {
            inner,
            owns: PhantomData,
        }
    }

    /// The host's data.
    pub fn data(&self) -> &T {
        &self.inner().data
    }

    /// The host's data.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner_mut().data
    }

    /// The engine that the store was made with.
    pub fn engine(&self) -> &Engine {
        &self.inner().core.engine
    }

    /// Sets limits for what happens from now on. What is there stays, even if it is more. A
    /// [limiter](Store::limiter) is forgotten.
    pub fn set_limits(&mut self, limits: StoreLimits) {
        let inner = self.inner_mut();
        inner.core.limits = limits;
        inner.core.limiter = None;
        inner.limiter = None;
    }

    /// Sets who decides about what happens from now on, instead of the store's limits: a
    /// [`ResourceLimiter`] that is a part of the host's data.
    ///
    /// ```
    /// # use precast_loader::{Engine, Store, StoreLimits, StoreLimitsBuilder};
    /// struct Host {
    ///     limits: StoreLimits,
    /// }
    /// let limits = StoreLimitsBuilder::new().memory_size(1 << 20).build();
    /// let mut store = Store::new(&Engine::default(), Host { limits });
    /// store.limiter(|host| &mut host.limits);
    /// ```
    pub fn limiter(
        &mut self,
        limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) {
        unsafe fn find<'a, T: 'static>(
            core: *mut StoreCore,
            _: PhantomData<&'a mut ()>,
        ) -> &'a mut (dyn ResourceLimiter + 'a) {
            let inner = core.cast::<StoreInner<T>>();
            // SAFETY: the pointer is to the whole store, of this `T`; by `FindLimiter`'s contract
            // nobody else uses these two parts.
            let (data, limiter) = unsafe { (&mut (*inner).data, &mut (*inner).limiter) };
            match limiter {
                Some(limiter) => limiter(data),
                None => unreachable!("the two are set together"),
            }
        }
        let inner = self.inner_mut();
        inner.limiter = Some(Box::new(limiter));
        inner.core.limiter = Some(find::<T>);
    }

    /// Drops the store and gives the data back.
    pub fn into_data(mut self) -> T {
        // The core moves below.
        self.core_mut().forget_interrupts();
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: allocated by `Box` in `new`; `self` is not dropped a second time.
        let StoreInner { core, data, .. } = *unsafe { Box::from_raw(this.inner.as_ptr()) };
        drop(core);
        data
    }

    pub(crate) fn core(&self) -> &StoreCore {
        &self.inner().core
    }

    pub(crate) fn core_mut(&mut self) -> &mut StoreCore {
        &mut self.inner_mut().core
    }

    fn inner(&self) -> &StoreInner<T> {
        // SAFETY: owned by this store; no wasm code of it runs while there is a shared reference
        // to it, since entering takes an exclusive one.
        unsafe { self.inner.as_ref() }
    }

    fn inner_mut(&mut self) -> &mut StoreInner<T> {
        // SAFETY: as above, exclusively.
        unsafe { self.inner.as_mut() }
    }
}

impl<T: 'static> Drop for Store<T> {
    fn drop(&mut self) {
        // SAFETY: allocated by `Box` in `new`, dropped once.
        drop(unsafe { Box::from_raw(self.inner.as_ptr()) });
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("data", self.data())
            .finish_non_exhaustive()
    }
}

impl Drop for StoreCore {
    fn drop(&mut self) {
        self.forget_interrupts();
        for instance in self.instances.drain(..) {
            pool::park(instance);
        }
    }
}

impl StoreCore {
    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    pub(crate) fn made_mut(&mut self) -> &mut HostItems {
        self.made.get_or_insert_default()
    }

    /// The module whose text contains `pc`. Called from a signal handler too.
    pub(crate) fn module_at(&self, pc: usize) -> Option<&ModuleInner> {
        let i = self
            .modules
            .partition_point(|m| m.start <= pc)
            .checked_sub(1)?;
        // SAFETY: an instance of this store holds the module.
        (pc < self.modules[i].end).then(|| unsafe { &*self.modules[i].module })
    }

    fn guarded_at(&self, address: usize) -> Option<&Guarded> {
        self.guarded
            .iter()
            .find(|g| (g.start..g.end).contains(&address))
    }

    /// Whether an address lies in the reservation of a guarded memory of this store.
    pub(crate) fn is_guest_memory(&self, address: usize) -> bool {
        self.guarded_at(address).is_some()
    }

    /// Lets a write through that faulted because the memory's pages are watched: whether it did.
    /// Called from the signal handler.
    pub(crate) fn let_write(&self, address: usize) -> bool {
        // SAFETY: the store or one of its instances owns the memory; nobody is in the middle of
        // changing which pages are watched, since that code does not write to the memory.
        self.guarded_at(address)
            .is_some_and(|g| unsafe { (*g.memory.as_ptr()).fault(address) })
    }

    pub(crate) fn modules(&self) -> impl Iterator<Item = &ModuleInner> {
        // SAFETY: instances of this store hold the modules.
        self.modules.iter().map(|m| unsafe { &*m.module })
    }

    /// Adds a module that an instance of this store is about to hold. Whether it was new.
    pub(crate) fn add_module(&mut self, module: &Arc<ModuleInner>) -> bool {
        let (start, end) = module.text();
        let i = self.modules.partition_point(|m| m.start < start);
        let module = Arc::as_ptr(module);
        if self.modules.get(i).is_some_and(|m| m.module == module) || start == end {
            return false;
        }
        self.modules.insert(i, TextRange { start, end, module });
        true
    }

    /// Adds a memory of this store, if it is guarded.
    pub(crate) fn add_guarded(&mut self, memory: NonNull<MemoryEntity>) {
        // SAFETY: the store or one of its instances owns the memory.
        let entity = unsafe { memory.as_ref() };
        if entity.is_guarded() {
            let start = entity.reservation().base().as_ptr() as usize;
            self.guarded.push(Guarded {
                start,
                end: start + entity.reservation().len(),
                memory,
            });
        }
    }

    /// Notes why and where an activation ends; allocates nothing.
    ///
    /// # Safety
    /// As for [`RawFrames::walk`].
    pub(crate) unsafe fn record(&mut self, ending: Ending, pc: usize, fp: usize, exact: bool) {
        self.ending = Some(ending);
        self.vm.trapped = 1;
        // SAFETY: by this function's contract.
        unsafe { self.frames.walk(pc, fp, self.vm.entry_fp, exact) };
    }

    /// [`StoreCore::record`] for the signal handler.
    ///
    /// # Safety
    /// `pc` and `fp` are those of wasm code of this store that was interrupted.
    pub(crate) unsafe fn record_trap(&mut self, code: TrapCode, pc: usize, fp: usize) {
        // SAFETY: by this function's contract.
        unsafe { self.record(Ending::Trap(code), pc, fp, true) };
    }
}

/// Shared access to a store.
pub struct StoreContext<'a, T: 'static>(pub(crate) &'a StoreInner<T>);

/// Exclusive access to a store.
pub struct StoreContextMut<'a, T: 'static>(pub(crate) &'a mut StoreInner<T>);

impl<'a, T: 'static> StoreContext<'a, T> {
    /// The host's data.
    pub fn data(&self) -> &'a T {
        &self.0.data
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// The host's data.
    pub fn data(&self) -> &T {
        &self.0.data
    }

    /// The host's data.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.0.data
    }

    pub(crate) fn core(&mut self) -> &mut StoreCore {
        &mut self.0.core
    }

    /// The pointer for what machine code touches too.
    pub(crate) fn core_ptr(&self) -> *mut StoreCore {
        self.0.core.this
    }
}

/// What gives shared access to a store: stores, contexts, callers and references to them.
pub trait AsContext {
    /// The host's data.
    type Data: 'static;

    /// The access.
    fn as_context(&self) -> StoreContext<'_, Self::Data>;
}

/// What gives exclusive access to a store.
pub trait AsContextMut: AsContext {
    /// The access.
    fn as_context_mut(&mut self) -> StoreContextMut<'_, Self::Data>;
}

impl<T: 'static> AsContext for Store<T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.inner())
    }
}

impl<T: 'static> AsContextMut for Store<T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut(self.inner_mut())
    }
}

impl<T: 'static> AsContext for StoreContext<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.0)
    }
}

impl<T: 'static> AsContext for StoreContextMut<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.0)
    }
}

impl<T: 'static> AsContextMut for StoreContextMut<'_, T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut(self.0)
    }
}

impl<C: AsContext> AsContext for &C {
    type Data = C::Data;

    fn as_context(&self) -> StoreContext<'_, C::Data> {
        C::as_context(self)
    }
}

impl<C: AsContext> AsContext for &mut C {
    type Data = C::Data;

    fn as_context(&self) -> StoreContext<'_, C::Data> {
        C::as_context(self)
    }
}

impl<C: AsContextMut> AsContextMut for &mut C {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, C::Data> {
        C::as_context_mut(self)
    }
}

impl<'a, C: AsContext> From<&'a C> for StoreContext<'a, C::Data> {
    fn from(store: &'a C) -> Self {
        store.as_context()
    }
}

impl<'a, C: AsContext> From<&'a mut C> for StoreContext<'a, C::Data> {
    fn from(store: &'a mut C) -> Self {
        C::as_context(store)
    }
}

impl<'a, C: AsContextMut> From<&'a mut C> for StoreContextMut<'a, C::Data> {
    fn from(store: &'a mut C) -> Self {
        store.as_context_mut()
    }
}
