//! Lays out pieces of machine code as one text without relocations.
//!
//! The pieces are placed in the order in which they come (the module's functions by index, then the
//! rest by symbol), hot ones first and cold ones last if a profile says which these are, each with
//! the alignment that it needs. Everything that code refers to is then at a known distance from it:
//! other code by that order, the GOT and the read-only data by [`TextLayout`]. So the text runs at
//! any address and is never patched. Code reaches what only the host knows through the GOT.
//!
//! Gaps between functions are filled with instructions that trap.

mod island;
mod relocate;

use cranelift_codegen::binemit::Reloc;
use cranelift_entity::EntityRef;
use precast_artifact::TrapCode;
use precast_artifact::addresses::AddressMapBuilder;
use precast_artifact::handlers::Handler;
use precast_artifact::records::FrozenEntry;
use precast_artifact::target::Arch;
use precast_artifact::writer::TextLayout;

use crate::codegen::{CompiledFunction, CompiledModule, Relocation};
use crate::middle::Heat;
use crate::plan::Plan;
use crate::symbol::{GotEntry, Symbol, TableIndex};
use island::Island;
use relocate::Reference;

/// Length of an instruction on the architecture that has islands.
const INSTRUCTION: u64 = 4;

/// Why machine code cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// There is more machine code than text offsets can address.
    #[error("the machine code would be {found} bytes long; an artifact holds at most {limit}")]
    TextTooLarge {
        /// Bytes of machine code.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The target of a branch or an address is further away than the architecture's instruction can
    /// reach.
    #[error(
        "{from} is {distance} bytes away from {to}, which one instruction refers to; \
         {arch} reaches {limit} bytes: the module is too large for this target"
    )]
    OutOfReach {
        /// Symbol that refers.
        from: String,
        /// Symbol that is referred to.
        to: String,
        /// Bytes between them.
        distance: i64,
        /// How far the instruction reaches.
        limit: i64,
        /// Architecture.
        arch: &'static str,
    },
}

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The symbol whose code it is.
    pub(crate) symbol: Symbol,
    /// Text offset of the first byte.
    pub(crate) offset: u32,
    /// Number of bytes.
    pub(crate) len: u32,
}

/// Machine code that is laid out, without relocations.
#[derive(Debug)]
pub(crate) struct PlacedText {
    /// The text.
    pub(crate) text: Vec<u8>,
    /// The pieces of the text, in the order of their symbols.
    pub(crate) pieces: Vec<Placed>,
    /// Islands between pieces: offset and length. They consist of veneers only.
    pub(crate) islands: Vec<(u32, u32)>,
    /// Slots of the GOT.
    pub(crate) got: Vec<GotEntry>,
    /// Traps of the whole text, ascending.
    pub(crate) traps: Vec<(u32, TrapCode)>,
    /// Handlers of calls of the whole text, ascending by their return addresses.
    pub(crate) handlers: Vec<(u32, Handler)>,
    /// Address map of the module's functions.
    pub(crate) addresses: Vec<u8>,
}

impl PlacedText {
    /// The piece of the text that is a symbol's code.
    pub(crate) fn find(&self, symbol: Symbol) -> Option<Placed> {
        find(&self.pieces, symbol)
    }
}

/// Layout of the read-only data: the frozen tables, and the offset of each.
#[derive(Debug, Default)]
pub(crate) struct RodataLayout {
    /// Frozen tables in ascending order, with their offsets.
    pub(crate) tables: Vec<(TableIndex, u32)>,
    /// Total number of bytes.
    pub(crate) len: u64,
}

impl RodataLayout {
    /// Lays out the frozen tables of a plan one after the other. The length of the read-only data
    /// is known before the text is laid out, its content (text offsets) only afterwards.
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut layout = Self::default();
        for (index, table) in plan.tables.iter() {
            if let Some(frozen) = &table.frozen {
                // Offsets wrap only where the writer refuses the artifact, beyond 4 GiB in total.
                layout.tables.push((index, layout.len as u32));
                // The table has one more entry, which is null: code reads it for indices out of
                // bounds.
                layout.len += ((frozen.elements.len() + 1) * size_of::<FrozenEntry>()) as u64;
            }
        }
        layout
    }
}

