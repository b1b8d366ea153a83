//! Modules that the cache itself keeps in memory: all of a cache without a directory, and those
//! that could not be written into one.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use precast_loader::Module;

use crate::{Key, Options};

/// Modules in memory, within a budget.
#[derive(Debug, Default)]
pub(crate) struct Residents {
    modules: HashMap<Key, Resident>,
    pinned: HashSet<Key>,
}

#[derive(Debug)]
struct Resident {
    /// Keeps the mapping; never used otherwise.
    _module: Module,
    bytes: u64,
    used: Instant,
}

impl Residents {
    pub(crate) fn insert(&mut self, key: Key, module: &Module, bytes: u64) {
        let resident = Resident {
            _module: module.clone(),
            bytes,
            used: Instant::now(),
        };
        self.modules.insert(key, resident);
    }

    /// Notes that a module is used, if it is here.
    pub(crate) fn touch(&mut self, key: Key) {
        if let Some(resident) = self.modules.get_mut(&key) {
            resident.used = Instant::now();
        }
    }

    pub(crate) fn pin(&mut self, key: Key, on: bool) {
        if on {
            self.pinned.insert(key);
        } else {
            self.pinned.remove(&key);
        }
    }

    /// Forgets what the budget has no room for; says how many that were.
    pub(crate) fn prune(&mut self, options: &Options) -> u64 {
        let before = self.modules.len();
        if let Some(age) = options.max_age {
            self.forget_unused_for(age);
        }
        if let Some(most) = options.max_bytes {
            let mut bytes = self.bytes();
            let mut candidates: Vec<(Instant, Key, u64)> = self
                .modules
                .iter()
                .filter(|(key, _)| !self.pinned.contains(key))
                .map(|(key, resident)| (resident.used, *key, resident.bytes))
                .collect();
            candidates.sort_unstable();
            for (_, key, size) in candidates {
                if bytes <= most {
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
            .retain(|key, resident| pinned.contains(key) || resident.used.elapsed() <= age);
    }

    pub(crate) fn clear(&mut self) {
        self.modules.clear();
        self.pinned.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.modules.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.modules.values().map(|resident| resident.bytes).sum()
    }
}
