//! The guest as it is included, and as an object file.

use precast_build::Module;

fn main() -> Result<(), precast_build::Error> {
    Module::new("guest.wat").compile()?;
    Module::new("guest.wat")
        .name("object")
        .as_object()
        .compile()?;
    Ok(())
}
