//! Turns an artifact into a relocatable object that a linker puts into an executable: ELF, Mach-O
//! or COFF; or, with a runner, into an executable without a linker.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In a build script, with the artifact that `precast_compiler` made:
//! # let artifact: Vec<u8> = Vec::new();
//! let out = std::path::Path::new(&std::env::var("OUT_DIR")?).join("guest.o");
//! std::fs::write(&out, precast_object::object_file(&artifact, "GUEST")?)?;
//! println!("cargo::rustc-link-arg-bins={}", out.display());
//! # Ok(()) }
//! ```
//!
//! The object's text is the whole artifact, at a symbol that the host names, and the artifact's
//! code runs where the linker put it: `precast_loader::Module::from_static` maps nothing and makes
//! no page executable, so it works where the system allows only code of executables. All of the
//! artifact except for a GOT can be executed there, including tables and memory image, and none of
//! it can be written to.
//!
//! References inside of an artifact are relative, so the object has no relocations. The loader
//! fills in a GOT once, where the linker put it: in pages that nothing else is in, and that it
//! makes writable for that time only. Systems other than Linux refuse this, so artifacts with a GOT
//! are refused for them.
//!
//! Functions of the guest are local symbols of the object, so that debuggers and profilers know
//! them.
//!
//! # What runs
//! The loader runs on Linux, so ELF objects run today, on x86-64 and aarch64. Mach-O and COFF
//! objects are containers for a future loader: their content is right, linkers accept them, and
//! nothing calls their code yet. The machine code is that of Linux. It calls the host by the System
//! V convention of x86-64, which macOS shares and Windows does not, so a loader for Windows has to
//! declare its entry points as `extern "sysv64"`. On aarch64 the code does not use the register
//! x18, which Apple and Windows reserve. The code does not probe the stack as Windows expects, so a
//! loader there has to run guests on stacks that are committed beforehand.

mod elf;
mod executable;

pub use executable::executable;

use cranelift_codegen::isa;
use cranelift_codegen::settings::{self, Flags};
use cranelift_module::{Linkage, Module as _, default_libcall_names};
use cranelift_object::object::write::{Symbol, SymbolId, SymbolSection};
use cranelift_object::object::{SectionKind, SymbolFlags, SymbolKind, SymbolScope};
use cranelift_object::{ObjectBuilder, ObjectModule, ObjectProduct};
use precast_artifact::target::{Arch, Os};
use precast_artifact::{Aligned, Artifact, HEADER_OFFSET};

/// Why an object file or an executable cannot be made of an artifact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not an artifact of this format, or a damaged one.
    #[error(transparent)]
    Artifact(#[from] precast_artifact::Error),

    /// Object files are not supported for this target.
    #[error(
        "the artifact is for {found}; object files are made of artifacts for x86_64-linux and \
         aarch64-linux, where the loader runs"
    )]
    Target {
        /// The target that was found.
        found: String,
    },

    /// The loader would have to write into the artifact.
    #[error(
        "the artifact has {count} GOT slots, which a loader fills in, and the text of an executable \
         of this system cannot be written to; compile for a CPU with SSSE3 and FMA (such as \
         `--cpu x86-64-v3`), and without function types of more than 20 values"
    )]
    NeedsPatching {
        /// Number of slots.
        count: usize,
    },

    /// C and Rust programs cannot refer to a symbol of this name.
    #[error(
        "`{}` is not a valid symbol name: expected letters, digits and underscores, and no digit in front",
        precast_artifact::shown(found)
    )]
    Symbol {
        /// The name.
        found: String,
    },

    /// The artifact cannot be put into the runner.
    #[error("the runner cannot be used: {what}")]
    Runner {
        /// What was found, and what was expected.
        what: String,
    },

    /// The object writer failed.
    #[error("cannot write the object file: {0}")]
    Write(String),
}

/// Alignment of an artifact without a GOT, in bytes. Code of aarch64 computes addresses relative to
/// its own unit of 4 KiB.
const ALIGN: u64 = 4096;

/// The system that an object file is for, and so its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum System {
    /// ELF.
    Linux,
    /// Mach-O.
    Darwin,
    /// COFF.
    Windows,
}

impl System {
    /// The system of a target triple that is not Linux, and the triple to compile for: code is the
    /// same for all systems of an architecture. `None` for any other triple.
    pub fn of_triple(triple: &str) -> Option<(Self, &'static str)> {
        let system = match triple {
            "x86_64-apple-darwin" | "aarch64-apple-darwin" => Self::Darwin,
            "x86_64-pc-windows-msvc" | "aarch64-pc-windows-msvc" => Self::Windows,
            _ => return None,
        };
        let linux = match triple.starts_with("x86_64") {
            true => "x86_64-unknown-linux-gnu",
            false => "aarch64-unknown-linux-gnu",
        };
        Some((system, linux))
    }
}

