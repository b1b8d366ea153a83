//! A store and the instances in it, which are entered, interrupted and freed together.
//!
//! One call at a time runs in a group: a [`Gate`] gives the turns.
//!
//! The store is dropped when the last open instance is closed, or at the end of the call that runs
//! then. A thread that closes an instance lowers [`Group::open`] before it tries the lock, and a
//! thread that holds the lock frees it before it reads `open`. So one of the two drops the store.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};

use crate::engine::Engine;
use crate::error::Error;
use crate::lock::lock;
use crate::store::{AsContextMut, Store, StoreContextMut};
use crate::vm::interrupt::Interrupt;

use super::closing::Closing;
use super::context::Context;
use super::gate::Gate;
use super::member::{Member, Retired};
use super::{Beginning, Inner, Runtime};

/// The data of a store of a runtime: the host's own data, to which this dereferences.
///
/// ```
/// use precast_loader::runtime::{HostModule, HostModuleBuilder, State};
/// use precast_loader::Caller;
///
/// let env: HostModuleBuilder<Vec<i32>> = HostModule::builder("env")
///     .func("note", |mut caller: Caller<'_, State<Vec<i32>>>, x: i32| caller.data_mut().push(x));
/// ```
pub struct State<T: Send + 'static = ()> {
    data: T,
    runtime: Weak<Inner<T>>,
    group: Weak<Group<T>>,
}

impl<T: Send + 'static> State<T> {
    /// The data of the host.
    pub fn data(&self) -> &T {
        &self.data
    }

    /// The data of the host.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.data
    }

    /// The runtime, if the host still holds it.
    pub fn runtime(&self) -> Option<Runtime<T>> {
        self.runtime.upgrade().map(Runtime)
    }

    pub(super) fn group(&self) -> Option<Arc<Group<T>>> {
        self.group.upgrade()
    }
}

impl<T: Send + 'static> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: Send + 'static> DerefMut for State<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

/// A store, its instances, and the call that runs in it.
pub(super) struct Group<T: Send + 'static> {
    pub(super) gate: Arc<Gate>,
    /// The call that has the turn uses the store. Between calls, what can be freed is freed.
    store: Mutex<Option<Store<State<T>>>>,
    /// Number of instances that are open or being made.
    open: AtomicUsize,
    members: Mutex<Vec<(crate::Instance, Weak<Member<T>>)>>,
    /// Closed instances whose memories wait to be released.
    retired: Mutex<Vec<Retired>>,
}

/// How a call ended.
pub(super) struct Ended<R> {
    /// The result of the call.
    pub(super) result: Result<R, Error>,
    /// Why the call was ended, from outside or by closing an instance itself.
    pub(super) stopped: Option<Closing>,
}

impl<R> Ended<R> {
    pub(super) fn into_result(self) -> Result<R, Error> {
        match self.stopped {
            Some(closing) => Err(closing.error()),
            None => self.result,
        }
    }
}

impl<T: Send + 'static> Group<T> {
    /// A group that counts one instance, which is being made, as open.
    pub(super) fn new(
        engine: &Engine,
        beginning: Beginning,
        data: T,
        runtime: Weak<Inner<T>>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|group| {
            let group = group.clone();
            let mut store = Store::new(
                engine,
                State {
                    data,
                    runtime,
                    group,
                },
            );
            store.set_limits(beginning.limits);
            store.core_mut().begin_with_fuel(beginning.fuel);
            if let Some(make) = beginning.make_listener {
                store.core_mut().made_mut().listeners = Some(make());
            }
            // SAFETY: the store exists.
            let interrupt = unsafe { Interrupt::of(store.as_context_mut().core_ptr()) };
            Self {
                // SAFETY: `tidy` takes the interrupt away before it drops the store.
                gate: Arc::new(unsafe { Gate::new(interrupt) }),
                store: Mutex::new(Some(store)),
                open: AtomicUsize::new(1),
                members: Mutex::default(),
                retired: Mutex::default(),
            }
        })
    }

    /// Counts another instance as open. Returns `false` if the group is closed.
    pub(super) fn join(&self) -> bool {
        let more = |open| (open > 0).then_some(open + 1);
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        self.open.fetch_update(set, fetch, more).is_ok()
    }

    /// Adds an instance that was made.
    pub(super) fn add(&self, instance: crate::Instance, member: Weak<Member<T>>) {
        lock(&self.members).push((instance, member));
    }

    pub(super) fn member(&self, instance: crate::Instance) -> Option<Arc<Member<T>>> {
        let members = lock(&self.members);
        let found = members.iter().find(|(member, _)| *member == instance)?;
        found.1.upgrade()
    }

    /// Uses the store for a call on the instance with the number `on`, when the call has its turn.
    /// The call waits for its turn for as long as `is_open` returns `Ok`. `is_open` takes no lock.
    ///
    /// # Errors
    /// The errors of [`Gate::enter`] and [`Error::Closed`], if no call is made.
    pub(super) fn enter<R>(
        &self,
        on: u64,
        context: Option<&Context>,
        is_open: impl Fn() -> Result<(), Error>,
        f: impl FnOnce(StoreContextMut<'_, State<T>>) -> Result<R, Error>,
    ) -> Result<Ended<R>, Error> {
        // This is dropped after the turn, also when a host function panics. It is dropped before
        // the result is given to the caller, since it may drop data of the host, which may panic.
        let tidy = Tidy(self);
        let turn = self.gate.enter(on, context, &is_open);
        let ended = turn.and_then(|turn| {
            let mut store = lock(&self.store);
            let Some(store) = store.as_mut() else {
                is_open()?;
                return Err(Error::module_closed(0));
            };
            let result = f(store.as_context_mut());
            let stopped = turn.end();
            Ok(Ended { result, stopped })
        });
        drop(tidy);
        ended
    }

    /// Counts one open instance less. The caller calls [`Group::tidy`] afterwards.
    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    /// Notes that the memories of an instance can be released, which [`Group::tidy`] does.
    pub(super) fn retire(&self, retired: Retired) {
        lock(&self.retired).push(retired);
    }

    /// Frees what can be freed, unless another thread uses the store: that thread calls this later.
    pub(super) fn tidy(&self) {
        loop {
            let closed = self.open.load(Ordering::SeqCst) == 0;
            if !closed && lock(&self.retired).is_empty() {
                return;
            }
            let mut store = match self.store.try_lock() {
                Ok(store) => store,
                // A host function panicked, and its call is over like any other.
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            if closed {
                self.gate.forget_interrupt();
                let freed = store.take();
                drop(store);
                lock(&self.members).clear();
                lock(&self.retired).clear();
                // No lock is held here, since dropping the host's data runs code of the host.
                drop(freed);
                return;
            }
            let retired = std::mem::take(&mut *lock(&self.retired));
            if let Some(store) = store.as_mut() {
                for retired in &retired {
                    retired.release(store.as_context_mut().core());
                }
            }
        }
    }
}

struct Tidy<'a, T: Send + 'static>(&'a Group<T>);

impl<T: Send + 'static> Drop for Tidy<'_, T> {
    fn drop(&mut self) {
        self.0.tidy();
    }
}
