//! Opens a file with variants for several CPUs, and shows which of them this CPU was given: the
//! digest of the variant and what its code computes. `tests/aarch64.sh` runs it on several CPUs.

use std::error::Error;

use precast_loader::{Engine, Instance, Linker, Module, Store};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: levels FILE")?;
    let engine = Engine::default();
    // SAFETY: the caller has compiled the file.
    let module = match unsafe { Module::open(&engine, path) } {
        Ok(module) => module,
        Err(error) => {
            println!("error: {error}");
            return Ok(());
        }
    };
    let mut store = Store::new(&engine, ());
    let instance: Instance = Linker::new(&engine).instantiate(&mut store, &module)?;
    let sum = instance.get_typed_func::<i32, i32>(&mut store, "sum")?;
    let digest = module.digest().map(|byte| format!("{byte:02x}")).concat();
    println!("{digest} {}", sum.call(&mut store, 1000)?);
    Ok(())
}
