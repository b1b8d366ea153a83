//! Finds the operator whose access to a linear memory faulted.
//!
//! On x86-64 Cranelift fuses a load into the instruction that consumes its value. That instruction
//! has the consumer's source location, or none if an optimisation made it, but the trap record has
//! the trap code of the load itself. So accesses get one of [`COUNT`] trap codes in turn, and trap
//! code and location together identify the access: a load never moves past another access, so it is
//! the last access with its trap code in front of the instruction's location.
//!
//! Cranelift may fuse a load, an operation and a store of the result into one instruction, but only
//! if both accesses have the same code. Such an instruction faults as the load.

use std::collections::HashSet;

use cranelift_codegen::ir::{
    self, Inst, InstructionData, MemFlagsData, SourceLoc, Value, ValueDef,
};
use cranelift_codegen::{Final, MachSrcLoc};

use super::FuncTranslator;

/// The first trap code of accesses.
const FIRST: u8 = 210;
/// The number of trap codes of accesses.
const COUNT: usize = 32;

/// An access to a linear memory that may fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    /// Wasm offset of the operator.
    wasm: u32,
    code: ir::TrapCode,
    /// For a store that may be fused with a load: that load, and its wasm offset.
    load: Option<(Inst, u32)>,
}

/// Whether this is one of the trap codes of accesses.
pub(crate) fn is_access(code: ir::TrapCode) -> bool {
    access_number(code).is_some()
}

/// The number of a trap code of accesses; `None` for any other trap code.
pub(super) fn access_number(code: ir::TrapCode) -> Option<u8> {
    let number = code.as_raw().get().checked_sub(FIRST)?;
    (usize::from(number) < COUNT).then_some(number)
}

impl FuncTranslator<'_, '_> {
    /// The trap code of the next access.
    pub(super) fn access_code(&mut self) -> ir::TrapCode {
        if !self.traps_by_signal() {
            // The access is checked explicitly before it is made.
            return ir::TrapCode::HEAP_OUT_OF_BOUNDS;
        }
        let code = ir::TrapCode::unwrap_user(FIRST + (self.accesses.len() % COUNT) as u8);
        let wasm = self.builder.srcloc().bits();
        let load = None;
        self.accesses.push(Access { wasm, code, load });
        code
    }

    /// The flags of a store of `value`, which is the last access. If the store may be fused with a
    /// load, it gets the trap code of that load.
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

/// The accesses that have a trap record: for each its offset in the code and its wasm offset, by
/// ascending offset. `records` has offsets and trap codes; `remains` returns whether an instruction
/// is still in the code.
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
    let alone: HashSet<u32> = found
        .iter()
        .filter(|(_, access)| access.load.is_none())
        .map(|(_, access)| access.wasm)
        .collect();
    let wasm = |access: &Access| match access.load {
        Some((inst, load)) if remains(inst) && !alone.contains(&load) => load,
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
    // The instruction belongs to no operator. The next instruction with a location belongs to the
    // same block, unless its location is earlier. Then the access is after the previous location,
    // or else what is in front of the instruction was moved out of a loop that the instruction is
    // in.
    let next = srclocs[behind..].iter().find(known).map(|r| r.loc.bits());
    let previous = srclocs[..behind].iter().rev().find(known);
    let previous = previous.map_or(0, |range| range.loc.bits());
    match next.filter(|next| *next >= previous) {
        Some(next) => before(next),
        None => {
            let start = accesses.partition_point(|access| access.wasm < previous);
            let after = accesses[start..].iter().find(|a| a.code == code).copied();
            after.or_else(|| before(next?))
        }
    }
}

/// The wasm offset that the code at this offset comes from.
pub(crate) fn place(srclocs: &[MachSrcLoc<Final>], at: u32) -> Option<u32> {
    let behind = srclocs.partition_point(|range| range.start <= at);
    let range = srclocs[..behind].last().filter(|range| at < range.end)?;
    (range.loc != SourceLoc::default()).then(|| range.loc.bits())
}
