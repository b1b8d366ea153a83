//! What a store can be stopped by: its deadline, its handles, and the fuel that it has.
//!
//! See [`interrupt`](super::interrupt) for how code is stopped.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use precast_artifact::Interruption;

use super::interrupt::{Interrupt, SharedInterrupt, require};
use super::store::{AskHost, StoreCore};
use crate::error::Error;
use crate::lock::lock;

const FUEL: &str = "the store's fuel";
const DEADLINE: &str = "the store's deadline";

impl Interrupt {
    /// # Safety
    /// `core` is valid, and the result is not used after the store is dropped.
    #[inline]
    pub(crate) unsafe fn of(core: *mut StoreCore) -> Self {
        // SAFETY: by this function's contract.
        unsafe { Self::new(&raw mut (*core).vm, &raw mut (*core).interrupt_users) }
    }
}

/// Whether code of the store is to end, without the host being asked. Any thread may ask this.
///
/// # Safety
/// `core` is valid.
#[inline]
pub(crate) unsafe fn ends(core: *mut StoreCore) -> bool {
    // SAFETY: by this function's contract.
    unsafe { Interrupt::of(core) }.ends()
}

impl StoreCore {
    /// Invalidates every pointer to the interrupt word, before the store is moved or dropped.
    pub(crate) fn forget_interrupts(&mut self) {
        if self.interrupt_users.deadline.is_some() {
            self.set_deadline(None);
        }
        if let Some(handle) = self.interrupt_users.handle.take() {
            *lock(&handle) = None;
        }
        #[cfg(feature = "async")]
        if self.fibers.take_leaked() {
            // SAFETY: as for `set_deadline`.
            unsafe { Interrupt::of(self.this) }.abandon();
        }
    }

    pub(crate) fn has_deadline(&self) -> bool {
        self.interrupt_users.deadline.is_some()
    }

    pub(crate) fn set_deadline(&mut self, ticks: Option<u64>) {
        // SAFETY: the list loses the pointer before the store is dropped, see `forget_interrupts`.
        let interrupt = unsafe { Interrupt::of(self.this) };
        let old = self.interrupt_users.deadline;
        // The task is dropped at the end, where no lock is held.
        let (new, _task) = self.epochs.set(self.id, &interrupt, old, ticks);
        self.interrupt_users.deadline = new;
    }

    /// Sets who decides when a deadline has passed; `None` ends the code.
    pub(crate) fn set_ask_host(&mut self, ask: Option<AskHost>) {
        self.ask_host = ask;
        self.set_asks(ask.is_some());
        // Code that waits was not told of the deadline while the host was to decide about it.
        // SAFETY: as for `set_deadline`.
        unsafe { Interrupt::of(self.this) }.wake_waiting();
    }

    /// Whether there is a host to ask when a deadline has passed.
    pub(crate) fn asks_host(&self) -> bool {
        self.ask_host.is_some()
    }

    /// Sets whether the host is asked when a deadline has passed.
    pub(crate) fn set_asks(&mut self, asks: bool) {
        self.interrupt_users.asks.store(asks, Ordering::SeqCst);
    }

    pub(crate) fn shared_interrupt(&mut self) -> SharedInterrupt {
        let this = self.this;
        let handle = self.interrupt_users.handle.get_or_insert_with(|| {
            // SAFETY: as above.
            let interrupt = unsafe { Interrupt::of(this) };
            Arc::new(Mutex::new(Some(interrupt)))
        });
        handle.clone()
    }

    /// Sets the fuel of a new store. `None` means the maximum, and does not require that modules
    /// count fuel.
    pub(crate) fn begin_with_fuel(&mut self, fuel: Option<u64>) {
        let fuel = fuel.unwrap_or(u64::MAX);
        self.interrupt_users.fuel = fuel != u64::MAX;
        self.vm.fuel = -i64::try_from(fuel).unwrap_or(i64::MAX);
    }

    /// # Errors
    /// [`Error::Interruption`] if code of the store does not count fuel, and there is a limit.
    pub(crate) fn set_fuel(&mut self, fuel: u64) -> Result<(), Error> {
        if fuel != u64::MAX {
            self.require_of_all(Interruption::Fuel, FUEL)?;
        }
        self.begin_with_fuel(Some(fuel));
        Ok(())
    }

    /// # Errors
    /// [`Error::Interruption`] if code of the store does not know deadlines.
    pub(crate) fn ask_for_deadline(&mut self, ticks: u64) -> Result<(), Error> {
        self.require_of_all(Interruption::Epoch, DEADLINE)?;
        self.set_deadline(Some(ticks));
        Ok(())
    }

    /// # Errors
    /// [`Error::Interruption`] if code of the store cannot be stopped in this way.
    pub(crate) fn require_of_all(
        &self,
        expected: Interruption,
        asked_by: &'static str,
    ) -> Result<(), Error> {
        let mut found = self
            .modules()
            .map(|module| module.artifact().interruption());
        found.try_for_each(|found| require(found, expected, asked_by))
    }

    /// Whether a module whose code can be stopped as `found` says can be instantiated here.
    ///
    /// # Errors
    /// [`Error::Interruption`] if it could not be stopped as the host has asked for.
    #[inline]
    pub(crate) fn check_interruption(&self, found: Interruption) -> Result<(), Error> {
        if self.interrupt_users.fuel {
            require(found, Interruption::Fuel, FUEL)?;
        }
        if self.interrupt_users.deadline.is_some() {
            require(found, Interruption::Epoch, DEADLINE)?;
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::Interruption`] if code of the store does not count fuel.
    pub(crate) fn get_fuel(&self) -> Result<u64, Error> {
        self.require_of_all(Interruption::Fuel, FUEL)?;
        Ok(self.fuel())
    }

    pub(crate) fn fuel(&self) -> u64 {
        self.vm.fuel.saturating_neg().max(0).cast_unsigned()
    }
}
