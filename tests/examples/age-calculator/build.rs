//! Compiles the guest when the host is built: the host contains no compiler.

fn main() -> Result<(), precast_build::Error> {
    precast_build::Module::new("guest.wat").compile()?;
    Ok(())
}
