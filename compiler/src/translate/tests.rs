//! File tests: each `compiler/tests/clif/*.wat` ends with the Cranelift IR of its functions in
//! comments. `PRECAST_BLESS=1` replaces these comments by what is found.
//!
//! A first line such as `;; checked epoch` chooses the memory strategy (guarded by default) and the
//! interruption (none by default). The target is x86-64 without extensions, though hardly anything
//! depends on it before instruction selection.

use std::fmt::Write as _;
use std::path::Path;

use cranelift_codegen::ir::Function;
use cranelift_frontend::FunctionBuilderContext;
use precast_artifact::{Interruption, Strategy};

use super::{Env, Scratch, translate};
use crate::parse::parse;
use crate::plan::Plan;
use crate::settings::Settings;
use crate::stops;
use crate::target::Target;

const SEPARATOR: &str = "\n;; ----\n";

#[test]
fn files() {
    let bless = std::env::var_os("PRECAST_BLESS").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clif");
    let mut paths: Vec<_> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no files in {}", folder.display());
    let mut failures = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let (source, expected) = text.split_once(SEPARATOR).unwrap_or((&text, ""));
        let found = clif(source);
        if bless {
            std::fs::write(&path, format!("{source}{SEPARATOR}{found}")).unwrap();
        } else if found != expected {
            failures.push(format!("{}: found\n{found}", path.display()));
        }
    }
    assert!(
        failures.is_empty(),
        "PRECAST_BLESS=1 accepts the new IR\n{}",
        failures.join("\n")
    );
}

/// The IR of all functions, as comments.
fn clif(source: &str) -> String {
    let chosen = |word| {
        source
            .lines()
            .next()
            .is_some_and(|line| line.starts_with(";;") && line.contains(word))
    };
    let checked = chosen("checked");
    let settings = Settings {
        target: Some("x86_64-unknown-linux-gnu".to_owned()),
        strategy: if checked {
            Strategy::Checked
        } else {
            Strategy::Guarded
        },
        interruption: if chosen("fuel") {
            Interruption::Fuel
        } else if chosen("epoch") {
            Interruption::Epoch
        } else {
            Interruption::None
        },
        ..Settings::default()
    };
    let target = Target::new(&settings).unwrap();
    let wasm = wat::parse_str(source).unwrap();
    let module = parse(&wasm).unwrap();
    let plan = Plan::new(&module).unwrap();
    let env = Env {
        module: &module,
        plan: &plan,
        isa: &*target.isa,
        strategy: settings.strategy,
        interruption: settings.interruption,
    };
    let (mut context, mut scratch) = (FunctionBuilderContext::new(), Scratch::default());
    let mut out = String::new();
    for index in module.bodies.keys() {
        let mut func = Function::new();
        translate(
            &env,
            index,
            stops::are_possible(&env),
            &mut func,
            &mut context,
            &mut scratch,
        )
        .unwrap();
        cranelift_codegen::verify_function(&func, env.isa).unwrap();
        for line in func.display().to_string().lines() {
            // These tests are not about source locations.
            let line = match line.strip_prefix('@') {
                Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_hexdigit()),
                None => line,
            };
            let body = line.starts_with(' ') && !line.trim_start().starts_with("block");
            let line = format!("{}{}", if body { "    " } else { "" }, line.trim());
            writeln!(out, "{}", format!(";; {line}").trim_end()).unwrap();
        }
    }
    out
}
