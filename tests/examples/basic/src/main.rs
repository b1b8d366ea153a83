//! The smallest host: `basic 7 9` adds two numbers in a guest.

use std::error::Error;

use precast_loader::{Engine, Instance, Module, Store, include_artifact};

fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<i32> = std::env::args()
        .skip(1)
        .map(|a| a.parse())
        .collect::<Result<_, _>>()?;
    let [a, b] = numbers[..] else {
        return Err("usage: basic A B".into());
    };

    let engine = Engine::default();
    let module = Module::embedded(&engine, include_artifact!("guest"))?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
    println!("{a} + {b} = {}", add.call(&mut store, (a, b))?);
    Ok(())
}
