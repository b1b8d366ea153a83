//! Compiles the guest when the host is built, so that the host contains no compiler.
//!
//! This toolchain compiles the guest from Rust to WebAssembly if it has the target (`rustup target
//! add wasm32-unknown-unknown`). Otherwise the build uses `guest.wasm`, which `guest.sh` has made
//! from the same source.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use precast_compiler::{Compiler, Settings};

const TARGET: &str = "wasm32-unknown-unknown";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=guest.rs");
    println!("cargo::rerun-if-changed=guest.wasm");
    let out = std::env::var("OUT_DIR")?;
    let settings = Settings {
        target: Some(std::env::var("TARGET")?),
        ..Settings::default()
    };
    let compiled = Compiler::new(settings)?.compile(&guest(Path::new(&out))?)?;
    std::fs::write(Path::new(&out).join("guest.precast"), compiled.artifact)?;
    Ok(())
}

/// The module of the guest.
fn guest(out: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let rustc = || Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let libraries = rustc()
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()?;
    let libraries = String::from_utf8(libraries.stdout)?;
    if !Path::new(libraries.trim()).exists() {
        return Ok(std::fs::read("guest.wasm")?);
    }
    let wasm = out.join("guest.wasm");
    let status = rustc()
        .args(["--target", TARGET, "--edition", "2021"])
        .args(["--crate-type", "cdylib", "-Copt-level=s", "-Cpanic=abort"])
        .args(["-Cstrip=symbols", "guest.rs", "-o"])
        .arg(&wasm)
        .status()?;
    if !status.success() {
        return Err(format!("rustc cannot compile guest.rs: {status}").into());
    }
    Ok(std::fs::read(wasm)?)
}
