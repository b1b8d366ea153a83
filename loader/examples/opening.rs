//! Measures the cost of each way to open an artifact: `opening FILE... [--rounds N]`.
//!
//! Every round opens and drops the file in each way, so that the load of the machine is the same
//! for all. The table has the medians and their ratios to `Module::open`.

use std::time::{Duration, Instant};

use precast_loader::{Engine, Error, Module};

type Open<'a> = &'a dyn Fn() -> Result<Module, Error>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    let mut rounds = 100;
    if let Some(at) = files.iter().position(|arg| arg == "--rounds") {
        rounds = files.remove(at + 1).parse()?;
        files.remove(at);
    }
    let engine = Engine::default();
    for file in &files {
        let bytes = std::fs::read(file)?;
        // SAFETY: the user must pass files that precast made and that nobody writes to.
        let digest = *unsafe { Module::open(&engine, file) }?.digest();
        let open = || {
            // SAFETY: as above.
            unsafe { Module::open(&engine, file) }
        };
        let open_sealed = || {
            // SAFETY: as above.
            unsafe { Module::open_sealed(&engine, file) }
        };
        let from_bytes = || {
            // SAFETY: as above.
            unsafe { Module::from_bytes(&engine, &bytes) }
        };
        let open_verified = || Module::open_verified(&engine, file, &digest);
        let from_bytes_verified = || Module::from_bytes_verified(&engine, &bytes, &digest);
        let ways: [(&str, Open<'_>); 5] = [
            ("open", &open),
            ("open_sealed", &open_sealed),
            ("open_verified", &open_verified),
            ("from_bytes", &from_bytes),
            ("from_bytes_verified", &from_bytes_verified),
        ];
        let mut times = vec![Vec::with_capacity(rounds); ways.len()];
        for _ in 0..rounds {
            for ((_, open), times) in ways.iter().zip(&mut times) {
                let start = Instant::now();
                drop(open()?);
                times.push(start.elapsed());
            }
        }
        println!("{file}, {} bytes, {rounds} rounds", bytes.len());
        let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
        for ((name, _), time) in ways.iter().zip(&medians) {
            let ratio = time.as_secs_f64() / medians[0].as_secs_f64();
            println!(
                "  {name:<20} {:>10.1} µs {ratio:>8.1}",
                time.as_secs_f64() * 1e6
            );
        }
    }
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
