//! The modules that this process has mapped, for all caches together.
//!
//! There is one slot for each artifact of each place; whoever wants the artifact locks the slot, so
//! the first one maps or compiles it and the others wait and share. Slots do not keep modules:
//! these live as long as somebody uses them, and their slots are dropped when the next are made.
//!
//! Caches that were opened on one directory, under whatever names, are one place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, TryLockError};

use precast_loader::WeakModule;

use crate::Key;

/// Where artifacts are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// A directory.
    Directory {
        /// Its device.
        dev: u64,
        /// Its inode.
        ino: u64,
    },
    /// A cache in memory.
    Memory(u64),
}

impl Place {
    /// A place that no other cache has.
    pub(crate) fn in_memory() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self::Memory(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One artifact of one place. Locked while somebody is getting the artifact.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<WeakModule>);

impl Slot {
    /// Takes the slot; says whether that took waiting. Nothing if somebody else has it and this thread
    /// must not wait.
    pub(crate) fn lock(&self, may_wait: bool) -> Option<(MutexGuard<'_, WeakModule>, bool)> {
        match self.0.try_lock() {
            Ok(guard) => Some((guard, false)),
            // Whoever panicked had not got it: nothing is half done.
            Err(TryLockError::Poisoned(poisoned)) => Some((poisoned.into_inner(), false)),
            Err(TryLockError::WouldBlock) => may_wait.then(|| {
                let guard = self.0.lock();
                (guard.unwrap_or_else(PoisonError::into_inner), true)
            }),
        }
    }

    fn is_idle(&self) -> bool {
        self.0.try_lock().is_ok_and(|module| module.is_gone())
    }
}

#[derive(Default)]
struct Slots {
    slots: HashMap<(Place, Key), Arc<Slot>>,
    /// Number of slots from which on looking for idle ones is worth it again.
    sweep_at: usize,
}

/// The slot of an artifact.
pub(crate) fn slot(place: Place, key: Key) -> Arc<Slot> {
    static SLOTS: LazyLock<Mutex<Slots>> = LazyLock::new(Mutex::default);
    let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(slot) = slots.slots.get(&(place, key)) {
        return Arc::clone(slot);
    }
    if slots.slots.len() >= slots.sweep_at {
        // One that somebody holds may be about to be locked.
        slots
            .slots
            .retain(|_, slot| Arc::strong_count(slot) > 1 || !slot.is_idle());
        slots.sweep_at = 2 * slots.slots.len() + 64;
    }
    let slot = Arc::new(Slot::default());
    slots.slots.insert((place, key), Arc::clone(&slot));
    slot
}
