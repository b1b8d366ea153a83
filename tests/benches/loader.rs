//! Benchmarks of the loader and of the reader of artifacts:
//! `cargo bench --workspace --bench loader -- [FILTER]`.
//!
//! They are for changes to these crates. `tests/peers/` compares precast with other runtimes. There
//! are four modules: a trivial one; one with a data segment, where a call writes to a page of the
//! memory; one with ten thousand functions and table entries, which must not make anything here
//! slower; and one with three thousand exports, which opening has to read, so that it takes longer.

use divan::{Bencher, black_box};
use precast_artifact::{Aligned, Artifact, Strategy};
use precast_loader::{Config, Engine, InstancePre, Linker, MemoryType, SharedMemory, Store};
use precast_tests::ArtifactFile;

const TRIVIAL: &str = "trivial";
const DATA: &str = "data";
const LARGE: &str = "large";
const WIDE: &str = "wide";
const ALL: [&str; 4] = [TRIVIAL, DATA, LARGE, WIDE];

fn main() {
    // The sample size is fixed, because divan would derive it from the first iteration, which fills
    // caches and pools.
    let divan = divan::Divan::default().sample_size(100).sample_count(100);
    divan.config_with_args().main();
}

fn text(subject: &str) -> String {
    let f = r#"(func (export "f") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))"#;
    let g = r#"(func (export "f") (param i32) (result i32)
        (i32.store (i32.const 200) (local.get 0)) (i32.load (i32.const 100)))"#;
    match subject {
        TRIVIAL => format!("(module {f})"),
        WIDE => {
            let one = |i| format!("(global (export \"export {i}\") i32 (i32.const {i}))");
            format!("(module {f} {})", (0..3000).map(one).collect::<String>())
        }
        DATA => format!("(module (memory 1) (data (i32.const 100) \"some data\") {g})"),
        _ => {
            let one = |i| format!("(func $f{i} (result i32) (i32.const {i}))");
            let functions: String = (0..10_000).map(one).collect();
            let entries: String = (0..10_000).map(|i| format!("$f{i} ")).collect();
            format!(
                "(module {functions} (table 10000 funcref) (elem (i32.const 0) func {entries}) {f})"
            )
        }
    }
}

fn artifact(subject: &str) -> Vec<u8> {
    precast_tests::artifact(&text(subject), Strategy::Guarded)
}

fn file(subject: &str) -> ArtifactFile {
    ArtifactFile::new(&artifact(subject))
}

fn engine(pool: bool) -> Engine {
    let mut config = Config::new();
    if !pool {
        config.pool_per_thread(0);
    }
    Engine::new(&config).unwrap()
}

fn linked(subject: &str, pool: bool) -> InstancePre<()> {
    let engine = engine(pool);
    let module = file(subject).open(&engine);
    Linker::new(&engine)
        .instantiate_pre(&module)
        .expect("a module without imports")
}

fn instantiate(pre: &InstancePre<()>) -> (Store<()>, precast_loader::Instance) {
    let mut store = Store::new(pre.module().engine(), ());
    let instance = pre.instantiate(&mut store).expect("memory for an instance");
    (store, instance)
}

/// The checks of the reader: the header, the checksum, and the bounds of the tables that opening
/// reads.
#[divan::bench(args = ALL)]
fn check_artifact(bencher: Bencher, subject: &str) {
    let bytes = Aligned::new(&artifact(subject));
    bencher.bench_local(|| {
        Artifact::parse(black_box(&bytes), None).expect("an artifact of our own compiler");
    });
}

#[divan::bench(args = ALL)]
fn open_and_drop(bencher: Bencher, subject: &str) {
    let (file, engine) = (file(subject), engine(true));
    bencher.bench_local(|| drop(file.open(&engine)));
}

/// Opens a file that is open already.
#[divan::bench(args = ALL)]
fn open_again(bencher: Bencher, subject: &str) {
    let (file, engine) = (file(subject), engine(true));
    let _open = file.open(&engine);
    bencher.bench_local(|| drop(file.open(&engine)));
}

#[divan::bench(args = ALL)]
fn instantiate_and_drop(bencher: Bencher, subject: &str) {
    let pre = linked(subject, true);
    bencher.bench_local(|| drop(instantiate(&pre)));
}

