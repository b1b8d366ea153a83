//! Stores: what instances live in.
//!
//! A [`Store`] owns instances and everything that the host made for them, until it is dropped.
//! Handles ([`Func`](crate::Func), [`Memory`](crate::Memory) and others) are the number of a store
//! and a pointer to an item of it, see `stored`.

use std::marker::PhantomData;
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;

use crate::deadline::UpdateDeadline;
use crate::engine::Engine;
use crate::error::Error;
use crate::limits::{ResourceLimiter, StoreLimits};
use crate::shared_limits::SharedLimits;
use crate::vm::builtins::BUILTINS;
use crate::vm::store::StoreCore;

/// A store: instances, and data of the host's own type `T` that host functions can reach.
///
/// ```
/// use precast_loader::{Caller, Engine, Error, Func, Store};
///
/// let mut store = Store::new(&Engine::default(), 0_u32);
/// let count = |mut caller: Caller<'_, u32>| *caller.data_mut() += 1;
/// let count = Func::wrap(&mut store, count).typed::<(), ()>(&store)?;
/// count.call(&mut store, ())?;
/// assert_eq!(store.into_data(), 1);
/// # Ok::<(), Error>(())
/// ```
pub struct Store<T: 'static> {
    inner: NonNull<StoreInner<T>>,
    owns: PhantomData<StoreInner<T>>,
}

/// A type that holds this is invariant in `T`.
///
/// Every public type that holds host functions of a `T`, or leads to a store that does, holds this,
/// because the functions get a [`Caller`](crate::Caller) of the very `T` that they were made for.
/// If such a type were covariant, safe code could turn a store of `for<'a> fn(&'a str)` into a
/// store of `fn(&'static str)`, put a function there that keeps its argument, and let an old host
/// function call it with a short-lived one. `tests/compile-fail/cases/variance.rs` tries this with
/// each of the types.
pub(crate) type Invariant<T> = PhantomData<fn(T) -> T>;

#[repr(C)]
pub(crate) struct StoreInner<T: 'static> {
    /// The first field, so that a pointer to the context that machine code has is a pointer to the
    /// whole store.
    pub(crate) core: StoreCore,
    pub(crate) data: T,
    pub(crate) engine: Engine,
    limiter: Option<Box<LimiterOf<T>>>,
    on_deadline: OnDeadline<T>,
    invariant: Invariant<T>,
}

