//! Opens the artifact whose path is the only argument, and calls its function `f`. The exit code is
//! 0 if `f(41)` is 42.

use std::ffi::OsStr;
use std::process::ExitCode;

use precast_loader::{Engine, Error, Linker, Module, Store};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        return ExitCode::from(2);
    };
    match run(&path) {
        Ok(42) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn run(path: &OsStr) -> Result<i32, Error> {
    let engine = Engine::default();
    // SAFETY: the benchmark that starts this process made the file with precast.
    let module = unsafe { Module::open(&engine, path)? };
    let mut store = Store::new(&engine, ());
    let instance = Linker::new(&engine).instantiate(&mut store, &module)?;
    let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
    f.call(&mut store, 41)
}
