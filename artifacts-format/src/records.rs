//! The plain-data tables of an artifact: fixed-size little-endian records, used in place.
//!
//! Indices and offsets of hot tables are checked when an artifact is opened, those of the tables
//! that opening leaves alone where they are read: [`reader`](crate::reader) says which are which.
//! Reserved fields and unknown flags must be zero, so that a loader that does not know their
//! meaning refuses them. [`NONE`] stands for "there is none" in u32 fields.

use bytemuck::{Pod, Zeroable};

/// "There is none" in a u32 field.
pub const NONE: u32 = u32::MAX;

/// A piece of the `strings` or `data` table: offset and length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Slice {
    /// First byte.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
}

/// A run of consecutive records in another table. Runs of [`ConstOp`]s have no more operations
/// together than there are; those of element segments follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Run {
    /// Index of the first record.
    pub first: u32,
    /// Number of records.
    pub count: u32,
}

/// A signature of the module and its trampolines; equal signatures have one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SignatureRecord {
    /// [`type_id`](crate::signature::type_id), or zero for a signature that is too long.
    pub type_id: u64,
    /// First value type in the `types` table: parameters, then results.
    pub types: u32,
    /// Number of parameters.
    pub params: u16,
    /// Number of results.
    pub results: u16,
    /// Text offset of the native entry, or [`NONE`].
    pub native_entry: u32,
    /// Text offset of the array entry, or [`NONE`] when no function of this signature is reachable
    /// from outside of the module.
    pub array_entry: u32,
    /// Text offset of the native exit, or [`NONE`].
    pub native_exit: u32,
    /// Text offset of the array exit, or [`NONE`] when no function of this signature can be a host
    /// function.
    pub array_exit: u32,
}

/// What an import or export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ExternKind {
    /// A function.
    Func = 0,
    /// A table.
    Table = 1,
    /// A linear memory.
    Memory = 2,
    /// A global.
    Global = 3,
}

impl ExternKind {
    /// The kind with this number.
    pub const fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            0 => Self::Func,
            1 => Self::Table,
            2 => Self::Memory,
            3 => Self::Global,
            _ => return None,
        })
    }

    /// Name in the WebAssembly text format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Func => "func",
            Self::Table => "table",
            Self::Memory => "memory",
            Self::Global => "global",
        }
    }
}

/// An import, in the module's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ImportRecord {
    /// Module name, in `strings`.
    pub module: Slice,
    /// Item name, in `strings`.
    pub name: Slice,
    /// [`ExternKind`].
    pub kind: u32,
    /// Index in the index space of that kind (imports come first in each).
    pub index: u32,
    /// Signature, for a function; else [`NONE`].
    pub signature: u32,
    /// Funcref slot of an imported function whose reference can escape, else [`NONE`].
    pub funcref: u32,
}

/// An export; the table is sorted by (`hash`, name).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ExportRecord {
    /// [`name_hash`](crate::name_hash) of the name.
    pub hash: u32,
    /// Position among the module's exports, in the module's order.
    pub ordinal: u32,
    /// Name, in `strings`.
    pub name: Slice,
    /// [`ExternKind`].
    pub kind: u32,
    /// Index in the index space of that kind.
    pub index: u32,
}

/// Flag of memories, tables and globals: imported.
pub const IMPORTED: u32 = 1;
/// Flag of globals: mutable.
pub const MUTABLE: u32 = 2;
/// Flag of tables: frozen, that is read-only data which only machine code sees.
pub const FROZEN: u32 = 4;
/// Flag of memories and tables: indices are 64-bit.
pub const INDEX64: u32 = 8;
/// Flag of memories: shared between threads (reserved).
pub const SHARED: u32 = 16;

/// A linear memory, in index space order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct MemoryRecord {
    /// Pages at instantiation.
    pub min: u64,
    /// Most pages, or `u64::MAX`.
    pub max: u64,
    /// [`IMPORTED`], [`INDEX64`].
    pub flags: u32,
    /// In the VM context: the [`VmMemory`](crate::vm::VmMemory), or a pointer to one if imported.
    pub vm_offset: u32,
    /// Base-two logarithm of the page size: 16.
    pub page_shift: u32,
    /// Zero.
    pub reserved: u32,
}

