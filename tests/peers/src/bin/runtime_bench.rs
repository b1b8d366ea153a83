//! Opening, instantiating and calling, side by side with Wasmtime: `runtime-bench [--rounds N] [FILTER]`.
//!
//! Both run in this process, in alternation, each on artifacts made by its own compiler from the same
//! modules. Wasmtime has its pooling allocator, copy-on-write images and resident pages; precast its
//! defaults. Printed: minimum / median / maximum of the rounds, and the ratio of medians.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use precast_peers::stats::Samples;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TINY: &str = r#"(module
    (func (export "f") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))"#;

const TINY_DATA: &str = r#"(module (memory 1) (data (i32.const 100) "some data")
    (func (export "f") (param i32) (result i32)
        (i32.store (i32.const 200) (local.get 0)) (i32.load (i32.const 100))))"#;

const CALLS: &str = r#"(module
    (import "h" "f" (func $host (param i32) (result i32)))
    (table 4 funcref) (elem (i32.const 0) func $inc $dec $inc $dec)
    (type $t (func (param i32) (result i32)))
    (func $inc (type $t) (i32.add (local.get 0) (i32.const 3)))
    (func $dec (type $t) (i32.sub (local.get 0) (i32.const 1)))
    (func (export "f") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
    (func (export "host") (param i32) (result i32) (local i32)
        (loop $l
            (local.set 1 (call $host (local.get 1)))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 1))
    (func (export "indirect") (param i32) (result i32) (local i32)
        (loop $l
            (local.set 1 (call_indirect (type $t) (local.get 1)
                (i32.and (local.get 0) (i32.const 3))))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 1)))"#;

/// A module compiled by both.
struct Subject {
    name: &'static str,
    ours: PathBuf,
    theirs: PathBuf,
}

/// One comparison: what one round of `n` repetitions takes, in nanoseconds each.
struct Row<'a> {
    name: String,
    ours: Box<dyn FnMut() -> Result<f64> + 'a>,
    theirs: Box<dyn FnMut() -> Result<f64> + 'a>,
}

fn per(n: u32, mut f: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..n {
        f()?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(n))
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).peekable();
    let mut rounds = 15;
    if args.peek().is_some_and(|a| a == "--rounds") {
        args.next();
        rounds = args.next().ok_or("--rounds needs a number")?.parse()?;
    }
    let filter = args.next().unwrap_or_default();
    println!(
        "{}, {rounds} rounds; min / median / max, ns",
        precast_peers::machine()
    );

    let dir = std::env::temp_dir().join(format!("precast-runtime-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let result = run(&dir, rounds, &filter);
    std::fs::remove_dir_all(&dir)?;
    result
}

fn run(dir: &Path, rounds: usize, filter: &str) -> Result<()> {
    let pooled = wasmtime::Engine::new(&config(true))?;
    let fresh = wasmtime::Engine::new(&config(false))?;
    let mut subjects = Vec::new();
    for (name, wat) in [("tiny", TINY), ("tiny-data", TINY_DATA), ("calls", CALLS)] {
        let wasm = dir.join(format!("{name}.wasm"));
        std::fs::write(&wasm, wat::parse_str(wat)?)?;
        subjects.push(subject(dir, name, &wasm, &pooled)?);
    }
    for (name, program) in [("1 MB", "sqlite"), ("CRuby", "ruby")] {
        let wasm = precast_peers::program(program);
        if wasm.exists() {
            subjects.push(subject(dir, name, &wasm, &pooled)?);
        } else {
            println!("without {name}: run tests/programs/fetch.sh {program} first");
        }
    }
    for s in &subjects {
        let size = |path: &Path| std::fs::metadata(path).map(|m| m.len() as f64);
        let (ours, theirs) = (size(&s.ours)?, size(&s.theirs)?);
        println!(
            "artifact {:<12} {ours:>12} {theirs:>12} bytes  ratio {:.2}",
            s.name,
            ours / theirs
        );
    }

    let linked: Vec<Linked> = subjects
        .iter()
        .map(|s| Linked::new(s, &pooled, &fresh))
        .collect::<Result<_>>()?;
    let mut rows = Vec::new();
    for (s, linked) in subjects.iter().zip(&linked) {
        rows.extend(open_rows(s, &pooled));
        rows.extend(instantiate_rows(s, linked));
    }
    rows.extend(call_rows(
        linked
            .iter()
            .find(|l| l.name == "calls")
            .ok_or("no subject `calls`")?,
    ));
    println!("\n{:<36} {:>32} {:>32}  ratio", "", "precast", "wasmtime");
    for row in rows.iter_mut().filter(|row| row.name.contains(filter)) {
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        (row.ours)()?;
        (row.theirs)()?;
        for _ in 0..rounds {
            ours.push((row.ours)()?);
            theirs.push((row.theirs)()?);
        }
        let ratio = ours.median() / theirs.median();
        println!("{:<36} {ours:>32.1} {theirs:>32.1}  {ratio:.3}", row.name);
    }
    Ok(())
}

fn config(pool: bool) -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config.native_unwind_info(false);
    config.memory_init_cow(true);
    if pool {
        let mut pooling = wasmtime::PoolingAllocationConfig::new();
        pooling.max_memory_size(4 << 30);
        pooling.total_memories(100);
        pooling.total_core_instances(100);
        pooling.total_tables(100);
        pooling.table_elements(100_000);
        pooling.max_unused_warm_slots(100);
        pooling.linear_memory_keep_resident(64 << 10);
        pooling.table_keep_resident(64 << 10);
        config.allocation_strategy(pooling);
    }
    config
}

