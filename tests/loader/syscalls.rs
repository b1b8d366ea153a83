//! The system calls of opening, instantiating, calling and dropping, by name.
//!
//! The lists are exact, so that a change shows. A commit that changes them says why. Each case runs
//! in a process of its own, see [`kernel`](crate::kernel). In that process the modules are opened,
//! used and dropped in the order of the lines here.

use std::path::{Path, PathBuf};

use precast_artifact::Strategy;
use precast_loader::runtime::{Context, HostModule, InstanceConfig, Runtime};
use precast_loader::{Config, Engine, InstancePre, Linker, Module, Store};
use precast_tests::{artifact, faults};

use crate::child::{case, passes_in_child};
use crate::kernel::{Kernel, emulated, names, quiet_allocator};

/// The calls of opening a file: a copy of the hot tables is read, the file is mapped as a whole,
/// and execution is forbidden where there is no code. (A module with a GOT, which is rare,
/// is mapped for reading, then its text is mapped again, and two more calls make the GOT
/// writable for a moment.)
const OPEN: &[&str] = &["openat", "statx", "pread64", "mmap", "mprotect"];

/// The call of opening a file that is open: where its path leads now.
const OPEN_AGAIN: &[&str] = &["statx"];

/// The calls that the first instance with guarded memories adds: four signals are read and set.
const INSTALL: usize = 8;

/// The calls of an instance for whose memory the thread has no address space: they reserve address
/// space, make a part of it accessible, and map the image.
const FIRST: &[&str] = &["mmap", "mprotect", "mmap"];

/// The calls of an instance whose memory takes over the address space of a memory of another size.
const OTHER_SIZE: &[&str] = &["mprotect", "mmap"];

/// The calls by which the loader learns to ask which pages were written: it opens the file, and
/// makes a page that shows who has opened it.
const LEARN: &[&str] = &["openat", "mmap", "mprotect", "madvise"];