/// A table, in index space order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TableRecord {
    /// Elements at instantiation.
    pub min: u64,
    /// Most elements, or `u64::MAX`.
    pub max: u64,
    /// [`ValType`](crate::ValType) of the elements: funcref or externref.
    pub element: u32,
    /// [`IMPORTED`], [`FROZEN`], [`INDEX64`].
    pub flags: u32,
    /// In the VM context: the [`VmTable`](crate::vm::VmTable), or a pointer to one if imported;
    /// [`NONE`] for a frozen table.
    pub vm_offset: u32,
    /// Offset in `rodata` of the [`FrozenEntry`]s of a frozen table, else [`NONE`]. There is one more
    /// than elements, a null one, which indices beyond the end lead to.
    pub frozen: u32,
}

/// An element of a frozen table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FrozenEntry {
    /// Text offset of the function.
    pub code: u32,
    /// Index of its signature record; [`NONE`] for a null element.
    pub signature: u32,
}

/// A global, in index space order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GlobalRecord {
    /// [`ValType`](crate::ValType).
    pub ty: u32,
    /// [`IMPORTED`], [`MUTABLE`].
    pub flags: u32,
    /// In the VM context: the value, or a pointer to it if imported.
    pub vm_offset: u32,
    /// Run of [`ConstOp`]s to evaluate at instantiation; [`NONE`] when the template holds the
    /// value already.
    pub init: u32,
    /// Number of those operations.
    pub init_len: u32,
    /// Zero.
    pub reserved: u32,
}

/// A defined function. The table is in index order, which is also the order in the text; it is
/// read lazily and is not covered by the header's checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FunctionRecord {
    /// First byte in the text.
    pub text_offset: u32,
    /// Number of bytes.
    pub text_len: u32,
    /// Index of its signature record.
    pub signature: u32,
    /// Funcref slot if its reference can escape, else [`NONE`].
    pub funcref: u32,
}

/// Operation of a constant expression that the compiler could not evaluate. A stack machine:
/// operands are pushed, arithmetic pops two and pushes one. All operations of an expression are of
/// the type of its value, and globals that it reads are immutable and come before the one that it is
/// the value of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ConstOp {
    /// [`ConstOpcode`].
    pub op: u32,
    /// Function or global index.
    pub index: u32,
    /// Bits of a constant.
    pub bits: u64,
}

/// Opcode of a [`ConstOp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ConstOpcode {
    /// Push `bits`.
    Const = 0,
    /// Push the value of global `index`.
    GlobalGet = 1,
    /// Push a reference to function `index`.
    RefFunc = 2,
    /// Push a null reference.
    RefNull = 3,
    /// Wrapping 32-bit arithmetic.
    I32Add = 4,
    /// See `I32Add`.
    I32Sub = 5,
    /// See `I32Add`.
    I32Mul = 6,
    /// Wrapping 64-bit arithmetic.
    I64Add = 7,
    /// See `I64Add`.
    I64Sub = 8,
    /// See `I64Add`.
    I64Mul = 9,
}

impl ConstOpcode {
    /// The opcode with this number.
    pub const fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            0 => Self::Const,
            1 => Self::GlobalGet,
            2 => Self::RefFunc,
            3 => Self::RefNull,
            4 => Self::I32Add,
            5 => Self::I32Sub,
            6 => Self::I32Mul,
            7 => Self::I64Add,
            8 => Self::I64Sub,
            9 => Self::I64Mul,
            _ => return None,
        })
    }
}

/// A data segment that the memory image does not cover: one that `memory.init` names, or an active
/// one whose place is known only at instantiation. In the module's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DataRecord {
    /// Index of the segment in the module.
    pub segment: u32,
    /// Memory that it is copied to at instantiation, [`NONE`] for a passive segment.
    pub memory: u32,
    /// [`ConstOp`]s of the offset.
    pub offset: Run,
    /// Its bytes: offset in `segments`.
    pub bytes: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// An element segment: active ones of tables that are not frozen, and those that `table.init` or
