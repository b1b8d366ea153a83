//! Whose turn it is in a store, and what ends the call that has it, or the waiting for it.
//!
//! One call at a time is in flight in a store. A second thread waits; a second call by the same thread,
//! from inside of a host function, would wait for itself, so it is an error.
//!
//! A host function can call into another store, and that one's host function into a third. What ends the
//! outer call then ends the inner ones as well: each gate knows the gate that its call has gone on to, or
//! waits for ([`Call::inner`]). To wait is to watch two things, whether the instance to be called is
//! still open and whether the outer call is still wanted; whoever changes one of them wakes the gate. So
//! even two calls that wait for each other for ever can be ended from outside.
//!
//! Locks: no two gates are locked at the same time, and nothing else is locked while a gate is. A
//! waiting thread must not miss that its outer call is ended, whose gate it cannot lock, so
//! [`Gate::stopped`] is changed before the inner gate is locked to wake it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, ThreadId};

use crate::error::Error;
use crate::vm::interrupt::{Interrupt, Reason};

use super::context::Context;
use super::lock;
use super::node::Closing;

/// The turns in one store.
pub(super) struct Gate {
    call: Mutex<Call>,
    /// Told when the turn is over, and when waiting for it may be of no use any more.
    changed: Condvar,
    /// What the call in flight is to end with: [`Closing::bits`], 0 for nothing. Changed with the lock.
    stopped: AtomicU64,
}

/// The call that is in flight.
struct Call {
    thread: Option<ThreadId>,
    /// Number of the instance that the host called.
    on: u64,
    /// Of the host's call.
    context: Option<Context>,
    /// Where the call has called into, or waits for its turn.
    inner: Option<Arc<Gate>>,
    /// `None` when the store is gone.
    interrupt: Option<Interrupt>,
}

thread_local! {
    /// The gate of the innermost call that this thread is in.
    static INNERMOST: RefCell<Option<Arc<Gate>>> = const { RefCell::new(None) };
}

/// The turn of a call, until it is dropped.
pub(super) struct Turn {
    /// `None` when it is over.
    gate: Option<Arc<Gate>>,
    outer: Option<Inside>,
}

/// What is between a call and the call that a host function of it makes, or waits to make.
struct Inside {
    outer: Arc<Gate>,
}

impl Gate {
    /// # Safety
    /// [`Gate::forget_interrupt`] is called before the store is gone.
    pub(super) unsafe fn new(interrupt: Interrupt) -> Self {
        Self {
            call: Mutex::new(Call {
                thread: None,
                on: 0,
                context: None,
                inner: None,
                interrupt: Some(interrupt),
            }),
            changed: Condvar::new(),
            stopped: AtomicU64::new(0),
        }
    }

    pub(super) fn forget_interrupt(&self) {
        lock(&self.call).interrupt = None;
    }

    /// Waits for the turn of a call on the instance of number `on`, for as long as `is_open` says so. It
    /// takes no lock.
    ///
    /// # Errors
    /// [`Error::InUse`]; that of `is_open`; what the call that this thread is in already is ended with.
    pub(super) fn enter(
        self: &Arc<Self>,
        on: u64,
        context: Option<&Context>,
        is_open: impl Fn() -> Result<(), Error>,
    ) -> Result<Turn, Error> {
        let thread = thread::current().id();
        if lock(&self.call).thread == Some(thread) {
            return Err(Error::InUse);
        }
        let outer = innermost()
            .map(|outer| Inside::new(outer, Arc::clone(self)))
            .transpose()?;
        let mut call = lock(&self.call);
        loop {
            let outer_goes_on = || outer.as_ref().map_or(Ok(()), |inside| inside.outer.check());
            if let Err(error) = is_open().and_then(|()| outer_goes_on()) {
                // Another one may have been passed over for this one.
                self.changed.notify_one();
                return Err(error);
            }
            if call.thread.is_none() {
                break;
            }
            let woken = self.changed.wait(call);
            call = woken.unwrap_or_else(PoisonError::into_inner);
        }
        (call.thread, call.on) = (Some(thread), on);
        call.context = context.cloned();
        drop(call);
        set_innermost(Some(self));
        let gate = Some(Arc::clone(self));
        Ok(Turn { gate, outer })
    }

    /// The context of the call in flight.
    pub(super) fn context(&self) -> Option<Context> {
        lock(&self.call).context.clone()
    }

    /// Ends the call that is in flight, if it is one on the instance of this number, or if this happens
    /// inside of it. And wakes who waits: it may be for this instance.
    pub(super) fn stop(&self, instance: u64, closing: Closing) {
        let here = thread::current().id();
        let concerned = |call: &Call| call.thread == Some(here) || call.on == instance;
        let mut next = self.stop_if(closing, concerned);
        while let Some((inner, thread)) = next {
            // There, the call either waits and is woken, or has its turn.
            next = inner.stop_if(closing, |call| call.thread == Some(thread));
        }
    }

    /// Where the call has gone on to, and which thread that is.
    fn stop_if(
        &self,
        closing: Closing,
        concerns: impl FnOnce(&Call) -> bool,
    ) -> Option<(Arc<Self>, ThreadId)> {
        let call = lock(&self.call);
        let mut inner = None;
        if let Some(thread) = call.thread
            && concerns(&call)
        {
            if self.stopped.load(Ordering::SeqCst) == 0 {
                self.stopped.store(closing.bits(), Ordering::SeqCst);
                if let Some(interrupt) = &call.interrupt {
                    interrupt.raise(Reason::Closing);
                }
            }
            inner = call.inner.clone().map(|inner| (inner, thread));
        }
        drop(call);
        self.changed.notify_all();
        inner
    }

    /// # Errors
    /// What the call in flight is to end with.
    fn check(&self) -> Result<(), Error> {
        let stopped = Closing::from_bits(self.stopped.load(Ordering::SeqCst));
        stopped.map_or(Ok(()), |closing| Err(closing.error()))
    }
}

impl Turn {
    /// Ends the turn: what the call was ended with from outside.
    pub(super) fn end(mut self) -> Option<Closing> {
        self.finish()
    }

    fn finish(&mut self) -> Option<Closing> {
        let gate = self.gate.take()?;
        let outer = self.outer.take();
        set_innermost(outer.as_ref().map(|inside| &inside.outer));
        let mut call = lock(&gate.call);
        call.thread = None;
        let context = call.context.take();
        let stopped = Closing::from_bits(gate.stopped.swap(0, Ordering::SeqCst));
        if let (Some(_), Some(interrupt)) = (stopped, &call.interrupt) {
            interrupt.clear(Reason::Closing);
        }
        drop(call);
        gate.changed.notify_one();
        // Without the lock, as it may be the last one of its kind.
        drop(context);
        stopped
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The gate of the innermost call; none while the thread ends.
fn innermost() -> Option<Arc<Gate>> {
    let gate = INNERMOST.try_with(|gate| gate.borrow().clone());
    gate.ok().flatten()
}

fn set_innermost(gate: Option<&Arc<Gate>>) {
    INNERMOST
        .try_with(|innermost| innermost.replace(gate.cloned()))
        .ok();
}

impl Inside {
    /// # Errors
    /// What the outer call has been ended with.
    fn new(outer: Arc<Gate>, inner: Arc<Gate>) -> Result<Self, Error> {
        lock(&outer.call).inner = Some(inner);
        let this = Self { outer };
        this.outer.check()?;
        Ok(this)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let inner = lock(&self.outer.call).inner.take();
        drop(inner);
    }
}
