//! The plain-data tables of an artifact: fixed-size little-endian records, used in place.
//!
//! Indices and offsets in hot tables are checked when an artifact is opened, and those in all other
//! tables when a record is read; see [`reader`](crate::reader). Reserved fields and unknown flags
//! must be zero, so that a loader that does not know their meaning refuses the artifact. [`NONE`]
//! in a u32 field means "there is none".

use bytemuck::{Pod, Zeroable};

/// "There is none" in a u32 field.
pub const NONE: u32 = u32::MAX;

/// A piece of the `strings` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Slice {
    /// Offset of the first byte in the table.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
}

/// A run of consecutive records in another table. All runs of [`ConstOp`]s together are no longer
/// than their table. The runs of element segments follow one another without gaps.
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
    /// [`type_id`](crate::signature::type_id), or zero for a type that is not its own id.
    pub type_id: u64,
    /// First value type in the `types` table: parameters, then results.
    pub types: u32,
    /// Number of parameters.
    pub params: u16,
    /// Number of results.
    pub results: u16,
    /// Text offset of the native entry, or [`NONE`].
    pub native_entry: u32,
    /// Text offset of the array entry, or [`NONE`] if no function of this signature can be called
    /// from outside the module.
    pub array_entry: u32,
    /// Text offset of the native exit, or [`NONE`].
    pub native_exit: u32,
    /// Text offset of the array exit, or [`NONE`] if no function of this signature can be a host
    /// function.
    pub array_exit: u32,
}

/// Flag of types: final, which means that no other type has this one as its supertype.
pub const FINAL: u32 = 1;

/// What makes the type of a signature differ from types with the same parameters and results. A
/// signature without such a record is final, has no supertype, and is a recursive group of its own.
/// The table is in the order of the signatures.
///
/// The types of a recursive group are consecutive signatures. If a group has several types, each of
/// them has a record. A type refers only to types of its own group and of earlier ones, and its
/// supertype comes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TypeRecord {
    /// Index of the signature record.
    pub signature: u32,
    /// Signature of the supertype, or [`NONE`].
    pub supertype: u32,
    /// First signature of the recursive group.
    pub group: u32,
    /// Number of types in the group.
    pub group_len: u32,
    /// [`FINAL`].
    pub flags: u32,
}

/// The kind of an import or export.
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
    /// A tag of exceptions.
    Tag = 4,
}

impl ExternKind {
    /// The kind with this number.
    pub const fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            0 => Self::Func,
            1 => Self::Table,
            2 => Self::Memory,
            3 => Self::Global,
            4 => Self::Tag,
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
            Self::Tag => "tag",
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
    /// Index of the signature record of a function, else [`NONE`].
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

/// Flag of memories, tables, globals and tags: imported.
pub const IMPORTED: u32 = 1;
/// Flag of globals: mutable.
pub const MUTABLE: u32 = 2;
/// Flag of tables: frozen, that is read-only data which only machine code sees.
pub const FROZEN: u32 = 4;
/// Flag of memories and tables: indices are 64-bit.
pub const INDEX64: u32 = 8;
/// Flag of memories: shared between threads. Such a memory has a maximum.
pub const SHARED: u32 = 16;

/// A linear memory, in index space order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct MemoryRecord {
    /// Pages at instantiation.
    pub min: u64,
    /// Maximum number of pages, or `u64::MAX` if the module states none.
    pub max: u64,
    /// [`IMPORTED`], [`INDEX64`], [`SHARED`].
    pub flags: u32,
    /// Offset in the VM context of the [`VmMemory`](crate::vm::VmMemory), or of the pointer to it
    /// if the memory is imported or shared.
    pub vm_offset: u32,
    /// Base-two logarithm of the page size: 0 or 16.
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
    /// Maximum number of elements, or `u64::MAX` if the module states none.
    pub max: u64,
    /// [Number](crate::ValType::number) of the type of the elements: a reference type.
    pub element: u32,
    /// [`IMPORTED`], [`FROZEN`], [`INDEX64`].
    pub flags: u32,
    /// Offset in the VM context of the [`VmTable`](crate::vm::VmTable), or of the pointer to it if
    /// the table is imported; [`NONE`] for a frozen table.
    pub vm_offset: u32,
    /// Offset in `rodata` of the [`FrozenEntry`]s of a frozen table, else [`NONE`]. They are
    /// followed by one more entry, which is null: code reads it for indices out of bounds.
    pub frozen: u32,
}

/// An element of a frozen table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FrozenEntry {
    /// Text offset of the function's code.
    pub code: u32,
    /// Index of the function's signature record; [`NONE`] for a null element.
    pub signature: u32,
}

/// A global, in index space order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GlobalRecord {
    /// [Number](crate::ValType::number) of the type.
    pub ty: u32,
    /// [`IMPORTED`], [`MUTABLE`].
    pub flags: u32,
    /// Offset in the VM context of the value, or of the pointer to it if the global is imported.
    pub vm_offset: u32,
    /// First of the [`ConstOp`]s to evaluate at instantiation; [`NONE`] if the template already
    /// holds the value.
    pub init: u32,
    /// Number of those operations.
    pub init_len: u32,
    /// Zero.
    pub reserved: u32,
}

/// A tag of exceptions, in index space order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TagRecord {
    /// Index of its signature record, which has no results.
    pub signature: u32,
    /// [`IMPORTED`].
    pub flags: u32,
    /// Offset in the VM context of the [`VmTag`](crate::vm::VmTag), or of the pointer to it if the
    /// tag is imported.
    pub vm_offset: u32,
    /// Zero.
    pub reserved: u32,
}

