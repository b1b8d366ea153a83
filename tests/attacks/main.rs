//! Safe programs that try to break the loader's promises through its public interface. Programs
//! that must not compile are in `tests/compile-fail`.

#![forbid(unsafe_code)]

mod auto_traits;
mod contexts;
mod drops;
mod engines;
mod handles;
mod types;
mod values;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The message with which `f` panics.
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    let payload = match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("it should have panicked"),
        Err(payload) => payload,
    };
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload
            .downcast_ref::<&str>()
            .map_or_else(|| "not a text".to_owned(), ToString::to_string),
    }
}
