//! Two runtimes share a compilation cache and nothing else. Each has its own host module `env` with
//! its own state, and its instances may have the same names as those of the other.

use std::error::Error;
use std::sync::atomic::{AtomicI32, Ordering};

use precast_cache::CompilationCache;
use precast_compiler::Settings;
use precast_loader::Engine;
use precast_loader::runtime::{HostModule, Instance, InstanceConfig, Runtime};

static GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.wasm"));

fn main() -> Result<(), Box<dyn Error>> {
    let cache = CompilationCache::in_memory();
    let (_r1, m1) = new_runtime(&cache)?;
    let (_r2, m2) = new_runtime(&cache)?;
    for _ in 0..2 {
        for (name, instance) in [("m1", &m1), ("m2", &m2)] {
            println!(
                "{name} counter={}",
                instance.call_typed::<(), i32>("count", ())?
            );
        }
    }
    let stats = cache.stats();
    if (stats.compilations, stats.hits()) != (1, 1) {
        return Err(format!("compiled more than once: {stats:?}").into());
    }
    Ok(())
}

/// Makes a runtime whose `env` counts from zero, and an instance of the guest in it.
fn new_runtime(cache: &CompilationCache) -> Result<(Runtime, Instance), Box<dyn Error>> {
    let engine = Engine::default();
    let module = cache.get_or_compile(&engine, GUEST, &Settings::default())?;
    let runtime = Runtime::new(&engine);
    let counter = AtomicI32::new(0);
    HostModule::builder("env")
        .func("next_i32", move || counter.fetch_add(1, Ordering::Relaxed))
        .instantiate(&runtime)?;
    let instance = runtime.instantiate(&module, InstanceConfig::new().with_name("counter"))?;
    Ok((runtime, instance))
}
