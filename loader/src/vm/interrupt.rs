//! Ending wasm code from outside: deadlines, handles, fuel.
//!
//! [`VmStoreContext::interrupt`] is the word that machine code with
//! [`Interruption::Epoch`](precast_artifact::Interruption::Epoch) looks at in every loop and every
//! recursion, and that the shims of host functions look at when the host function is done, whatever
//! the code. Not zero, it ends the activation with
//! [`TrapCode::Interrupt`](precast_artifact::TrapCode::Interrupt). Each reason to stop has a bit of
//! its own ([`Reason`]), so that taking one back does not take back another.
//!
//! Machine code reads nothing of the engine: an engine knows its stores that have a deadline and
//! raises the words of those that are due. Its lock is taken when a store gets a deadline, when such
//! a store is dropped, and when the epoch changes; stores without deadlines never meet it.
//!
//! Lifetimes: an [`Interrupt`] points into a store. The engine's list and the
//! [`SharedInterrupt`]s lose theirs, under the same lock that they use it under, before the store is gone
//! ([`StoreCore::forget_interrupts`]).

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precast_artifact::vm::{INTERRUPT_LEAST, VmStoreContext};

use super::store::StoreCore;
use super::store_id::StoreId;

/// The word's value while nothing is asked for.
pub(crate) const GO_ON: u64 = 0;

/// Who wants a store's code to stop.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(crate) enum Reason {
    /// A runtime closes an instance.
    Closing = INTERRUPT_LEAST,
    /// An [`InterruptHandle`](crate::InterruptHandle).
    Handle = INTERRUPT_LEAST << 1,
    /// The epoch has reached the deadline.
    Deadline = INTERRUPT_LEAST << 2,
}

/// The interrupt word of a store, for other threads.
#[derive(Debug, Clone)]
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
        Self(unsafe { NonNull::new_unchecked(&raw mut (*core).vm.interrupt).cast() })
    }

    /// Asks the store's wasm code to stop.
    pub(crate) fn raise(&self, reason: Reason) {
        // SAFETY: by the contract of `of` the store exists.
        unsafe { self.0.as_ref() }.fetch_or(reason as u64, Ordering::AcqRel);
    }

    /// Takes the wish back.
    pub(crate) fn clear(&self, reason: Reason) {
        // SAFETY: as above.
        unsafe { self.0.as_ref() }.fetch_and(!(reason as u64), Ordering::AcqRel);
    }
}

/// Whether the wasm code of a store should stop.
///
/// # Safety
/// `store` is valid.
#[inline]
pub(crate) unsafe fn is_raised(store: *mut VmStoreContext) -> bool {
    // SAFETY: by this function's contract; the word is aligned and lives as long as the store.
    let word = unsafe { AtomicU64::from_ptr(&raw mut (*store).interrupt) };
    word.load(Ordering::Acquire) != GO_ON
}

pub(crate) fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    // Nothing here panics half way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The epoch of an engine, and its stores that have a deadline.
#[derive(Debug)]
pub(crate) struct Epochs(Mutex<EpochsInner>);

#[derive(Debug)]
struct EpochsInner {
    epoch: u64,
    /// By deadline. Those that are due are not in it any more.
    waiting: BTreeMap<(u64, StoreId), Interrupt>,
}

impl Epochs {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(EpochsInner {
            epoch: 0,
            waiting: BTreeMap::new(),
        }))
    }

    /// The next epoch begins.
    pub(crate) fn increment(&self) {
        let mut this = lock(&self.0);
        this.epoch += 1;
        let epoch = this.epoch;
        while let Some(first) = this.waiting.first_entry()
            && first.key().0 <= epoch
        {
            first.remove().raise(Reason::Deadline);
        }
    }

    /// Gives a store another deadline: `ticks` epochs from now, or none. Returns it.
    fn set(
        &self,
        store: StoreId,
        interrupt: &Interrupt,
        old: Option<u64>,
        ticks: Option<u64>,
    ) -> Option<u64> {
        let mut this = lock(&self.0);
        if let Some(old) = old {
            this.waiting.remove(&(old, store));
        }
        interrupt.clear(Reason::Deadline);
        let deadline = this.epoch.saturating_add(ticks?);
        if deadline <= this.epoch {
            interrupt.raise(Reason::Deadline);
        } else {
            this.waiting.insert((deadline, store), interrupt.clone());
        }
        Some(deadline)
    }
}

/// What a handle of the host holds: the word, until its store is gone.
pub(crate) type SharedInterrupt = Arc<Mutex<Option<Interrupt>>>;

/// What a store has given away of its interrupt word.
#[derive(Debug, Default)]
pub(crate) struct Given {
    deadline: Option<u64>,
    handle: Option<SharedInterrupt>,
}

impl StoreCore {
    /// Takes back every pointer to the interrupt word, before the store is moved or dropped.
    pub(crate) fn forget_interrupts(&mut self) {
        if self.given.deadline.is_some() {
            self.set_deadline(None);
        }
        if let Some(handle) = self.given.handle.take() {
            *lock(&handle) = None;
        }
    }

    pub(crate) fn set_deadline(&mut self, ticks: Option<u64>) {
        // SAFETY: the list loses it before the store is gone, see `forget_interrupts`.
        let interrupt = unsafe { Interrupt::of(self.this) };
        self.given.deadline = self
            .epochs
            .set(self.id, &interrupt, self.given.deadline, ticks);
    }

    pub(crate) fn shared_interrupt(&mut self) -> SharedInterrupt {
        let this = self.this;
        let handle = self.given.handle.get_or_insert_with(|| {
            // SAFETY: as above.
            let interrupt = unsafe { Interrupt::of(this) };
            Arc::new(Mutex::new(Some(interrupt)))
        });
        handle.clone()
    }

    pub(crate) fn set_fuel(&mut self, fuel: u64) {
        self.vm.fuel = -i64::try_from(fuel).unwrap_or(i64::MAX);
    }

    pub(crate) fn fuel(&self) -> u64 {
        self.vm.fuel.saturating_neg().max(0).cast_unsigned()
    }
}
