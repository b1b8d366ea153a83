//! Progress callbacks, and why nobody waits inside of one.
//!
//! A progress callback runs in the middle of a compilation, while its module's slot and lock are held.
//! If it asks a cache for a module that somebody is getting, then that somebody may be the very
//! compilation that it is called from, or one whose callback asks for this one. So it does not wait, and
//! goes without what it would have to wait for.

use std::cell::Cell;

thread_local! {
    static RUNNING: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread is in a progress callback.
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
