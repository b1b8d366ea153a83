//! Reads artifacts for commands, and shows the types of their items.

use std::path::Path;

use anyhow::{Context, Result};
use precast_artifact::records::{ExternKind, IMPORTED, INDEX64, MUTABLE, SHARED};
use precast_artifact::{Aligned, Artifact, ValType};
use precast_compiler::{Compiler, Settings};

use crate::files;
use crate::program::Program;

/// The bytes of an artifact.
pub(crate) struct Bytes(Aligned);

impl Bytes {
    /// Reads an artifact without checking its content. A module is compiled with the default
    /// settings.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = match Program::open(path)? {
            Program::File(path) => files::read(&path)?,
            Program::Bytes(bytes) => bytes,
            Program::Module(wasm) => {
                Compiler::new(Settings::default())?
                    .compile(&wasm.read()?)
                    .with_context(|| format!("cannot compile `{}`", path.display()))?
                    .artifact
            }
        };
        Ok(Self::aligned(&bytes))
    }

    /// Reads an artifact without checking its content. A module is not compiled.
    pub(crate) fn read_artifact(path: &Path) -> Result<Self> {
        Ok(Self::aligned(&files::read(path)?))
    }

    pub(crate) fn aligned(bytes: &[u8]) -> Self {
        Self(Aligned::new(bytes))
    }

    /// All bytes of the file.
    pub(crate) fn all(&self) -> &[u8] {
        &self.0
    }

    /// Checks the bytes and returns them as an artifact. The error names `path`.
    pub(crate) fn parse(&self, path: &Path) -> Result<Artifact<'_>> {
        Artifact::parse(self.all(), None)
            .with_context(|| format!("cannot use `{}`", path.display()))
    }

    /// Like [`Bytes::parse`], and checks the digest of all bytes too, for commands that put them
    /// into another file.
    pub(crate) fn parse_whole(&self, path: &Path) -> Result<Artifact<'_>> {
        let artifact = self.parse(path)?;
        artifact
            .verify_digest(None)
            .with_context(|| format!("cannot use `{}`", path.display()))?;
        Ok(artifact)
    }
}

/// Parameters and results of a function type.
pub(crate) fn signature(artifact: &Artifact<'_>, index: u32) -> Option<[Vec<String>; 2]> {
    let signature = artifact.signature(index)?;
    Some([
        signature.params().map(|ty| ty.to_string()).collect(),
        signature.results().map(|ty| ty.to_string()).collect(),
    ])
}

/// A function type in the notation of all commands: `(i32 i64) -> (f32)`.
pub(crate) fn spelled(signature: Option<&[Vec<String>; 2]>) -> String {
    signature.map_or_else(
        || "?".to_owned(),
        |[params, results]| format!("({}) -> ({})", params.join(" "), results.join(" ")),
    )
}

/// The type of a function by its index.
pub(crate) fn function_type(artifact: &Artifact<'_>, index: u32) -> Option<[Vec<String>; 2]> {
    signature(artifact, artifact.function_signature(index).ok()?)
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
    let value = |ty: u32| ValType::from_number(ty).map_or_else(unknown, |ty| ty.to_string());
    let i = index as usize;
    match kind {
        ExternKind::Func => spelled(function_type(artifact, index).as_ref()),
        ExternKind::Memory => artifact.memories().get(i).map_or_else(unknown, |m| {
            let shared = if m.flags & SHARED != 0 { " shared" } else { "" };
            let page = match m.page_shift {
                0 => " (pagesize 1)",
                _ => "",
            };
            format!("{}{shared}{page}", limits(m.min, m.max, m.flags))
        }),
        ExternKind::Table => artifact.tables().get(i).map_or_else(unknown, |t| {
            let element = value(t.element);
            format!("{} {element}", limits(t.min, t.max, t.flags))
        }),
        ExternKind::Tag => artifact
            .tags()
            .get(i)
            .and_then(|tag| signature(artifact, tag.signature))
            .map_or_else(unknown, |[values, _]| format!("({})", values.join(" "))),
        ExternKind::Global => artifact.globals().get(i).map_or_else(unknown, |g| {
            let ty = value(g.ty);
            if g.flags & MUTABLE != 0 {
                format!("(mut {ty})")
            } else {
                ty
            }
        }),
    }
}

/// The number of items of an index space that the module defines itself, from the items' flags.
pub(crate) fn defined(flags: impl Iterator<Item = u32>) -> usize {
    flags.filter(|flags| flags & IMPORTED == 0).count()
}
