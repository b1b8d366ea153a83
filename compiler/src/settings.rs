//! The settings that a user may choose. They are few, and the artifact records each of them.

use std::str::FromStr;
use std::sync::Arc;

use precast_artifact::{Interruption, Profile, Strategy};

use crate::{Error, Limits};

/// Settings of a [`Compiler`](crate::Compiler). The default is code for any CPU of this machine's
/// architecture, optimised for speed, with guarded memories.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What to optimise for.
    pub opt_level: OptLevel,
    /// Target triple, such as `aarch64-unknown-linux-gnu`; `None` for the host's triple.
    pub target: Option<String>,
    /// CPU features that the code may use.
    pub cpu: Cpu,
    /// How accesses to linear memory are kept in bounds.
    pub strategy: Strategy,
    /// How the host can stop running code.
    pub interruption: Interruption,
    /// Proposals that modules may use (`true`) or must not use. Each entry changes the set of all
    /// supported proposals, in this order. Names are those of `inspect`, such as
    /// `legacy-exceptions`.
    pub features: Vec<(String, bool)>,
    /// Whether functions call the listener of the host's store at their entry and where they
    /// return. No function is inlined then, and the code is slower even without a listener.
    pub listeners: bool,
    /// Whether code counts what it does, for profiles: `Module::profile` of the loader has the
    /// counts, and `precast run --profile-out` writes them.
    pub counters: bool,
    /// What the module did when it ran before: code is optimised for doing the same. A profile
    /// never changes what code does, whatever it says.
    pub profile: Option<Arc<Profile>>,
    /// Which custom sections of modules the artifacts keep, for hosts that ask for them.
    pub custom_sections: CustomSections,
    /// What a compilation may take.
    pub limits: Limits,
    /// Maximum number of threads to compile with. `None` stands for as many as there are CPUs, for
    /// all compilations of the process together. Threads are started for each compilation. With 1,
    /// and if the system refuses threads, the calling thread does the work itself; it should then
    /// have 2 MiB of stack.
    pub threads: Option<usize>,
    /// Which parts of the middle end run. For tests and measurements only.
    #[doc(hidden)]
    pub passes: Passes,
}

/// Which parts of the middle end run.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Passes {
    /// Which calls are inlined.
    pub inline: Inline,
    /// Whether the compilers' helper for 128-bit products becomes a multiplication.
    pub products: bool,
    /// Whether a `br_table` may become comparisons.
    pub switches: bool,
    /// Whether locals are variables, unless there are too many. Otherwise they are in the frame.
    pub variables: bool,
    /// Whether functions start at addresses where their loops take few lines of the instruction
    /// cache.
    pub loops: bool,
    /// Whether code that leaves a short counted loop is behind the loop.
    pub exits: bool,
    /// Whether jumps have their short form where they can.
    pub jumps: bool,
    /// Whether each operation of an interpreter has an indirect jump of its own.
    pub dispatches: bool,
}

impl Default for Passes {
    fn default() -> Self {
        Self {
            inline: Inline::default(),
            products: true,
            switches: true,
            variables: true,
            loops: true,
            exits: true,
            jumps: true,
            dispatches: true,
        }
    }
}

/// Which calls are inlined.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Inline {
    /// None.
    Never,
    /// Those that are worth it.
    #[default]
    ByCost,
    /// All that can be.
    Always,
}

impl Settings {
    /// The passes that run. With listeners, each function keeps its own code, so passes that join
    /// functions are off.
    pub(crate) fn passes(&self) -> Passes {
        let passes = self.passes;
        if !self.listeners {
            return passes;
        }
        Passes {
            inline: Inline::Never,
            products: false,
            ..passes
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            opt_level: OptLevel::Speed,
            target: None,
            cpu: Cpu::default(),
            strategy: Strategy::Guarded,
            interruption: Interruption::None,
            features: Vec::new(),
            listeners: false,
            counters: false,
            profile: None,
            custom_sections: CustomSections::None,
            limits: Limits::default(),
            threads: None,
            passes: Passes::default(),
        }
    }
}

/// Which custom sections of modules the artifacts keep. `Module::custom_sections` of the loader
/// finds them there. Running an artifact never reads them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CustomSections {
    /// None. What the compiler itself reads of them (names, producers) is kept in other forms.
    #[default]
    None,
    /// Those with these names.
    Named(Vec<String>),
    /// All, those with debugging information and names of functions too.
    All,
}

impl CustomSections {
    /// Maximum number of bytes of all names together.
    pub(crate) const MAX_NAMES: usize = 1 << 16;

    /// Whether a section with this name is kept.
    pub(crate) fn includes(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Named(names) => names.iter().any(|kept| kept == name),
            Self::All => true,
        }
    }

    /// Checks that an artifact can record the names.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self::Named(names) = self else {
            return Ok(());
        };
        let len: usize = names.iter().map(|name| name.len() + 4).sum();
        if len <= Self::MAX_NAMES {
            return Ok(());
        }
        Err(Error::Setting {
            setting: "list of custom sections to keep",
            found: format!("{} names of {len} bytes", names.len()),
            expected: format!("at most {} bytes", Self::MAX_NAMES),
        })
    }
}

/// What to optimise for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OptLevel {
    /// Short compile times.
    None,
    /// Fast code.
    #[default]
    Speed,
    /// Fast code, with transformations that reduce its size.
    Size,
}