/// The ELF object file of an artifact, with a global symbol for its first byte.
///
/// # Errors
/// [`Error`] if the bytes are not an artifact, or if it cannot be an object file.
pub fn object_file(artifact: &[u8], symbol: &str) -> Result<Vec<u8>, Error> {
    object_file_for(artifact, symbol, System::Linux)
}

/// The object file of an artifact in the format of a system, with a global symbol for its first
/// byte. What runs where is at the top of this page. In a Mach-O file, the symbol has an underscore
/// in front, as all names of C have there.
///
/// # Errors
/// As for [`object_file`].
pub fn object_file_for(artifact: &[u8], symbol: &str, system: System) -> Result<Vec<u8>, Error> {
    let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if symbol.is_empty() || !symbol.chars().all(is_name) || symbol.starts_with(char::is_numeric) {
        return Err(Error::Symbol {
            found: symbol.to_owned(),
        });
    }
    let aligned = Aligned::new(artifact);
    let parsed = Artifact::parse(&aligned, None)?;
    let header = parsed.header();
    let count = parsed.got_records().len();
    if count > 0 && system != System::Linux {
        return Err(Error::NeedsPatching { count });
    }
    let triple = match (Arch::from_number(header.arch), Os::from_number(header.os)) {
        (Some(Arch::X86_64), Some(Os::Linux)) => match system {
            System::Linux => "x86_64-unknown-linux-gnu",
            System::Darwin => "x86_64-apple-darwin",
            System::Windows => "x86_64-pc-windows-msvc",
        },
        (Some(Arch::Aarch64), Some(Os::Linux)) => match system {
            System::Linux => "aarch64-unknown-linux-gnu",
            System::Darwin => "aarch64-apple-darwin",
            System::Windows => "aarch64-pc-windows-msvc",
        },
        (arch, os) => {
            let arch = arch.map_or("an unknown architecture", Arch::name);
            let os = os.map_or("an unknown system", Os::name);
            return Err(Error::Target {
                found: format!("{arch}-{os}"),
            });
        }
    };
    write(&parsed, triple, symbol, system)
}

impl Error {
    fn runner(what: &str) -> Self {
        Self::Runner {
            what: what.to_owned(),
        }
    }
}

fn write(
    artifact: &Artifact<'_>,
    triple: &str,
    symbol: &str,
    system: System,
) -> Result<Vec<u8>, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Write(error.to_string());
    let isa = isa::lookup_by_name(triple).map_err(|e| failed(&e))?;
    let isa = isa.finish(Flags::new(settings::builder()));
    let isa = isa.map_err(|e| failed(&e))?;
    let builder = ObjectBuilder::new(isa, "precast", default_libcall_names());
    let mut module = ObjectModule::new(builder.map_err(|e| failed(&e))?);
    let signature = module.make_signature();
    let whole = module
        .declare_function(symbol, Linkage::Export, &signature)
        .map_err(|e| failed(&e))?;
    // The loader makes the pages of a GOT writable, so the GOT is aligned to the largest page size
    // of the architecture.
    let align = match artifact.got_records() {
        [] => ALIGN,
        _ => artifact.header().page_size.into(),
    };
    module
        .define_function_bytes(whole, align, artifact.bytes(), &[])
        .map_err(|e| failed(&e))?;

    let mut product = module.finish();
    let whole = product.function_symbol(whole);
    // The artifact is not one function: tools should use the symbols of the functions in it.
    product.object.symbol_mut(whole).kind = SymbolKind::Data;
    name_functions(&mut product, artifact, whole, system);
    if system == System::Linux {
        // Without this section, linkers assume that the object needs an executable stack.
        let stack = b".note.GNU-stack".to_vec();
        product
            .object
            .add_section(Vec::new(), stack, SectionKind::Other);
    }
    product.emit().map_err(|e| failed(&e))
}

/// Adds a local symbol for each of the guest's functions.
fn name_functions(
    product: &mut ObjectProduct,
    artifact: &Artifact<'_>,
    whole: SymbolId,
    system: System,
) {
    /// `N_ALT_ENTRY`: without it, Apple's linker would take the artifact apart where a symbol is,
    /// and drop or move parts of it.
    const ALT_ENTRY: u16 = 0x0200;
    let symbol = product.object.symbol(whole);
    let (section, start) = (symbol.section, symbol.value);
    let SymbolSection::Section(_) = section else {
        unreachable!("the artifact was defined");
    };
    let text = start + HEADER_OFFSET as u64 + artifact.header().text.start;
    for (i, function) in (0..).zip(artifact.functions()) {
        let Some(name) = artifact.function_name(i) else {
            continue;
        };
        product.object.add_symbol(Symbol {
            name: name.to_vec(),
            value: text + u64::from(function.text_offset),
            size: function.text_len.into(),
            kind: SymbolKind::Text,
            scope: SymbolScope::Compilation,
            weak: false,
            section,
            flags: match system {
                System::Linux | System::Windows => SymbolFlags::None,
                System::Darwin => SymbolFlags::MachO { n_desc: ALT_ENTRY },
            },
        });
    }
}
