//! Short jumps and copies of dispatches in machine code for x86-64. This module rewrites machine
//! code.
//!
//! Cranelift writes every jump with a distance of four bytes. Two thirds of them go less than 128
//! bytes far, for which the architecture has a form with one byte: a jump takes 2 bytes then
//! instead of 5 or 6, and the code of a program becomes 7 % smaller. Jumps to the dispatch of an
//! interpreter become copies of the dispatch ([`dispatch`]). [`rewrite`] makes both:
//!
//! 1. [`Code::read`] decodes the function. It finds all instructions that refer to other places of
//!    the function by their distance: jumps, calls, and uses of constants and of jump tables.
//! 2. [`dispatch::find`] finds the jumps that become copies.
//! 3. `choose` finds which jumps are near enough, over and over, because each jump that becomes
//!    shorter brings others closer together. Distances only shrink, so what is near stays near.
//! 4. `write` writes the new code and where each byte of the old code has gone.
//! 5. [`check`] compares both, instruction by instruction, and shares no arithmetic with `write`.
//!
//! Jump tables and constants are data between and behind the instructions. Constants that have code
//! behind them come to the end. Where it is not certain what is code and what is data, or if the
//! check fails, a function keeps the code that it has.

mod check;
mod code;
mod dispatch;

use std::ops::Range;

use cranelift_codegen::{Context, FinalizedRelocTarget};
use precast_artifact::TrapCode;

use crate::addresses::addresses;
use crate::codegen::{CompiledFunction, Relocation};
use code::{Code, Form, Reference};
use dispatch::Copies;

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

/// What becomes of jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jumps {
    /// Whether they have their short form where they can.
    pub(crate) short: bool,
    /// Whether jumps to a dispatch become copies of it.
    pub(crate) copied: bool,
}

/// Rewritten code.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Relaxed {
    /// The code.
    code: Vec<u8>,
    /// The new offset of each byte of the code that was given, and of its end. Bytes that were left
    /// out have the offset of what follows them. All bytes of a jump that is short now, or a copy,
    /// have the offset of the start of what has taken their place.
    places: Vec<u32>,
    /// For each instruction of a copy its offset in the new code, and the offset in the old code of
    /// the instruction that it is a copy of.
    copies: Vec<(u32, u32)>,
    /// The end of each copy in the new code, and of the jump whose place it takes in the old code.
    ends: Vec<(u32, u32)>,
}

impl Relaxed {
    /// Where a byte has gone.
    fn place(&self, old: u32) -> u32 {
        self.places[old as usize]
    }
}

/// Rewrites the jumps of a function that the context has just compiled, and moves what refers to
/// places of the code. `blocks` are the offsets where blocks start. Nothing changes where the code
/// stays as it is.
pub(crate) fn relax_function(
    function: &mut CompiledFunction,
    blocks: &mut [u32],
    context: &Context,
    jumps: Jumps,
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
    let Some(relaxed) = rewrite(&function.code, &known, jumps) else {
        return;
    };
    let traps = copied_traps(function, &relaxed);
    let addresses = copied_addresses(function, &relaxed);
    let place = |at: &mut u32| *at = relaxed.place(*at);
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
    function.traps = [&function.traps, &traps[..]].concat().into();
    function.traps.sort_by_key(|(at, _)| *at);
    function.addresses = addresses;
    function.code = relaxed.code.into();
}

/// The traps of the instructions of copies.
fn copied_traps(function: &CompiledFunction, relaxed: &Relaxed) -> Vec<(u32, TrapCode)> {
    let of = |&(new, old): &(u32, u32)| {
        let first = function.traps.partition_point(|(at, _)| *at < old);
        let here = function.traps[first..].iter();
        let here = here.take_while(move |(at, _)| *at == old);
        here.map(move |(_, code)| (new, *code))
    };
    relaxed.copies.iter().flat_map(of).collect()
}

/// The address map with the instructions of copies, and with what follows each copy.
fn copied_addresses(function: &CompiledFunction, relaxed: &Relaxed) -> Box<[(u32, u32)]> {
    let position = |old: u32| {
        let behind = function.addresses.partition_point(|(at, _)| *at <= old);
        let (_, wasm) = *function.addresses[..behind].last()?;
        Some(wasm)
    };
    let ends = relaxed.ends.iter();
    // A copy may be followed directly by another copy, whose instructions have their own entries.
    let is_copy = |new: &u32| relaxed.copies.binary_search_by_key(new, |c| c.0).is_ok();
    let ends = ends.filter(|(new, _)| (*new as usize) < relaxed.code.len() && !is_copy(new));
    let copied = relaxed.copies.iter().chain(ends);
    let copied = copied.filter_map(|(new, old)| Some((*new, position(*old)?)));
    let own = function.addresses.iter();
    let own = own.map(|(old, wasm)| (relaxed.place(*old), *wasm));
    // An entry of the function's own and that of the end of a copy in front of it are the same.
    addresses(own.chain(copied).collect(), 1)
}

