//! Runs a guest whose code the linker put into this executable: no file is opened, no code is
//! mapped and no page becomes executable when the program runs.

use std::error::Error;

use precast_loader::{Caller, Engine, Extern, Linker, Module, StaticArtifact, Store, Trap};

unsafe extern "C" {
    /// What `build.rs` made of `guest.wat`.
    static GUEST: StaticArtifact;
}

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::default();
    // SAFETY: the build script made the object with precast, and it is in this executable's text.
    let module = unsafe { Module::from_static(&engine, &raw const GUEST)? };

    let mut linker = Linker::new(&engine);
    linker.func_wrap(
        "host",
        "print",
        |mut caller: Caller<'_, ()>, start: u32, len: u32| -> Result<(), precast_loader::Error> {
            let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                return Err(precast_loader::Error::host("the guest exports no memory"));
            };
            let bytes = memory.data(&caller).get(start as usize..).unwrap_or(&[]);
            let bytes = bytes.get(..len as usize).unwrap_or(&[]);
            print!("{}", String::from_utf8_lossy(bytes));
            Ok(())
        },
    )?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    let greet = instance.get_typed_func::<(), ()>(&mut store, "greet")?;
    greet.call(&mut store, ())?;

    let divide = instance.get_typed_func::<(i32, i32), i32>(&mut store, "divide")?;
    println!("84 / 2 = {}", divide.call(&mut store, (84, 2))?);
    // A trap of this code is found like that of any other.
    let error = divide
        .call(&mut store, (1, 0))
        .expect_err("no number is 1 / 0");
    let trap = error.trap();
    assert_eq!(trap, Some(Trap::IntegerDivisionByZero));
    println!("1 / 0 traps");
    Ok(())
}
