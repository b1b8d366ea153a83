//! `precast digest`: prints the digests that `Module::open_verified` takes.

use std::path::PathBuf;
use std::process::ExitCode;

use precast_artifact::reader::hex;

use crate::artifact::Bytes;
use crate::{Failure, files, of_each};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifacts; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    of_each(&args.files, |file| {
        let bytes = Bytes::read_artifact(file)?;
        let artifact = bytes.parse_whole(file)?;
        let digest = hex(&artifact.header().digest);
        Ok(format!("{digest}  {}\n", files::shown_path(file)))
    })
}
