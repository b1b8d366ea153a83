//! A store and the instances in it: what is entered, interrupted and freed as one.
//!
//! One call at a time is in flight in a group; a second thread waits. A second call by the *same*
//! thread, from inside a host function, would wait for itself, so it is an error: host functions
//! have a `Caller` to go on with.
//!
//! The store goes when the last open instance is closed, or, if a call is in flight then, when that
//! call is over. Whoever closes lowers [`Group::open`] before it tries the lock; whoever has the lock
//! gives it back before it looks at `open`. So one of the two frees the store.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, ThreadId};

use crate::engine::Engine;
use crate::error::Error;
use crate::limits::StoreLimits;
use crate::store::{AsContextMut, Store, StoreContextMut};
use crate::vm::interrupt::{Interrupt, Reason};

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
    store: Mutex<Option<Store<State<T>>>>,
    call: Mutex<Call>,
    /// Instances that are open, or being made.
    open: AtomicUsize,
    members: Mutex<Vec<(crate::Instance, Weak<Node<T>>)>>,
    /// Closed instances whose memories wait to be released.
    retired: Mutex<Vec<Retired>>,
}

/// The call that is in flight.
struct Call {
    thread: Option<ThreadId>,
    /// Number of the instance that the host called.
    on: u64,
    /// What the call is to end with.
    stopped: Option<Closing>,
    /// `None` when the store is gone.
    interrupt: Option<Interrupt>,
}

impl<T: Send + 'static> Group<T> {
    /// A group with room for an instance that is being made.
    pub(super) fn new(
        engine: &Engine,
        (limits, fuel): (StoreLimits, u64),
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
            store.set_fuel(fuel);
            // SAFETY: the store exists, and `free` takes this away before it drops the store.
            let interrupt = unsafe { Interrupt::of(store.as_context_mut().core_ptr()) };
            Self {
                store: Mutex::new(Some(store)),
                call: Mutex::new(Call {
                    thread: None,
                    on: 0,
                    stopped: None,
                    interrupt: Some(interrupt),
                }),
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

    /// Uses the store for a call on the instance of number `on`.
    ///
    /// # Errors
    /// [`Error::InUse`]; what `f` gives; [`Error::Closed`] and its like if the call was ended by
    /// closing.
    pub(super) fn enter<R>(
        &self,
        on: u64,
        f: impl FnOnce(StoreContextMut<'_, State<T>>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let thread = thread::current().id();
        if lock(&self.call).thread == Some(thread) {
            return Err(Error::InUse);
        }
        // Dropped last, also when a panic of a host function passes by.
        let _tidy = Tidy(self);
        let mut store = lock(&self.store);
        let Some(store) = store.as_mut() else {
            return Err(Error::module_closed(0));
        };
        {
            let mut call = lock(&self.call);
            (call.thread, call.on) = (Some(thread), on);
        }
        let in_flight = InFlight(self);
        let result = f(store.as_context_mut());
        match in_flight.end() {
            Some(closing) => Err(closing.error()),
            None => result,
        }
    }

    /// Ends the call that is in flight, if it is one on the instance of this number, or if this
    /// happens inside of it.
    pub(super) fn stop(&self, instance: u64, closing: Closing) {
        let mut call = lock(&self.call);
        let inside = call.thread == Some(thread::current().id());
        let concerned = inside || (call.thread.is_some() && call.on == instance);
        if concerned && call.stopped.is_none() {
            call.stopped = Some(closing);
            if let Some(interrupt) = &call.interrupt {
                interrupt.raise(Reason::Closing);
            }
        }
    }

    /// One instance less is open.
    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.tidy();
    }

    /// Releases the memories of an instance as soon as nobody uses the store.
    pub(super) fn retire(&self, retired: Retired) {
        lock(&self.retired).push(retired);
        self.tidy();
    }

    /// Frees what can be freed, unless somebody uses the store, who does this later.
    fn tidy(&self) {
        loop {
            let closed = self.open.load(Ordering::SeqCst) == 0;
            if !closed && lock(&self.retired).is_empty() {
                return;
            }
            let Ok(mut store) = self.store.try_lock() else {
                return;
            };
            if closed {
                lock(&self.call).interrupt = None;
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

/// A call in flight.
struct InFlight<'a, T: Send + 'static>(&'a Group<T>);

impl<T: Send + 'static> InFlight<'_, T> {
    /// What the call was ended with.
    fn end(self) -> Option<Closing> {
        let this = std::mem::ManuallyDrop::new(self);
        this.finish()
    }

    fn finish(&self) -> Option<Closing> {
        let mut call = lock(&self.0.call);
        call.thread = None;
        let stopped = call.stopped.take();
        if let (Some(_), Some(interrupt)) = (stopped, &call.interrupt) {
            interrupt.clear(Reason::Closing);
        }
        stopped
    }
}

impl<T: Send + 'static> Drop for InFlight<'_, T> {
    fn drop(&mut self) {
        self.finish();
    }
}
