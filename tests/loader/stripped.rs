//! Artifacts without names and addresses run like others, and get them back from their debug file.

use std::path::Path;
use std::time::Duration;

use precast_artifact::{Aligned, Artifact, Strategy, writer};
use precast_loader::{Engine, Error, Linker, Module, Store};
use precast_tests::{ArtifactFile, Watchdog, artifact, strategies};

const WAT: &str = r#"(module
    (import "host" "f" (func $f (param i32)))
    (memory 1)
    (data (i32.const 65530) "image")
    (table 2 funcref)
    (elem (i32.const 0) $inner $outer)
    (func $inner (param i32) (call $f (local.get 0)) (unreachable))
    (func $outer (export "outer") (param i32)
        (call_indirect (param i32) (i32.load8_u (i32.const 65530)) (i32.const 0))))"#;

fn aligned(bytes: &[u8]) -> &'static [u8] {
    Aligned::new(bytes).leak()
}

fn stripped(bytes: &[u8]) -> Vec<u8> {
    writer::strip(&Artifact::parse(aligned(bytes), None).unwrap()).unwrap()
}

/// The value that the host is given, and the names and offsets in the backtrace.
fn run(module: &Module) -> (i32, Vec<(String, Option<u32>)>) {
    let engine = module.engine();
    let mut linker: Linker<i32> = Linker::new(engine);
    linker
        .func_wrap(
            "host",
            "f",
            |mut caller: precast_loader::Caller<'_, i32>, x: i32| {
                *caller.data_mut() = x;
            },
        )
        .unwrap();
    let mut store = Store::new(engine, 0);
    let instance = linker.instantiate(&mut store, module).unwrap();
    let outer = instance
        .get_typed_func::<i32, ()>(&mut store, "outer")
        .unwrap();
    let error = outer.call(&mut store, 0).unwrap_err();
    let frames = error.backtrace().unwrap().frames().to_vec();
    let frames = frames.iter().map(|frame| {
        let name = frame.func_name().unwrap_or_default().to_owned();
        (name, frame.module_offset().map(|offset| offset as u32))
    });
    (*store.data(), frames.collect())
}

#[test]
fn it_runs_and_its_names_are_found_by_the_build_id() {
    for strategy in strategies() {
        let full = artifact(WAT, strategy);
        let bytes = stripped(&full);
        assert!(bytes.len() <= full.len());
        let parsed = Artifact::parse(aligned(&bytes), None).unwrap();
        assert!(parsed.is_stripped());
        parsed.verify_digest(None).unwrap();
        assert_eq!(stripped(&bytes), bytes, "there is nothing left to remove");

        let (full, small) = (ArtifactFile::new(&full), ArtifactFile::new(&bytes));
        let engine = Engine::default();
        let with_names = full.open(&engine);
        let module = small.open(&engine);
        assert_eq!(module.build_id(), with_names.build_id());
        let (value, names) = run(&with_names);
        assert_eq!(value, i32::from(b'i'));
        assert_eq!(names[0].0, "inner");
        assert!(names.iter().all(|frame| frame.1.is_some()));

        let (value, numbers) = run(&module);
        assert_eq!(value, i32::from(b'i'));
        let expected = [1, 2].map(|i| (format!("wasm-function[{i}]"), None));
        assert_eq!(numbers, expected);

        let clone = module.clone();
        module.load_debug(full.path()).unwrap();
        assert_eq!(run(&clone).1, names);

        // A directory of debug files.
        let module = small.open(&engine);
        let debug = full
            .path()
            .with_file_name(format!("{}.debug", module.build_id()));
        std::fs::copy(full.path(), debug).unwrap();
        module.load_debug(full.path().parent().unwrap()).unwrap();
        assert_eq!(run(&module).1, names);
    }
}

#[test]
fn no_other_file_is_taken_for_the_debug_file() {
    let engine = Engine::default();
    for strategy in strategies() {
        let full = artifact(WAT, strategy);
        let small = ArtifactFile::new(&stripped(&full));
        let module = small.open(&engine);
        let other = artifact(&WAT.replace("unreachable", "nop"), strategy);
        let error = module
            .load_debug(ArtifactFile::new(&other).path())
            .unwrap_err();
        assert!(matches!(error, Error::Debug { .. }), "{error}");
        assert!(error.to_string().contains(&module.build_id()), "{error}");
        // Other modules with the same code: another name, other offsets.
        for same in [
            WAT.replace("$inner", "$renamed"),
            WAT.replace("(unreachable)", "(unreachable) (nop)"),
        ] {
            let same = ArtifactFile::new(&artifact(&same, strategy));
            assert_eq!(same.open(&engine).build_id(), module.build_id());
            let error = module.load_debug(same.path()).unwrap_err();
            let text = "it has the same code, of another module or another compilation";
            assert!(error.to_string().contains(text), "{error}");
        }
        let error = module.load_debug(small.path()).unwrap_err();
        assert!(matches!(error, Error::Debug { .. }), "{error}");
        let cut = ArtifactFile::new(&full[..full.len() - 1]);
        let error = module.load_debug(cut.path()).unwrap_err();
        assert!(matches!(error, Error::Artifact(_)), "{error}");
        let error = module.load_debug("/nonexistent").unwrap_err();
        assert!(matches!(error, Error::File { .. }), "{error}");
        // Nothing of that was used.
        assert_eq!(run(&module).1[0].0, "wasm-function[1]");
    }
}

/// What is no regular file may have no end, or wait for somebody to write.
#[test]
fn debug_data_is_read_from_regular_files_only() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let small = ArtifactFile::new(&stripped(&artifact(WAT, Strategy::Checked)));
    let module = small.open(&Engine::default());
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    let name = std::ffi::CString::new(fifo.to_str().unwrap()).unwrap();
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let in_directory = dir.path().join(format!("{}.debug", module.build_id()));
    std::fs::create_dir(&in_directory).unwrap();
    for (path, why) in [
        (fifo.as_path(), "it is not a regular file"),
        (Path::new("/dev/zero"), "it is not a regular file"),
        (dir.path(), "it is a directory"),
    ] {
        match module.load_debug(path).unwrap_err() {
            Error::File { source, .. } => assert_eq!(source.to_string(), why),
            error => panic!("{path:?}: {error}"),
        }
    }
    // A file that says it is empty.
    let error = module.load_debug("/proc/self/status").unwrap_err();
    assert!(matches!(error, Error::Artifact(_)), "{error}");
}
