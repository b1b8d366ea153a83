//! Has the artifact in its text, through the assembler of rustc.

use std::process::ExitCode;

use precast_loader::{Module, include_artifact};

fn main() -> ExitCode {
    host_deliveries::run(|engine| Module::embedded(engine, include_artifact!("guest")))
}
