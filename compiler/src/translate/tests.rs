//! File tests: `compiler/tests/clif/*.wat`. Each file is a module, followed by the Cranelift IR of
//! its functions in comments. `PRECAST_BLESS=1` writes the IR that is found instead of comparing
//! it.
//!
//! A first line such as `;; checked epoch` chooses the memory strategy (`guarded` by default) and
//! the kind of interruption (none by default). With `trampolines` in that line, the file has the IR
//! of the module's trampolines instead. With `inline`, every call that can be inlined is; otherwise
//! none. With `counters`, code counts what it does. With `counts=1,2` and `votes=1:2,3:4`, there is
//! a profile with these counts of places, and these indices and votes of indirect calls, in the
//! order of the module. With `in-frame`, locals are kept in the frame. The target is x86-64 without
//! extensions, although the IR hardly depends on the target.
//!
//! Cranelift prints symbols and trap codes as numbers. The files have their names: `func3` is a
//! function by its index, `builtin[memory_grow]` the thunk of a routine of the loader,
//! `MemoryOutOfBounds` a trap code, and `access[0]` the code of the first access to a linear
//! memory.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use cranelift_codegen::ir::{self, Function, UserExternalName};
use cranelift_frontend::FunctionBuilderContext;
use precast_artifact::profile::Target as Vote;
use precast_artifact::{Interruption, Profile, Strategy};

use super::accesses::access_number;
use super::trap::{AFTER_NO_RETURN, artifact_code};
use super::{Env, Mode, Scratch, translate};
use crate::counters::Counters;
use crate::middle::Middle;
use crate::module::Module;
use crate::parse::parse;
use crate::plan::Plan;
use crate::regions;
use crate::settings::{Inline, Passes, Settings};
use crate::stops;
use crate::symbol::{GotEntry, Symbol};
use crate::target::Target;
use crate::trampoline;
use crate::workers::Workers;

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

/// The profile in a module's first line, if there is one.
fn profile(source: &str, module: &Module<'_>) -> Option<Profile> {
    let words = source.lines().next()?.split_whitespace();
    let list = |name: &str| {
        let found = words.clone().find_map(|word| word.strip_prefix(name));
        found.map(|list| list.split(','))
    };
    let counts = list("counts=")?.map(|count| count.parse().unwrap());
    let votes = list("votes=").into_iter().flatten().map(|vote| {
        let (index, votes) = vote.split_once(':').unwrap();
        Vote {
            index: index.parse().unwrap(),
            votes: votes.parse().unwrap(),
        }
    });
    let found = regions::find_all(module, Workers::new(Some(1)), &|_| 0).unwrap();
    let regions = found.iter().flat_map(|body| &body.regions);
    let places = regions
        .filter(|region| region.is_counted)
        .map(|region| region.start);
    let sites = found.iter().flat_map(|body| &body.sites).copied();
    Some(Profile::of([0; 32], places.zip(counts), sites.zip(votes)))
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
        interruption: Interruption::of(chosen("fuel"), chosen("epoch")),
        ..Settings::default()
    };
    let target = Target::new(&settings).unwrap();
    let wasm = wat::parse_str(source).unwrap();
    let module = parse(&wasm).unwrap();
    let mut plan = Plan::new(&module).unwrap();
    let passes = Passes {
        inline: if chosen("inline") {
            Inline::Always
        } else {
            Inline::Never
        },
        ..Passes::default()
    };
    let workers = Workers::new(Some(1));
    let profile = profile(source, &module);
    let counters = chosen("counters").then(|| Counters::new(&module, &mut plan, workers).unwrap());
    let profile = profile.as_ref();
    let middle = Middle::new(&module, &plan, passes, settings.opt_level, profile, workers).unwrap();
    let env = Env {
        module: &module,
        plan: &plan,
        middle: &middle,
        counters: counters.as_ref(),
        switches: passes.switches,
        variables: !chosen("in-frame"),
        loops: true,
        exits: true,
        jumps: crate::relax::Jumps {
            short: true,
            copied: true,
        },
        isa: &*target.isa,
        finishers: target.finishers(),
        strategy: settings.strategy,
        interruption: settings.interruption,
        listeners: settings.listeners,
        limits: &settings.limits,
        wasm_len: wasm.len(),
    };
    let (mut context, mut scratch) = (FunctionBuilderContext::new(), Scratch::default());
    let mut functions = Vec::new();
    for index in module.bodies.keys() {
        let mut func = Function::new();
        translate(
            &env,
            index,
            Mode {
                has_stops: stops::are_possible(&env),
                in_frame: !env.variables,
            },
            &mut func,
            &mut context,
            &mut scratch,
        )
        .unwrap();
        functions.push(func);
    }
    if chosen("trampolines") {
        functions = trampolines(&env, &functions)
            .into_iter()
            .map(|symbol| {
                let mut func = Function::new();
                trampoline::build(&env, symbol, &mut func, &mut context);
                func
            })
            .collect();
    }
    let mut out = String::new();
    for func in functions {
        cranelift_codegen::verify_function(&func, env.isa).unwrap();
        for line in func.display().to_string().lines() {
            // These tests are not about source locations.
            let line = match line.strip_prefix('@') {
                Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_hexdigit()),
                None => line,
            };
            let body = line.starts_with(' ') && !line.trim_start().starts_with("block");
            let indent = if body { "    " } else { "" };
            let line = format!("{indent}{}", with_names(&env, line.trim()));
            writeln!(out, "{}", format!(";; {line}").trim_end()).unwrap();
        }
    }
    out
}

