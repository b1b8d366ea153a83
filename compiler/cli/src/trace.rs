//! Traps as `precast run` reports them: names of Rust functions without mangling, and source lines
//! if the program has DWARF.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use precast_artifact::custom_sections::DEBUG_INFO;
use precast_loader::{Error, Module};
use precast_symbols::{Symbols, describe};

/// The text of a trap or of an exception. `file` is what the module was opened from: it or
/// `debug_file` may have DWARF.
pub(crate) fn text(
    error: &Error,
    module: &Module,
    file: &Path,
    debug_file: Option<&Path>,
) -> String {
    let plain = error.to_string();
    let Some(trace) = error.backtrace().filter(|trace| !trace.frames().is_empty()) else {
        return plain;
    };
    // The error displays the backtrace at its end.
    let Some(reason) = plain.strip_suffix(&trace.to_string()) else {
        return plain;
    };
    let symbols = symbols(module, file, debug_file);
    let mut text = reason.to_owned();
    if let Some(fault) = error.memory_fault() {
        text += &format!("\n{fault}");
    }
    format!("{text}\n{}", describe(trace, |_| symbols.as_ref()))
}

/// The debugging information of a module. What cannot be read, or is damaged, has no lines.
fn symbols(module: &Module, file: &Path, debug_file: Option<&Path>) -> Option<Symbols> {
    if let Some(path) = debug_file {
        let name = format!("{}.debug", module.build_id());
        let path = if path.is_dir() {
            &path.join(name)
        } else {
            path
        };
        return Symbols::of_artifact(&read(path, u64::MAX)?).ok();
    }
    match read(file, 4)?.as_slice() {
        b"\0asm" => Symbols::of_module(&read(file, u64::MAX)?).ok(),
        // The file of an artifact is read only if there is something in it.
        _ => {
            module.custom_sections(DEBUG_INFO).next()?;
            Symbols::of_artifact(&read(file, u64::MAX)?).ok()
        }
    }
}

/// The first bytes of a regular file. A guest that can write to the file may have made it anything,
/// so a file of more than a gigabyte is not read.
fn read(path: &Path, at_most: u64) -> Option<Vec<u8>> {
    const LARGEST: u64 = 1 << 30;
    let found = fs::metadata(path).ok()?;
    if !found.is_file() || found.len() > LARGEST {
        return None;
    }
    let (mut bytes, file) = (Vec::new(), File::open(path).ok()?);
    let most = at_most.min(LARGEST);
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
