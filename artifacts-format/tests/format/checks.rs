//! What the reader refuses although the checksum is right. Each test makes one record or field lie
//! in a way that would mislead a reader that believed it, and expects an error with its place.

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

/// Makes an artifact lie.
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
fn parts_of_the_vm_context_that_overlap() {
    let header: SectionOf = whole_header;
    let globals: SectionOf = |h| h.globals;
    let (memories, tables): (SectionOf, SectionOf) = (|h| h.memories, |h| h.tables);
    let place = "its place in the VM context";
    // The store's pointer.
    refused(|b| b.globals[0].vm_offset = 0, globals, place);
    refused(|b| b.globals[0].vm_offset = 8, globals, place);
    // An import slot, a reference, a flag.
    refused(|b| b.globals[0].vm_offset = 176, globals, place);
    refused(|b| b.globals[0].vm_offset = 224, globals, place);
    refused(|b| b.globals[0].vm_offset = 296, globals, place);
    refused(|b| b.globals[0].vm_offset = 148, globals, place);
    refused(|b| b.globals[0].vm_offset = u32::MAX - 7, globals, place);
    refused(|b| b.memories[1].vm_offset = 168, memories, place);
    refused(|b| b.tables[1].vm_offset = 168, tables, place);
    let overlapping: [(Change, SectionOf); 5] = [
        (|b| b.memories[1].vm_offset = 48, tables),
        (
            |b| (b.tables[1].vm_offset, b.memories[1].vm_offset) = (24, 32),
            memories,
        ),
        (|b| b.memories[0].vm_offset = 40, memories),
        (|b| b.globals[1].vm_offset = 144, globals),
        (
            |b| {
                b.globals[0].ty = ValType::V128.number();
                b.globals[1].vm_offset = 152;
            },
            globals,
        ),
    ];
    for (change, place) in overlapping {
        let change = |b: &mut ArtifactBuilder<'_>| {
            b.template.clear();
            change(b);
        };
        refused(change, place, "overlaps another");
    }
    let region = "overlaps what is before it";
    refused(|b| b.vm.func_imports = 8, header, region);
    refused(|b| b.vm.func_imports = 180, header, region);
    refused(|b| b.vm.funcrefs = 216, header, region);
    refused(|b| b.vm.data_dropped = 303, header, region);
    refused(|b| b.vm.elem_dropped = 305, header, region);
    refused(|b| b.vm.elem_dropped = u32::MAX, header, "outside of it");
    refused(|b| b.vm.size = 304, header, "outside of it");
    refused(|b| b.vm.size = 337, header, "size of the VM context");
    refused(|b| b.vm.size = 1 << 31, header, "size of the VM context");
    refused(
        |b| b.vm.func_import_count = u32::MAX,
        header,
        "number of imported functions",
    );
}

#[test]
fn globals_memories_and_tables_may_have_any_order() {
    let mut b = full();
    (b.memories[1].vm_offset, b.tables[1].vm_offset) = (40, 24);
    let bytes = Aligned::new(&b.finish().expect("small"));
    assert!(Artifact::parse(&bytes, Some(&HOST)).is_ok());
}

#[test]
fn templates_that_forge_pointers() {
    let header: SectionOf = whole_header;
    for place in [0, 8, 16, 32, 128, 160, 167] {
        refused(
            |b| {
                b.template.resize(176, 0);
                b.template[place] = 1;
            },
            header,
            "pointers or references",
        );
    }
    refused(
        |b| b.template.resize(177, 0),
        header,
        "pointers or references",
    );
    // The template would hold the initial value of a reference.
    refused(
        |b| {
            b.template.resize(176, 0);
            b.template[161] = 1;
            (b.globals[1].init, b.globals[1].init_len) = (NONE, 0);
        },
        header,
        "pointers or references",
    );
    // The global is imported, so its place holds a pointer.
    refused(
        |b| {
            b.import("env", "global", ExternKind::Global, 0);
            b.globals[0].flags |= IMPORTED;
        },
        header,
        "pointers or references",
    );
}

