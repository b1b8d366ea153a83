//! The parts of a module that have debugging information: custom sections, and where code begins.
//!
//! ```text
//!   module:  \0asm 1  { id: u8, size: leb128, content }*
//!   custom:  id 0, content = { length of the name: leb128, name, bytes }
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use gimli::{Dwarf, EndianSlice, LittleEndian};
use precast_artifact::custom_sections::{self, CODE_START, DEBUG_INFO};
use precast_artifact::{Aligned, Artifact};
use precast_loader::Module;

use crate::DebugInfoError;

#[derive(Default)]
pub(crate) struct Sections {
    /// Offset of the content of the code section, which addresses count from.
    pub(crate) code: usize,
    /// Names and bytes of the sections with debugging information.
    pub(crate) debug: Vec<(String, Arc<[u8]>)>,
}

impl Sections {
    pub(crate) fn of_module(wasm: &[u8]) -> Result<Self, DebugInfoError> {
        if wasm.get(..8) != Some(b"\0asm\x01\0\0\0") {
            let (what, offset) = ("other first bytes", 0);
            return Err(DebugInfoError::NotAModule { what, offset });
        }
        let mut this = Self::default();
        let mut at = 8;
        while at < wasm.len() {
            let damaged = DebugInfoError::NotAModule {
                what: "a damaged section",
                offset: at,
            };
            let Some((id, content, end)) = section(wasm, at) else {
                return Err(damaged);
            };
            match id {
                10 => this.code = content,
                0 => match custom(&wasm[content..end]) {
                    Some((name, bytes)) => this.add(name, bytes).ok_or(damaged)?,
                    None => return Err(damaged),
                },
                _ => {}
            }
            at = end;
        }
        Ok(this)
    }

    /// The sections that an artifact keeps of its module.
    pub(crate) fn of_artifact(bytes: &[u8]) -> Result<Self, DebugInfoError> {
        let bytes = Aligned::new(bytes);
        let artifact = Artifact::parse(&bytes, None)?;
        let table = artifact.section(artifact.header().custom_sections);
        let mut this = Self::default();
        for (name, bytes) in custom_sections::entries(table) {
            // A damaged section is ignored.
            this.add(name, bytes).unwrap_or(());
        }
        Ok(this)
    }

    /// The sections that the artifact of a loaded module keeps.
    pub(crate) fn of_loaded(module: &Module) -> Self {
        let mut names = vec![CODE_START];
        // Nothing is parsed: this asks for all sections that a reader looks at.
        let Ok(_) = Dwarf::load(|id| {
            names.push(id.name());
            Ok::<_, Infallible>(EndianSlice::new(&[], LittleEndian))
        });
        let mut this = Self::default();
        for name in names {
            for bytes in module.custom_sections(name) {
                // A damaged section is ignored.
                this.add(name, bytes).unwrap_or(());
            }
        }
        this
    }

    /// Adds a custom section, if it has debugging information. `None` if the section is damaged.
    fn add(&mut self, name: &str, bytes: &[u8]) -> Option<()> {
        match name {
            CODE_START => self.code = u32::from_le_bytes(bytes.try_into().ok()?) as usize,
            name if name.starts_with(".debug_") => {
                self.debug.push((name.to_owned(), Arc::from(bytes)));
            }
            _ => {}
        }
        Some(())
    }

    /// Whether there is anything to look up.
    pub(crate) fn has_dwarf(&self) -> bool {
        self.debug.iter().any(|(name, _)| name == DEBUG_INFO)
    }
}

/// The debugging information of a module alone, as a module without code: what to keep beside an
/// artifact, if the module itself is not kept.
///
/// ```
/// use precast_symbols::{DebugInfoError, debug_part};
///
/// let module = b"\0asm\x01\0\0\0";
/// assert!(matches!(debug_part(module), Err(DebugInfoError::None)));
/// ```
///
/// # Errors
/// [`DebugInfoError::NotAModule`], and [`DebugInfoError::None`] if there is no such information.
pub fn debug_part(wasm: &[u8]) -> Result<Vec<u8>, DebugInfoError> {
    let sections = Sections::of_module(wasm)?;
    if !sections.has_dwarf() {
        return Err(DebugInfoError::None);
    }
    let mut part = b"\0asm\x01\0\0\0".to_vec();
    let code = (sections.code as u32).to_le_bytes();
    write_custom(&mut part, CODE_START, &code);
    for (name, bytes) in &sections.debug {
        write_custom(&mut part, name, bytes);
    }
    Ok(part)
}

/// The id of the section at an offset, and where its content begins and ends.
fn section(wasm: &[u8], at: usize) -> Option<(u8, usize, usize)> {
    let mut rest = wasm.get(at..)?;
    let id = *rest.split_off_first()?;
    let len = leb128(&mut rest)?;
    let content = wasm.len() - rest.len();
    rest.get(..len)?;
    Some((id, content, content + len))
}

fn custom(content: &[u8]) -> Option<(&str, &[u8])> {
    let mut rest = content;
    let len = leb128(&mut rest)?;
    let name = std::str::from_utf8(rest.split_off(..len)?).ok()?;
    Some((name, rest))
}

pub(crate) fn write_custom(module: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let mut content = Vec::with_capacity(name.len() + bytes.len() + 5);
    write_leb128(&mut content, name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(bytes);
    module.push(0);
    write_leb128(module, content.len());
    module.append(&mut content);
}

/// Reads an unsigned number of at most 32 bits.
fn leb128(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(u32::try_from(value).ok()? as usize);
        }
    }
    None
}

pub(crate) fn write_leb128(to: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(sections: &[(u8, &[u8])]) -> Vec<u8> {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        for (id, content) in sections {
            wasm.push(*id);
            write_leb128(&mut wasm, content.len());
            wasm.extend_from_slice(content);
        }
        wasm
    }

    #[test]
    fn the_debug_part_says_the_same_as_the_module() {
        let mut info = Vec::new();
        write_custom(&mut info, ".debug_info", &[7; 300]);
        let mut wasm = module(&[(1, &[0; 200]), (10, &[1, 2, 3])]);
        wasm.extend(info);
        write_custom(&mut wasm, "name", b"x");
        let whole = Sections::of_module(&wasm).unwrap();
        assert_eq!(whole.code, 8 + 3 + 200 + 2);
        let part = Sections::of_module(&debug_part(&wasm).unwrap()).unwrap();
        assert_eq!((part.code, part.debug), (whole.code, whole.debug));
    }

    #[test]
    fn damaged_modules_are_errors() {
        let mut wasm = module(&[(10, &[1, 2, 3])]);
        write_custom(&mut wasm, ".debug_info", &[7; 300]);
        let whole = 8 + 5;
        for len in 0..wasm.len() {
            let cut = Sections::of_module(&wasm[..len]);
            assert_eq!(cut.is_ok(), len == 8 || len == whole, "{len}");
        }
        for section in [
            &[0, 1, 5][..],
            &[0, 2, 1, 0xff],
            &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            let damaged = [&wasm[..], section].concat();
            let error = debug_part(&damaged).unwrap_err();
            assert!(
                error.to_string().contains("a damaged section at offset"),
                "{error}"
            );
        }
    }
}