/// Finds a limiter in the data of the host.
type LimiterOf<T> = dyn (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync;

/// The host's callback for deadlines that have passed. Boxed twice, because few stores have one,
/// and a pointer to a box is half as large as a box of a closure.
type OnDeadline<T> = Option<Box<Box<DeadlineOf<T>>>>;

type DeadlineOf<T> =
    dyn (FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline, Error>) + Send + Sync;

/// A store without data of the host must not be larger than what the allocator takes from its
/// cache. A store is made for each short-lived instance, and making a larger one takes 1.5 times as
/// long.
const _: () = assert!(size_of::<StoreInner<()>>() <= 1032);

// SAFETY: the raw pointers lead to data that the store owns, which is `Send` if `T` is.
unsafe impl<T: Send> Send for Store<T> {}
// SAFETY: a shared store gives out only shared references to its data, and reads its fields.
unsafe impl<T: Sync> Sync for Store<T> {}

impl<T: 'static> Store<T> {
    /// A store without instances.
    pub fn new(engine: &Engine, data: T) -> Self {
        // Allocated first, so that the store is made in its place and not copied there.
        let inner = Box::leak(Box::new_uninit());
        let core = StoreCore::new(engine.config().stack_bytes(), engine.epochs(), &BUILTINS.0);
        let inner = inner.write(StoreInner {
            core,
            data,
            engine: *engine,
            limiter: None,
            on_deadline: None,
            invariant: PhantomData,
        });
        let inner = NonNull::from(inner);
        // SAFETY: just allocated, and nobody else knows it.
        unsafe { (*inner.as_ptr()).core.this = inner.as_ptr().cast() };
        Self {
            inner,
            owns: PhantomData,
        }
    }

    /// The data of the host.
    pub fn data(&self) -> &T {
        &self.inner().data
    }

    /// The data of the host.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner_mut().data
    }

    /// The engine that the store was made with.
    pub fn engine(&self) -> &Engine {
        &self.inner().engine
    }

    /// Sets limits for later items and growth. Items that exist stay, even if they exceed the
    /// limits. The limits replace a [limiter](Store::limiter).
    pub fn set_limits(&mut self, limits: StoreLimits) {
        let inner = self.inner_mut();
        inner.core.limits = limits;
        inner.core.limiter = None;
        inner.limiter = None;
    }

    /// Shares limits with other stores from now on, instead of those that the store shared before.
    /// They hold beside its own limits and its limiter. Items that exist stay, even if they exceed
    /// the limits, and count.
    pub fn share_limits(&mut self, limits: &SharedLimits) {
        self.core_mut().share_limits(limits);
    }

    /// Sets a [`ResourceLimiter`], which is a part of the data of the host. It decides on later
    /// items and growth instead of the store's limits.
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
            // SAFETY: the pointer is to the whole store, of this `T`; by the contract of
            // `FindLimiter` nobody else uses these two parts.
            let (data, limiter) = unsafe { (&mut (*inner).data, &mut (*inner).limiter) };
            match limiter {
                Some(limiter) => limiter(data),
                None => unreachable!("`core.limiter` is set only together with `limiter`"),
            }
        }
        let inner = self.inner_mut();
        inner.limiter = Some(Box::new(limiter));
        inner.core.limiter = Some(find::<T>);
    }

    /// The same as [`StoreContextMut::gc`].
    pub fn gc(&mut self) {
        self.core_mut().collect_externrefs_now();
    }

    /// Sets a callback that decides what happens when the [deadline](Store::set_epoch_deadline) of
    /// the store has passed: the code ends, goes on with a new deadline, or is suspended first. If
    /// the deadline passes while a host function runs or waits, `decide` is called when wasm code
    /// runs again. While code waits at an address of a shared memory, `decide` is called at once.
    /// An error that `decide` returns ends the call.
    ///
    /// A store without a deadline gets one that has passed, so that `decide` is called first when
    /// code runs. [`epoch_deadline_trap`](Self::epoch_deadline_trap) keeps it. A store that has
    /// instances of code without epochs gets none: a deadline would be an error there.
    ///
    /// `decide` is not called again while it runs: code that it calls ends at the deadline. It is
    /// not called for other reasons to end, such as an [`InterruptHandle`](crate::InterruptHandle).
    pub fn epoch_deadline_callback(
        &mut self,
        decide: impl (FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline, Error>)
        + Send
        + Sync
        + 'static,
    ) {
        self.inner_mut().ask_on_deadline(decide);
    }

    /// When the deadline has passed, code lets other tasks of the executor have a turn, and gets a
    /// new deadline, `delta` epochs from then on. So an endless guest blocks no thread. The code
    /// must run in a call that can be suspended, like [`TypedFunc::call_async`], without a
    /// synchronous host function in between; otherwise it ends with [`Error::NotAsync`].
    ///
    /// [`TypedFunc::call_async`]: crate::TypedFunc::call_async
    #[cfg(feature = "async")]
    pub fn epoch_deadline_async_yield_and_update(&mut self, delta: u64) {
        self.inner_mut().yield_on_deadline(delta);
    }

    /// When the deadline has passed, code ends with
    /// [`Trap::Interrupt`](crate::Trap::Interrupt). This is what a new store does.
    pub fn epoch_deadline_trap(&mut self) {
        self.inner_mut().trap_on_deadline();
    }

    /// Drops the store and returns the data of the host.
    pub fn into_data(mut self) -> T {
        // The core moves below, so pointers to its interrupt word become invalid.
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

impl<T: 'static> StoreInner<T> {
    fn ask_on_deadline(
        &mut self,
        decide: impl (FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline, Error>)
        + Send
        + Sync
        + 'static,
    ) {
        unsafe fn ask<T: 'static>(core: *mut StoreCore) -> Result<UpdateDeadline, Error> {
            // SAFETY: the pointer is to the whole store, of this `T`; by the contract of `AskHost`
            // nobody else uses the store.
            let mut store = unsafe {
                StoreContextMut::new(NonNull::new_unchecked(core.cast::<StoreInner<T>>()))
            };
            let Some(mut decide) = store.inner_mut().on_deadline.take() else {
                return Ok(UpdateDeadline::Interrupt);
            };
            store.core().set_asks(false);
            let asked = AssertUnwindSafe(|| decide(store.as_context_mut()));
            let decision = catch_unwind(asked);
            let goes_on = store.core().asks_host();
            store.core().set_asks(goes_on);
            let on_deadline = &mut store.inner_mut().on_deadline;
            // If `decide` has set another one, or none, that stays.
            let ended = match on_deadline {
                None if goes_on => {
                    *on_deadline = Some(decide);
                    Ok(())
                }
                _ => catch_unwind(AssertUnwindSafe(|| drop(decide))),
            };
            // If one of them has panicked, the other is forgotten, because its drop could panic.
            match (decision, ended) {
                (Ok(decision), Ok(())) => decision,
                (Err(panic), other) => {
                    forget(other);
                    resume_unwind(panic)
                }
                (other, Err(panic)) => {
                    forget(other);
                    resume_unwind(panic)
                }
            }
        }
        self.on_deadline = Some(Box::new(Box::new(decide)));
        self.core.set_ask_host(Some(ask::<T>));
        // Without a deadline, `decide` would never be called.
        if !self.core.has_deadline() {
            // Code that knows no deadlines cannot have one, which is no reason to refuse `decide`.
            self.core.ask_for_deadline(0).ok();
        }
    }

    fn trap_on_deadline(&mut self) {
        self.core.set_ask_host(None);
        self.on_deadline = None;
    }

    #[cfg(feature = "async")]
    fn yield_on_deadline(&mut self, delta: u64) {
        self.ask_on_deadline(move |_| Ok(UpdateDeadline::Yield(delta)));
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

/// Shared access to a store.
///
/// ```
/// use precast_loader::{AsContext, Engine, Store, StoreContext};
///
/// fn name<'a>(store: StoreContext<'a, String>) -> &'a str {
///     store.data()
/// }
///
/// let store = Store::new(&Engine::default(), String::from("Ada"));
/// assert_eq!(name(store.as_context()), "Ada");
/// ```
pub struct StoreContext<'a, T: 'static>(pub(crate) &'a StoreInner<T>);

/// Exclusive access to a store.
///
/// ```
/// use precast_loader::{AsContextMut, Engine, Store, StoreContextMut};
///
/// fn add(mut store: StoreContextMut<'_, u32>, more: u32) {
///     *store.data_mut() += more;
/// }
///
/// let mut store = Store::new(&Engine::default(), 1);
/// add(store.as_context_mut(), 2);
/// assert_eq!(*store.data(), 3);
/// ```
pub struct StoreContextMut<'a, T: 'static> {
    /// A pointer and not a reference: a function that gets a reference may take for granted that
    /// nobody else changes the store before the function returns, even after its last use of the
    /// reference. But a call of wasm code changes the store through the pointers that machine code
    /// and host functions have, see `tests/loader/aliasing.rs`.
    inner: NonNull<StoreInner<T>>,
    exclusive: PhantomData<&'a mut StoreInner<T>>,
}

// SAFETY: as for the stores that they are references to.
unsafe impl<T: Sync> Send for StoreContext<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for StoreContext<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for StoreContextMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for StoreContextMut<'_, T> {}

impl<'a, T: 'static> StoreContext<'a, T> {
    /// The data of the host.
    pub fn data(&self) -> &'a T {
        &self.0.data
    }

    /// The engine that the store was made with.
    pub fn engine(&self) -> &'a Engine {
        &self.0.engine
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// # Safety
    /// The pointer is to a live store that nobody else uses as long as the result lives, except
    /// through the result.
    #[inline]
    pub(crate) unsafe fn new(inner: NonNull<StoreInner<T>>) -> Self {
        Self {
            inner,
            exclusive: PhantomData,
        }
    }

    /// The data of the host.
    #[inline]
    pub fn data(&self) -> &T {
        &self.inner().data
    }

    /// The host's data.
    #[inline]
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner_mut().data
    }

    /// The engine that the store was made with.
    pub fn engine(&self) -> &Engine {
        &self.inner().engine
    }

    /// Drops the external references and exceptions that nothing holds any more. The store also
    /// does this itself, from time to time.
    pub fn gc(&mut self) {
        self.core().collect_externrefs_now();
    }

    /// The same as [`Store::epoch_deadline_trap`].
    pub fn epoch_deadline_trap(&mut self) {
        self.inner_mut().trap_on_deadline();
    }

    /// The same as [`Store::epoch_deadline_async_yield_and_update`].
    #[cfg(feature = "async")]
    pub fn epoch_deadline_async_yield_and_update(&mut self, delta: u64) {
        self.inner_mut().yield_on_deadline(delta);
    }

    /// The core, for what enters no code and gives host code no access to the store.
    #[inline]
    pub(crate) fn core(&mut self) -> &mut StoreCore {
        &mut self.inner_mut().core
    }

    /// The core and the data of the host.
    pub(crate) fn into_parts<'a>(self) -> (&'a mut StoreCore, &'a mut T)
    where
        Self: 'a,
    {
        // SAFETY: the store is borrowed exclusively for `'a`, and this context is gone.
        let inner = unsafe { &mut *self.inner.as_ptr() };
        (&mut inner.core, &mut inner.data)
    }

    /// The pointer for all fields that machine code uses too.
    #[inline]
    pub(crate) fn core_ptr(&self) -> *mut StoreCore {
        self.inner.as_ptr().cast()
    }

    #[inline]
    pub(crate) fn inner(&self) -> &StoreInner<T> {
        // SAFETY: the store is borrowed exclusively, and whatever changes it takes this context by
        // an exclusive reference or by value.
        unsafe { self.inner.as_ref() }
    }

    #[inline]
    fn inner_mut(&mut self) -> &mut StoreInner<T> {
        // SAFETY: as above, exclusively.
        unsafe { self.inner.as_mut() }
    }
}

