//! The task of a suspended call, which other threads wake.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering, fence};
use std::task::Waker;

/// A task that other threads wake: null, or a box.
#[derive(Debug, Default)]
pub(super) struct SharedWaker(AtomicPtr<Waker>);

impl SharedWaker {
    /// The task, which other threads cannot take any more.
    pub(super) fn take(&self) -> Option<Waker> {
        self.replace(std::ptr::null_mut())
    }

    /// Sets the task. What other threads have written before they took nothing can be read then.
    pub(super) fn set(&self, waker: &Waker) {
        let old = self.replace(Box::into_raw(Box::new(waker.clone())));
        fence(Ordering::SeqCst);
        drop(old);
    }

    fn replace(&self, new: *mut Waker) -> Option<Waker> {
        let old = NonNull::new(self.0.swap(new, Ordering::SeqCst));
        // SAFETY: made by `Box::into_raw`, and nobody else has it any more.
        old.map(|old| *unsafe { Box::from_raw(old.as_ptr()) })
    }
}

impl Drop for SharedWaker {
    fn drop(&mut self) {
        drop(self.take());
    }
}
