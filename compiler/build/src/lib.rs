//! For build scripts: compiles a WebAssembly guest, and puts it into the host's executable.
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), precast_build::Error> {
//!     precast_build::Module::new("guest.wasm").compile()?;
//!     Ok(())
//! }
//! ```
//!
//! The host includes the files that the script writes. The artifact is in the executable, at the
//! start of a page, and its code runs where it is, so that nothing is copied and no page becomes
//! executable:
//!
//! ```ignore
//! mod guest {
//!     precast_loader::include_bindings!("guest");
//! }
//! // Or Module::embedded(&engine, include_artifact!("guest")).
//! let module = guest::module(&engine)?;
//! // One function for each import, in a trait.
//! guest::add_to_linker(&mut linker)?;
//! let exports = guest::Exports::instantiate(&mut store, &linker, &module)?;
//! // One method for each export.
//! let sum = exports.add(&mut store, 1, 2)?;
//! // For many instances, link once with let pre = linker.instantiate_pre(&module)?, and then:
//! let instance = pre.instantiate(&mut store)?;
//! let exports = guest::Exports::new(&mut store, instance)?;
//! ```
//!
//! The included code is unsafe, and allowed even in a host that denies `unsafe_code`. A crate that
//! forbids it cannot include an artifact: the artifact then needs a crate of its own.
//!
//! A script whose `main` returns the error prints what is wrong. Compiled modules are cached in
//! `precast_cache`'s default directory, so that compiling the same module again takes milliseconds.
//!
//! Cargo builds build scripts, and thus the compiler, without optimisation unless told otherwise,
//! even for a release:
//!
//! ```toml
//! [profile.dev.build-override]
//! opt-level = 2
//!
//! [profile.release.build-override]
//! opt-level = 2
//! ```

// Where things are, for those who change the crate:
//
// | module | what |
// |---|---|
// | `environment` | the variables that cargo sets for a build script |
// | `guest` | gets the module: reads it, or builds it with cargo, rustc or another compiler |
// | `toolchain` | which cargo and which rustc build a package |
// | `embed` | the artifact as assembly or as a library with one object |
// | `bindings` | Rust types for imports and exports |
// | `identifier` | Rust identifiers for names in modules |

mod bindings;
mod embed;
mod environment;
mod error;
mod guest;
mod identifier;
mod toolchain;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use precast_artifact::target::Arch;
use precast_artifact::{Aligned, Artifact};
use precast_cache::CompilationCache;
use precast_compiler::Compiler;

pub use error::Error;
pub use precast_compiler::{
    Cpu, CpuLevel, CustomSections, Interruption, OptLevel, Settings, Strategy,
};

use environment::Environment;
use guest::Source;

/// A module to compile in a build script.
#[derive(Debug, Clone)]
pub struct Module {
    source: Source,
    name: Option<String>,
    settings: Settings,
    own_cpu: bool,
    as_object: bool,
    cached: bool,
}

/// What [`Module::compile`] made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Built {
    /// The file with the artifact, in `OUT_DIR`. A host that ships artifacts as files copies it.
    pub artifact: PathBuf,
    /// The artifact's digest, which `Module::open_verified` of the loader asks for.
    pub digest: [u8; 32],
}

impl Module {
    /// The module in a file, in the binary or in the text format. A relative path starts at the
    /// package's directory, as in all build scripts.
    pub fn new(file: impl AsRef<Path>) -> Self {
        Self::of(Source::File(file.as_ref().to_owned()))
    }

    /// The module that cargo makes of the package in a directory: its only program or `cdylib`, or
    /// the one that [`Module::binary`] chooses. It is built in its `release` profile for
    /// `wasm32-wasip1`, or for another [`Module::wasm_target`].
    ///
    /// The package must not be a member of the host's workspace: it needs a `[workspace]` table of
    /// its own, or the host's workspace excludes it.
    ///
    /// The host's toolchain builds the package, unless the package has a toolchain file
    /// (`rust-toolchain.toml`) that is not the host's too: then the toolchain that the file names,
    /// if rustup is in use. The guest's target must be installed for that toolchain.
    ///
    /// The script runs again when a file that the build depends on has changed: sources, manifests,
    /// the lock file, the configuration of cargo (`.cargo/config.toml`), the toolchain file. So it
    /// does when an environment variable has changed that the package or one of its dependencies
    /// reads by `env!` or `option_env!`, or that one of their build scripts names to cargo. A
    /// configuration or toolchain file that was not there before is noticed only when the script
    /// runs for another reason: cargo would run a script that waits for a missing file every time.
    /// The script does not run again for variables that configure cargo.
    pub fn from_crate(directory: impl AsRef<Path>) -> Self {
        Self::of(Source::Crate {
            directory: directory.as_ref().to_owned(),
            target: guest::WASI.to_owned(),
            binary: None,
        })
    }

