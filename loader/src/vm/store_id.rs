//! Numbers of stores.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of a store, unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StoreId(u64);

impl StoreId {
    /// Returns a number that no other store has. Threads take numbers in blocks, so that making
    /// stores does not move a cache line between them.
    pub(crate) fn next() -> Self {
        const BLOCK: u64 = 1 << 16;
        static BLOCKS: AtomicU64 = AtomicU64::new(0);
        thread_local! {
            static NEXT: Cell<u64> = const { Cell::new(0) };
        }
        let mut next = NEXT.get();
        if next.is_multiple_of(BLOCK) {
            next = BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK + 1;
        }
        NEXT.set(next + 1);
        Self(next)
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }
}
