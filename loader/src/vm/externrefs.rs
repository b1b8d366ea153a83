//! External references: values of the host that wasm code can hold and pass on, but not look into.
//!
//! Machine code holds a number, which names an entry of its store. Zero is null:
//! ```text
//!   63             32 31             0
//!   |   generation   |   index + 1   |
//! ```
//! A store keeps a value that has a number until a *collection* finds that nothing can hold the
//! number any more: no table, no global, and no active frame of wasm code. The collection looks at
//! every word of those frames, since machine code does not record which words are references. A
//! word that happens to look like a number keeps its entry for longer, which does no harm.
//!
//! An entry is reused with another generation, so its old number becomes invalid. If a collection
//! overlooked a reference, it would read as null, and never as another value.
//!
//! Exceptions have entries too, and are kept in the same way. The numbers among the values of an
//! exception count as held while the exception itself is held, by machine code or by the host.
//!
//! A collection costs in proportion to what it looks at: the words of tables, globals and frames,
//! the entries, and the words of the exceptions that are held. It is due when the number of
//! references, or the bytes of exceptions, have grown by as much. A store whose exceptions reach
//! their limit before that has one if a smaller part of what it looks at is new, because the call
//! ends otherwise ([`ExternRefs::pays`]). So throws cost little on average, however many exceptions
//! are held. But a store whose exceptions take nearly all of the limit, by less than that part,
//! gets the error of the limit although some of them are garbage. Nothing interrupts one
//! collection.
//!
//! A collection happens only where the host holds no number: before the arguments of a call from
//! the host are turned into numbers, before a value is written to a table or global, and before a
//! host function that machine code called begins ([`Point`]). See [`collect`](super::collect).

use std::collections::HashMap;
use std::collections::hash_map::Entry as Known;

use crate::error::Error;
use crate::exception::Exception;
use crate::externref::ExternRef;

/// Where a collection may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// In a shim that machine code called, on the same stack.
    Shim,
    /// In any other code of the host.
    Host,
}

/// Minimum number of new references before a collection is due.
const MIN_NEW: usize = 1024;

/// Number of words that a collection may look at for each new reference before it.
const WORDS_PER_REFERENCE: usize = 8;

/// Minimum number of bytes of new exceptions before a collection is due.
const MIN_NEW_BYTES: usize = 1 << 20;

/// Number of bytes of new exceptions for each word that a collection looks at.
const BYTES_PER_WORD: usize = 64;

/// Number of words that a collection which is not due may look at for each byte of new exceptions:
/// so many that a store with a low limit and deep calls still has one before its limit is reached,
/// and that a store can use nearly all of a limit.
const WORDS_PER_BYTE: usize = 8;

/// The references that a store keeps.
#[derive(Debug)]
pub(crate) struct ExternRefs {
    entries: Vec<Entry>,
    /// Indices of the entries without a value, the lowest one last.
    free: Vec<u32>,
    /// Indices of the entries by the address of their value.
    known: HashMap<usize, u32>,
    /// Number of collections so far.
    pub(super) generation: u32,
    /// Number of references that makes a collection due.
    due: usize,
    /// Bytes of the exceptions among the references.
    bytes: usize,
    /// Number of these bytes that makes a collection due.
    due_bytes: usize,
    /// Number of these bytes from which on a collection is allowed although it is not due.
    enough_bytes: usize,
    /// Marked exceptions whose contents are not marked yet.
    unseen: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    value: Option<ExternRef>,
    /// The generation of the store when the value was added.
    generation: u32,
    marked: bool,
}

impl Default for ExternRefs {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            known: HashMap::new(),
            generation: 0,
            due: MIN_NEW,
            bytes: 0,
            due_bytes: MIN_NEW_BYTES,
            enough_bytes: 0,
            unseen: Vec::new(),
        }
    }
}

impl ExternRefs {
    pub(super) fn is_due(&self) -> bool {
        self.known.len() >= self.due || self.bytes >= self.due_bytes
    }

    /// Whether the new exceptions justify a collection that is not due.
    pub(super) fn pays(&self) -> bool {
        self.bytes >= self.enough_bytes
    }

    /// Allows the next early collection, whatever it costs.
    pub(super) fn allow_early_collection(&mut self) {
        self.enough_bytes = 0;
    }

    /// About how many bytes the exceptions take.
    pub(super) fn exception_bytes(&self) -> usize {
        self.bytes
    }

    fn number(&self, index: u32) -> u64 {
        let generation = self.entries[index as usize].generation;
        u64::from(generation) << 32 | (u64::from(index) + 1)
    }

