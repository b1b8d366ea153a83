//! What the reader refuses although the checksum is right. Each test gives one record or field a
//! false value that would mislead a reader, and expects an error with its place.

mod context;
mod expr;
mod types;

use precast_artifact::records::*;
use precast_artifact::writer::ArtifactBuilder;
use precast_artifact::{
    Aligned, Artifact, Error, Feature, HEADER_OFFSET, Header, Section, ValType,
};

use crate::damage::{header, seal};
use crate::sample::{HOST, full, full_bytes};

/// The section in which an error is expected.
type SectionOf = fn(&Header) -> Section;

/// Changes an artifact so that it is wrong.
type Change = fn(&mut ArtifactBuilder<'_>);

/// Expects `found` to be an error that says `what` and names an offset in the section `place`.
#[track_caller]
fn expect(found: Result<(), Error>, bytes: &[u8], place: SectionOf, what: &str) {
    let Err(Error::Damaged { offset, what: said }) = found else {
        panic!("{what}: {found:?}");
    };
    let header: Header =
        bytemuck::pod_read_unaligned(&bytes[HEADER_OFFSET..][..size_of::<Header>()]);
    let Section { start, len } = place(&header);
    let start = HEADER_OFFSET as u64 + start;
    assert!(
        said.contains(what) && (start..start + len.max(1)).contains(&offset),
        "expected `{what}` at {start:#x}, {len} bytes, found `{said}` at {offset:#x}"
    );
}

/// Expects the artifact not to open.
#[track_caller]
fn refused(change: impl FnOnce(&mut ArtifactBuilder<'_>), place: SectionOf, what: &str) {
    let mut b = full();
    change(&mut b);
    let bytes = Aligned::new(&b.finish().expect("small"));
    expect(
        Artifact::parse(&bytes, Some(&HOST)).map(drop),
        &bytes,
        place,
        what,
    );
}

/// Like [`refused`], for a change to the header.
#[track_caller]
fn header_refused(change: impl FnOnce(&mut Header), what: &str) {
    let mut bytes = full_bytes();
    change(header(&mut bytes));
    seal(&mut bytes);
    let found = Artifact::parse(&bytes, Some(&HOST)).map(drop);
    expect(found, &bytes, whole_header, what);
}

#[test]
fn proposals_that_nobody_knows() {
    header_refused(
        |h| h.features = 1 << 63,
        "a proposal that this reader does not know",
    );
    let mut bytes = full_bytes();
    header(&mut bytes).features = Feature::Simd.bit() | Feature::Threads.bit();
    seal(&mut bytes);
    let artifact = Artifact::parse(&bytes, Some(&HOST)).expect("known proposals");
    let used: Vec<_> = Feature::of_bits(artifact.header().features).collect();
    assert_eq!(used, [Feature::Simd, Feature::Threads]);
}

fn whole_header(_: &Header) -> Section {
    Section {
        start: 0,
        len: size_of::<Header>() as u64,
    }
}

#[test]
fn sections_that_overlap() {
    let outside = "outside of the file or of the hot tables";
    for change in [
        |h: &mut Header| h.got.start = h.text.start,
        |h: &mut Header| h.types.start = h.strings.start,
        |h: &mut Header| h.text.start = h.image.start,
        |h: &mut Header| h.strtab.start = h.symtab.start,
        |h: &mut Header| h.strtab.start -= 1,
        |h: &mut Header| h.symtab.len += 24,
        |h: &mut Header| h.template.start = h.got_records.start,
    ] {
        header_refused(change, "overlaps another");
    }
    header_refused(|h| h.interruption = 4, "unknown interruption");
    header_refused(|h| h.strings.start = 8, outside);
    header_refused(|h| h.rodata.start = h.template.start, outside);
    header_refused(|h| h.text.start = 0, outside);
    // Such a text would be executable although it starts behind the end of the file.
    header_refused(
        |h| {
            h.text = Section {
                start: u64::MAX - 4095,
                len: 0,
            }
        },
        "empty but has a start",
    );
    header_refused(
        |h| h.template.len += 4096,
        "outside of the file or of the hot tables",
    );
    header_refused(
        |h| h.strtab.len = u64::MAX,
        "outside of the file or of the hot tables",
    );
    header_refused(|h| h.page_size = 1 << 17, "page size");
    header_refused(|h| h.strategy = 3, "memory strategy");
}

#[test]
fn signatures_imports_and_exports() {
    let signatures: SectionOf = |h| h.signatures;
    let imports: SectionOf = |h| h.imports;
    let exports: SectionOf = |h| h.exports;
    let header: SectionOf = whole_header;
    // Typed calls compare the type id alone.
    refused(|b| b.signatures[0].type_id ^= 1, signatures, "type id");
    refused(|b| b.signatures[0].type_id = 0, signatures, "type id");
    refused(|b| b.signatures[1].type_id = 1 << 63, signatures, "type id");
    refused(|b| b.signatures[0].params = 1, signatures, "type id");
    refused(|b| b.signatures[0].results = 9, signatures, "value types");
    refused(
        |b| b.signatures[1].array_exit = 48,
        signatures,
        "trampoline",
    );
    refused(
        |b| b.imports[0].signature = 4,
        imports,
        "signature or funcref slot",
    );
    refused(
        |b| b.imports[0].funcref = 2,
        imports,
        "signature or funcref slot",
    );
    refused(|b| b.imports[0].name.len = 99, imports, "name of an import");
    refused(|b| b.imports[0].kind = 5, imports, "kind of import");
    refused(|b| b.imports[1].index = 1, imports, "index of an import");
    refused(|b| b.imports[1].kind = 0, imports, "index of an import");
    refused(
        |b| b.memories[1].flags = IMPORTED,
        header,
        "imports do not match",
    );
    refused(
        |b| b.globals[1].flags = IMPORTED,
        header,
        "imports do not match",
    );
    refused(
        |b| b.start_function = Some(3),
        header,
        "index of the start function",
    );
    for (kind, index) in [
        (ExternKind::Func, 3),
        (ExternKind::Table, 2),
        // Table 0 is frozen.
        (ExternKind::Table, 0),
        (ExternKind::Memory, 2),
        (ExternKind::Global, 2),
        (ExternKind::Tag, 1),
    ] {
        refused(|b| b.export("x", kind, index), exports, "an export");
    }
    let mut bytes = full_bytes();
    let strings = HEADER_OFFSET + header_of(&bytes).strings.start as usize;
    bytes[strings] = 0xff;
    seal(&mut bytes);
    let found = Artifact::parse(&bytes, None).map(drop);
    expect(found, &bytes, header, "not UTF-8");
}

fn header_of(bytes: &[u8]) -> Header {
    bytemuck::pod_read_unaligned(&bytes[HEADER_OFFSET..][..size_of::<Header>()])
}

#[test]
fn tags() {
    let tags: SectionOf = |h| h.tags;
    refused(|b| b.tags[0].signature = 4, tags, "a tag's record");
    // Signature 0 has a result.
    refused(|b| b.tags[0].signature = 0, tags, "a tag's record");
    refused(|b| b.tags[0].flags = MUTABLE, tags, "a tag's record");
    refused(|b| b.tags[0].reserved = 1, tags, "a tag's record");
    for offset in [0, 296, 300, 305, 312, 1 << 20, u32::MAX, u32::MAX - 7] {
        refused(|b| b.tags[0].vm_offset = offset, tags, "not one for tags");
    }
    refused(
        |b| b.tags[0].flags = IMPORTED,
        whole_header,
        "imports do not match the index spaces",
    );
}

#[test]
fn memories_tables_and_segments() {
    let memories: SectionOf = |h| h.memories;
    let tables: SectionOf = |h| h.tables;
    refused(
        |b| b.memories[1].page_shift = 12,
        memories,
        "a memory's record",
    );
    refused(|b| b.memories[1].min = 4, memories, "a memory's record");
    refused(|b| b.memories[1].max = 65537, memories, "a memory's record");
    refused(
        |b| (b.memories[1].flags, b.memories[1].max) = (SHARED, u64::MAX),
        memories,
        "a memory's record",
    );
    refused(
        |b| b.memories[1].reserved = 1,
        memories,
        "a memory's record",
    );
    refused(|b| b.tables[1].min = 4, tables, "a table's record");
    refused(|b| b.tables[1].max = 1 << 32, tables, "a table's record");
    refused(
        |b| b.tables[1].element = ValType::I64.number(),
        tables,
        "a table's record",
    );
    refused(
        |b| b.tables[1].element = ValType::FUNCREF.number() | 256,
        tables,
        "a table's record",
    );
    refused(|b| b.tables[1].frozen = 0, tables, "a table's record");
    refused(|b| b.tables[0].frozen = 4, tables, "a table's record");
    refused(|b| b.tables[0].frozen = 8, tables, "a table's record");
    refused(|b| b.tables[0].vm_offset = 128, tables, "a table's record");
    refused(
        |b| b.tables[0].element = ValType::EXTERNREF.number(),
        tables,
        "a table's record",
    );
    // An imported table cannot be frozen, since the loader writes a pointer to it.
    refused(
        |b| {
            b.import("env", "table", ExternKind::Table, 0);
            b.tables[0].flags |= IMPORTED;
        },
        tables,
        "a table's record",
    );
    refused(|b| b.globals[0].ty = 0, |h| h.globals, "a global's record");
    refused(
        |b| b.globals[0].flags = 16,
        |h| h.globals,
        "a global's record",
    );
    let inits: SectionOf = |h| h.table_inits;
    refused(
        |b| b.table_inits[0].table = 0,
        inits,
        "initial value of a table",
    );
    refused(
        |b| b.table_inits[0].table = 2,
        inits,
        "initial value of a table",
    );
    let elements: SectionOf = |h| h.elements;
    refused(
        |b| b.elements[0].items.count = 3,
        elements,
        "an element segment",
    );
    refused(
        |b| b.elements[0].items.first = 1,
        elements,
        "an element segment",
    );
    refused(
        |b| b.elements[0].table = 0,
        elements,
        "target does not exist",
    );
    refused(
        |b| b.elements[0].table = NONE,
        elements,
        "target does not exist",
    );
    let data: SectionOf = |h| h.data;
    refused(|b| b.data[0].memory = 2, data, "target does not exist");
    refused(|b| b.data[1].memory = 1, data, "does not give one value");
    refused(|b| b.data[1].bytes = 0, data, "a data segment");
    refused(|b| b.data[1].len = 8, data, "a data segment");
    refused(|b| b.data[1].len = u64::MAX, data, "a data segment");
    refused(|b| b.data[1].segment = 1, data, "a data segment");
    let got_records: SectionOf = |h| h.got_records;
    refused(|b| b.got_records[0].kind = 3, got_records, "GOT record");
    refused(|b| b.got_records[0].index = 1, got_records, "GOT record");
    refused(
        |b| {
            b.got_records[0] = GotRecord {
                kind: GotKind::TypeId as u32,
                index: 4,
            }
        },
        got_records,
        "GOT record",
    );
}

/// Accessors of tables that opening does not read check each record.
#[test]
fn records_that_are_read_later() {
    let with = |change: fn(&mut ArtifactBuilder<'_>)| {
        let mut b = full();
        change(&mut b);
        Aligned::new(&b.finish().expect("small"))
    };
    let functions: SectionOf = |h| h.functions;
    for change in [
        |b: &mut ArtifactBuilder<'_>| b.functions[1].text_offset = 47,
        |b: &mut ArtifactBuilder<'_>| b.functions[1].text_len = 33,
        |b: &mut ArtifactBuilder<'_>| b.functions[1].text_len = 0,
        |b: &mut ArtifactBuilder<'_>| b.functions[1].signature = 4,
        |b: &mut ArtifactBuilder<'_>| b.functions[1].funcref = 2,
    ] {
        let bytes = with(change);
        let a = Artifact::parse(&bytes, Some(&HOST)).expect("opens");
        expect(
            a.function(1).map(drop),
            &bytes,
            functions,
            "a function's record",
        );
        expect(
            a.function_signature(2).map(drop),
            &bytes,
            functions,
            "a function's record",
        );
        assert!(a.function(0).is_ok());
    }
    let bytes = with(|b| b.start_function = Some(0));
    let a = Artifact::parse(&bytes, Some(&HOST)).expect("opens");
    expect(
        a.start_function().map(drop),
        &bytes,
        whole_header,
        "start function",
    );
    let bytes = with(|b| b.start_function = Some(2));
    let a = Artifact::parse(&bytes, Some(&HOST)).expect("opens");
    assert_eq!(a.start_function(), Ok(Some(2)));
    let trampoline = "without the trampoline";
    let signatures: SectionOf = |h| h.signatures;
    expect(
        a.signature_with_entry(1).map(drop),
        &bytes,
        signatures,
        trampoline,
    );
    expect(
        a.signature_with_exit(0).map(drop),
        &bytes,
        signatures,
        trampoline,
    );

    let items: SectionOf = |h| h.element_items;
    for change in [
        |b: &mut ArtifactBuilder<'_>| b.element_items[0].op = ConstOpcode::Const as u32,
        |b: &mut ArtifactBuilder<'_>| b.element_items[0].index = 3,
        |b: &mut ArtifactBuilder<'_>| b.element_items[0].op = ConstOpcode::GlobalGet as u32,
        |b: &mut ArtifactBuilder<'_>| b.element_items[0].op = ConstOpcode::I32Add as u32,
        |b: &mut ArtifactBuilder<'_>| b.element_items[0].op = 99,
    ] {
        let bytes = with(change);
        let a = Artifact::parse(&bytes, Some(&HOST)).expect("opens");
        let found = a.element_item(0, ValType::FUNCREF).map(drop);
        expect(found, &bytes, items, "an element of another type");
        assert!(a.element_item(1, ValType::FUNCREF).is_ok());
    }
    let bytes = full_bytes();
    let a = Artifact::parse(&bytes, Some(&HOST)).expect("opens");
    let found = a.element_item(0, ValType::EXTERNREF).map(drop);
    expect(found, &bytes, items, "an element of another type");

    let images: SectionOf = |h| h.images;
    for change in [
        |b: &mut ArtifactBuilder<'_>| b.images[1].guest = 0x2_0000,
        |b: &mut ArtifactBuilder<'_>| b.images[1].guest = 0,
        |b: &mut ArtifactBuilder<'_>| b.images[1].guest += 1,
        |b: &mut ArtifactBuilder<'_>| b.images[1].guest = 1 << 63,
        |b: &mut ArtifactBuilder<'_>| b.images[1].len = 0,
        |b: &mut ArtifactBuilder<'_>| b.images[1].memory = 0,
        |b: &mut ArtifactBuilder<'_>| b.images[1].memory = 2,
        |b: &mut ArtifactBuilder<'_>| b.images[0].memory = 2,
    ] {
        let mut b = full();
        b.image_pieces.clear();
        change(&mut b);
        let bytes = Aligned::new(&b.finish().expect("small"));
        let a = Artifact::parse(&bytes, Some(&HOST)).expect("opens");
        let found = a.image_runs().find_map(Result::err).map_or(Ok(()), Err);
        expect(found, &bytes, images, "a run of the memory image");
    }
}
