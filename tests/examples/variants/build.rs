//! Compiles the guest for several CPUs of two architectures, and puts all of that into one file.

use std::error::Error;
use std::path::Path;

use precast_artifact::writer::join;
use precast_artifact::{Aligned, Artifact};
use precast_compiler::{Compiler, Settings};

const VARIANTS: [(&str, &str); 4] = [
    ("x86_64-unknown-linux-gnu", "baseline"),
    ("x86_64-unknown-linux-gnu", "x86-64-v2"),
    ("x86_64-unknown-linux-gnu", "x86-64-v3"),
    ("aarch64-unknown-linux-gnu", "baseline"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=guest.wat");
    let wasm = wat::parse_file("guest.wat")?;
    let mut artifacts = Vec::new();
    for (target, cpu) in VARIANTS {
        let settings = Settings {
            target: Some(target.to_owned()),
            cpu: cpu.parse()?,
            ..Settings::default()
        };
        let bytes = Compiler::new(settings)?.compile(&wasm)?.artifact;
        artifacts.push(Aligned::new(&bytes));
    }
    let views = artifacts
        .iter()
        .map(|bytes| Ok::<_, precast_artifact::Error>((Artifact::parse(bytes, None)?, &**bytes)));
    let file = join(&views.collect::<Result<Vec<_>, _>>()?)?;
    let out = Path::new(&std::env::var("OUT_DIR")?).join("guest.variants");
    std::fs::write(out, file)?;
    Ok(())
}
