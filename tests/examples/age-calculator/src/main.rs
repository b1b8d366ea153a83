//! A host module `env`, defined in Rust, for a guest that the build script has compiled.
//!
//! `CURRENT_YEAR=2021 age-calculator 2000` prints the age twice: once in the host, and once in the
//! guest through `env.log_i32`.

use std::error::Error;

use precast_loader::{Engine, Linker, Module, Store, include_artifact};

fn main() -> Result<(), Box<dyn Error>> {
    let year_born: i32 = std::env::args()
        .nth(1)
        .ok_or("usage: age-calculator YEAR")?
        .parse()?;
    let current_year: i32 = std::env::var("CURRENT_YEAR")?.parse()?;

    let engine = Engine::default();
    let module = Module::embedded(&engine, include_artifact!("guest"))?;

    let mut linker = Linker::new(&engine);
    linker.func_wrap("env", "log_i32", |value: i32| {
        println!("log_i32 >> {value}")
    })?;
    linker.func_wrap("env", "current_year", move || current_year)?;

    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    let get_age = instance.get_typed_func::<i32, i32>(&mut store, "get_age")?;
    println!("println >> {}", get_age.call(&mut store, year_born)?);
    let log_age = instance.get_typed_func::<i32, ()>(&mut store, "log_age")?;
    log_age.call(&mut store, year_born)?;
    Ok(())
}
