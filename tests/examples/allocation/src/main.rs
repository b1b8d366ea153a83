//! Strings in both directions, in memory of the guest's allocator.

use std::error::Error;

use precast_loader::runtime::{Caller, HostModule, InstanceConfig, Runtime};
use precast_loader::{
    Engine, Error as LoaderError, Memory, Module, StoreContext, include_artifact,
};

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("usage: allocation NAME")?;
    let engine = Engine::default();
    let runtime: Runtime = Runtime::new(&engine);
    let module = Module::embedded(&engine, include_artifact!("guest"))?;

    let log = |mut caller: Caller<'_>, ptr: u32, len: u32| -> Result<(), LoaderError> {
        let memory = caller
            .get_export("memory")
            .and_then(|item| item.into_memory());
        let memory = memory.ok_or_else(|| LoaderError::host("the guest exports no memory"))?;
        println!("{}", text(memory, &caller, ptr, len)?);
        Ok(())
    };
    HostModule::builder("env")
        .func("log", log)
        .instantiate(&runtime)?;

    let guest = runtime.instantiate(&module, InstanceConfig::new())?;
    let greeting = guest.with(|mut store, guest| {
        let memory = guest.get_memory(&mut store, "memory");
        let memory = memory.ok_or_else(|| LoaderError::host("the guest exports no memory"))?;
        let allocate = guest.get_typed_func::<u32, u32>(&mut store, "allocate")?;
        let deallocate = guest.get_typed_func::<(u32, u32), ()>(&mut store, "deallocate")?;
        let greet = guest.get_typed_func::<(u32, u32), ()>(&mut store, "greet")?;
        let greeting = guest.get_typed_func::<(u32, u32), u64>(&mut store, "greeting")?;

        let len = u32::try_from(name.len()).map_err(LoaderError::host)?;
        let ptr = allocate.call(&mut store, len)?;
        memory.write(&mut store, ptr as usize, name.as_bytes())?;
        greet.call(&mut store, (ptr, len))?;
        let packed = greeting.call(&mut store, (ptr, len))?;
        let (at, size) = ((packed >> 32) as u32, packed as u32);
        let greeting = text(memory, &store, at, size)?;
        deallocate.call(&mut store, (at, size))?;
        deallocate.call(&mut store, (ptr, len))?;
        Ok(greeting)
    })?;
    println!("host >> {greeting}");
    Ok(())
}

/// Returns a copy of a text in the guest's memory. The memory may change when the guest runs again.
fn text<'a, T: 'static>(
    memory: Memory,
    store: impl Into<StoreContext<'a, T>>,
    ptr: u32,
    len: u32,
) -> Result<String, LoaderError> {
    let start = ptr as usize;
    let bytes = memory.data(store).get(start..start + len as usize);
    let bytes = bytes.ok_or_else(|| LoaderError::host("the text is outside of the memory"))?;
    String::from_utf8(bytes.to_vec()).map_err(LoaderError::host)
}
