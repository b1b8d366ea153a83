//! Which operator it was whose access to a linear memory faulted.
//!
//! On x86-64 Cranelift fuses a load into the instruction that consumes its value, and that instruction
//! carries the consumer's source location, or none if an optimisation made it. The record of the trap,
//! though, has the trap code of the load itself. So accesses get one of [`COUNT`] codes in turn, and
//! code and location together tell which one it is: a load moves past no other access, so it is the
//! last one with its code before the place where it ended up.
//!
//! Where a load, an operation and a store of the result become one instruction, which Cranelift only
//! does if both accesses have the same code, the load is what faults.

use cranelift_codegen::ir::{
    self, Inst, InstructionData, MemFlagsData, SourceLoc, Value, ValueDef,
};
use cranelift_codegen::{Final, MachSrcLoc};

use super::FuncTranslator;

/// The first code of an access.
const FIRST: u8 = 210;
/// How many codes there are.
const COUNT: usize = 32;

/// An access to a linear memory that may fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    /// The wasm offset of its operator.
    wasm: u32,
    code: ir::TrapCode,
    /// For a store that may become one instruction with a load: that load.
    load: Option<(Inst, u32)>,
}

/// Whether Cranelift's code is one of an access.
pub(crate) fn is_access(code: ir::TrapCode) -> bool {
    (FIRST..FIRST + COUNT as u8).contains(&code.as_raw().get())
}

impl FuncTranslator<'_, '_> {
    /// The trap code of the next access.
    pub(super) fn access_code(&mut self) -> ir::TrapCode {
        if !self.traps_by_signal() {
            // It is checked before.
            return ir::TrapCode::HEAP_OUT_OF_BOUNDS;
        }
        let code = ir::TrapCode::unwrap_user(FIRST + (self.accesses.len() % COUNT) as u8);
        let wasm = self.builder.srcloc().bits();
        let load = None;
        self.accesses.push(Access { wasm, code, load });
        code
    }

    /// The flags of a store of `value`, the last access: those of a load that it may become one
    /// instruction with, if there is one.
    pub(super) fn store_flags(&mut self, flags: MemFlagsData, value: Value) -> MemFlagsData {
        if !self.traps_by_signal() {
            return flags;
        }
        let dfg = &self.builder.func.dfg;
        let ValueDef::Result(inst, _) = dfg.value_def(value) else {
            return flags;
        };
        let InstructionData::Binary { args, .. } = dfg.insts[inst] else {
            return flags;
        };
        let load = args.iter().find_map(|arg| {
            let inst = dfg.value_def(*arg).inst()?;
            let InstructionData::Load { flags, .. } = dfg.insts[inst] else {
                return None;
            };
            let code = dfg.mem_flags[flags].trap_code().filter(|c| is_access(*c))?;
            let wasm = self.accesses.iter().rev().find(|a| a.code == code)?.wasm;
            Some((inst, wasm, code))
        });
        let (Some((inst, wasm, code)), Some(store)) = (load, self.accesses.last_mut()) else {
            return flags;
        };
        store.code = code;
        store.load = Some((inst, wasm));
        flags.with_trap_code(Some(code))
    }
}

/// The wasm offsets of the accesses that have a trap record: of each its offset in the code and its
/// trap code, by ascending offset. `remains` tells whether an instruction is in the code at all.
pub(crate) fn resolve(
    accesses: &[Access],
    records: &[(u32, ir::TrapCode)],
    srclocs: &[MachSrcLoc<Final>],
    remains: impl Fn(Inst) -> bool,
) -> Vec<(u32, u32)> {
    let found: Vec<_> = records
        .iter()
        .filter_map(|(at, code)| Some((*at, find(accesses, *at, *code, srclocs)?)))
        .collect();
    let alone = |load: u32| {
        found
            .iter()
            .any(|(_, access)| access.load.is_none() && access.wasm == load)
    };
    let wasm = |access: &Access| match access.load {
        Some((inst, load)) if remains(inst) && !alone(load) => load,
        _ => access.wasm,
    };
    found
        .iter()
        .map(|(at, access)| (*at, wasm(access)))
        .collect()
}

fn find(
    accesses: &[Access],
    at: u32,
    code: ir::TrapCode,
    srclocs: &[MachSrcLoc<Final>],
) -> Option<Access> {
    let known = |range: &&MachSrcLoc<Final>| !range.loc.is_default();
    let behind = srclocs.partition_point(|range| range.start <= at);
    let here = srclocs[..behind].last().filter(|range| at < range.end);
    let before = |limit: u32| {
        let end = accesses.partition_point(|access| access.wasm < limit);
        let of_code = accesses[..end].iter().rev().find(|a| a.code == code);
        of_code.copied()
    };
    if let Some(range) = here.filter(known) {
        return before(range.loc.bits().saturating_add(1));
    }
    // An instruction of no operator. Code goes on with one that has a place; where that is earlier,
    // it belongs to another block, and what went before counts.
    let next = srclocs[behind..].iter().find(known).map(|r| r.loc.bits());
    let previous = srclocs[..behind].iter().rev().find(known);
    let previous = previous.map_or(0, |range| range.loc.bits());
    match next.filter(|next| *next >= previous) {
        Some(next) => before(next),
        None => {
            let start = accesses.partition_point(|access| access.wasm < previous);
            accesses[start..].iter().find(|a| a.code == code).copied()
        }
    }
}

/// Where the code comes from at an offset.
pub(crate) fn place(srclocs: &[MachSrcLoc<Final>], at: u32) -> Option<u32> {
    let behind = srclocs.partition_point(|range| range.start <= at);
    let range = srclocs[..behind].last().filter(|range| at < range.end)?;
    (range.loc != SourceLoc::default()).then(|| range.loc.bits())
}
