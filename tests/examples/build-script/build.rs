//! Compiles two guests when the host is built, with Rust types for what they import and export.

use precast_build::Module;

fn main() -> Result<(), precast_build::Error> {
    Module::new("shop.wat").compile()?;
    // The linker gets this one as an object file, and it has another name in the host.
    Module::new("rates.wat")
        .name("exchange")
        .as_object()
        .compile()?;
    Ok(())
}
