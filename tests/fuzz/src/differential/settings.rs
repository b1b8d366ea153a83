//! The ways to compile that are compared.

use std::collections::HashMap;
use std::sync::Arc;

use precast_compiler::{
    Compiler, Cpu, Inline, Interruption, OptLevel, Passes, Profile, Settings, Strategy,
};
use precast_loader::{Engine, Module};

use crate::Case;

/// The CPUs that code is compiled for. Those that this machine cannot run are left out.
const CPUS: &[&str] = &[
    "baseline",
    "native",
    #[cfg(target_arch = "x86_64")]
    "x86-64-v2",
    #[cfg(target_arch = "x86_64")]
    "x86-64-v3",
    #[cfg(target_arch = "x86_64")]
    "baseline,+sse3,+ssse3",
    #[cfg(target_arch = "x86_64")]
    "x86-64-v2,-sse4.2,+lzcnt,+bmi1",
    #[cfg(target_arch = "x86_64")]
    "native,-avx512f,-avx512dq,-avx512vl,-avx512bitalg,-avx512vbmi,-fma",
];

/// One way to compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Way {
    pub strategy: Strategy,
    pub level: Level,
    /// The index in the list of the CPUs that this machine can run.
    pub cpu: usize,
    pub interruption: Interruption,
    /// Whether every call is inlined that can be.
    pub inlined: bool,
    /// Whether a `br_table` may become comparisons.
    pub switches: bool,
    /// Whether locals are variables. Otherwise they are in the frame.
    pub variables: bool,
    /// Whether functions are placed so that their loops run fast.
    pub loops: bool,
    /// Whether code that leaves a short counted loop is behind the loop.
    pub exits: bool,
    /// Whether jumps have their short form where they can.
    pub jumps: bool,
    /// Whether jumps to a dispatch become copies of it.
    pub dispatches: bool,
    /// Whether code counts what it does. Then the module is compiled again with the profile.
    pub counters: bool,
}

/// Optimisation levels in a form that can be part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    None,
    Speed,
    Size,
}

impl Way {
    /// The plainest way that counts fuel: the code has every call, check and table of the module.
    pub const PLAIN: Self = Self {
        strategy: Strategy::Checked,
        level: Level::None,
        cpu: 0,
        interruption: Interruption::Fuel,
        inlined: false,
        switches: false,
        variables: true,
        loops: false,
        exits: false,
        jumps: false,
        dispatches: false,
        counters: false,
    };
}

/// Compilers, which are made when they are first needed.
pub struct Ways {
    cpus: Vec<Cpu>,
    compilers: HashMap<Way, Compiler>,
    engine: Engine,
}

impl Ways {
    pub fn new() -> Self {
        let parse = |text: &&str| text.parse().expect("a CPU that is listed above");
        let mut ways = Self {
            cpus: CPUS.iter().map(parse).collect(),
            compilers: HashMap::new(),
            engine: Engine::default(),
        };
        let mut runs = Vec::new();
        for cpu in 0..ways.cpus.len() {
            let way = Way { cpu, ..Way::PLAIN };
            runs.push(ways.compile(way, b"\0asm\x01\0\0\0").is_ok());
        }
        let mut runs = runs.into_iter();
        ways.cpus.retain(|_| runs.next() == Some(true));
        ways.compilers.clear();
        ways
    }

    /// A random way to compile. Half of the time it is without optimisation, which takes least
    /// time.
    pub fn random(&self, case: &mut Case) -> Way {
        Way {
            strategy: *case.one_of(&[Strategy::Guarded, Strategy::Checked]),
            level: *case.one_of(&[Level::None, Level::None, Level::Speed, Level::Size]),
            cpu: case.rng.usize(..self.cpus.len()),
            interruption: *case.one_of(&[
                Interruption::None,
                Interruption::None,
                Interruption::Fuel,
                Interruption::Epoch,
                Interruption::FuelAndEpoch,
            ]),
            inlined: *case.one_of(&[true, true, false]),
            switches: !case.once_in(6),
            variables: !case.once_in(6),
            loops: !case.once_in(6),
            exits: !case.once_in(6),
            jumps: !case.once_in(6),
            dispatches: !case.once_in(6),
            counters: case.once_in(4),
        }
    }

    /// The options of the command line that compile in this way.
    pub fn describe(&self, way: Way) -> String {
        let level = format!("{:?}", way.level).to_lowercase();
        let (strategy, interruption) = (way.strategy, way.interruption);
        let passes = [
            (way.inlined, "inline=always"),
            (!way.switches, "switches=never"),
            (!way.variables, "variables=never"),
            (!way.loops, "loops=never"),
            (!way.exits, "exits=never"),
            (!way.jumps, "jumps=never"),
            (!way.dispatches, "dispatches=never"),
        ];
        let passes = passes.iter().filter(|(differs, _)| *differs);
        let passes: Vec<_> = passes.map(|(_, name)| *name).collect();
        let passes = match passes.is_empty() {
            true => String::new(),
            false => format!(" --passes {}", passes.join(",")),
        };
        let counters = if way.counters { " --counters" } else { "" };
        format!(
            "--strategy {strategy} --opt-level {level} --interruption {interruption} --cpu {}{passes}{counters}",
            CPUS[way.cpu]
        )
    }

    /// Compiles a module and opens it.
    ///
    /// # Errors
    /// Those of the compiler and of the loader.
    pub fn compile(&mut self, way: Way, wasm: &[u8]) -> Result<Module, String> {
        let cpu = &self.cpus[way.cpu];
        let compiler = self.compilers.entry(way).or_insert_with(|| {
            Compiler::new(settings(way, cpu.clone())).expect("settings that are supported")
        });
        open(&self.engine, compiler, wasm)
    }

    /// Compiles a module with a profile, and opens it.
    ///
    /// # Errors
    /// Those of the compiler and of the loader.
    pub fn compile_with(&self, way: Way, profile: Profile, wasm: &[u8]) -> Result<Module, String> {
        let settings = Settings {
            profile: Some(Arc::new(profile)),
            ..settings(way, self.cpus[way.cpu].clone())
        };
        let compiler = Compiler::new(settings).map_err(|error| error.to_string())?;
        open(&self.engine, &compiler, wasm)
    }
}

fn settings(way: Way, cpu: Cpu) -> Settings {
    Settings {
        opt_level: match way.level {
            Level::None => OptLevel::None,
            Level::Speed => OptLevel::Speed,
            Level::Size => OptLevel::Size,
        },
        cpu,
        strategy: way.strategy,
        interruption: way.interruption,
        counters: way.counters,
        // Compiling a small function takes less time than waking a thread.
        threads: Some(1),
        passes: Passes {
            inline: if way.inlined {
                Inline::Always
            } else {
                Inline::ByCost
            },
            switches: way.switches,
            variables: way.variables,
            loops: way.loops,
            exits: way.exits,
            jumps: way.jumps,
            dispatches: way.dispatches,
            ..Passes::default()
        },
        ..Settings::default()
    }
}

fn open(engine: &Engine, compiler: &Compiler, wasm: &[u8]) -> Result<Module, String> {
    let compiled = compiler.compile(wasm).map_err(|error| error.to_string())?;
    // SAFETY: the compiler has just written these bytes.
    let module = unsafe { Module::from_bytes(engine, &compiled.artifact) };
    module.map_err(|error| error.to_string())
}
