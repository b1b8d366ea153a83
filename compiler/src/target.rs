//! Makes a Cranelift target from settings, and what the header says about the target.
//!
//! One target, s390x, is big-endian. Code reads what the loader maintains (VM context, GOT,
//! store context) in the target's own byte order. At each access to something that is little-endian
//! everywhere (guest memory, frozen tables, arrays of values) code says `little`; see
//! [`precast_artifact::vm`].
//!
//! RISC-V has vector instructions only with the feature `v`, which is not part of `gc`. Without `v`
//! a module that uses v128 is refused, because there is no fallback.

use std::str::FromStr;
use std::sync::Arc;

use cranelift_codegen::isa::{self, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use precast_artifact::target::{Arch, Os};
use target_lexicon::{Aarch64Architecture, Architecture, Environment, OperatingSystem, Triple};
use wasmparser::WasmFeatures;

use crate::Error;
use crate::error::{feature_name, proposal_name};
use crate::parse;
use crate::settings::{CpuLevel, OptLevel, Settings};

/// The target that code is generated for.
pub(crate) struct Target {
    pub(crate) isa: Arc<dyn TargetIsa>,
    /// See [`Target::finishers`].
    finishers: [Arc<dyn TargetIsa>; 4],
    pub(crate) arch: Arch,
    pub(crate) os: Os,
    /// Bits of [`Arch::features`] that the code may use, and that a CPU must therefore have.
    pub(crate) cpu_features: u64,
    /// Features of modules that the settings forbid.
    forbidden: WasmFeatures,
}

const X86_64_V2: &[&str] = &["sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "cmpxchg16b"];
const X86_64_V3: &[&str] = &["avx", "avx2", "fma", "bmi1", "bmi2", "lzcnt"];
const X86_64_V4: &[&str] = &["avx512f", "avx512dq", "avx512vl"];
// Features that a level requires but that code does not use are left out, such as pointer
// authentication: a system can switch that off, and code for the level runs there all the same.
const ARMV8_1_A: &[&str] = &["lse"];
const ARMV8_4_A: &[&str] = &["dotprod"];
const ARMV9_A: &[&str] = &["fp16"];

impl Target {
    /// The target that the settings ask for.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let triple = match &settings.target {
            None => Triple::host(),
            Some(text) => parse_triple(text)?,
        };
        let (arch, os) = supported(&triple)?;
        let mut builder = isa::lookup(triple.clone()).map_err(|error| Error::Setting {
            setting: "target",
            found: triple.to_string(),
            expected: format!("a target that this build has a code generator for ({error})"),
        })?;

        let cpu_features = cpu_features(settings, arch)?;
        for (bit, feature) in arch.features().iter().enumerate() {
            // All features are off unless the triple implies them, as `riscv64gc` implies some. A
            // feature that Cranelift has no name for cannot be enabled.
            if let Some(flag) = cranelift_flag(arch, feature)
                && cpu_features & (1 << bit) != 0
            {
                builder.enable(&flag).map_err(internal)?;
            }
        }
        let has_starts = arch == Arch::X86_64;
        let finish = |opt_level, regalloc, has_starts| {
            let flags = shared_flags(opt_level, regalloc, has_starts)?;
            builder.finish(flags).map_err(internal)
        };
        let isa = finish(settings.opt_level, "backtracking", has_starts)?;
        let finishers = [
            finish(OptLevel::None, "backtracking", has_starts)?,
            finish(OptLevel::None, "single_pass", has_starts)?,
            finish(OptLevel::None, "backtracking", false)?,
            finish(OptLevel::None, "single_pass", false)?,
        ];
        Ok(Self {
            isa,
            finishers,
            arch,
            os,
            cpu_features,
            forbidden: forbidden(settings)?,
        })
    }

    /// Code generators for functions that are optimised already. The first is for functions with
    /// few values that are alive at the same time, the second for those with
    /// [many](crate::pressure). The last two are the same without the places where blocks start.
    pub(crate) fn finishers(&self) -> [&dyn TargetIsa; 4] {
        self.finishers.each_ref().map(|isa| &**isa)
    }

    /// Features that modules may use: those that this compiler implements, the CPU supports and the
    /// settings allow.
    pub(crate) fn wasm_features(&self) -> WasmFeatures {
        self.supported_features() - self.forbidden
    }

    fn supported_features(&self) -> WasmFeatures {
        let vectors = WasmFeatures::SIMD | WasmFeatures::RELAXED_SIMD;
        match self.has_vectors() {
            true => parse::features(),
            false => parse::features() - vectors,
        }
    }

    fn has_vectors(&self) -> bool {
        self.arch != Arch::Riscv64
            || position(self.arch, "v").is_some_and(|bit| self.cpu_features & (1 << bit) != 0)
    }

    /// Explains an error of parsing a module, if the module would compile for another CPU of this
    /// architecture, or with other settings. `used` parses the module again with other proposals,
    /// and returns those that it uses.
    pub(crate) fn explain(
        &self,
        error: Error,
        used: impl FnOnce(WasmFeatures) -> Result<WasmFeatures, Error>,
    ) -> Error {
        let forbids = |proposal: &str| {
            let mut names = self.forbidden.iter_names();
            names.any(|(name, _)| proposal.split(" and ").any(|p| feature_name(name) == p))
        };
        let mut error = match error {
            Error::Unsupported {
                proposal,
                offset,
                message,
            } if forbids(&proposal) => Error::Forbidden {
                proposal,
                offset,
                message,
            },
            // The validator does not name the proposal that allows several memories. What function
            // references have in common with garbage collection belongs to that proposal for it.
            Error::Invalid {
                offset,
                ref message,
            }
            | Error::Unsupported {
                offset,
                ref message,
                ..
            } if !self.forbidden.is_empty() => {
                let is_of_gc = matches!(
                    &error,
                    Error::Unsupported { proposal, .. } if proposal == "gc"
                );
                match used(self.supported_features()) {
                    Ok(used) if used.intersects(self.forbidden) => Error::Forbidden {
                        proposal: proposal_name(used & self.forbidden),
                        offset,
                        message: match is_of_gc {
                            true => "found a type or an expression that came with it".to_owned(),
                            false => message.clone(),
                        },
                    },
                    Ok(_) => error,
                    Err(error) => error,
                }
            }
            other => other,
        };
        if let Error::Unsupported {
            proposal, message, ..
        } = &mut error
            && proposal.ends_with("simd")
            && !self.has_vectors()
        {
            let arch = self.arch.name();
            *message = format!("vectors need a {arch} CPU with the feature `v` (`+v`)");
        }
        error
    }
}

