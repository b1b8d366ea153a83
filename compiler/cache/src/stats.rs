//! The counters of a cache.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a cache has done since it was made. Clones of a cache share their counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Requests for modules that this process had mapped already.
    pub memory_hits: u64,
    /// Requests for modules that were mapped from the directory.
    pub disk_hits: u64,
    /// Hits for [files](crate::CompilationCache::get_or_compile_file) that were neither read nor
    /// hashed, because they had not changed. They also count as memory hits or disk hits.
    pub unread_hits: u64,
    /// Requests for modules that were neither mapped already nor in the directory.
    pub misses: u64,
    /// Modules that this process compiled. There are fewer of them than misses if compilations fail
    /// or [`Options::require_hit`](crate::Options::require_hit) forbids them.
    pub compilations: u64,
    /// How often a request waited for another thread or process that was compiling the same module.
    pub waits: u64,
    /// Bytes of artifacts that were mapped or compiled, not counting memory hits.
    pub bytes: u64,
    /// Entries that were written to the directory.
    pub stores: u64,
    /// Entries that could not be written. Their modules are in memory only.
    pub store_failures: u64,
    /// Entries that were removed to keep the budget.
    pub evictions: u64,
    /// Entries that were not used because they were damaged, stale, foreign or unreadable.
    pub damaged: u64,
    /// Entries that were read and checked in full before they were used, because they had no valid
    /// seal: somebody wrote to the file or copied it, or the file system does not keep its times.
    pub full_checks: u64,
}

impl Stats {
    /// Memory hits and disk hits.
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
    unread_hits,
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
