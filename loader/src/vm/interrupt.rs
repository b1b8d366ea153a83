//! Stopping wasm code from outside: deadlines, handles, fuel.
//!
//! [`VmStoreContext::interrupt`] is the *interrupt word* of a store. Code that was compiled with
//! [`Interruption::Epoch`](precast_artifact::Interruption::Epoch) reads the word in every loop and
//! every recursion. The shims of host functions read the word when the host function is done,
//! however the calling code was compiled. A word that is not zero ends the activation with
//! [`TrapCode::Interrupt`](precast_artifact::TrapCode::Interrupt), unless the host decides
//! otherwise when a deadline has passed, see [`deadline`](super::deadline). Each reason to stop has
//! a bit of its own ([`Reason`]), so clearing one reason leaves the others.
//!
//! Machine code reads nothing of the engine. An engine knows its stores that have a deadline, and
//! raises the words of those that are due. Its lock is taken when a store gets a deadline, when
//! such a store is dropped, and when the epoch changes, but never for a store without a deadline.
//!
//! Lifetimes: an [`Interrupt`] points into a store. The engine's list and the [`SharedInterrupt`]s
//! lose theirs before the store is dropped, under the lock that they use it under
//! ([`StoreCore::forget_interrupts`](super::store::StoreCore::forget_interrupts)).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use precast_artifact::Interruption;
use precast_artifact::vm::{INTERRUPT_LEAST, VmStoreContext};

use super::ending::for_all;
use super::parking::Parker;
use super::store_id::StoreId;
use super::waiting::{self, Registered, Waiting};
#[cfg(feature = "async")]
use super::waker::SharedWaker;
use crate::error::Error;
use crate::lock::lock;

/// The value of the word while code may run.
pub(crate) const GO_ON: u64 = 0;

/// Why the code of a store should stop.
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

/// A pointer to the interrupt word of a store and to its [`InterruptUsers`], for other threads.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    word: NonNull<AtomicU64>,
    users: NonNull<InterruptUsers>,
}

// SAFETY: every thread uses the word atomically, except for the store's own thread when it makes
// the store; all threads may use `asks` and `waker`.
unsafe impl Send for Interrupt {}
// SAFETY: as above.
unsafe impl Sync for Interrupt {}

impl Interrupt {
    /// # Safety
    /// Both are valid and of one store, and the result is not used after the store is dropped.
    #[inline]
    pub(super) unsafe fn new(store: *mut VmStoreContext, users: *mut InterruptUsers) -> Self {
        // SAFETY: by this function's contract; an `AtomicU64` is laid out as a `u64`.
        unsafe {
            Self {
                word: NonNull::new_unchecked((&raw mut (*store).interrupt).cast()),
                users: NonNull::new_unchecked(users),
            }
        }
    }

    /// Asks the store's wasm code to stop, and wakes what waits in the store if the code is to end.
    /// The caller must hold no lock when it wakes or drops the returned task, because both may run
    /// any code of the host.
    pub(crate) fn raise(&self, reason: Reason) -> Woken {
        self.word().fetch_or(reason as u64, Ordering::SeqCst);
        self.wake_waiting();
        #[cfg(feature = "async")]
        return Woken(match self.ends() {
            // SAFETY: as for `asks`.
            true => unsafe { (*self.users.as_ptr()).waker.take() },
            false => None,
        });
        #[cfg(not(feature = "async"))]
        Woken()
    }

    /// Clears one reason to stop.
    pub(crate) fn clear(&self, reason: Reason) {
        self.word().fetch_and(!(reason as u64), Ordering::AcqRel);
    }

    /// Whether the store's code is to end, without the host being asked.
    #[inline]
    pub(crate) fn ends(&self) -> bool {
        match self.word().load(Ordering::SeqCst) {
            GO_ON => false,
            word if word != Reason::Deadline as u64 => true,
            _ => !self.asks(),
        }
    }

    /// Registers this thread, which is going to wait for the system, to be woken.
    ///
    /// # Errors
    /// The system's, when it has no descriptor.
    pub(crate) fn wait(&self) -> std::io::Result<Waiting> {
        Waiting::new(self.address(), || self.ends())
    }

    /// Registers this thread, which is going to sleep on `parker`, to be woken.
    pub(super) fn park(&self, parker: &Arc<Parker>) -> Registered {
        Registered::parker(self.address(), parker)
    }

    /// Forgets what waits in the store, which is dropped with a call that is suspended for ever.
    #[cfg(feature = "async")]
    pub(super) fn abandon(&self) {
        waiting::abandon(self.address());
    }

