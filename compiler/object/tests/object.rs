//! Object files as linkers and debuggers see them, and artifacts that cannot be object files.

use object::read::elf::ElfFile64;
use object::{
    Architecture, BinaryFormat, Endianness, Object, ObjectSection, ObjectSymbol, SectionKind,
    SymbolFlags, SymbolKind,
};
use precast_compiler::{Compiler, Settings};
use precast_object::{Error, System, object_file, object_file_for};

fn artifact(wat: &str, target: &str) -> Vec<u8> {
    let settings = Settings {
        target: Some(target.to_owned()),
        ..Settings::default()
    };
    let wasm = wat::parse_str(wat).expect("text of a module");
    let compiled = Compiler::new(settings).expect("known").compile(&wasm);
    compiled.expect("valid").artifact
}

const X86_64: &str = "x86_64-unknown-linux-gnu";

const GUEST: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 8) "image")
    (func $double (export "double") (param i32) (result i32)
        (i32.mul (local.get 0) (i32.const 2))))"#;

#[test]
fn holds_the_artifact_at_its_symbol_without_relocations() {
    let architectures = [
        (X86_64, Architecture::X86_64),
        ("aarch64-unknown-linux-gnu", Architecture::Aarch64),
    ];
    for (target, architecture) in architectures {
        let artifact = artifact(GUEST, target);
        let bytes = object_file(&artifact, "MY_GUEST").expect("can be an object");
        let file = ElfFile64::<Endianness>::parse(&*bytes).expect("an ELF file");
        assert_eq!(file.architecture(), architecture);
        let guest = file.symbol_by_name("MY_GUEST").expect("named");
        assert!(guest.is_global() && guest.is_definition());
        assert_eq!(guest.size(), artifact.len() as u64);
        let text = file.section_by_name(".text").expect("there is code");
        assert_eq!(guest.section_index(), Some(text.index()));
        assert_eq!(text.align(), 4096);
        assert_eq!(guest.address() % 4096, 0);
        let start = guest.address() as usize;
        let found = &text.data().expect("in the file")[start..start + artifact.len()];
        assert_eq!(found, artifact);
        assert!(file.sections().all(|s| s.relocations().next().is_none()));
        assert!(file.section_by_name(".note.GNU-stack").is_some());

        let double = file.symbol_by_name("double").expect("the guest's function");
        assert!(double.is_local() && double.kind() == SymbolKind::Text);
        assert!(double.address() > guest.address());
        assert!(double.address() + double.size() <= guest.address() + guest.size());
    }
}

#[test]
fn says_what_cannot_be_an_object() {
    let good = artifact(GUEST, X86_64);
    let refusal = |bytes: &[u8], symbol| object_file(bytes, symbol).expect_err("refused");
    for symbol in ["", "1st", "a-b", "a\u{1b}[2J"] {
        let error = refusal(&good, symbol);
        assert!(matches!(error, Error::Symbol { .. }), "{error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
    assert!(matches!(refusal(b"\0asm", "GUEST"), Error::Artifact(_)));
    let cut = &good[..good.len() - 1];
    assert!(matches!(refusal(cut, "GUEST"), Error::Artifact(_)));
    let riscv64 = artifact(GUEST, "riscv64gc-unknown-linux-gnu");
    let error = refusal(&riscv64, "GUEST");
    assert!(error.to_string().contains("riscv64gc-linux"), "{error}");

    let params = "i64 ".repeat(21);
    let many = format!(
        "(module (type $t (func (param {params})))
            (import \"h\" \"f\" (func (type $t))) (table (export \"t\") 1 funcref)
            (func (export \"g\") (call_indirect (type $t) {} (i32.const 0))))",
        "(i64.const 0)".repeat(21)
    );
    // The loader fills in a GOT on Linux, where its pages hold nothing else.
    let patched = artifact(&many, X86_64);
    assert_eq!(patched.len() % 4096, 0);
    assert!(object_file(&patched, "GUEST").is_ok());
    // Systems of aarch64 have pages of up to 64 KiB.
    let large = artifact(&many, "aarch64-unknown-linux-gnu");
    assert_eq!(large.len() % 65536, 0);
    let bytes = object_file(&large, "GUEST").expect("can be an object");
    let file = object::File::parse(&*bytes).expect("an object file");
    let guest = file.symbol_by_name("GUEST").expect("named");
    let section = guest.section_index().expect("defined");
    let section = file.section_by_index(section).expect("there is code");
    assert_eq!((section.align(), guest.address() % 65536), (65536, 0));
    for system in [System::Darwin, System::Windows] {
        let error = object_file_for(&patched, "GUEST", system).expect_err("refused");
        assert!(
            matches!(error, Error::NeedsPatching { count: 1.. }),
            "{error}"
        );
    }
}

/// The containers of other systems hold the same bytes at their symbol. What runs where is said at
/// the top of the crate's page.
#[test]
fn mach_o_and_coff_hold_the_artifact_too() {
    for (triple, name, architecture) in [
        ("x86_64-apple-darwin", "_GUEST", Architecture::X86_64),
        ("aarch64-apple-darwin", "_GUEST", Architecture::Aarch64),
        ("x86_64-pc-windows-msvc", "GUEST", Architecture::X86_64),
        ("aarch64-pc-windows-msvc", "GUEST", Architecture::Aarch64),
    ] {
        let (system, linux) = System::of_triple(triple).expect("a target of objects");
        let artifact = artifact(GUEST, linux);
        let bytes = object_file_for(&artifact, "GUEST", system).expect("can be an object");
        let format = match system {
            System::Darwin => BinaryFormat::MachO,
            _ => BinaryFormat::Coff,
        };
        let file = object::File::parse(&*bytes).expect("an object file");
        assert_eq!((file.format(), file.architecture()), (format, architecture));
        let guest = file.symbol_by_name(name).expect("named");
        assert!(guest.is_global() && guest.is_definition(), "{triple}");
        let section = file
            .section_by_index(guest.section_index().expect("defined"))
            .expect("there is code");
        assert_eq!(section.kind(), SectionKind::Text);
        assert!(section.align() >= 4096, "{triple}: {}", section.align());
        let start = (guest.address() - section.address()) as usize;
        assert_eq!(start % 4096, 0);
        let found = &section.data().expect("in the file")[start..start + artifact.len()];
        assert_eq!(found, artifact);
        assert!(file.sections().all(|s| s.relocations().next().is_none()));
        let double = file
            .symbols()
            .find(|s| {
                s.name()
                    .is_ok_and(|name| name.trim_start_matches('_') == "double")
            })
            .expect("the guest's function");
        assert!(double.is_local(), "{triple}");
        if let SymbolFlags::MachO { n_desc, .. } = double.flags() {
            // Apple's linker must not take the artifact apart at this symbol.
            assert_eq!(n_desc, object::macho::N_ALT_ENTRY);
        }
        disassembles(&bytes, triple);
    }
}

/// Lets `llvm-objdump` read the file, if it is installed.
fn disassembles(bytes: &[u8], triple: &str) {
    let directory = tempfile::tempdir().expect("writable");
    let path = directory.path().join(format!("{triple}.o"));
    std::fs::write(&path, bytes).expect("writable");
    let run = std::process::Command::new("llvm-objdump")
        .args(["--syms", "--section-headers"])
        .arg(&path)
        .output();
    match run {
        Err(error) => {
            let test = "mach_o_and_coff_hold_the_artifact_too";
            eprintln!("skipped a part of {test}, {triple} with llvm-objdump: {error}");
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("double"), "{text}");
        }
    }
}