/// `elem.drop` name. In the module's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ElementRecord {
    /// Index of the segment in the module.
    pub segment: u32,
    /// Table that it is copied to at instantiation, [`NONE`] for a passive segment.
    pub table: u32,
    /// [`ConstOp`]s of the offset.
    pub offset: Run,
    /// Its elements: one [`ConstOp`] each (`RefFunc`, `RefNull` or `GlobalGet`), in `elements`.
    pub items: Run,
}

/// Initial value of a table that is not null: one reference for all its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TableInitRecord {
    /// The table.
    pub table: u32,
    /// Zero.
    pub reserved: u32,
    /// [`ConstOp`]s of the value.
    pub value: Run,
}

/// A run of pages of the memory image, page aligned in the file and in the memory. Runs are in the
/// order of memories, then of places in them, and do not overlap there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ImageRecord {
    /// Defined memory, in the memory index space.
    pub memory: u32,
    /// Zero.
    pub reserved: u32,
    /// First byte in the linear memory; a multiple of the artifact's page size.
    pub guest: u64,
    /// First byte, from the start of the `image` section; a multiple of the page size.
    pub offset: u64,
    /// Bytes; a multiple of the page size.
    pub len: u64,
}

/// What belongs in a slot of the link table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct LinkRecord {
    /// [`LinkKind`].
    pub kind: u32,
    /// Number of the library call, or index of the signature record.
    pub index: u32,
}

/// Kind of a [`LinkRecord`]. Slot `i` of the link table belongs to link record `i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum LinkKind {
    /// Address of a [`LibCall`](crate::LibCall).
    LibCall = 1,
    /// Type id of a signature that is too long to be its own.
    TypeId = 2,
}

impl LinkKind {
    /// The kind with this number.
    pub const fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            1 => Self::LibCall,
            2 => Self::TypeId,
            _ => return None,
        })
    }
}

/// Where the parts of the VM context are, in bytes from its start. Written by the compiler; the
/// loader never computes a layout. Import slots, references and flags follow one another in the
/// order of these fields; globals, memories and tables are in front of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct VmLayout {
    /// Size of the whole context; a multiple of 16, and the context is aligned to 16.
    pub size: u32,
    /// First [`VmFuncImport`](crate::vm::VmFuncImport).
    pub func_imports: u32,
    /// Number of imported functions.
    pub func_import_count: u32,
    /// First [`VmFuncRef`](crate::vm::VmFuncRef) slot.
    pub funcrefs: u32,
    /// Number of funcref slots.
    pub funcref_count: u32,
    /// First byte of the dropped flags of data segments, one for each [`DataRecord`].
    pub data_dropped: u32,
    /// First byte of the dropped flags of element segments, one for each [`ElementRecord`].
    pub elem_dropped: u32,
    /// [`Interruption`](crate::Interruption) of the code. It is here because a word was left, which
    /// was zero, as is [`Interruption::None`](crate::Interruption::None).
    pub interruption: u32,
}

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<SignatureRecord>() == 32);
    assert!(size_of::<ImportRecord>() == 32);
    assert!(size_of::<ExportRecord>() == 24);
    assert!(size_of::<MemoryRecord>() == 32);
    assert!(size_of::<TableRecord>() == 32);
    assert!(size_of::<FrozenEntry>() == 8);
    assert!(size_of::<GlobalRecord>() == 24);
    assert!(size_of::<FunctionRecord>() == 16);
    assert!(size_of::<ConstOp>() == 16);
    assert!(size_of::<DataRecord>() == 32);
    assert!(size_of::<ElementRecord>() == 24);
    assert!(size_of::<TableInitRecord>() == 16);
    assert!(size_of::<ImageRecord>() == 32);
    assert!(size_of::<LinkRecord>() == 8);
    assert!(size_of::<VmLayout>() == 32);
};