/// Lays out the code of `module` for an artifact of this architecture.
///
/// # Panics
/// If code refers to something that does not exist, which is a bug in this compiler.
pub(crate) fn lay_out(
    mut module: CompiledModule,
    arch: Arch,
    rodata: &RodataLayout,
    heat: &dyn Fn(Symbol) -> Heat,
) -> Result<PlacedText, LayoutError> {
    debug_assert!(module.functions.is_sorted_by(|a, b| a.symbol < b.symbol));
    let mut addresses = AddressMapBuilder::new(instruction_scale(arch));
    for function in &module.functions {
        if matches!(function.symbol, Symbol::Function(_)) {
            addresses.function(&function.addresses, &function.changes);
        }
    }
    // The sort is stable: code that is equally hot stays in the order of its symbols.
    module
        .functions
        .sort_by_key(|function| heat(function.symbol));
    let islands = island::plan(&module.functions, arch);
    Ok(PlacedText {
        addresses: addresses.finish(),
        ..lay_out_with_islands(module, islands, arch, rodata)?
    })
}

fn lay_out_with_islands(
    module: CompiledModule,
    islands: Vec<Island>,
    arch: Arch,
    rodata: &RodataLayout,
) -> Result<PlacedText, LayoutError> {
    let CompiledModule { functions, got } = module;
    debug_assert!(got.is_sorted_by(|a, b| a < b));
    let (places, islands, text_len) = place(&functions, islands)?;
    let mut pieces = places.clone();
    pieces.sort_unstable_by_key(|piece| piece.symbol);
    let layout = TextLayout {
        page_size: arch.page_size(),
        rodata_len: rodata.len,
        text_len: text_len.into(),
    };
    let targets = Targets {
        pieces: &pieces,
        got: &got,
        rodata,
        layout,
        arch,
    };

    let mut text = Vec::with_capacity(text_len as usize);
    let mut traps = Vec::with_capacity(functions.iter().map(|f| f.traps.len()).sum());
    let mut handlers = Vec::new();
    let mut ahead = islands.iter().peekable();
    // Each piece is dropped as soon as it is copied.
    for (i, (function, placed)) in functions.into_iter().zip(&places).enumerate() {
        text.resize(placed.offset as usize, filler(arch));
        text.extend_from_slice(&function.code);
        let place = |(at, code): &(u32, TrapCode)| (placed.offset + at, *code);
        traps.extend(function.traps.iter().map(place));
        handlers.extend(function.handlers.iter().map(|(call, handler)| {
            let code = placed.offset + handler.code;
            (placed.offset + call, Handler { code, ..*handler })
        }));
        targets.resolve(&function, *placed, ahead.peek().copied(), &mut text)?;
        if let Some(island) = ahead.next_if(|island| island.group.end == i + 1) {
            text.resize(island.offset as usize, filler(arch));
            island.write(&mut text, |symbol| targets.must_find(symbol, "an island"));
        }
    }
    Ok(PlacedText {
        text,
        islands: islands.iter().map(|i| (i.offset, i.len())).collect(),
        pieces,
        got,
        traps,
        handlers,
        addresses: Vec::new(),
    })
}

/// Assigns each function and island its offset. The last result is the length of the text.
fn place(
    functions: &[CompiledFunction],
    mut islands: Vec<Island>,
) -> Result<(Vec<Placed>, Vec<Island>, u32), LayoutError> {
    // Every offset, including the end of the text, must be different from `NONE`.
    let limit = u64::from(u32::MAX) - 1;
    let mut pieces = Vec::with_capacity(functions.len());
    let mut ahead = islands.iter_mut().peekable();
    let mut end = 0_u64;
    for (i, function) in functions.iter().enumerate() {
        // Offsets wrap only if `end` is refused below.
        let offset = function.starts.next(end);
        end = offset + function.code.len() as u64;
        pieces.push(Placed {
            symbol: function.symbol,
            offset: offset as u32,
            len: function.code.len() as u32,
        });
        if let Some(island) = ahead.next_if(|island| island.group.end == i + 1) {
            end = end.next_multiple_of(INSTRUCTION);
            island.offset = end as u32;
            end += u64::from(island.len());
        }
    }
    match u32::try_from(end) {
        Ok(len) if end <= limit => Ok((pieces, islands, len)),
        _ => Err(LayoutError::TextTooLarge { found: end, limit }),
    }
}

