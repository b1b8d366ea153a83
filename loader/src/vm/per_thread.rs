//! What each thread keeps for reuse, and every thread can give back when the system runs short.
//!
//! The reserve of a thread has a lock, for which nobody ever waits: a thread that finds its own
//! reserve locked goes on without it.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

/// What a thread keeps for reuse.
pub(super) trait Reserve: Default + 'static {
    /// Gives everything back to the system. Returns whether there was anything.
    fn give_back(self) -> bool;
}

/// The reserves of all threads that have one.
pub(super) struct Reserves<V>(Mutex<Vec<Arc<Mutex<V>>>>);

impl<V: Reserve> Reserves<V> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// A reserve for this thread.
    pub(super) fn begin(&'static self) -> Own<V> {
        let own = Arc::<Mutex<V>>::default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&own));
        Own { own, all: self }
    }

    /// Gives back what all threads keep. Returns whether there was anything.
    ///
    /// This waits for no thread, because it can be called in the middle of anything. A thread that
    /// is using its reserve at this moment keeps it.
    pub(super) fn give_back(&self) -> bool {
        let mut any = false;
        for i in 0.. {
            // Nothing is allocated here, and nothing is dropped while the list is locked.
            let Some(one) = self.0.try_lock().ok().and_then(|all| all.get(i).cloned()) else {
                break;
            };
            any |= try_with(&one, std::mem::take).is_some_and(V::give_back);
        }
        any
    }
}

/// A thread's hold on its reserve.
pub(super) struct Own<V: Reserve> {
    own: Arc<Mutex<V>>,
    all: &'static Reserves<V>,
}

impl<V: Reserve> Own<V> {
    /// Works with the reserve, unless another thread is emptying it.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut V) -> R) -> Option<R> {
        try_with(&self.own, work)
    }
}

impl<V: Reserve> Drop for Own<V> {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| !Arc::ptr_eq(other, &self.own));
        drop(all);
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = std::mem::take(&mut *own);
        // The reserve is not locked when what it had is dropped.
        drop(own);
        kept.give_back();
    }
}

fn try_with<V, R>(reserve: &Mutex<V>, work: impl FnOnce(&mut V) -> R) -> Option<R> {
    match reserve.try_lock() {
        Ok(mut reserve) => Some(work(&mut reserve)),
        Err(TryLockError::Poisoned(reserve)) => Some(work(&mut reserve.into_inner())),
        Err(TryLockError::WouldBlock) => None,
    }
}
