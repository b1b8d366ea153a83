//! A store and the instances in it: what is entered, interrupted and freed as one.
//!
//! One call at a time is in flight in a group: a [`Gate`] gives the turns.
//!
//! The store goes when the last open instance is closed, or, if a call is in flight then, when that
//! call is over. Whoever closes lowers [`Group::open`] before it tries the lock; whoever has the lock
//! gives it back before it looks at `open`. So one of the two frees the store.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};

use crate::engine::Engine;
use crate::error::Error;
use crate::limits::StoreLimits;
use crate::store::{AsContextMut, Store, StoreContextMut};
use crate::vm::interrupt::Interrupt;

use super::context::Context;
use super::gate::Gate;
use super::node::{Closing, Node, Retired};
use super::{Inner, Runtime, lock};

/// What the store of a runtime's instances holds: the host's data, to which it dereferences.
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
    /// The host's data.
    pub fn data(&self) -> &T {
        &self.data
    }

    /// The host's data.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.data
    }

    /// The runtime, as long as the host holds it.
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

/// A store and what happens in it.
pub(super) struct Group<T: Send + 'static> {
    pub(super) gate: Arc<Gate>,
    /// Used by the call whose turn it is, and to free what can be freed between calls.
    store: Mutex<Option<Store<State<T>>>>,
    /// Instances that are open, or being made.
    open: AtomicUsize,
    members: Mutex<Vec<(crate::Instance, Weak<Node<T>>)>>,
    /// Closed instances whose memories wait to be released.
    retired: Mutex<Vec<Retired>>,
}

/// How a call ended.
pub(super) struct Ended<R> {
    /// What it gave.
    pub(super) result: Result<R, Error>,
    /// What it was ended with from outside, or from inside by closing an instance.
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
    /// A group with room for an instance that is being made.
    pub(super) fn new(
        engine: &Engine,
        (limits, fuel): (StoreLimits, Option<u64>),
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
            store.set_limits(limits);
            store.core_mut().begin_with_fuel(fuel);
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

    /// Makes room for another instance. `false`: the group is closed.
    pub(super) fn join(&self) -> bool {
        let more = |open| (open > 0).then_some(open + 1);
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        self.open.fetch_update(set, fetch, more).is_ok()
    }

    /// Notes an instance that was made.
    pub(super) fn add(&self, instance: crate::Instance, node: Weak<Node<T>>) {
        lock(&self.members).push((instance, node));
    }

    pub(super) fn member(&self, instance: crate::Instance) -> Option<Arc<Node<T>>> {
        let members = lock(&self.members);
        let found = members.iter().find(|(member, _)| *member == instance)?;
        found.1.upgrade()
    }

    /// Uses the store for a call on the instance of number `on`, when it is the call's turn. To wait for
    /// that makes sense as long as `is_open` says so, which takes no lock.
    ///
    /// # Errors
    /// If it comes to no call: those of [`Gate::enter`], [`Error::Closed`].
    pub(super) fn enter<R>(
        &self,
        on: u64,
        context: Option<&Context>,
        is_open: impl Fn() -> Result<(), Error>,
        f: impl FnOnce(StoreContextMut<'_, State<T>>) -> Result<R, Error>,
    ) -> Result<Ended<R>, Error> {
        // Dropped last, also when a panic of a host function passes by.
        let _tidy = Tidy(self);
        let turn = self.gate.enter(on, context, &is_open)?;
        let mut store = lock(&self.store);
        let Some(store) = store.as_mut() else {
            is_open()?;
            return Err(Error::module_closed(0));
        };
        let result = f(store.as_context_mut());
        let stopped = turn.end();
        Ok(Ended { result, stopped })
    }

    /// One instance less is open; [`Group::tidy`] has something to do then.
    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    /// The memories of an instance are to be released, which [`Group::tidy`] does.
    pub(super) fn retire(&self, retired: Retired) {
        lock(&self.retired).push(retired);
    }

    /// Frees what can be freed, unless somebody uses the store, who does this later.
    pub(super) fn tidy(&self) {
        loop {
            let closed = self.open.load(Ordering::SeqCst) == 0;
            if !closed && lock(&self.retired).is_empty() {
                return;
            }
            let mut store = match self.store.try_lock() {
                Ok(store) => store,
                // A host function panicked: the call is over as any other.
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            if closed {
                self.gate.forget_interrupt();
                let freed = store.take();
                drop(store);
                lock(&self.members).clear();
                lock(&self.retired).clear();
                // Without any lock: dropping the host's data may do anything.
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
