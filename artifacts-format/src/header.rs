//! The fixed header, at [`HEADER_OFFSET`] of every artifact, and the sections it leads to.
//!
//! ```text
//!   0     ELF header, program headers          for readelf, objdump, perf, gdb, not the loader
//!   512   Header                               \
//!         hot tables: strings, types, …        / covered by `checksum`, verified at every open
//!         image                                  page aligned; mapped copy-on-write into memories
//!         elements, image records                read when an instance is made for the first time
//!         functions, order, traps, handlers, addresses, segments: read lazily
//!         metadata (bincode), custom sections, counters, .symtab, .strtab, .shstrtab,
//!         ELF section headers
//!         rodata (frozen tables)                 read-only for machine code
//!         text                                   page aligned; read + execute
//!         GOT                                    page aligned; copy-on-write, patched at open
//! ```
//!
//! The GOT (global offset table) has a slot for each address or id that only the loader knows. Few
//! modules need a GOT, so nearly every file ends with the text: a mapping of the file then has one
//! part that is read and one that is executed. Readers do not depend on that order, or on any
//! other. Sections do not overlap. Readers check that, because overlapping sections could make the
//! loader write where it must not. [`SECTIONS`] is the table of all sections.
//!
//! Sections are located relative to the header itself, so the same header serves an artifact that
//! is a file, bytes in memory, or part of an executable. Integers are little-endian, except those
//! in the template and in ELF structures, which are in the byte order of the architecture.
//!
//! `digest` is BLAKE3 over the whole file with `digest` and `checksum` taken as zero; `checksum` is
//! CRC-32 (IEEE) over header and hot tables with `checksum` taken as zero. The checksum always
//! detects a single damaged byte there. Only the digest detects changes that were made on purpose.
//! Signatures of the digest can follow the artifact in its file, see [`trailer`](crate::trailer).

mod sections;

use bytemuck::{Pod, Zeroable};

pub use sections::{Access, Align, ElfSection, HOT, SECTIONS, SectionInfo};

use crate::records::VmLayout;

/// Version of the file layout.
pub const FORMAT: u32 = 1;

/// File offset of the [`Header`].
pub const HEADER_OFFSET: usize = 512;

/// First bytes of the [`Header`].
pub const MAGIC: [u8; 8] = *b"precast\n";

/// Where a section is: its distance from the start of the [`Header`], and its length, in bytes.
/// Both are zero for a section that is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Section {
    /// Distance of the section's first byte from the first byte of the header.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
}

/// The header of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`FORMAT`].
    pub format: u32,
    /// [`ABI`](crate::ABI).
    pub abi: u32,
    /// CRC-32 of header and hot tables.
    pub checksum: u32,
    /// Bytes that the checksum covers, from the start of the header.
    pub hot_len: u32,
    /// BLAKE3 of the file.
    pub digest: [u8; 32],
    /// Bytes of the file.
    pub file_len: u64,
    /// [`Arch`](crate::target::Arch).
    pub arch: u32,
    /// [`Os`](crate::target::Os).
    pub os: u32,
    /// CPU features that the code uses: bits as in
    /// [`Arch::features`](crate::target::Arch::features).
    pub cpu_features: u64,
    /// Page size that sections are aligned for; the host's must divide it.
    pub page_size: u32,
    /// Bytes of a pointer: 8.
    pub pointer_width: u32,
    /// [`Strategy`](crate::Strategy).
    pub strategy: u32,
    /// Start function, in the function index space, or [`NONE`](crate::records::NONE).
    pub start_function: u32,
    /// Layout of the VM context.
    pub vm: VmLayout,
    /// [`Interruption`](crate::Interruption) of the code.
    pub interruption: u32,
    /// Proposals that the module uses: the bits of [`Feature`](crate::Feature)s.
    pub features: u64,

    /// UTF-8 text of names.
    pub strings: Section,
    /// Value types of signatures: their [numbers](crate::ValType::number).
    pub types: Section,
    /// [`SignatureRecord`](crate::records::SignatureRecord)s.
    pub signatures: Section,
    /// [`TypeRecord`](crate::records::TypeRecord)s.
    pub type_records: Section,
    /// [`ImportRecord`](crate::records::ImportRecord)s.
    pub imports: Section,
    /// [`ExportRecord`](crate::records::ExportRecord)s.
    pub exports: Section,
    /// [`MemoryRecord`](crate::records::MemoryRecord)s.
    pub memories: Section,
    /// [`TableRecord`](crate::records::TableRecord)s.
    pub tables: Section,
    /// [`GlobalRecord`](crate::records::GlobalRecord)s.
    pub globals: Section,
    /// [`TagRecord`](crate::records::TagRecord)s.
    pub tags: Section,
    /// [`ConstOp`](crate::records::ConstOp)s.
    pub const_ops: Section,
    /// [`TableInitRecord`](crate::records::TableInitRecord)s.
    pub table_inits: Section,
    /// [`ElementRecord`](crate::records::ElementRecord)s.
    pub elements: Section,
    /// [`DataRecord`](crate::records::DataRecord)s.
    pub data: Section,
    /// [`ImageRecord`](crate::records::ImageRecord)s.
    pub images: Section,
    /// [`GotRecord`](crate::records::GotRecord)s.
    pub got_records: Section,
    /// First bytes of a fresh VM context; the rest of it is zero.
    pub template: Section,

    /// Read-only data of machine code: frozen tables.
    pub rodata: Section,
    /// Machine code.
    pub text: Section,
    /// The GOT: one 8-byte slot for each GOT record.
    pub got: Section,
    /// Pages of the memory image.
    pub image: Section,
    /// Elements of element segments: [`ConstOp`](crate::records::ConstOp)s.
    pub element_items: Section,
    /// Bytes of data segments that the image does not cover.
    pub segments: Section,
    /// [`FunctionRecord`](crate::records::FunctionRecord)s.
    pub functions: Section,
    /// Trap table, see [`traps`](crate::traps).
    pub traps: Section,
    /// Handlers of calls, see [`handlers`](crate::handlers).
    pub handlers: Section,
    /// Map from code to wasm offsets, see [`addresses`](crate::addresses).
    pub addresses: Section,
    /// Cold metadata, which the module `metadata` reads.
    pub metadata: Section,
    /// ELF symbol table. Symbol `1 + i` is defined function `i`.
    pub symtab: Section,
    /// ELF string table of `symtab`.
    pub strtab: Section,
    /// Custom sections of the module, see [`custom_sections`](crate::custom_sections).
    pub custom_sections: Section,
    /// Indices of the defined functions in the order of their code. Empty if both are in the same
    /// order.
    pub order: Section,
    /// What code that makes profiles counts, see [`counters`](crate::counters).
    pub counters: Section,
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<Section>() == 16);
    assert!(offset_of!(Header, format) == 8 && offset_of!(Header, abi) == 12);
    assert!(offset_of!(Header, checksum) == 16 && offset_of!(Header, digest) == 24);
    assert!(offset_of!(Header, strings) == 136);
    assert!(size_of::<Header>() == 136 + SECTIONS.len() * 16);
};
