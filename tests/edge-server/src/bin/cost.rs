//! Measures calls that can be suspended, and calls that cannot: `./run.sh --cost`.
//!
//! Each line is the median of rounds in which all cases take turns, in nanoseconds for one call, or
//! for one call of a host function.

#[path = "../costs.rs"]
mod costs;

use std::error::Error as StdError;
use std::time::Instant;

use precast_loader as wasm;
use precast_loader::{Engine, Module};

use costs::{CALLS, CASES, Costs};

const ROUNDS: usize = 101;

fn main() -> Result<(), Box<dyn StdError>> {
    let path = std::env::args().nth(1).ok_or("usage: cost COST.precast")?;
    let engine = Engine::default();
    // SAFETY: `precast compile` has written the file, and nobody changes it.
    let module = unsafe { Module::open(&engine, path)? };
    let mut costs = Costs::new(&engine, &module)?;
    let mut times = vec![Vec::new(); CASES.len()];
    for _ in 0..ROUNDS {
        for ((_, case), times) in CASES.iter().zip(&mut times) {
            let start = Instant::now();
            case(&mut costs)?;
            times.push(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
    }
    for ((name, _), times) in CASES.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("{:>8.1} ns  {name}", times[ROUNDS / 2]);
    }
    Ok(())
}
