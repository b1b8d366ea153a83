//! Counters of one cache, since it was made.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a cache did since it was made. Clones of a cache count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Modules that this process had mapped already.
    pub memory_hits: u64,
    /// Modules that were mapped from the directory.
    pub disk_hits: u64,
    /// Modules that were neither.
    pub misses: u64,
    /// Modules that this process compiled: fewer than misses where compilation is ruled out or
    /// fails.
    pub compilations: u64,
    /// Requests that waited for somebody else who was compiling the same module.
    pub waits: u64,
    /// Bytes of artifacts that were handed out and were not in memory before.
    pub bytes: u64,
    /// Entries that were written to the directory.
    pub stores: u64,
    /// Entries that could not be written: their modules are in memory alone.
    pub store_failures: u64,
    /// Entries that went because of the budget.
    pub evictions: u64,
    /// Entries that were found damaged, stale, foreign or unreadable, and not used.
    pub damaged: u64,
    /// Entries whose whole content was read and checked before they were used, because something
    /// about the file was not as this cache leaves it.
    pub full_checks: u64,
}

impl Stats {
    /// Hits of both kinds.
    pub fn hits(&self) -> u64 {
        self.memory_hits + self.disk_hits
    }
}

macro_rules! counters {
    ($($field:ident),*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $field: Counter,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats {
                    $($field: self.$field.0.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

counters!(
    memory_hits,
    disk_hits,
    misses,
    compilations,
    waits,
    bytes,
    stores,
    store_failures,
    evictions,
    damaged,
    full_checks
);

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}