/// A defined function. The table is in index order. The order of the code in the text is the same,
/// unless the artifact has a section that says otherwise. The table is read lazily, and the
/// header's checksum does not cover it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FunctionRecord {
    /// Text offset of the first byte of its code.
    pub text_offset: u32,
    /// Number of bytes.
    pub text_len: u32,
    /// Index of its signature record.
    pub signature: u32,
    /// Funcref slot of a function whose reference can escape, else [`NONE`].
    pub funcref: u32,
}

/// Operation of a constant expression that the compiler could not evaluate. An expression is code
/// for a stack machine: operands are pushed, arithmetic pops two and pushes one. All operations of
/// an expression have the type of its value, or a subtype. Globals that an expression reads are
/// immutable, and come before the global whose value the expression is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ConstOp {
    /// [`ConstOpcode`].
    pub op: u32,
    /// Index of a function or global.
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
/// one whose offset is known only at instantiation. The table is in the module's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct DataRecord {
    /// Index of the segment in the module.
    pub segment: u32,
    /// Memory that the segment is copied to at instantiation; [`NONE`] for a passive segment.
    pub memory: u32,
    /// [`ConstOp`]s of the offset in that memory.
    pub offset: Run,
    /// Offset in `segments` of the segment's bytes.
    pub bytes: u64,
    /// Number of bytes.
    pub len: u64,
}

/// An element segment: an active one of a table that is not frozen, or one that `table.init` or
/// `elem.drop` names. The table is in the module's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ElementRecord {
    /// Index of the segment in the module.
    pub segment: u32,
    /// Table that the segment is copied to at instantiation; [`NONE`] for a passive segment.
    pub table: u32,
    /// [`ConstOp`]s of the offset in that table.
    pub offset: Run,
    /// Its elements, in `element_items`: one [`ConstOp`] each (`RefFunc`, `RefNull` or
    /// `GlobalGet`).
    pub items: Run,
}

/// Initial value of a table, if it is not null: one reference for all elements. A table whose type
/// has no null reference must have such a record. The records are in the order of the tables.
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

/// A run of pages of the memory image, page aligned in the file and in the memory. Runs are in
/// ascending order of memories and, in each memory, of addresses; they do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ImageRecord {
    /// Index of the memory in the memory index space. It is a defined memory.
    pub memory: u32,
    /// Zero.
    pub reserved: u32,
    /// Address of the first byte in the linear memory; a multiple of the artifact's page size.
    pub guest: u64,
    /// Offset of the first byte in the `image` section; a multiple of the page size.
    pub offset: u64,
    /// Number of bytes; a multiple of the page size.
    pub len: u64,
}

/// What the loader writes into a slot of the GOT. Record `i` describes slot `i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GotRecord {
    /// [`GotKind`].
    pub kind: u32,
    /// Number of the library call, or index of the signature record.
    pub index: u32,
}

/// Kind of a [`GotRecord`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum GotKind {
    /// Address of a [`LibCall`](crate::LibCall).
    LibCall = 1,
    /// Type id of a signature that is not its own type id.
    TypeId = 2,
}

impl GotKind {
    /// The kind with this number.
    pub const fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            1 => Self::LibCall,
            2 => Self::TypeId,
            _ => return None,
        })
    }
}

/// Where the parts of the VM context are, in bytes from its start. The compiler writes this; the
/// loader never computes a layout. Import slots, funcref slots and dropped flags follow one another
/// in the order of these fields; globals, memories and tables are in front of them, tags between
/// funcref slots and flags, [`counters`](crate::counters) behind the flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct VmLayout {
    /// Size of the whole context; a multiple of 16, and the context is aligned to 16.
    pub size: u32,
    /// Offset of the first [`VmFuncImport`](crate::vm::VmFuncImport).
    pub func_imports: u32,
    /// Number of imported functions.
    pub func_import_count: u32,
    /// Offset of the first [`VmFuncRef`](crate::vm::VmFuncRef) slot.
    pub funcrefs: u32,
    /// Number of funcref slots.
    pub funcref_count: u32,
    /// Offset of the dropped flags of data segments, one byte for each [`DataRecord`].
    pub data_dropped: u32,
    /// Offset of the dropped flags of element segments, one byte for each [`ElementRecord`].
    pub elem_dropped: u32,
}

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<SignatureRecord>() == 32);
    assert!(size_of::<TypeRecord>() == 20);
    assert!(size_of::<ImportRecord>() == 32);
    assert!(size_of::<ExportRecord>() == 24);
    assert!(size_of::<MemoryRecord>() == 32);
    assert!(size_of::<TableRecord>() == 32);
    assert!(size_of::<FrozenEntry>() == 8);
    assert!(size_of::<GlobalRecord>() == 24);
    assert!(size_of::<FunctionRecord>() == 16);
    assert!(size_of::<TagRecord>() == 16);
    assert!(size_of::<ConstOp>() == 16);
    assert!(size_of::<DataRecord>() == 32);
    assert!(size_of::<ElementRecord>() == 24);
    assert!(size_of::<TableInitRecord>() == 16);
    assert!(size_of::<ImageRecord>() == 32);
    assert!(size_of::<GotRecord>() == 8);
    assert!(size_of::<VmLayout>() == 28);
};