fn parse_triple(text: &str) -> Result<Triple, Error> {
    Triple::from_str(text).map_err(|_| unsupported_triple(text))
}

/// The architecture and the system of a triple.
fn supported(triple: &Triple) -> Result<(Arch, Os), Error> {
    let arch = match triple.architecture {
        Architecture::X86_64 => Arch::X86_64,
        // Not its variants: the big-endian one has no code generator.
        Architecture::Aarch64(Aarch64Architecture::Aarch64) => Arch::Aarch64,
        Architecture::Riscv64(_) => Arch::Riscv64,
        Architecture::S390x => Arch::S390x,
        _ => return Err(unsupported_triple(&triple.to_string())),
    };
    // Programs of these environments have pointers of 32 bits, or no system.
    let other = [
        Environment::GnuIlp32,
        Environment::Gnux32,
        Environment::None,
    ];
    match triple.operating_system {
        OperatingSystem::Linux if !other.contains(&triple.environment) => Ok((arch, Os::Linux)),
        _ => Err(unsupported_triple(&triple.to_string())),
    }
}

/// The CPU features that code for a target can be compiled for.
pub(crate) fn known_cpu_features(target: &str) -> Result<Vec<&'static str>, Error> {
    let (arch, _) = supported(&parse_triple(target)?)?;
    let features = arch.features().iter().copied();
    Ok(features
        .filter(|name| cranelift_flag(arch, name).is_some())
        .collect())
}

