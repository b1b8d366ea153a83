//! Traps as `precast run` reports them: names of Rust functions without mangling, and source lines
//! if the program has DWARF.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use precast_artifact::metadata::Metadata;
use precast_artifact::{Aligned, Artifact};
use precast_loader::{Error, Module};
use precast_symbols::{Symbols, describe};
use rustix::fs::OFlags;

/// The text of a trap or of an exception. The DWARF is that of a debug file, or what the artifact
/// keeps, or that of `source`, the WebAssembly module that was compiled.
pub(crate) fn text(
    error: &Error,
    module: &Module,
    debug_file: Option<Symbols>,
    source: Option<&Path>,
) -> String {
    let plain = error.to_string();
    let Some(trace) = error.backtrace().filter(|trace| !trace.frames().is_empty()) else {
        return plain;
    };
    // The error displays the backtrace at its end.
    let Some(reason) = plain.strip_suffix(&trace.to_string()) else {
        return plain;
    };
    let symbols = debug_file
        .or_else(|| Symbols::of_loaded(module).ok())
        .or_else(|| Symbols::of_module(&read_source(module, source?)?).ok());
    let mut text = reason.to_owned();
    if let Some(fault) = error.memory_fault() {
        text += &format!("\n{fault}");
    }
    format!("{text}\n{}", describe(trace, |_| symbols.as_ref()))
}

/// The lines of the debug file that the module has just loaded, taken before a guest runs that may
/// write to the file. What has no DWARF, or cannot be read, has no lines.
pub(crate) fn lines_of_debug_file(module: &Module, path: &Path) -> Option<Symbols> {
    let name = format!("{}.debug", module.build_id());
    let path = if path.is_dir() {
        &path.join(name)
    } else {
        path
    };
    Symbols::of_artifact(&fs::read(path).ok()?).ok()
}

/// The WebAssembly module that the artifact was compiled from, if it is still in its file.
fn read_source(module: &Module, path: &Path) -> Option<Vec<u8>> {
    let artifact = Aligned::new(&module.serialize().ok()?);
    let artifact = Artifact::parse(&artifact, None).ok()?;
    let about = Metadata::decode(artifact.section(artifact.header().metadata)).ok()?;
    read_same(path, about.source_len, &about.source_digest)
}

/// Reads a regular file that has this length and this BLAKE3. A guest that can write to the file,
/// or to its directory, may have put anything in its place, such as a pipe or a huge file.
fn read_same(path: &Path, len: u64, digest: &[u8; 32]) -> Option<Vec<u8>> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .ok()?;
    let found = file.metadata().ok()?;
    if !found.is_file() || found.len() != len {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes).ok()?;
    (blake3::hash(&bytes) == *digest).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn a_source_that_was_replaced_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("source");
        let digest = *blake3::hash(b"source").as_bytes();
        let read = || read_same(&path, 6, &digest);
        assert_eq!(read(), None, "no file");
        fs::write(&path, "source").unwrap();
        assert_eq!(read().as_deref(), Some(&b"source"[..]));
        fs::write(&path, "Source").unwrap();
        assert_eq!(read(), None, "other bytes");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(), None, "a huge file");
        fs::remove_file(&path).unwrap();
        // This does not wait for a writer.
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        assert_eq!(read(), None, "a pipe");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(read(), None, "a directory");
    }
}
