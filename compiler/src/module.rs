//! A WebAssembly module as the compiler sees it: validated, and still borrowing from its bytes.
//!
//! Each index space has an index type of its own (see [`symbol`](crate::symbol)). Equal types of
//! the type section share a [`SigIndex`]. Nothing in this file decides anything about the code to
//! be generated: [`plan`](crate::plan) does.

use std::collections::HashMap;
use std::ops::Range;

use cranelift_entity::{EntityRef, EntitySet, PrimaryMap};
use precast_artifact::ValType;
use precast_artifact::signature::{is_native, type_id};
use wasmparser::{FunctionBody, WasmFeatures};

use crate::const_expr::ConstExpr;
use crate::symbol::{
    DataIndex, DefinedFuncIndex, ElemIndex, FuncIndex, GlobalIndex, MemoryIndex, SigIndex,
    TableIndex, TagIndex, TypeIndex,
};

/// A validated module.
pub(crate) struct Module<'a> {
    pub(crate) types: PrimaryMap<TypeIndex, SigIndex>,
    pub(crate) signatures: PrimaryMap<SigIndex, Signature>,
    /// All imports, in the module's order.
    pub(crate) imports: Vec<Import<'a>>,
    pub(crate) functions: PrimaryMap<FuncIndex, SigIndex>,
    pub(crate) imported_functions: usize,
    pub(crate) tables: PrimaryMap<TableIndex, Table>,
    pub(crate) imported_tables: usize,
    pub(crate) memories: PrimaryMap<MemoryIndex, Memory>,
    pub(crate) imported_memories: usize,
    pub(crate) globals: PrimaryMap<GlobalIndex, Global>,
    pub(crate) imported_globals: usize,
    /// The signature of each tag. Its parameters are the values of the exceptions with this tag.
    pub(crate) tags: PrimaryMap<TagIndex, SigIndex>,
    pub(crate) imported_tags: usize,
    /// All exports, in the module's order.
    pub(crate) exports: Vec<Export<'a>>,
    pub(crate) start: Option<FuncIndex>,
    pub(crate) elements: PrimaryMap<ElemIndex, Element>,
    pub(crate) data: PrimaryMap<DataIndex, Data<'a>>,
    pub(crate) bodies: PrimaryMap<DefinedFuncIndex, FunctionBody<'a>>,
    pub(crate) names: Names<'a>,
    /// For functions with hints: the offsets of branches in their bodies, ascending, and whether
    /// they are likely taken.
    pub(crate) branch_hints: HashMap<FuncIndex, Box<[(u32, bool)]>>,
    /// All custom sections, in the module's order.
    pub(crate) custom_sections: Vec<(&'a str, &'a [u8])>,
    /// Offset of the content of the code section, which addresses in DWARF count from.
    pub(crate) code_start: u32,
    /// What the code refers to.
    pub(crate) facts: Facts,
}

/// A function type: parameters, results, and what else makes the type differ from others. Indices
/// of concrete types in it are those of signatures.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Signature {
    pub(crate) params: Box<[ValType]>,
    pub(crate) results: Box<[ValType]>,
    /// `None` for a final type without a supertype, in a recursive group of its own.
    pub(crate) kind: Option<TypeKind>,
}

/// What makes a type differ from others with the same parameters and results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TypeKind {
    pub(crate) is_final: bool,
    pub(crate) supertype: Option<SigIndex>,
    /// The first type of the recursive group. All of its types are consecutive.
    pub(crate) group: SigIndex,
    pub(crate) group_len: u32,
}

impl Signature {
    /// Whether this signature has native entries and exits.
    pub(crate) fn is_native(&self) -> bool {
        is_native(&self.params, &self.results)
    }

    /// The type id; `None` if only the loader can assign it.
    pub(crate) fn type_id(&self) -> Option<u64> {
        match self.kind {
            Some(_) => None,
            None => type_id(&self.params, &self.results),
        }
    }

    /// Whether the type has no subtypes but itself.
    pub(crate) fn is_final(&self) -> bool {
        self.kind.is_none_or(|kind| kind.is_final)
    }
}

/// Something that a module can import or export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extern {
    Func(FuncIndex),
    Table(TableIndex),
    Memory(MemoryIndex),
    Global(GlobalIndex),
    Tag(TagIndex),
}

pub(crate) struct Import<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: &'a str,
    pub(crate) item: Extern,
}

pub(crate) struct Export<'a> {
    pub(crate) name: &'a str,
    pub(crate) item: Extern,
}

#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// A reference type.
    pub(crate) element: ValType,
    /// The initial value of the elements, if the module states one.
    pub(crate) init: Option<ConstExpr>,
    /// Number of elements at instantiation.
    pub(crate) min: u64,
    pub(crate) max: Option<u64>,
    pub(crate) index64: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Number of pages at instantiation.
    pub(crate) min: u64,
    pub(crate) max: Option<u64>,
    pub(crate) index64: bool,
    /// Whether other threads use the memory. It has a maximum then.
    pub(crate) shared: bool,
    /// Base-two logarithm of the size of a page.
    pub(crate) page_shift: u32,
}

impl Memory {
    /// Number of bytes at instantiation; `u64::MAX` if a `u64` cannot count them.
    pub(crate) fn min_bytes(&self) -> u64 {
        self.min.saturating_mul(1 << self.page_shift)
    }
}

/// Base-two logarithm of the size of a page of linear memory, unless the module says otherwise.
pub(crate) const PAGE_SHIFT: u32 = 16;

pub(crate) struct Global {
    pub(crate) ty: ValType,
    pub(crate) mutable: bool,
    /// Initial value; `None` for an imported global.
    pub(crate) init: Option<ConstExpr>,
}

