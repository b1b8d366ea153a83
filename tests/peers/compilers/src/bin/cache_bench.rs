//! Benchmark of a hit in a cache on disk, in a new process each time: `cache-bench [--runs N]`.
//!
//! For a trivial module, SQLite and CRuby, a process reads the module, makes an engine and a cache
//! on a warm directory, and gets the module. precast uses [`CompilationCache::get_or_compile`], and
//! Wasmtime uses `Module::new` with its own cache ([`Config::cache`]). The process measures the
//! time from after the module was read until the compiled module is available. The output also
//! shows how much of that time precast takes to hash the module for the key, and how long the whole
//! process takes. The benchmark checks that every measured run was a hit.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use precast_cache::CompilationCache;
use precast_compiler::Settings;
use precast_peers::Result;
use precast_peers::stats::Samples;
use precast_peers::subjects;
use wasmtime::{Cache, CacheConfig, Config};

/// The first argument of the processes that are measured.
const CHILD: &str = "hit-the-cache-of";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        [CHILD, side, dir, wasm] => child(side, dir.as_ref(), wasm.as_ref()),
        [] => bench(30),
        ["--runs", runs] => runs.parse().map_err(Into::into).and_then(bench),
        _ => Err("usage: cache-bench [--runs N]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Gets one module. Prints the nanoseconds for it, the nanoseconds for its key alone, and 1 if it
/// was a hit.
fn child(side: &str, dir: &Path, wasm: &Path) -> Result<()> {
    let wasm = std::fs::read(wasm)?;
    let start = Instant::now();
    if side == "precast" {
        let cache = CompilationCache::open(dir)?;
        let engine = precast_loader::Engine::default();
        let settings = Settings::default();
        let module = cache.get_or_compile(&engine, &wasm, &settings)?;
        let time = start.elapsed();
        let start = Instant::now();
        CompilationCache::key(&wasm, &settings)?;
        let key = start.elapsed();
        let hits = u8::from(cache.stats().disk_hits == 1);
        println!("{} {} {hits}", time.as_nanos(), key.as_nanos());
        drop(module);
    } else {
        let mut config = CacheConfig::new();
        config.with_directory(dir);
        let cache = Cache::new(config)?;
        let mut config = Config::new();
        config.native_unwind_info(false);
        config.cache(Some(cache.clone()));
        let engine = wasmtime::Engine::new(&config)?;
        let module = wasmtime::Module::new(&engine, &wasm)?;
        let time = start.elapsed();
        println!("{} 0 {}", time.as_nanos(), cache.cache_hits());
        drop(module);
    }
    Ok(())
}

/// Times in microseconds.
#[derive(Default)]
struct Side {
    got: Samples,
    key: Samples,
    process: Samples,
}

fn run(side: &str, dir: &Path, wasm: &Path) -> Result<([f64; 3], bool)> {
    let start = Instant::now();
    let output = Command::new(std::env::current_exe()?)
        .args([CHILD, side])
        .arg(dir)
        .arg(wasm)
        .stderr(Stdio::inherit())
        .output()?;
    let process = start.elapsed().as_secs_f64() * 1e6;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    let &[got, key, hits] = numbers.as_slice() else {
        return Err(format!("{side} ended with {}", output.status).into());
    };
    Ok(([got / 1e3, key / 1e3, process], hits == 1.0))
}

fn bench(runs: usize) -> Result<()> {
    println!(
        "{}, {runs} runs each; us, min / median / max",
        precast_peers::machine()
    );
    println!(
        "{:<10} {:>28} {:>28} {:>8} {:>28} {:>15}",
        "", "precast", "wasmtime", "ratio", "of that precast's key", "process, ratio"
    );
    let scratch = std::env::temp_dir().join(format!("precast-cache-bench-{}", std::process::id()));
    let result = subjects::programs()
        .iter()
        .filter(|subject| subject.name != "tiny-data")
        .try_for_each(|subject| {
            if !subject.is_there() {
                println!(
                    "without {}: tests/programs/fetch.sh was not run for it",
                    subject.name
                );
                return Ok(());
            }
            let wasm = match subject.source {
                subjects::Source::Program(program) => precast_peers::program(program),
                subjects::Source::Text(_) => subject.artifact("wasm")?,
            };
            compare(&subject.name, &wasm, &scratch, runs)
        });
    std::fs::remove_dir_all(&scratch)?;
    result
}

fn compare(name: &str, wasm: &Path, scratch: &Path, runs: usize) -> Result<()> {
    let names = ["precast", "wasmtime"];
    let dirs: [PathBuf; 2] = names.map(|side| scratch.join(side));
    for (side, dir) in names.iter().zip(&dirs) {
        std::fs::create_dir_all(dir)?;
        // The first run fills the cache. During the second, Wasmtime's worker thread may still
        // clean up.
        run(side, dir, wasm)?;
        run(side, dir, wasm)?;
    }
    let mut sides = [Side::default(), Side::default()];
    for round in 0..runs {
        for turn in 0..2 {
            let i = (round + turn) % 2;
            let ([got, key, process], hit) = run(names[i], &dirs[i], wasm)?;
            if !hit {
                return Err(format!("{} missed its cache for {name}", names[i]).into());
            }
            sides[i].got.push(got);
            sides[i].key.push(key);
            sides[i].process.push(process);
        }
    }
    let [ours, theirs] = &sides;
    println!(
        "{name:<10} {:>28.0} {:>28.0} {:>8.3} {:>28.0} {:>15.3}",
        ours.got,
        theirs.got,
        ours.got.median() / theirs.got.median(),
        ours.key,
        ours.process.median() / theirs.process.median(),
    );
    Ok(())
}
