//! Whether something was made by this process, or by a parent that has forked since, values that
//! each process has of its own, and threads that do not trouble children by `fork`.
//!
//! The number of the process alone would not do: a child in a namespace of its own can have the
//! same number. So a page of memory, which the system wipes in children, marks the process.

use std::sync::{Arc, Barrier, Mutex, MutexGuard, OnceLock};
use std::thread::Builder;
use std::{fmt, io};

use super::map::{Reservation, page_size};
use crate::lock::{lock, lock_if_free};

/// A mark that only the process has that made it, and not its children by `fork`.
pub(crate) struct ProcessMark {
    /// Its first byte is 1 in this process. `None` if the system cannot wipe a page in children
    /// (before Linux 4.14), or has no memory; the number decides then.
    page: Option<Reservation>,
    number: u32,
}

impl ProcessMark {
    /// A mark of this process.
    pub(crate) fn new() -> Self {
        Self {
            page: wiped_in_children(),
            number: std::process::id(),
        }
    }

    /// A mark that no child has, whatever its number is. `None` if the system cannot wipe a page in
    /// children, or has no memory.
    pub(crate) fn of_page() -> Option<Self> {
        Some(Self::new()).filter(|mark| mark.page.is_some())
    }

    /// Whether this process has made the mark.
    pub(crate) fn is_own(&self) -> bool {
        match &self.page {
            // SAFETY: an accessible page of our own.
            Some(page) => unsafe { page.base().as_ptr().read_volatile() == 1 },
            None => std::process::id() == self.number,
        }
    }
}

/// A value that each process has of its own. In a child by `fork`, a lock that another thread of
/// the parent held is locked for ever, and a thread of the parent does not run. Those who need such
/// values are this crate, `precast-wasi` and `precast-cache`.
///
/// ```
/// use std::sync::Mutex;
///
/// use precast_loader::PerProcess;
///
/// static NUMBER: PerProcess<Mutex<u32>> = PerProcess::new();
/// assert_eq!(*NUMBER.lock(|of_parent| of_parent.map_or(1, |n| n + 1)), 1);
/// ```
pub struct PerProcess<V> {
    /// The value of the first process that needed one.
    first: OnceLock<Box<OfProcess<V>>>,
}

struct OfProcess<V> {
    process: ProcessMark,
    value: V,
    /// The value of a child.
    child: OnceLock<Box<OfProcess<V>>>,
}

impl<V> PerProcess<V> {
    /// No value yet.
    #[expect(clippy::new_without_default, reason = "it stands for no value")]
    pub const fn new() -> Self {
        Self {
            first: OnceLock::new(),
        }
    }

    /// The value of this process. If there is none, `make` makes it. Several threads may call their
    /// `make` at the same time; the first value that is made stays, and the others are dropped.
    /// `make` is given the value of the parent if there is one, whose locks may stay locked for
    /// ever.
    pub fn get(&self, make: impl Fn(Option<&V>) -> V) -> &V {
        let (mut place, mut parent) = (&self.first, None);
        loop {
            let Some(found) = place.get() else {
                let made = OfProcess {
                    process: ProcessMark::new(),
                    value: make(parent),
                    child: OnceLock::new(),
                };
                // Only this is done under the lock of `place`. The error is that another thread was
                // faster.
                drop(place.set(Box::new(made)));
                continue;
            };
            if found.process.is_own() {
                return &found.value;
            }
            (place, parent) = (&found.child, Some(&found.value));
        }
    }
}

impl<V> PerProcess<Mutex<V>> {
    /// Locks the value of this process, also after a thread has panicked that held the lock. If
    /// there is no value, `begin` makes it. `begin` is given the value of the parent, unless a
    /// thread of the parent had locked that value.
    pub fn lock(&self, begin: impl Fn(Option<&V>) -> V) -> MutexGuard<'_, V> {
        lock(self.get(|of_parent| {
            // Other threads of this process may be here at the same time, but not for long.
            let of_parent = of_parent.and_then(|value| lock_if_free(|| value.try_lock()));
            Mutex::new(begin(of_parent.as_deref()))
        }))
    }
}

impl<V> fmt::Debug for PerProcess<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerProcess").finish_non_exhaustive()
    }
}

/// Starts a thread, and returns when the thread runs. This crate and `precast-wasi` start with it
/// the threads that they keep, of which the host does not know.
///
/// A thread that starts holds a lock of Rust's standard library for a moment. If a host forked in
/// that moment, no thread of the child could ever start.
///
/// # Errors
/// The system's error if the thread cannot be started.
pub fn start_thread(builder: Builder, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let started = Arc::new(Barrier::new(2));
    let runs = Arc::clone(&started);
    builder.spawn(move || {
        runs.wait();
        drop(runs);
        run();
    })?;
    started.wait();
    Ok(())
}

fn wiped_in_children() -> Option<Reservation> {
    let mut page = Reservation::new(page_size()).ok()?;
    page.commit(0, page_size()).ok()?;
    // SAFETY: an accessible page of our own.
    unsafe {
        let at = page.base().as_ptr();
        if libc::madvise(at.cast(), page_size(), libc::MADV_WIPEONFORK) != 0 {
            return None;
        }
        at.write_volatile(1);
    }
    Some(page)
}