    /// Wakes the threads that wait in the store.
    pub(super) fn wake_waiting(&self) {
        waiting::wake(self.address(), || self.ends());
    }

    /// The address by which waiting threads identify the store.
    fn address(&self) -> usize {
        std::ptr::from_ref(self.word()) as usize
    }

    #[inline]
    fn word(&self) -> &AtomicU64 {
        // SAFETY: by the contract of `new` the store exists.
        unsafe { self.word.as_ref() }
    }

    /// Whether the host decides when a deadline has passed.
    #[inline]
    fn asks(&self) -> bool {
        // SAFETY: as above; all threads may use this field, and nothing else is referred to.
        unsafe { (*self.users.as_ptr()).asks.load(Ordering::SeqCst) }
    }
}

/// The task whose call is suspended in a store whose code is to stop.
#[must_use]
pub(crate) struct Woken(#[cfg(feature = "async")] Option<std::task::Waker>);

impl Woken {
    pub(crate) fn wake(self) {
        #[cfg(feature = "async")]
        if let Some(waker) = self.0 {
            waker.wake();
        }
    }

    /// Wakes the task, for a caller that has more tasks to wake. If the waker panics, the panic
    /// hook has reported that, and the caller goes on with the other tasks.
    pub(crate) fn wake_and_go_on(self) {
        drop(catch_unwind(AssertUnwindSafe(|| self.wake())));
    }

    /// `None` if nothing is suspended.
    fn or_none(self) -> Option<Self> {
        #[cfg(feature = "async")]
        return self.0.is_some().then_some(self);
        #[cfg(not(feature = "async"))]
        None
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

/// The epoch of an engine, and its stores that have a deadline.
#[derive(Debug)]
pub(crate) struct Epochs(Mutex<EpochsInner>);

#[derive(Debug)]
struct EpochsInner {
    epoch: u64,
    /// The stores whose deadline is to come, by deadline.
    waiting: BTreeMap<(u64, StoreId), Interrupt>,
}

impl Epochs {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(EpochsInner {
            epoch: 0,
            waiting: BTreeMap::new(),
        }))
    }

    /// Begins the next epoch.
    pub(crate) fn increment(&self) {
        let mut this = lock(&self.0);
        this.epoch += 1;
        let epoch = this.epoch;
        let mut woken = Vec::new();
        while let Some(first) = this.waiting.first_entry()
            && first.key().0 <= epoch
        {
            woken.extend(first.remove().raise(Reason::Deadline).or_none());
        }
        drop(this);
        for_all(woken, Woken::wake);
    }

    /// Sets or clears the deadline of a store, `ticks` epochs from now. Returns the new deadline,
    /// and a task to drop when no lock is held: the caller itself runs the code of the store.
    pub(super) fn set(
        &self,
        store: StoreId,
        interrupt: &Interrupt,
        old: Option<u64>,
        ticks: Option<u64>,
    ) -> (Option<u64>, Option<Woken>) {
        let mut this = lock(&self.0);
        if let Some(old) = old {
            this.waiting.remove(&(old, store));
        }
        interrupt.clear(Reason::Deadline);
        let Some(ticks) = ticks else {
            return (None, None);
        };
        let deadline = this.epoch.saturating_add(ticks);
        let mut woken = None;
        if deadline <= this.epoch {
            woken = Some(interrupt.raise(Reason::Deadline));
        } else {
            this.waiting.insert((deadline, store), interrupt.clone());
        }
        (Some(deadline), woken)
    }
}

/// The interrupt word in a handle of the host; `None` after its store is dropped.
pub(crate) type SharedInterrupt = Arc<Mutex<Option<Interrupt>>>;

/// The users of a store's interrupt word besides the store itself.
#[derive(Debug, Default)]
pub(crate) struct InterruptUsers {
    pub(super) deadline: Option<u64>,
    pub(super) handle: Option<SharedInterrupt>,
    /// Whether the host decides when a deadline has passed, instead of the code ending then. Other
    /// threads read this.
    pub(super) asks: AtomicBool,
    /// The task of the call that was suspended last, which other threads wake.
    #[cfg(feature = "async")]
    pub(super) waker: SharedWaker,
    /// Whether the host gave a limited amount of fuel.
    pub(super) fuel: bool,
}

pub(crate) const CONTEXT: &str = "the context's deadline";

/// # Errors
/// [`Error::Interruption`] if code cannot be stopped as expected.
pub(crate) fn require(
    found: Interruption,
    expected: Interruption,
    asked_by: &'static str,
) -> Result<(), Error> {
    if found.includes(expected) {
        return Ok(());
    }
    Err(Error::Interruption {
        asked_by,
        found,
        expected,
    })
}
