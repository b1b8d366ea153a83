//! The turns of calls in a store: waiting for one, and ending a call or a wait from outside.
//!
//! One call at a time runs in a store, and other threads wait. A second call by the same thread,
//! from a host function, would wait for itself, so it is an error.
//!
//! A host function can call into another store, whose host function calls into a third. Ending the
//! outer call ends the inner calls as well: each gate knows the gate that its call has entered or
//! waits for ([`Call::inner`]). A thread that waits watches two things: whether the instance that
//! it wants to call is still open, and whether the outer call goes on. A thread that changes one of
//! these wakes the gate. So even two calls that wait for each other can be ended from outside.
//!
//! Which call a call is inside of is known by the thread: it is the last that the thread has begun
//! and not ended. Coroutines that take turns may end their calls in any order, and the call of one
//! counts as inside of that of another if it begins meanwhile. A link between gates leads to a
//! later turn, and goes with either turn, so links never form a circle. When a turn in the middle
//! ends first, the turn before it is linked to the one after it.
//!
//! Locks: no thread locks two gates at the same time, or anything else while it has locked a gate.
//! A waiting thread cannot lock the gate of its outer call, but must not miss the end of that call.
//! So [`Gate::stopped`] is changed before the inner gate is locked to wake the thread.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, ThreadId};

use crate::error::Error;
use crate::lock::lock;
use crate::vm::interrupt::{Interrupt, Reason, Woken};

use super::closing::Closing;
use super::context::Context;

/// The turns in one store.
pub(super) struct Gate {
    call: Mutex<Call>,
    /// Notified when the turn is over, and when it may be useless to wait any longer.
    changed: Condvar,
    /// Why the running call is to end, as [`Closing::bits`], or 0. It is changed only while the
    /// gate is locked.
    stopped: AtomicU64,
}

/// The call that is running.
struct Call {
    thread: Option<ThreadId>,
    /// How many turns began before this one.
    turn: u64,
    /// Number of the instance that the host called.
    on: u64,
    /// The context of the host's call.
    context: Option<Context>,
    /// The gate that the call has entered, or waits for.
    inner: Option<Arc<Gate>>,
    /// How many threads wait for their turn. As long as none does, nobody is woken, because that
    /// would be a system call.
    waiting: usize,
    /// `None` after the store is dropped.
    interrupt: Option<Interrupt>,
}

thread_local! {
    /// The gates of the calls that this thread is in, in the order in which they began.
    static ENTERED: RefCell<Vec<Arc<Gate>>> = const { RefCell::new(Vec::new()) };
}

/// The turn of a call, which ends when this is dropped.
pub(super) struct Turn {
    /// `None` when the turn is over.
    gate: Option<Arc<Gate>>,
    outer: Option<Inside>,
}

/// The link from a call to the call that its host function makes or waits to make.
struct Inside {
    outer: Arc<Gate>,
    inner: Arc<Gate>,
    /// [`Call::turn`] of the outer call.
    turn: u64,
}

impl Gate {
    /// # Safety
    /// [`Gate::forget_interrupt`] is called before the store is dropped.
    pub(super) unsafe fn new(interrupt: Interrupt) -> Self {
        Self {
            call: Mutex::new(Call {
                thread: None,
                turn: 0,
                on: 0,
                context: None,
                inner: None,
                waiting: 0,
                interrupt: Some(interrupt),
            }),
            changed: Condvar::new(),
            stopped: AtomicU64::new(0),
        }
    }

    pub(super) fn forget_interrupt(&self) {
        lock(&self.call).interrupt = None;
    }

