//! Compiles the guest when the host is built, and puts it into the executable.

fn main() -> Result<(), precast_build::Error> {
    precast_build::Module::new("guest.wat").compile()?;
    Ok(())
}
