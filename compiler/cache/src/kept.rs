//! Modules that the cache keeps in memory: all modules of a cache without a directory, and modules
//! that could not be written to the directory.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use precast_loader::Module;

use crate::policy::{Candidate, superfluous};
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
        let candidates = self.modules.iter().map(|(key, kept)| Candidate {
            id: *key,
            bytes: kept.bytes,
            unused_for: kept.used.elapsed(),
            pinned: self.pinned.contains(key),
        });
        let gone = superfluous(candidates.collect(), options.max_bytes, options.max_age);
        for key in &gone {
            self.modules.remove(key);
        }
        gone.len() as u64
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
