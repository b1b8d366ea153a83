//! Makes every decision about a module before code is generated. Decisions never change afterwards.
//!
//! - A table is *frozen*, that is read-only data, if it is defined and not exported, only indirect
//!   calls of final types and `table.size` name it, its initial value and segments are all constant
//!   and in bounds, its segments are [sure](sure), and it is not much longer than they are.
//! - The *memory image* has the active segments of defined memories that are sure and whose offset
//!   is constant and in bounds, but none after a segment of the same memory that has to wait for
//!   instantiation (where segments overlap, their order is visible). A memory whose segments are
//!   scattered over many more pages than they fill has no image.
//! - A global is *constant*, and folded into code, if it is defined and immutable and the compiler
//!   can compute its value.
//! - A function *escapes*, and has a slot for its reference in the VM context, if it is exported,
//!   if `ref.func` names it, or if the initial value of a global or of a table that is not frozen,
//!   a passive segment, or an active segment of a table that is not frozen refers to it.
//! - There are *entries* for each signature of an escaping function and of the start function.
//! - There are *exits* for each signature of an imported function, of an indirect call through a
//!   table that is not frozen, because the host may put its functions there, and of a call through
//!   a reference.
//!
//! A segment that is *dropped* before any code can name it (a declared one, or one in a frozen
//! table or in the memory image) has length zero for code that names it.
//!
//! What a decision adds to the artifact is in proportion to the module's own size, so that a small
//! module never makes a large artifact.

mod data;
mod freeze;
mod sure;

use std::collections::BTreeSet;

use cranelift_entity::{EntityRef, EntitySet, PrimaryMap};
use precast_artifact::ValType;
use precast_artifact::promises::Promise;
use precast_artifact::records::{NONE, VmLayout};
use precast_artifact::vm::{VmContextHeader, VmFuncImport, VmFuncRef, VmMemory, VmTable, VmTag};

use self::sure::Sure;
use crate::Error;
use crate::const_expr::ConstValue;
use crate::module::{ElementMode, Extern, Module};
use crate::symbol::{
    DataIndex, ElemIndex, FuncIndex, GlobalIndex, MemoryIndex, SigIndex, TableIndex, TagIndex,
};

/// Decisions about a module.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Layout of the VM context.
    pub(crate) vm: VmLayout,
    pub(crate) globals: PrimaryMap<GlobalIndex, GlobalPlan>,
    pub(crate) memories: PrimaryMap<MemoryIndex, MemoryPlan>,
    pub(crate) tables: PrimaryMap<TableIndex, TablePlan>,
    /// Slot of each function's reference in the VM context; [`NONE`] if the reference cannot
    /// escape.
    pub(crate) funcrefs: PrimaryMap<FuncIndex, u32>,
    /// For each tag, the offset in the VM context of the [`VmTag`], or of the pointer to it if the
    /// tag is imported.
    pub(crate) tags: PrimaryMap<TagIndex, u32>,
    pub(crate) data: PrimaryMap<DataIndex, SegmentPlan>,
    /// Segments that get a data record, in the order of the records.
    pub(crate) data_records: Vec<DataIndex>,
    /// Segments in the memory image: memory, offset in it, segment. They are in the module's order,
    /// so that later segments win where they overlap.
    pub(crate) image: Vec<(MemoryIndex, u64, DataIndex)>,
    pub(crate) elements: PrimaryMap<ElemIndex, SegmentPlan>,
    /// Segments that get an element record, in the order of the records.
    pub(crate) element_records: Vec<ElemIndex>,
    /// Signatures of functions that the host may call.
    pub(crate) entries: BTreeSet<SigIndex>,
    /// Signatures of host functions that wasm code may call.
    pub(crate) exits: BTreeSet<SigIndex>,
    /// Imported functions that are elements of frozen tables.
    pub(crate) import_thunks: BTreeSet<FuncIndex>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct GlobalPlan {
    /// Offset in the VM context of the value, or of the pointer to it if the global is imported.
    pub(crate) offset: u32,
    /// Initial value, if the template holds it.
    pub(crate) init: Option<ConstValue>,
    /// The value, if the global is constant.
    pub(crate) constant: Option<ConstValue>,
    /// Whether no other module can see the global.
    pub(crate) private: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoryPlan {
    /// Offset in the VM context of the [`VmMemory`], or of the pointer to it if the memory is
    /// imported or shared.
    pub(crate) offset: u32,
    /// Whether no other module and no other thread can see the memory.
    pub(crate) private: bool,
}

#[derive(Debug)]
pub(crate) struct TablePlan {
    /// Offset in the VM context of the [`VmTable`], or of the pointer to it if the table is
    /// imported; [`NONE`] if the table is frozen.
    pub(crate) offset: u32,
    pub(crate) frozen: Option<FrozenTable>,
    /// The length, if it can never change.
    pub(crate) fixed_len: Option<u64>,
}

/// A table that is read-only data.
#[derive(Debug)]
pub(crate) struct FrozenTable {
    /// The elements; `None` is the null reference.
    pub(crate) elements: Vec<Option<FuncIndex>>,
    /// The signature of all elements that are not null, if they have the same one.
    pub(crate) signature: Option<SigIndex>,
    /// Whether any element is null.
    pub(crate) has_null: bool,
}

/// What the artifact has for a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentPlan {
    /// The segment with this index among the data or element records.
    Record(u32),
    /// No record: the segment has length zero before any code runs.
    Dropped,
    /// No record: no code ever names the segment.
    Unused,
}