/// The features of modules that the settings forbid. The last entry for a feature counts.
fn forbidden(settings: &Settings) -> Result<WasmFeatures, Error> {
    // The validator has switches for parts of WebAssembly that were never a proposal.
    let all = parse::features() - WasmFeatures::FLOATS - WasmFeatures::GC_TYPES;
    let mut forbidden = WasmFeatures::empty();
    for (name, allowed) in &settings.features {
        let mut names = all.iter_names();
        let Some((_, feature)) = names.find(|(known, _)| feature_name(known) == *name) else {
            let known: Vec<_> = all
                .iter_names()
                .map(|(name, _)| feature_name(name))
                .collect();
            return Err(Error::Setting {
                setting: "proposal",
                found: name.clone(),
                expected: format!("one of {}", known.join(", ")),
            });
        };
        forbidden.set(feature, !allowed);
    }
    Ok(forbidden)
}

/// Cranelift's settings that do not depend on the architecture, except that only what
/// `has_starts` tells where the blocks of machine code start.
fn shared_flags(
    opt_level: OptLevel,
    regalloc: &str,
    has_starts: bool,
) -> Result<settings::Flags, Error> {
    let mut flags = settings::builder();
    let opt_level = match opt_level {
        OptLevel::None => "none",
        OptLevel::Speed => "speed",
        OptLevel::Size => "speed_and_size",
    };
    for (name, value) in [
        ("opt_level", opt_level),
        ("regalloc_algorithm", regalloc),
        // The loader walks frames by frame pointers and never unwinds.
        ("preserve_frame_pointers", "true"),
        ("unwind_info", "false"),
        // Results that do not fit into registers are returned through memory.
        ("enable_multi_ret_implicit_sret", "true"),
        // Library calls go to thunks in the artifact.
        ("use_colocated_libcalls", "true"),
        ("enable_probestack", "false"),
        // The starts of blocks show where loops and jump tables are.
        (
            "machine_code_cfg_info",
            if has_starts { "true" } else { "false" },
        ),
        (
            "enable_verifier",
            if cfg!(debug_assertions) {
                "true"
            } else {
                "false"
            },
        ),
    ] {
        flags.set(name, value).map_err(internal)?;
    }
    Ok(settings::Flags::new(flags))
}

/// Cranelift's name for a CPU feature, if it has one.
fn cranelift_flag(arch: Arch, feature: &str) -> Option<String> {
    match (arch, feature) {
        // The format lists these for later code generators.
        (Arch::X86_64, "f16c") | (Arch::Aarch64, "fcma") => None,
        (Arch::Aarch64, "paca") => Some("has_pauth".to_owned()),
        _ => Some(format!("has_{}", feature.replace('.', ""))),
    }
}

