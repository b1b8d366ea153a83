//! Checks that code with short jumps does the same as the code that it was made from.

use super::code::{Code, Form};
use super::{Shortened, word};

/// Whether `new` has the same instructions, jump tables and constants as `old`, in the same order,
/// and all of them refer to the same of these.
///
/// The places are found here by following the instructions through the new code. Those that
/// `new` claims must be the same.
pub(super) fn is_same(old: &[u8], code: &Code, new: &Shortened, align: u32) -> bool {
    Comparison {
        old,
        code,
        new: &new.code,
        places: vec![NOWHERE; old.len()],
    }
    .holds(new, align)
    .is_some_and(|holds| holds)
}

/// The place of a byte that is not at the start of an instruction or in data.
const NOWHERE: u32 = u32::MAX;

struct Comparison<'a> {
    old: &'a [u8],
    code: &'a Code,
    new: &'a [u8],
    /// For each instruction, jump table and constant of the old code where it is in the new one.
    places: Vec<u32>,
}

impl Comparison<'_> {
    fn holds(mut self, shortened: &Shortened, align: u32) -> Option<bool> {
        let mut tables = self.code.tables.iter().peekable();
        let mut references = self.code.references.iter().peekable();
        // The distances in the new code: the end that each counts from, its value and the target.
        let mut distances = Vec::with_capacity(self.code.references.len());
        let mut at = 0;
        for (i, &start) in self.code.instructions.iter().enumerate() {
            while let Some(table) = tables.next_if(|table| table.start < start) {
                at = self.table(table.start, table.end, at, &mut distances)?;
            }
            self.places[start as usize] = at;
            let reference = references.next_if(|reference| reference.start == start);
            let next = self.code.instructions.get(i + 1).copied();
            let table = tables.peek().map(|table| table.start);
            let gap = Some(self.code.gap.start).filter(|gap| start < *gap);
            let end = [next, table, gap, Some(self.code.end)];
            let end = end.into_iter().flatten().min()?;
            let bytes = self.old.get(start as usize..end as usize)?;
            let new = self.new.get(at as usize..)?;
            let Some(reference) = reference else {
                if !new.starts_with(bytes) {
                    return Some(false);
                }
                at += end - start;
                continue;
            };
            let (len, distance) = match (reference.form, bytes, new) {
                (Form::Always, [0xe9, ..], [0xeb, distance, ..]) => {
                    (2, i32::from(distance.cast_signed()))
                }
                (Form::Conditional, [0x0f, long, ..], [short, distance, ..])
                    if long & 0xf0 == 0x80 && *short == 0x70 | long & 0xf =>
                {
                    (2, i32::from(distance.cast_signed()))
                }
                (Form::Short, [opcode, _], [same, distance, ..]) if opcode == same => {
                    (2, i32::from(distance.cast_signed()))
                }
                _ => {
                    // Only the distance differs.
                    let field = (reference.field - start) as usize;
                    let behind = field + 4;
                    let is_same = new.starts_with(&bytes[..field])
                        && new.get(behind..)?.starts_with(bytes.get(behind..)?);
                    if !is_same {
                        return Some(false);
                    }
                    (end - start, word(new, field as u32)?)
                }
            };
            at += len;
            distances.push((at, distance, reference.target));
        }
        for table in tables {
            at = self.table(table.start, table.end, at, &mut distances)?;
        }

        // Behind the instructions are padding and constants.
        let constants = self.code.constants.start as usize..self.code.constants.end as usize;
        let first = self.new.len().checked_sub(constants.len())?;
        let is_behind = first >= at as usize && first - (at as usize) < align as usize;
        let is_aligned = constants.start % align as usize == first % align as usize;
        if self.new[first..] != self.old[constants.clone()]
            || !(constants.is_empty() && first == at as usize || is_behind && is_aligned)
        {
            return Some(false);
        }
        for (old, new) in constants.zip(first..) {
            self.places[old] = new as u32;
        }
        for (from, distance, target) in distances {
            let place = self.places[target as usize];
            if place == NOWHERE || from.checked_add_signed(distance) != Some(place) {
                return Some(false);
            }
        }
        let claimed = shortened.places.iter().zip(&self.places);
        let mut known = claimed.filter(|(_, place)| **place != NOWHERE);
        Some(known.all(|(claimed, place)| claimed == place))
    }

    /// Notes the distances in a jump table that is at `at` in the new code. Returns its end.
    fn table(
        &mut self,
        start: u32,
        end: u32,
        at: u32,
        distances: &mut Vec<(u32, i32, u32)>,
    ) -> Option<u32> {
        self.places[start as usize] = at;
        for entry in (start..end).step_by(4) {
            let target = start.checked_add_signed(word(self.old, entry)?)?;
            let distance = word(self.new, at + (entry - start))?;
            distances.push((at, distance, target));
        }
        Some(at + (end - start))
    }
}
