//! `precast join`: one file for several CPUs and targets.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use precast_artifact::reader::hex;
use precast_artifact::shown_lines;
use precast_artifact::variants::{self, Piece, VariantRecord};
use precast_artifact::writer;
use serde_json::{Value, json};

use crate::artifact::{Bytes, Part};
use crate::{Failure, files};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifacts, with their signatures
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where to write the file; `-` for standard output
    #[arg(short, long)]
    output: PathBuf,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let inputs = args.files.iter();
    let inputs: Vec<_> = inputs
        .map(|path| ("the artifact", path.as_path()))
        .collect();
    files::check_outputs("join", &inputs, &[("the file of variants", &args.output)]);
    let read = |path: &PathBuf| Bytes::read_artifact(path);
    let all = args.files.iter().map(read).collect::<Result<Vec<_>>>()?;
    let parsed = all
        .iter()
        .zip(&args.files)
        .map(|(bytes, path)| Ok((bytes.parse_whole(path)?, bytes.all())))
        .collect::<Result<Vec<_>>>()?;
    files::write(&args.output, &writer::join(&parsed)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Joins artifacts that were just compiled.
pub(crate) fn join(artifacts: &[Vec<u8>]) -> Result<Vec<u8>> {
    let all: Vec<Bytes> = artifacts
        .iter()
        .map(|bytes| Bytes::aligned(bytes))
        .collect();
    let parsed = all
        .iter()
        .map(|bytes| Ok((bytes.parse(Path::new("artifact"))?, bytes.all())))
        .collect::<Result<Vec<_>>>()?;
    Ok(writer::join(&parsed)?)
}

/// The ids of the keys that the signatures of a variant name.
fn keys(file: &Bytes, record: &VariantRecord, path: &Path) -> Result<Vec<String>> {
    let part = Part::of_variant(file, record, path)?;
    let signatures = part.artifact()?.file_signatures()?;
    Ok(signatures.iter().map(|s| hex(&s.key)).collect())
}

/// What `precast inspect` prints for a file of variants: the target of each variant, its length,
/// the number of bytes that no variant before it has, and the keys that its signatures name. `None`
/// for any other file.
pub(crate) fn inspect(file: &Bytes, path: &Path, as_json: bool) -> Result<Option<String>> {
    let bytes = file.all();
    let Some(records) = variants::parse(bytes, bytes.len() as u64)? else {
        return Ok(None);
    };
    let mut seen: Vec<Piece> = Vec::new();
    let mut text = format!("variants     {}, {} bytes\n", records.len(), bytes.len());
    let mut list = Vec::new();
    for record in &records {
        // A piece may be a part of another variant's piece.
        let is_new = |piece: &&Piece| {
            !seen.iter().any(|other| {
                other.start <= piece.start && piece.start + piece.len <= other.start + other.len
            })
        };
        let added: u64 = record.pieces().iter().filter(is_new).map(|p| p.len).sum();
        seen.extend(record.pieces());
        let len = record.len();
        let mut about = json!({ "for": record.describe(), "size": len, "added": added });
        text += &format!("  {}: {len} bytes, adds {added}\n", record.describe());
        match keys(file, record, path) {
            Ok(keys) => {
                about["signatures"] = keys
                    .iter()
                    .map(|id| json!({ "key": id }))
                    .collect::<Value>();
                for id in keys {
                    text += &format!("    signature of key {id}, not checked\n");
                }
            }
            // The other variants are shown all the same.
            Err(error) => {
                about["error"] = format!("{error:#}").into();
                text += &format!("    {}\n", shown_lines(&format!("{error:#}")));
            }
        }
        list.push(about);
    }
    if as_json {
        text = crate::json::text(&json!({ "file_size": bytes.len(), "variants": list }));
    }
    Ok(Some(text))
}