    /// The index of the entry that a number names, if the generation is right.
    fn index(&self, number: u64) -> Option<usize> {
        let index = (number as u32).checked_sub(1)? as usize;
        let generation = self.entries.get(index)?.generation;
        (u64::from(generation) == number >> 32).then_some(index)
    }

    pub(super) fn get(&self, number: u64) -> Option<ExternRef> {
        self.entries[self.index(number)?].value.clone()
    }

    /// # Errors
    /// [`Error::Limit`] if there are no more numbers.
    pub(super) fn insert(&mut self, value: &ExternRef) -> Result<u64, Error> {
        let index = match self.known.entry(value.address()) {
            Known::Occupied(known) => *known.get(),
            Known::Vacant(vacant) => {
                let index = match self.free.pop() {
                    Some(index) => index,
                    None if self.entries.len() < u32::MAX as usize => self.entries.len() as u32,
                    None => {
                        return Err(Error::Limit {
                            what: "external references of a store",
                            wanted: 1 << 32,
                            limit: u32::MAX.into(),
                        });
                    }
                };
                let entry = Entry {
                    value: Some(value.clone()),
                    generation: self.generation,
                    marked: false,
                };
                self.bytes += bytes(value);
                match self.entries.get_mut(index as usize) {
                    Some(free) => *free = entry,
                    None => self.entries.push(entry),
                }
                *vacant.insert(index)
            }
        };
        Ok(self.number(index))
    }

    /// Marks the entry of a word that something holds, if the word is a number.
    pub(super) fn mark(&mut self, number: u64) {
        if let Some(index) = self.index(number) {
            self.mark_entry(index);
        }
    }

    fn mark_entry(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        let was_marked = std::mem::replace(&mut entry.marked, true);
        if !was_marked && entry.value.as_ref().and_then(Exception::of).is_some() {
            self.unseen.push(index as u32);
        }
    }

    /// Marks the exceptions that the host holds, and what exceptions that are marked hold.
    pub(super) fn mark_what_exceptions_hold(&mut self) {
        for index in 0..self.entries.len() {
            let value = self.entries[index].value.as_ref();
            let is_exception = |value: &&ExternRef| Exception::of(value).is_some();
            let exception = value.filter(is_exception);
            if exception.is_some_and(ExternRef::is_held_by_host) {
                self.mark_entry(index);
            }
        }
        while let Some(index) = self.unseen.pop() {
            let value = self.entries[index as usize].value.clone();
            if let Some(exception) = value.as_ref().and_then(Exception::of) {
                exception.visit_words(&mut |word| self.mark(word));
            }
        }
    }

    /// Takes the values out whose entries are not marked.
    pub(super) fn sweep(&mut self) -> Vec<ExternRef> {
        let mut gone = Vec::new();
        for entry in &mut self.entries {
            if !std::mem::take(&mut entry.marked)
                && let Some(value) = entry.value.take()
            {
                self.known.remove(&value.address());
                self.bytes -= bytes(&value);
                gone.push(value);
            }
        }
        // Later values have another generation than all earlier ones, in every entry.
        self.generation += 1;
        let used = self.entries.iter().rposition(|entry| entry.value.is_some());
        self.entries.truncate(used.map_or(0, |last| last + 1));
        self.free.clear();
        for (index, entry) in self.entries.iter().enumerate().rev() {
            if entry.value.is_none() {
                self.free.push(index as u32);
            }
        }
        gone
    }

    /// Sets when the next collection is due, after one that looked at `words` words outside of
    /// exceptions.
    pub(super) fn wait(&mut self, words: usize) {
        // What the collection looked at besides, to find what exceptions hold and what is garbage.
        let inside = self.entries.len() + self.bytes / size_of::<u64>();
        let live = self.known.len();
        let more = live.max(words / WORDS_PER_REFERENCE).max(MIN_NEW);
        self.due = live + more;
        self.due_bytes = self.bytes + self.bytes.max(words * BYTES_PER_WORD).max(MIN_NEW_BYTES);
        self.enough_bytes = self.bytes + (words + inside) / WORDS_PER_BYTE;
        if self.entries.capacity() > 4 * self.due {
            self.entries.shrink_to(self.due);
            self.known.shrink_to(self.due);
            self.free.shrink_to(self.due);
        }
    }
}

