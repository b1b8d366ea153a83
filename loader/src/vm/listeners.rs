//! The function listener of a store, and the functions that it was told of.
//!
//! Machine code that is compiled for listeners calls a builtin at the entry of a function and where
//! it returns. The functions between are kept in a list, because one that ends early calls nothing:
//! the list tells which ones are over when an exception has found its handler, or an activation has
//! ended. An entry has the frame pointer of its function, and that of the entry of its activation.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use precast_artifact::vm::{ValRaw, VmContextHeader};

use super::activation::raise;
use super::ending::Ending;
use super::instance::InstanceData;
use super::module::MappedModule;
use super::store::StoreCore;
use crate::error::Error;

/// A function that has begun.
pub(crate) struct Active {
    /// Its module, which an instance of the store holds.
    pub(crate) module: NonNull<MappedModule>,
    /// Its index in the module.
    pub(crate) function: u32,
    fp: usize,
    entry_fp: usize,
}

// SAFETY: a module can be used by all threads, and the store that holds it moves with the list.
unsafe impl Send for Active {}

/// Is told when functions begin and end: each time the last of the active functions.
pub(crate) trait Listen: Send {
    /// # Safety
    /// The values are the function's parameters, and the store holds the modules of `active`.
    unsafe fn before(&mut self, active: &[Active], params: &RawValues<'_>);

    /// # Safety
    /// The values are the function's results, and the store holds the modules of `active`.
    unsafe fn after(&mut self, active: &[Active], results: Option<&RawValues<'_>>);

    /// # Safety
    /// The store holds the modules of `active`.
    unsafe fn abort(&mut self, active: &[Active], error: Option<&Error>);
}

/// Parameters or results of a function, as machine code has them.
pub(crate) struct RawValues<'a> {
    pub(crate) core: &'a StoreCore,
    pub(crate) module: &'a MappedModule,
    pub(crate) function: u32,
    pub(crate) values: *const ValRaw,
}

impl<'a> RawValues<'a> {
    fn new(
        core: &'a StoreCore,
        instance: &'a InstanceData,
        function: u32,
        values: *const ValRaw,
    ) -> Self {
        Self {
            core,
            module: &instance.module,
            function,
            values,
        }
    }
}

/// A listener and what it was told of.
pub(crate) struct Listeners {
    listener: Box<dyn Listen>,
    active: Vec<Active>,
    /// The frame pointer of the entry of the activation that has ended early last.
    ended_entry: usize,
}

type Panic = Box<dyn Any + Send>;

impl Listeners {
    pub(crate) fn new(listener: Box<dyn Listen>) -> Self {
        Self {
            listener,
            active: Vec::new(),
            ended_entry: 0,
        }
    }

    /// Notes that an activation ends early. A signal handler calls this.
    pub(crate) fn note_end(&mut self, entry_fp: usize) {
        self.ended_entry = entry_fp;
    }

    /// Ends the innermost functions for which `is_over` holds.
    fn abort(&mut self, error: Option<&Error>, is_over: impl Fn(&Active) -> bool) {
        let over = self
            .active
            .iter()
            .rev()
            .take_while(|active| is_over(active));
        let keep = self.active.len() - over.count();
        // All of them are gone, even if the listener panics.
        let ended = Ended {
            active: &mut self.active,
            keep,
        };
        for len in (keep + 1..=ended.active.len()).rev() {
            // SAFETY: the store holds the modules of all.
            unsafe { self.listener.abort(&ended.active[..len], error) };
        }
    }
}

/// Removes the innermost functions when it is dropped, except so many.
struct Ended<'a> {
    active: &'a mut Vec<Active>,
    keep: usize,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.active.truncate(self.keep);
    }
}

impl StoreCore {
    /// Ends what was active in the activation that has just ended. The listener may panic.
    pub(crate) fn abort_ended(&mut self, error: Option<&Error>) {
        if let Some(listeners) = self.listeners() {
            let entry_fp = listeners.ended_entry;
            listeners.abort(error, |active| active.entry_fp == entry_fp);
        }
    }

    pub(crate) fn listeners(&mut self) -> Option<&mut Listeners> {
        self.made.as_mut()?.listeners.as_mut()
    }
}

/// Ends the functions of the innermost activation inside of the frame in which an exception is
/// handled.
///
/// # Errors
/// The panic of the listener.
///
/// # Safety
/// `core` is a live store whose machine code called out.
pub(crate) unsafe fn unwound_to(core: *mut StoreCore, fp: usize) -> Result<(), Panic> {
    // SAFETY: by this function's contract; no other reference to the store is used meanwhile.
    unsafe {
        let entry_fp = (*core).vm.entry_fp;
        let Some(listeners) = (*core).listeners() else {
            return Ok(());
        };
        let is_over = |active: &Active| active.entry_fp == entry_fp && active.fp < fp;
        catch_unwind(AssertUnwindSafe(|| listeners.abort(None, is_over)))
    }
}

/// Tells the listener of a store something about a function.
///
/// # Safety
/// Called by machine code with its own context, through a thunk, with one of its functions.
unsafe fn tell(
    vmctx: *mut VmContextHeader,
    tell: impl FnOnce(&mut Listeners, &StoreCore, &InstanceData),
) {
    // SAFETY: by this function's contract. The listener does not reach the store; it is taken out
    // of the store, so that values of the store can be made in the meantime. When `raise` is
    // called, nothing is left to drop.
    unsafe {
        let core: *mut StoreCore = (*vmctx).store.cast();
        let made = (*core).made.as_mut();
        let Some(mut listeners) = made.and_then(|made| made.listeners.take()) else {
            return;
        };
        let told = catch_unwind(AssertUnwindSafe(|| {
            let instance = &*(*vmctx).instance.cast::<InstanceData>();
            tell(&mut listeners, &*core, instance);
        }));
        (*core).made_mut().listeners = Some(listeners);
        if let Err(panic) = told {
            raise(core, Ending::Panic(panic));
        }
    }
}

/// [`Builtin::FunctionBefore`](precast_artifact::Builtin::FunctionBefore).
pub(crate) unsafe extern "C" fn function_before(
    vmctx: *mut VmContextHeader,
    function: u32,
    params: *const ValRaw,
) {
    // SAFETY: called by machine code with its own context, one of its functions and its parameters,
    // through a thunk, which noted the frame of the function.
    unsafe {
        tell(vmctx, |this, core, instance| {
            let (listener, active) = (&mut this.listener, &mut this.active);
            active.push(Active {
                module: NonNull::from(&*instance.module),
                function,
                fp: core.vm.exit_fp,
                entry_fp: core.vm.entry_fp,
            });
            listener.before(active, &RawValues::new(core, instance, function, params));
        });
    }
}

/// [`Builtin::FunctionAfter`](precast_artifact::Builtin::FunctionAfter).
pub(crate) unsafe extern "C" fn function_after(
    vmctx: *mut VmContextHeader,
    function: u32,
    results: *const ValRaw,
) {
    // SAFETY: as for `function_before`.
    unsafe {
        tell(vmctx, |this, core, instance| {
            let (listener, active) = (&mut this.listener, &mut this.active);
            let fp = core.vm.exit_fp;
            // A listener that was set after the function had begun was not told of it.
            if active
                .last()
                .is_none_or(|last| last.fp != fp || last.function != function)
            {
                return;
            }
            let keep = active.len() - 1;
            let ended = Ended { active, keep };
            let results =
                (!results.is_null()).then(|| RawValues::new(core, instance, function, results));
            listener.after(ended.active, results.as_ref());
        });
    }
}
