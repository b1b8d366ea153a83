//! What is known about addresses that were checked before: the same address needs no second check.
//!
//! A check says that `index + end` lies in a memory. That holds from then on, for the length of a
//! memory never shrinks, wherever the check has been executed before: in the block that it is in, and in
//! all blocks that this one dominates. WebAssembly's control is structured, so those are easy to
//! follow: what is known when a construct is entered is known inside it; what was found out inside is
//! forgotten where another way through the construct joins ([`Checks::forget`]).
//!
//! The index of a later access is the value that the check has masked, not the one that was
//! checked: what speculation may do with it was settled there.

use std::collections::HashMap;

use cranelift_codegen::ir::Value;

use crate::key::MemoryIndex;

/// What a check has found out about an index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    /// `index + end` is at most the length of the memory.
    pub(super) end: u64,
    /// The index, 64 bits wide; zero where a mispredicted branch has passed the check wrongly.
    pub(super) index: Value,
}

type Key = (MemoryIndex, Value);

/// What is known at the current position of the translation.
#[derive(Debug, Default)]
pub(super) struct Checks {
    known: HashMap<Key, Checked>,
    /// What to put back to know what was known before, oldest first.
    journal: Vec<(Key, Option<Checked>)>,
}

/// A point in the translation that [`Checks::forget`] goes back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(usize);

impl Mark {
    /// Where nothing is known yet.
    pub(super) const START: Self = Self(0);
}

impl Checks {
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.journal.clear();
    }

    /// What is known about this index of a memory.
    pub(super) fn get(&self, memory: MemoryIndex, index: Value) -> Option<Checked> {
        self.known.get(&(memory, index)).copied()
    }

    /// Notes what a check has found out.
    pub(super) fn insert(&mut self, memory: MemoryIndex, index: Value, checked: Checked) {
        let key = (memory, index);
        let before = self.known.insert(key, checked);
        self.journal.push((key, before));
    }

    /// The current point.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.journal.len())
    }

    /// Forgets what was found out since then.
    pub(super) fn forget(&mut self, since: Mark) {
        while self.journal.len() > since.0 {
            let (key, before) = self.journal.pop().expect("longer than the mark");
            match before {
                Some(checked) => self.known.insert(key, checked),
                None => self.known.remove(&key),
            };
        }
    }
}
