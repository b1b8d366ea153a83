//! Reads a function's machine code: which bytes are instructions, and what they refer to.
//!
//! Instructions follow one another from the first byte on. After an instruction that never goes on
//! to the next, such as a jump, another one starts only where something is known to start: a block,
//! the target of a jump, an instruction that can trap. Otherwise there is data:
//!
//! - a *jump table*, directly behind the indirect jump that uses it, up to the next known place.
//!   Code with a table that no known place follows is not read. The words of a table are distances
//!   of code from its start. Its length must be that of a table in the Cranelift IR.
//! - *constants*, behind all code but [stops](crate::stops). The first constant starts at the
//!   lowest address in the data that an instruction refers to.
//!
//! Each known place must be the start of an instruction in the end, and each relocation must be a
//! field of one. If anything is different, the code is not read.

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};

use super::{FILLER, Known, word};
use crate::codegen::Relocation;

/// What a function's code consists of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Code {
    /// The offsets of all instructions, ascending.
    pub(super) instructions: Vec<u32>,
    /// The instructions that refer to places of the function, ascending.
    pub(super) references: Vec<Reference>,
    /// The jump tables, ascending.
    pub(super) tables: Vec<Range<u32>>,
    /// The end of the last instruction or jump table.
    pub(super) end: u32,
    /// What is between instructions but no jump table: padding and the constants, if some code is
    /// behind them. Otherwise empty, and at the end.
    pub(super) gap: Range<u32>,
    /// The constants.
    pub(super) constants: Range<u32>,
}

/// An instruction that refers to a place of its function by the distance from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    /// Offset of the instruction.
    pub(super) start: u32,
    /// Offset of the distance.
    pub(super) field: u32,
    /// Offset of the end of the instruction.
    pub(super) end: u32,
    /// What the instruction refers to.
    pub(super) target: u32,
    /// The form of the instruction.
    pub(super) form: Form,
}

/// The form of an instruction that refers to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A conditional jump with a distance of 4 bytes.
    Conditional,
    /// Another jump with a distance of 4 bytes.
    Always,
    /// A jump with a distance of one byte.
    Short,
    /// Another instruction, with a distance of 4 bytes.
    Fixed,
}

impl Form {
    /// How many bytes the short form saves.
    pub(super) fn saving(self) -> u32 {
        match self {
            Self::Conditional => 4,
            Self::Always => 3,
            Self::Short | Self::Fixed => 0,
        }
    }
}

/// Longest instruction of the architecture, in bytes.
const MAX_INSTRUCTION: usize = 15;

impl Code {
    /// Reads the code of a function. Returns `None` if the code is not certain to have this form.
    pub(super) fn read(bytes: &[u8], known: &Known<'_>) -> Option<Self> {
        Reader {
            bytes,
            relocs: known.relocs,
            tables: known.tables,
            starts: vec![false; bytes.len()],
            known: vec![false; bytes.len()],
            loads: Vec::new(),
            constants: u64::MAX,
            code: Self {
                instructions: Vec::with_capacity(bytes.len() / 4),
                references: Vec::new(),
                tables: Vec::new(),
                end: 0,
                gap: 0..0,
                constants: 0..0,
            },
        }
        .read(known)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// The relocations that are not in instructions yet.
    relocs: &'a [Relocation],
    tables: &'a [usize],
    /// For each offset whether an instruction starts there.
    starts: Vec<bool>,
    /// For each offset whether an instruction is known to start there.
    known: Vec<bool>,
    /// Indices of the references that are no jumps or calls: their targets may be data. The flag
    /// says that only the address is taken.
    loads: Vec<(usize, bool)>,
    /// The lowest address of what is known to be a constant so far.
    constants: u64,
    code: Code,
}

impl Reader<'_> {
    fn read(mut self, known: &Known<'_>) -> Option<Code> {
        for place in known.blocks.iter().chain(known.places) {
            self.known(*place)?;
        }
        let mut decoder = Decoder::with_ip(64, self.bytes, 0, DecoderOptions::NONE);
        let mut instruction = Instruction::default();
        let mut at = 0;
        while at < self.bytes.len() {
            decoder.decode_out(&mut instruction);
            let end = at + instruction.len();
            if instruction.is_invalid() || end > self.bytes.len() || end - at > MAX_INSTRUCTION {
                return None;
            }
            self.starts[at] = true;
            self.code.instructions.push(at as u32);
            self.reference(&decoder, &instruction, at, end)?;
            at = end;
            if !goes_on(&instruction)? {
                if is_indirect_jump(&instruction) {
                    at = self.table(at)?;
                }
                if !self.continues_at(at) {
                    let behind = self.known[at..].iter().position(|known| *known);
                    let Some(behind) = behind.filter(|_| self.code.gap.is_empty()) else {
                        break;
                    };
                    self.code.gap = at as u32..(at + behind) as u32;
                    at += behind;
                }
                decoder.set_position(at).ok()?;
                decoder.set_ip(at as u64);
            }
        }
        self.code.end = at as u32;
        if self.code.gap.is_empty() {
            self.code.gap = self.code.end..self.code.end;
        }
        self.finish()
    }

    /// Remembers that an instruction starts somewhere.
    fn known(&mut self, at: u32) -> Option<()> {
        *self.known.get_mut(at as usize)? = true;
        Some(())
    }

