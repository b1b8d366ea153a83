//! What the hosts have in common: runs a module whose first call prints a line.

use std::io::Write;
use std::process::ExitCode;

use precast_loader::{Caller, Engine, Error, Linker, Module, Store};

/// Runs the module that `open` gives.
pub fn run(open: impl FnOnce(&Engine) -> Result<Module, Error>) -> ExitCode {
    let engine = Engine::default();
    let ran = open(&engine).and_then(|module| start(&engine, &module));
    ExitCode::from(u8::from(ran.is_err()))
}

fn start(engine: &Engine, module: &Module) -> Result<(), Error> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("wasi_snapshot_preview1", "fd_write", fd_write)?;
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    start.call(&mut store, ())
}

/// Writes the first part to standard output.
fn fd_write(mut caller: Caller<'_, ()>, _: u32, parts: u32, _: u32, _: u32) -> i32 {
    let memory = caller
        .get_export("memory")
        .and_then(|item| item.into_memory());
    let text = memory.and_then(|memory| {
        let data = memory.data(&caller);
        let word = |at: usize| Some(u32::from_le_bytes(*data.get(at..)?.first_chunk()?) as usize);
        let (start, len) = (word(parts as usize)?, word(parts as usize + 4)?);
        data.get(start..start.checked_add(len)?)
    });
    text.map_or(28, |text| {
        i32::from(std::io::stdout().write_all(text).is_err())
    })
}
