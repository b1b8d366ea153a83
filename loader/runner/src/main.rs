//! A runner without a program: see the library.

#[cfg(panic = "abort")]
mod no_backtrace;

use std::process::ExitCode;

fn main() -> ExitCode {
    precast_runner::program().unwrap_or_else(|| {
        precast_runner::report(
            "this is the runner of precast, without a program; `precast exe` puts one into it",
        );
        ExitCode::FAILURE
    })
}
