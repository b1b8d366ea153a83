//! `precast digest`: prints the digests that `Module::open_verified` takes.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use precast_artifact::reader::hex;

use crate::Failure;
use crate::artifact::Bytes;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifacts; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let mut text = String::new();
    for file in &args.files {
        let bytes = Bytes::read_artifact(file)?;
        let artifact = bytes.parse(file)?;
        artifact
            .verify_digest(None)
            .with_context(|| format!("cannot use `{}`", file.display()))?;
        text += &format!("{}  {}\n", hex(&artifact.header().digest), file.display());
    }
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
