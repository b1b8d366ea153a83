//! Compiles the guest. The artifact is put into a runner later, by `src/main.rs`.

fn main() -> Result<(), precast_build::Error> {
    precast_build::Module::new("greet.wat").compile()?;
    Ok(())
}
