//! A whole file, as the reader and as ELF tools see it.

use object::elf::{PF_R, PF_W, PF_X};
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, SegmentFlags};
use precast_artifact::records::*;
use precast_artifact::target::{Arch, Os};
use precast_artifact::writer::ArtifactBuilder;
use precast_artifact::{Artifact, HEADER_OFFSET, Strategy, ValType, addresses, metadata, traps};

use crate::sample::{HOST, full, full_bytes};

#[test]
fn reader_finds_what_the_builder_wrote() {
    let bytes = full_bytes();
    let a = Artifact::parse(&bytes, Some(&HOST)).expect("fits");
    let b = full();
    assert_eq!(a.header().start_function, 1);
    assert_eq!(a.header().vm, b.vm);
    assert_eq!(a.signatures(), b.signatures);
    let signature = a.signature(0).expect("there are two");
    assert!(signature.params().eq([ValType::I32; 2]) && signature.results().eq([ValType::I32]));
    assert_eq!(a.imports(), b.imports);
    assert_eq!(
        a.imports()
            .iter()
            .map(|i| a.str(i.module))
            .collect::<Vec<_>>(),
        [Some("env"); 2]
    );
    assert_eq!(a.str(a.imports()[1].name), Some("memory"));
    for (ordinal, (name, kind, index)) in [
        ("add", ExternKind::Func, 1),
        ("run", ExternKind::Func, 2),
        ("table", ExternKind::Table, 1),
        ("", ExternKind::Global, 0),
    ]
    .into_iter()
    .enumerate()
    {
        let export = a.export(name).expect(name);
        assert_eq!((export.kind, export.index), (kind as u32, index));
        assert_eq!(export.ordinal, ordinal as u32);
    }
    assert_eq!(a.export("ad"), None);
    assert_eq!(a.memories(), b.memories);
    assert_eq!(a.tables(), b.tables);
    assert_eq!(a.globals(), b.globals);
    assert_eq!(a.const_ops(), b.const_ops);
    assert_eq!(a.table_inits(), b.table_inits);
    assert_eq!(a.elements(), b.elements);
    assert_eq!(a.element_items(), b.element_items);
    assert_eq!(a.data(), b.data);
    assert_eq!(a.section(a.header().segments), b"hellopassive");
    assert_eq!(a.images(), b.images);
    assert_eq!(a.got_records(), b.got_records);
    assert_eq!(a.functions(), b.functions);
    assert_eq!(a.section(a.header().text), b.text);
    assert_eq!(a.section(a.header().rodata), b.rodata);
    assert_eq!(a.section(a.header().template), b.template);
    assert_eq!(a.section(a.header().got), [0; 8]);
    let image = a.section(a.header().image);
    assert_eq!(image.len(), 8192);
    assert_eq!(&image[..16], b"\0page TWO\0\0\0\0\0\0\0");
    assert_eq!(&image[8188..], [0, 0, 1, 2]);
    assert_eq!(
        traps::lookup(a.section(a.header().traps), 16).map(|c| c as u32),
        Some(1)
    );
    assert_eq!(
        addresses::lookup(a.section(a.header().addresses), 0, 3),
        [addresses::Location {
            function: 0,
            wasm: 103
        }]
    );
    assert_eq!(
        addresses::lookup(a.section(a.header().addresses), 1, 0).len(),
        2
    );
    assert_eq!(
        metadata::Metadata::decode(a.section(a.header().metadata)),
        Ok(b.metadata)
    );
    assert_eq!(a.function_name(0), Some(&b"add"[..]));
    assert_eq!(a.function_name(1), Some(&b"run"[..]));
    a.verify_digest(Some(&a.header().digest))
        .expect("its own digest");
    assert_eq!(
        full_bytes()[..],
        bytes[..],
        "the same parts give the same bytes"
    );
}