    /// Notes what an instruction refers to.
    fn reference(
        &mut self,
        decoder: &Decoder<'_>,
        instruction: &Instruction,
        start: usize,
        end: usize,
    ) -> Option<()> {
        let bytes = &self.bytes[start..end];
        let is_branch = instruction.op0_kind() == OpKind::NearBranch64;
        let is_relative = instruction.is_ip_rel_memory_operand();
        let offsets = decoder.get_constant_offsets(instruction);
        // Relocations fill whole fields. A field without one has its final value.
        let mut has_target = is_branch || is_relative;
        while let Some((reloc, rest)) = self.relocs.split_first()
            && (reloc.offset as usize) < end
        {
            let field = (reloc.offset as usize).checked_sub(start)?;
            let is_displacement = field == offsets.displacement_offset()
                && offsets.has_displacement()
                && offsets.displacement_size() == 4;
            let is_immediate = field == offsets.immediate_offset()
                && offsets.has_immediate()
                && matches!(offsets.immediate_size(), 4 | 8);
            if !is_displacement && !is_immediate {
                return None;
            }
            has_target &= !(is_displacement && is_relative || is_immediate && is_branch);
            self.relocs = rest;
        }
        if !has_target {
            return Some(());
        }
        let (field, target, form) = if is_branch {
            let (len, form) = match bytes {
                [0x0f, 0x80..=0x8f, _, _, _, _] => (4, Form::Conditional),
                [0xe9, _, _, _, _] => (4, Form::Always),
                [0xe8, _, _, _, _] => (4, Form::Fixed),
                [0x70..=0x7f | 0xeb, _] => (1, Form::Short),
                _ => return None,
            };
            (end - len, instruction.near_branch_target(), form)
        } else {
            if offsets.displacement_size() != 4 {
                return None;
            }
            let is_address = instruction.mnemonic() == Mnemonic::Lea;
            self.loads.push((self.code.references.len(), is_address));
            let field = start + offsets.displacement_offset();
            let target = instruction.ip_rel_memory_address();
            if !is_address {
                self.constants = self.constants.min(target);
            }
            (field, target, Form::Fixed)
        };
        let target = u32::try_from(target).ok()?;
        if is_branch {
            self.known(target)?;
        }
        self.code.references.push(Reference {
            start: start as u32,
            field: field as u32,
            end: end as u32,
            target,
            form,
        });
        Some(())
    }

    /// Reads the jump table behind an indirect jump, if its address was taken last. Returns its
    /// end.
    fn table(&mut self, start: usize) -> Option<usize> {
        let last = self.loads.last();
        let last = last.filter(|load| load.1).map(|load| load.0);
        let is_used = |i: usize| self.code.references[i].target as usize == start;
        if !last.is_some_and(is_used) {
            return Some(start);
        }
        let len = self.known.get(start..)?.iter().position(|known| *known)?;
        if !len.is_multiple_of(4) || self.tables.binary_search(&(len / 4)).is_err() {
            return None;
        }
        let end = start + len;
        let table = start as u32..end as u32;
        for entry in table.clone().step_by(4) {
            let target = table.start.checked_add_signed(word(self.bytes, entry)?)?;
            self.known(target)?;
        }
        self.code.tables.push(table);
        Some(end)
    }

    /// Whether there is an instruction behind one that does not go on to it. Traps that nothing
    /// refers to any more are instructions too.
    fn continues_at(&self, at: usize) -> bool {
        let has_trap = self.bytes[at..].starts_with(&[0x0f, 0x0b]);
        let is_known = self.known.get(at).is_some_and(|known| *known);
        is_known || has_trap && (at as u64) < self.constants
    }

    /// Checks what was read as a whole.
    fn finish(mut self) -> Option<Code> {
        let mut places = self.known.iter().zip(&self.starts);
        if !self.relocs.is_empty() || !places.all(|(known, starts)| starts | !known) {
            return None;
        }
        // Data is in the gap or else behind the code, but not in both.
        let len = self.bytes.len() as u32;
        let data = match self.code.gap.is_empty() {
            true => self.code.end..len,
            false if self.code.end == len => self.code.gap.clone(),
            false => return None,
        };
        let mut first = data.end;
        for &(i, is_address) in &self.loads {
            let target = self.code.references[i].target;
            if data.contains(&target) {
                first = first.min(target);
                continue;
            }
            let tables = &self.code.tables;
            let is_table = || tables.binary_search_by_key(&target, |t| t.start).is_ok();
            let is_code = || self.starts.get(target as usize) == Some(&true);
            if !is_address || !(is_code() || is_table()) {
                return None;
            }
        }
        let padding = &self.bytes[data.start as usize..first as usize];
        let is_padding = padding.iter().all(|byte| matches!(*byte, 0 | FILLER));
        // Without a use of them there are no constants.
        if !is_padding || (first == data.end && !data.is_empty()) {
            return None;
        }
        self.code.constants = first..data.end;
        Some(self.code)
    }
}

/// Whether the next instruction may run after this one. `None` for instructions that Cranelift does
/// not make.
pub(super) fn goes_on(instruction: &Instruction) -> Option<bool> {
    Some(match instruction.mnemonic() {
        Mnemonic::Jmp | Mnemonic::Ret | Mnemonic::Ud2 => false,
        Mnemonic::Xbegin | Mnemonic::Iretq | Mnemonic::Retf | Mnemonic::Int3 => return None,
        _ => true,
    })
}

fn is_indirect_jump(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Jmp && instruction.op0_kind() == OpKind::Register
}