/// A module with `functions` functions, as many table elements, and `data` bytes of data at the end
/// of its memory. All of these modules have the same imports, exports and kinds of sections.
fn wat(functions: usize, data: usize) -> String {
    let pages = 2 + data / 65536;
    let mut text = format!(
        "(module (import \"h\" \"f\" (func $h (param i32) (result i32)))
         (memory (export \"m\") {pages} {})
         (table {functions} funcref)
         (global $g (mut i32) (i32.const 5))
         (func (export \"poke\") (param i32) (result i32)
            (i32.store (local.get 0) (call $h (i32.const 7)))
            (global.set $g (i32.const 6))
            (i32.add (i32.load (local.get 0))
                (call_indirect (param i32) (result i32) (i32.const 1) (i32.const 0))))
         (func (export \"grow\") (result i32) (memory.grow (i32.const 1)))",
        pages + 100
    );
    for n in 0..functions {
        text += &format!(
            "(func $f{n} (param i32) (result i32) (i32.xor (local.get 0) (i32.const {n})))"
        );
    }
    text += "(elem (i32.const 0)";
    for n in 0..functions {
        text += &format!(" $f{n}");
    }
    text += &format!(")(data (i32.const 65536) \"{}\"))", "x".repeat(data.max(1)));
    text
}

/// The functions and bytes of data of artifacts of a few KB, about 1 MB and about 10 MB.
const SIZES: [(usize, usize); 3] = [(1, 1), (5_000, 600_000), (12_000, 9_000_000)];

/// Writes the artifacts to a directory.
fn write_files(dir: &Path) {
    let files = files(dir);
    for (i, (strategy, path)) in files.iter().enumerate() {
        let (functions, data) = SIZES[i % SIZES.len()];
        std::fs::write(path, artifact(&wat(functions, data), *strategy)).unwrap();
    }
    let sizes: Vec<u64> = files
        .iter()
        .map(|(_, path)| std::fs::metadata(path).unwrap().len())
        .collect();
    assert!(
        sizes[0] < 50_000 && sizes[1] > 800_000 && sizes[2] > 9_000_000,
        "{sizes:?}"
    );
}

/// The artifacts in a directory.
fn files(dir: &Path) -> Vec<(Strategy, PathBuf)> {
    let guarded = (0..SIZES.len()).map(|i| (Strategy::Guarded, i));
    guarded
        .chain([(Strategy::Checked, 0)])
        .map(|(strategy, i)| (strategy, dir.join(format!("{strategy}-{i}.precast"))))
        .collect()
}

fn open(engine: &Engine, path: &Path) -> Module {
    // SAFETY: our own compiler wrote the file, and nobody writes to it any more.
    unsafe { Module::open(engine, path) }.unwrap()
}

fn link(engine: &Engine, module: &Module) -> InstancePre<u32> {
    let mut linker: Linker<u32> = Linker::new(engine);
    linker.func_wrap("h", "f", |x: i32| x + 1).unwrap();
    linker.instantiate_pre(module).unwrap()
}

/// Makes a store and an instance, makes a call that writes to one page of the memory, and drops
/// them.
fn one(pre: &InstancePre<u32>, at: i32) {
    let mut store = Store::new(pre.module().engine(), 0);
    let instance = pre.instantiate(&mut store).unwrap();
    let poke = instance
        .get_typed_func::<i32, i32>(&mut store, "poke")
        .unwrap();
    assert_eq!(poke.call(&mut store, at).unwrap(), 8 + 1);
}

#[test]
fn the_same_for_every_size() {
    const NAME: &str = "syscalls::the_same_for_every_size";
    // The name of a case is that of a check, followed by the directory with the artifacts.
    if let Some(case) = case() {
        return match case.split_once(' ') {
            Some(("calls", dir)) => calls_of_this_process(dir.as_ref()),
            Some(("pages", dir)) => pages_of_this_process(dir.as_ref()),
            _ => panic!("an unknown case {case}"),
        };
    }
    if emulated(NAME) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path());
    for check in ["calls", "pages"] {
        passes_in_child(NAME, &format!("{check} {}", dir.path().display()));
    }
}

fn calls_of_this_process(dir: &Path) {
    let files = files(dir);
    quiet_allocator(32 << 20);
    Kernel::with(|kernel| {
        let engine = Engine::default();
        let (module, calls) = kernel.watch(|| open(&engine, &files[0].1));
        assert_eq!(names(&calls), OPEN);
        let ((), calls) = kernel.watch(|| drop(module));
        assert_eq!(names(&calls), ["munmap", "close"]);

        for (i, (strategy, path)) in files.iter().enumerate() {
            let what = format!("{strategy}, {} functions", SIZES[i % SIZES.len()].0);
            let (module, calls) = kernel.watch(|| open(&engine, path));
            assert_eq!(names(&calls), OPEN, "open: {what}");
            let (again, calls) = kernel.watch(|| open(&engine, path));
            assert_eq!(names(&calls), OPEN_AGAIN, "open: {what}");
            let ((), calls) = kernel.watch(|| drop(again));
            assert_eq!(names(&calls), [""; 0], "it is open still: {what}");
            let (pre, calls) = kernel.watch(|| link(&engine, &module));
            assert_eq!(names(&calls), [""; 0], "link: {what}");

            // The loader does not know the stack of this thread before its first instance.
            if i == 0 {
                let mut store = Store::new(&engine, 0);
                let (nothing, calls) = kernel.watch(|| pre.instantiate(&mut store).unwrap());
                assert_eq!(names(&calls)[..INSTALL], ["rt_sigaction"; INSTALL]);
                assert_eq!(names(&calls)[INSTALL..], *FIRST);
                let grow = nothing.get_typed_func::<(), i32>(&mut store, "grow");
                let grow = grow.unwrap();
                let (_, calls) = kernel.watch(|| grow.call(&mut store, ()).unwrap());
                let stack = ["getpid", "gettid", "sched_getaffinity"];
                assert_eq!(names(&calls)[..3], stack);
                assert_eq!(names(&calls)[3..], ["mprotect"], "a page more");
                let (_, calls) = kernel.watch(|| grow.call(&mut store, ()).unwrap());
                assert_eq!(names(&calls), ["mprotect"], "a page more");
                drop(store);
                drop(pre);
                let (pre, calls) = kernel.watch(|| link(&engine, &module));
                assert_eq!(names(&calls), [""; 0], "link: {what}");
                // The memory before has grown.
                first_uses(kernel, &pre, OTHER_SIZE, &what);
            } else {
                // The memories before were guarded, and of another size.
                let first = match strategy {
                    Strategy::Guarded => OTHER_SIZE,
                    Strategy::Checked => FIRST,
                };
                first_uses(kernel, &pre, first, &what);
            }
            fresh(kernel, path, &what);
        }
        of_a_runtime(kernel, &engine, &files[0].1);
    });
}

/// Calls of an instance in a runtime make no system call as long as no other thread waits.
fn of_a_runtime(kernel: &Kernel, engine: &Engine, path: &Path) {
    let runtime: Runtime = Runtime::new(engine);
    HostModule::builder("h")
        .func("f", |n: i32| n)
        .instantiate(&runtime)
        .unwrap();
    let module = open(engine, path);
    let instance = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
    let context = Context::new();
    let call = || {
        let with = instance.with_context(&context);
        with.call_typed::<i32, i32>("poke", 8).unwrap();
        instance.call_typed::<i32, i32>("poke", 8).unwrap()
    };
    call();
    let (_, calls) = kernel.watch(call);
    assert_eq!(names(&calls), [""; 0], "calls of a runtime's instance");
}

/// The uses of a module from its first instance to the steady state.
fn first_uses(kernel: &Kernel, pre: &InstancePre<u32>, first: &[&str], what: &str) {
    let mut store = Store::new(pre.module().engine(), 0);
    let (instance, calls) = kernel.watch(|| pre.instantiate(&mut store).unwrap());
    assert_eq!(names(&calls), *first, "first: {what}");
    let poke = instance
        .get_typed_func::<i32, i32>(&mut store, "poke")
        .unwrap();
    let (_, calls) = kernel.watch(|| poke.call(&mut store, 20).unwrap());
    assert_eq!(names(&calls), [""; 0], "first call: {what}");
    let ((), calls) = kernel.watch(|| drop(store));
    // The loader asks which pages were written, restores one page, and discards the rest.
    let mut calls = names(&calls);
    if calls[0] == "openat" {
        assert_eq!(calls[..LEARN.len()], *LEARN);
        calls.drain(..LEARN.len());
    }
    assert_eq!(calls, ["ioctl", "madvise"], "first drop: {what}");

    let mut asked = 0;
    for _ in 0..200 {
        let ((), calls) = kernel.watch(|| one(pre, 20));
        let calls = names(&calls);
        if calls.len() > 1 {
            asked += 1;
            assert_eq!(calls, ["ioctl", "madvise"], "sample: {what}");
        } else {
            assert_eq!(calls, ["madvise"], "steady state: {what}");
        }
    }
    // The loader asks after 1, 2, 4, 8, … tenants.
    assert!(asked <= 8, "{asked} of 200: {what}");

    // No code ran, so no page was written.
    let ((), calls) = kernel.watch(|| {
        let mut store = Store::new(pre.module().engine(), 0);
        pre.instantiate(&mut store).unwrap();
    });
    assert_eq!(names(&calls), [""; 0], "untouched: {what}");
}

/// Instances without a pool: each takes over the address space of the one before, maps the image,
/// and empties the address space at the end.
fn fresh(kernel: &Kernel, path: &Path, what: &str) {
    let engine = Engine::new(Config::new().pool_per_thread(0)).unwrap();
    let pre = link(&engine, &open(&engine, path));
    one(&pre, 20);
    for _ in 0..3 {
        let ((), calls) = kernel.watch(|| one(&pre, 20));
        assert_eq!(names(&calls), ["mmap", "mmap"], "fresh: {what}");
    }
    let ((), calls) = kernel.watch(|| drop(pre));
    assert_eq!(names(&calls), [""; 0], "the caller has it open: {what}");
}

fn pages_of_this_process(dir: &Path) {
    let files = files(dir);
    quiet_allocator(32 << 20);
    let engine = Engine::default();
    let mut found = Vec::new();
    for (_, path) in files {
        // The file is opened once before, so that it and the loader's own code are in memory.
        drop(open(&engine, &path));
        let before = faults();
        let module = open(&engine, &path);
        let faults = faults() - before;
        found.push(faults);
        drop(module);
    }
    // One fault maps what the file system keeps in one piece, so the number may differ by one.
    let max = found[0] + 1;
    assert!(
        max <= 4 && found.iter().all(|faults| *faults <= max),
        "{found:?}"
    );
}
