//! What a hit costs in a new process: `hit DIR FILE.wasm...`, after a first run that compiles.
//!
//! Each file is fetched once, with nothing in memory that the cache would have put there; run it
//! again for the next sample.

use std::error::Error;
use std::time::{Duration, Instant};

use precast_cache::CompilationCache;
use precast_compiler::Settings;
use precast_loader::Engine;

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
        // What a hit cannot do without.
        let start = Instant::now();
        let key = CompilationCache::key(&wasm, &settings)?;
        let hashing = start.elapsed();
        let before = cache.stats();
        let start = Instant::now();
        let module = cache.get_or_compile(&Engine::default(), &wasm, &settings)?;
        let all = start.elapsed();
        let after = cache.stats();
        println!(
            "{:<44} {:>10} bytes of wasm, {:>10} of artifact: {} {:>10.1} µs, of which key {:>9.1}, rest {:>7.1}",
            path,
            wasm.len(),
            after.bytes - before.bytes,
            if after.disk_hits > before.disk_hits { "hit " } else { "miss" },
            micros(all),
            micros(hashing),
            micros(all.saturating_sub(hashing)),
        );
        drop((module, key));
    }
    Ok(())
}
