//! The task of a suspended call, which other threads wake.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering, fence};
use std::task::Waker;

/// A task that other threads wake: null, or a box.
#[derive(Debug, Default)]
pub(super) struct SharedWaker(AtomicPtr<Waker>);

impl SharedWaker {
    /// Takes the task, so that other threads cannot take it any more.
    pub(super) fn take(&self) -> Option<Waker> {
        self.replace(std::ptr::null_mut())
    }

    /// Sets the task. If another thread found no task before this, the caller sees what that thread
    /// wrote earlier.
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
        // Other threads do not know the store any more, so nothing atomic is needed to see that
        // there is no task.
        if !self.0.get_mut().is_null() {
            drop(self.take());
        }
    }
}
