//! Host functions can return any kind of error, and the caller of the wasm code gets the whole
//! error.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use precast_artifact::Strategy;
use precast_loader::{Engine, Error, IntoFunc, Linker, Store, Trap};
use precast_tests::module;

const WAT: &str = r#"(module (import "h" "f" (func $f (param i32) (result i32)))
    (func (export "run") (param i32) (result i32) (call $f (local.get 0))))"#;

#[derive(Debug)]
struct Own {
    cause: io::Error,
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("of the host's own")
    }
}

impl StdError for Own {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.cause)
    }
}

fn own() -> Own {
    Own {
        cause: io::Error::other("the cause"),
    }
}

/// The error that the caller of the wasm code gets.
fn error<Params, Results>(f: impl IntoFunc<(), Params, Results>) -> Error {
    let engine = Engine::default();
    let mut linker: Linker<()> = Linker::new(&engine);
    linker.func_wrap("h", "f", f).unwrap();
    let mut store = Store::new(&engine, ());
    let module = module(&engine, WAT, Strategy::Guarded);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance
        .get_typed_func::<i32, i32>(&mut store, "run")
        .unwrap();
    run.call(&mut store, 1).unwrap_err()
}

/// The messages of an error and of all its causes.
fn chain(error: &Error) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        messages.push(error.to_string());
        next = error.source();
    }
    messages
}

#[test]
fn errors_of_any_type_come_back() {
    let found = error(|n: i32| -> Result<i32, io::Error> {
        u8::try_from(n + 300).map_err(io::Error::other)?;
        Ok(n)
    });
    assert!(found.downcast_ref::<io::Error>().is_some());
    let found = error(|_: i32| -> Result<i32, Own> { Err(own()) });
    assert!(found.downcast_ref::<Own>().is_some() && found.downcast_ref::<io::Error>().is_none());
    assert_eq!(
        chain(&found),
        ["of the host's own", "the cause"],
        "once each"
    );
    assert_eq!(found.backtrace().unwrap().frames().len(), 1);
    let found = error(|_: i32| -> Result<i32, Box<dyn StdError + Send + Sync>> { Err(own())? });
    assert!(found.downcast_ref::<Own>().is_some());
    let found = error(|_: i32| -> Result<i32, String> { Err("a text".to_owned()) });
    assert_eq!(chain(&found), ["a text"]);
    let Error::Host(found) = error(|_: i32| -> Result<i32, &'static str> { Err("a word") }) else {
        panic!("an error of the host");
    };
    assert_eq!(found.error().to_string(), "a word");
    assert_eq!(found.into_error().to_string(), "a word");
}

#[test]
fn anyhow_comes_back_with_what_is_inside() {
    use anyhow::Context;
    let found = error(|_: i32| -> anyhow::Result<i32> {
        Err(own()).context("while reading").context("in the host")
    });
    assert_eq!(
        chain(&found),
        [
            "in the host",
            "while reading",
            "of the host's own",
            "the cause"
        ]
    );
    assert!(found.downcast_ref::<Own>().is_some());
    let Error::Host(host) = &found else {
        panic!("{found}");
    };
    assert_eq!(host.as_anyhow().unwrap().chain().count(), 4);
    assert_eq!(host.backtrace().frames().len(), 1);
    // A report of anyhow contains the message once.
    let report = format!("{:?}", anyhow::Error::from(found));
    assert_eq!(report.matches("of the host's own").count(), 1, "{report}");
}

#[test]
fn errors_of_calls_inside_stay_what_they_are() {
    let found = error(|_: i32| -> Result<i32, Error> { Err(Error::Exit(7)) });
    assert!(matches!(found, Error::Exit(7)), "{found}");
    let found =
        error(|_: i32| -> Result<i32, Box<dyn StdError + Send + Sync>> { Err(Error::Exit(7))? });
    assert!(matches!(found, Error::Exit(7)), "{found}");
    let found = error(|_: i32| -> anyhow::Result<i32> { Err(Error::Exit(7))? });
    assert!(matches!(found, Error::Exit(7)), "{found}");
    // A trap of a guest that the host function has called keeps its own backtrace.
    let inner = || -> Result<i32, Error> {
        let engine = Engine::default();
        let mut store = Store::new(&engine, ());
        let wat = r#"(module (func (export "run") (result i32) unreachable))"#;
        let module = module(&engine, wat, Strategy::Checked);
        let instance = precast_loader::Instance::new(&mut store, &module, &[])?;
        let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
        run.call(&mut store, ())
    };
    let found = error(move |_: i32| -> anyhow::Result<i32> { Ok(inner()?) });
    assert_eq!(found.trap().unwrap(), Trap::UnreachableCodeReached);
}

/// In an `anyhow::Error` of the caller, the trap and the host's error are inside of the `Error`,
/// under any context. A report says each thing once.
#[test]
fn anyhow_of_the_caller_holds_the_whole_error() {
    use anyhow::Context;
    let report = |found: Error| Err::<(), _>(found).context("a request").unwrap_err();
    let of_host = report(error(|_: i32| -> Result<i32, Own> { Err(own()) }));
    let found = of_host.downcast_ref::<Error>().unwrap();
    assert!(found.downcast_ref::<Own>().is_some() && found.trap().is_none());
    let text = format!("{of_host:#}");
    assert_eq!(text, "a request: of the host's own: the cause");
    // What the host's error has as its source is in the chain.
    assert!(of_host.root_cause().is::<io::Error>());
    let trap = report(error(|_: i32| -> Result<i32, Trap> {
        Err(Trap::OutOfFuel)
    }));
    let found = trap.downcast_ref::<Error>().and_then(Error::trap);
    assert_eq!(found, Some(Trap::OutOfFuel));
    let text = format!("{trap:#}");
    let (reason, frames) = text.split_once('\n').unwrap();
    let out_of_fuel = Trap::OutOfFuel.to_string();
    assert_eq!(reason, format!("a request: wasm trap: {out_of_fuel}"));
    assert!(
        frames.starts_with("wasm backtrace, innermost first:"),
        "{text}"
    );
    assert_eq!(text.matches(&out_of_fuel).count(), 1, "{text}");
}