/// Maximum size of the VM context, in bytes. Real modules need far less; it keeps offsets below
/// 2^31.
const MAX_VM_CONTEXT: u64 = 1 << 30;

impl Plan {
    /// Makes all decisions about `module`.
    pub(crate) fn new(module: &Module<'_>) -> Result<Self, Error> {
        let exports = Exports::new(module);
        let mut constants: PrimaryMap<GlobalIndex, Option<ConstValue>> = PrimaryMap::new();
        let mut inits = PrimaryMap::<GlobalIndex, Option<ConstValue>>::new();
        for global in module.globals.values() {
            let known = |index: GlobalIndex| constants.get(index).copied().flatten();
            let init = global.init.as_ref().and_then(|init| init.fold(known));
            inits.push(init);
            let folds = !global.mutable && Promise::FoldedGlobal.is_constant();
            constants.push(init.filter(|_| folds));
        }
        let known = |index: GlobalIndex| constants[index];

        let sure = Sure::new(module, known);
        let mut frozen = freeze::tables(module, &exports, sure, known);
        let (data, data_records, image) = data::plan(module, sure, known);
        let (elements, element_records) = plan_elements(module, &frozen);
        let escaping = escaping_functions(module, &exports, &frozen);

        let mut layout = Layout {
            end: size_of::<VmContextHeader>() as u64,
        };
        let globals: PrimaryMap<GlobalIndex, GlobalPlan> = module
            .globals
            .iter()
            .map(|(index, global)| GlobalPlan {
                offset: match global.ty {
                    ValType::V128 if !module.is_imported_global(index) => layout.place(16, 16),
                    _ => layout.place(8, 8),
                },
                init: inits[index],
                constant: constants[index],
                private: !module.is_imported_global(index) && !exports.globals.contains(index),
            })
            .collect();
        let memories = module
            .memories
            .keys()
            .map(|index| {
                let elsewhere = module.is_memory_elsewhere(index);
                let size = if elsewhere { 8 } else { size_of::<VmMemory>() };
                MemoryPlan {
                    offset: layout.place(size as u64, 8),
                    private: !elsewhere && !exports.memories.contains(index),
                }
            })
            .collect();
        let tables = module
            .tables
            .iter()
            .map(|(index, table)| {
                let imported = module.is_imported_table(index);
                let frozen = frozen[index].take();
                let can_grow = exports.tables.contains(index)
                    || module.facts.tables_grown.contains(index)
                    || imported;
                TablePlan {
                    offset: match (&frozen, imported) {
                        (Some(_), _) => NONE,
                        (None, true) => layout.place(8, 8),
                        (None, false) => layout.place(size_of::<VmTable>() as u64, 8),
                    },
                    fixed_len: (!can_grow || (!imported && table.max == Some(table.min)))
                        .then_some(table.min),
                    frozen,
                }
            })
            .collect::<PrimaryMap<TableIndex, TablePlan>>();

        let func_import_count = module.imported_functions;
        let func_imports = layout.place((func_import_count * size_of::<VmFuncImport>()) as u64, 8);
        let mut funcref_count = 0;
        let funcrefs = module
            .functions
            .keys()
            .map(|index| {
                if !escaping.contains(index) {
                    return NONE;
                }
                funcref_count += 1;
                funcref_count - 1
            })
            .collect();
        let funcrefs_offset =
            layout.place(u64::from(funcref_count) * size_of::<VmFuncRef>() as u64, 8);
        let tags = module
            .tags
            .keys()
            .map(|index| {
                let imported = module.is_imported_tag(index);
                let size = if imported { 8 } else { size_of::<VmTag>() };
                layout.place(size as u64, 8)
            })
            .collect();
        let data_dropped = layout.place(data_records.len() as u64, 1);
        let elem_dropped = layout.place(element_records.len() as u64, 1);
        let size = layout.place(0, 16);
        layout.check()?;

        let signature = |index: FuncIndex| module.functions[index];
        let entries = escaping.iter().chain(module.start).map(signature).collect();
        let imported = (0..func_import_count).map(|i| signature(FuncIndex::new(i)));
        let called = module
            .facts
            .indirect_calls
            .iter()
            .filter(|(table, _)| tables[*table].frozen.is_none())
            .map(|(_, ty)| module.types[*ty]);
        let by_ref = module.facts.ref_calls.iter().map(|ty| module.types[*ty]);
        let exits = imported.chain(called).chain(by_ref).collect();
        let import_thunks = tables
            .values()
            .filter_map(|table| table.frozen.as_ref())
            .flat_map(|table| table.elements.iter().flatten().copied())
            .filter(|index| module.defined(*index).is_none())
            .collect();

        Ok(Self {
            vm: VmLayout {
                size,
                func_imports,
                func_import_count: func_import_count as u32,
                funcrefs: funcrefs_offset,
                funcref_count,
                data_dropped,
                elem_dropped,
            },
            globals,
            memories,
            tables,
            funcrefs,
            tags,
            data,
            data_records,
            image,
            elements,
            element_records,
            entries,
            exits,
            import_thunks,
        })
    }

