//! Calls of machine code to the function listener of its store.

use std::panic::{AssertUnwindSafe, catch_unwind};

use precast_artifact::vm::{ValRaw, VmContextHeader};

use crate::vm::activation::{goes_on, raise};
use crate::vm::ending::Ending;
use crate::vm::instance::InstanceData;
use crate::vm::listeners::{Listeners, RawValues};
use crate::vm::store::StoreCore;

/// Calls `tell` with the listeners of a store and the values of a function.
///
/// # Safety
/// Called by machine code with its own context, through a thunk, with one of its functions.
unsafe fn tell(
    vmctx: *mut VmContextHeader,
    function: u32,
    values: *const ValRaw,
    tell: impl FnOnce(&mut Listeners, &StoreCore, &RawValues<'_>),
) {
    // SAFETY: by this function's contract. The listeners are taken out of the store during the
    // call, so that they and the store can be borrowed at the same time. When `raise` is called,
    // nothing is left to drop.
    unsafe {
        let core: *mut StoreCore = (*vmctx).store.cast();
        let made = (*core).made.as_mut();
        let Some(mut listeners) = made.and_then(|made| made.listeners.take()) else {
            return;
        };
        let told = catch_unwind(AssertUnwindSafe(|| {
            let values = RawValues {
                store: core.cast(),
                module: &(*(*vmctx).instance.cast::<InstanceData>()).module,
                function,
                values,
            };
            tell(&mut listeners, &*core, &values);
        }));
        (*core).made_mut().listeners = Some(listeners);
        goes_on(core);
        if let Err(panic) = told {
            raise(core, Ending::Panic(panic));
        }
    }
}

/// [`Builtin::FunctionBefore`](precast_artifact::Builtin::FunctionBefore).
pub(super) unsafe extern "C" fn function_before(
    vmctx: *mut VmContextHeader,
    function: u32,
    params: *const ValRaw,
) {
    // SAFETY: called by machine code with its own context, one of its functions and its parameters,
    // through a thunk, which noted the frame of the function.
    unsafe {
        tell(vmctx, function, params, |listeners, core, params| {
            listeners.begin(core.vm.exit_fp, core.vm.entry_fp, params);
        });
    }
}

/// [`Builtin::FunctionAfter`](precast_artifact::Builtin::FunctionAfter).
pub(super) unsafe extern "C" fn function_after(
    vmctx: *mut VmContextHeader,
    function: u32,
    results: *const ValRaw,
) {
    // SAFETY: as for `function_before`.
    unsafe {
        tell(vmctx, function, results, |listeners, core, results| {
            listeners.end(core.vm.exit_fp, results);
        });
    }
}
