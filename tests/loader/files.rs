//! Files that are not artifacts, or damaged ones. The result is an error that says so, never a
//! panic. No code of an artifact runs here, so the artifacts are made without the compiler.

use std::path::Path;

use precast_artifact::{Artifact, HEADER_OFFSET};
use precast_loader::{Engine, Error, Module};
use precast_tests::{ArtifactFile, handmade};

fn open(path: &Path) -> Result<Module, Error> {
    // SAFETY: the file belongs to this test, and its code is never called.
    unsafe { Module::open(&Engine::default(), path) }
}

/// The error of opening a file with these bytes.
fn message(bytes: &[u8]) -> String {
    let file = ArtifactFile::new(bytes);
    open(file.path()).map(drop).unwrap_err().to_string()
}

#[test]
fn other_files() {
    let wasm = b"\0asm\x01\0\0\0";
    assert_eq!(
        message(wasm),
        "expected a precast artifact, found a WebAssembly module: compile it first, with \
         `precast compile`"
    );
    assert_eq!(
        message(b""),
        "expected a precast artifact, found an empty file"
    );
    assert_eq!(
        message(b"hello"),
        "expected a precast artifact, found a file that starts with 68 65 6c 6c"
    );
    let own = std::fs::read("/proc/self/exe").unwrap();
    assert_eq!(
        message(&own),
        "expected a precast artifact, found an ELF file that is no artifact; if it was made of \
         one, by `precast exe` or `--emit obj`, use the artifact"
    );
    let error = open(&std::env::temp_dir()).map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, Error::File { source, .. } if source.to_string() == "it is a directory")
    );
    let error = open(Path::new("/nowhere/at/all")).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "cannot open /nowhere/at/all");
}

#[test]
fn a_fifo_does_not_block() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert!(open(&path).is_err());
}

#[test]
fn truncated_anywhere() {
    let bytes = handmade();
    let engine = Engine::default();
    for len in 0..bytes.len() {
        // SAFETY: the code is never called.
        let result = unsafe { Module::from_bytes(&engine, &bytes[..len]) };
        assert!(matches!(result, Err(Error::Artifact(_))), "{len} bytes");
    }
}

#[test]
fn any_byte_of_header_and_hot_tables_flipped() {
    let bytes = handmade();
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
    let bytes = handmade();
    let engine = Engine::default();
    let digest = Artifact::parse(&bytes, None).unwrap().header().digest;
    let module = Module::from_bytes_verified(&engine, &bytes, &digest).unwrap();
    assert_eq!(module.digest(), &digest);
    let file = ArtifactFile::new(&bytes);
    let path = file.path();
    Module::open_verified(&engine, path, &digest).unwrap();
    let mut wrong = digest;
    wrong[0] ^= 1;
    let error = Module::open_verified(&engine, path, &wrong)
        .map(drop)
        .unwrap_err();
    assert!(
        error.to_string().starts_with("the artifact's digest is "),
        "{error}"
    );
    // The checksum of the hot tables does not cover this damage.
    let mut damaged = bytes.clone();
    let text = Artifact::parse(&bytes, None).unwrap().header().text;
    damaged[HEADER_OFFSET + text.start as usize] ^= 1;
    std::fs::write(path, damaged).unwrap();
    assert!(Module::open_verified(&engine, path, &digest).is_err());
}

#[test]
fn every_mismatch_with_the_host_in_one_error() {
    let mut bytes = handmade();
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
    let error = message(&bytes);
    for part in [
        "loader ABI 99",
        "compiled for s390x-unknown-linux-gnu",
        "pages of 512 bytes",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let mut bytes = handmade();
    put(
        &mut bytes,
        at(offset_of!(Header, format)),
        &7_u32.to_le_bytes(),
    );
    assert_eq!(
        message(&bytes),
        "the artifact has format 7, this loader reads format 1: compile it again"
    );
    let mut bytes = handmade();
    put(
        &mut bytes,
        at(offset_of!(Header, cpu_features)),
        &(1_u64 << 63).to_le_bytes(),
    );
    let error = message(&bytes);
    assert!(
        error.contains("CPU features that this CPU lacks (unknown feature 63)"),
        "{error}"
    );
}
