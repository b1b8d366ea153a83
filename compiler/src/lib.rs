//! Compiles WebAssembly modules ahead of time to precast artifacts.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use precast_compiler::{Compiler, Settings};
//!
//! let compiler = Compiler::new(Settings::default())?;
//! let compiled = compiler.compile(&std::fs::read("hello.wasm")?)?;
//! std::fs::write("hello.precast", &compiled.artifact)?;
//! # Ok(()) }
//! ```

// Where things are, for those who change the crate. Each phase borrows the result of the earlier
// one:
//
// | module | what |
// |---|---|
// | `settings`, `target` | what the user chooses, and the Cranelift target that follows |
// | `parse` | reads and validates the bytes of a `module::Module` |
// | `const_expr`, `features` | its constant expressions, and the proposals that it uses |
// | `operator` | the class of each operator, for everything that does not translate it |
// | `regions`, `counters` | what code that makes profiles counts, and where |
// | `plan` | makes every decision: VM context, frozen tables, memory image, trampolines |
// | `middle` | makes decisions about functions together, such as which calls are inlined |
// | `translate`, `trampoline` | translate operators and calling conventions to Cranelift IR |
// | `signature`, `rounding` | calling conventions of Cranelift; rounding where the CPU cannot |
// | `codegen` | generates machine code, in parallel |
// | `addresses` | makes the address map of a function, for backtraces |
// | `pressure` | chooses the register allocator for a function |
// | `stops` | makes checks that fail call the loader, by rewriting machine code |
// | `relax` | gives jumps their short form, and copies the dispatch of interpreters |
// | `exits` | puts code that leaves a short counted loop behind the loop |
// | `starts` | finds where functions should start, so that their loops run fast |
// | `layout` | lays out the machine code as one text without relocations |
// | `emit` | writes the bytes of the artifact |
// | `verify` | checks these bytes, independently of all other modules |
// | `workers` | runs the parallel phases on threads of the compilation |
// | `limits` | what a compilation may take |
// | `identity` | lists what artifacts depend on besides the module |
// | `symbol` | names everything that the phases refer to |
// | `error` | errors, by what the caller can do |

mod addresses;
mod codegen;
mod const_expr;
mod counters;
mod emit;
mod error;
mod exits;
mod features;
mod identity;
mod layout;
mod limits;
mod middle;
mod module;
mod operator;
mod parse;
mod plan;
mod pressure;
mod regions;
mod relax;
mod rounding;
mod settings;
mod signature;
mod starts;
mod stops;
mod symbol;
mod target;
mod trampoline;
mod translate;
mod verify;
mod workers;

use std::time::{Duration, Instant};

pub use error::Error;
pub use identity::Identity;
pub use layout::LayoutError;
pub use limits::Limits;
pub use settings::{Cpu, CpuLevel, CustomSections, OptLevel, Settings};
#[doc(hidden)]
pub use settings::{Inline, Passes};
pub use verify::{VerifyError, verify};

pub use precast_artifact::{Interruption, Profile, ProfileError, Strategy};

use precast_artifact::{HEADER_OFFSET, Header};

use target::Target;
use workers::Workers;

/// Compiles modules for one target with one set of settings. A compiler is cheap to make, and
/// threads may share it.
pub struct Compiler {
    settings: Settings,
    target: Target,
}

/// An artifact, and how long it took to compile.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The bytes of the artifact.
    pub artifact: Vec<u8>,
    /// The artifact's digest, which `Module::open_verified` of the loader asks for; see
    /// [`precast_artifact::digest`].
    pub digest: [u8; 32],
    /// Wall-clock time of each phase.
    pub timings: Timings,
}

/// Wall-clock time of each phase of a compilation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// Reading and validating the module.
    pub parse: Duration,
    /// Making decisions about memories, tables and trampolines.
    pub plan: Duration,
    /// Translation and code generation.
    pub codegen: Duration,
    /// Laying out the text and resolving its references.
    pub layout: Duration,
    /// Writing the artifact.
    pub emit: Duration,
}

