//! Benchmarks of the loader and of the reader of artifacts:
//! `cargo bench --workspace --bench loader -- [FILTER]`.
//!
//! They are for changes to these crates. `tests/peers/` compares precast with other runtimes. There
//! are four modules: a trivial one; one with a data segment, where a call writes to a page of the
//! memory; one with ten thousand functions and table entries, which must not make anything here
//! slower; and one with three thousand exports, which opening has to read, so that it takes longer.

use divan::{Bencher, black_box};
use precast_artifact::{Artifact, Strategy};
use precast_loader::{Config, Engine, InstancePre, Linker, Store};
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
    let bytes = artifact(subject);
    // The bytes must be as aligned as a mapping.
    let mut aligned = vec![0_u64; bytes.len().div_ceil(8)];
    let aligned: &mut [u8] = bytemuck::cast_slice_mut(&mut aligned);
    aligned[..bytes.len()].copy_from_slice(&bytes);
    let aligned = &aligned[..bytes.len()];
    bencher.bench_local(|| {
        Artifact::parse(black_box(aligned), None).expect("an artifact of our own compiler");
    });
}

#[divan::bench(args = ALL)]
fn open_and_drop(bencher: Bencher, subject: &str) {
    let (file, engine) = (file(subject), engine(true));
    bencher.bench_local(|| drop(file.open(&engine)));
}

#[divan::bench(args = ALL)]
fn open(bencher: Bencher, subject: &str) {
    let (file, engine) = (file(subject), engine(true));
    // The time of dropping a returned module is not measured.
    bencher.bench_local(|| file.open(&engine));
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
