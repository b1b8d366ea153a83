//! Converts the guest from the text format to a module. The host compiles it with a cache.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=guest.wat");
    let out = Path::new(&std::env::var("OUT_DIR")?).join("guest.wasm");
    std::fs::write(out, wat::parse_file("guest.wat")?)?;
    Ok(())
}
