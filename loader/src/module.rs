//! Modules: artifacts that are ready to be instantiated.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Weak};

use precast_artifact::{Interruption, Profile, custom_sections};

use crate::backtrace::FrameModule;
use crate::engine::Engine;
use crate::error::Error;
use crate::mapping::{Mapping, Trust};
use crate::static_artifact::{EmbeddedArtifact, StaticArtifact};
use crate::vm::module::MappedModule;
use crate::{got, opened};

/// A compiled module. Cheap to clone; clones share the mapping.
///
/// ```
/// use precast_loader::{Engine, Error, Module};
///
/// fn describe(path: &str, digest: &[u8; 32]) -> Result<(), Error> {
///     let module = Module::open_verified(&Engine::default(), path, digest)?;
///     for import in module.imports() {
///         println!("imports {}.{}: {}", import.module(), import.name(), import.ty());
///     }
///     for export in module.exports() {
///         println!("exports {}: {}", export.name(), export.ty());
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
    /// Maps the artifact at `path`, which takes microseconds, whatever its size.
    ///
    /// While a module lives that was opened by the same path, this function gives the same module,
    /// if the path still leads to that file and the file's length and times are the same. Then the
    /// only cost is asking the system for these; whether this thread may read the file is not asked
    /// again. Threads that open at the same moment may get different modules.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Artifact`] or [`Error::Features`].
    ///
    /// # Safety
    /// A precast compiler wrote the file, whose machine code runs with all rights of this process.
    /// While the module lives, **nobody may write to the file or truncate it**, under any name:
    /// bytes that are written to it become running code, and a truncated file kills the process.
    /// (Renaming another file over it is fine: precast itself replaces files in this way.) This
    /// holds for guests too: no directory that a guest may write to, such as a preopened directory
    /// of WASI, may contain the file, a directory above it or a hard link to it.
    ///
    /// [`Module::open_sealed`] requires less, and [`Module::open_verified`] requires nothing.
    pub unsafe fn open(engine: &Engine, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        if let Some(code) = opened::find(path) {
            engine.check_features(&code)?;
            return Ok(Self::of_code(code, *engine));
        }
        let (mapping, id) = Mapping::open_with_id(path, Trust::Unchecked)?;
        let module = Self::new(engine, mapping)?;
        opened::remember(path, id, &module.code);
        Ok(module)
    }

    /// Maps a sealed copy of the artifact at `path`, which nobody can change, not even this
    /// process. So it does not matter what happens to the file later. This is for artifacts that
    /// others can write to, for example guests through their preopened directories.
    ///
    /// The copy takes time and memory in proportion to the file, about a millisecond for each MB,
    /// and processes share no pages of it. This takes 2.5 times as long as [`Module::open`] for an
    /// artifact of 20 KB, 20 times for 1 MB and 1,500 times for 50 MB (measured by
    /// `loader/examples/opening.rs`). A file with fs-verity is mapped without a copy, because the
    /// system keeps it from changing.
    ///
    /// # Errors
    /// [`Error::File`], also when the system refuses memory files or code in them,
    /// [`Error::Artifact`] or [`Error::Features`].
    ///
    /// # Safety
    /// At the time of the call, the file is as a precast compiler wrote it. Its machine code runs
    /// with all rights of this process.
    pub unsafe fn open_sealed(engine: &Engine, path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::new(engine, Mapping::open(path.as_ref(), Trust::Sealed)?)
    }

    /// Maps a sealed copy of the artifact at `path` if its digest (see `precast inspect`) is
    /// `digest`.
    ///
    /// The digest is computed over the sealed copy, which nobody can change, not even this process.
    /// So the code that runs has the digest, whatever happens to the file later. A file with
    /// fs-verity, which the system keeps from changing, is mapped without a copy. (The digest of
    /// fs-verity is another one, so the content is read all the same.)
    ///
    /// In a file of variants for several CPUs, each variant has a digest of its own, and the
    /// machine decides which is opened. So one digest cannot stand for such a file: sign the
    /// variants and use `Module::open_signed`, or ship them as files of their own.
    ///
    /// Copying and checking take time and memory in proportion to the file, about two milliseconds
    /// for each MB. This takes 4 times as long as [`Module::open`] for an artifact of 20 KB, 40
    /// times for 1 MB and 3,000 times for 50 MB.
    ///
    /// # Errors
    /// [`Error::File`], also when the system refuses memory files or code in them,
    /// [`Error::Artifact`] or [`Error::Features`].
    pub fn open_verified(
        engine: &Engine,
        path: impl AsRef<Path>,
        digest: &[u8; 32],
    ) -> Result<Self, Error> {
        Self::new(engine, Mapping::open(path.as_ref(), Trust::Digest(digest))?)
    }

    /// Maps the artifact in an open file, so that the caller can check the very file that is
    /// mapped. `path` is used in errors.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Artifact`] or [`Error::Features`].
    ///
    /// # Safety
    /// As for [`Module::open`].
    pub unsafe fn from_file(
        engine: &Engine,
        file: File,
        path: impl AsRef<Path>,
    ) -> Result<Self, Error> {
        let mapping = Mapping::from_file(file, path.as_ref(), Trust::Unchecked)?;
        Self::new(engine, mapping)
    }

    /// Maps a sealed copy of an artifact in memory, for example of one that `include_bytes!`
    /// includes. It costs as much as [`Module::open_sealed`].
    ///
    /// # Errors
    /// [`Error::File`] when the system refuses memory files or code in them,
    /// [`Error::Artifact`] or [`Error::Features`].
    ///
    /// # Safety
    /// A precast compiler wrote the bytes, whose machine code runs with all rights of this process.
    pub unsafe fn from_bytes(engine: &Engine, bytes: &[u8]) -> Result<Self, Error> {
        Self::new(engine, Mapping::from_bytes(bytes, Trust::Sealed)?)
    }

    /// [`Module::from_bytes`] for bytes whose digest must be `digest`. The digest is computed over
    /// the sealed copy. It costs as much as [`Module::open_verified`].
    ///
    /// # Errors
    /// [`Error::File`] when the system refuses memory files or code in them,
    /// [`Error::Artifact`] or [`Error::Features`].
    pub fn from_bytes_verified(
        engine: &Engine,
        bytes: &[u8],
        digest: &[u8; 32],
    ) -> Result<Self, Error> {
        Self::new(engine, Mapping::from_bytes(bytes, Trust::Digest(digest))?)
    }

    /// Uses an artifact that a linker put into this executable, from an object file of
    /// `precast_object`. Its code runs where it is: nothing is mapped, and no page becomes
    /// executable, so this works where the system lets only executables have code. Nothing is
    /// copied: the memory image is mapped from the executable's own file, which is opened when the
    /// first instance is made. Only where there is none (no `/proc`, or the file changed) the image
    /// is copied.
    ///
    /// ```no_run
    /// use precast_loader::{Engine, Module, StaticArtifact};
    ///
    /// unsafe extern "C" {
    ///     static GUEST: StaticArtifact;
    /// }
    /// // SAFETY: the build script made the object with precast.
    /// let module = unsafe { Module::from_static(&Engine::default(), &raw const GUEST)? };
    /// # Ok::<(), precast_loader::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Artifact`], [`Error::Features`]. Where the system refuses to make pages of the
    /// executable writable, an artifact with a GOT (function types of more than 20 values, or fused
    /// multiplication and byte shuffles for CPUs that may lack them) is an error. Elsewhere the
    /// loader fills the GOT in, which has pages of its own that are never executable again.
    ///
    /// # Safety
    /// At the address is an artifact that a precast compiler wrote, whole, in private memory that
    /// can be read and executed and that nobody but the loader ever writes to or unmaps. Its code
    /// runs with all rights of this process.
    pub unsafe fn from_static(
        engine: &Engine,
        artifact: *const StaticArtifact,
    ) -> Result<Self, Error> {
        // SAFETY: by this function's contract.
        Self::new(engine, unsafe { Mapping::from_static(artifact)? })
    }

    /// Uses an artifact that a build script with `precast_build` put into this executable, see
    /// [`include_artifact!`](crate::include_artifact).
    ///
    /// Its code runs where it is, as with [`Module::from_static`], and nothing is copied. Where the
    /// system refuses to let the loader fill in a GOT there, a sealed copy is made of the artifact,
    /// as by [`Module::from_bytes`].
    ///
    /// # Errors
    /// [`Error::Artifact`]: it is of another format, ABI or target than this loader's.
    /// [`Error::Features`].
    pub fn embedded(engine: &Engine, artifact: EmbeddedArtifact) -> Result<Self, Error> {
        Self::new(engine, Mapping::embedded(artifact)?)
    }

    /// # Errors
    /// [`Error::Features`] if the engine does not allow what the module uses.
    pub(crate) fn new(engine: &Engine, mapping: Mapping) -> Result<Self, Error> {
        let code = Arc::new(MappedModule::new(mapping));
        engine.check_features(&code)?;
        Ok(Self::of_code(code, *engine))
    }

    pub(crate) fn of_code(code: Arc<MappedModule>, engine: Engine) -> Self {
        Self { code, engine }
    }

    /// The same module for another engine. Both share the mapping.
    #[must_use]
    pub fn with_engine(&self, engine: &Engine) -> Self {
        Self::of_code(Arc::clone(&self.code), *engine)
    }

    /// A handle that does not keep the mapping, for sharing modules without owning them.
    pub fn downgrade(&self) -> WeakModule {
        WeakModule(Arc::downgrade(&self.code))
    }

    /// How code of the module can be stopped while it calls no host function.
    pub fn interruption(&self) -> Interruption {
        self.code.artifact().interruption()
    }

    /// Whether both are clones of one module, or were opened from one file at the same time.
    pub fn same(a: &Self, b: &Self) -> bool {
        Arc::ptr_eq(&a.code, &b.code) && Engine::same(&a.engine, &b.engine)
    }

    /// The engine that the module was made with.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The BLAKE3 digest in the header of the artifact.
    pub fn digest(&self) -> &[u8; 32] {
        &self.code.mapping().header().digest
    }

    /// The name of the module, from its name section.
    pub fn name(&self) -> Option<&str> {
        self.code.name()
    }

    /// The bytes of each custom section of the module with this name, in the module's order, as far
    /// as the artifact keeps them: the compiler keeps those that its setting `custom_sections`
    /// names, or `precast compile --keep-custom-sections`, and none by default.
    ///
    /// ```
    /// use precast_loader::Module;
    ///
    /// fn manifest(module: &Module) -> Option<&str> {
    ///     let bytes = module.custom_sections("manifest").next()?;
    ///     std::str::from_utf8(bytes).ok()
    /// }
    /// ```
    pub fn custom_sections<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let artifact = self.code.artifact();
        let table = artifact.section(artifact.header().custom_sections);
        custom_sections::entries(table)
            .filter(move |(found, _)| *found == name)
            .map(|(_, bytes)| bytes)
    }

    /// How often each part of the module's code ran until now, in all instances that there are or
    /// were of this module and its clones. `None` if its code counts nothing: the compiler's
    /// setting `counters`, or `precast compile --counters`, makes code that does.
    ///
    /// ```
    /// use precast_loader::{Error, Module};
    ///
    /// /// Writes a file for `precast compile --profile`.
    /// fn write_profile(module: &Module, path: &str) -> Result<(), Box<dyn std::error::Error>> {
    ///     let profile = module.profile()?.ok_or("compiled without counters")?;
    ///     Ok(std::fs::write(path, profile.encode())?)
    /// }
    /// ```
    ///
    /// Resets and reuse of instances do not end their counts. Instances on other threads go on
    /// while they are read.
    ///
    /// # Errors
    /// [`Error::Artifact`] if the artifact is damaged.
    pub fn profile(&self) -> Result<Option<Profile>, Error> {
        let counters = self.code.artifact().counters()?;
        Ok(counters.map(|counters| self.code.counted().profile(&counters)))
    }

    /// The bytes of the artifact, as the compiler wrote them. [`Module::from_bytes`] takes them.
    ///
    /// # Errors
    /// None at present.
    pub fn serialize(&self) -> Result<Vec<u8>, Error> {
        let mapping = self.code.mapping();
        Ok(got::as_written(mapping.bytes(), mapping.header().got))
    }
}

/// A handle to a [`Module`] that may be gone, see [`Module::downgrade`].
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
