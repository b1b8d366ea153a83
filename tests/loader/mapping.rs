//! The mappings of the process while wasm code runs.

use precast_artifact::{HEADER_OFFSET, Strategy};
use precast_loader::{Engine, Error, Instance, Linker, MemoryType, Module, SharedMemory, Store};
use precast_tests::{ArtifactFile, artifact, strategies};

use crate::child;
use crate::kernel::emulated;

#[test]
fn nothing_is_writable_and_executable() {
    let wat = r#"(module
        (import "h" "look" (func $look))
        (memory 1) (data (i32.const 0) "some bytes")
        (table 1 funcref) (elem (i32.const 0) func $f)
        (func $f (drop (memory.grow (i32.const 1))) (call $look))
        (func (export "run") (call_indirect (i32.const 0))))"#;
    for strategy in strategies() {
        let file = ArtifactFile::new(&artifact(wat, strategy));
        let engine = Engine::default();
        let module = file.open(&engine);
        let mut linker: Linker<String> = Linker::new(&engine);
        linker
            .func_wrap(
                "h",
                "look",
                |mut caller: precast_loader::Caller<'_, String>| {
                    *caller.data_mut() = std::fs::read_to_string("/proc/self/maps").unwrap();
                },
            )
            .unwrap();
        let mut store = Store::new(&engine, String::new());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap()
            .call(&mut store, ())
            .unwrap();
        let maps = store.data();
        let bad: Vec<_> = maps.lines().filter(|line| line.contains("rwx")).collect();
        assert!(bad.is_empty(), "{bad:?}");
        let name = file.path().to_str().unwrap();
        let text: Vec<_> = maps
            .lines()
            .filter(|l| l.contains(name) && l.contains("r-x"))
            .collect();
        assert_eq!(
            text.len(),
            1,
            "the text is mapped from the file, once: {maps}"
        );
    }
}

#[test]
fn the_text_of_the_mapping_is_that_of_the_file() {
    // The loader fills in the GOT and does not change the text. The module needs a GOT because its
    // signature has too many values to be its own id.
    let wat = format!(
        "(module (type $long (func (param {}))) (table (export \"t\") 1 funcref)
            (func (export \"f\") {} (call_indirect (type $long) (i32.const 0))))",
        "i32 ".repeat(21),
        "(i32.const 0) ".repeat(21)
    );
    for strategy in strategies() {
        let bytes = artifact(&wat, strategy);
        let view = precast_artifact::Artifact::parse(&bytes, None).unwrap();
        assert!(view.header().got.len > 0);
        let slots = view.section(view.header().got);
        assert!(slots.iter().all(|b| *b == 0), "slots are empty in the file");
        assert_eq!((HEADER_OFFSET as u64 + view.header().text.start) % 4096, 0);
    }
}

/// Makes things and keeps them until the system refuses one, and returns the text of the error.
fn refused<T>(mut make: impl FnMut() -> Result<T, Error>) -> String {
    let mut kept = Vec::with_capacity(1 << 17);
    loop {
        match make() {
            Ok(made) => kept.push(made),
            Err(error) => {
                let Some(source) = std::error::Error::source(&error) else {
                    panic!("expected the system's answer, found {error}");
                };
                return format!("{error}: {source}");
            }
        }
        assert!(kept.len() < 1 << 17, "nothing is refused");
    }
}

/// Makes instances of a module until there is no room.
fn no_instances(module: &Module) -> String {
    refused(|| {
        let mut store = Store::new(module.engine(), ());
        Instance::new(&mut store, module, &[]).map(|_| store)
    })
}

fn no_shared_memories(engine: &Engine) -> String {
    refused(|| SharedMemory::new(engine, MemoryType::shared(1, 1)))
}

/// Leaves no mappings. Returns false where a process may have too many of them.
fn fill_mappings() -> bool {
    let max = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let max: usize = max.trim().parse().unwrap();
    if max > 1 << 20 {
        eprintln!("skipped: {max} mappings are allowed");
        return false;
    }
    // Adjacent ranges with different access are separate mappings.
    let page = 1 << 16;
    // SAFETY: the mappings are new and are not used.
    unsafe {
        let (none, flags) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let at = libc::mmap(std::ptr::null_mut(), max * page, none, flags, -1, 0);
        assert_ne!(at, libc::MAP_FAILED);
        for i in (0..max).step_by(2) {
            if libc::mprotect(at.byte_add(i * page), page, libc::PROT_READ) != 0 {
                break;
            }
        }
    }
    true
}

/// The errors of all ways to open a module, of which the system refuses a part.
fn no_modules(engine: &Engine, file: &ArtifactFile, bytes: &[u8]) -> Vec<String> {
    // SAFETY: the artifact is of our own compiler, and nobody changes the file.
    unsafe {
        vec![
            refused(|| Module::open(engine, file.path())),
            refused(|| Module::open_sealed(engine, file.path())),
            refused(|| Module::from_bytes(engine, bytes)),
        ]
    }
}

/// The error names the limit that is reached and a remedy.
#[test]
fn limits_of_the_system_are_named() {
    const TEST: &str = "mapping::limits_of_the_system_are_named";
    let Some(case) = child::case() else {
        // An emulator needs address space and mappings of its own, and fails first.
        if !emulated(TEST) {
            for case in ["address space", "mappings"] {
                child::passes_in_child(TEST, case);
            }
        }
        return;
    };
    let engine = Engine::default();
    let bytes = artifact("(module (func (export \"f\")))", Strategy::Guarded);
    let file = ArtifactFile::new(&bytes);
    // Compiling starts threads, which need mappings.
    let module = |wat| precast_tests::module(&engine, wat, Strategy::Guarded);
    let memory = module("(module (memory 1))");
    let table = module("(module (table 9000000 externref))");
    match case.as_str() {
        "mappings" => {
            if !fill_mappings() {
                return;
            }
            let mut errors = no_modules(&engine, &file, &bytes);
            errors.push(no_instances(&memory));
            errors.push(no_shared_memories(&engine));
            for error in errors {
                assert!(error.contains("`vm.max_map_count` allows"), "{error}");
            }
        }
        _ => {
            let limit = libc::rlimit {
                rlim_cur: 20 << 30,
                rlim_max: 20 << 30,
            };
            // SAFETY: the structure is valid.
            let done = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
            assert_eq!(done, 0);
            for error in [
                no_instances(&memory),
                no_instances(&table),
                no_shared_memories(&engine),
            ] {
                assert!(
                    error.contains("limited to 21474836480 bytes (RLIMIT_AS"),
                    "{error}"
                );
                assert!(error.contains("`--strategy checked`"), "{error}");
            }
        }
    }
}
