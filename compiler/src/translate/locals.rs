//! The value of each local, as far as it is known at the current position.
//!
//! Cranelift's front end makes a block parameter of a local that is read in a loop. Only at the end
//! of the loop does the front end find out that the parameter always has the value from before the
//! loop. Until then the parameter is a different value, about which no [check](super::checks) is
//! known. So where checks matter, locals are also tracked here, and a local that a loop does not
//! assign keeps its value in the loop. For that, the loops of a function are examined first:
//! [`Assigned`].
//!
//! A value that is known here dominates the current position, for the same reason as with checks:
//! what was noted inside a construct is forgotten where another path joins.

use cranelift_codegen::ir::Value;
use wasmparser::{FunctionBody, Operator, OperatorsReader};

use crate::Error;
use crate::operator::{Flow, class};

/// Maximum number of entries of all loops' lists together, for each byte of a function. Only loops
/// that are nested deeply and assign many locals need more.
const ENTRIES_PER_BYTE: usize = 4;

/// The values of locals at the current position.
#[derive(Debug, Default)]
pub(super) struct Locals {
    /// For each local, the epoch in which its value was noted, and the value.
    values: Vec<(u32, Option<Value>)>,
    /// Values of other epochs are not known any more.
    epoch: u32,
    journal: Vec<u32>,
}

impl Locals {
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.journal.clear();
        self.epoch = 0;
    }

    /// The value that this local has, if it is known.
    pub(super) fn get(&self, local: u32) -> Option<Value> {
        let (epoch, value) = *self.values.get(local as usize)?;
        value.filter(|_| epoch == self.epoch)
    }

    /// Notes the value that this local has now.
    pub(super) fn set(&mut self, local: u32, value: Value) {
        let index = local as usize;
        if index >= self.values.len() {
            self.values.resize(index + 1, (0, None));
        }
        self.values[index] = (self.epoch, Some(value));
        self.journal.push(local);
    }

    /// The current point, for [`Locals::forget`].
    pub(super) fn mark(&self) -> usize {
        self.journal.len()
    }

    /// Forgets the values of locals that were noted since this point.
    pub(super) fn forget(&mut self, since: usize) {
        for local in self.journal.drain(since..) {
            self.values[local as usize].1 = None;
        }
    }

    /// Forgets the values of these locals of a body, or of all. `first` is the slot of the body's
    /// first local.
    pub(super) fn enter_loop(&mut self, first: u32, assigned: Option<&[u32]>) {
        match assigned {
            Some(locals) => {
                for local in locals {
                    let slot = first as usize + *local as usize;
                    if let Some((_, value)) = self.values.get_mut(slot) {
                        *value = None;
                    }
                }
            }
            None => self.epoch += 1,
        }
    }
}

/// The locals that each loop of a function assigns.
#[derive(Debug, Default)]
pub(super) struct Assigned {
    /// For each loop, its wasm offset, and the start and end of its list in `locals`; sorted by
    /// offset.
    loops: Vec<(u32, usize, usize)>,
    locals: Vec<u32>,
    /// Whether the lists would be too long.
    is_too_long: bool,
}

impl Assigned {
    /// Finds the locals that the loops of a function assign.
    ///
    /// # Errors
    /// If the body cannot be read.
    pub(super) fn find(body: &FunctionBody<'_>) -> Result<Self, Error> {
        let range = body.range();
        let budget = (range.end - range.start) as usize * ENTRIES_PER_BYTE;
        let mut found = Self::default();
        // Open constructs. A loop has its offset and the index in `pending` of the first local that
        // it assigns.
        let mut open: Vec<Option<(u32, usize)>> = Vec::new();
        let mut pending: Vec<u32> = Vec::new();
        let mut loops = 0_usize;
        let mut reader = OperatorsReader::new(body.get_binary_reader_for_operators()?);
        while !reader.eof() {
            let (operator, offset) = reader.read_with_offset()?;
            if let Operator::LocalSet { local_index } | Operator::LocalTee { local_index } =
                operator
                && loops > 0
            {
                pending.push(local_index);
            }
            match class(&operator).flow {
                Flow::OpensLoop => {
                    open.push(Some((offset as u32, pending.len())));
                    loops += 1;
                }
                Flow::Opens | Flow::OpensConditionally | Flow::OpensTry => open.push(None),
                Flow::Closes => {
                    if let Some(Some((offset, start))) = open.pop() {
                        loops -= 1;
                        pending[start..].sort_unstable();
                        let mut list = pending.split_off(start);
                        list.dedup();
                        let first = found.locals.len();
                        found.locals.extend_from_slice(&list);
                        found.loops.push((offset, first, found.locals.len()));
                        if found.locals.len() > budget {
                            found.is_too_long = true;
                            return Ok(found);
                        }
                        pending.append(&mut list);
                        if loops == 0 {
                            pending.clear();
                        }
                    }
                }
                Flow::Divides
                | Flow::Straight
                | Flow::Branches
                | Flow::Returns
                | Flow::Calls
                | Flow::Traps
                | Flow::Throws => {}
            }
        }
        found.loops.sort_unstable();
        Ok(found)
    }

