//! Reads artifacts for commands, and names the types of what is in them.

use std::path::Path;

use anyhow::{Context, Result};
use precast_artifact::records::{ExternKind, IMPORTED, INDEX64, MUTABLE};
use precast_artifact::{Artifact, ValType};

use crate::files;

/// The bytes of an artifact, aligned so that its records can be read in place.
pub(crate) struct Bytes {
    words: Vec<u64>,
    len: usize,
}

impl Bytes {
    /// Reads a file. Its content is not checked.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = files::read(path)?;
        let mut words = vec![0; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(&bytes);
        Ok(Self {
            words,
            len: bytes.len(),
        })
    }

    /// Checks the bytes and returns them as an artifact. The error names `path`.
    pub(crate) fn parse(&self, path: &Path) -> Result<Artifact<'_>> {
        let bytes = &bytemuck::cast_slice(&self.words)[..self.len];
        Artifact::parse(bytes, None).with_context(|| format!("cannot use `{}`", path.display()))
    }
}

/// The signature with this index as text, such as `(i32, i64) -> f32`.
pub(crate) fn signature(artifact: &Artifact<'_>, index: u32) -> String {
    let Some(signature) = artifact.signature(index) else {
        return "?".to_owned();
    };
    let list = |types: &mut dyn Iterator<Item = ValType>| {
        types.map(ValType::name).collect::<Vec<_>>().join(", ")
    };
    let params = list(&mut signature.params());
    match signature.results().len() {
        0 => format!("({params})"),
        1 => format!("({params}) -> {}", list(&mut signature.results())),
        _ => format!("({params}) -> ({})", list(&mut signature.results())),
    }
}

/// The type of an item of an index space, in the notation of the text format.
pub(crate) fn item_type(artifact: &Artifact<'_>, kind: ExternKind, index: u32) -> String {
    let unknown = || "?".to_owned();
    let limits = |min: u64, max: u64, flags: u32| {
        let index_type = if flags & INDEX64 != 0 { "i64 " } else { "" };
        let max = if max == u64::MAX {
            String::new()
        } else {
            format!(" {max}")
        };
        format!("{index_type}{min}{max}")
    };
    let value = |ty: u32| u8::try_from(ty).ok().and_then(ValType::from_byte);
    let i = index as usize;
    match kind {
        ExternKind::Func => {
            let imported = artifact.header().vm.func_import_count;
            let index = match index.checked_sub(imported) {
                Some(defined) => artifact
                    .functions()
                    .get(defined as usize)
                    .map(|f| f.signature),
                None => artifact
                    .imports()
                    .iter()
                    .find(|r| r.kind == kind as u32 && r.index == index)
                    .map(|r| r.signature),
            };
            index.map_or_else(unknown, |index| signature(artifact, index))
        }
        ExternKind::Memory => artifact
            .memories()
            .get(i)
            .map_or_else(unknown, |m| limits(m.min, m.max, m.flags)),
        ExternKind::Table => artifact.tables().get(i).map_or_else(unknown, |t| {
            let element = value(t.element).map_or("?", ValType::name);
            format!("{} {element}", limits(t.min, t.max, t.flags))
        }),
        ExternKind::Global => artifact.globals().get(i).map_or_else(unknown, |g| {
            let ty = value(g.ty).map_or("?", ValType::name);
            if g.flags & MUTABLE != 0 {
                format!("(mut {ty})")
            } else {
                ty.to_owned()
            }
        }),
    }
}

/// The number of items of an index space that the module defines itself, from the items' flags.
pub(crate) fn defined(flags: impl Iterator<Item = u32>) -> usize {
    flags.filter(|flags| flags & IMPORTED == 0).count()
}
