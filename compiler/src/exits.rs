//! Moves the code that leaves a short counted loop behind the loop.
//!
//! Cranelift lays blocks out in reverse postorder of a depth-first search that takes the first
//! successor of a branch first, so what the first successor leads to comes last. In WebAssembly,
//! code that leaves a loop may be inside of the loop: compilers leave it where the source has it.
//! Then the head of the loop, its parts and the jump back are far apart, with all of that code in
//! between, and each round takes more jumps and more lines of the instruction cache.
//!
//! So this pass turns branches of the loop. The successor that leaves the loop becomes the first.
//! If both stay and the second leads to the first, the second becomes the first: otherwise the
//! search would put what leaves the loop further on in front of the other part of the loop.
//!
//! This is only for short innermost loops that count, since those probably run many times before
//! they are left. A search in a hash table is a loop as well, and most often left in its first
//! round: with its branches turned, CPython took 1.2 times as long. Without counting, the main
//! loops of interpreters would be turned too.
//!
//! The pass comes before Cranelift's optimiser, which merges what it adds.

use cranelift_codegen::Context;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::{
    Block, Function, Inst, InstBuilder, InstructionData, Opcode, Value, ValueDef,
};
use cranelift_codegen::loop_analysis::{Loop, LoopAnalysis};
use cranelift_entity::SecondaryMap;

/// Maximum number of blocks of a short loop.
const SHORT: usize = 16;

/// Turns branches of a function that was just built.
pub(crate) fn put_behind_loops(context: &mut Context) {
    context.compute_cfg();
    context.compute_domtree();
    context.compute_loop_analysis();
    let (cfg, loops) = (&context.cfg, &context.loop_analysis);
    // The blocks of each innermost loop. A list ends after `SHORT + 1` blocks, which are enough to
    // see that a loop is not short.
    let mut bodies: SecondaryMap<Loop, Vec<Block>> = SecondaryMap::new();
    for &block in context.domtree.cfg_postorder() {
        if let Some(around) = loops.innermost_loop(block)
            && bodies[around].len() <= SHORT
        {
            bodies[around].push(block);
        }
    }
    for inner in loops.loops() {
        if let Some(outer) = loops.loop_parent(inner) {
            bodies[outer].clear();
        }
    }
    for number in loops.loops() {
        let short = Short {
            cfg,
            loops,
            number,
            head: loops.loop_header(number),
        };
        let body = &bodies[number];
        if body.len() <= SHORT && body.iter().any(|&block| short.counts(&context.func, block)) {
            for &block in body {
                short.turn(&mut context.func, block);
            }
        }
    }
}

/// An innermost loop with few blocks.
struct Short<'a> {
    cfg: &'a ControlFlowGraph,
    loops: &'a LoopAnalysis,
    number: Loop,
    head: Block,
}

impl Short<'_> {
    fn has(&self, block: Block) -> bool {
        self.loops.innermost_loop(block) == Some(self.number)
    }

    /// Whether a block leaves the loop depending on a count: on a parameter of the head, or the sum
    /// of one and a constant, by itself or compared with anything.
    fn counts(&self, func: &Function, block: Block) -> bool {
        let Some(branch) = Branch::of(func, block) else {
            return false;
        };
        let is_param = |value: Value| {
            let value = func.dfg.resolve_aliases(value);
            matches!(func.dfg.value_def(value), ValueDef::Param(block, _) if block == self.head)
        };
        let is_count = |value: Value| match made_by(func, value) {
            Some(InstructionData::Binary {
                opcode: Opcode::Iadd | Opcode::Isub,
                args: [a, b],
            }) => {
                let constant = made_by(func, b);
                is_param(a) && matches!(constant, Some(InstructionData::UnaryImm { .. }))
            }
            _ => is_param(value),
        };
        let is_counted = match compared(func, branch.condition) {
            Some(InstructionData::IntCompare { args, .. }) => args.into_iter().any(is_count),
            _ => is_count(branch.condition),
        };
        is_counted && !branch.to.into_iter().all(|to| self.has(to))
    }

    /// Swaps the successors of a block if that puts code behind the loop.
    fn turn(&self, func: &mut Function, block: Block) {
        let Some(Branch {
            inst,
            condition,
            to: [first, second],
        }) = Branch::of(func, block)
        else {
            return;
        };
        // A way back to the head has no influence on the order.
        if !self.has(first) || first == self.head {
            return;
        }
        if self.has(second) && !self.leads(second, first) {
            return;
        }
        let inverse = inverse(func, inst, condition);
        if let InstructionData::Brif { arg, blocks, .. } = &mut func.dfg.insts[inst] {
            *arg = inverse;
            blocks.swap(0, 1);
        }
    }

    /// Whether a way in the loop leads from one of its blocks to another without the head.
    fn leads(&self, from: Block, to: Block) -> bool {
        if from == self.head {
            return false;
        }
        let mut seen = vec![from];
        let mut at = 0;
        while let Some(&block) = seen.get(at) {
            for after in self.cfg.succ_iter(block) {
                if after == to {
                    return true;
                }
                if after != self.head && self.has(after) && !seen.contains(&after) {
                    seen.push(after);
                }
            }
            at += 1;
        }
        false
    }
}

/// A conditional branch at the end of a block.
struct Branch {
    inst: Inst,
    condition: Value,
    /// Where the branch leads to if the condition is not zero, and otherwise.
    to: [Block; 2],
}

impl Branch {
    fn of(func: &Function, block: Block) -> Option<Self> {
        let inst = func.layout.last_inst(block)?;
        let InstructionData::Brif { arg, blocks, .. } = func.dfg.insts[inst] else {
            return None;
        };
        Some(Self {
            inst,
            condition: arg,
            to: blocks.map(|call| call.block(&func.dfg.value_lists)),
        })
    }
}

/// The instruction whose result a value is.
fn made_by(func: &Function, value: Value) -> Option<InstructionData> {
    match func.dfg.value_def(func.dfg.resolve_aliases(value)) {
        ValueDef::Result(inst, _) => Some(func.dfg.insts[inst]),
        _ => None,
    }
}

/// The comparison that a condition is the result of, extended or not.
fn compared(func: &Function, condition: Value) -> Option<InstructionData> {
    match made_by(func, condition) {
        Some(InstructionData::Unary {
            opcode: Opcode::Uextend,
            arg,
        }) => made_by(func, arg),
        made => made,
    }
}

/// A condition that holds if and only if `condition` does not, in front of a branch.
fn inverse(func: &mut Function, branch: Inst, condition: Value) -> Value {
    let compared = compared(func, condition);
    let place = func.srcloc(branch);
    let mut cursor = FuncCursor::new(func).at_inst(branch).with_srcloc(place);
    match compared {
        Some(InstructionData::IntCompare { cond, args, .. }) => {
            cursor.ins().icmp(cond.complement(), args[0], args[1])
        }
        Some(InstructionData::FloatCompare { cond, args, .. }) => {
            cursor.ins().fcmp(cond.complement(), args[0], args[1])
        }
        _ => cursor.ins().icmp_imm_u(IntCC::Equal, condition, 0),
    }
}

#[cfg(test)]
mod tests;
