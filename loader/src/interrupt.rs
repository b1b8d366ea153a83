//! What a host can do to stop the code of a store: deadlines, handles, fuel.

use crate::store::{Store, StoreContextMut};
use crate::vm::interrupt::{Reason, SharedInterrupt, lock};

/// Ends the wasm code of a store from another thread. Outlives the store, and does nothing then.
///
/// See [`Store::interrupt_handle`].
///
/// ```
/// use precast_loader::{Error, Store, TypedFunc};
///
/// fn run_for_a_second(store: &mut Store<()>, run: TypedFunc<(), ()>) -> Result<(), Error> {
///     let handle = store.interrupt_handle();
///     std::thread::spawn(move || {
///         std::thread::sleep(std::time::Duration::from_secs(1));
///         handle.interrupt();
///     });
///     run.call(store, ())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct InterruptHandle(SharedInterrupt);

impl InterruptHandle {
    /// Ends the wasm code that runs in the store, and any that starts to run later, with
    /// [`TrapCode::Interrupt`](crate::TrapCode::Interrupt), until [`clear`](Self::clear).
    ///
    /// Code compiled with [`Interruption::Epoch`](crate::Interruption::Epoch) stops within
    /// microseconds, or a few milliseconds in an operator on a long range of a memory or table
    /// (which is left half done); other code when a host function returns to it.
    pub fn interrupt(&self) {
        if let Some(interrupt) = &*lock(&self.0) {
            interrupt.raise(Reason::Handle);
        }
    }

    /// Lets the store's code run again.
    pub fn clear(&self) {
        if let Some(interrupt) = &*lock(&self.0) {
            interrupt.clear(Reason::Handle);
        }
    }
}

impl<T: 'static> Store<T> {
    /// [`StoreContextMut::set_epoch_deadline`].
    pub fn set_epoch_deadline(&mut self, ticks: u64) {
        self.core_mut().set_deadline(Some(ticks));
    }

    /// The store has no deadline any more, as when it was new.
    pub fn clear_epoch_deadline(&mut self) {
        self.core_mut().set_deadline(None);
    }

    /// What ends the store's wasm code from another thread.
    pub fn interrupt_handle(&mut self) -> InterruptHandle {
        InterruptHandle(self.core_mut().shared_interrupt())
    }

    /// [`StoreContextMut::set_fuel`].
    pub fn set_fuel(&mut self, fuel: u64) {
        self.core_mut().set_fuel(fuel);
    }

    /// [`StoreContextMut::get_fuel`].
    pub fn get_fuel(&self) -> u64 {
        self.core().fuel()
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// Wasm code of the store ends with [`TrapCode::Interrupt`](crate::TrapCode::Interrupt) when
    /// [`Engine::increment_epoch`](crate::Engine::increment_epoch) has been called `ticks` times
    /// from now on, and so does code that is called after that, until this is called again. Zero:
    /// at once. A new store has no deadline.
    ///
    /// Code compiled with [`Interruption::Epoch`](crate::Interruption::Epoch) stops wherever it is;
    /// other code only when a host function returns to it. An engine whose
    /// [`Config::epoch_interruption`](crate::Config::epoch_interruption) is set takes no other code.
    pub fn set_epoch_deadline(&mut self, ticks: u64) {
        self.core().set_deadline(Some(ticks));
    }

    /// Sets how much more code compiled with [`Interruption::Fuel`](crate::Interruption::Fuel) may
    /// do before it ends with [`TrapCode::OutOfFuel`](crate::TrapCode::OutOfFuel): one unit for
    /// each operator that does something, for each function that is entered, and for each byte,
    /// element or page that an operator on a range works on; as Wasmtime 49 counts. A new store
    /// has none. More than 2^63 - 1 is that.
    ///
    /// From a host function, it holds for its caller too.
    pub fn set_fuel(&mut self, fuel: u64) {
        self.core().set_fuel(fuel);
    }

    /// How much fuel is left: exact when wasm code has returned, in a host function, and when fuel
    /// was used up. When code ended otherwise, what the innermost function did since its last call
    /// is not subtracted.
    pub fn get_fuel(&self) -> u64 {
        self.0.core.fuel()
    }
}
