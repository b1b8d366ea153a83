//! From functions to machine code, in parallel.

use cranelift_codegen::binemit::Reloc;
use precast_artifact::TrapCode;

use crate::key::Symbol;

/// The machine code of one symbol, not yet linked.
#[derive(Debug)]
pub(crate) struct CompiledFunction {
    /// What this is.
    pub(crate) symbol: Symbol,
    /// Machine code, with its constants behind it.
    pub(crate) code: Box<[u8]>,
    /// Alignment that it needs, a power of two.
    pub(crate) align: u32,
    /// What the linker must fill in, in the order of their offsets.
    pub(crate) relocs: Box<[Relocation]>,
    /// Offsets in `code` of instructions that trap, ascending.
    pub(crate) traps: Box<[(u32, TrapCode)]>,
    /// Offsets in `code` and the wasm offset that the code from there on comes from, ascending.
    pub(crate) addresses: Box<[(u32, u32)]>,
}

/// A place in machine code that depends on where another symbol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relocation {
    /// Offset in the code.
    pub(crate) offset: u32,
    /// How the address is written.
    pub(crate) kind: Reloc,
    /// Whose address.
    pub(crate) target: Symbol,
    /// Added to the address.
    pub(crate) addend: i64,
}

/// All machine code of a module, not yet linked.
#[derive(Debug)]
pub(crate) struct CompiledModule {
    /// The module's own functions in index order, then everything else in the order of its symbols.
    pub(crate) functions: Vec<CompiledFunction>,
    /// Slots of the link table that the code refers to, sorted.
    pub(crate) links: Vec<crate::key::Link>,
}
