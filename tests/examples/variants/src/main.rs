//! Runs the best variant for this machine of a guest that was compiled for several CPUs.

use std::error::Error;

use precast_loader::{Engine, Instance, Module, Store};

/// All variants, in one file.
static GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.variants"));

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::default();
    // SAFETY: the build script wrote it, with the compiler of this very version.
    let module = unsafe { Module::from_bytes(&engine, GUEST)? };
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let squares = instance.get_typed_func::<i32, i32>(&mut store, "squares")?;
    println!(
        "the sum of the squares below 1000 is {}",
        squares.call(&mut store, 1000)?
    );
    Ok(())
}
