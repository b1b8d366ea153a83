//! Threads that wait at an address of a shared memory (`memory.atomic.wait32`) until another thread
//! notifies them.
//!
//! Each memory has a list of the threads that wait, and of those that wait at the same address, the
//! thread that came first is woken first. A thread compares the value and joins the list under the
//! lock of the list, and a thread that notifies takes that lock too. So no notification is lost
//! between the comparison and the sleep.
//!
//! A wait also ends when the code of its store is to end: by a deadline, a handle, or because an
//! instance is closed. The thread registers itself for that as host functions that wait do, see
//! [`waiting`](super::waiting).

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::lock::lock;

/// How often a thread looks for a notification before it sleeps. Threads that hand work to one
/// another and back notify within this time, about a microsecond.
const SPINS: u32 = 100;

thread_local! {
    /// The parker of this thread, which is used again.
    static PARKER: Cell<Option<Arc<Parker>>> = const { Cell::new(None) };
}

/// Why a wait has ended. The numbers are the results of the wasm operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Woken {
    /// Another thread has notified the thread.
    Notified = 0,
    /// The value was not the expected one.
    Mismatch = 1,
    /// The time is over.
    TimedOut = 2,
}

/// What a thread sleeps on.
#[derive(Debug, Default)]
pub(crate) struct Parker {
    /// Set under the lock of the list by the thread that takes this one out of it.
    notified: AtomicBool,
    /// No thread waits on this any more, although it is in a list: the future of a suspended call
    /// was leaked, and its store is gone.
    abandoned: AtomicBool,
    /// Whether the thread has a reason to check what has happened.
    token: Mutex<bool>,
    changed: Condvar,
}

impl Parker {
    /// Wakes the thread, or keeps it from going to sleep the next time.
    pub(super) fn unpark(&self) {
        *lock(&self.token) = true;
        self.changed.notify_one();
    }

    #[cfg(feature = "async")]
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Sleeps until [`Parker::unpark`], or until a moment.
    fn park(&self, until: Option<Instant>) {
        let mut token = lock(&self.token);
        while !*token {
            token = match until {
                None => self
                    .changed
                    .wait(token)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    let woken = self.changed.wait_timeout(token, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        *token = false;
    }
}

/// The threads that wait at addresses of a memory, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Vec<(u64, Arc<Parker>)>>);

impl Waiters {
    /// Waits at an address if `is_expected` says that the value there is the expected one, until a
    /// notification, for at most `timeout`, or for as long as `go_on` says. `register` tells others
    /// of the thread before it looks at the value, until what it returns is dropped; whenever they
    /// unpark the thread, it asks `go_on`.
    ///
    /// # Errors
    /// Those of `go_on`.
    pub(crate) fn wait<E, G>(
        &self,
        at: u64,
        is_expected: impl FnOnce() -> bool,
        timeout: Option<Duration>,
        register: impl FnOnce(&Arc<Parker>) -> G,
        go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<Woken, E> {
        // A time too far away for `Instant` means to wait for ever.
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let parker = take_parker();
        // Before the interrupt word is read, see `waiting`.
        let registered = register(&parker);
        let mut list = lock(&self.0);
        let woken = if is_expected() {
            parker.notified.store(false, Ordering::Relaxed);
            list.push((at, Arc::clone(&parker)));
            drop(list);
            let listed = Listed {
                list: self,
                parker: &parker,
            };
            listed.sleep(until, go_on)
        } else {
            drop(list);
            Ok(Woken::Mismatch)
        };
        drop(registered);
        keep_parker(parker);
        woken
    }

    /// Takes a thread out of the list. Returns whether it was still there.
    fn leave(&self, parker: &Arc<Parker>) -> bool {
        let mut list = lock(&self.0);
        let found = list
            .iter()
            .position(|(_, other)| Arc::ptr_eq(other, parker));
        if let Some(i) = found {
            list.remove(i);
        }
        found.is_some()
    }

    /// Wakes up to `count` threads that wait at an address, in the order in which they came.
    /// Returns the number of threads that were woken.
    pub(crate) fn notify(&self, at: u64, count: u32) -> u32 {
        let mut woken = SmallVec::<[Arc<Parker>; 4]>::new();
        let mut list = lock(&self.0);
        let here = list
            .extract_if(.., |(of, _)| *of == at)
            .filter(|(_, parker)| !parker.abandoned.load(Ordering::Relaxed));
        for (_, parker) in here.take(count as usize) {
            parker.notified.store(true, Ordering::Release);
            woken.push(parker);
        }
        drop(list);
        for parker in &woken {
            parker.unpark();
        }
        woken.len() as u32
    }
}

/// A thread that is in the list, until this is dropped.
struct Listed<'a> {
    list: &'a Waiters,
    parker: &'a Arc<Parker>,
}

impl Listed<'_> {
    /// Waits until there is a reason to wait no longer.
    fn sleep<E>(
        self,
        until: Option<Instant>,
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<Woken, E> {
        let (list, parker) = (self.list, self.parker);
        let mut spins = SPINS;
        loop {
            if parker.notified.load(Ordering::Acquire) {
                // The thread that has notified this one has taken it out of the list.
                std::mem::forget(self);
                return Ok(Woken::Notified);
            }
            go_on()?;
            if spins > 0 {
                spins -= 1;
                std::hint::spin_loop();
                continue;
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                break;
            }
            parker.park(until);
        }
        // A notification that came in the meantime counts, because its sender has counted this
        // thread as woken.
        std::mem::forget(self);
        match list.leave(parker) {
            true => Ok(Woken::TimedOut),
            false => Ok(Woken::Notified),
        }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.list.leave(self.parker);
    }
}

/// The parker of this thread. This and [`keep_parker`] are never inlined, because code that waits
/// may continue on another thread than it began on, see [`fiber`](super::fiber).
#[inline(never)]
fn take_parker() -> Arc<Parker> {
    let kept = PARKER.try_with(Cell::take).ok().flatten();
    kept.unwrap_or_default()
}

#[inline(never)]
fn keep_parker(parker: Arc<Parker>) {
    PARKER.try_with(|kept| kept.set(Some(parker))).ok();
}
