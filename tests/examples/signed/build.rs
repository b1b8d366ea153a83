//! Compiles a plug-in and signs it. A real secret key would be on another machine, and `precast
//! sign` would use it there. Here a pair of keys is made for each build, and the secret key is
//! forgotten.

use std::error::Error;
use std::path::Path;

use precast_artifact::{Aligned, Artifact};
use precast_compiler::{Compiler, Settings};
use precast_signature::SecretKey;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=guest.wat");
    let wasm = wat::parse_file("guest.wat")?;
    let settings = Settings {
        target: Some(std::env::var("TARGET")?),
        ..Settings::default()
    };
    let compiled = Compiler::new(settings)?.compile(&wasm)?;
    let bytes = Aligned::new(&compiled.artifact);

    let secret = SecretKey::generate()?;
    let signed = secret.sign_file(&Artifact::parse(&bytes, None)?)?;
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("plugin.precast"), signed)?;
    std::fs::write(Path::new(&out).join("vendor.pub"), secret.public().to_pem())?;
    Ok(())
}