fn subject(
    dir: &Path,
    name: &'static str,
    wasm: &Path,
    engine: &wasmtime::Engine,
) -> Result<Subject> {
    let (ours, theirs) = (
        dir.join(format!("{name}.precast")),
        dir.join(format!("{name}.cwasm")),
    );
    let mut compile = Command::new(precast_peers::default_precast());
    if !compile
        .arg("compile")
        .arg(wasm)
        .arg("-o")
        .arg(&ours)
        .status()?
        .success()
    {
        return Err(format!("precast does not compile {name}").into());
    }
    std::fs::write(&theirs, engine.precompile_module(&std::fs::read(wasm)?)?)?;
    Ok(Subject { name, ours, theirs })
}

fn open_ours(s: &Subject, engine: &precast_loader::Engine) -> Result<precast_loader::Module> {
    // SAFETY: our own compiler wrote it a moment ago.
    Ok(unsafe { precast_loader::Module::open(engine, &s.ours)? })
}

fn open_theirs(s: &Subject, engine: &wasmtime::Engine) -> Result<wasmtime::Module> {
    // SAFETY: its own compiler wrote it a moment ago.
    Ok(unsafe { wasmtime::Module::deserialize_file(engine, &s.theirs)? })
}

/// A module with its imports stubbed, in both.
struct Linked {
    name: &'static str,
    ours: precast_loader::InstancePre<()>,
    ours_fresh: precast_loader::InstancePre<()>,
    theirs: wasmtime::InstancePre<()>,
    theirs_fresh: wasmtime::InstancePre<()>,
}

impl Linked {
    fn new(s: &Subject, pooled: &wasmtime::Engine, fresh: &wasmtime::Engine) -> Result<Self> {
        let mut config = precast_loader::Config::new();
        config.pool_per_thread(0);
        let ours = precast_loader::Engine::default();
        Ok(Self {
            name: s.name,
            ours: link_ours(&open_ours(s, &ours)?)?,
            ours_fresh: link_ours(&open_ours(s, &precast_loader::Engine::new(&config))?)?,
            theirs: link_theirs(&open_theirs(s, pooled)?)?,
            theirs_fresh: link_theirs(&open_theirs(s, fresh)?)?,
        })
    }
}

fn link_ours(module: &precast_loader::Module) -> Result<precast_loader::InstancePre<()>> {
    let mut linker = precast_loader::Linker::new(module.engine());
    linker.allow_shadowing(true);
    linker.func_wrap("h", "f", |x: i32| x + 1)?;
    for (from, name, ty) in module.imports() {
        if let (precast_loader::ExternType::Func(ty), true) = (ty, from != "h") {
            linker.func_new(from, name, ty, |_, _, _| Ok(()))?;
        }
    }
    Ok(linker.instantiate_pre(module)?)
}

fn link_theirs(module: &wasmtime::Module) -> Result<wasmtime::InstancePre<()>> {
    let mut linker = wasmtime::Linker::new(module.engine());
    linker.func_wrap("h", "f", |x: i32| x + 1)?;
    linker.define_unknown_imports_as_traps(module)?;
    Ok(linker.instantiate_pre(module)?)
}

