//! A module can have names with control characters for a terminal, or names that look like lines of
//! a backtrace. Texts for people escape them; values for programs do not.

use precast_loader::runtime::{InstanceConfig, Runtime};
use precast_loader::{Engine, Error, Instance, Linker, Store};
use precast_tests::{module, strategies};

/// The name in the text format, the name itself, and how it is shown.
const TEXT: &str = r"a\1b[2J\n   1: b\u{202e}";
const NAME: &str = "a\u{1b}[2J\n   1: b\u{202e}";
const SHOWN: &str = r"a\u{1b}[2J\u{a}   1: b\u{202e}";

fn is_shown(error: &Error) {
    let text = error.to_string();
    assert!(text.contains(SHOWN), "{text:?}");
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    assert!(!text.contains("\n   1: b"), "{text:?}");
}

#[test]
fn backtraces_and_errors_show_names_harmlessly() {
    let wat = format!(r#"(module (func $"{TEXT}" (export "{TEXT}") (unreachable)))"#);
    let imports = format!(r#"(module (import "{TEXT}" "{TEXT}" (func)))"#);
    for strategy in strategies() {
        let engine = Engine::default();
        let mut store = Store::new(&engine, ());
        let of_names = module(&engine, &wat, strategy);
        let instance = Instance::new(&mut store, &of_names, &[]).unwrap();
        let func = instance.get_typed_func::<(), ()>(&mut store, NAME).unwrap();
        let error = func.call(&mut store, ()).unwrap_err();
        is_shown(&error);
        assert_eq!(error.to_string().lines().count(), 3, "{error}");
        assert_eq!(
            error.backtrace().unwrap().frames()[0].func_name(),
            Some(NAME)
        );

        let unknown = format!("{NAME}2");
        let missing = instance.get_typed_func::<(), ()>(&mut store, &unknown);
        is_shown(&missing.map(drop).unwrap_err());
        let mut linker: Linker<()> = Linker::new(&engine);
        let importing = module(&engine, &imports, strategy);
        is_shown(&linker.instantiate(&mut store, &importing).unwrap_err());
        linker.func_wrap(NAME, NAME, || {}).unwrap();
        let twice = linker.func_wrap(NAME, NAME, || {}).map(drop);
        is_shown(&twice.unwrap_err());

        let runtime: Runtime<()> = Runtime::new(&engine);
        let config = || InstanceConfig::new().with_name(NAME);
        let first = runtime.instantiate(&of_names, config()).unwrap();
        let second = runtime.instantiate(&of_names, config());
        is_shown(&second.map(drop).unwrap_err());
        drop(first);
    }
}

/// A backtrace has the start of a name only: a module can have a name that is as long as itself,
/// and a backtrace many copies of one.
#[test]
fn backtraces_cut_long_names() {
    const KEPT: usize = 4096;
    let names = [KEPT - 1, KEPT, KEPT + 1, 90_000].map(|len| "n".repeat(len));
    let (before, after) = ("n".repeat(KEPT - 1), "n".repeat(5000));
    let wide = ["\u{e9}", "\u{20ac}", "\u{1f600}"].map(|c| format!("{before}{c}{after}"));
    let cases = names
        .map(|name| (name.clone(), name[..name.len().min(KEPT)].to_owned()))
        .into_iter()
        .chain(wide.map(|name| (name, before.clone())));
    for (name, kept) in cases {
        let wat = format!(
            r#"(module $"{name}"
                (func $"{name}" (export "f") (param i32)
                    (if (i32.eqz (local.get 0)) (then (unreachable)))
                    (call $"{name}" (i32.sub (local.get 0) (i32.const 1)))))"#
        );
        for strategy in strategies() {
            let engine = Engine::default();
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module(&engine, &wat, strategy), &[]);
            let f = instance.unwrap().get_typed_func::<i32, ()>(&mut store, "f");
            let error = f.unwrap().call(&mut store, 9).unwrap_err();
            let frames = error.backtrace().unwrap().frames();
            assert_eq!(frames.len(), 10);
            for frame in frames {
                assert_eq!(frame.func_name(), Some(&*kept));
                assert_eq!(frame.module_name(), Some(&*kept));
            }
        }
    }
}
