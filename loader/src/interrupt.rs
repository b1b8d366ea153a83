//! Ways for a host to stop the code of a store: deadlines, handles, fuel.

use std::io;
use std::os::fd::BorrowedFd;

use crate::error::Error;
use crate::lock::lock;
use crate::store::{Store, StoreContextMut};
use crate::vm::interrupt::{Interrupt, Reason, SharedInterrupt, Woken};

/// Ends the wasm code of a store from another thread. A handle may outlive the store, and does
/// nothing afterwards.
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
    /// Ends the wasm code that runs in the store, and code that starts later, with
    /// [`Trap::Interrupt`](crate::Trap::Interrupt), until [`clear`](Self::clear).
    ///
    /// Code compiled with [`Interruption::Epoch`](crate::Interruption::Epoch) stops within
    /// microseconds. Other code stops when a host function returns to it. A call that is suspended
    /// ends at once: its task is woken.
    pub fn interrupt(&self) {
        let woken = lock(&self.0).as_ref().map(|i| i.raise(Reason::Handle));
        // The lock is not held here.
        woken.map(Woken::wake).unwrap_or_default();
    }

    /// Lets the store's code run again.
    pub fn clear(&self) {
        if let Some(interrupt) = &*lock(&self.0) {
            interrupt.clear(Reason::Handle);
        }
    }

    /// Whether the store's code is to end, because of this handle, a deadline, a context, or a
    /// closed instance. Host functions need not ask, since the code ends when they return. A
    /// deadline ends nothing in a store with an
    /// [`epoch_deadline_callback`](Store::epoch_deadline_callback).
    pub fn is_interrupted(&self) -> bool {
        lock(&self.0).as_ref().is_some_and(Interrupt::ends)
    }

    /// For host functions that wait for the system: calls `wait` with a descriptor that becomes
    /// readable (`POLLIN`) when the store's code [is to end](Self::is_interrupted). `wait` waits
    /// for this descriptor together with its own ones, and neither reads nor writes it. When the
    /// code is to end, it does not matter what the host function returns: the code ends with
    /// [`Trap::Interrupt`](crate::Trap::Interrupt), or with the exit code of the closed instance.
    ///
    /// ```no_run
    /// # use precast_loader::{AsContextMut, Caller, Linker};
    /// # use std::net::TcpStream;
    /// # use std::os::fd::{AsFd, BorrowedFd};
    /// # fn poll(fds: &[BorrowedFd<'_>]) {}
    /// # fn add(linker: &mut Linker<TcpStream>) -> Result<(), precast_loader::Error> {
    /// linker.func_wrap("net", "wait", |mut caller: Caller<'_, TcpStream>| -> i32 {
    ///     let handle = caller.as_context_mut().interrupt_handle();
    ///     let socket = caller.data().as_fd();
    ///     handle.wait(|interrupt| poll(&[socket, interrupt])).is_ok().into()
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the store is gone, or the system has no descriptor; `wait` was not called then. A guest
    /// that can open files can use up the descriptors of the process. A host function that must end
    /// all the same waits for short times, and asks [`is_interrupted`](Self::is_interrupted) in
    /// between.
    pub fn wait<R>(&self, wait: impl FnOnce(BorrowedFd<'_>) -> R) -> io::Result<R> {
        let waiting = match &*lock(&self.0) {
            Some(interrupt) => interrupt.wait()?,
            None => return Err(io::Error::other("the store is gone")),
        };
        Ok(wait(waiting.event()))
    }
}

impl<T: 'static> Store<T> {
    /// The same as [`StoreContextMut::set_epoch_deadline`].
    ///
    /// # Errors
    /// As for [`StoreContextMut::set_epoch_deadline`].
    pub fn set_epoch_deadline(&mut self, ticks: u64) -> Result<(), Error> {
        self.core_mut().ask_for_deadline(ticks)
    }

    /// Clears the deadline. A new store has none either.
    pub fn clear_epoch_deadline(&mut self) {
        self.core_mut().set_deadline(None);
    }

    /// A handle that ends the store's wasm code from another thread.
    pub fn interrupt_handle(&mut self) -> InterruptHandle {
        InterruptHandle(self.core_mut().shared_interrupt())
    }

    /// The same as [`StoreContextMut::set_fuel`].
    ///
    /// # Errors
    /// As for [`StoreContextMut::set_fuel`].
    pub fn set_fuel(&mut self, fuel: u64) -> Result<(), Error> {
        self.core_mut().set_fuel(fuel)
    }

    /// The same as [`StoreContextMut::get_fuel`].
    ///
    /// # Errors
    /// As for [`StoreContextMut::get_fuel`].
    pub fn get_fuel(&self) -> Result<u64, Error> {
        self.core().get_fuel()
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// Ends wasm code of the store with [`Trap::Interrupt`](crate::Trap::Interrupt) when
    /// [`Engine::increment_epoch`](crate::Engine::increment_epoch) has been called `ticks` times
    /// from now on. Code that is called after that ends, too, until this is called again. With zero
    /// ticks, code ends at once. A new store has no deadline.
    ///
    /// Code compiled with [`Interruption::Epoch`](crate::Interruption::Epoch) stops wherever it is.
    /// As long as a store has a deadline, it takes no other modules.
    ///
    /// # Errors
    /// [`Error::Interruption`] if the store has code that was compiled otherwise, which could run
    /// for ever.
    pub fn set_epoch_deadline(&mut self, ticks: u64) -> Result<(), Error> {
        self.core().ask_for_deadline(ticks)
    }

    /// A handle that ends the store's wasm code from another thread. It also wakes host functions
    /// that wait ([`InterruptHandle::wait`]).
    pub fn interrupt_handle(&mut self) -> InterruptHandle {
        InterruptHandle(self.core().shared_interrupt())
    }

    /// Sets how much more code compiled with [`Interruption::Fuel`](crate::Interruption::Fuel) may
    /// do before it ends with [`Trap::OutOfFuel`](crate::Trap::OutOfFuel): one unit for
    /// each operator that does something, for each function that is entered, and for each byte,
    /// element or page that an operator on a range works on; as Wasmtime 49 counts. A start
    /// function costs what it does. The rest of an instantiation costs nothing, but something in
    /// Wasmtime 49. A new store has no fuel. The maximum is 2^63 - 1. A store that has been given
    /// fuel takes no modules that were compiled otherwise, unless the amount is [`u64::MAX`], which
    /// limits nothing.
    ///
    /// If a host function calls this, the new amount also holds for the wasm code that called the
    /// host function.
    ///
    /// # Errors
    /// [`Error::Interruption`] if the store has code that was compiled otherwise, which would use
    /// no fuel.
    pub fn set_fuel(&mut self, fuel: u64) -> Result<(), Error> {
        self.core().set_fuel(fuel)
    }

    /// Returns how much fuel is left. The number is exact after wasm code has returned, in a host
    /// function, and when the fuel is used up. If code ended in another way, the work of the
    /// innermost function since its last call, with calls that were inlined into it, is not
    /// subtracted.
    ///
    /// # Errors
    /// [`Error::Interruption`] if the store has code that was compiled otherwise, which uses no
    /// fuel.
    pub fn get_fuel(&self) -> Result<u64, Error> {
        self.inner().core.get_fuel()
    }
}