/// The CPU feature bits that the settings ask for.
fn cpu_features(settings: &Settings, arch: Arch) -> Result<u64, Error> {
    let all = |names: &[&str]| all(arch, names);
    let level = settings.cpu.level;
    let mut features = match level {
        CpuLevel::Baseline => 0,
        CpuLevel::Native => native_features(arch)?,
        CpuLevel::X86_64V2 if arch == Arch::X86_64 => all(X86_64_V2),
        CpuLevel::X86_64V3 if arch == Arch::X86_64 => all(X86_64_V2) | all(X86_64_V3),
        CpuLevel::X86_64V4 if arch == Arch::X86_64 => {
            all(X86_64_V2) | all(X86_64_V3) | all(X86_64_V4)
        }
        CpuLevel::Armv8_1A if arch == Arch::Aarch64 => all(ARMV8_1_A),
        CpuLevel::Armv8_4A if arch == Arch::Aarch64 => all(ARMV8_1_A) | all(ARMV8_4_A),
        CpuLevel::Armv9A if arch == Arch::Aarch64 => all(ARMV8_1_A) | all(ARMV8_4_A) | all(ARMV9_A),
        CpuLevel::X86_64V2
        | CpuLevel::X86_64V3
        | CpuLevel::X86_64V4
        | CpuLevel::Armv8_1A
        | CpuLevel::Armv8_4A
        | CpuLevel::Armv9A => {
            let levels = match arch {
                Arch::X86_64 => "baseline, native, x86-64-v2, x86-64-v3 or x86-64-v4",
                Arch::Aarch64 => "baseline, native, armv8.1-a, armv8.4-a or armv9-a",
                Arch::Riscv64 | Arch::S390x => "baseline or native",
            };
            return Err(Error::Setting {
                setting: "CPU",
                found: level.name().to_owned(),
                expected: format!("{levels}: the target is {}", arch.name()),
            });
        }
    };
    for (name, on) in &settings.cpu.features {
        let known = position(arch, name).filter(|_| cranelift_flag(arch, name).is_some());
        let bit = known.ok_or_else(|| Error::Setting {
            setting: "CPU feature",
            found: name.clone(),
            expected: format!("one of {}", arch.features().join(", ")),
        })?;
        features = if *on {
            features | 1 << bit
        } else {
            features & !(1 << bit)
        };
    }
    Ok(features)
}

/// The bit number of a CPU feature.
fn position(arch: Arch, name: &str) -> Option<usize> {
    arch.features().iter().position(|feature| *feature == name)
}

/// The bits of these features.
fn all(arch: Arch, features: &[&str]) -> u64 {
    features.iter().fold(0, |bits, name| {
        bits | 1 << position(arch, name).expect("a listed feature")
    })
}

/// The CPU features of the machine that the compiler runs on.
fn native_features(arch: Arch) -> Result<u64, Error> {
    let with_flag = |feature: &&str| cranelift_flag(arch, feature).is_some();
    let known: Vec<_> = arch.features().iter().copied().filter(with_flag).collect();
    let found = precast_artifact::target::native_features(arch);
    found
        .map(|bits| bits & all(arch, &known))
        .ok_or_else(|| Error::Setting {
            setting: "CPU",
            found: "native".to_owned(),
            expected: format!("the target to be this machine's; it is {}", arch.name()),
        })
}

fn unsupported_triple(found: &str) -> Error {
    Error::Setting {
        setting: "target",
        found: found.to_owned(),
        expected:
            "x86_64, aarch64, riscv64gc or s390x with Linux, such as aarch64-unknown-linux-gnu"
                .to_owned(),
    }
}

