//! Instances that are being made: their names and numbers in the runtime, their room in a store,
//! and how to stop making one.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use crate::error::Error;
use crate::lock::lock;
use crate::store::StoreContextMut;

use super::closing::{Closed, Closing};
use super::gate::Gate;
use super::group::{Group, State};
use super::member::{Member, Retired};
use super::{Inner, Slot};

/// An instance that is being made, for the threads that may stop that.
pub(super) struct Making {
    seq: u64,
    pub(super) closed: Closed,
    /// The gate of the store that the instance will live in, once the store is known.
    gate: Mutex<Option<Arc<Gate>>>,
}

impl Making {
    pub(super) fn new(seq: u64) -> Self {
        Self {
            seq,
            closed: Closed::default(),
            gate: Mutex::default(),
        }
    }

    /// Records the gate of the store in which the instance is made, or from which it imports. The
    /// thread that makes the instance reads `closed` after this and before it waits for the store,
    /// so it does not miss a `stop`.
    pub(super) fn is_in(&self, gate: &Arc<Gate>) {
        *lock(&self.gate) = Some(Arc::clone(gate));
    }

    /// Stops making the instance: ends the wait for a store, and the code of its start section.
    pub(super) fn stop(&self, closing: Closing) {
        self.closed.set(closing);
        let gate = lock(&self.gate).clone();
        if let Some(gate) = gate {
            gate.stop_making(self.seq, closing);
        }
    }
}

/// A name and a number for an instance that is being made. They are freed if no instance is made.
pub(super) struct Reservation<T: Send + 'static> {
    pub(super) runtime: Arc<Inner<T>>,
    pub(super) name: String,
    pub(super) seq: u64,
    pub(super) making: Arc<Making>,
}

impl<T: Send + 'static> Reservation<T> {
    pub(super) fn fill(self, member: &Arc<Member<T>>) -> Result<(), Error> {
        let mut registry = lock(&self.runtime.registry);
        if let Some(exit_code) = registry.closed {
            drop(registry);
            member.close(Closing::Exit(exit_code));
            return Err(Error::runtime_closed(exit_code));
        }
        let slot = if self.name.is_empty() {
            Slot::Anonymous(Arc::downgrade(member))
        } else {
            Slot::Named(Arc::clone(member))
        };
        registry.slots.insert(self.seq, slot);
        drop(registry);
        Ok(())
    }
}

impl<T: Send + 'static> Drop for Reservation<T> {
    fn drop(&mut self) {
        let registry = lock(&self.runtime.registry);
        let reserved = matches!(registry.slots.get(&self.seq), Some(Slot::Making(_)));
        drop(registry);
        if reserved {
            drop(self.runtime.remove(&self.name, self.seq));
        }
    }
}

/// Room for one instance in a store, which is freed unless an instance keeps it.
pub(super) struct Room<T: Send + 'static> {
    group: Arc<Group<T>>,
    kept: bool,
}

impl<T: Send + 'static> Room<T> {
    /// The room in a new group.
    pub(super) fn new(group: Arc<Group<T>>) -> Self {
        Self { group, kept: false }
    }

    /// Room in a group that exists; `None` if the group is closed.
    pub(super) fn join(group: &Arc<Group<T>>) -> Option<Self> {
        group.join().then(|| Self::new(Arc::clone(group)))
    }

    pub(super) fn group(&self) -> &Arc<Group<T>> {
        &self.group
    }

    /// Closes what was made, but not in time or not as a whole, so that nobody gets it.
    pub(super) fn retire(&self, made: Retired) {
        self.group.retire(made);
    }

    /// Gives the room to an instance, which frees it when it is closed.
    pub(super) fn keep(mut self) -> Arc<Group<T>> {
        self.kept = true;
        Arc::clone(&self.group)
    }
}

impl<T: Send + 'static> Drop for Room<T> {
    fn drop(&mut self) {
        if !self.kept {
            self.group.leave();
            self.group.tidy();
        }
    }
}

/// A store in which an instance is being made. If that fails after the instance has got a place in
/// the store, or if the host panics, nobody has the instance, and it is closed like any other.
pub(super) struct Unmade<'a, T: Send + 'static> {
    pub(super) store: StoreContextMut<'a, State<T>>,
    group: &'a Group<T>,
    /// Number of instances in the store before this one.
    before: usize,
    made: bool,
}

impl<'a, T: Send + 'static> Unmade<'a, T> {
    pub(super) fn new(group: &'a Group<T>, mut store: StoreContextMut<'a, State<T>>) -> Self {
        let before = store.core().instances.len();
        Self {
            store,
            group,
            before,
            made: false,
        }
    }

    pub(super) fn keep(mut self) {
        self.made = true;
    }
}

impl<T: Send + 'static> Drop for Unmade<'_, T> {
    fn drop(&mut self) {
        if self.made {
            return;
        }
        // The host may have made others, in functions that the start section called.
        let core = self.store.core();
        let data = core.instances.get_mut(self.before);
        if let Some(data) = data.map(|data| NonNull::from(&mut **data)) {
            let instance = crate::Instance::from_data(core, data);
            self.group.retire(Retired::Guest(instance, 0));
        }
    }
}
