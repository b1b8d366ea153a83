//! Runs a guest that is in this executable, at the start of a page: its code runs where it is, and
//! its memory starts with pages of the executable's own file. The host has no `unsafe`.

#![deny(unsafe_code)]

use std::error::Error;

use precast_loader::{Caller, Engine, Linker, Module, Store, include_artifact};

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::default();
    let before = own_mappings()?;
    let module = Module::embedded(&engine, include_artifact!("guest"))?;
    println!(
        "opening maps {} parts of the executable",
        own_mappings()? - before
    );

    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "print", print)?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    println!(
        "an instance maps {} part, its memory",
        own_mappings()? - before
    );
    let greet = instance.get_typed_func::<(), ()>(&mut store, "greet")?;
    greet.call(&mut store, ())?;
    Ok(())
}

/// A function for the guest: prints a part of its memory.
fn print(mut caller: Caller<'_, ()>, start: u32, len: u32) -> Result<(), precast_loader::Error> {
    let memory = caller
        .get_export("memory")
        .and_then(|item| item.into_memory());
    let memory = memory.ok_or_else(|| precast_loader::Error::host("there is no memory"))?;
    let bytes = memory.data(&caller).get(start as usize..).unwrap_or(&[]);
    let bytes = bytes.get(..len as usize).unwrap_or(&[]);
    print!("{}", String::from_utf8_lossy(bytes));
    Ok(())
}

/// How many mappings of its own file this process has.
fn own_mappings() -> std::io::Result<usize> {
    let own = std::env::current_exe()?;
    let own = own.to_string_lossy();
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    Ok(maps.lines().filter(|line| line.ends_with(&*own)).count())
}
