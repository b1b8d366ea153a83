//! What each thread keeps for reuse, and every thread can give back when the system runs short.
//!
//! The reserve of a thread has a lock, and so has the list of all reserves. Nobody waits for them
//! for long: a thread that finds its own reserve locked, or cannot enter it in the list, goes on
//! without it ([`lock_if_free`]).

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, TryLockError};

use crate::lock::lock_if_free;

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
        Own {
            own: Arc::default(),
            all: self,
            listed: Cell::new(false),
        }
    }

    /// Gives back what all threads keep. Returns whether there was anything.
    ///
    /// This waits for no thread, because it can be called in the middle of anything. A thread that
    /// is using its reserve at this moment keeps it.
    pub(super) fn give_back(&self) -> bool {
        let mut any = false;
        self.for_each(std::mem::take, |reserve| any |= reserve.give_back());
        any
    }

    /// Locks the reserve of each thread in turn and calls `take` with it, then unlocks the reserve
    /// and calls `end` with the result. Waits for no thread for long, and allocates nothing itself.
    pub(super) fn for_each<R>(&self, take: impl Fn(&mut V) -> R, mut end: impl FnMut(R)) {
        let all = || lock_if_free(|| self.0.try_lock());
        let len = all().map_or(0, |all| all.len());
        // A thread that ends moves the reserves behind its own, which have had their turn.
        for i in (0..len).rev() {
            // Nothing is dropped while the list is locked.
            let one = all().and_then(|all| all.get(i).cloned());
            if let Some(taken) = one.and_then(|one| try_with(&one, &take)) {
                end(taken);
            }
        }
    }
}

/// The reserve of this thread, and whether other threads can find it.
pub(super) struct Own<V: Reserve> {
    own: Arc<Mutex<V>>,
    all: &'static Reserves<V>,
    /// Whether the reserve is in the list, so that other threads can give back what it holds.
    listed: Cell<bool>,
}

impl<V: Reserve> Own<V> {
    /// Works with the reserve, unless another thread is emptying it.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut V) -> R) -> Option<R> {
        if !self.listed.get() {
            lock_if_free(|| self.all.0.try_lock())?.push(Arc::clone(&self.own));
            self.listed.set(true);
        }
        try_with(&self.own, work)
    }
}

impl<V: Reserve> Drop for Own<V> {
    fn drop(&mut self) {
        if let Some(mut all) = lock_if_free(|| self.all.0.try_lock()) {
            all.retain(|other| !Arc::ptr_eq(other, &self.own));
        }
        // A thread that is emptying it has taken everything. The reserve is not locked when what it
        // had is dropped.
        let Some(kept) = try_with(&self.own, std::mem::take) else {
            return;
        };
        // A panic at the end of a thread would end the process. The host's hook has reported it,
        // and the value of the panic could panic in its own drop.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| kept.give_back())) {
            std::mem::forget(panic);
        }
    }
}

fn try_with<V, R>(reserve: &Mutex<V>, work: impl FnOnce(&mut V) -> R) -> Option<R> {
    match reserve.try_lock() {
        Ok(mut reserve) => Some(work(&mut reserve)),
        Err(TryLockError::Poisoned(reserve)) => Some(work(&mut reserve.into_inner())),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Vec<u32>);

    impl Reserve for Kept {
        fn give_back(self) -> bool {
            !self.0.is_empty()
        }
    }

    #[test]
    fn a_thread_that_ends_meanwhile_takes_nobodys_turn() {
        static ALL: Reserves<Kept> = Reserves::new();
        let [first, second, third] = [1, 2, 3].map(|number| {
            let own = ALL.begin();
            own.with(|kept| kept.0.push(number));
            own
        });
        let (mut seen, mut ending) = (Vec::new(), Some(first));
        ALL.for_each(
            |kept| kept.0[0],
            |number| {
                seen.push(number);
                ending.take();
            },
        );
        assert!(seen.contains(&2) && seen.contains(&3), "{seen:?}");
        drop((second, third));
    }

    #[test]
    fn what_panics_when_a_thread_ends_does_not_end_the_process() {
        #[derive(Default)]
        struct Bad(bool);
        impl Reserve for Bad {
            fn give_back(self) -> bool {
                assert!(!self.0, "as intended");
                true
            }
        }
        static ALL: Reserves<Bad> = Reserves::new();
        let own = ALL.begin();
        own.with(|bad| bad.0 = true);
        drop(own);
        assert!(ALL.0.lock().unwrap().is_empty());
    }

    /// As in a child process whose parent forked while another thread held the lock.
    #[test]
    fn nobody_waits_for_a_list_that_stays_locked() {
        static ALL: Reserves<Kept> = Reserves::new();
        let before = ALL.begin();
        assert!(before.with(|own| own.0.push(1)).is_some());
        let held = ALL.0.lock().unwrap();
        let after = ALL.begin();
        assert!(after.with(|own| own.0.push(2)).is_none());
        assert!(before.with(|own| own.0.push(3)).is_some());
        drop(before);
        drop(held);
        // Now it is in the list, and there is nothing else to give back.
        assert!(!ALL.give_back());
        assert!(after.with(|own| own.0.push(4)).is_some());
        assert!(ALL.give_back() && !ALL.give_back());
        assert_eq!(after.with(|own| own.0.len()), Some(0));
    }
}