#[divan::bench(args = ALL)]
fn instantiate_and_drop_without_pool(bencher: Bencher, subject: &str) {
    let pre = linked(subject, false);
    bencher.bench_local(|| drop(instantiate(&pre)));
}

#[divan::bench(args = ALL)]
fn instantiate_call_and_drop(bencher: Bencher, subject: &str) {
    let pre = linked(subject, true);
    bencher.bench_local(|| {
        let (mut store, instance) = instantiate(&pre);
        let f = instance.get_typed_func::<i32, i32>(&mut store, "f");
        let f = f.expect("the module exports it");
        f.call(&mut store, black_box(7)).expect("it cannot trap")
    });
}

#[divan::bench(args = ALL)]
fn look_up(bencher: Bencher, subject: &str) {
    let pre = linked(subject, true);
    let (mut store, instance) = instantiate(&pre);
    bencher.bench_local(|| {
        instance
            .get_typed_func::<i32, i32>(&mut store, black_box("f"))
            .expect("the module exports it")
    });
}

#[divan::bench]
fn call(bencher: Bencher) {
    let pre = linked(TRIVIAL, true);
    let (mut store, instance) = instantiate(&pre);
    let f = instance.get_typed_func::<i32, i32>(&mut store, "f");
    let f = f.expect("the module exports it");
    bencher.bench_local(|| f.call(&mut store, black_box(7)).expect("it cannot trap"));
}

/// A memory that two instances use, and functions for the benches of threads.
const SHARED: &str = r#"(module
    (import "h" "m" (memory 1 1 shared))
    (func (export "add") (param i32) (result i32)
        (loop $again
            (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 0))
    ;; Takes turns with the other thread: waits until the word is `me`, and gives it to the other.
    (func (export "play") (param $me i32) (param $turns i32)
        (loop $next
            (loop $wait
                (drop (memory.atomic.wait32
                    (i32.const 64) (i32.sub (i32.const 1) (local.get $me)) (i64.const -1)))
                (br_if $wait (i32.ne (i32.atomic.load (i32.const 64)) (local.get $me))))
            (i32.atomic.store (i32.const 64) (i32.sub (i32.const 1) (local.get $me)))
            (drop (memory.atomic.notify (i32.const 64) (i32.const 1)))
            (br_if $next
                (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))))"#;

/// An instance with this memory, in a store of its own.
fn on(memory: &SharedMemory) -> (Store<()>, precast_loader::Instance) {
    let engine = Engine::default();
    let bytes = precast_tests::artifact(SHARED, Strategy::Guarded);
    let module = ArtifactFile::new(&bytes).open(&engine);
    let mut linker = Linker::new(&engine);
    linker
        .shared_memory("h", "m", memory.clone())
        .expect("a new name");
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module);
    (store, instance.expect("a memory that fits"))
}

fn shared_memory() -> SharedMemory {
    let ty = MemoryType::shared(1, 1);
    SharedMemory::new(&Engine::default(), ty).expect("room for a page")
}

/// A thousand atomic additions by one thread.
#[divan::bench(sample_size = 10)]
fn atomic_add_1000(bencher: Bencher) {
    let (mut store, instance) = on(&shared_memory());
    let add = instance.get_typed_func::<i32, i32>(&mut store, "add");
    let add = add.expect("the module exports it");
    bencher.bench_local(|| add.call(&mut store, black_box(1000)).expect("in bounds"));
}

/// A hundred turns of each of two threads, which notify each other and wait.
#[divan::bench(sample_size = 1)]
fn wait_and_notify_100(bencher: Bencher) {
    let memory = shared_memory();
    let (mut store, instance) = on(&memory);
    let play = instance.get_typed_func::<(i32, i32), ()>(&mut store, "play");
    let play = play.expect("the module exports it");
    bencher.bench_local(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut store, instance) = on(&memory);
                let play = instance.get_typed_func::<(i32, i32), ()>(&mut store, "play");
                let play = play.expect("the module exports it");
                play.call(&mut store, (1, 100)).expect("it cannot trap");
            });
            play.call(&mut store, (0, 100)).expect("it cannot trap");
        });
    });
}
