//! Executables that are made of artificial and damaged runners. The tests of the command line use
//! real runners.

use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol};
use precast_artifact::executable::{Options, PAYLOAD_SECTION, PayloadRecord};
use precast_artifact::target::Arch;
use precast_compiler::{Compiler, Settings};
use precast_object::{Error, executable};

fn artifact(target: &str) -> Vec<u8> {
    let settings = Settings {
        target: Some(target.to_owned()),
        ..Settings::default()
    };
    let wasm = wat::parse_str(
        r#"(module (memory 1) (data (i32.const 0) "image") (func $start (export "_start")))"#,
    );
    let compiled = Compiler::new(settings)
        .expect("known")
        .compile(&wasm.expect("valid"));
    compiled.expect("valid").artifact
}

const X86_64: &str = "x86_64-unknown-linux-gnu";
/// Where the record of [`runner`] is, in the file and in memory.
const RECORD: usize = 0x400;
const ADDRESS: u64 = 0x1400;

/// The smallest file that looks like a runner: headers of two segments, and of three sections.
fn runner(record: PayloadRecord) -> Vec<u8> {
    let names = format!("\0{PAYLOAD_SECTION}\0.shstrtab\0");
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([3, 0, 62, 0, 1, 0, 0, 0]);
    for field in [0_u64, 64, 0x600] {
        file.extend(field.to_le_bytes());
    }
    file.extend([0; 4]);
    for field in [64_u16, 56, 2, 64, 3, 2] {
        file.extend(field.to_le_bytes());
    }
    let mut program = |kind: u32, address: u64, len: u64, memory_len: u64| {
        file.extend(kind.to_le_bytes());
        file.extend(4_u32.to_le_bytes());
        for field in [0, address, address, len, memory_len, 4096] {
            file.extend(field.to_le_bytes());
        }
    };
    // The segment is longer in memory than in the file, as one with zeroed data.
    program(1, 0x1000, 0x800, 0x2800);
    program(4, 0x1000, 0, 0);
    file.resize(RECORD, 0);
    file.extend(bytemuck::bytes_of(&record));
    file.resize(0x500, 0);
    file.extend(names.as_bytes());
    file.resize(0x600 + 64, 0);
    let mut section = |name: u32, kind: u32, flags: u64, address: u64, offset: u64, len: usize| {
        file.extend(name.to_le_bytes());
        file.extend(kind.to_le_bytes());
        for field in [flags, address, offset, len as u64, 0, 1, 0] {
            file.extend(field.to_le_bytes());
        }
    };
    section(1, 1, 2, ADDRESS, RECORD as u64, size_of::<PayloadRecord>());
    let name = names.find(".shstrtab").expect("there") as u32;
    section(name, 3, 0, 0, 0x500, names.len());
    file.resize(0x800, 0);
    file
}

fn empty() -> PayloadRecord {
    PayloadRecord::empty(Arch::X86_64 as u32)
}

fn options() -> Options {
    Options {
        args: vec!["first".to_owned()],
        ..Options::default()
    }
}

#[test]
fn the_artifact_is_one_more_segment_with_sections_and_symbols() {
    let artifact = artifact(X86_64);
    let bytes = executable(&runner(empty()), &artifact, &options()).expect("made");
    let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
    let headers = file
        .elf_header()
        .program_headers(Endianness::Little, &*bytes);
    let added = &headers.expect("there")[1];
    let (endian, page) = (Endianness::Little, 4096);
    assert_eq!(added.p_type(endian), object::elf::PT_LOAD);
    assert_eq!(added.p_flags(endian).0, 5, "to read and to execute");
    assert_eq!(added.p_vaddr(endian), 0x4000, "behind the zeroed data");
    assert_eq!(added.p_offset(endian) % page, 0);
    let start = added.p_offset(endian) as usize;
    assert_eq!(&bytes[start..start + artifact.len()], artifact);

    let payload = file.section_by_name(PAYLOAD_SECTION).expect("kept");
    let record: PayloadRecord = bytemuck::pod_read_unaligned(payload.data().expect("there"));
    assert_eq!(record.artifact, 0x4000 - ADDRESS);
    assert_eq!(record.artifact_len, artifact.len() as u64);
    let at = start + (record.options - record.artifact) as usize;
    let found = Options::decode(&bytes[at..at + record.options_len as usize]);
    assert_eq!(found, Some(options()));

    let text = file.section_by_name(".precast.text").expect("added");
    let function = file.symbol_by_name("start").expect("the guest's function");
    assert_eq!(function.section_index(), Some(text.index()));
    assert!(function.address() >= text.address() && function.size() > 0);
    assert!(function.address() + function.size() <= text.address() + text.size());
    let options = file.section_by_name(".precast.options").expect("added");
    let end = options.address() + options.size();
    assert_eq!(end, added.p_vaddr(endian) + added.p_filesz(endian));
}

#[test]
fn says_what_is_wrong_with_a_runner() {
    let artifact = artifact(X86_64);
    let refusal = |runner: &[u8]| {
        let error = executable(runner, &artifact, &options()).expect_err("refused");
        assert!(matches!(error, Error::Runner { .. }), "{error}");
        error.to_string()
    };
    let with = |change: fn(&mut PayloadRecord)| {
        let mut record = empty();
        change(&mut record);
        refusal(&runner(record))
    };
    for (found, expected) in [
        (refusal(b""), "not an ELF executable"),
        (refusal(&artifact), "it has no section for a program"),
        (with(|r| r.magic = [0; 8]), "damaged"),
        (with(|r| r.version = 2), "it is of version 2, expected 1"),
        (with(|r| r.artifact = 1), "has a program already"),
        (
            with(|r| r.arch = 2),
            "it is for aarch64, and the program for x86_64",
        ),
        (
            with(|r| r.abi = 1),
            "it runs artifacts of ABI 1, and the program is of ABI",
        ),
        (with(|r| r.format = 99), "it runs artifacts of format 99"),
    ] {
        assert!(found.contains(expected), "{found}");
    }
    let made = executable(&runner(empty()), &artifact, &options()).expect("made");
    assert!(refusal(&made).contains("has a program already"));
    let cut = executable(
        &runner(empty()),
        &artifact[..artifact.len() - 1],
        &options(),
    );
    assert!(matches!(cut, Err(Error::Artifact(_))), "{cut:?}");
}

#[test]
fn no_damage_of_a_runner_is_a_panic() {
    let (artifact, whole) = (artifact(X86_64), runner(empty()));
    for len in 0..whole.len() {
        // What is behind the section headers is only padding.
        let made = executable(&whole[..len], &artifact, &options());
        assert_eq!(made.is_ok(), len >= 0x600 + 3 * 64, "{len}");
    }
    for at in 0..whole.len() {
        for value in [0, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            executable(&damaged, &artifact, &options())
                .map(drop)
                .unwrap_or(());
        }
    }
}

#[test]
fn machines_must_be_the_same() {
    let aarch64 = artifact("aarch64-unknown-linux-gnu");
    let error = executable(&runner(empty()), &aarch64, &options()).expect_err("refused");
    assert!(error.to_string().contains("it is for x86_64"), "{error}");
    let runner = runner(PayloadRecord::empty(Arch::Aarch64 as u32));
    let made = executable(&runner, &aarch64, &options()).expect("made");
    let file = ElfFile64::<Endianness>::parse(&*made).expect("an ELF file");
    let text = file.section_by_name(".precast.text").expect("added");
    let offset = text.file_range().expect("in the file").0;
    assert_eq!(
        offset % 65536,
        text.address() % 65536,
        "for pages of 64 KiB"
    );
}