/// About how many bytes an exception takes; zero for what is none.
fn bytes(value: &ExternRef) -> usize {
    Exception::of(value).map_or(0, Exception::bytes)
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use precast_artifact::vm::VmTag;

    use super::*;

    fn refs(count: usize) -> Vec<ExternRef> {
        (0..count).map(ExternRef::new).collect()
    }

    fn same(a: Option<ExternRef>, b: &ExternRef) -> bool {
        a.is_some_and(|a| a.ptr_eq(b))
    }

    #[test]
    fn numbers_lead_to_their_values_and_to_nothing_else() {
        let mut kept = ExternRefs::default();
        let values = refs(100);
        let insert = |kept: &mut ExternRefs, value| kept.insert(value).unwrap();
        let numbers: Vec<_> = values.iter().map(|v| insert(&mut kept, v)).collect();
        for (number, value) in numbers.iter().zip(&values) {
            assert!(same(kept.get(*number), value));
            assert_eq!(insert(&mut kept, value), *number);
        }
        for number in [0, 101, u64::MAX, 1 << 32, 1 << 32 | 1, u32::MAX.into()] {
            assert!(kept.get(number).is_none(), "{number:#x}");
        }
        // Every other one, and numbers that never were.
        for number in numbers
            .iter()
            .step_by(2)
            .chain(&[0, 1 << 40, 101, u64::MAX])
        {
            kept.mark(*number);
        }
        let gone = kept.sweep();
        assert_eq!(gone.len(), 50);
        assert_eq!(kept.known.len(), 50);
        let others: Vec<_> = refs(60);
        let new: Vec<_> = others.iter().map(|v| insert(&mut kept, v)).collect();
        assert_eq!(kept.entries.len(), 110);
        for (i, (number, value)) in numbers.iter().zip(&values).enumerate() {
            let found = kept.get(*number);
            assert!(if i % 2 == 0 {
                same(found, value)
            } else {
                found.is_none()
            });
            assert!(!new.contains(number));
        }
        // The same value again: it was gone, so it is a new one.
        let again = insert(&mut kept, &values[1]);
        assert!(same(kept.get(again), &values[1]));
        assert!(kept.get(numbers[1]).is_none());
        // Everything goes, and no number means anything any more.
        assert_eq!(kept.sweep().len(), 111);
        assert!(kept.entries.is_empty() && kept.known.is_empty() && kept.free.is_empty());
        let last = insert(&mut kept, &values[0]);
        assert!(numbers.iter().chain(&new).all(|n| kept.get(*n).is_none()));
        assert!(same(kept.get(last), &values[0]));
    }

    #[test]
    fn values_without_bytes_are_told_apart() {
        let mut kept = ExternRefs::default();
        let (a, b) = (ExternRef::new(()), ExternRef::new(()));
        let numbers = [&a, &b, &a].map(|v| kept.insert(v).unwrap());
        assert_eq!(numbers[0], numbers[2]);
        assert_ne!(numbers[0], numbers[1]);
    }

    #[test]
    fn the_next_collection_waits_for_what_it_costs() {
        let mut kept = ExternRefs::default();
        let values = refs(10_000);
        for value in &values {
            kept.insert(value).unwrap();
        }
        assert!(kept.is_due());
        kept.wait(0);
        assert_eq!(kept.due, 20_000);
        kept.wait(1_000_000);
        assert_eq!(kept.due, 10_000 + 1_000_000 / WORDS_PER_REFERENCE);
        drop(kept.sweep());
        kept.wait(0);
        assert_eq!(kept.due, MIN_NEW);
        assert!(kept.entries.capacity() <= 4 * MIN_NEW);
    }

    #[test]
    fn bytes_of_exceptions_make_a_collection_due() {
        let mut kept = ExternRefs::default();
        let tag = VmTag {
            type_id: 0,
            values: 1000,
        };
        let insert = |kept: &mut ExternRefs| {
            let exception = Exception::make(1, NonNull::from(&tag)).unwrap();
            kept.insert(&exception.0).unwrap();
        };
        let each = Exception::bytes_of(&tag);
        (1..MIN_NEW_BYTES / each).for_each(|_| insert(&mut kept));
        assert!(!kept.is_due());
        insert(&mut kept);
        insert(&mut kept);
        assert!(kept.is_due());
        let bytes = kept.exception_bytes();
        assert_eq!(bytes, (MIN_NEW_BYTES / each + 1) * each);
        // The next collection is due after bytes in proportion to the words that this one looked
        // at.
        kept.wait(1_000_000);
        assert_eq!(kept.due_bytes, bytes + 1_000_000 * BYTES_PER_WORD);
        assert!(!kept.pays());
        kept.allow_early_collection();
        assert!(kept.pays());
        // An early collection is allowed after bytes in proportion to those of the exceptions.
        kept.wait(0);
        while !kept.pays() {
            insert(&mut kept);
        }
        let new = kept.exception_bytes() - bytes;
        assert!((bytes / 64..bytes / 64 + 2 * each).contains(&new), "{new}");
        drop(kept.sweep());
        assert_eq!(kept.exception_bytes(), 0);
    }
}
