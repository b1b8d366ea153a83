//! Makes an executable of a program without a linker, as `precast exe greet.wat` does: the runner's
//! file with the artifact in it. The executable needs nothing else, and no memory for code is made
//! when it runs.
//!
//! `executable RUNNER OUTPUT`, where the runner is a `precast-runner`.

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use precast_artifact::executable::Options;

static GREET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/greet.precast"));

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, runner, output] = &args[..] else {
        return Err("usage: executable RUNNER OUTPUT".into());
    };
    let options = Options {
        argv0: Some("greet".to_owned()),
        ..Options::default()
    };
    let bytes = precast_object::executable(&fs::read(runner)?, GREET, &options)?;
    fs::write(output, bytes)?;
    fs::set_permissions(output, Permissions::from_mode(0o755))?;
    println!("wrote a program that greets");
    Ok(())
}
