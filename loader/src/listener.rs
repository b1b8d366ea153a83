//! What a host learns of the calls of functions: [`FunctionListener`].

use std::borrow::Cow;

use crate::error::Error;
use crate::val::Val;
use crate::vm::listeners::Active;

/// Is told when functions of modules begin and end, see [`Store::set_function_listener`].
///
/// Each `before` has one `after` or `abort`, in the order of a stack. A listener sees functions
/// that modules define, whoever calls them, and no host functions. It cannot use the store. A panic
/// ends the call, and continues at the host's own call.
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

/// A call of a function that is active.
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
