//! Modules: artifacts that are ready to be instantiated.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Weak};

use precast_artifact::records::{ExportRecord, ExternKind};
use precast_artifact::{Artifact, Interruption};

use crate::engine::Engine;
use crate::error::Error;
use crate::mapping::{Mapping, Trust};
use crate::types::{ExternType, extern_type, import_type};
use crate::vm::module::MappedModule;

/// A compiled module. Cheap to clone; clones share the mapping.
///
/// ```
/// use precast_loader::{Engine, Error, Module};
///
/// fn describe(path: &str, digest: &[u8; 32]) -> Result<(), Error> {
///     let module = Module::open_verified(&Engine::default(), path, digest)?;
///     for (module, name, ty) in module.imports() {
///         println!("imports {module}.{name}: {ty}");
///     }
///     for (name, ty) in module.exports() {
///         println!("exports {name}: {ty}");
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Module {
    pub(crate) code: Arc<MappedModule>,
    engine: Engine,
}

impl Module {
    /// Maps the artifact at `path`: microseconds, whatever its size.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Artifact`].
    ///
    /// # Safety
    /// The file holds what a precast compiler wrote: its machine code runs with all rights of this
    /// process. And while the module lives **nobody may write to the file or truncate it**, by whatever
    /// name: what is written to it becomes running code, and what is cut off kills the process. (To
    /// replace it by renaming another over it is fine, which is what precast does itself.) A guest is
    /// somebody, too: the file must not be within reach of a directory that a guest may write to, such
    /// as a preopened directory of WASI's that holds the file, one of the directories above it or a hard
    /// link to it.
    ///
    /// [`Module::open_sealed`] asks for less, [`Module::open_verified`] for nothing.
    pub unsafe fn open(engine: &Engine, path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::new(
            engine,
            Mapping::open(path.as_ref(), Trust::Unchecked)?,
        ))
    }

    /// Opens the artifact at `path` so that it does not matter what happens to the file later: what is
    /// mapped is a copy in memory that was sealed, which nobody can change, not even this process. For
    /// artifacts that others can write to, guests with their preopened directories among them.
    ///
    /// The copy takes time and memory in proportion to the file, about a millisecond for each MB, and
    /// processes share no pages of it. Beside [`Module::open`] that is 2.5 times the time for an artifact
    /// of 20 KB, 20 times for 1 MB and 1,500 times for 50 MB (`loader/examples/opening.rs` measures it). A
    /// file with fs-verity is mapped as it is, because the system keeps it from changing.
    ///
    /// # Errors
    /// [`Error::File`], also when the system refuses memory files or code in them, or
    /// [`Error::Artifact`].
    ///
    /// # Safety
    /// The file holds, when this is called, what a precast compiler wrote: its machine code runs with
    /// all rights of this process.
    pub unsafe fn open_sealed(engine: &Engine, path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::new(
            engine,
            Mapping::open(path.as_ref(), Trust::Sealed)?,
        ))
    }

    /// Opens the artifact at `path` if its digest (see `precast inspect`) is `digest`.
    ///
    /// What has the digest is what runs, whatever happens to the file later: the digest is computed over
    /// a copy in memory that was sealed before, which nobody can change, not even this process. A file
    /// with fs-verity, which the system keeps from changing, is mapped as it is. (The digest of fs-verity
    /// is another one, so the content is read once all the same.)
    ///
    /// Copying and checking take time and memory in proportion to the file, about two milliseconds for
    /// each MB. Beside [`Module::open`] that is 4 times the time for an artifact of 20 KB, 40 times for 1 MB
    /// and 3,000 times for 50 MB.
    ///
    /// # Errors
    /// [`Error::File`], also when the system refuses memory files or code in them, or
    /// [`Error::Artifact`].
    pub fn open_verified(
        engine: &Engine,
        path: impl AsRef<Path>,
        digest: &[u8; 32],
    ) -> Result<Self, Error> {
        Ok(Self::new(
            engine,
            Mapping::open(path.as_ref(), Trust::Digest(digest))?,
        ))
    }

    /// Maps the artifact that is in an open file: what was learnt about the file before is then true
    /// of what is mapped. `path` is for errors.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Artifact`].
    ///
    /// # Safety
    /// As for [`Module::open`].
    pub unsafe fn from_file(
        engine: &Engine,
        file: File,
        path: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        let mapping = Mapping::from_file(file, path.as_ref(), Trust::Unchecked)?;
        Ok(Self::new(engine, mapping))
    }

    /// Uses a copy of an artifact that is in memory, for example by `include_bytes!`. The copy is
    /// sealed: nobody can change it. It costs what [`Module::open_sealed`] costs.
    ///
    /// # Errors
    /// [`Error::File`] when the system refuses memory files or code in them, or [`Error::Artifact`].
    ///
    /// # Safety
    /// The bytes are what a precast compiler wrote: their machine code runs with all rights of this
    /// process.
    pub unsafe fn from_bytes(engine: &Engine, bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self::new(
            engine,
            Mapping::from_bytes(bytes, Trust::Sealed)?,
        ))
    }

    /// [`Module::from_bytes`] for bytes whose digest must be `digest`. It is that of the sealed copy.
    /// It costs what [`Module::open_verified`] costs.
    ///
    /// # Errors
    /// [`Error::File`] when the system refuses memory files or code in them, or [`Error::Artifact`].
    pub fn from_bytes_verified(
        engine: &Engine,
        bytes: &[u8],
        digest: &[u8; 32],
    ) -> Result<Self, Error> {
        Ok(Self::new(
            engine,
            Mapping::from_bytes(bytes, Trust::Digest(digest))?,
        ))
    }

    fn new(engine: &Engine, mapping: Mapping) -> Self {
        Self::of_code(Arc::new(MappedModule::new(mapping)), *engine)
    }

    pub(crate) fn of_code(code: Arc<MappedModule>, engine: Engine) -> Self {
        Self { code, engine }
    }

    /// The same module for another engine. Both share the mapping.
    #[must_use]
    pub fn with_engine(&self, engine: &Engine) -> Self {
        Self::of_code(Arc::clone(&self.code), *engine)
    }

    /// A handle that does not keep the mapping, for those who share modules without owning them.
    pub fn downgrade(&self) -> WeakModule {
        WeakModule(Arc::downgrade(&self.code))
    }

    /// How its code can be stopped where it calls nothing.
    pub fn interruption(&self) -> Interruption {
        self.code.artifact().interruption()
    }

    /// Whether both are clones of one module.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.code, &other.code)
            && self
                .engine
                .check_same(other.engine, "a module", "another")
                .is_ok()
    }

    /// The engine that the module was made with.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// BLAKE3 digest that the artifact's header holds.
    pub fn digest(&self) -> &[u8; 32] {
        &self.code.mapping().header().digest
    }

    /// The imports, in the module's order: module name, item name, type.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = (&str, &str, ExternType)> {
        let artifact = self.code.artifact();
        artifact.imports().iter().map(move |import| {
            (
                artifact.str(import.module).unwrap_or_default(),
                artifact.str(import.name).unwrap_or_default(),
                import_type(&artifact, import),
            )
        })
    }

    /// The exports, in the module's order: name, type.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = (&str, ExternType)> {
        let artifact = self.code.artifact();
        in_order(artifact).map(move |export| {
            let kind = ExternKind::from_number(export.kind).unwrap_or(ExternKind::Func);
            (
                artifact.str(export.name).unwrap_or_default(),
                extern_type(&artifact, kind, export.index),
            )
        })
    }

    /// The type of the export of this name.
    pub fn export(&self, name: &str) -> Option<ExternType> {
        let artifact = self.code.artifact();
        let export = artifact.export(name)?;
        Some(extern_type(
            &artifact,
            ExternKind::from_number(export.kind)?,
            export.index,
        ))
    }
}

