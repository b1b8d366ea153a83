//! Islands: how branches on aarch64 reach further than 128 MiB.
//!
//! ```text
//!   group 0          island 0   group 1          island 1   …
//!   functions, less  veneers    functions, less  veneers
//!   than 112 MiB     of group 0 than 112 MiB     of group 1
//! ```
//!
//! A branch within a group reaches its target. A branch to another group goes to a veneer in the
//! island of its own group: three instructions that reach 4 GiB, through a register that calls may
//! clobber. The text of all but giant modules is one group, and has no island.

use std::collections::BTreeSet;
use std::ops::Range;

use cranelift_codegen::binemit::Reloc;
use precast_artifact::target::Arch;

use super::relocate::{self, Reference};
use crate::codegen::CompiledFunction;
use crate::symbol::Symbol;

/// Maximum number of bytes of functions in a group. A group and its island together must be shorter
/// than a branch reaches; 16 MiB have room for 1.4 million veneers.
const GROUP: u64 = 112 << 20;

/// `adrp x16, target; add x16, x16, :lo12:target; br x16`
const VENEER: [u32; 3] = [0x9000_0010, 0x9100_0210, 0xd61f_0200];
pub(super) const VENEER_LEN: u32 = 12;

/// The veneers of one group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Island {
    /// Range of the group's pieces.
    pub(super) group: Range<usize>,
    /// Text offset of the first byte.
    pub(super) offset: u32,
    /// Symbols in other groups that branches of this group go to, in the order of their veneers.
    targets: Vec<Symbol>,
}

impl Island {
    pub(super) fn len(&self) -> u32 {
        self.targets.len() as u32 * VENEER_LEN
    }

    /// Position of the veneer for a symbol, if the island has one.
    pub(super) fn veneer(&self, symbol: Symbol) -> Option<i64> {
        let i = self.targets.binary_search(&symbol).ok()?;
        Some(i64::from(self.offset) + i as i64 * i64::from(VENEER_LEN))
    }

    /// Appends the veneers to the text; `position` returns the position of a symbol.
    pub(super) fn write(&self, text: &mut Vec<u8>, position: impl Fn(Symbol) -> i64) {
        for target in &self.targets {
            let at = text.len() as u32;
            text.extend(VENEER.iter().flat_map(|word| word.to_le_bytes()));
            let to = position(*target);
            for (at, kind) in [
                (at, Reloc::Aarch64AdrPrelPgHi21),
                (at + 4, Reloc::Aarch64AddAbsLo12Nc),
            ] {
                let reference = Reference {
                    at,
                    from: at.into(),
                    to,
                };
                relocate::apply(text, kind, reference).expect("a text is smaller than 4 GiB");
            }
        }
    }
}

/// Plans the islands for these functions, without offsets. There are none if all branches reach
/// their targets.
pub(super) fn plan(functions: &[CompiledFunction], arch: Arch) -> Vec<Island> {
    match arch {
        Arch::Aarch64 => plan_groups(functions, GROUP),
        Arch::X86_64 | Arch::Riscv64 | Arch::S390x => Vec::new(),
    }
}

pub(super) fn plan_groups(functions: &[CompiledFunction], limit: u64) -> Vec<Island> {
    let groups = groups(functions, limit);
    if groups.len() <= 1 {
        return Vec::new();
    }
    groups
        .into_iter()
        .map(|group| {
            let members = &functions[group.clone()];
            let symbols: BTreeSet<Symbol> = members.iter().map(|member| member.symbol).collect();
            let targets: BTreeSet<Symbol> = members
                .iter()
                .flat_map(|function| &function.relocs)
                .filter(|reloc| reloc.kind == Reloc::Arm64Call)
                .map(|reloc| reloc.target)
                .filter(|target| !symbols.contains(target))
                .collect();
            Island {
                group,
                offset: 0,
                targets: targets.into_iter().collect(),
            }
        })
        .collect()
}

/// Ranges of consecutive functions that together have at most `limit` bytes.
fn groups(functions: &[CompiledFunction], limit: u64) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut len = 0;
    for (i, function) in functions.iter().enumerate() {
        // The size includes the largest possible gap in front of the function.
        let size = function.code.len() as u64 + function.starts.max_gap();
        match groups.last_mut() {
            Some(group) if len + size <= limit => group.end = i + 1,
            _ => {
                groups.push(i..i + 1);
                len = 0;
            }
        }
        len += size;
    }
    groups
}
