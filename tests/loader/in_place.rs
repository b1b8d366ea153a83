//! Artifacts that a linker put into the executable: their code runs where it is.

use precast_artifact::{Error as ArtifactError, HEADER_OFFSET, Header, Strategy, TrapCode};
use precast_loader::{EmbeddedArtifact, Engine, Error, Linker, Module, StaticArtifact, Store};
use precast_tests::{artifact, strategies};

const PAGE: usize = 65536;

const WAT: &str = r#"(module
    (memory (export "m") 1)
    (data (i32.const 100) "image")
    (global $g (mut i32) (i32.const 5))
    (func (export "load") (result i32) (i32.load8_u (i32.const 100)))
    (func (export "store") (i32.store8 (i32.const 100) (i32.const 0)))
    (func $dies (export "dies") unreachable))"#;

/// Puts bytes where a linker would: into memory that is there for ever, and can be read and run.
fn link(bytes: &[u8], offset: usize) -> *const StaticArtifact {
    let len = (offset + bytes.len()).next_multiple_of(PAGE);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, which is written before anybody else knows of it, and then never
    // again.
    unsafe {
        let base = libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0);
        assert_ne!(base, libc::MAP_FAILED);
        let start = base.cast::<u8>().add(offset);
        start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        let access = libc::PROT_READ | libc::PROT_EXEC;
        assert_eq!(libc::mprotect(base, len, access), 0);
        start.cast()
    }
}

fn open(bytes: &[u8], offset: usize) -> Result<Module, Error> {
    // SAFETY: our own compiler wrote the bytes, or they are refused.
    unsafe { Module::from_static(&Engine::default(), link(bytes, offset)) }
}

#[test]
fn code_runs_in_place() {
    for strategy in strategies() {
        let bytes = artifact(WAT, strategy);
        let engine = Engine::default();
        // SAFETY: our own compiler just wrote it.
        let module = unsafe { Module::from_static(&engine, link(&bytes, 0)) }.unwrap();
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        // The second one is from the pool, the third one beside it.
        for _ in 0..2 {
            let mut store = Store::new(&engine, ());
            for _ in 0..2 {
                let instance = pre.instantiate(&mut store).unwrap();
                let load = instance
                    .get_typed_func::<(), i32>(&mut store, "load")
                    .unwrap();
                assert_eq!(
                    load.call(&mut store, ()).unwrap(),
                    i32::from(b'i'),
                    "{strategy}"
                );
                let write = instance
                    .get_typed_func::<(), ()>(&mut store, "store")
                    .unwrap();
                write.call(&mut store, ()).unwrap();
                assert_eq!(load.call(&mut store, ()).unwrap(), 0);
                let dies = instance
                    .get_typed_func::<(), ()>(&mut store, "dies")
                    .unwrap();
                let error = dies.call(&mut store, ()).unwrap_err();
                assert_eq!(
                    error.trap().expect("it is one"),
                    TrapCode::UnreachableCodeReached
                );
                let names: Vec<_> = error
                    .backtrace()
                    .unwrap()
                    .frames()
                    .iter()
                    .map(|f| f.func_name().unwrap())
                    .collect();
                assert_eq!(names, ["dies"]);
            }
        }
    }
}

#[test]
fn what_cannot_run_in_place_is_refused() {
    let refused = |bytes: &[u8], offset| match open(bytes, offset).unwrap_err() {
        Error::Artifact(error) => error,
        other => panic!("{other}"),
    };
    for strategy in strategies() {
        let good = artifact(WAT, strategy);
        assert!(open(&good, 4096).is_ok());
        let error = refused(&good, 2048);
        assert!(
            matches!(error, ArtifactError::Misaligned { expected: 4096 }),
            "{error}"
        );
        let nothing = vec![0; HEADER_OFFSET + size_of::<Header>()];
        assert!(matches!(
            refused(&nothing, 0),
            ArtifactError::NotArtifact(_)
        ));
        let mut damaged = good.clone();
        damaged[HEADER_OFFSET + 200] ^= 1;
        assert!(matches!(
            refused(&damaged, 0),
            ArtifactError::Checksum { .. }
        ));
    }
    // A type id in a slot that would have to be filled in.
    let params = "i64 ".repeat(21);
    let zeros = "(i64.const 0)".repeat(21);
    let patched = format!(
        r#"(module (type $t (func (param {params})))
            (table (export "t") 1 funcref)
            (func (export "g") (call_indirect (type $t) {zeros} (i32.const 0))))"#
    );
    let error = refused(&artifact(&patched, Strategy::Guarded), 0);
    assert!(error.to_string().contains("GOT"), "{error}");
}

#[test]
fn an_embedded_artifact_that_has_to_be_patched_is_copied() {
    let params = "i64 ".repeat(21);
    let zeros = "(i64.const 0)".repeat(21);
    let many = format!(
        r#"(module (type $t (func (param {params}) (result i32)))
            (table 1 funcref) (elem (i32.const 0) $f)
            (func $f (type $t) (i32.const 7)) (export "t" (table 0))
            (func (export "g") (result i32) (call_indirect (type $t) {zeros} (i32.const 0))))"#
    );
    for (wat, name, expected) in [(WAT, "load", i32::from(b'i')), (&many, "g", 7)] {
        for strategy in strategies() {
            let bytes = artifact(wat, strategy);
            // SAFETY: our own compiler made it, and nobody writes there.
            let embedded = unsafe { EmbeddedArtifact::new(link(&bytes, 0)) };
            assert_eq!(embedded.bytes().unwrap(), bytes);
            let engine = Engine::default();
            let module = Module::embedded(&engine, embedded).unwrap();
            let mut store = Store::new(&engine, ());
            let instance = Linker::new(&engine).instantiate(&mut store, &module);
            let instance = instance.unwrap();
            let func = instance.get_typed_func::<(), i32>(&mut store, name);
            assert_eq!(func.unwrap().call(&mut store, ()).unwrap(), expected);
        }
    }
}