/// A [`Module`] that may be gone; see [`Module::downgrade`].
///
/// ```
/// use precast_loader::{Engine, Module, WeakModule};
///
/// /// Shares a module with all who use it at the same time.
/// fn share(known: &mut WeakModule, engine: &Engine, open: impl FnOnce() -> Module) -> Module {
///     known.upgrade(engine).unwrap_or_else(|| {
///         let module = open();
///         *known = module.downgrade();
///         module
///     })
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct WeakModule(Weak<MappedModule>);

impl WeakModule {
    /// The module for an engine, if anything still uses its mapping.
    pub fn upgrade(&self, engine: &Engine) -> Option<Module> {
        Some(Module::of_code(self.0.upgrade()?, *engine))
    }

    /// Whether nothing uses the mapping any more.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// The exports of an artifact, in the module's order: the artifact has them sorted by hash.
fn in_order<'a>(artifact: Artifact<'a>) -> impl ExactSizeIterator<Item = &'a ExportRecord> {
    let mut exports: Vec<_> = artifact.exports().iter().collect();
    exports.sort_by_key(|export| export.ordinal);
    exports.into_iter()
}

/// The names of the exports of an artifact, in the module's order.
pub(crate) fn export_names<'a>(artifact: Artifact<'a>) -> impl Iterator<Item = &'a str> {
    in_order(artifact).map(move |export| artifact.str(export.name).unwrap_or_default())
}
