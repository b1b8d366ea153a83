//! Progress callbacks. A thread that runs one must not wait for another compilation.
//!
//! A progress callback runs in the middle of a compilation, while the slot and the lock of the
//! module are held. If the callback asks a cache for a module that is being compiled, that
//! compilation may be the one that called the callback, or one whose own callback asks for this
//! module. So a request inside of a callback does not wait, and works without the slot or the lock.

use std::cell::Cell;

thread_local! {
    static RUNNING: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread is running a progress callback.
pub(crate) fn is_running() -> bool {
    RUNNING.get() > 0
}

/// Runs a progress callback.
pub(crate) fn run(callback: impl FnOnce()) {
    struct Running;
    impl Drop for Running {
        fn drop(&mut self) {
            RUNNING.set(RUNNING.get() - 1);
        }
    }
    RUNNING.set(RUNNING.get() + 1);
    let _running = Running;
    callback();
}
