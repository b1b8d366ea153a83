//! The table of an artifact's sections: the name, the records and the use of each.
//!
//! The reader's checks, the writer and `precast inspect` are derived from [`SECTIONS`]. The
//! compiler's verifier has a list of its own, so that it can check this table.
//!
//! # Adding a section
//! 1. Add a field to [`Header`] behind the others, and a row to [`SECTIONS`] at the place where the
//!    section's bytes should be in the file. This file does not compile until both are there.
//! 2. Write the section: add a field to `ArtifactBuilder`, and a line to `writer/elf.rs` at the
//!    same place as the row.
//! 3. Read the section: add an accessor to `reader.rs`. Check what the section says before any
//!    loader uses it, in the file that the top of `reader.rs` names for that time.
//! 4. Make the compiler's verifier (`compiler/src/verify`) check the section by its own rules.
//! 5. The tests of the format's versions now fail: raise the number that they name.

use core::mem::{offset_of, size_of};

use super::{Header, Section};
use crate::records::*;

/// A row of the table: what a section is.
#[derive(Debug, Clone, Copy)]
pub struct SectionInfo {
    /// Distance of the section's field from the first byte of the [`Header`].
    pub field: usize,
    /// The name in listings.
    pub title: &'static str,
    /// Bytes of each record; 1 if the section does not consist of records.
    pub record_len: usize,
    /// Alignment of the section's first byte.
    pub align: Align,
    /// How ELF tools see this section; `None` for hot tables, which are one ELF section together.
    pub elf: Option<ElfSection>,
}

/// Alignment of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// A multiple of this number of bytes from the start of the file.
    Bytes(u64),
    /// The first byte of a page, because the section is mapped or protected by itself.
    Page,
}

impl Align {
    /// The alignment in bytes, if pages have `page` bytes.
    pub fn bytes(self, page: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Page => page,
        }
    }
}

/// A section as ELF tools see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElfSection {
    /// The section's name.
    pub name: &'static str,
    /// How a running program may access the section.
    pub access: Access,
    /// Bytes of each entry; 0 if ELF tools do not need the number.
    pub entry_len: u64,
}

/// How a section of a running program is accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Tools and loaders look things up in the section; it has no address.
    Lookup,
    /// Mapped to be read.
    Read,
    /// Mapped to be executed.
    Execute,
    /// Mapped to be written to.
    Write,
}

/// A row of a hot table.
macro_rules! hot {
    ($field:ident: $record:ty, $title:literal) => {
        hot!($field: $record, $title, Align::Bytes(8))
    };
    ($field:ident: $record:ty, $title:literal, $align:expr) => {
        SectionInfo {
            field: offset_of!(Header, $field),
            title: $title,
            record_len: size_of::<$record>(),
            align: $align,
            elf: None,
        }
    };
}

/// A row of any other section.
macro_rules! cold {
    (
        $field:ident: $record:ty, $title:literal, $align:expr,
        $name:literal $access:ident $entry:expr
    ) => {
        SectionInfo {
            elf: Some(ElfSection {
                name: $name,
                access: Access::$access,
                entry_len: $entry,
            }),
            ..hot!($field: $record, $title, $align)
        }
    };
}

use Align::{Bytes, Page};

