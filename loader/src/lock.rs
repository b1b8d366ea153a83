//! Mutexes whose content is right at all times.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError, TryLockResult};

/// Number of times that a thread tries to take a lock that it can do without.
const TRIES: usize = 20;

/// Locks a mutex whose content is valid at all times, even if a thread panicked while it held the
/// lock.
pub(crate) fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a lock of something that the process keeps only to be faster, and whose content is valid
/// at all times. Returns `None` if another thread holds the lock for longer than it should.
///
/// So no thread waits for ever, not even in a child process whose parent forked while a thread held
/// the lock.
pub(crate) fn lock_if_free<G>(try_lock: impl Fn() -> TryLockResult<G>) -> Option<G> {
    for _ in 0..TRIES {
        match try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}
