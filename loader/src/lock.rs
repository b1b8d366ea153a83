//! Mutexes whose content is right at all times.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose content is valid at all times, even if a thread panicked while it held the
/// lock.
pub(crate) fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
