//! A host without a runtime, with which the other two are compared.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(u8::from(std::env::args_os().len() != 2))
}
