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