/// The trampolines of a module: those that its plan asks for, and those that its functions refer
/// to.
fn trampolines(env: &Env<'_>, functions: &[Function]) -> BTreeSet<Symbol> {
    let mut symbols = BTreeSet::new();
    for &index in &env.plan.entries {
        symbols.insert(Symbol::ArrayEntry(index));
        if env.module.signatures[index].is_native() {
            symbols.insert(Symbol::NativeEntry(index));
        }
    }
    for &index in &env.plan.exits {
        symbols.insert(Symbol::ArrayExit(index));
        if env.module.signatures[index].is_native() {
            symbols.insert(Symbol::NativeExit(index));
        }
    }
    let thunks = env.plan.import_thunks.iter().copied();
    symbols.extend(thunks.map(Symbol::ImportThunk));
    let names = functions.iter().map(|func| func.params.user_named_funcs());
    let named = names.flat_map(|names| names.values().map(Symbol::from_name));
    symbols.extend(named.filter(|symbol| {
        use Symbol::{BuiltinThunk, LibCallThunk, Raise, Round};
        matches!(
            symbol,
            BuiltinThunk(_) | Raise(_) | LibCallThunk(_) | Round(..)
        )
    }));
    symbols
}

/// Replaces the numbers of symbols and trap codes by names.
fn with_names(env: &Env<'_>, line: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == ':';
    let mut out = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(len);
        let name = symbol(word).map(|symbol| symbol_name(env, symbol));
        out += &name.or_else(|| trap(word)).unwrap_or_else(|| word.into());
        let len = after.find(is_word).unwrap_or(after.len());
        out += &after[..len];
        rest = &after[len..];
    }
    out
}

/// The symbol that Cranelift prints as `u6:2`.
fn symbol(word: &str) -> Option<Symbol> {
    let (namespace, index) = word.strip_prefix('u')?.split_once(':')?;
    let name = UserExternalName {
        namespace: namespace.parse().ok()?,
        index: index.parse().ok()?,
    };
    Some(Symbol::from_name(&name))
}

fn symbol_name(env: &Env<'_>, symbol: Symbol) -> String {
    match symbol {
        Symbol::Function(index) => format!("{:?}", env.module.func_index(index)),
        Symbol::NativeEntry(sig) => format!("native_entry[{sig:?}]"),
        Symbol::ArrayEntry(sig) => format!("array_entry[{sig:?}]"),
        Symbol::NativeExit(sig) => format!("native_exit[{sig:?}]"),
        Symbol::ArrayExit(sig) => format!("array_exit[{sig:?}]"),
        Symbol::ImportThunk(index) => format!("import[{index:?}]"),
        Symbol::BuiltinThunk(builtin) => format!("builtin[{builtin}]"),
        Symbol::Raise(code) => format!("raise[{code:?}]"),
        Symbol::LibCallThunk(libcall) => format!("libcall[{libcall}]"),
        Symbol::Round(how, ty) => format!("round[{how:?} {ty:?}]"),
        Symbol::GotSlot(GotEntry::LibCall(libcall)) => format!("got[{libcall}]"),
        Symbol::GotSlot(GotEntry::TypeId(sig)) => format!("got[{sig:?}]"),
        Symbol::FrozenTable(table) => format!("frozen[{table:?}]"),
        Symbol::TextStart => "text_start".to_owned(),
        Symbol::Stop => "stop".to_owned(),
    }
}

/// The name of a trap code that Cranelift prints as `user2`.
fn trap(word: &str) -> Option<String> {
    let code = ir::TrapCode::user(word.strip_prefix("user")?.parse().ok()?)?;
    if code == AFTER_NO_RETURN {
        return Some("AfterNoReturn".to_owned());
    }
    if let Some(number) = access_number(code) {
        return Some(format!("access[{number}]"));
    }
    Some(format!("{:?}", artifact_code(code)?))
}
