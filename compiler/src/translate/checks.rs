//! What is known about addresses that were checked before, so that the same address needs no second
//! check.
//!
//! A check establishes that `index + end` is at most the length of a memory. Because that length
//! never shrinks, this holds from then on wherever the check has been executed before: in the rest
//! of its block, and in all blocks that this block dominates. WebAssembly's control is structured,
//! so these blocks are easy to track. What is known at the start of a construct is known inside it,
//! and what was learned inside is forgotten where another path through the construct joins
//! ([`Checks::forget`]).
//!
//! A later access uses the index that the check masked, not the index that was checked, so
//! speculation past the check cannot use an index out of bounds there either.

use std::collections::HashMap;

use cranelift_codegen::ir::Value;

use super::locals::Locals;
use crate::symbol::MemoryIndex;

/// What a check has established about an index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    /// `index + end` is at most the length of the memory.
    pub(super) end: u64,
    /// The 64-bit index. If speculation has got past the check, the value is an index in the
    /// memory's address space.
    pub(super) index: Value,
    /// The index in 32 bits, if the memory's mask has been used.
    pub(super) narrow: Option<Value>,
}

type Key = (MemoryIndex, Value);

/// What is known at the current position of the translation.
#[derive(Debug, Default)]
pub(super) struct Checks {
    known: HashMap<Key, Checked>,
    /// The former entries of `known`, oldest first, for [`Checks::forget`].
    journal: Vec<(Key, Option<Checked>)>,
    /// The values of locals, if they are tracked.
    pub(super) locals: Locals,
}

/// A point in the translation that [`Checks::forget`] goes back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(usize, usize);

impl Mark {
    /// The start of a function, where nothing is known.
    pub(super) const START: Self = Self(0, 0);
}

impl Checks {
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.journal.clear();
        self.locals.clear();
    }

    /// What is known about this index of a memory.
    pub(super) fn get(&self, memory: MemoryIndex, index: Value) -> Option<Checked> {
        self.known.get(&(memory, index)).copied()
    }

    /// Records what a check has established.
    pub(super) fn insert(&mut self, memory: MemoryIndex, index: Value, checked: Checked) {
        let key = (memory, index);
        let before = self.known.insert(key, checked);
        self.journal.push((key, before));
    }

    /// The current point.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.journal.len(), self.locals.mark())
    }

    /// Forgets what was recorded since this point.
    pub(super) fn forget(&mut self, since: Mark) {
        self.locals.forget(since.1);
        while self.journal.len() > since.0 {
            let (key, before) = self.journal.pop().expect("longer than the mark");
            match before {
                Some(checked) => self.known.insert(key, checked),
                None => self.known.remove(&key),
            };
        }
    }
}
