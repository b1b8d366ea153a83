//! What a host learns of the calls of functions: [`FunctionListener`].

use std::borrow::Cow;

use crate::error::Error;
use crate::store::Store;
use crate::types::ValType;
use crate::val::Val;
use crate::vm::listeners::{Active, Listen, Listeners, RawValues};
use crate::vm::store::StoreCore;

/// Is told when functions of modules begin and end, see [`Store::set_function_listener`].
///
/// Each `before` has one `after` or `abort`, in the order of a stack. A listener sees the functions
/// that modules define, whether wasm code or the host calls them, and no host functions. A listener
/// cannot use the store. A panic of the listener ends the call, and continues in the code of the
/// host that made the call.
///
/// [`Store::set_function_listener`]: crate::Store::set_function_listener
///
/// ```
/// use precast_loader::{Engine, FunctionCall, FunctionListener, Store, Val};
///
/// struct Trace;
///
/// impl FunctionListener for Trace {
///     fn before(&mut self, call: &FunctionCall<'_>, params: &[Val]) {
///         let indent = "  ".repeat(call.stack().count());
///         eprintln!("{indent}{} {params:?}", call.func_name().unwrap_or_default());
///     }
/// }
///
/// let mut store = Store::new(&Engine::default(), ());
/// store.set_function_listener(Trace);
/// ```
pub trait FunctionListener: Send {
    /// A function begins.
    fn before(&mut self, call: &FunctionCall<'_>, params: &[Val]);

    /// A function returns. `results` is `None` if it ends by a tail call: the function that it
    /// calls begins next.
    fn after(&mut self, call: &FunctionCall<'_>, results: Option<&[Val]>) {
        let _ = (call, results);
    }

    /// A function ends without returning: by the error that ends the call of the host, the
    /// innermost function first, or, without an error, because an exception goes on to one of its
    /// callers, or a host function panicked.
    fn abort(&mut self, call: &FunctionCall<'_>, error: Option<&Error>) {
        let _ = (call, error);
    }
}

impl<T: 'static> Store<T> {
    /// Sets the listener, which replaces an earlier one. Only modules that are compiled for
    /// listeners (`precast compile --listeners`) call it. Other modules pay nothing.
    pub fn set_function_listener(&mut self, listener: impl FunctionListener + 'static) {
        self.core_mut().made_mut().listeners = Some(listeners(listener));
    }

    /// Removes the listener of [`set_function_listener`](Self::set_function_listener).
    pub fn remove_function_listener(&mut self) {
        if let Some(made) = &mut self.core_mut().made {
            made.listeners = None;
        }
    }
}

/// A call of a function that is active.
///
/// ```
/// use precast_loader::FunctionCall;
///
/// /// The names of the functions around a call, as a profile has them.
/// fn path(call: &FunctionCall<'_>) -> String {
///     let mut names: Vec<_> = call.stack().filter_map(|call| call.func_name()).collect();
///     names.reverse();
///     names.join(";")
/// }
/// ```
#[derive(Clone, Copy)]
pub struct FunctionCall<'a> {
    /// The functions that are active, this one last.
    active: &'a [Active],
}

impl<'a> FunctionCall<'a> {
    /// # Safety
    /// There is an active function, and all of them have modules that the store keeps.
    pub(crate) unsafe fn new(active: &'a [Active]) -> Self {
        Self { active }
    }

    fn own(&self) -> &'a Active {
        self.active.last().expect("by the contract of `new`")
    }

    /// Index of the function in its module.
    pub fn func_index(&self) -> u32 {
        self.own().function
    }

    /// The name of the function, from the module's name section or made from the index; `None` if
    /// the artifact has no names.
    pub fn func_name(&self) -> Option<Cow<'a, str>> {
        // SAFETY: by the contract of `new`.
        let module = unsafe { self.own().module.as_ref() };
        module
            .name_of(self.func_index())
            .map(String::from_utf8_lossy)
    }

    /// The name of the module, from its name section.
    pub fn module_name(&self) -> Option<&'a str> {
        use crate::backtrace::FrameModule;
        // SAFETY: by the contract of `new`.
        unsafe { self.own().module.as_ref() }.name()
    }

    /// The calls of functions that were active before this one, innermost first.
    pub fn stack(&self) -> impl ExactSizeIterator<Item = FunctionCall<'a>> + use<'a> {
        let active = self.active;
        (1..active.len()).rev().map(|len| FunctionCall {
            active: &active[..len],
        })
    }
}

impl std::fmt::Debug for FunctionCall<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionCall")
            .field("module", &self.module_name())
            .field("function", &self.func_index())
            .field("name", &self.func_name())
            .finish()
    }
}

/// A listener, as a store keeps it.
pub(crate) fn listeners(listener: impl FunctionListener + 'static) -> Listeners {
    Listeners::new(Box::new(Listening::new(listener)))
}

/// A listener that gets values in the form of the host.
pub(crate) struct Listening<L> {
    listener: L,
    values: Vec<Val>,
}

impl<L> Listening<L> {
    fn new(listener: L) -> Self {
        let values = Vec::new();
        Self { listener, values }
    }
}

impl<L: FunctionListener> Listen for Listening<L> {
    unsafe fn before(&mut self, active: &[Active], params: &RawValues<'_>) {
        let told = Told(&mut self.values);
        // SAFETY: by this function's contract.
        let call = unsafe {
            read(told.0, params, false);
            FunctionCall::new(active)
        };
        self.listener.before(&call, told.0);
    }

    unsafe fn after(&mut self, active: &[Active], results: Option<&RawValues<'_>>) {
        let told = Told(&mut self.values);
        if let Some(results) = results {
            // SAFETY: by this function's contract.
            unsafe { read(told.0, results, true) };
        }
        // SAFETY: as above.
        let call = unsafe { FunctionCall::new(active) };
        self.listener.after(&call, results.map(|_| &told.0[..]));
    }

    unsafe fn abort(&mut self, active: &[Active], error: Option<&Error>) {
        // SAFETY: by this function's contract.
        let call = unsafe { FunctionCall::new(active) };
        self.listener.abort(&call, error);
    }
}

/// Values that are dropped after the listener has seen them.
struct Told<'a>(&'a mut Vec<Val>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Reads a function's parameters or results. There are none if the function does not exist.
///
/// # Safety
/// The values are those of the function, and of its store.
unsafe fn read(values: &mut Vec<Val>, raw: &RawValues<'_>, results: bool) {
    // SAFETY: the store lives as long as `raw`, and nobody changes it meanwhile.
    let core = unsafe { &*raw.store.cast::<StoreCore>() };
    let artifact = raw.module.artifact();
    let signature = artifact.function_signature(raw.function).ok();
    let Some(signature) = signature.and_then(|index| artifact.signature(index)) else {
        return;
    };
    let value = |(i, ty)| {
        let ty = ValType::of_artifact(ty, raw.module.types());
        // SAFETY: by this function's contract.
        unsafe { Val::from_raw(ty, *raw.values.add(i), core) }
    };
    match results {
        true => values.extend(signature.results().enumerate().map(value)),
        false => values.extend(signature.params().enumerate().map(value)),
    }
}
