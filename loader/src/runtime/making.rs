//! Instances that are being made: their place in the runtime, their room in a store, and how making one
//! is stopped.

use std::sync::{Arc, Mutex};

use crate::error::Error;

use super::gate::Gate;
use super::group::Group;
use super::node::{Closed, Closing, Node};
use super::{Inner, Member, lock};

/// An instance that is being made, for those who stop that.
pub(super) struct Making {
    seq: u64,
    pub(super) closed: Closed,
    /// Of the store that it will live in, when that is known.
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

    /// Notes where the instance is made. Whoever enters the gate next asks `closed`, so nothing is missed.
    pub(super) fn is_in(&self, gate: &Arc<Gate>) {
        *lock(&self.gate) = Some(Arc::clone(gate));
    }

    /// Ends the making: the waiting for a store, and the code of its start section.
    pub(super) fn stop(&self, closing: Closing) {
        self.closed.set(closing);
        let gate = lock(&self.gate).clone();
        if let Some(gate) = gate {
            gate.stop(self.seq, closing);
        }
    }
}

/// A name and a place in the order, given back unless an instance fills it.
pub(super) struct Place<T: Send + 'static> {
    pub(super) runtime: Arc<Inner<T>>,
    pub(super) name: String,
    pub(super) seq: u64,
    pub(super) making: Arc<Making>,
}

impl<T: Send + 'static> Place<T> {
    pub(super) fn fill(self, node: &Arc<Node<T>>) -> Result<(), Error> {
        let mut registry = lock(&self.runtime.registry);
        if let Some(exit_code) = registry.closed {
            drop(registry);
            node.close(Closing::Exit(exit_code));
            return Err(Error::runtime_closed(exit_code));
        }
        let member = if self.name.is_empty() {
            Member::Anonymous(Arc::downgrade(node))
        } else {
            Member::Named(Arc::clone(node))
        };
        registry.members.insert(self.seq, member);
        drop(registry);
        Ok(())
    }
}

impl<T: Send + 'static> Drop for Place<T> {
    fn drop(&mut self) {
        let registry = lock(&self.runtime.registry);
        let reserved = matches!(registry.members.get(&self.seq), Some(Member::Making(_)));
        drop(registry);
        if reserved {
            drop(self.runtime.remove(&self.name, self.seq));
        }
    }
}

/// Room for one instance in a store, given back unless it is kept.
pub(super) struct Room<T: Send + 'static> {
    group: Arc<Group<T>>,
    kept: bool,
}

impl<T: Send + 'static> Room<T> {
    /// The room that a new group has.
    pub(super) fn new(group: Arc<Group<T>>) -> Self {
        Self { group, kept: false }
    }

    /// Room in a group that is there; nothing if it is closed.
    pub(super) fn join(group: &Arc<Group<T>>) -> Option<Self> {
        group.join().then(|| Self::new(Arc::clone(group)))
    }

    pub(super) fn group(&self) -> &Arc<Group<T>> {
        &self.group
    }

    /// The room is an instance's from now on, which leaves when it is closed.
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
