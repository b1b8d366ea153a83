//! Sequences of operations of the loader's API, whose results are compared with a model.
//!
//! | module | what |
//! |---|---|
//! | `guest`, `host` | the modules that are used, and the host function that they call |
//! | `model` | the expected results |
//! | `slot` | operations on one store: calls, host items, interruption, fuel |
//! | `stores` | stores, instances, pools, linkers, threads |
//! | `runtimes` | runtimes: names, closing, redirection, contexts |
//!
//! Besides the results, each sequence checks that no value of the host outlives its owner. The data
//! of stores, closures and external references each hold a token, and all tokens must have been
//! dropped at the end.

mod guest;
mod host;
mod model;
mod runtimes;
mod slot;
mod stores;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::{Run, Target};

/// The sequences.
pub const API: Target = Target {
    name: "api",
    about: "sequences of operations of the loader's API, compared with a model",
    prepare,
};

fn prepare() -> Run {
    quiet_panics();
    let stores = stores::Fixtures::new();
    let runtimes = runtimes::Fixtures::new(&stores);
    Box::new(move |case| {
        let token = Token::default();
        match case.once_in(3) {
            true => runtimes.run(case, &token)?,
            false => stores.run(case, &token)?,
        }
        match Arc::strong_count(&token) {
            1 => Ok(()),
            n => Err(format!("{} values of the host are still held", n - 1)),
        }
    })
}

/// A token, which every value that the host hands to the loader holds.
type Token = Arc<()>;

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics that a sequence expects from being printed.
fn quiet_panics() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !EXPECTED.get() {
            others(info);
        }
    }));
}

/// Runs a function that is expected to panic, and returns the message.
fn panics<R>(f: impl FnOnce() -> R) -> Result<String, String> {
    EXPECTED.set(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    EXPECTED.set(false);
    let Err(payload) = result else {
        return Err("a panic was expected, and there was none".to_owned());
    };
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    Ok(text.unwrap_or_default())
}

fn check<V: PartialEq + std::fmt::Debug>(what: &str, found: V, expected: V) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: expected {expected:?}, found {found:?}")),
    }
}
