//! Artifacts that a linker put into the executable: their code runs where it is.

use precast_artifact::{
    Aligned, Artifact, Error as ArtifactError, HEADER_OFFSET, Header, TrapCode,
};
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
}

/// A module with a type id in a GOT: `g` calls a function with 21 parameters, which returns 7.
fn patched() -> String {
    let params = "i64 ".repeat(21);
    let zeros = "(i64.const 0)".repeat(21);
    format!(
        r#"(module (type $t (func (param {params}) (result i32)))
            (table 1 funcref) (elem (i32.const 0) $f)
            (func $f (type $t) (i32.const 7)) (export "t" (table 0))
            (func (export "g") (result i32) (call_indirect (type $t) {zeros} (i32.const 0))))"#
    )
}

/// What a function of no parameters returns.
fn result(module: &Module, name: &str) -> i32 {
    let mut store = Store::new(module.engine(), ());
    let instance = Linker::new(module.engine()).instantiate(&mut store, module);
    let func = instance
        .unwrap()
        .get_typed_func::<(), i32>(&mut store, name);
    func.unwrap().call(&mut store, ()).unwrap()
}

/// The access of the page that an address is in, as the system shows it.
fn access(address: usize) -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let hex = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let found = maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        (hex(start)..hex(end))
            .contains(&address)
            .then(|| rest[..4].to_owned())
    });
    found.expect("it is mapped")
}

#[test]
fn a_got_is_filled_in_where_it_is() {
    let engine = Engine::default();
    for strategy in strategies() {
        let bytes = artifact(&patched(), strategy);
        let header = *Artifact::parse(Aligned::new(&bytes).leak(), None)
            .unwrap()
            .header();
        // Other code follows at once, and runs while several threads open the artifact.
        let start = link(&bytes, 4096);
        let got = start.addr() + HEADER_OFFSET + header.got.start as usize;
        let others = start.addr() + bytes.len();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let start = start.addr();
                scope.spawn(move || {
                    for _ in 0..50 {
                        let start = std::ptr::with_exposed_provenance(start);
                        // SAFETY: our own compiler made it, and only the loader writes there.
                        let module = unsafe { Module::from_static(&engine, start) }.unwrap();
                        assert_eq!(result(&module, "g"), 7);
                    }
                });
            }
        });
        assert_eq!(access(got), "r--p");
        assert_eq!(access(others), "r-xp");
        // SAFETY: as above.
        let module = unsafe { Module::from_static(&engine, start) }.unwrap();
        assert_eq!(module.serialize().unwrap(), bytes, "the compiler's bytes");
    }
}

/// An artifact whose GOT shares its page with what follows: as older compilers wrote them.
fn unpadded(bytes: &[u8]) -> Vec<u8> {
    use std::mem::offset_of;
    let header = *Artifact::parse(Aligned::new(bytes).leak(), None)
        .unwrap()
        .header();
    let end = HEADER_OFFSET + (header.got.start + header.got.len) as usize;
    let mut cut = bytes[..end].to_vec();
    let mut set = |at: usize, with: &[u8]| {
        cut[HEADER_OFFSET + at..][..with.len()].copy_from_slice(with);
        Aligned::new(&cut).leak()
    };
    set(offset_of!(Header, file_len), &(end as u64).to_le_bytes());
    let hot = set(offset_of!(Header, checksum), &[0; 4]);
    let digest = precast_artifact::digest(hot);
    let all = set(offset_of!(Header, digest), &digest);
    let covered = &all[HEADER_OFFSET..Artifact::hot_end(all).unwrap()];
    let sum = precast_artifact::reader::checksum(covered);
    set(offset_of!(Header, checksum), &sum.to_le_bytes()).to_vec()
}

#[test]
fn a_got_that_shares_its_page_is_never_filled_in_there() {
    for strategy in strategies() {
        let bytes = unpadded(&artifact(&patched(), strategy));
        let start = link(&bytes, 0);
        // SAFETY: our own compiler made it, and nobody writes there.
        let error = unsafe { Module::from_static(&Engine::default(), start) }.unwrap_err();
        assert!(error.to_string().contains("shares a page"), "{error}");
        assert_eq!(access(start.addr() + bytes.len() - 1), "r-xp");
        // A copy of it runs.
        // SAFETY: as above.
        let embedded = unsafe { EmbeddedArtifact::new(start) };
        let module = Module::embedded(&Engine::default(), embedded).unwrap();
        assert_eq!(result(&module, "g"), 7);
    }
}

