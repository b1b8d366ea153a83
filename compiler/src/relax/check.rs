//! Checks that rewritten code does the same as the code that it was made from.

use iced_x86::{Decoder, DecoderOptions, Mnemonic};

use super::code::{Code, Form, Reference};
use super::{Known, Relaxed, word};

/// Whether `new` has the same instructions, jump tables and constants as `old`, in the same order,
/// and all of them refer to the same of these. In the place of a jump it may have a copy of the
/// instructions that run after the jump, up to an indirect jump through a table.
///
/// The places are found here by following the instructions through the new code. Those that
/// `new` claims must be the same.
pub(super) fn is_same(old: &[u8], code: &Code, new: &Relaxed, known: &Known<'_>) -> bool {
    Comparison {
        old,
        code,
        new: &new.code,
        known,
        places: vec![NOWHERE; old.len()],
        copies: Vec::new(),
        ends: Vec::new(),
    }
    .holds(new)
    .is_some_and(|holds| holds)
}

/// The place of a byte that is not at the start of an instruction or in data.
const NOWHERE: u32 = u32::MAX;

struct Comparison<'a> {
    old: &'a [u8],
    code: &'a Code,
    new: &'a [u8],
    known: &'a Known<'a>,
    /// For each instruction, jump table and constant of the old code where it is in the new one.
    places: Vec<u32>,
    /// See [`Relaxed::copies`].
    copies: Vec<(u32, u32)>,
    /// See [`Relaxed::ends`].
    ends: Vec<(u32, u32)>,
}

/// The offset from which a distance counts in the new code, its value, and its target in the old
/// code.
type Distance = (u32, i32, u32);

impl Comparison<'_> {
    fn holds(mut self, relaxed: &Relaxed) -> Option<bool> {
        let align = self.known.align;
        let mut tables = self.code.tables.iter().peekable();
        let mut references = self.code.references.iter().peekable();
        let mut distances: Vec<Distance> = Vec::with_capacity(self.code.references.len());
        let mut ends = relaxed.ends.iter().peekable();
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
            if let Some((copy_end, _)) = ends.next_if(|(_, jump_end)| *jump_end == end) {
                if reference.form != Form::Always {
                    return Some(false);
                }
                at = self.copy(reference.target, at, *copy_end, &mut distances)?;
                self.ends.push((at, end));
                continue;
            }
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
        if self.copies != relaxed.copies || self.ends != relaxed.ends {
            return Some(false);
        }
        let claimed = relaxed.places.iter().zip(&self.places);
        let mut known = claimed.filter(|(_, place)| **place != NOWHERE);
        Some(known.all(|(claimed, place)| claimed == place))
    }

    /// Notes the distances in a jump table that is at `at` in the new code. Returns its end.
    fn table(
        &mut self,
        start: u32,
        end: u32,
        at: u32,
        distances: &mut Vec<Distance>,
    ) -> Option<u32> {
        self.places[start as usize] = at;
        for entry in (start..end).step_by(4) {
            let target = start.checked_add_signed(word(self.old, entry)?)?;
            let distance = word(self.new, at + (entry - start))?;
            distances.push((at, distance, target));
        }
        Some(at + (end - start))
    }
    /// Compares a copy that is at `at` in the new code with the instructions that run in the old
    /// code from `from` on. Returns the end of the copy, or `None` if it is no copy.
    fn copy(
        &mut self,
        mut from: u32,
        mut at: u32,
        copy_end: u32,
        distances: &mut Vec<Distance>,
    ) -> Option<u32> {
        // Each jump that is left out is one of the function's.
        let max = copy_end.checked_sub(at)? + self.code.references.len() as u32;
        for _ in 0..max {
            let bytes = self.old.get(from as usize..)?;
            let decoded = Decoder::with_ip(64, bytes, from.into(), DecoderOptions::NONE).decode();
            let end = from + decoded.len() as u32;
            let starts = &self.code.instructions;
            let relocs = self.known.relocs;
            let reloc = relocs.partition_point(|reloc| reloc.offset < from);
            let has_reloc = relocs.get(reloc).is_some_and(|reloc| reloc.offset < end);
            if starts.binary_search(&from).is_err() || has_reloc {
                return None;
            }
            let references = &self.code.references;
            let reference = references.binary_search_by_key(&from, |r| r.start).ok();
            let reference = reference.map(|i| references[i]);
            if let Some(Reference {
                form: Form::Always,
                target,
                ..
            }) = reference
            {
                from = target;
                continue;
            }
            self.copies.push((at, from));
            let bytes = &bytes[..decoded.len()];
            let new = self.new.get(at as usize..)?.get(..bytes.len())?;
            at += end - from;
            match (reference, decoded.mnemonic()) {
                (None, Mnemonic::Jmp) => {
                    let tables = &self.code.tables;
                    let is_table = tables.binary_search_by_key(&end, |t| t.start).is_ok();
                    return (new == bytes && is_table && at == copy_end).then_some(at);
                }
                (None, Mnemonic::Call | Mnemonic::Ret | Mnemonic::Ud2) => return None,
                (None, _) => {
                    if new != bytes {
                        return None;
                    }
                    from = end;
                }
                (Some(jump), _) if jump.form == Form::Conditional => {
                    let is_negated = new[1] == bytes[1] ^ 1;
                    if new[0] != bytes[0] || !(is_negated || new[1] == bytes[1]) {
                        return None;
                    }
                    let (target, next) = match is_negated {
                        true => (end, jump.target),
                        false => (jump.target, end),
                    };
                    distances.push((at, word(new, 2)?, target));
                    from = next;
                }
                (Some(address), Mnemonic::Lea) => {
                    let field = (address.field - address.start) as usize;
                    if new[..field] != bytes[..field] || field + 4 != bytes.len() {
                        return None;
                    }
                    distances.push((at, word(new, field as u32)?, address.target));
                    from = end;
                }
                (Some(_), _) => return None,
            }
        }
        None
    }
}
