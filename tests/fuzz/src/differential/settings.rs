//! All the ways to compile that are compared.

use std::collections::HashMap;

use precast_compiler::{Compiler, Cpu, Interruption, OptLevel, Settings, Strategy};
use precast_loader::{Engine, Module};

use crate::Case;

/// CPUs that code is compiled for, where this machine has what they need.
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
    /// Position in the CPUs that this machine has.
    pub cpu: usize,
    pub interruption: Interruption,
}

/// Optimisation levels, so that they can be keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    None,
    Speed,
    Size,
}

/// Compilers, made when they are first needed.
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
            let way = Way {
                strategy: Strategy::Checked,
                level: Level::None,
                cpu,
                interruption: Interruption::None,
            };
            runs.push(ways.compile(way, b"\0asm\x01\0\0\0").is_ok());
        }
        let mut runs = runs.into_iter();
        ways.cpus.retain(|_| runs.next() == Some(true));
        ways.compilers.clear();
        ways
    }

    /// Some way: half of them without optimisation, which costs least.
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
            ]),
        }
    }

    /// A way as the command line has it.
    pub fn describe(&self, way: Way) -> String {
        let level = format!("{:?}", way.level).to_lowercase();
        let (strategy, interruption) = (way.strategy, way.interruption);
        format!(
            "--strategy {strategy} --opt-level {level} --interruption {interruption} --cpu {}",
            CPUS[way.cpu]
        )
    }

    /// Compiles a module and opens it.
    ///
    /// # Errors
    /// The compiler's or loader's.
    pub fn compile(&mut self, way: Way, wasm: &[u8]) -> Result<Module, String> {
        let cpu = &self.cpus[way.cpu];
        let compiler = self.compilers.entry(way).or_insert_with(|| {
            let settings = Settings {
                opt_level: match way.level {
                    Level::None => OptLevel::None,
                    Level::Speed => OptLevel::Speed,
                    Level::Size => OptLevel::Size,
                },
                target: None,
                cpu: cpu.clone(),
                strategy: way.strategy,
                interruption: way.interruption,
                // Modules are small: a function is compiled in less time than it takes to wake a thread.
                threads: Some(1),
            };
            Compiler::new(settings).expect("settings that are supported")
        });
        let compiled = compiler.compile(wasm).map_err(|error| error.to_string())?;
        // SAFETY: the compiler has just written these bytes.
        let module = unsafe { Module::from_bytes(&self.engine, &compiled.artifact) };
        module.map_err(|error| error.to_string())
    }
}