pub(crate) struct Element {
    pub(crate) mode: ElementMode,
    pub(crate) items: ElementItems,
    /// The proposal that the type of the items belongs to.
    pub(crate) features: WasmFeatures,
}

pub(crate) enum ElementMode {
    Passive,
    Declared,
    Active {
        table: TableIndex,
        offset: ConstExpr,
    },
}

pub(crate) enum ElementItems {
    Functions(Vec<FuncIndex>),
    Expressions(Vec<ConstExpr>),
}

impl ElementItems {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Functions(items) => items.len(),
            Self::Expressions(items) => items.len(),
        }
    }

    /// Each item as an expression.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ConstExpr> {
        (0..self.len()).map(move |i| match self {
            Self::Functions(items) => ConstExpr::ref_func(items[i]),
            Self::Expressions(items) => items[i].clone(),
        })
    }
}

pub(crate) struct Data<'a> {
    /// Memory and offset of an active segment; `None` for a passive segment.
    pub(crate) active: Option<(MemoryIndex, ConstExpr)>,
    pub(crate) bytes: &'a [u8],
}

/// Names from the `name` section.
#[derive(Default)]
pub(crate) struct Names<'a> {
    pub(crate) module: Option<&'a str>,
    /// Names of functions, imported and defined, in index order, at most one for each.
    pub(crate) functions: Vec<(FuncIndex, &'a str)>,
}

impl<'a> Names<'a> {
    pub(crate) fn function(&self, index: FuncIndex) -> Option<&'a str> {
        let i = self
            .functions
            .binary_search_by_key(&index, |(index, _)| *index)
            .ok()?;
        Some(self.functions[i].1)
    }
}

/// What the code of a module refers to.
#[derive(Default)]
pub(crate) struct Facts {
    /// Tables that an instruction other than `call_indirect`, `return_call_indirect` and
    /// `table.size` names.
    pub(crate) tables_accessed: EntitySet<TableIndex>,
    /// Tables that `table.grow` names.
    pub(crate) tables_grown: EntitySet<TableIndex>,
    /// Tables and types of indirect calls.
    pub(crate) indirect_calls: std::collections::BTreeSet<(TableIndex, TypeIndex)>,
    /// Types of calls through references.
    pub(crate) ref_calls: std::collections::BTreeSet<TypeIndex>,
    /// Byte offsets of calls through references whose type has no null reference.
    pub(crate) non_null_calls: std::collections::BTreeSet<u32>,
    /// Data segments that `memory.init` or `data.drop` names.
    pub(crate) data_named: EntitySet<DataIndex>,
    /// Element segments that `table.init` or `elem.drop` names.
    pub(crate) elements_named: EntitySet<ElemIndex>,
    /// Functions that `ref.func` names.
    pub(crate) functions_referenced: EntitySet<FuncIndex>,
    /// Proposals that operators belong to.
    pub(crate) features: Option<WasmFeatures>,
}

impl Facts {
    /// Adds the proposals that one or several operators belong to.
    pub(crate) fn add_features(&mut self, features: Option<WasmFeatures>) {
        if let Some(features) = features {
            self.features = Some(self.features.map_or(features, |known| known | features));
        }
    }
}

impl Module<'_> {
    /// Whether the type `sub` is the type `of`, or `of` is one of its supertypes.
    pub(crate) fn is_subtype(&self, sub: SigIndex, of: SigIndex) -> bool {
        let above = |index: &SigIndex| self.signatures[*index].kind?.supertype;
        std::iter::successors(Some(sub), above).any(|index| index == of)
    }

    /// The function's index among the defined functions; `None` for an imported function.
    pub(crate) fn defined(&self, index: FuncIndex) -> Option<DefinedFuncIndex> {
        index
            .index()
            .checked_sub(self.imported_functions)
            .map(DefinedFuncIndex::new)
    }

    /// The function's index in the index space of all functions.
    pub(crate) fn func_index(&self, index: DefinedFuncIndex) -> FuncIndex {
        FuncIndex::new(index.index() + self.imported_functions)
    }

    /// The signature of a function.
    pub(crate) fn signature(&self, index: FuncIndex) -> &Signature {
        &self.signatures[self.functions[index]]
    }

    /// The signature of a defined function.
    pub(crate) fn func_type(&self, index: DefinedFuncIndex) -> SigIndex {
        self.functions[self.func_index(index)]
    }

    pub(crate) fn is_imported_table(&self, index: TableIndex) -> bool {
        index.index() < self.imported_tables
    }

    pub(crate) fn is_imported_memory(&self, index: MemoryIndex) -> bool {
        index.index() < self.imported_memories
    }

    /// Whether the VM context has only a pointer to the head of a memory, because the head is
    /// elsewhere.
    pub(crate) fn is_memory_elsewhere(&self, index: MemoryIndex) -> bool {
        self.is_imported_memory(index) || self.memories[index].shared
    }

    pub(crate) fn is_imported_tag(&self, index: TagIndex) -> bool {
        index.index() < self.imported_tags
    }

    pub(crate) fn is_imported_global(&self, index: GlobalIndex) -> bool {
        index.index() < self.imported_globals
    }

    /// The branch hints of a function, by offset in its body.
    pub(crate) fn hints(&self, index: DefinedFuncIndex) -> &[(u32, bool)] {
        let hints = self.branch_hints.get(&self.func_index(index));
        hints.map_or(&[], |hints| hints)
    }

    /// The range of the module's bytes that holds the function's body, from its locals to its end.
    pub(crate) fn body_range(&self, index: DefinedFuncIndex) -> Range<u64> {
        self.bodies[index].range()
    }
}
