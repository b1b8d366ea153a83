//! Opens the artifact whose path is the only argument, and calls its function `f`. The exit code is
//! 0 if `f(41)` is 42.
//!
//! It uses neither a linker nor a pool nor unwind tables, because that starts fastest.

use std::ffi::OsStr;
use std::process::ExitCode;

use wasmtime::{Config, Engine, Instance, Module, Result, Store};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        return ExitCode::from(2);
    };
    match run(&path) {
        Ok(42) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn run(path: &OsStr) -> Result<i32> {
    let mut config = Config::new();
    config.native_unwind_info(false);
    let engine = Engine::new(&config)?;
    // SAFETY: the benchmark that starts this process made the file with Wasmtime.
    let module = unsafe { Module::deserialize_file(&engine, path)? };
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
    f.call(&mut store, 41)
}
