//! The VM context: its parts and its template.

use precast_artifact::records::*;
use precast_artifact::writer::ArtifactBuilder;
use precast_artifact::{Aligned, Artifact, ValType};

use super::{Change, SectionOf, refused, whole_header};
use crate::sample::{HOST, full};

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