/// An error from Cranelift about flags that this compiler chose.
fn internal(error: impl std::fmt::Display) -> Error {
    Error::Codegen {
        symbol: "the target".to_owned(),
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use precast_artifact::reader::feature_names;

    use super::*;

    fn target(triple: &str, cpu: &str) -> Result<Target, Error> {
        Target::new(&Settings {
            target: Some(triple.to_owned()),
            cpu: cpu.parse()?,
            ..Settings::default()
        })
    }

    #[test]
    fn variants_of_targets_are_refused() {
        for triple in [
            "aarch64_be-unknown-linux-gnu",
            "aarch64-unknown-linux-gnu_ilp32",
            "x86_64-unknown-linux-gnux32",
            "x86_64-unknown-linux-none",
        ] {
            let error = target(triple, "baseline").err().expect(triple).to_string();
            let expected = format!("target `{triple}` is not supported; expected x86_64");
            assert!(error.starts_with(&expected), "{error}");
        }
        for triple in ["aarch64-unknown-linux-musl", "x86_64-unknown-linux"] {
            assert!(target(triple, "baseline").is_ok(), "{triple}");
        }
    }

    #[test]
    fn every_listed_feature_can_be_asked_for() {
        for (triple, arch) in [
            ("x86_64-unknown-linux-gnu", Arch::X86_64),
            ("aarch64-unknown-linux-gnu", Arch::Aarch64),
            ("riscv64gc-unknown-linux-gnu", Arch::Riscv64),
            ("s390x-unknown-linux-gnu", Arch::S390x),
        ] {
            for (bit, feature) in arch.features().iter().enumerate() {
                if cranelift_flag(arch, feature).is_some() {
                    let target = target(triple, &format!("+{feature}")).unwrap();
                    assert_eq!(target.cpu_features, 1 << bit, "{feature}");
                }
            }
        }
    }

    #[test]
    fn levels_contain_each_other() {
        let bits = |cpu| {
            target("x86_64-unknown-linux-gnu", cpu)
                .unwrap()
                .cpu_features
        };
        let (v2, v3, v4) = (bits("x86-64-v2"), bits("x86-64-v3"), bits("x86-64-v4"));
        assert_eq!(bits("baseline"), 0);
        assert!(v2 != 0 && v2 & v3 == v2 && v2 != v3 && v3 & v4 == v3 && v3 != v4);
        assert_eq!(bits("x86-64-v2,-popcnt,+popcnt"), v2);

        let bits = |cpu| {
            let target = target("aarch64-unknown-linux-gnu", cpu);
            target.unwrap().cpu_features
        };
        let names = |cpu| feature_names(Arch::Aarch64, bits(cpu));
        assert_eq!(bits("baseline"), 0);
        assert_eq!(names("armv8.1-a"), "lse");
        assert_eq!(names("armv8.4-a"), "lse, dotprod");
        assert_eq!(names("armv9-a"), "lse, fp16, dotprod");
    }

    #[test]
    fn a_level_of_another_architecture_is_named_with_those_that_there_are() {
        let error = target("aarch64-unknown-linux-gnu", "x86-64-v3").map(drop);
        let message = error.unwrap_err().to_string();
        assert!(
            message.contains("x86-64-v3") && message.contains("armv8.1-a"),
            "{message}"
        );
        let error = target("x86_64-unknown-linux-gnu", "armv9-a").map(drop);
        let message = error.unwrap_err().to_string();
        assert!(
            message.contains("armv9-a") && message.contains("x86-64-v2"),
            "{message}"
        );
    }

    #[test]
    fn unknown_targets_and_features_are_refused() {
        for (triple, cpu) in [
            ("x86_64-pc-windows-msvc", "baseline"),
            ("powerpc64-unknown-linux-gnu", "baseline"),
            ("potato", "baseline"),
            ("aarch64-unknown-linux-gnu", "x86-64-v2"),
            ("x86_64-unknown-linux-gnu", "armv8.1-a"),
            ("riscv64gc-unknown-linux-gnu", "armv8.1-a"),
            ("aarch64-unknown-linux-gnu", "+fcma"),
            ("x86_64-unknown-linux-gnu", "+potato"),
            ("x86_64-unknown-linux-gnu", "+f16c"),
            ("s390x-unknown-linux-gnu", "native"),
            ("riscv64gc-unknown-linux-gnu", "native"),
        ] {
            assert!(
                matches!(target(triple, cpu), Err(Error::Setting { .. })),
                "{triple} {cpu}"
            );
        }
    }

    #[test]
    fn proposals_can_be_forbidden() {
        let target = |features: &[(&str, bool)]| {
            Target::new(&Settings {
                features: features
                    .iter()
                    .map(|(n, on)| ((*n).to_owned(), *on))
                    .collect(),
                ..Settings::default()
            })
        };
        let all = target(&[]).unwrap().wasm_features();
        let without = target(&[
            ("legacy-exceptions", false),
            ("simd", false),
            ("simd", true),
        ]);
        let without = without.unwrap().wasm_features();
        assert_eq!(all - without, WasmFeatures::LEGACY_EXCEPTIONS);
        for unknown in [
            "gc",
            "custom-descriptors",
            "floats",
            "gc-types",
            "potato",
            "",
        ] {
            let error = target(&[(unknown, true)])
                .map(drop)
                .unwrap_err()
                .to_string();
            assert!(error.contains("wide-arithmetic"), "{error}");
        }
    }
}