    /// The module that rustc makes of one file, optimised for size: a program for `wasm32-wasip1`,
    /// or a `cdylib` for `wasm32-unknown-unknown`; see [`Module::wasm_target`].
    pub fn from_rust(file: impl AsRef<Path>) -> Self {
        Self::of(Source::Rust {
            file: file.as_ref().to_owned(),
            target: guest::WASI.to_owned(),
            edition: "2024".to_owned(),
        })
    }

    /// The module that a command makes of a file, such as `["clang", "--target=wasm32-wasi",
    /// "-O2"]` of a C file. After these arguments, the command gets `-MD`, `-MF` and a path, with
    /// which C compilers write the names of the headers, then the file, `-o` and the module's path.
    pub fn from_c(
        file: impl AsRef<Path>,
        command: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self::of(Source::C {
            file: file.as_ref().to_owned(),
            command: command.into_iter().map(Into::into).collect(),
        })
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            name: None,
            settings: Settings::default(),
            own_cpu: false,
            as_object: false,
            cached: true,
        }
    }

    /// The target of a guest in Rust: `wasm32-wasip1`, `wasm32-unknown-unknown` or another one that
    /// rustc has. It changes nothing for other guests.
    #[must_use]
    pub fn wasm_target(mut self, triple: &str) -> Self {
        if let Source::Crate { target, .. } | Source::Rust { target, .. } = &mut self.source {
            triple.clone_into(target);
        }
        self
    }

    /// The edition of Rust of a guest in one file, 2024 by default. It changes nothing for other
    /// guests.
    #[must_use]
    pub fn edition(mut self, year: &str) -> Self {
        if let Source::Rust { edition, .. } = &mut self.source {
            year.clone_into(edition);
        }
        self
    }

    /// Which program or `cdylib` of the package is the guest, for a package with several.
    #[must_use]
    pub fn binary(mut self, name: &str) -> Self {
        if let Source::Crate { binary, .. } = &mut self.source {
            *binary = Some(name.to_owned());
        }
        self
    }

    /// The name for `include_artifact!` and `include_bindings!`, which no other module of the build
    /// script has. By default it is the name of the file or of the directory, without its
    /// extension.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Settings of the compiler. If they have no target, it is cargo's. If they have neither a
    /// target nor a CPU, the CPU is the default of [`Module::cpu`]. A target of another
    /// architecture than cargo's is a warning: it is only for artifacts that are shipped as files.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.own_cpu = settings.cpu != Cpu::default() || settings.target.is_some();
        self.settings = settings;
        self
    }

    /// The CPU features that the code may use. By default, they are those that rustc compiles the
    /// host for, for example because of `-C target-cpu`.
    #[must_use]
    pub fn cpu(mut self, cpu: Cpu) -> Self {
        self.own_cpu = true;
        self.settings.cpu = cpu;
        self
    }

    /// Links the artifact as an object file of `precast_object`, instead of including it by rustc's
    /// assembler. This makes no difference to the host.
    #[must_use]
    pub fn as_object(mut self) -> Self {
        self.as_object = true;
        self
    }

    /// Compiles the module every time, without the cache.
    #[must_use]
    pub fn uncached(mut self) -> Self {
        self.cached = false;
        self
    }

    /// Whether rustc has the standard library for the target of a guest in Rust. True for other
    /// guests.
    ///
    /// If it has not, a host that also has its guest as a compiled module can use that module
    /// instead.
    pub fn is_target_installed(&self) -> bool {
        let cargo = Environment::of_cargo();
        cargo.is_ok_and(|cargo| self.source.check_target(&cargo).is_ok())
    }

    /// Compiles the module, and writes the artifact, and what the macros of `precast_loader`
    /// include, into `OUT_DIR`. Tells cargo when to run the build script again.
    ///
    /// After an error the script can compile another module under the same name, for example one
    /// that was compiled to WebAssembly before. Cargo runs the script again when the file or the
    /// directory of the module that failed has changed, but not when one that was missing appears.
    ///
    /// # Errors
    /// [`Error`], also if this is not called in a build script.
    pub fn compile(self) -> Result<Built, Error> {
        let cargo = Environment::of_cargo()?;
        let (made, directives) = self.compile_under_own_name(&cargo);
        for directive in directives {
            println!("cargo::{directive}");
        }
        made
    }

    /// Returns what was built, and what to tell cargo.
    fn compile_under_own_name(self, cargo: &Environment) -> (Result<Built, Error>, Vec<String>) {
        let name = match OwnName::claim(self.name_or_stem(), cargo) {
            Ok(name) => name,
            Err(error) => return (Err(error), Vec::new()),
        };
        let path = self.source.path().to_owned();
        match self.compile_in(cargo) {
            Ok((built, directives)) => (Ok(built), directives),
            Err(error) => {
                name.release();
                // Cargo would run the script again each time for a path that does not exist.
                let path = Some(path).filter(|path| path.exists());
                let directive = path.map(|path| format!("rerun-if-changed={}", path.display()));
                (Err(error), directive.into_iter().collect())
            }
        }
    }

    fn name_or_stem(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.source.stem())
    }

    /// Returns what was built, and what to tell cargo.
    fn compile_in(mut self, cargo: &Environment) -> Result<(Built, Vec<String>), Error> {
        // Because of this line, cargo does not run the script again for every change of the
        // package. It compiles and runs a script that has changed itself in any case.
        let mut directives = vec![format!(
            "rerun-if-env-changed={}",
            precast_cache::DIRECTORY_VARIABLE
        )];
        let name = self.name_or_stem();
        if self.settings.target.is_none() {
            self.settings.target = Some(cargo.target.clone());
        }
        if !self.own_cpu {
            let features = cargo.features.split(',');
            self.settings.cpu = Cpu::with_known_features(&cargo.target, features)
                .map_err(|source| self.source.not_compiled(source))?;
        }
        let guest = guest::build(&self.source, &name, cargo)?;
        let files = guest.files.iter();
        directives.extend(files.map(|file| format!("rerun-if-changed={}", file.display())));
        let variables = guest.variables.iter();
        directives.extend(variables.map(|name| format!("rerun-if-env-changed={name}")));

        let bytes = self.artifact(&guest.wasm)?;
        let path = cargo.write(&format!("{name}.precast"), &bytes)?;
        let bytes = Aligned::new(&bytes);
        let artifact = Artifact::parse(&bytes, None)?;
        directives.extend(foreign(&artifact, &name, cargo).map(|text| format!("warning={text}")));
        let embedded = match self.as_object {
            true => embed::as_object(&artifact, &name, cargo)?,
            false => embed::as_assembly(&artifact, &name, &path, cargo)?,
        };
        directives.extend(embedded);
        let bindings = bindings::write(&artifact, &name);
        cargo.write(&format!("{name}.bindings.rs"), bindings.as_bytes())?;
        let built = Built {
            artifact: path,
            digest: artifact.header().digest,
        };
        Ok((built, directives))
    }

    fn artifact(&self, wasm: &[u8]) -> Result<Vec<u8>, Error> {
        let directory = precast_cache::default_directory().filter(|_| self.cached);
        // If the cache cannot be used, the module is compiled without it.
        let cache = directory.and_then(|directory| CompilationCache::open(directory).ok());
        let failed = |source| self.source.not_compiled(source);
        match cache.map(|cache| cache.artifact(wasm, &self.settings)) {
            Some(Ok(artifact)) => Ok(artifact),
            Some(Err(precast_cache::Error::Compile(source))) => Err(failed(source)),
            Some(Err(_)) | None => {
                let compiler = Compiler::new(self.settings.clone()).map_err(failed)?;
                Ok(compiler.compile(wasm).map_err(failed)?.artifact)
            }
        }
    }
}

