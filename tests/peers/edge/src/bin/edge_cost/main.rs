//! Measures the cost of calls that can be suspended, on precast and on Wasmtime: `edge-cost
//! COST.precast COST.wat [--rounds N]`.
//!
//! Both take turns in one process, with the same code. Wasmtime has a pool, also of stacks. Times
//! are of one call, or of one call of a host function.

mod ours;
mod theirs;

use std::time::{Duration, Instant};

use precast_peers::Result;
use precast_peers::table::{Row, Table};
use wasmtime::{Config, Enabled, PoolingAllocationConfig};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (artifact, text, rounds) = match args[..] {
        [artifact, text] => (artifact, text, 101),
        [artifact, text, "--rounds", rounds] => (artifact, text, rounds.parse()?),
        _ => return Err("usage: edge-cost COST.precast COST.wat [--rounds N]".into()),
    };
    let engine = precast_loader::Engine::default();
    // SAFETY: `precast compile` has written the file, and nobody changes it.
    let module = unsafe { precast_loader::Module::open(&engine, artifact)? };
    let mut ours = ours::costs::Costs::new(&engine, &module)?;

    let mut pooling = PoolingAllocationConfig::new();
    pooling.total_core_instances(16);
    pooling.total_memories(16);
    pooling.total_tables(16);
    pooling.total_stacks(16);
    pooling.linear_memory_keep_resident(64 << 10);
    pooling.pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config.native_unwind_info(false);
    config.allocation_strategy(pooling);
    let engine = wasmtime::Engine::new(&config)?;
    let module = wasmtime::Module::new(&engine, wat::parse_file(text)?)?;
    let mut theirs = theirs::costs::Costs::new(&engine, &module)?;

    println!(
        "{}, {rounds} rounds; min / median / max",
        precast_peers::machine()
    );
    let mut table = Table::new(&["precast", "wasmtime"], rounds, String::new(), false);
    table.head();
    for (ours_case, theirs_case) in ours::costs::CASES.iter().zip(&theirs::costs::CASES) {
        let row = Row::new(ours_case.0)
            .with(0, "", |n| timed(n, || (ours_case.1)(&mut ours)))
            .with(1, "", |n| timed(n, || (theirs_case.1)(&mut theirs)));
        table.measure(row)?;
    }
    Ok(())
}

/// The time of `n` calls. A case makes many, so that samples are of whole cases.
fn timed(n: u32, mut case: impl FnMut() -> Result<()>) -> Result<Duration> {
    let cases = n.div_ceil(ours::costs::CALLS);
    let start = Instant::now();
    (0..cases).try_for_each(|_| case())?;
    let time = start.elapsed();
    Ok(time.mul_f64(f64::from(n) / f64::from(cases * ours::costs::CALLS)))
}