impl Timings {
    /// Names and times of the phases, in the order in which they run.
    pub fn phases(&self) -> [(&'static str, Duration); 5] {
        let Self {
            parse,
            plan,
            codegen,
            layout,
            emit,
        } = *self;
        [
            ("parse", parse),
            ("plan", plan),
            ("codegen", codegen),
            ("layout", layout),
            ("emit", emit),
        ]
    }

    /// Sum of the times of all phases.
    pub fn total(&self) -> Duration {
        self.phases().iter().map(|(_, time)| *time).sum()
    }
}

impl Compiler {
    /// Makes a compiler with these settings.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings that are not supported.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        settings.custom_sections.check()?;
        let target = Target::new(&settings)?;
        Ok(Self { settings, target })
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Compiles a module.
    ///
    /// # Errors
    /// [`Error::NotAModule`], [`Error::Invalid`] and [`Error::Unsupported`] if something is wrong
    /// with the bytes; [`Error::TooLarge`] and [`Error::Limit`] if a limit is exceeded;
    /// [`Error::Profile`] if the profile is of another module.
    pub fn compile(&self, wasm: &[u8]) -> Result<Compiled, Error> {
        self.compile_with_progress(wasm, &|_, _| {})
    }

    /// Like [`Compiler::compile`], and calls `progress` after each function, on the thread that
    /// compiled it, with the number of compiled functions and the number of all functions.
    ///
    /// # Errors
    /// Those of [`Compiler::compile`].
    pub fn compile_with_progress(
        &self,
        wasm: &[u8],
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Compiled, Error> {
        workers::on_a_thread(self.settings.threads, || self.compile_here(wasm, progress))
    }

    fn compile_here(
        &self,
        wasm: &[u8],
        progress: codegen::Progress<'_>,
    ) -> Result<Compiled, Error> {
        let mut timings = Timings::default();
        let mut start = Instant::now();
        let mut lap = |phase: &mut Duration| {
            *phase = start.elapsed();
            start = Instant::now();
        };
        let limits = &self.settings.limits;
        limits.check_module(wasm.len())?;
        let allowed = self.target.wasm_features();
        let workers = Workers::new(self.settings.threads);
        let module = parse::parse_with(allowed, wasm, workers).map_err(|error| {
            let parse = |allowed| Ok(parse::parse_with(allowed, wasm, workers)?.features());
            self.target.explain(error, parse)
        })?;
        lap(&mut timings.parse);
        limits.check_functions(module.bodies.len())?;
        let source = blake3::hash(wasm).into();
        let profile = self.settings.profile.as_deref();
        if let Some(profile) = profile {
            profile.check_module(&source)?;
        }
        let mut plan = plan::Plan::new(&module)?;
        let counters = match self.settings.counters {
            true => Some(counters::Counters::new(&module, &mut plan, workers)?),
            false => None,
        };
        let Settings { opt_level, .. } = self.settings;
        let passes = self.settings.passes();
        let middle = middle::Middle::new(&module, &plan, passes, opt_level, profile, workers)?;
        lap(&mut timings.plan);
        let env = translate::Env {
            module: &module,
            plan: &plan,
            middle: &middle,
            counters: counters.as_ref(),
            switches: passes.switches,
            variables: passes.variables,
            exits: passes.exits && opt_level == OptLevel::Speed,
            loops: passes.loops && opt_level == OptLevel::Speed,
            jumps: relax::Jumps {
                short: passes.jumps && opt_level != OptLevel::None,
                copied: passes.dispatches && opt_level == OptLevel::Speed,
            },
            isa: &*self.target.isa,
            finishers: self.target.finishers(),
            strategy: self.settings.strategy,
            interruption: self.settings.interruption,
            listeners: self.settings.listeners,
            limits,
            wasm_len: wasm.len(),
        };
        let code = codegen::compile(&env, workers, progress)?;
        lap(&mut timings.codegen);
        let rodata = layout::RodataLayout::new(&plan);
        let heat = |symbol| middle.heat(symbol);
        let placed = layout::lay_out(code, self.target.arch, &rodata, &heat)?;
        lap(&mut timings.layout);
        let artifact = emit::emit(
            emit::Source {
                len: wasm.len() as u64,
                digest: source,
            },
            &module,
            &plan,
            counters.as_ref(),
            &self.target,
            &self.settings,
            &rodata,
            placed,
        )?;
        limits.check_artifact(artifact.len(), wasm.len())?;
        lap(&mut timings.emit);
        let digest = header_digest(&artifact);
        Ok(Compiled {
            artifact,
            digest,
            timings,
        })
    }
}

/// The digest that the header of a whole artifact holds.
fn header_digest(artifact: &[u8]) -> [u8; 32] {
    let start = HEADER_OFFSET + std::mem::offset_of!(Header, digest);
    let mut digest = [0; 32];
    digest.copy_from_slice(&artifact[start..start + 32]);
    digest
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