/// What is wrong with an artifact for another architecture than the host's. An artifact for the
/// host's architecture and another system is none of these, because both have the same code.
fn foreign(artifact: &Artifact<'_>, name: &str, cargo: &Environment) -> Option<String> {
    let arch = Arch::from_number(artifact.header().arch)?.name();
    // The letters behind `riscv64` in a target name extensions, which are features of the CPU.
    let is_host = cargo.target.starts_with(arch.trim_end_matches("gc"));
    (!is_host).then(|| {
        format!(
            "the guest `{name}` is compiled for {arch}, and its host for {}: the host can ship the \
             file `{name}.precast`, but cannot open what the macros of precast_loader include",
            cargo.target
        )
    })
}

/// A name that no other module of this build script has: the files of the second one would replace
/// those of the first.
struct OwnName(PathBuf);

impl OwnName {
    fn claim(name: String, cargo: &Environment) -> Result<Self, Error> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if name.is_empty() || !name.chars().all(is_part) || name.starts_with('.') {
            return Err(Error::Name { found: name });
        }
        let path = cargo.out_dir.join(&name);
        match Self::taken().insert(path.clone()) {
            true => Ok(Self(path)),
            false => Err(Error::TakenName { name }),
        }
    }

    /// Leaves the name to another module. Removes what the macros include, which may be of a guest
    /// that could still be built: a host whose script goes on must not have that one.
    fn release(self) {
        for ending in ["embedded.rs", "bindings.rs"] {
            let mut file = self.0.clone().into_os_string();
            file.push(format!(".{ending}"));
            // Most often there is none.
            std::fs::remove_file(file).ok();
        }
        Self::taken().remove(&self.0);
    }

    fn taken() -> MutexGuard<'static, BTreeSet<PathBuf>> {
        static TAKEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
