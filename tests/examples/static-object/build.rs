//! Compiles the guest to an object file, which becomes a part of the executable.

use std::error::Error;
use std::path::Path;

use precast_compiler::{Compiler, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=guest.wat");
    let wasm = wat::parse_file("guest.wat")?;
    let settings = Settings {
        target: Some(std::env::var("TARGET")?),
        ..Settings::default()
    };
    let compiled = Compiler::new(settings)?.compile(&wasm)?;
    let object = precast_object::object_file(&compiled.artifact, "GUEST")?;
    let out = Path::new(&std::env::var("OUT_DIR")?).join("guest.o");
    std::fs::write(&out, object)?;
    println!("cargo::rustc-link-arg-bins={}", out.display());
    Ok(())
}
