//! Instances kept for reuse.
//!
//! When a store goes, each of its instances that came from an [`InstancePre`](crate::InstancePre) is
//! put back to its initial state and parked with the thread that dropped the store. The next
//! instance of the same `InstancePre` on that thread takes it over: no system call, no allocation,
//! no lock, and nothing that another thread writes to is touched.
//!
//! An instance is parked only after its reset, so what one tenant wrote is gone before anything
//! else happens on the thread; if any step of the reset fails, the instance is dropped instead. A
//! slot belongs to one `InstancePre` for good, so bytes never move between modules at all.
//!
//! When the last handle of an `InstancePre` is gone, its parked instances are too: at once on the
//! thread that dropped the handle, on others the next time that they miss or park.

#![expect(
    clippy::vec_box,
    reason = "contexts point to their instance, which must not move"
)]

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::instance::InstanceData;

thread_local! {
    /// Least recently parked first.
    static PARKED: RefCell<Vec<Box<InstanceData>>> = const { RefCell::new(Vec::new()) };
}

/// Whom parked instances wait for: an [`InstancePre`](crate::InstancePre), until it closes this.
#[derive(Debug)]
pub(crate) struct Owner {
    /// How many instances a thread may keep.
    keep: usize,
    closed: AtomicBool,
}

impl Owner {
    pub(crate) fn new(keep: usize) -> Self {
        Self {
            keep,
            closed: AtomicBool::new(false),
        }
    }

    /// Nobody will ask for its instances any more. Those of this thread are dropped at once.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let closed = PARKED.try_with(|parked| take_closed(&mut parked.borrow_mut()));
        drop(closed);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// Takes a parked instance over.
pub(crate) fn take(owner: &Arc<Owner>) -> Option<Box<InstanceData>> {
    let found = PARKED.try_with(|parked| {
        let mut parked = parked.borrow_mut();
        let found = parked.iter().rposition(|instance| is_of(instance, owner));
        match found {
            Some(i) => Some(parked.remove(i)),
            None => {
                let closed = take_closed(&mut parked);
                drop(parked);
                drop(closed);
                None
            }
        }
    });
    // The thread is ending, and its parked instances are gone.
    found.unwrap_or_default()
}

/// Resets an instance whose store is going, and keeps it if that works and there is room.
pub(crate) fn park(mut instance: Box<InstanceData>) {
    let keep = match &instance.owner {
        Some(owner) if !owner.is_closed() => owner.keep,
        _ => return,
    };
    if keep == 0 {
        return;
    }
    if !instance.is_resettable() || instance.reset().is_err() {
        return;
    }
    let surplus = PARKED.try_with(|parked| {
        let mut parked = parked.borrow_mut();
        let oldest = (parked.len() >= keep).then(|| parked.remove(0));
        parked.push(instance);
        oldest
    });
    // Dropped here, outside of the borrow: what goes with an instance may drop other stores.
    drop(surplus);
}

/// Whether it was made for this owner, and so can stand in for a new one.
fn is_of(instance: &InstanceData, owner: &Arc<Owner>) -> bool {
    let own = instance.owner.as_ref();
    own.is_some_and(|own| Arc::ptr_eq(own, owner))
}

fn take_closed(parked: &mut Vec<Box<InstanceData>>) -> Vec<Box<InstanceData>> {
    parked
        .extract_if(.., |instance| {
            instance.owner.as_ref().is_none_or(|o| o.is_closed())
        })
        .collect()
}
