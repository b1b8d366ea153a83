//! Copies of the code that chooses an interpreter's next operation, in the place of jumps to it.
//!
//! An interpreter is a loop around a `br_table`. Its *dispatch* reads the number of the next
//! operation and jumps through a jump table to the code of that operation, at whose end a jump goes
//! back to the dispatch. So all operations share one indirect jump. A processor predicts where an
//! indirect jump goes from the address of the jump and the jumps before it, and succeeds more often
//! if each operation ends with an indirect jump of its own, as in interpreters that are written
//! with computed `goto`s (M. A. Ertl and D. Gregg, "The Structure and Performance of Efficient
//! Interpreters", 2003). WebAssembly has no computed `goto`, and compilers undo the copies that
//! people write, so they are made here: a jump to a dispatch becomes a copy of it, which uses the
//! same jump table.
//!
//! [`find`] follows the code from the target of each jump. It goes on where jumps go, up to an
//! indirect jump with a jump table. The copy has the instructions on this way except the jumps. At
//! a conditional jump to code from which nothing but a dispatch follows, the way goes there, and
//! the copy has the jump with the opposite condition.
//!
//! Only dispatches that read the number from memory are copied. Others choose among states that the
//! code itself has set, for instance where a function of Go continues after a call, and are so many
//! that the copies would be an eighth of a program.

use std::collections::BTreeMap;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::code::{Code, Form, Reference, goes_on};
use crate::codegen::Relocation;

/// Maximum number of bytes of a dispatch that is copied.
const MAX_DISPATCH: u32 = 128;

/// Maximum number of bytes of other code that a copy has in front of the dispatch.
const MAX_PREFIX: u32 = 32;

/// Maximum number of jumps on the way from a jump to a dispatch.
const MAX_HOPS: usize = 4;

/// Minimum number of jumps to a dispatch of which copies are made.
const MIN_JUMPS: usize = 4;

/// A copy of a dispatch, which takes the place of a jump to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    /// The instructions, without [distances](Self::distances).
    pub(super) code: Vec<u8>,
    /// For each instruction its offset in the copy, and the offset of the original.
    pub(super) instructions: Vec<(u32, u32)>,
    /// The distances of four bytes: the offset in the copy that each counts from, which is the end
    /// of the distance, too, and the target in the original code.
    pub(super) distances: Vec<(u32, u32)>,
    /// Where the jump table starts.
    table: u32,
    /// Whether the index in the table comes from memory, and not from a register or the stack.
    reads: bool,
}

/// The jumps that become copies, by the indices of their references.
pub(super) type Copies = BTreeMap<usize, Copy>;

/// Finds the jumps that become copies. The copies take at most a quarter of the function's bytes,
/// and a little that small functions may have, too.
pub(super) fn find(bytes: &[u8], code: &Code, relocs: &[Relocation]) -> Copies {
    if code.tables.is_empty() {
        return Copies::new();
    }
    let mut finder = Finder {
        bytes,
        code,
        relocs,
        heads: Vec::new(),
    };
    finder.heads = code
        .tables
        .iter()
        .filter_map(|table| finder.head(table.start))
        .collect();
    // Many jumps go to the same place.
    let mut ways: BTreeMap<u32, Option<Copy>> = BTreeMap::new();
    // The jumps to each dispatch, by its jump table.
    let mut dispatches: BTreeMap<u32, Vec<(usize, Copy)>> = BTreeMap::new();
    for (i, jump) in code.references.iter().enumerate() {
        if jump.form != Form::Always {
            continue;
        }
        let way = ways.entry(jump.target);
        let way = way.or_insert_with(|| finder.follow(jump.target).filter(|copy| copy.reads));
        if let Some(copy) = way {
            let jumps = dispatches.entry(copy.table).or_default();
            jumps.push((i, copy.clone()));
        }
    }
    let mut room = bytes.len() / 4 + 1024;
    let mut copies = Copies::new();
    for mut jumps in dispatches.into_values() {
        if jumps.len() < MIN_JUMPS {
            continue;
        }
        // The shortest copies repeat the fewest instructions in front of the dispatch.
        jumps.sort_by_key(|(i, copy)| (copy.code.len(), *i));
        for (i, copy) in jumps {
            let Some(rest) = room.checked_sub(copy.code.len()) else {
                break;
            };
            room = rest;
            copies.insert(i, copy);
        }
    }
    copies
}

struct Finder<'a> {
    bytes: &'a [u8],
    code: &'a Code,
    relocs: &'a [Relocation],
    /// The start offset and the jump table of each piece of code that leads only to a dispatch.
    heads: Vec<(u32, u32)>,
}

