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

use super::instance::InstanceData;
use crate::instance_pre::PreInner;

thread_local! {
    /// Least recently parked first.
    static PARKED: RefCell<Vec<Box<InstanceData>>> = const { RefCell::new(Vec::new()) };
}

/// Takes a parked instance over.
pub(crate) fn take(pre: &Arc<PreInner>) -> Option<Box<InstanceData>> {
    let found = PARKED.try_with(|parked| {
        let mut parked = parked.borrow_mut();
        let found = parked.iter().rposition(|instance| instance.is_of(pre));
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
    let Some(most) = instance.pool_size().filter(|most| *most > 0) else {
        return;
    };
    if !instance.is_resettable() || instance.reset().is_err() {
        return;
    }
    let surplus = PARKED.try_with(|parked| {
        let mut parked = parked.borrow_mut();
        let oldest = (parked.len() >= most).then(|| parked.remove(0));
        parked.push(instance);
        oldest
    });
    // Dropped here, outside of the borrow: what goes with an instance may drop other stores.
    drop(surplus);
}

/// Drops what belongs to handles that are gone.
pub(crate) fn purge() {
    let closed = PARKED.try_with(|parked| take_closed(&mut parked.borrow_mut()));
    drop(closed);
}

fn take_closed(parked: &mut Vec<Box<InstanceData>>) -> Vec<Box<InstanceData>> {
    parked
        .extract_if(.., |instance| instance.is_closed())
        .collect()
}
