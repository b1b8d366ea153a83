//! Compiles the guest when the host is built, so that the host contains no compiler.
//!
//! This toolchain compiles the guest from Rust to WebAssembly if it has the target (`rustup target
//! add wasm32-unknown-unknown`). Otherwise the build uses `guest.wasm`, which `guest.sh` has made
//! from the same source.

use precast_build::{Error, Module};

fn main() -> Result<(), Error> {
    let guest = Module::from_rust("guest.rs").edition("2021");
    let guest = guest.wasm_target("wasm32-unknown-unknown");
    let guest = match guest.is_target_installed() {
        true => guest,
        false => Module::new("guest.wasm"),
    };
    guest.compile()?;
    Ok(())
}