#[test]
fn what_is_known_of_an_address_is_not_believed_of_another_artifact() {
    for strategy in strategies() {
        let bytes = artifact(WAT, strategy);
        let start = link(&bytes, 0);
        let engine = Engine::default();
        // There are more places than the loader remembers.
        for _ in 0..100 {
            // SAFETY: our own compiler made it, and nobody writes there.
            drop(unsafe { Module::from_static(&engine, start) }.unwrap());
            drop(open(&bytes, 0).unwrap());
        }
        // Against the contract, another artifact comes to the same address, and is damaged.
        let mut other = artifact(&WAT.replace("image", "other"), strategy);
        other[HEADER_OFFSET + 200] ^= 1;
        let at = start.cast::<u8>().cast_mut();
        let len = other.len().next_multiple_of(PAGE);
        // SAFETY: the pages are the test's own, no module uses them, and the new ones are as long.
        unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(at.cast(), len, access), 0);
            at.copy_from_nonoverlapping(other.as_ptr(), other.len());
            assert_eq!(
                libc::mprotect(at.cast(), len, libc::PROT_READ | libc::PROT_EXEC),
                0
            );
            let error = Module::from_static(&engine, start).unwrap_err();
            let is_found = matches!(error, Error::Artifact(ArtifactError::Checksum { .. }));
            assert!(is_found, "{error}");
        }
    }
}

#[test]
fn an_embedded_artifact_runs_with_and_without_a_got() {
    let many = patched();
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

/// A library that is unloaded and loaded again is often where it was, and the system maps its pages
/// anew: without what the loader wrote into them.
#[test]
fn a_got_that_is_new_again_is_filled_in_again() {
    let engine = Engine::default();
    for strategy in strategies() {
        let bytes = artifact(&patched(), strategy);
        let start = link(&bytes, 0);
        for _ in 0..3 {
            // SAFETY: our own compiler made it, and no module uses it when it is written anew.
            let module = unsafe { Module::from_static(&engine, start) }.unwrap();
            assert_eq!(result(&module, "g"), 7);
            drop(module);
            link_at(&bytes, start);
        }
    }
}

/// Puts the bytes where they were put before.
fn link_at(bytes: &[u8], start: *const StaticArtifact) {
    let new = link(bytes, 0).cast_mut().cast();
    let len = bytes.len().next_multiple_of(PAGE);
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: two mappings of the test's own, of this length.
    let moved = unsafe { libc::mremap(new, len, len, flags, start.cast_mut()) };
    assert_ne!(moved, libc::MAP_FAILED);
}

#[test]
fn the_bytes_of_an_embedded_artifact_stay_as_the_compiler_wrote_them() {
    let engine = Engine::default();
    for wat in [WAT, &patched()] {
        for strategy in strategies() {
            let bytes = artifact(wat, strategy);
            // SAFETY: our own compiler made it, and nobody but the loader writes there.
            let embedded = unsafe { EmbeddedArtifact::new(link(&bytes, 0)) };
            let module = Module::embedded(&engine, embedded).unwrap();
            let found = embedded.bytes().unwrap();
            assert_eq!(found[..], bytes[..]);
            Module::from_bytes_verified(&engine, &found, module.digest()).unwrap();
        }
    }
}

/// Another copy of the loader has other numbers for types, and code of its modules runs with them.
#[test]
fn a_got_that_something_else_has_filled_in_is_left_alone() {
    let engine = Engine::default();
    for strategy in strategies() {
        let mut bytes = artifact(&patched(), strategy);
        let header = *Artifact::parse(Aligned::new(&bytes).leak(), None)
            .unwrap()
            .header();
        bytes[HEADER_OFFSET + header.got.start as usize] = 1;
        let start = link(&bytes, 0);
        // SAFETY: our own compiler made it, and nobody but the loader writes there.
        let error = unsafe { Module::from_static(&engine, start) }.unwrap_err();
        assert!(error.to_string().contains("another copy"), "{error}");
        // SAFETY: as above.
        let embedded = unsafe { EmbeddedArtifact::new(start) };
        let module = Module::embedded(&engine, embedded).unwrap();
        assert_eq!(result(&module, "g"), 7);
    }
}