    /// The locals that the loop at this wasm offset assigns, or `None` if it may assign any local.
    pub(super) fn by(&self, offset: u32) -> Option<&[u32]> {
        if self.is_too_long {
            return None;
        }
        let at = self.loops.binary_search_by_key(&offset, |found| found.0);
        let (_, first, end) = self.loops[at.ok()?];
        Some(&self.locals[first..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(wat: &str) -> Assigned {
        let wasm = wat::parse_str(format!("(module (func (local i32 i32 i32) {wat}))")).unwrap();
        let body = wasmparser::Parser::new(0)
            .parse_all(&wasm)
            .find_map(|payload| match payload.unwrap() {
                wasmparser::Payload::CodeSectionEntry(body) => Some(body),
                _ => None,
            });
        Assigned::find(&body.unwrap()).unwrap()
    }

    fn lists(assigned: &Assigned) -> Vec<Vec<u32>> {
        let offsets: Vec<_> = assigned.loops.iter().map(|found| found.0).collect();
        let by = |offset: &u32| assigned.by(*offset).unwrap().to_vec();
        offsets.iter().map(by).collect()
    }

    #[test]
    fn loops_know_what_they_and_those_inside_assign() {
        let set = |local: u32| format!("(local.set {local} (i32.const 0))");
        let body = format!(
            "{} (loop (block {} (loop {} (if (i32.const 1) (then {}))) {}) (drop (local.tee 1 (i32.const 0))))
            (loop {})",
            set(0),
            set(2),
            set(0),
            set(0),
            set(2),
            set(1)
        );
        assert_eq!(lists(&find(&body)), [vec![0, 1, 2], vec![0], vec![1]]);
    }

    #[test]
    fn deep_nesting_ends_the_search() {
        let deep = |depth: usize| {
            let set = |local: u32| format!("(local.set {local} (i32.const 0))");
            let inner: String = (0..30).map(set).collect();
            let (start, end) = ("(loop ".repeat(depth), ")".repeat(depth));
            find(&format!("{start} {inner} {end}"))
        };
        let few = deep(10);
        assert!(!few.is_too_long);
        assert_eq!(few.by(few.loops[0].0).map(<[u32]>::len), Some(30));
        let many = deep(1000);
        assert!(many.is_too_long);
        assert_eq!(many.by(many.loops[0].0), None);
    }

    #[test]
    fn what_is_noted_in_a_construct_is_forgotten_behind_it() {
        let value = Value::from_u32;
        let mut locals = Locals::default();
        locals.set(0, value(1));
        locals.set(5, value(2));
        let mark = locals.mark();
        locals.set(0, value(3));
        locals.set(7, value(4));
        locals.forget(mark);
        let known: Vec<_> = (0..9).map(|local| locals.get(local)).collect();
        assert_eq!(known.iter().flatten().count(), 1);
        assert_eq!(locals.get(5), Some(value(2)));
        locals.enter_loop(0, Some(&[5, 100]));
        assert_eq!(locals.get(5), None);
        locals.set(5, value(6));
        locals.enter_loop(0, None);
        assert_eq!(locals.get(5), None);
        locals.set(5, value(7));
        assert_eq!(locals.get(5), Some(value(7)));
    }
}
