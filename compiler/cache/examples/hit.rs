//! Measures what a cache hit costs in a new process: `hit DIR FILE.wasm...`. The first run
//! compiles, every later run measures hits.
//!
//! The first fetch of each file is what a new process pays. The best of many fetches is the cost on
//! a quiet machine.

use std::error::Error;
use std::time::{Duration, Instant};

use precast_cache::CompilationCache;
use precast_compiler::Settings;
use precast_loader::Engine;

const SAMPLES: u64 = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let directory = args.next().ok_or("usage: hit DIR FILE.wasm...")?;
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let start = Instant::now();
    let cache = CompilationCache::open(directory)?;
    println!("open the cache {:>9.1} µs", micros(start.elapsed()));
    let settings = Settings::default();
    for path in args {
        let wasm = std::fs::read(&path)?;
        let mut samples = Vec::new();
        let bytes = cache.stats().bytes;
        for _ in 0..SAMPLES {
            let start = Instant::now();
            // The module is dropped at once, so the next fetch comes from the disk again.
            drop(cache.get_or_compile(&Engine::default(), &wasm, &settings)?);
            let all = start.elapsed();
            // Every hit has to compute the key.
            let start = Instant::now();
            CompilationCache::key(&wasm, &settings)?;
            samples.push((all, start.elapsed()));
        }
        let stats = cache.stats();
        assert!(stats.disk_hits + stats.misses >= SAMPLES);
        let best_hit = samples.iter().map(|s| s.0).min().unwrap_or_default();
        let best_key = samples.iter().map(|s| s.1).min().unwrap_or_default();
        println!(
            "{path}: {} bytes of wasm, {} of artifact: first {:.1} µs (key {:.1}), best of \
             {SAMPLES} {:.1} µs, of which key {:.1}, rest {:.1}",
            wasm.len(),
            (stats.bytes - bytes) / SAMPLES,
            micros(samples[0].0),
            micros(samples[0].1),
            micros(best_hit),
            micros(best_key),
            micros(best_hit.saturating_sub(best_key)),
        );
    }
    Ok(())
}
