//! Reads artifacts for commands, and shows the types of their items.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use precast_artifact::records::{ExternKind, IMPORTED, INDEX64, MUTABLE, SHARED};
use precast_artifact::variants::{self, VariantRecord};
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

/// An artifact of a file, which may have several, for several CPUs and targets.
pub(crate) struct Part {
    pub(crate) bytes: Bytes,
    /// The file's name, with the target and CPU if the file has several artifacts. For errors.
    pub(crate) path: PathBuf,
}

impl Part {
    /// Looks at each artifact of a file: at all variants, or at the file's only artifact.
    pub(crate) fn each(path: &Path, mut look: impl FnMut(&Self) -> Result<()>) -> Result<()> {
        let bytes = Bytes::read_artifact(path)?;
        let records = variants::parse(bytes.all(), bytes.all().len() as u64)
            .with_context(|| format!("cannot use `{}`", path.display()))?;
        let Some(records) = records else {
            let path = path.to_owned();
            return look(&Self { bytes, path });
        };
        // One at a time: variants may share most of the file.
        for record in &records {
            look(&Self::of_variant(&bytes, record, path)?)?;
        }
        Ok(())
    }

    /// A variant of a file. Its record is not signed, so it must say what the artifact itself says.
    pub(crate) fn of_variant(file: &Bytes, record: &VariantRecord, path: &Path) -> Result<Self> {
        let name = record.describe();
        let mut all = Vec::new();
        for piece in record.pieces() {
            // The reader of the records has checked that the pieces are in the file.
            let bytes = file.all().get(piece.start as usize..);
            let bytes = bytes.and_then(|bytes| bytes.get(..piece.len as usize));
            all.extend_from_slice(bytes.unwrap_or_default());
        }
        let mut named = path.as_os_str().to_owned();
        named.push(format!(" ({name})"));
        let part = Self {
            bytes: Bytes::aligned(&all),
            path: named.into(),
        };
        let artifact = part.artifact()?;
        let (h, r) = (artifact.header(), record);
        let own = (h.arch, h.os, h.cpu_features, h.page_size);
        if own != (r.arch, r.os, r.cpu_features, r.page_size) {
            bail!(
                "cannot use `{}`: the artifact is for another target or CPU than the file says",
                part.path.display()
            );
        }
        Ok(part)
    }

    pub(crate) fn artifact(&self) -> Result<Artifact<'_>> {
        self.bytes.parse(&self.path)
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
