//! Opens the artifact whose path is the only argument.

use std::process::ExitCode;

use precast_loader::Module;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        return ExitCode::from(2);
    };
    // SAFETY: the benchmark that starts this process has the file from precast.
    host_deliveries::run(|engine| unsafe { Module::open(engine, path) })
}
