//! `precast strip`: removes the names and the address map of an artifact.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use precast_artifact::writer;

use crate::artifact::Bytes;
use crate::{Failure, files, usage_error};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifact
    file: PathBuf,
    /// Where to write the stripped artifact [default: FILE is replaced]
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Write the artifact as it was to this file: the loader and tools find names and addresses in
    /// it
    #[arg(long, value_name = "FILE")]
    split_debug: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let output = args.output.as_ref().unwrap_or(&args.file);
    if args.output.is_none() && args.file == Path::new("-") {
        let message = "standard input cannot be replaced: give --output";
        usage_error("strip", message.to_owned());
    }
    if let Some(debug) = &args.split_debug {
        let debug = ("the debug file", debug.as_path());
        files::check_outputs("strip", &[("the artifact", &args.file)], &[debug]);
        files::check_outputs("strip", &[], &[("the stripped artifact", output), debug]);
    }
    let bytes = Bytes::read_artifact(&args.file)?;
    let artifact = bytes.parse(&args.file)?;
    if !artifact.file_signatures()?.is_empty() {
        tracing::warn!(
            "the signatures of `{}` are left out, because they are not valid for a stripped \
             artifact: sign it again",
            args.file.display()
        );
    }
    let stripped = writer::strip(&artifact)
        .with_context(|| format!("cannot strip `{}`", args.file.display()))?;
    if let Some(debug) = &args.split_debug {
        files::write(debug, artifact.bytes())?;
    }
    files::write(output, &stripped)?;
    Ok(ExitCode::SUCCESS)
}

/// Strips an artifact that was just compiled.
pub(crate) fn strip(artifact: Vec<u8>) -> Result<Vec<u8>> {
    let bytes = Bytes::aligned(&artifact);
    drop(artifact);
    Ok(writer::strip(&bytes.parse(Path::new("artifact"))?)?)
}