impl FromStr for OptLevel {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        match s {
            "none" => Ok(Self::None),
            "speed" => Ok(Self::Speed),
            "size" => Ok(Self::Size),
            _ => Err(Error::Setting {
                setting: "optimisation level",
                found: s.to_owned(),
                expected: "none, speed or size".to_owned(),
            }),
        }
    }
}

/// CPU features that the code may use: a level, and then single features that are added or removed.
///
/// The text form is the name of a level, then any number of `,+feature` and `,-feature`. Levels are
/// `baseline` and `native`, for x86-64 `x86-64-v2`, `x86-64-v3` and `x86-64-v4`, and for aarch64
/// `armv8.1-a`, `armv8.4-a` and `armv9-a`. The level may be left out, which means `baseline`. Names
/// of features are those of [`Arch::features`](precast_artifact::target::Arch::features).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cpu {
    /// The features to start from.
    pub level: CpuLevel,
    /// Features to add (`true`) or remove, in this order.
    pub features: Vec<(String, bool)>,
}

impl Cpu {
    /// The baseline with the named features, except for those that code cannot be compiled for. The
    /// names are those of Rust's `target_feature`, as in `CARGO_CFG_TARGET_FEATURE`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a target that is not supported.
    pub fn with_known_features<'a>(
        target: &str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        let known = crate::target::known_cpu_features(target)?;
        let names = names.into_iter().filter(|name| known.contains(name));
        Ok(Self {
            level: CpuLevel::Baseline,
            features: names.map(|name| (name.to_owned(), true)).collect(),
        })
    }
}

/// A named set of CPU features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CpuLevel {
    /// The features that every CPU of the architecture has.
    #[default]
    Baseline,
    /// The features that this machine's CPU has.
    Native,
    /// x86-64 with SSE4.2 and POPCNT (2008).
    X86_64V2,
    /// x86-64 with AVX2, BMI and FMA (2013).
    X86_64V3,
    /// x86-64 with AVX-512.
    X86_64V4,
    /// aarch64 with atomic instructions of their own (LSE, since 2016).
    Armv8_1A,
    /// aarch64 with LSE and dot products (2019).
    Armv8_4A,
    /// aarch64 with LSE, dot products and arithmetic on half-precision numbers (2021).
    Armv9A,
}

impl CpuLevel {
    /// All levels.
    const ALL: [Self; 8] = [
        Self::Baseline,
        Self::Native,
        Self::X86_64V2,
        Self::X86_64V3,
        Self::X86_64V4,
        Self::Armv8_1A,
        Self::Armv8_4A,
        Self::Armv9A,
    ];

    /// The name of the level, as in the text form of [`Cpu`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Native => "native",
            Self::X86_64V2 => "x86-64-v2",
            Self::X86_64V3 => "x86-64-v3",
            Self::X86_64V4 => "x86-64-v4",
            Self::Armv8_1A => "armv8.1-a",
            Self::Armv8_4A => "armv8.4-a",
            Self::Armv9A => "armv9-a",
        }
    }
}

impl FromStr for Cpu {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        let mut cpu = Self::default();
        for (i, part) in s.split(',').enumerate() {
            match part {
                _ if part.starts_with(['+', '-']) && part.len() > 1 => {
                    let is_added = part.starts_with('+');
                    cpu.features.push((part[1..].to_owned(), is_added));
                }
                _ => {
                    let level = CpuLevel::ALL.into_iter().find(|level| level.name() == part);
                    let expected = match level {
                        Some(level) if i == 0 => {
                            cpu.level = level;
                            continue;
                        }
                        Some(_) => {
                            "one level only: an artifact for each of several levels, in one file, \
                             is what `--variant` is for"
                        }
                        None => {
                            "baseline, native, x86-64-v2, x86-64-v3, x86-64-v4, armv8.1-a, \
                             armv8.4-a or armv9-a, then `+feature` or `-feature`, separated by \
                             commas"
                        }
                    };
                    return Err(Error::Setting {
                        setting: "CPU",
                        found: part.to_owned(),
                        expected: expected.to_owned(),
                    });
                }
            }
        }
        Ok(cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_from_text() {
        let cpu: Cpu = "x86-64-v3,+avx512f,-bmi2".parse().unwrap();
        assert_eq!(cpu.level, CpuLevel::X86_64V3);
        assert_eq!(
            cpu.features,
            [("avx512f".to_owned(), true), ("bmi2".to_owned(), false)]
        );
        for level in CpuLevel::ALL {
            assert_eq!(level.name().parse::<Cpu>().unwrap().level, level);
        }
        assert_eq!("+popcnt".parse::<Cpu>().unwrap().level, CpuLevel::Baseline);
        for bad in [
            "",
            "haswell",
            "native,baseline",
            "+",
            "native,",
            "avx",
            "armv8-a",
        ] {
            assert!(
                matches!(bad.parse::<Cpu>(), Err(Error::Setting { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn features_that_cannot_be_used_are_left_out() {
        let names = ["fxsr", "sse", "sse3", "f16c", "avx2", "lse", "potato"];
        let of = |target| Cpu::with_known_features(target, names);
        let x86_64 = of("x86_64-unknown-linux-gnu").unwrap();
        assert_eq!(x86_64, "+sse3,+avx2".parse().unwrap());
        let aarch64 = of("aarch64-unknown-linux-musl").unwrap();
        assert_eq!(aarch64, "+lse".parse().unwrap());
        assert!(of("x86_64-pc-windows-msvc").is_err());
    }
}
