//! Files that are open already: the same module is given again, and never for another file.

use std::path::Path;

use precast_artifact::Strategy;
use precast_loader::{Config, Engine, Error, Linker, Module, Store};
use precast_tests::{artifact, strategies};

use crate::child::{case, passes_in_child};

/// A module whose function `f` returns a number.
fn number(number: i32, strategy: Strategy) -> Vec<u8> {
    let wat = format!(r#"(module (func (export "f") (result i32) (i32.const {number})))"#);
    artifact(&wat, strategy)
}

fn try_open(path: &Path) -> Result<Module, Error> {
    // SAFETY: our own compiler wrote the file, and nobody writes to one that is open.
    unsafe { Module::open(&Engine::default(), path) }
}

fn open(path: &Path) -> Module {
    try_open(path).unwrap()
}

fn f(module: &Module) -> i32 {
    let mut store = Store::new(module.engine(), ());
    let instance = Linker::new(module.engine()).instantiate(&mut store, module);
    let f = instance.unwrap().get_typed_func::<(), i32>(&mut store, "f");
    f.unwrap().call(&mut store, ()).unwrap()
}

/// Runs a test of this file in a process of its own, and returns whether this is that process. A
/// thread that finds the lock of open files taken does without it, so other tests, which open files
/// too, must not take it meanwhile.
fn is_alone(test: &str) -> bool {
    if case().is_none() {
        passes_in_child(test, "alone");
    }
    case().is_some()
}

#[test]
fn a_file_that_is_open_is_the_same_module() {
    if !is_alone("opened::a_file_that_is_open_is_the_same_module") {
        return;
    }
    for strategy in strategies() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.precast");
        std::fs::write(&path, number(1, strategy)).unwrap();
        let engine = Engine::default();
        // SAFETY: as in `open`.
        let [first, second] = [(); 2].map(|()| unsafe { Module::open(&engine, &path) }.unwrap());
        assert!(Module::same(&first, &second));
        drop(first);
        assert_eq!(f(&second), 1);
        let other_engine = Engine::new(Config::new().max_wasm_stack(1 << 19)).unwrap();
        // SAFETY: as in `open`.
        let another = unsafe { Module::open(&other_engine, &path) }.unwrap();
        assert!(!Module::same(&second, &another), "of another engine");
        assert_eq!(f(&another), 1);
        drop((second, another));
        assert_eq!(f(&open(&path)), 1);
    }
}

#[test]
fn a_file_that_was_replaced_is_another_module() {
    for strategy in strategies() {
        let dir = tempfile::tempdir().unwrap();
        let [path, other, link] = ["a.precast", "b", "link"].map(|name| dir.path().join(name));
        std::fs::write(&path, number(1, strategy)).unwrap();
        std::fs::write(&other, number(2, strategy)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let first = open(&path);
        let linked = open(&link);
        assert_eq!((f(&first), f(&linked)), (1, 1));

        // A link that leads elsewhere, a name that was taken over, and one that is gone.
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert_eq!(f(&open(&link)), 2);
        std::fs::rename(&other, &path).unwrap();
        let second = open(&path);
        assert_eq!((f(&first), f(&second)), (1, 2));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(try_open(&path), Err(Error::File { .. })));

        // The name and the length, but new content, in a file that may get the old one's number.
        drop((first, second, linked));
        std::fs::write(&path, number(3, strategy)).unwrap();
        assert_eq!(f(&open(&path)), 3);
        std::fs::write(&path, number(4, strategy)).unwrap();
        assert_eq!(f(&open(&path)), 4);
    }
}

#[test]
fn a_file_whose_length_or_times_differ_is_opened_anew() {
    if !is_alone("opened::a_file_whose_length_or_times_differ_is_opened_anew") {
        return;
    }
    for strategy in strategies() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.precast");
        std::fs::write(&path, number(1, strategy)).unwrap();
        let engine = Engine::default();
        // SAFETY: as in `open`.
        let again = || unsafe { Module::open(&engine, &path) }.unwrap();
        let first = again();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let second = again();
        assert!(!Module::same(&first, &second));
        assert!(Module::same(&second, &again()));
    }
}