/// Rewrites the jumps in a function's code. Returns `None` if the code stays as it is.
fn rewrite(old: &[u8], known: &Known<'_>, jumps: Jumps) -> Option<Relaxed> {
    let code = Code::read(old, known)?;
    let copies = match jumps.copied {
        true => dispatch::find(old, &code, known.relocs),
        false => Copies::new(),
    };
    let is_short = match jumps.short {
        true => choose(&code, &copies),
        false => vec![false; code.references.len()],
    };
    let relaxed = write(old, &code, &is_short, &copies, known.align)?;
    check::is_same(old, &code, &relaxed, known).then_some(relaxed)
}

/// Rounds in which jumps become short. Real code needs four; a limit keeps the time linear.
const ROUNDS: usize = 8;

/// For each reference whether it is a jump that takes the short form.
fn choose(code: &Code, copies: &Copies) -> Vec<bool> {
    let references = &code.references;
    let mut is_short = vec![false; references.len()];
    // Nothing is between the code in front of the gap and the code behind it any more.
    let (gap, len) = (code.gap.start, code.gap.end - code.gap.start);
    let joined = |at: u32| i64::from(if at > gap { at - len } else { at });
    // How many references end before the target of each.
    let before = |target| references.partition_point(|other| other.end <= target);
    let targets: Vec<_> = references.iter().map(|r| before(r.target)).collect();
    // The bytes that the references in front of each save together, less those that copies add.
    let mut saved = vec![0_i64; references.len() + 1];
    let growth = |i| copies.get(&i).map(|copy| copy.code.len() as i64);
    for _ in 0..ROUNDS {
        for (i, reference) in references.iter().enumerate() {
            let own = match growth(i) {
                Some(len) => i64::from(reference.end - reference.start) - len,
                None => i64::from(is_short[i]) * i64::from(reference.form.saving()),
            };
            saved[i + 1] = saved[i] + own;
        }
        let mut has_changed = false;
        for (i, reference) in references.iter().enumerate() {
            let own = i64::from(reference.form.saving());
            if is_short[i] || own == 0 || copies.contains_key(&i) {
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
    }
    is_short
}

/// Writes the code with the chosen jumps and the copies. Returns `None` if there are none.
fn write(
    old: &[u8],
    code: &Code,
    is_short: &[bool],
    copies: &Copies,
    align: u32,
) -> Option<Relaxed> {
    if !is_short.contains(&true) && copies.is_empty() {
        return None;
    }
    let mut writer = Writer {
        old,
        new: Vec::with_capacity(old.len()),
        places: vec![0; old.len() + 1],
    };
    let mut at = 0;
    for (i, reference) in code.references.iter().enumerate() {
        let copy = copies.get(&i);
        if !is_short[i] && copy.is_none() {
            continue;
        }
        writer.code(at..reference.start, code);
        match copy {
            Some(copy) => writer.replace(reference, &copy.code),
            None => writer.jump(reference),
        }
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
    let (mut copied, mut ends) = (Vec::new(), Vec::new());
    for (i, reference) in code.references.iter().enumerate() {
        let start = place(reference.start);
        if let Some(copy) = copies.get(&i) {
            for &(end, target) in &copy.distances {
                let distance = place(target).wrapping_sub(start + end);
                set(&mut new, start + end - 4, distance.cast_signed());
            }
            let instructions = copy.instructions.iter();
            copied.extend(instructions.map(|(new, old)| (start + new, *old)));
            ends.push((start + copy.code.len() as u32, reference.end));
            continue;
        }
        // The end of an instruction need not be the start of another.
        let length = match is_short[i] {
            true => 2,
            false => reference.end - reference.start,
        };
        let end = start + length;
        let distance = place(reference.target).wrapping_sub(end).cast_signed();
        if is_short[i] || reference.form == Form::Short {
            new[end as usize - 1] = i8::try_from(distance).ok()?.cast_unsigned();
        } else {
            let field = start + reference.field - reference.start;
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
    Some(Relaxed {
        code: new,
        places,
        copies: copied,
        ends,
    })
}

struct Writer<'a> {
    old: &'a [u8],
    new: Vec<u8>,
    /// See [`Relaxed`].
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
        self.replace(jump, &[opcode, 0]);
    }

    /// Writes other code in the place of a jump.
    fn replace(&mut self, jump: &Reference, code: &[u8]) {
        let end = self.end();
        self.places[jump.start as usize..jump.end as usize].fill(end);
        self.new.extend_from_slice(code);
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