#[test]
fn machine_code_finds_rodata_and_the_got_by_their_distance() {
    let bytes = full_bytes();
    let h = Artifact::parse(&bytes, None).expect("undamaged").header();
    let layout = precast_artifact::writer::TextLayout {
        page_size: h.page_size,
        rodata_len: h.rodata.len,
        text_len: h.text.len,
    };
    assert_eq!(h.text.start - h.rodata.start, layout.rodata_before_text());
    assert_eq!(h.got.start - h.text.start, layout.got_after_text());
}

#[test]
fn the_text_is_the_end_of_the_file() {
    let mut builder = full();
    builder.got_records.clear();
    let bytes = builder.finish().expect("small");
    let h = Artifact::parse(&bytes, None).expect("undamaged").header();
    assert_eq!(
        HEADER_OFFSET as u64 + h.text.start + h.text.len,
        bytes.len() as u64
    );
    let bytes = full_bytes();
    let h = Artifact::parse(&bytes, None).expect("undamaged").header();
    // A GOT comes behind the text, and has pages of its own.
    let end = HEADER_OFFSET as u64 + h.got.start + h.got.len;
    let page = u64::from(h.page_size);
    assert_eq!(end.next_multiple_of(page), bytes.len() as u64);
}

#[test]
fn elf_tools_see_the_same() {
    for arch in [Arch::X86_64, Arch::Aarch64, Arch::Riscv64, Arch::S390x] {
        let mut builder = full();
        builder.arch = arch;
        let bytes = builder.finish().expect("small");
        let elf = object::File::parse(&*bytes).expect("an ELF file");
        let sections: Vec<(&str, u64)> = elf
            .sections()
            .map(|s| (s.name().expect("has a name"), s.address()))
            .collect();
        let names: Vec<&str> = sections.iter().map(|s| s.0).collect();
        let expected = ".precast|.precast.image|.precast.elements|.precast.images\
            |.precast.functions|.precast.traps|.precast.handlers|.precast.addresses\
            |.precast.segments|.precast.meta|.precast.custom|.symtab|.strtab|.rodata|.text\
            |.precast.link|.shstrtab";
        assert_eq!(names.join("|"), expected);
        let text = elf.section_by_name(".text").expect("listed above");
        assert_eq!(text.file_range(), Some((text.address(), 48)));
        let symbols: Vec<(&str, u64, u64)> = elf
            .symbols()
            .map(|s| {
                (
                    s.name().expect("UTF-8"),
                    s.address() - text.address(),
                    s.size(),
                )
            })
            .collect();
        assert_eq!(
            symbols,
            [("add", 0, 4), ("run", 16, 2), ("trampoline", 32, 1)]
        );
        assert!(
            elf.symbols()
                .all(|s| s.section_index() == Some(text.index()))
        );
        let flags: Vec<_> = elf
            .segments()
            .map(|s| match s.flags() {
                SegmentFlags::Elf { p_flags, .. } => p_flags,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(flags, [PF_R, PF_R | PF_X, PF_R | PF_W]);
    }
}

#[test]
fn absent_parts_cost_no_page() {
    let empty = ArtifactBuilder::new(Arch::X86_64, Os::Linux, Strategy::Guarded);
    let bytes = empty.finish().expect("small");
    assert!(bytes.len() < 2048, "{} bytes", bytes.len());

    let mut trivial = ArtifactBuilder::new(Arch::X86_64, Os::Linux, Strategy::Guarded);
    let signature = trivial.signature(&[], &[]);
    trivial.text = vec![0xc3; 100];
    trivial.function(
        "f",
        FunctionRecord {
            text_offset: 0,
            text_len: 1,
            signature,
            funcref: NONE,
        },
    );
    trivial.export("f", ExternKind::Func, 0);
    let bytes = trivial.finish().expect("small");
    let header: precast_artifact::Header = bytemuck::pod_read_unaligned(
        &bytes[HEADER_OFFSET..][..size_of::<precast_artifact::Header>()],
    );
    assert_eq!(header.text.start, 4096 - HEADER_OFFSET as u64);
    assert!(bytes.len() < 6144, "{} bytes", bytes.len());
}
