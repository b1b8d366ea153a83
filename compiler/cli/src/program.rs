//! The inputs of commands that compile, run or inspect: an artifact, a WebAssembly module or its
//! text, in a file or through a pipe.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::files;

/// The input of a command.
pub(crate) enum Program {
    /// A regular file that is not a module, so it should be an artifact. It can be mapped.
    File(PathBuf),
    /// Bytes from a pipe that are not a module, so they should be an artifact.
    Bytes(Vec<u8>),
    /// A WebAssembly module in its binary format.
    Module(Wasm),
}

/// A WebAssembly module in its binary format.
pub(crate) enum Wasm {
    /// A regular file, which the cache of compiled modules may know without reading it.
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Wasm {
    pub(crate) fn read(self) -> Result<Vec<u8>> {
        match self {
            Self::File(path) => files::read(&path),
            Self::Bytes(bytes) => Ok(bytes),
        }
    }
}

impl Program {
    /// Reads a file, or standard input for `-`. Of a regular file with an artifact or with a module
    /// in the binary format, reads only the beginning.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
        if is_file {
            let start = start(path);
            if start.starts_with(b"\0asm") {
                return Ok(Self::Module(Wasm::File(path.to_owned())));
            }
            if !is_text(&start) {
                return Ok(Self::File(path.to_owned()));
            }
        }
        let bytes = files::read(path)?;
        if bytes.starts_with(b"\x7fELF") || bytes.starts_with(&precast_artifact::variants::MAGIC) {
            return Ok(Self::Bytes(bytes));
        }
        let module = to_binary(path, bytes)?;
        Ok(match module.starts_with(b"\0asm") {
            true => Self::Module(Wasm::Bytes(module)),
            // If this is not an artifact either, the loader reports what it is.
            false if is_file => Self::File(path.to_owned()),
            false => Self::Bytes(module),
        })
    }
}

/// Reads a module to compile from a file, or from standard input for `-`. Text is converted to the
/// binary format.
pub(crate) fn read_module(path: &Path) -> Result<Vec<u8>> {
    to_binary(path, files::read(path)?)
}

/// Converts a module in the text format to the binary format. Returns other bytes unchanged.
fn to_binary(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if !is_text(&bytes) {
        return Ok(bytes);
    }
    let module = wat::Parser::new().parse_bytes(Some(path), &bytes);
    Ok(module
        .with_context(|| format!("cannot parse `{}`", path.display()))?
        .into_owned())
}

/// Whether these bytes start like a module in the text format.
fn is_text(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    start.starts_with(b"(") || start.starts_with(b";;")
}

/// The beginning of a file. Empty if the file cannot be read, which is reported later.
fn start(path: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(512).read_to_end(&mut start));
    read.map(|_| start).unwrap_or_default()
}