/// Ways of opening that protect against changes of the file never return a module that is open by
/// path.
#[test]
fn copies_and_checks_are_made_each_time() {
    for strategy in strategies() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.precast");
        std::fs::write(&path, number(1, strategy)).unwrap();
        let engine = Engine::default();
        let first = open(&path);
        // SAFETY: as in `open`.
        let sealed = unsafe { Module::open_sealed(&engine, &path) }.unwrap();
        let verified = Module::open_verified(&engine, &path, first.digest()).unwrap();
        assert!(Module::open_verified(&engine, &path, &[0; 32]).is_err());
        for module in [&sealed, &verified] {
            assert!(!Module::same(&first, module));
            assert_eq!(f(module), 1);
        }
    }
}

/// Threads that open, replace and drop at the same time find what was there, and never anything
/// else.
#[test]
fn threads_find_what_is_there() {
    let dir = &tempfile::tempdir().unwrap();
    let artifacts = &[1, 2].map(|n| number(n, Strategy::Guarded));
    let path = &dir.path().join("a.precast");
    let put = |thread: i32, n: usize| {
        let new = dir.path().join(format!("{thread}.new"));
        std::fs::write(&new, &artifacts[n % 2]).unwrap();
        std::fs::rename(&new, path).unwrap();
    };
    put(0, 0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let mut kept = Vec::new();
                for n in 0..100 {
                    if n % 10 == thread as usize {
                        put(thread, n);
                    }
                    let module = open(path);
                    assert_eq!(
                        f(&module),
                        i32::from(module.digest() != open_digest(&artifacts[0])) + 1
                    );
                    kept.push(module);
                    kept.truncate(n % 5);
                }
            });
        }
    });
}

/// The digest in the header of an artifact.
fn open_digest(bytes: &[u8]) -> &'static [u8; 32] {
    let bytes = precast_artifact::Aligned::new(bytes).leak();
    &precast_artifact::Artifact::parse(bytes, None)
        .unwrap()
        .header()
        .digest
}

/// The memory for files whose modules are gone does not grow without end.
#[test]
fn many_files_are_opened_one_after_another() {
    if !is_alone("opened::many_files_are_opened_one_after_another") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let bytes = number(1, Strategy::Guarded);
    let kept = dir.path().join("kept.precast");
    std::fs::write(&kept, &bytes).unwrap();
    let engine = Engine::default();
    // SAFETY: as in `open`.
    let first = unsafe { Module::open(&engine, &kept) }.unwrap();
    for n in 0..300 {
        let path = dir.path().join(n.to_string());
        std::fs::write(&path, &bytes).unwrap();
        drop(open(&path));
        std::fs::remove_file(&path).unwrap();
    }
    // SAFETY: as in `open`.
    let again = unsafe { Module::open(&engine, &kept) }.unwrap();
    assert!(Module::same(&first, &again));
}

/// Threads that look for what is open do not get in each other's way, but for the moment in which a
/// path is noted.
#[test]
fn threads_that_open_what_is_open_get_the_same_module() {
    if !is_alone("opened::threads_that_open_what_is_open_get_the_same_module") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = &dir.path().join("a.precast");
    std::fs::write(path, number(1, Strategy::Guarded)).unwrap();
    let engine = &Engine::default();
    // SAFETY: as in `open`.
    let again = move || unsafe { Module::open(engine, path) }.unwrap();
    let first = &again();
    let others: usize = std::thread::scope(|scope| {
        let count = move || {
            (0..20_000)
                .filter(|_| !Module::same(first, &again()))
                .count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert!(others < 800, "{others} of 80000 are other modules");
    assert!(Module::same(first, &again()));
}