impl Finder<'_> {
    /// The start of the straight-line code that ends with the jump through a table, and the table.
    fn head(&self, table: u32) -> Option<(u32, u32)> {
        let end = self.code.instructions.partition_point(|at| *at < table);
        let before = self.code.instructions[..end].iter().rev().copied();
        let mut start = before.clone().next()?;
        for at in before.skip(1).take_while(|at| table - at <= MAX_DISPATCH) {
            let instruction = self.decode(at);
            let is_next = instruction.next_ip() == u64::from(start);
            if !is_next
                || instruction.mnemonic() == Mnemonic::Call
                || goes_on(&instruction) != Some(true)
            {
                break;
            }
            start = at;
        }
        Some((start, table))
    }

    /// Whether nothing but a dispatch follows from here.
    fn is_in_head(&self, at: u32) -> bool {
        let behind = self.heads.partition_point(|(start, _)| *start <= at);
        let head = self.heads[..behind].last();
        head.is_some_and(|(_, table)| at < *table)
    }

    fn decode(&self, at: u32) -> Instruction {
        let bytes = &self.bytes[at as usize..];
        Decoder::with_ip(64, bytes, at.into(), DecoderOptions::NONE).decode()
    }

    /// The reference that the instruction here is.
    fn reference(&self, at: u32) -> Option<&Reference> {
        let references = &self.code.references;
        let found = references.binary_search_by_key(&at, |reference| reference.start);
        found.ok().map(|i| &references[i])
    }

    /// Follows the code from here up to a jump table. Returns `None` if it ends elsewhere or is too
    /// long, or if it has an instruction that cannot be copied.
    fn follow(&self, mut at: u32) -> Option<Copy> {
        let mut copy = Copy {
            code: Vec::new(),
            instructions: Vec::new(),
            distances: Vec::new(),
            table: 0,
            reads: false,
        };
        let mut decoded = Vec::new();
        let mut jumps = 0;
        // The way ends, because each other instruction makes the copy longer.
        while jumps <= MAX_HOPS {
            let instruction = self.decode(at);
            let end = at + instruction.len() as u32;
            let reloc = self.relocs.partition_point(|reloc| reloc.offset < at);
            let has_reloc = self
                .relocs
                .get(reloc)
                .is_some_and(|reloc| reloc.offset < end);
            let len = copy.code.len() as u32 + (end - at);
            let longest = if self.is_in_head(at) {
                MAX_DISPATCH
            } else {
                MAX_PREFIX
            };
            if has_reloc || len > longest {
                return None;
            }
            let reference = self.reference(at);
            if let Some(jump) = reference
                && jump.form == Form::Always
            {
                at = jump.target;
                jumps += 1;
                continue;
            }
            let start = copy.code.len() as u32;
            copy.instructions.push((start, at));
            copy.code.extend(&self.bytes[at as usize..end as usize]);
            decoded.push(instruction);
            match reference {
                None => {
                    if let Ok(table) = self.code.tables.binary_search_by_key(&end, |t| t.start) {
                        copy.table = self.code.tables[table].start;
                        copy.reads = reads_index(&decoded);
                        return Some(copy);
                    }
                    if !goes_on(&instruction)? || instruction.mnemonic() == Mnemonic::Call {
                        return None;
                    }
                    at = end;
                }
                Some(jump) if jump.form == Form::Conditional => {
                    let taken = self.is_in_head(jump.target);
                    if taken {
                        // The lowest bit of the second byte negates the condition.
                        copy.code[start as usize + 1] ^= 1;
                    }
                    let (other, next) = match taken {
                        true => (end, jump.target),
                        false => (jump.target, end),
                    };
                    copy.distances.push((copy.code.len() as u32, other));
                    at = next;
                }
                Some(address) => {
                    let is_address = instruction.mnemonic() == Mnemonic::Lea;
                    if !is_address || address.field + 4 != end {
                        return None;
                    }
                    copy.distances
                        .push((copy.code.len() as u32, address.target));
                    at = end;
                }
            }
        }
        None
    }
}

/// Whether these instructions, of which the last one jumps through a table, compute the index in
/// the table from memory. Values that they find in registers or on the stack were computed
/// elsewhere.
fn reads_index(instructions: &[Instruction]) -> bool {
    let mut backwards = instructions.iter().rev();
    // Distances in a table have four bytes and a sign.
    let Some(entry) = backwards.find(|i| i.mnemonic() == Mnemonic::Movsxd) else {
        return false;
    };
    // The registers that the index is computed from, further and further back.
    let mut of_index = vec![number(entry.memory_index())];
    for instruction in backwards {
        let result = number(instruction.op0_register());
        let is_used = instruction.op0_kind() == OpKind::Register
            && result.is_some()
            && of_index.contains(&result);
        if !is_used || matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test) {
            continue;
        }
        use Mnemonic::{Lea, Mov, Movsx, Movsxd, Movzx};
        if matches!(instruction.mnemonic(), Lea | Mov | Movsx | Movsxd | Movzx) {
            // The register has nothing of what it had before.
            of_index.retain(|register| *register != result);
        }
        for i in 1..instruction.op_count() {
            match instruction.op_kind(i) {
                OpKind::Register => of_index.push(number(instruction.op_register(i))),
                OpKind::Memory if instruction.mnemonic() == Mnemonic::Lea => {
                    of_index.push(number(instruction.memory_base()));
                }
                OpKind::Memory if instruction.memory_base() != Register::RSP => return true,
                _ => {}
            }
        }
    }
    false
}

/// The number of a general register of 32 or 64 bits. `None` for all others.
fn number(register: Register) -> Option<usize> {
    let from = |first: Register| {
        let number = (register as usize).checked_sub(first as usize)?;
        (number < 16).then_some(number)
    };
    from(Register::EAX).or_else(|| from(Register::RAX))
}
