//! Compiles the guest when the host is built: the host contains no compiler.

use precast_build::{Interruption, Module, Settings};

fn main() -> Result<(), precast_build::Error> {
    let settings = Settings {
        // Loops check whether they should stop.
        interruption: Interruption::Epoch,
        ..Settings::default()
    };
    Module::new("guest.wat").settings(settings).compile()?;
    Ok(())
}
