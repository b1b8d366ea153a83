//! Every module of the official suite's numeric and vector scripts compiles for every target, and
//! the artifact passes the verifier: a back end may lack an instruction that another has.
//!
//! What the code computes is tested where it can run: by the other trials, on a machine of
//! that architecture.

use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use precast_artifact::Strategy;
use precast_compiler::{Compiler, OptLevel, Settings};

use crate::scripts::Script;

/// Target, CPU, optimisation level, strategy.
const TARGETS: [(&str, &str, OptLevel, Strategy); 5] = [
    ("x86_64", "x86-64-v3", OptLevel::Speed, Strategy::Guarded),
    ("x86_64", "x86-64-v4", OptLevel::Speed, Strategy::Checked),
    ("aarch64", "baseline", OptLevel::Speed, Strategy::Guarded),
    ("aarch64", "baseline", OptLevel::None, Strategy::Checked),
    (
        "riscv64gc",
        "baseline,+v",
        OptLevel::Speed,
        Strategy::Guarded,
    ),
];

/// One trial for each target.
pub(crate) fn trials(scripts: &[Arc<Script>]) -> Vec<Trial> {
    let trial = |(arch, cpu, opt_level, strategy): (&str, &'static str, _, _)| {
        let wanted = scripts.iter().filter(|script| is_wanted(script));
        let scripts: Vec<_> = wanted.map(Arc::clone).collect();
        let target = format!("{arch}-unknown-linux-gnu");
        Trial::test(format!("compile/{arch}/{cpu}/{opt_level:?}"), move || {
            let compiler = Compiler::new(Settings {
                opt_level,
                target: Some(target),
                cpu: cpu.parse()?,
                strategy,
                threads: Some(1),
                ..Settings::default()
            })?;
            scripts
                .iter()
                .try_for_each(|script| compile(&compiler, script))
        })
    };
    TARGETS.into_iter().map(trial).collect()
}

fn is_wanted(script: &Script) -> bool {
    let numeric = ["conversions", "f32", "f64", "float_", "i32", "i64", "int_"];
    match script.name.split_once('/') {
        Some(("simd" | "relaxed-simd", _)) => true,
        Some(("wasm-v2", file)) => numeric.iter().any(|start| file.starts_with(start)),
        _ => false,
    }
}

fn compile(compiler: &Compiler, script: &Script) -> Result<(), Failed> {
    let mut result = Ok(());
    precast_wast::modules(&script.text()?, |line, wasm| {
        let problem = match compiler.compile(&wasm) {
            Ok(compiled) => match precast_compiler::verify(&compiled.artifact) {
                Ok(_) => return,
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if result.is_ok() {
            result = Err(format!("{}:{line}: {problem}", script.name).into());
        }
    })?;
    result
}
