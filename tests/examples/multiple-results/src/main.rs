//! Functions with several results, exported by the guest and imported from the host.

use std::error::Error;

use precast_loader::{Engine, Linker, Module, Store, include_artifact};

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::default();
    let module = Module::embedded(&engine, include_artifact!("guest"))?;

    let mut linker = Linker::new(&engine);
    linker.func_wrap("multi-value/host", "get_age", || (73_i64, 0_i32))?;

    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    for (name, origin) in [("get_age", "wasm"), ("call_host_get_age", "imported_host")] {
        let get_age = instance.get_typed_func::<(), (i64, i32)>(&mut store, name)?;
        let (age, errno) = get_age.call(&mut store, ())?;
        println!("multi-value/{origin}: age={age} errno={errno}");
    }
    Ok(())
}