/// All sections, in the order in which the writer puts them into the file. The hot tables come
/// first.
pub const SECTIONS: [SectionInfo; COUNT] = [
    hot!(strings: u8, "strings"),
    hot!(types: u32, "value types"),
    hot!(signatures: SignatureRecord, "signatures"),
    hot!(type_records: TypeRecord, "types beyond their signatures"),
    hot!(imports: ImportRecord, "imports"),
    hot!(exports: ExportRecord, "exports"),
    hot!(memories: MemoryRecord, "memories"),
    hot!(tables: TableRecord, "tables"),
    hot!(globals: GlobalRecord, "globals"),
    hot!(tags: TagRecord, "tags"),
    hot!(const_ops: ConstOp, "constant expressions"),
    hot!(table_inits: TableInitRecord, "initial values of tables"),
    hot!(elements: ElementRecord, "element segments"),
    hot!(data: DataRecord, "data segments"),
    hot!(got_records: GotRecord, "GOT records"),
    hot!(template: u8, "template of the VM context", Bytes(16)),
    cold!(image: u8, "memory image", Page, ".precast.image" Read 0),
    cold!(element_items: ConstOp, "element items", Bytes(8), ".precast.elements" Lookup 16),
    cold!(images: ImageRecord, "image runs", Bytes(8), ".precast.images" Lookup 32),
    cold!(functions: FunctionRecord, "functions", Bytes(8), ".precast.functions" Lookup 16),
    cold!(order: u32, "order of functions", Bytes(8), ".precast.order" Lookup 4),
    cold!(traps: u8, "traps", Bytes(8), ".precast.traps" Lookup 0),
    cold!(handlers: u8, "handlers", Bytes(8), ".precast.handlers" Lookup 0),
    cold!(addresses: u8, "address map", Bytes(8), ".precast.addresses" Lookup 0),
    cold!(segments: u8, "run-time segments", Bytes(1), ".precast.segments" Lookup 0),
    cold!(metadata: u8, "metadata", Bytes(8), ".precast.meta" Lookup 0),
    cold!(custom_sections: u8, "custom sections", Bytes(8), ".precast.custom" Lookup 0),
    cold!(counters: u8, "counters", Bytes(8), ".precast.counters" Lookup 0),
    // An Elf64_Sym has 24 bytes.
    cold!(symtab: [u8; 24], "symbols", Bytes(8), ".symtab" Lookup 24),
    cold!(strtab: u8, "names", Bytes(1), ".strtab" Lookup 0),
    cold!(rodata: u64, "frozen tables", Bytes(16), ".rodata" Read 0),
    cold!(text: u8, "text", Page, ".text" Execute 0),
    cold!(got: u64, "GOT", Page, ".precast.link" Write 8),
];

/// Distance of the first field of the header that is a [`Section`].
const FIRST: usize = offset_of!(Header, strings);

/// Number of fields of the header that are sections.
pub const COUNT: usize = (size_of::<Header>() - FIRST) / size_of::<Section>();

/// Number of hot tables in [`SECTIONS`]: all rows before the first one with an ELF section.
pub const HOT: usize = {
    let mut hot = 0;
    while SECTIONS[hot].elf.is_none() {
        hot += 1;
    }
    hot
};

impl SectionInfo {
    /// The row of the section whose field is at this distance from the start of the header.
    ///
    /// # Panics
    /// If no section's field is there.
    pub const fn at(field: usize) -> &'static Self {
        let mut i = 0;
        while SECTIONS[i].field != field {
            i += 1;
        }
        &SECTIONS[i]
    }

    /// Where the section is.
    pub fn of(&self, header: &Header) -> Section {
        let sections: &[Section] = bytemuck::cast_slice(&bytemuck::bytes_of(header)[FIRST..]);
        sections[(self.field - FIRST) / size_of::<Section>()]
    }

    /// Sets where the section is.
    pub fn set(&self, header: &mut Header, section: Section) {
        let bytes = &mut bytemuck::bytes_of_mut(header)[FIRST..];
        let sections: &mut [Section] = bytemuck::cast_slice_mut(bytes);
        sections[(self.field - FIRST) / size_of::<Section>()] = section;
    }
}

/// Checks that every section field of the header has exactly one row, and that hot tables come
/// first.
const _: () = {
    assert!(FIRST + COUNT * size_of::<Section>() == size_of::<Header>());
    let mut i = 0;
    while i < COUNT {
        let SectionInfo { field, elf, .. } = SECTIONS[i];
        assert!(field >= FIRST && (field - FIRST).is_multiple_of(size_of::<Section>()));
        assert!(elf.is_none() == (i < HOT));
        let mut other = 0;
        while other < i {
            assert!(SECTIONS[other].field != field);
            other += 1;
        }
        i += 1;
    }
};
