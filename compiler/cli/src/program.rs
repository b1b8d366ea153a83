//! What commands are given to compile, run or look into: an artifact, a WebAssembly module, its text;
//! in a file, or through a pipe.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::files;

/// A program, or a library of functions.
pub(crate) enum Program {
    /// What is no module, in a regular file, so that it can be mapped: an artifact, or an error.
    File(PathBuf),
    /// The same, but it came through a pipe.
    Bytes(Vec<u8>),
    /// A WebAssembly module in its binary format.
    Module(Vec<u8>),
}

impl Program {
    /// Reads what is to be read: standard input for `-`, no more than its beginning of an artifact that
    /// can be mapped.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
        if is_file && !may_be_module(path) {
            return Ok(Self::File(path.to_owned()));
        }
        let bytes = files::read(path)?;
        if bytes.starts_with(b"\x7fELF") {
            return Ok(Self::Bytes(bytes));
        }
        let module = to_binary(path, bytes)?;
        Ok(match module.starts_with(b"\0asm") {
            true => Self::Module(module),
            // Something else: the loader says what.
            false if is_file => Self::File(path.to_owned()),
            false => Self::Bytes(module),
        })
    }
}

/// The bytes of a module to compile, from a file or from standard input for `-`; text is converted.
pub(crate) fn read_module(path: &Path) -> Result<Vec<u8>> {
    to_binary(path, files::read(path)?)
}

/// The binary format of a module in the text format; anything else as it is.
fn to_binary(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if !is_text(&bytes) {
        return Ok(bytes);
    }
    let module = wat::Parser::new().parse_bytes(Some(path), &bytes);
    Ok(module
        .with_context(|| format!("cannot parse `{}`", path.display()))?
        .into_owned())
}

/// Whether this starts as a module in the text format does.
fn is_text(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    start.starts_with(b"(") || start.starts_with(b";;")
}

fn may_be_module(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(512).read_to_end(&mut start));
    read.is_ok() && (start.starts_with(b"\0asm") || is_text(&start))
}