#[test]
fn constant_expressions_of_other_types() {
    let ops: SectionOf = |h| h.const_ops;
    let globals: SectionOf = |h| h.globals;
    let ty = "of another type";
    let set = |opcode: ConstOpcode, index, bits| ConstOp {
        op: opcode as u32,
        index,
        bits,
    };
    // Operation 0 is the value of a funcref global, operation 1 that of a table of funcref.
    // Operation 2 is the offset of an element segment, operation 3 that of a data segment.
    for at in [0, 1] {
        for op in [
            set(ConstOpcode::Const, 0, 0x4141_4141),
            set(ConstOpcode::Const, 0, 0),
            set(ConstOpcode::RefFunc, 3, 0),
            set(ConstOpcode::GlobalGet, 0, 0),
            set(ConstOpcode::GlobalGet, 2, 0),
            set(ConstOpcode::I64Add, 0, 0),
        ] {
            refused(|b| b.const_ops[at] = op, ops, ty);
        }
    }
    // The global would read itself before it is initialised.
    refused(
        |b| b.const_ops[0] = set(ConstOpcode::GlobalGet, 1, 0),
        ops,
        ty,
    );
    for at in [2, 3] {
        for op in [
            set(ConstOpcode::RefFunc, 1, 0),
            set(ConstOpcode::RefNull, 0, 0),
            set(ConstOpcode::Const, 0, 1 << 32),
            // Global 0 is mutable.
            set(ConstOpcode::GlobalGet, 0, 0),
            set(ConstOpcode::GlobalGet, 1, 0),
            set(ConstOpcode::I32Add, 0, 0),
        ] {
            refused(|b| b.const_ops[at] = op, ops, ty);
        }
    }
    refused(|b| b.const_ops[0].op = 99, ops, ty);
    let shares = "outside of the table, or shares";
    let one = "does not give one value";
    let data: SectionOf = |h| h.data;
    refused(|b| b.globals[1].init_len = 5, globals, shares);
    refused(|b| b.globals[1].init = u32::MAX - 1, globals, shares);
    refused(|b| b.data[0].offset.first = 9, data, shares);
    refused(|b| b.globals[1].init_len = 2, globals, one);
    refused(|b| b.globals[1].init_len = 0, globals, one);
    refused(|b| b.data[0].offset.count = 0, data, one);
    refused(
        |b| {
            b.const_ops.push(set(ConstOpcode::Const, 0, 1));
            b.data[0].offset.count = 2;
        },
        data,
        one,
    );
    refused(
        |b| {
            b.import("env", "global", ExternKind::Global, 0);
            b.globals[0] = GlobalRecord {
                flags: IMPORTED,
                init: 0,
                init_len: 1,
                ..b.globals[0]
            };
            b.template.clear();
        },
        globals,
        "imported global has an initial value",
    );
}

#[test]
fn arithmetic_in_constant_expressions() {
    let sum = |left: ConstOp, right: ConstOp, opcode: ConstOpcode| {
        let mut b = full();
        b.import("env", "i32", ExternKind::Global, 0);
        let op = ConstOp {
            op: opcode as u32,
            index: 0,
            bits: 0,
        };
        b.globals.insert(
            0,
            GlobalRecord {
                ty: ValType::I32.number(),
                flags: IMPORTED,
                vm_offset: 152,
                init: NONE,
                init_len: 0,
                reserved: 0,
            },
        );
        b.data[0].offset = b.const_expr(&[left, right, op]);
        let bytes = Aligned::new(&b.finish().expect("small"));
        Artifact::parse(&bytes, Some(&HOST)).map(drop)
    };
    let constant = |bits| ConstOp {
        op: ConstOpcode::Const as u32,
        index: 0,
        bits,
    };
    let global = |index| ConstOp {
        op: ConstOpcode::GlobalGet as u32,
        index,
        bits: 0,
    };
    assert_eq!(sum(constant(1), constant(2), ConstOpcode::I32Add), Ok(()));
    assert_eq!(sum(global(0), constant(2), ConstOpcode::I32Mul), Ok(()));
    assert!(sum(global(2), constant(2), ConstOpcode::I32Mul).is_err());
    assert!(sum(constant(1), constant(2), ConstOpcode::I64Add).is_err());
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
