//! The server of `tests/edge-server` on Wasmtime: `edge-wasmtime GUEST.wat [--port PORT]`.
//!
//! Host functions, stores and limits are the same lines, compiled with another crate. The engine
//! has a pool with the settings that are best for this load, and one slot for each request that can
//! be on its way.

#[path = "../../../edge-server/src/guests.rs"]
mod guests;

use std::error::Error as StdError;

use edge_server::PAGES;
use wasmtime as wasm;
use wasmtime::{Config, Enabled, Engine, Error, Module, PoolingAllocationConfig, Store};

/// How many guests there can be at the same time.
const GUESTS: u32 = 6000;

/// How many bytes of each memory the pool keeps resident.
const KEPT: usize = 64 << 10;

/// Guests let others have a turn at the next tick.
fn set_deadline<T>(store: &mut Store<T>) -> Result<(), Error> {
    store.set_epoch_deadline(1);
    Ok(())
}

fn main() -> Result<(), Box<dyn StdError>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (guest, port) = match args[..] {
        [guest] => (guest, 8080),
        [guest, "--port", port] => (guest, port.parse()?),
        _ => return Err("usage: edge-wasmtime GUEST.wat [--port PORT]".into()),
    };

    let mut pooling = PoolingAllocationConfig::new();
    pooling.total_core_instances(GUESTS);
    pooling.total_memories(GUESTS);
    pooling.total_tables(GUESTS);
    pooling.total_stacks(GUESTS);
    pooling.max_memory_size(PAGES << 16);
    pooling.max_unused_warm_slots(GUESTS);
    pooling.linear_memory_keep_resident(KEPT);
    pooling.pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.native_unwind_info(false);
    config.allocation_strategy(pooling);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, wat::parse_file(guest)?)?;
    let guests = guests::OfRuntime::new(&engine, &module)?;
    edge_server::run(port, guests, None, move || engine.increment_epoch())?;
    Ok(())
}
