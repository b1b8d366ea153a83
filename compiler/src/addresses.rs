//! The address map of a function: which instructions came from where in the module.

use target_lexicon::Architecture;

/// The length of every instruction is a multiple of this number of bytes.
pub(crate) fn instruction_unit(architecture: Architecture) -> u32 {
    match architecture {
        Architecture::Aarch64(_) => 4,
        Architecture::Riscv64(_) | Architecture::S390x => 2,
        _ => 1,
    }
}

/// The address map of a function: the offsets where the position changes. Backtraces only see
/// program counters of instructions that can fault or that call, and `seen` has all of them. Code
/// between two of these counts as part of the first. An offset inside an instruction, as s390x has
/// for its conditional traps, is rounded down to a multiple of `unit`.
pub(crate) fn addresses(mut seen: Vec<(u32, u32)>, unit: u32) -> Box<[(u32, u32)]> {
    for (at, _) in &mut seen {
        *at = *at / unit * unit;
    }
    seen.sort_unstable();
    seen.dedup_by_key(|(at, _)| *at);
    seen.dedup_by_key(|(_, wasm)| *wasm);
    seen.into()
}