    /// Makes room for this many words of counters at the end of the VM context, and returns their
    /// offset.
    pub(crate) fn place_counters(&mut self, words: u64) -> Result<u32, Error> {
        let mut layout = Layout {
            end: self.vm.size.into(),
        };
        let start = layout.place(8 * words, 8);
        self.vm.size = layout.place(0, 16);
        layout.check()?;
        Ok(start)
    }

    /// Offset in the VM context of the import slot of an imported function.
    pub(crate) fn func_import(&self, index: FuncIndex) -> u32 {
        self.vm.func_imports + index.as_u32() * size_of::<VmFuncImport>() as u32
    }

    /// Offset in the VM context of the slot for a function's reference.
    pub(crate) fn funcref(&self, index: FuncIndex) -> u32 {
        let slot = self.funcrefs[index];
        assert_ne!(
            slot, NONE,
            "{index} has no slot, because its reference was planned not to escape"
        );
        self.vm.funcrefs + slot * size_of::<VmFuncRef>() as u32
    }
}

/// Assigns offsets in the VM context.
struct Layout {
    end: u64,
}

impl Layout {
    /// Assigns the next offset. It is right only as long as `end` stays below [`MAX_VM_CONTEXT`].
    fn place(&mut self, size: u64, align: u64) -> u32 {
        let place = self.end.next_multiple_of(align);
        self.end = place + size;
        place as u32
    }

    fn check(&self) -> Result<(), Error> {
        if self.end <= MAX_VM_CONTEXT {
            return Ok(());
        }
        Err(Error::TooLarge {
            what: "the size in bytes of the VM context".to_owned(),
            found: self.end,
            limit: MAX_VM_CONTEXT,
        })
    }
}

/// The items that other modules and the host can reach.
#[derive(Default)]
struct Exports {
    functions: EntitySet<FuncIndex>,
    tables: EntitySet<TableIndex>,
    memories: EntitySet<MemoryIndex>,
    globals: EntitySet<GlobalIndex>,
}

impl Exports {
    fn new(module: &Module<'_>) -> Self {
        let mut exports = Self::default();
        for export in &module.exports {
            match export.item {
                Extern::Func(i) => exports.functions.insert(i),
                Extern::Table(i) => exports.tables.insert(i),
                Extern::Memory(i) => exports.memories.insert(i),
                Extern::Global(i) => exports.globals.insert(i),
                // A tag is never changed, so it does not matter which modules import or export it.
                Extern::Tag(_) => continue,
            };
        }
        exports
    }
}

fn plan_elements(
    module: &Module<'_>,
    frozen: &PrimaryMap<TableIndex, Option<FrozenTable>>,
) -> (PrimaryMap<ElemIndex, SegmentPlan>, Vec<ElemIndex>) {
    let (mut plans, mut records) = (PrimaryMap::new(), Vec::new());
    for (index, segment) in module.elements.iter() {
        plans.push(match &segment.mode {
            ElementMode::Declared => SegmentPlan::Dropped,
            ElementMode::Active { table, .. } if frozen[*table].is_some() => SegmentPlan::Dropped,
            ElementMode::Active { .. } => record(&mut records, index),
            ElementMode::Passive if module.facts.elements_named.contains(index) => {
                record(&mut records, index)
            }
            ElementMode::Passive => SegmentPlan::Unused,
        });
    }
    (plans, records)
}

fn record<I>(records: &mut Vec<I>, index: I) -> SegmentPlan {
    records.push(index);
    SegmentPlan::Record(u32::try_from(records.len() - 1).expect("fewer segments than 2^32"))
}

/// The functions whose reference something may hold.
fn escaping_functions(
    module: &Module<'_>,
    exports: &Exports,
    frozen: &PrimaryMap<TableIndex, Option<FrozenTable>>,
) -> EntitySet<FuncIndex> {
    let mut escaping = exports.functions.clone();
    let mut insert_all = |functions: &mut dyn Iterator<Item = FuncIndex>| {
        for function in functions {
            escaping.insert(function);
        }
    };
    insert_all(&mut module.facts.functions_referenced.iter());
    for global in module.globals.values() {
        insert_all(&mut global.init.iter().flat_map(|init| init.functions()));
    }
    for (index, table) in module.tables.iter() {
        if frozen[index].is_none() {
            insert_all(&mut table.init.iter().flat_map(|init| init.functions()));
        }
    }
    for segment in module.elements.values() {
        let contained = match &segment.mode {
            ElementMode::Declared => true,
            ElementMode::Active { table, .. } => frozen[*table].is_some(),
            ElementMode::Passive => false,
        };
        if !contained {
            for item in segment.items.iter() {
                insert_all(&mut item.functions());
            }
        }
    }
    escaping
}

#[cfg(test)]
mod tests;
