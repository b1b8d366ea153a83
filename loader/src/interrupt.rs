//! Ending wasm code from outside: the interrupt word of a store.
//!
//! [`VmStoreContext::epoch_deadline`] is the word. `u64::MAX` means "go on", 0 means "stop now", which
//! is what any comparison of a running epoch with it would say too. The shims of host functions look
//! at it when the host function is done, and end the activation with [`TrapCode::Interrupt`].
//!
//! What is missing: machine code does not look at it yet, so a guest that loops without calling a
//! host function runs on. Checks at loop headers and function entries that trap when
//! `epoch >= epoch_deadline` need no change here.
//!
//! [`TrapCode::Interrupt`]: precast_artifact::TrapCode::Interrupt

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use precast_artifact::vm::VmStoreContext;

use crate::store::StoreCore;

/// The word's value while nothing is asked for.
pub(crate) const GO_ON: u64 = u64::MAX;

const STOP: u64 = 0;

/// The interrupt word of a store, for other threads.
#[derive(Debug)]
pub(crate) struct Interrupt(NonNull<AtomicU64>);

// SAFETY: the word is only used atomically by all but its own store's thread, which makes it.
unsafe impl Send for Interrupt {}
// SAFETY: as above.
unsafe impl Sync for Interrupt {}

impl Interrupt {
    /// # Safety
    /// `core` is valid, and the result is not used when the store is gone.
    pub(crate) unsafe fn of(core: *mut StoreCore) -> Self {
        // SAFETY: by this function's contract; an `AtomicU64` is laid out as a `u64`.
        Self(unsafe { NonNull::new_unchecked(&raw mut (*core).vm.epoch_deadline).cast() })
    }

    /// Asks the store's wasm code to stop.
    pub(crate) fn raise(&self) {
        self.set(STOP);
    }

    /// Takes the wish back.
    pub(crate) fn clear(&self) {
        self.set(GO_ON);
    }

    fn set(&self, value: u64) {
        // SAFETY: by the contract of `of` the store exists.
        unsafe { self.0.as_ref() }.store(value, Ordering::Release);
    }
}

/// Whether the wasm code of a store should stop.
///
/// # Safety
/// `store` is valid.
#[inline]
pub(crate) unsafe fn is_raised(store: *mut VmStoreContext) -> bool {
    // SAFETY: by this function's contract; the word is aligned and lives as long as the store.
    let word = unsafe { AtomicU64::from_ptr(&raw mut (*store).epoch_deadline) };
    word.load(Ordering::Acquire) == STOP
}
