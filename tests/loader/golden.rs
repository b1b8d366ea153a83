//! Compiled programs of the current ABI, which must open and run as long as that ABI is supported,
//! see `artifacts-format/VERSIONS.md`.
//!
//! `golden/ABI-ARCHITECTURE-STRATEGY.precast` is what the compiler made of `golden/program.wat`
//! when it was blessed. No compiler of today is asked: if one of these files does not run, then
//! artifacts that are in use do not run either. With `PRECAST_BLESS` set, the files of the current
//! ABI are made anew. That is right only until the ABI is released.

use std::fs;
use std::path::PathBuf;

use precast_artifact::target::Arch;
use precast_artifact::{ABI, Aligned, Artifact};
use precast_loader::{Engine, Linker, Module, Store, Trap};

/// Whether the current ABI is released: then its files must run for ever, and nobody makes them
/// anew.
const RELEASED: bool = true;

fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "loader", "golden"]
        .iter()
        .collect()
}

#[cfg(feature = "compiler")]
fn bless() {
    use precast_compiler::Settings;
    if std::env::var_os("PRECAST_BLESS").is_none() {
        return;
    }
    if RELEASED {
        panic!("the files of a released ABI stay as they are");
    }
    let wat = fs::read(directory().join("program.wat")).unwrap();
    for arch in ["x86_64", "aarch64"] {
        for strategy in precast_tests::strategies() {
            let settings = Settings {
                strategy,
                target: Some(format!("{arch}-unknown-linux-gnu")),
                ..Settings::default()
            };
            let artifact = precast_tests::compiled(&wat, &settings).unwrap();
            let name = format!("{ABI}-{arch}-{strategy}.precast");
            fs::write(directory().join(name), artifact).unwrap();
        }
    }
}

#[cfg(not(feature = "compiler"))]
fn bless() {}

#[track_caller]
fn runs(module: &Module) {
    let engine = module.engine();
    let linker: Linker<()> = Linker::new(engine);
    let pre = linker.instantiate_pre(module).unwrap();
    // The second instance takes the place of the first.
    for _ in 0..2 {
        let mut store = Store::new(engine, ());
        let instance = pre.instantiate(&mut store).unwrap();
        let sum = instance
            .get_typed_func::<i64, i64>(&mut store, "sum")
            .unwrap();
        assert_eq!(sum.call(&mut store, 10).unwrap(), 385);
        let calls = instance
            .get_typed_func::<(), i32>(&mut store, "calls")
            .unwrap();
        assert_eq!(calls.call(&mut store, ()).unwrap(), 10);
        let load = instance
            .get_typed_func::<i32, i32>(&mut store, "load")
            .unwrap();
        assert_eq!(load.call(&mut store, 16).unwrap(), i32::from(b'g'));
        let init = instance
            .get_typed_func::<(), ()>(&mut store, "init")
            .unwrap();
        init.call(&mut store, ()).unwrap();
        assert_eq!(load.call(&mut store, 38).unwrap(), i32::from(b't'));
        let error = load.call(&mut store, 65536).unwrap_err();
        assert_eq!(error.trap(), Some(Trap::MemoryOutOfBounds));
        let grow = instance
            .get_typed_func::<i32, i32>(&mut store, "grow")
            .unwrap();
        assert_eq!(grow.call(&mut store, 2).unwrap(), 1);
        assert_eq!(grow.call(&mut store, 1).unwrap(), -1);
        assert_eq!(load.call(&mut store, 65536).unwrap(), 0);
        let catch = instance
            .get_typed_func::<i64, i64>(&mut store, "catch")
            .unwrap();
        assert_eq!(catch.call(&mut store, 7).unwrap(), 7);
        let nearest = instance
            .get_typed_func::<f64, f64>(&mut store, "nearest")
            .unwrap();
        assert_eq!(nearest.call(&mut store, 2.5).unwrap(), 2.0);
        let trap = instance
            .get_typed_func::<(), i64>(&mut store, "trap")
            .unwrap();
        let error = trap.call(&mut store, ()).unwrap_err();
        assert_eq!(error.trap(), Some(Trap::UnreachableCodeReached));
        let frames = error.backtrace().unwrap().frames();
        let names: Vec<&str> = frames
            .iter()
            .map(|frame| frame.func_name().unwrap())
            .collect();
        assert_eq!(names, ["stop", "indirect", "trap"]);
    }
}

#[test]
fn compiled_programs_of_this_abi_run() {
    bless();
    let mut own = 0;
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some((abi, target)) = name.split_once('-') else {
            continue;
        };
        let bytes = Aligned::new(&fs::read(&path).unwrap());
        let expected = abi.parse() == Ok(ABI);
        assert!(expected, "{name}: this loader supports ABI {ABI} only");
        let artifact = Artifact::parse(&bytes, None).unwrap_or_else(|error| {
            panic!("{name} is not read any more, see artifacts-format/VERSIONS.md: {error}")
        });
        artifact.verify_digest(None).unwrap();
        let arch = Arch::from_number(artifact.header().arch).unwrap();
        assert!(target.starts_with(arch.name()), "{name}");
        if arch.name() == std::env::consts::ARCH {
            // SAFETY: precast's compiler wrote it.
            runs(&unsafe { Module::open(&Engine::default(), &path) }.unwrap());
            own += 1;
        }
    }
    assert_eq!(own, 2, "one for each memory strategy");
}
