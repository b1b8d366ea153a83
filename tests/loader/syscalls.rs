//! What opening, instantiating, calling and dropping ask of the kernel: call by call, by name.
//!
//! The lists are exact, so that a change shows; whoever changes them says why. Each case runs in a
//! process of its own, see [`kernel`](crate::kernel), in which the modules are opened, used and
//! dropped in the order of the lines.

use std::path::{Path, PathBuf};

use precast_artifact::Strategy;
use precast_loader::runtime::{Context, HostModule, InstanceConfig, Runtime};
use precast_loader::{Config, Engine, InstancePre, Linker, Module, Store};
use precast_tests::artifact;

use crate::child::{case, passes_in_child};
use crate::kernel::{Kernel, emulated, names, quiet_allocator};

/// Opening a file, in order: a copy of its hot tables is read, the file is mapped as a whole, what is not
/// code stops being executable. (Modules with a GOT, of which there are few, are mapped to be read,
/// then their text again; and their GOT is writable for a moment, with two calls more.)
const OPEN: &[&str] = &["openat", "statx", "pread64", "mmap", "mprotect"];

/// What the first instance of a module with guarded memories adds: four signals, asked for and set.
const INSTALL: usize = 8;

/// What the first instance of each module asks for: room, access to it, the image.
const FIRST: &[&str] = &["mmap", "mprotect", "mmap"];

/// A module of `functions` functions, as many table entries, and `data` bytes of data at the end of
/// its memory. All have the same imports, exports and kinds of sections.
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

/// Functions and bytes of data: a few KB, about 1 MB and about 10 MB of artifact.
const SIZES: [(usize, usize); 3] = [(1, 1), (5_000, 600_000), (12_000, 9_000_000)];

struct Files(PathBuf);

impl Files {
    /// The artifacts, in a directory that the child finds by its parent's process number.
    fn make() -> Self {
        let dir = Self::dir(std::process::id());
        std::fs::create_dir_all(&dir).unwrap();
        let files = Self::list(&dir);
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
        Self(dir)
    }

    fn of_parent() -> Vec<(Strategy, PathBuf)> {
        Self::list(&Self::dir(std::os::unix::process::parent_id()))
    }

    fn dir(process: u32) -> PathBuf {
        std::env::temp_dir().join(format!("precast-syscalls-{process}"))
    }

    fn list(dir: &Path) -> Vec<(Strategy, PathBuf)> {
        let guarded = (0..SIZES.len()).map(|i| (Strategy::Guarded, i));
        guarded
            .chain([(Strategy::Checked, 0)])
            .map(|(strategy, i)| (strategy, dir.join(format!("{strategy}-{i}.precast"))))
            .collect()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn open(engine: &Engine, path: &Path) -> Module {
    // SAFETY: our own compiler just wrote it.
    unsafe { Module::open(engine, path) }.unwrap()
}

fn link(engine: &Engine, module: &Module) -> InstancePre<u32> {
    let mut linker: Linker<u32> = Linker::new(engine);
    linker.func_wrap("h", "f", |x: i32| x + 1).unwrap();
    linker.instantiate_pre(module).unwrap()
}

/// A store, an instance, a call that dirties one page of the memory, and the end of it all.
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
    match case().as_deref() {
        Some("calls") => return calls_of_this_process(),
        Some("pages") => return pages_of_this_process(),
        _ => {}
    }
    if emulated(NAME) {
        return;
    }
    let _files = Files::make();
    passes_in_child(NAME, "calls");
    passes_in_child(NAME, "pages");
}

fn calls_of_this_process() {
    let files = Files::of_parent();
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
            let (pre, calls) = kernel.watch(|| link(&engine, &module));
            assert_eq!(names(&calls), [""; 0], "link: {what}");

            // The first instance of all is made by a thread whose stack is not known yet.
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
                first_uses(kernel, &pre, &what);
            } else {
                first_uses(kernel, &pre, &what);
            }
            fresh(kernel, path, &what);
        }
        of_a_runtime(kernel, &engine, &files[0].1);
    });
}

/// Taking turns in a store costs no system call as long as nobody waits.
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

/// From the first instance of a module to the steady state, and to the end of the module.
fn first_uses(kernel: &Kernel, pre: &InstancePre<u32>, what: &str) {
    let mut store = Store::new(pre.module().engine(), 0);
    let (instance, calls) = kernel.watch(|| pre.instantiate(&mut store).unwrap());
    assert_eq!(names(&calls), FIRST, "first: {what}");
    let poke = instance
        .get_typed_func::<i32, i32>(&mut store, "poke")
        .unwrap();
    let (_, calls) = kernel.watch(|| poke.call(&mut store, 20).unwrap());
    assert_eq!(names(&calls), [""; 0], "first call: {what}");
    let ((), calls) = kernel.watch(|| drop(store));
    // What was written is asked for; the one page is put back, the rest discarded.
    let mut calls = names(&calls);
    if calls[0] == "openat" {
        calls.remove(0);
    }
    assert_eq!(calls, ["getpid", "ioctl", "madvise"], "first drop: {what}");

    let mut asked = 0;
    for _ in 0..200 {
        let ((), calls) = kernel.watch(|| one(pre, 20));
        let calls = names(&calls);
        if calls.len() > 1 {
            asked += 1;
            assert_eq!(calls, ["getpid", "ioctl", "madvise"], "sample: {what}");
        } else {
            assert_eq!(calls, ["madvise"], "steady state: {what}");
        }
    }
    // After 1, 2, 4, 8, … tenants.
    assert!(asked <= 8, "{asked} of 200: {what}");

    // Nothing ran, so nothing was written.
    let ((), calls) = kernel.watch(|| {
        let mut store = Store::new(pre.module().engine(), 0);
        pre.instantiate(&mut store).unwrap();
    });
    assert_eq!(names(&calls), [""; 0], "untouched: {what}");
}

/// Without a pool.
fn fresh(kernel: &Kernel, path: &Path, what: &str) {
    let engine = Engine::new(Config::new().pool_per_thread(0));
    let pre = link(&engine, &open(&engine, path));
    for _ in 0..3 {
        let ((), calls) = kernel.watch(|| one(&pre, 20));
        let found = names(&calls);
        assert_eq!(
            found,
            ["mmap", "mprotect", "mmap", "munmap"],
            "fresh: {what}"
        );
    }
    let ((), calls) = kernel.watch(|| drop(pre));
    assert_eq!(names(&calls), ["munmap", "close"], "drop: {what}");
}

fn pages_of_this_process() {
    quiet_allocator(32 << 20);
    let engine = Engine::default();
    let mut found = Vec::new();
    for (_, path) in Files::of_parent() {
        // Once before, so that the file is in memory and the loader's own code is touched.
        drop(open(&engine, &path));
        let before = faults();
        let module = open(&engine, &path);
        let faults = faults() - before;
        found.push(faults);
        drop(module);
    }
    // What the file system keeps in one piece is mapped by one fault, so a page more or less.
    let most = found[0] + 1;
    assert!(
        most <= 4 && found.iter().all(|faults| *faults <= most),
        "{found:?}"
    );
}

/// Minor page faults of this thread.
fn faults() -> i64 {
    // SAFETY: zero is a valid rusage, and the call only writes to it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage), 0);
        usage.ru_minflt
    }
}