fn open_rows<'a>(s: &'a Subject, pooled: &'a wasmtime::Engine) -> Vec<Row<'a>> {
    let engine = precast_loader::Engine::default();
    let mut rows = vec![Row {
        name: format!("open + drop, {}", s.name),
        ours: Box::new(move || per(200, || open_ours(s, &engine).map(drop))),
        theirs: Box::new(move || per(200, || open_theirs(s, pooled).map(drop))),
    }];
    rows.push(Row {
        name: format!("open + link + instantiate, {}", s.name),
        ours: Box::new(move || {
            per(50, || {
                let pre = link_ours(&open_ours(s, &engine)?)?;
                let mut store = precast_loader::Store::new(&engine, ());
                black_box(pre.instantiate(&mut store)?);
                Ok(())
            })
        }),
        theirs: Box::new(move || {
            per(50, || {
                let pre = link_theirs(&open_theirs(s, pooled)?)?;
                let mut store = wasmtime::Store::new(pooled, ());
                black_box(pre.instantiate(&mut store)?);
                Ok(())
            })
        }),
    });
    rows
}

fn instance_ours(pre: &precast_loader::InstancePre<()>) -> Result<()> {
    let mut store = precast_loader::Store::new(pre.module().engine(), ());
    black_box(pre.instantiate(&mut store)?);
    Ok(())
}

fn instance_theirs(pre: &wasmtime::InstancePre<()>) -> Result<()> {
    let mut store = wasmtime::Store::new(pre.module().engine(), ());
    black_box(pre.instantiate(&mut store)?);
    Ok(())
}

/// Rate of two threads together, as nanoseconds for each instance.
fn on_two_threads(n: u32, f: impl Fn() -> Result<()> + Sync) -> Result<f64> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let run = || (0..n).try_for_each(|_| f().map_err(|e| e.to_string()));
        let threads = [scope.spawn(run), scope.spawn(run)];
        threads
            .into_iter()
            .try_for_each(|t| t.join().map_err(|_| "a thread panicked".to_string())?)
    })?;
    Ok(start.elapsed().as_nanos() as f64 / f64::from(2 * n))
}

fn instantiate_rows<'a>(s: &'a Subject, linked: &'a Linked) -> Vec<Row<'a>> {
    let mut rows = vec![
        Row {
            name: format!("pooled instance + drop, {}", s.name),
            ours: Box::new(|| per(10_000, || instance_ours(&linked.ours))),
            theirs: Box::new(|| per(10_000, || instance_theirs(&linked.theirs))),
        },
        Row {
            name: format!("the same on 2 threads, {}", s.name),
            ours: Box::new(|| on_two_threads(50_000, || instance_ours(&linked.ours))),
            theirs: Box::new(|| on_two_threads(50_000, || instance_theirs(&linked.theirs))),
        },
        Row {
            name: format!("fresh instance + drop, {}", s.name),
            ours: Box::new(|| per(500, || instance_ours(&linked.ours_fresh))),
            theirs: Box::new(|| per(500, || instance_theirs(&linked.theirs_fresh))),
        },
    ];
    if s.name.starts_with("tiny") {
        rows.push(Row {
            name: format!("pooled instance + call + drop, {}", s.name),
            ours: Box::new(|| {
                per(10_000, || {
                    let mut store = precast_loader::Store::new(linked.ours.module().engine(), ());
                    let instance = linked.ours.instantiate(&mut store)?;
                    let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
                    black_box(f.call(&mut store, 7)?);
                    Ok(())
                })
            }),
            theirs: Box::new(|| {
                per(10_000, || {
                    let mut store = wasmtime::Store::new(linked.theirs.module().engine(), ());
                    let instance = linked.theirs.instantiate(&mut store)?;
                    let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
                    black_box(f.call(&mut store, 7)?);
                    Ok(())
                })
            }),
        });
    }
    rows
}

fn call_rows(linked: &Linked) -> Vec<Row<'_>> {
    let row = |name: &str, export: &'static str, loops: bool| {
        let n = if loops { 1 } else { 1_000_000 };
        let (argument, scale) = if loops { (1_000_000, 1e6) } else { (7, 1.) };
        Row {
            name: name.into(),
            ours: Box::new(move || {
                let mut store = precast_loader::Store::new(linked.ours.module().engine(), ());
                let instance = linked.ours.instantiate(&mut store)?;
                let f = instance.get_typed_func::<i32, i32>(&mut store, export)?;
                let time = per(n, || {
                    black_box(f.call(&mut store, black_box(argument))?);
                    Ok(())
                });
                Ok(time? / scale)
            }),
            theirs: Box::new(move || {
                let mut store = wasmtime::Store::new(linked.theirs.module().engine(), ());
                let instance = linked.theirs.instantiate(&mut store)?;
                let f = instance.get_typed_func::<i32, i32>(&mut store, export)?;
                let time = per(n, || {
                    black_box(f.call(&mut store, black_box(argument))?);
                    Ok(())
                });
                Ok(time? / scale)
            }),
        }
    };
    vec![
        row("call host to wasm", "f", false),
        row("call wasm to host", "host", true),
        row("call_indirect, frozen table", "indirect", true),
    ]
}
