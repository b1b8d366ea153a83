//! Short jumps in machine code for x86-64. This module rewrites machine code.
//!
//! Cranelift writes every jump with a distance of four bytes. Two thirds of them go less than 128
//! bytes far, for which the architecture has a form with one byte: a jump takes 2 bytes then
//! instead of 5 or 6, and the code of a program becomes 7 % smaller. [`shorten`] gives jumps this
//! form:
//!
//! 1. [`Code::read`] decodes the function. It finds all instructions that refer to other places of
//!    the function by their distance: jumps, calls, and uses of constants and of jump tables.
//! 2. `choose` finds which jumps are near enough, over and over, because each jump that becomes
//!    shorter brings others closer together. Distances only shrink, so what is near stays near.
//! 3. `write` writes the shorter code and where each of its bytes has gone.
//! 4. [`check`] compares both, instruction by instruction, and shares no arithmetic with `write`.
//!
//! Jump tables and constants are data between and behind the instructions. Constants that have code
//! behind them come to the end. Where it is not certain what is code and what is data, or if the
//! check fails, a function keeps the code that it has.

mod check;
mod code;

use std::ops::Range;

use cranelift_codegen::{Context, FinalizedRelocTarget};

use crate::codegen::{CompiledFunction, Relocation};
use code::{Code, Form, Reference};

/// What is known about a function's code besides its bytes.
#[derive(Debug, Clone, Copy)]
struct Known<'a> {
    /// Offsets where blocks start, in any order.
    blocks: &'a [u32],
    /// Offsets of other instructions that are reached or looked up: those that can trap, and
    /// handlers of exceptions.
    places: &'a [u32],
    /// How many entries jump tables have, ascending.
    tables: &'a [usize],
    /// Relocations, in the order of their offsets.
    relocs: &'a [Relocation],
    /// The alignment of the code, which is enough for its constants.
    align: u32,
}

/// Code with short jumps.
#[derive(Debug, PartialEq, Eq)]
struct Shortened {
    /// The code.
    code: Vec<u8>,
    /// The new offset of each byte of the code that was given, and of its end. Bytes that were left
    /// out have the offset of what follows them. All bytes of a jump that is short now have the
    /// offset of that jump.
    places: Vec<u32>,
}

impl Shortened {
    /// Where a byte has gone.
    fn place(&self, old: u32) -> u32 {
        self.places[old as usize]
    }
}

/// Gives jumps of a function that the context has just compiled their short form, and moves what
/// refers to places of the code. `blocks` are the offsets where blocks start. Nothing changes where
/// the code stays as it is.
pub(crate) fn shorten_function(
    function: &mut CompiledFunction,
    blocks: &mut [u32],
    context: &Context,
) {
    let compiled = context.compiled_code().expect("compiled");
    let mut relocs = compiled.buffer.relocs().iter();
    if relocs.any(|reloc| matches!(reloc.target, FinalizedRelocTarget::Func(_))) {
        return;
    }
    let handlers = function.handlers.iter().map(|(_, handler)| handler.code);
    let traps = function.traps.iter().map(|(at, _)| *at);
    let places: Vec<_> = handlers.chain(traps).collect();
    let tables = context.func.dfg.jump_tables.values();
    let mut tables: Vec<_> = tables.map(|table| table.all_branches().len()).collect();
    tables.sort_unstable();
    let known = Known {
        blocks,
        places: &places,
        tables: &tables,
        relocs: &function.relocs,
        align: compiled.buffer.alignment,
    };
    let Some(shortened) = shorten(&function.code, &known) else {
        return;
    };
    let place = |at: &mut u32| *at = shortened.place(*at);
    blocks.iter_mut().for_each(place);
    function
        .relocs
        .iter_mut()
        .for_each(|r| place(&mut r.offset));
    function.traps.iter_mut().for_each(|(at, _)| place(at));
    for (call, handler) in &mut function.handlers {
        place(call);
        place(&mut handler.code);
    }
    function.addresses.iter_mut().for_each(|(at, _)| place(at));
    function.code = shortened.code.into();
}

/// Gives jumps in a function's code their short form. Returns `None` if the code stays as it is.
fn shorten(old: &[u8], known: &Known<'_>) -> Option<Shortened> {
    let code = Code::read(old, known)?;
    let is_short = choose(&code);
    let shortened = write(old, &code, &is_short, known.align)?;
    check::is_same(old, &code, &shortened, known.align).then_some(shortened)
}

/// Rounds in which jumps become short. Real code needs four; a limit keeps the time linear.
const ROUNDS: usize = 8;