fn find(pieces: &[Placed], symbol: Symbol) -> Option<Placed> {
    if let Symbol::Function(i) = symbol {
        return pieces
            .get(i.index())
            .copied()
            .filter(|p| p.symbol == symbol);
    }
    pieces
        .binary_search_by_key(&symbol, |p| p.symbol)
        .ok()
        .map(|i| pieces[i])
}

/// Everything that a relocation can refer to.
struct Targets<'a> {
    pieces: &'a [Placed],
    got: &'a [GotEntry],
    rodata: &'a RodataLayout,
    layout: TextLayout,
    arch: Arch,
}

impl Targets<'_> {
    /// Position of a symbol, in bytes from the start of the text.
    fn position(&self, symbol: Symbol) -> Option<i64> {
        Some(match symbol {
            Symbol::TextStart => 0,
            Symbol::GotSlot(entry) => {
                let slot = self.got.binary_search(&entry).ok()? as i64;
                self.layout.got_after_text() as i64 + 8 * slot
            }
            Symbol::FrozenTable(table) => {
                let i = self
                    .rodata
                    .tables
                    .binary_search_by_key(&table, |t| t.0)
                    .ok()?;
                i64::from(self.rodata.tables[i].1) - self.layout.rodata_before_text() as i64
            }
            code => i64::from(find(self.pieces, code)?.offset),
        })
    }

    fn must_find(&self, symbol: Symbol, from: impl std::fmt::Debug) -> i64 {
        let position = self.position(symbol);
        position.unwrap_or_else(|| panic!("{from:?} refers to {symbol:?}, which does not exist"))
    }

    fn resolve(
        &self,
        function: &CompiledFunction,
        placed: Placed,
        island: Option<&Island>,
        text: &mut [u8],
    ) -> Result<(), LayoutError> {
        let value = |symbol: Symbol, addend: i64| self.must_find(symbol, function.symbol) + addend;
        for reloc in &function.relocs {
            let at = placed.offset + reloc.offset;
            let (mut from, mut to) = (i64::from(at), value(reloc.target, reloc.addend));
            if reloc.kind == Reloc::RiscvPCRelLo12I {
                // The relocation refers to the instruction with the other half of the address.
                from = to;
                let there = |r: &Relocation| i64::from(placed.offset + r.offset);
                let first = function.relocs.partition_point(|r| there(r) < from);
                let high = function.relocs[first..]
                    .iter()
                    .take_while(|r| there(r) == from)
                    .find(|r| r.kind == Reloc::RiscvPCRelHi20);
                let high = high.unwrap_or_else(|| panic!("{:?}: no auipc", function.symbol));
                to = value(high.target, high.addend);
            }
            let veneer = island.and_then(|island| island.veneer(reloc.target));
            if let (Reloc::Arm64Call, Some(veneer)) = (reloc.kind, veneer) {
                to = veneer;
            }
            let reference = Reference { at, from, to };
            relocate::apply(text, reloc.kind, reference).map_err(|limit| {
                LayoutError::OutOfReach {
                    from: format!("{:?}", function.symbol),
                    to: format!("{:?}", reloc.target),
                    distance: to - from,
                    limit,
                    arch: self.arch.name(),
                }
            })?;
        }
        Ok(())
    }
}

/// Base-two logarithm of the alignment of instructions.
fn instruction_scale(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 => 0,
        Arch::Riscv64 | Arch::S390x => 1,
        Arch::Aarch64 => 2,
    }
}

/// The byte that fills gaps: on x86-64 `int3`, elsewhere zero, which is no valid instruction.
fn filler(arch: Arch) -> u8 {
    match arch {
        Arch::X86_64 => 0xcc,
        Arch::Aarch64 | Arch::Riscv64 | Arch::S390x => 0,
    }
}

#[cfg(test)]
mod tests;
