//! What the instances of a module have counted, for profiles.
//!
//! Machine code counts in the VM contexts of instances. These go on counting when instances are
//! reset or reused, so only the end of a context needs care: its counts are then added to those of
//! earlier contexts. Reading the counts stops nobody, so the counts of code that runs meanwhile are
//! those of slightly different moments.
//!
//! A child by `fork` goes on with the counts of its parent, unless a thread of the parent was
//! working with them: then it counts instances only that it makes itself.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use precast_artifact::Profile;
use precast_artifact::counters::Counters;
use precast_artifact::vm::VmContextHeader;

use crate::sys::process::PerProcess;

/// The counts of all instances of a module that there are or were.
#[derive(Debug)]
pub(crate) struct Counted(PerProcess<Mutex<Counts>>);

#[derive(Clone, Default)]
struct Counts {
    /// Addresses of the VM contexts that count.
    contexts: Vec<usize>,
    /// What contexts that are gone have counted, in the words of a context.
    ended: Vec<u64>,
}

impl Counted {
    pub(crate) fn new() -> Self {
        Self(PerProcess::new())
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0
            .lock(|of_parent| of_parent.cloned().unwrap_or_default())
    }

    /// Notes a new VM context of the module.
    ///
    /// # Safety
    /// It is as large as the artifact says, and stays until [`Counted::end`].
    pub(crate) unsafe fn begin(&self, context: NonNull<VmContextHeader>) {
        self.lock().contexts.push(context.as_ptr() as usize);
    }

    /// Keeps what a context has counted that is about to go away. Without counters, which is
    /// possible only if the artifact changed, its counts are lost.
    pub(crate) fn end(&self, counters: Option<Counters<'_>>, context: NonNull<VmContextHeader>) {
        let mut counts = self.lock();
        let address = context.as_ptr() as usize;
        let Some(place) = counts.contexts.iter().position(|other| *other == address) else {
            return;
        };
        counts.contexts.swap_remove(place);
        if let Some(counters) = counters {
            // SAFETY: `begin` was given this context, and it is still there.
            unsafe { add(&counters, &mut counts.ended, address) };
        }
    }

    /// What all contexts have counted.
    pub(crate) fn profile(&self, counters: &Counters<'_>) -> Profile {
        let counts = self.lock();
        let mut all = counts.ended.clone();
        for context in &counts.contexts {
            // SAFETY: the list has only contexts that are there, and the lock keeps them there.
            unsafe { add(counters, &mut all, *context) };
        }
        counters.profile(&all)
    }
}

/// Adds what a context has counted.
///
/// # Safety
/// A VM context of the artifact that the counters are of is at this address.
unsafe fn add(counters: &Counters<'_>, sums: &mut Vec<u64>, context: usize) {
    let first = context + counters.vm_offset() as usize;
    let words = (0..counters.words()).map(|i| {
        let word = (first + 8 * i) as *mut u64;
        // SAFETY: by this function's contract; the reader checked that the counters are inside of
        // the context and aligned. Machine code may write to them at the same time.
        unsafe { AtomicU64::from_ptr(word) }.load(Ordering::Relaxed)
    });
    counters.add(sums, &words.collect::<Vec<_>>());
}
