//! The instance whose code calls a builtin, and how the builtin returns.

use precast_artifact::vm::VmContextHeader;

use crate::vm::activation::raise;
use crate::vm::ending::Ending;
use crate::vm::instance::InstanceData;
use crate::vm::store::StoreCore;

/// The instance and the store of a VM context.
///
/// # Safety
/// `vmctx` is the context of a live instance whose code is calling. The references are not used
/// after that code continues.
pub(super) unsafe fn parts<'a>(
    vmctx: *mut VmContextHeader,
) -> (&'a mut InstanceData, &'a mut StoreCore) {
    // SAFETY: by this function's contract; the store is not part of the instance.
    unsafe { (&mut *(*vmctx).instance.cast(), &mut *(*vmctx).store.cast()) }
}

/// Returns the value, or ends the activation.
///
/// # Safety
/// As for [`raise`].
pub(super) unsafe fn or_raise<T, E: Into<Ending>>(core: &mut StoreCore, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        // SAFETY: by this function's contract.
        Err(ending) => unsafe { raise(core.this, ending.into()) },
    }
}