    /// Waits for the turn of a call on the instance with the number `on`, for as long as `is_open`
    /// returns `Ok`. `is_open` takes no lock.
    ///
    /// # Errors
    /// [`Error::InUse`], the error of `is_open`, and the error that ends the call that this thread
    /// is already in.
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
                // The notification may have been meant for another thread.
                if call.waiting > 0 {
                    self.changed.notify_one();
                }
                return Err(error);
            }
            if call.thread.is_none() {
                break;
            }
            call.waiting += 1;
            let woken = self.changed.wait(call);
            call = woken.unwrap_or_else(PoisonError::into_inner);
            call.waiting -= 1;
        }
        (call.thread, call.on) = (Some(thread), on);
        call.context = context.cloned();
        drop(call);
        ENTERED
            .try_with(|entered| entered.borrow_mut().push(Arc::clone(self)))
            .ok();
        let gate = Some(Arc::clone(self));
        Ok(Turn { gate, outer })
    }

    /// The context of the running call.
    pub(super) fn context(&self) -> Option<Context> {
        lock(&self.call).context.clone()
    }

    /// Ends the running call, if it is on the instance with this number or if it is what closes the
    /// instance. Wakes the threads that wait, since they may wait for this instance.
    pub(super) fn stop(&self, instance: u64, closing: Closing) {
        let here = thread::current().id();
        let concerned = |call: &Call| call.thread == Some(here) || call.on == instance;
        let next = self.stop_if(closing, concerned);
        Self::stop_inner(next, closing);
    }

    /// [`Gate::stop`] for an instance that is being made, and may still wait to get into the store.
    /// A call that stops that from inside of the store has closed nothing there, and goes on.
    pub(super) fn stop_making(&self, instance: u64, closing: Closing) {
        let next = self.stop_if(closing, |call| call.on == instance);
        Self::stop_inner(next, closing);
    }

    /// Ends the call of a thread in a gate, and the calls inside of that one.
    fn stop_inner(mut next: Option<(Arc<Self>, ThreadId)>, closing: Closing) {
        while let Some((inner, thread)) = next {
            // In the inner gate, the call either waits and is woken, or has its turn.
            next = inner.stop_if(closing, |call| call.thread == Some(thread));
        }
    }

    /// Ends the running call if `concerns` says so. Returns the inner gate of the call, and its
    /// thread.
    fn stop_if(
        &self,
        closing: Closing,
        concerns: impl FnOnce(&Call) -> bool,
    ) -> Option<(Arc<Self>, ThreadId)> {
        let call = lock(&self.call);
        let (mut inner, mut woken) = (None, None);
        if let Some(thread) = call.thread
            && concerns(&call)
        {
            if self.stopped.load(Ordering::SeqCst) == 0 {
                self.stopped.store(closing.bits(), Ordering::SeqCst);
                if let Some(interrupt) = &call.interrupt {
                    woken = Some(interrupt.raise(Reason::Closing));
                }
            }
            inner = call.inner.clone().map(|inner| (inner, thread));
        }
        let is_waited_for = call.waiting > 0;
        drop(call);
        woken.map(Woken::wake_and_go_on).unwrap_or_default();
        if is_waited_for {
            self.changed.notify_all();
        }
        inner
    }

    /// # Errors
    /// The error that the running call is to end with.
    fn check(&self) -> Result<(), Error> {
        let stopped = Closing::from_bits(self.stopped.load(Ordering::SeqCst));
        stopped.map_or(Ok(()), |closing| Err(closing.error()))
    }
}

impl Turn {
    /// Ends the turn. Returns why the call was ended from outside, if it was.
    pub(super) fn end(mut self) -> Option<Closing> {
        self.finish()
    }

    fn finish(&mut self) -> Option<Closing> {
        let gate = self.gate.take()?;
        leave(&gate);
        drop(self.outer.take());
        let mut call = lock(&gate.call);
        call.thread = None;
        call.turn += 1;
        let (context, inner) = (call.context.take(), call.inner.take());
        let stopped = Closing::from_bits(gate.stopped.swap(0, Ordering::SeqCst));
        if let (Some(_), Some(interrupt)) = (stopped, &call.interrupt) {
            interrupt.clear(Reason::Closing);
        }
        let is_waited_for = call.waiting > 0;
        drop(call);
        if is_waited_for {
            gate.changed.notify_one();
        }
        // The gate is not locked here, since these may be the last handles.
        drop((context, inner));
        stopped
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The gate of the innermost call; `None` while the thread ends.
fn innermost() -> Option<Arc<Gate>> {
    let gate = ENTERED.try_with(|entered| entered.borrow().last().cloned());
    gate.ok().flatten()
}

/// Ends this thread's call in `gate`. If the call was inside of an outer call and had an inner
/// call, which goes on because coroutines take turns, the inner call is inside of the outer one
/// from now on.
fn leave(gate: &Arc<Gate>) {
    let left = ENTERED.try_with(|entered| {
        let mut entered = entered.borrow_mut();
        let at = entered.iter().rposition(|other| Arc::ptr_eq(other, gate))?;
        let left = entered.remove(at);
        let outer = at.checked_sub(1).map(|before| Arc::clone(&entered[before]));
        Some((left, outer, entered.get(at).cloned()))
    });
    let Ok(Some((_left, Some(outer), Some(inner)))) = left else {
        return;
    };
    let before = {
        let mut call = lock(&outer.call);
        let is_linked = |to: &Arc<Gate>| Arc::ptr_eq(to, gate);
        if !call.inner.as_ref().is_some_and(is_linked) {
            return;
        }
        call.inner.replace(Arc::clone(&inner))
    };
    drop(before);
    // Whoever ended the outer call meanwhile has not found the inner one.
    if let Some(closing) = Closing::from_bits(outer.stopped.load(Ordering::SeqCst)) {
        Gate::stop_inner(Some((inner, thread::current().id())), closing);
    }
}

impl Inside {
    /// # Errors
    /// The error that has ended the outer call.
    fn new(outer: Arc<Gate>, inner: Arc<Gate>) -> Result<Self, Error> {
        let turn = {
            let mut call = lock(&outer.call);
            call.inner = Some(Arc::clone(&inner));
            call.turn
        };
        let this = Self { outer, inner, turn };
        this.outer.check()?;
        Ok(this)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut call = lock(&self.outer.call);
        let is_over = call.turn != self.turn;
        let is_this = |inner: &mut Arc<Gate>| !is_over && Arc::ptr_eq(inner, &self.inner);
        let inner = call.inner.take_if(is_this);
        drop(call);
        drop(inner);
    }
}
