//! The ways in which something can happen to an item while code that relies on it runs.
//!
//! Two modules are linked: the first one defines the item (or imports it from the host), the second
//! one imports it from the first. Each module has an exported function `own` that does something to
//! the item, and the table `$calls` has both: slot 0 the first module's, slot 1 the second's.

use precast_loader::{Caller, Engine, Error, Func, Linker};

/// Code for each way, by name. In `inline`, the text `{inline}` is replaced by what happens.
pub(super) const WAYS: [(&str, &str); 6] = [
    ("inline", "{inline}"),
    ("callee", "(call $own)"),
    ("slot 0", "(call_indirect $calls (i32.const 0))"),
    ("slot 1", "(call_indirect $calls (i32.const 1))"),
    ("host", "(call $host)"),
    ("back", "(call $back)"),
];

/// The imports of both modules that the ways `host` and `back` call.
pub(super) const IMPORTS: &str =
    r#"(import "h" "host" (func $host)) (import "h" "back" (func $back))"#;

/// The data of the store: what the host functions use.
#[derive(Default)]
pub(super) struct Side<I> {
    /// The items.
    pub(super) items: I,
    /// The function that `back` calls: the second module's `own`.
    pub(super) back: Option<Func>,
}

/// A linker with the host functions: `host` does `deed`, `back` calls back into the second module.
pub(super) fn linker<I: 'static>(
    engine: &Engine,
    deed: impl Fn(&mut Caller<'_, Side<I>>) + Send + Sync + 'static,
) -> Linker<Side<I>> {
    let mut linker: Linker<Side<I>> = Linker::new(engine);
    let host = move |mut caller: Caller<'_, Side<I>>| deed(&mut caller);
    linker.func_wrap("h", "host", host).unwrap();
    let back = |mut caller: Caller<'_, Side<I>>| -> Result<(), Error> {
        let back = caller.data().back.unwrap();
        back.call(&mut caller, &[], &mut [])
    };
    linker.func_wrap("h", "back", back).unwrap();
    linker
}
