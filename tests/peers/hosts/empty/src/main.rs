//! A host with no runtime in it: what the other two are compared with.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(u8::from(std::env::args_os().len() != 2))
}
