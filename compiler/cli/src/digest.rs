//! `precast digest`: prints the digests that `Module::open_verified` takes.

use std::path::PathBuf;
use std::process::ExitCode;

use precast_artifact::reader::hex;

use crate::artifact::Bytes;
use crate::{Failure, files};

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
        let artifact = bytes.parse_whole(file)?;
        let digest = hex(&artifact.header().digest);
        text += &format!("{digest}  {}\n", files::shown_path(file));
    }
    files::print(text)?;
    Ok(ExitCode::SUCCESS)
}
