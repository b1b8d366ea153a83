//! Differences of a memory's length and a constant, which checks compare indices with.
//!
//! On x86-64, what Cranelift makes of a subtraction is the shortest code if the length is not used
//! any more afterwards. If the length is used, the addition of the negative constant is shorter,
//! because that needs no copy. In a run of checks only the last one does not need the length any
//! more. So each check subtracts, and what the check before it does is changed into an addition.
//! Both are the same number, so a wrong guess about what is used makes longer code, not wrong code.

use cranelift_codegen::ir::immediates::Imm64;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{
    Block, DataFlowGraph, Inst, InstBuilder, InstructionData, Opcode, Value,
};

use super::FuncTranslator;
use crate::key::MemoryIndex;

/// Constants that are remembered. Blocks with more are rare, and lose a few bytes.
const MOST: usize = 32;

/// What was subtracted from which length.
type Key = (MemoryIndex, u64);

/// The differences of the current run of checks: those of a block from one call to the next.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    block: Option<Block>,
    added: Vec<Key>,
    last: Option<Key>,
    /// The subtractions of the key in `last`; Cranelift makes one of them.
    subtractions: Vec<Inst>,
}

impl Lengths {
    /// Begins a run: lengths are read again from here on.
    pub(super) fn clear(&mut self) {
        self.block = None;
        self.added.clear();
        self.last = None;
        self.subtractions.clear();
    }

    /// Whether this difference is to be a subtraction. Changes the one before it.
    fn subtracts(&mut self, dfg: &mut DataFlowGraph, block: Block, key: Key) -> bool {
        if self.block != Some(block) || self.added.len() == MOST {
            self.clear();
            self.block = Some(block);
        }
        if self.last == Some(key) {
            return true;
        }
        if self.added.contains(&key) {
            return false;
        }
        for inst in self.subtractions.drain(..) {
            negate(dfg, inst);
        }
        self.added.extend(self.last.replace(key));
        true
    }
}

/// Changes the subtraction of a 32-bit constant, which nothing else uses, into the addition of the
/// negative one.
fn negate(dfg: &mut DataFlowGraph, difference: Inst) {
    let InstructionData::Binary {
        opcode: Opcode::Isub,
        args: [len, constant],
    } = dfg.insts[difference]
    else {
        return;
    };
    let Some(definition) = dfg.value_def(constant).inst() else {
        return;
    };
    let InstructionData::UnaryImm {
        opcode: Opcode::Iconst,
        imm,
    } = dfg.insts[definition]
    else {
        return;
    };
    dfg.insts[definition] = InstructionData::UnaryImm {
        opcode: Opcode::Iconst,
        imm: Imm64::new(i64::from(imm.bits().wrapping_neg() as u32)),
    };
    dfg.insts[difference] = InstructionData::Binary {
        opcode: Opcode::Iadd,
        args: [len, constant],
    };
}

impl FuncTranslator<'_, '_> {
    /// The low 32 bits of a memory's length minus `end`, which is between 1 and 2^31.
    pub(super) fn last_index(&mut self, memory: MemoryIndex, end: u64) -> Value {
        let len = self.memory_len_low(memory);
        let block = self.builder.current_block().expect("in a block");
        let dfg = &mut self.builder.func.dfg;
        if !self.caches.lengths.subtracts(dfg, block, (memory, end)) {
            return self.builder.ins().iadd_imm_s(len, -end.cast_signed());
        }
        let constant = self.builder.ins().iconst(I32, end.cast_signed());
        let last = self.builder.ins().isub(len, constant);
        let inst = self.builder.func.dfg.value_def(last).unwrap_inst();
        self.caches.lengths.subtractions.push(inst);
        last
    }
}