/// A type that gives shared access to a store: stores, contexts, callers and references to them.
///
/// ```
/// use precast_loader::{AsContext, Caller, Memory, Store};
///
/// fn is_empty(memory: Memory, store: impl AsContext) -> bool {
///     memory.size(store) == 0
/// }
///
/// fn both(memory: Memory, store: &Store<()>, caller: &Caller<'_, u32>) -> bool {
///     is_empty(memory, store) || is_empty(memory, caller)
/// }
/// ```
pub trait AsContext {
    /// The host's data.
    type Data: 'static;

    /// The shared access.
    fn as_context(&self) -> StoreContext<'_, Self::Data>;
}

/// A type that gives exclusive access to a store.
///
/// ```
/// use precast_loader::{AsContextMut, Error, TypedFunc};
///
/// fn twice(mut store: impl AsContextMut, next: TypedFunc<(), i32>) -> Result<i32, Error> {
///     Ok(next.call(&mut store, ())? + next.call(&mut store, ())?)
/// }
/// ```
pub trait AsContextMut: AsContext {
    /// The exclusive access.
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
        // SAFETY: this store owns it, and is borrowed exclusively.
        unsafe { StoreContextMut::new(self.inner) }
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

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.inner())
    }
}

impl<T: 'static> AsContextMut for StoreContextMut<'_, T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        // SAFETY: this context is exclusive, and is borrowed exclusively.
        unsafe { StoreContextMut::new(self.inner) }
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
