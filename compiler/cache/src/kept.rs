//! Modules that the cache keeps in memory: all modules of a cache without a directory, and modules
//! that could not be written to the directory.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use precast_loader::Module;

use crate::{Key, Options};

/// Modules in memory, within a budget.
#[derive(Debug, Default)]
pub(crate) struct KeptModules {
    modules: HashMap<Key, KeptModule>,
    pinned: HashSet<Key>,
}

#[derive(Debug)]
struct KeptModule {
    /// Keeps the module mapped, and is not used otherwise.
    _module: Module,
    bytes: u64,
    used: Instant,
}

impl KeptModules {
    pub(crate) fn insert(&mut self, key: Key, module: &Module, bytes: u64) {
        let kept = KeptModule {
            _module: module.clone(),
            bytes,
            used: Instant::now(),
        };
        self.modules.insert(key, kept);
    }

    /// Updates the time of use of a module, if the module is here.
    pub(crate) fn touch(&mut self, key: Key) {
        if let Some(kept) = self.modules.get_mut(&key) {
            kept.used = Instant::now();
        }
    }

    pub(crate) fn pin(&mut self, key: Key, on: bool) {
        if on {
            self.pinned.insert(key);
        } else {
            self.pinned.remove(&key);
        }
    }

    /// Drops the modules that the budget has no room for. Returns their number.
    pub(crate) fn prune(&mut self, options: &Options) -> u64 {
        let before = self.modules.len();
        if let Some(age) = options.max_age {
            self.forget_unused_for(age);
        }
        if let Some(max) = options.max_bytes {
            let mut bytes = self.bytes();
            let mut candidates: Vec<(Instant, Key, u64)> = self
                .modules
                .iter()
                .filter(|(key, _)| !self.pinned.contains(key))
                .map(|(key, kept)| (kept.used, *key, kept.bytes))
                .collect();
            candidates.sort_unstable();
            for (_, key, size) in candidates {
                if bytes <= max {
                    break;
                }
                self.modules.remove(&key);
                bytes -= size;
            }
        }
        (before - self.modules.len()) as u64
    }

    fn forget_unused_for(&mut self, age: Duration) {
        let pinned = &self.pinned;
        self.modules
            .retain(|key, kept| pinned.contains(key) || kept.used.elapsed() <= age);
    }

    pub(crate) fn clear(&mut self) {
        self.modules.clear();
        self.pinned.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.modules.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.modules.values().map(|kept| kept.bytes).sum()
    }
}