/// For each reference whether it is a jump that takes the short form.
fn choose(code: &Code) -> Vec<bool> {
    let references = &code.references;
    let mut is_short = vec![false; references.len()];
    // Nothing is between the code in front of the gap and the code behind it any more.
    let (gap, len) = (code.gap.start, code.gap.end - code.gap.start);
    let joined = |at: u32| i64::from(if at > gap { at - len } else { at });
    // How many references end before the target of each.
    let before = |target| references.partition_point(|other| other.end <= target);
    let targets: Vec<_> = references.iter().map(|r| before(r.target)).collect();
    // The bytes that the references in front of each save together.
    let mut saved = vec![0_i64; references.len() + 1];
    for _ in 0..ROUNDS {
        let mut has_changed = false;
        for (i, reference) in references.iter().enumerate() {
            let own = i64::from(reference.form.saving());
            if is_short[i] || own == 0 {
                continue;
            }
            let distance = joined(reference.target) - joined(reference.end);
            let target = targets[i];
            let distance = if target > i {
                distance - (saved[target] - saved[i + 1])
            } else {
                distance + (saved[i] - saved[target]) + own
            };
            is_short[i] = i8::try_from(distance).is_ok();
            has_changed |= is_short[i];
        }
        if !has_changed {
            break;
        }
        for (i, reference) in references.iter().enumerate() {
            let own = i64::from(is_short[i]) * i64::from(reference.form.saving());
            saved[i + 1] = saved[i] + own;
        }
    }
    is_short
}

/// Writes the code with the chosen jumps. Returns `None` if none was chosen.
fn write(old: &[u8], code: &Code, is_short: &[bool], align: u32) -> Option<Shortened> {
    if !is_short.contains(&true) {
        return None;
    }
    let mut writer = Writer {
        old,
        new: Vec::with_capacity(old.len()),
        places: vec![0; old.len() + 1],
    };
    let mut at = 0;
    for (reference, _) in code.references.iter().zip(is_short).filter(|r| *r.1) {
        writer.code(at..reference.start, code);
        writer.jump(reference);
        at = reference.end;
    }
    writer.code(at..code.end, code);
    // A call that does not return may be the last instruction.
    let end = writer.end();
    writer.places[code.end as usize..].fill(end);
    let constants = &code.constants;
    if !constants.is_empty() {
        // Constants keep their place relative to the alignment.
        let padding = constants.start.wrapping_sub(writer.end()) % align;
        writer.new.extend((0..padding).map(|_| FILLER));
        writer.copy(constants.clone());
    }
    let Writer {
        mut new, places, ..
    } = writer;

    let place = |old: u32| places[old as usize];
    for (reference, is_short) in code.references.iter().zip(is_short) {
        // The end of an instruction need not be the start of another.
        let length = match is_short {
            true => 2,
            false => reference.end - reference.start,
        };
        let end = place(reference.start) + length;
        let distance = place(reference.target).wrapping_sub(end).cast_signed();
        if *is_short || reference.form == Form::Short {
            new[end as usize - 1] = i8::try_from(distance).ok()?.cast_unsigned();
        } else {
            let field = place(reference.start) + reference.field - reference.start;
            set(&mut new, field, distance);
        }
    }
    for table in &code.tables {
        for entry in table.clone().step_by(4) {
            let target = table.start.checked_add_signed(word(old, entry)?)?;
            let distance = place(target).wrapping_sub(place(table.start));
            set(&mut new, place(entry), distance.cast_signed());
        }
    }
    Some(Shortened { code: new, places })
}

struct Writer<'a> {
    old: &'a [u8],
    new: Vec<u8>,
    /// See [`Shortened`].
    places: Vec<u32>,
}

impl Writer<'_> {
    /// The end of what is written.
    fn end(&self) -> u32 {
        self.new.len() as u32
    }

    fn copy(&mut self, range: Range<u32>) {
        let range = range.start as usize..range.end as usize;
        for (place, at) in self.places[range.clone()].iter_mut().zip(self.new.len()..) {
            *place = at as u32;
        }
        self.new.extend_from_slice(&self.old[range]);
    }

    /// Copies code, without the gap.
    fn code(&mut self, range: Range<u32>, code: &Code) {
        if range.contains(&code.gap.start) {
            self.copy(range.start..code.gap.start);
            let (gap, end) = (code.gap.start as usize..code.gap.end as usize, self.end());
            self.places[gap].fill(end);
            self.copy(code.gap.end..range.end);
        } else {
            self.copy(range);
        }
    }

    /// Writes the short form of a jump, whose distance follows later.
    fn jump(&mut self, jump: &Reference) {
        let opcode = match jump.form {
            Form::Always => 0xeb,
            // The second byte of the long form has the condition in the same bits.
            Form::Conditional => self.old[jump.start as usize + 1] - 0x10,
            Form::Short | Form::Fixed => unreachable!("this form saves nothing"),
        };
        let end = self.end();
        self.places[jump.start as usize..jump.end as usize].fill(end);
        self.new.extend_from_slice(&[opcode, 0]);
    }
}

/// What fills the gap between the code and its constants: `int3`.
const FILLER: u8 = 0xcc;

/// The four bytes at an offset as a distance.
fn word(code: &[u8], at: u32) -> Option<i32> {
    let bytes = code.get(at as usize..)?.first_chunk()?;
    Some(i32::from_le_bytes(*bytes))
}

fn set(code: &mut [u8], at: u32, distance: i32) {
    code[at as usize..][..4].copy_from_slice(&distance.to_le_bytes());
}

#[cfg(test)]
mod tests;
