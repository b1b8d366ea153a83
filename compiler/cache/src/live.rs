//! The modules that this process has mapped, shared by all its caches.
//!
//! There is one slot for each artifact of each cache. A thread that needs the artifact locks the
//! slot: the first thread maps or compiles the artifact, the others wait and share the result. A
//! slot holds a weak reference, so a module lives as long as somebody uses it. Slots whose modules
//! are gone are dropped when new slots are made.
//!
//! Caches that were opened on the same directory, under whatever paths, share their slots.
//!
//! A child by `fork` begins with the slots of its parent, without those that other threads of the
//! parent had locked, which would stay locked for ever. If a thread had locked the list of slots,
//! the child begins with none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use precast_loader::{PerProcess, WeakModule};

use crate::Key;

/// Identifies a cache within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CacheId {
    /// A cache in a directory, by the directory's device and inode number.
    Directory { dev: u64, ino: u64 },
    /// A cache in memory, by a number of its own.
    Memory(u64),
}

impl CacheId {
    /// An identity that no other cache has.
    pub(crate) fn in_memory() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self::Memory(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One artifact of one cache. The slot is locked while a thread maps or compiles the artifact.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<WeakModule>);

impl Slot {
    /// Locks the slot, and returns whether another thread had it locked. `None` if another thread
    /// has it locked and this thread must not wait.
    pub(crate) fn lock(&self, may_wait: bool) -> Option<(MutexGuard<'_, WeakModule>, bool)> {
        match self.0.try_lock() {
            Ok(guard) => Some((guard, false)),
            // A thread panicked before it stored a module. The slot is as it was before.
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

    fn is_locked(&self) -> bool {
        matches!(self.0.try_lock(), Err(TryLockError::WouldBlock))
    }
}

#[derive(Default)]
struct Slots {
    slots: HashMap<(CacheId, Key), Arc<Slot>>,
    /// When the number of slots reaches this, idle slots are dropped.
    sweep_at: usize,
}

impl Slots {
    /// The slots that a child by `fork` begins with: the parent's, except those that threads of the
    /// parent had locked.
    fn of_child(parent: &Self) -> Self {
        let usable = parent.slots.iter().filter(|(_, slot)| !slot.is_locked());
        Self {
            slots: usable.map(|(key, slot)| (*key, Arc::clone(slot))).collect(),
            sweep_at: parent.sweep_at,
        }
    }
}

/// Returns the slot of an artifact.
pub(crate) fn slot(cache: CacheId, key: Key) -> Arc<Slot> {
    static SLOTS: PerProcess<Mutex<Slots>> = PerProcess::new();
    let mut slots = SLOTS.lock(|of_parent| of_parent.map(Slots::of_child).unwrap_or_default());
    if let Some(slot) = slots.slots.get(&(cache, key)) {
        return Arc::clone(slot);
    }
    if slots.slots.len() >= slots.sweep_at {
        // A slot with a second reference may be about to be locked, so it is not idle.
        slots
            .slots
            .retain(|_, slot| Arc::strong_count(slot) > 1 || !slot.is_idle());
        slots.sweep_at = 2 * slots.slots.len() + 64;
    }
    let slot = Arc::new(Slot::default());
    slots.slots.insert((cache, key), Arc::clone(&slot));
    slot
}
