//! Compiles the guest when the host is built: the host contains no compiler.

use std::error::Error;
use std::path::Path;

use precast_compiler::{Compiler, Interruption, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=guest.wat");
    let wasm = wat::parse_file("guest.wat")?;
    let settings = Settings {
        target: Some(std::env::var("TARGET")?),
        // Loops check whether they should stop.
        interruption: Interruption::Epoch,
        ..Settings::default()
    };
    let compiled = Compiler::new(settings)?.compile(&wasm)?;
    let out = Path::new(&std::env::var("OUT_DIR")?).join("guest.precast");
    std::fs::write(out, compiled.artifact)?;
    Ok(())
}
