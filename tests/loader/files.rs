//! Files that are not artifacts, or damaged ones: an error that says so, never a panic.

use std::path::PathBuf;

use precast_artifact::{Artifact, HEADER_OFFSET, Strategy};
use precast_loader::{Engine, Error, Module};
use precast_tests::artifact;

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("precast-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

fn open(path: &PathBuf) -> Result<Module, Error> {
    // SAFETY: a file of this test, whose code is never called.
    unsafe { Module::open(&Engine::default(), path) }
}

fn message(name: &str, bytes: &[u8]) -> String {
    let path = file(name, bytes);
    let error = open(&path).map(|_| ()).unwrap_err().to_string();
    std::fs::remove_file(path).unwrap();
    error
}

#[test]
fn other_files() {
    let wasm = b"\0asm\x01\0\0\0";
    assert_eq!(
        message("wasm", wasm),
        "expected a precast artifact, found a WebAssembly module: compile it first, with \
         `precast compile`"
    );
    assert_eq!(
        message("empty", b""),
        "expected a precast artifact, found an empty file"
    );
    assert_eq!(
        message("text", b"hello"),
        "expected a precast artifact, found a file that starts with 68 65 6c 6c"
    );
    let own = std::fs::read("/proc/self/exe").unwrap();
    assert_eq!(
        message("elf", &own),
        "expected a precast artifact, found an ELF file that precast did not write"
    );
    let error = open(&std::env::temp_dir()).map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, Error::File { source, .. } if source.to_string() == "it is a directory")
    );
    let error = open(&PathBuf::from("/nowhere/at/all"))
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot open /nowhere/at/all");
}

#[test]
fn a_fifo_does_not_block() {
    let path = std::env::temp_dir().join(format!("precast-fifo-{}", std::process::id()));
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert!(open(&path).is_err());
    std::fs::remove_file(path).unwrap();
}

fn sample() -> Vec<u8> {
    let wat = r#"(module (import "a" "b" (func)) (memory 1) (data (i32.const 3) "x")
        (func (export "f") (result i32) (memory.grow (i32.const 1))))"#;
    artifact(wat, Strategy::Guarded)
}

#[test]
fn truncated_anywhere() {
    let bytes = sample();
    let engine = Engine::default();
    for len in 0..bytes.len() {
        // SAFETY: the code is never called.
        let result = unsafe { Module::from_bytes(&engine, &bytes[..len]) };
        assert!(matches!(result, Err(Error::Artifact(_))), "{len} bytes");
    }
}

#[test]
fn any_byte_of_header_and_hot_tables_flipped() {
    let bytes = sample();
    let engine = Engine::default();
    let hot = Artifact::parse(&bytes, None).unwrap().header().hot_len as usize;
    for at in HEADER_OFFSET..HEADER_OFFSET + hot {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        // SAFETY: the code is never called.
        let result = unsafe { Module::from_bytes(&engine, &bytes) };
        assert!(matches!(result, Err(Error::Artifact(_))), "byte {at}");
    }
}

#[test]
fn digests() {
    let bytes = sample();
    let engine = Engine::default();
    let digest = Artifact::parse(&bytes, None).unwrap().header().digest;
    let module = Module::from_bytes_verified(&engine, &bytes, &digest).unwrap();
    assert_eq!(module.digest(), &digest);
    let path = file("digest", &bytes);
    Module::open_verified(&engine, &path, &digest).unwrap();
    let mut wrong = digest;
    wrong[0] ^= 1;
    let error = Module::open_verified(&engine, &path, &wrong)
        .map(|_| ())
        .unwrap_err();
    assert!(
        error.to_string().starts_with("the artifact's digest is "),
        "{error}"
    );
    // Damage that the checksum of the hot tables does not cover.
    let mut damaged = bytes.clone();
    let text = Artifact::parse(&bytes, None).unwrap().header().text;
    damaged[HEADER_OFFSET + text.start as usize] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    assert!(Module::open_verified(&engine, &path, &digest).is_err());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn every_mismatch_with_the_host_in_one_error() {
    let mut bytes = sample();
    let at = |field: usize| HEADER_OFFSET + field;
    let put = |bytes: &mut Vec<u8>, at: usize, value: &[u8]| {
        bytes[at..at + value.len()].copy_from_slice(value);
    };
    use precast_artifact::Header;
    use std::mem::offset_of;
    put(
        &mut bytes,
        at(offset_of!(Header, abi)),
        &99_u32.to_le_bytes(),
    );
    put(
        &mut bytes,
        at(offset_of!(Header, arch)),
        &4_u32.to_le_bytes(),
    );
    put(
        &mut bytes,
        at(offset_of!(Header, page_size)),
        &512_u32.to_le_bytes(),
    );
    let error = message("mismatch", &bytes);
    for part in [
        "loader ABI 99",
        "compiled for s390x-unknown-linux-gnu",
        "pages of 512 bytes",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let mut bytes = sample();
    put(
        &mut bytes,
        at(offset_of!(Header, format)),
        &7_u32.to_le_bytes(),
    );
    assert_eq!(
        message("format", &bytes),
        "the artifact has format 7, this loader reads format 1: compile it again"
    );
    let mut bytes = sample();
    put(
        &mut bytes,
        at(offset_of!(Header, cpu_features)),
        &(1_u64 << 63).to_le_bytes(),
    );
    let error = message("cpu", &bytes);
    assert!(
        error.contains("CPU features that this CPU lacks (unknown feature 63)"),
        "{error}"
    );
}
