//! `precast digest`: prints the digests that `Module::open_verified` takes. A file of variants has
//! one for each variant.

use std::path::PathBuf;
use std::process::ExitCode;

use precast_artifact::reader::hex;

use crate::artifact::Part;
use crate::{Failure, files, of_each};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifacts; `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    of_each(&args.files, |file| {
        let mut text = String::new();
        Part::each(file, |part| {
            let artifact = part.bytes.parse_whole(&part.path)?;
            let digest = hex(&artifact.header().digest);
            text += &format!("{digest}  {}\n", files::shown_path(&part.path));
            Ok(())
        })?;
        Ok(text)
    })
}
