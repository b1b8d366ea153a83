//! How machine code calls host functions.
//!
//! Each typed closure gets *shims*, machine-level functions made for its very types (see
//! [`into_func`](crate::into_func)). Wasm code reaches the native shim with the arguments in
//! registers, through an exit trampoline of its own module. Where calling conventions allow, it
//! calls the direct shim instead, which stores the edge of the wasm frames as an exit does and
//! jumps to the native one: there is no frame and no second call. The array shim serves signatures
//! that have no native form, and closures whose type is known only at run time.
//!
//! A shim catches panics. When the closure is done and everything it owned is dropped, an error or
//! panic ends the activation (see [`activation`](super::activation)): nothing ever unwinds through
//! wasm frames.

use std::panic::{AssertUnwindSafe, catch_unwind};

use precast_artifact::TrapCode;
use precast_artifact::vm::{ValRaw, VmFuncImport};

use super::activation::{goes_on, goes_on_here, raise};
use super::ending::Ending;
use super::exception::throw_from_host;
use super::externrefs::Point;
use super::host::HostFunc;
use super::interrupt::is_raised;
use super::stopping::ends;
use super::store::StoreCore;
use crate::error::Error;

/// Returns the results of a closure, or ends the activation if the closure failed or panicked.
///
/// # Safety
/// Called by a shim that was called by machine code, its closure being done.
#[inline(always)]
pub(crate) unsafe fn finish<R>(
    import: *const VmFuncImport,
    result: std::thread::Result<Result<R, Error>>,
) -> R {
    // SAFETY: by this function's contract.
    unsafe {
        goes_on((*import).store.cast());
        settle(import, result)
    }
}

/// [`finish`] for a closure that may have continued on another thread.
///
/// # Safety
/// As for [`finish`].
pub(crate) unsafe fn finish_here<R>(
    import: *const VmFuncImport,
    result: std::thread::Result<Result<R, Error>>,
) -> R {
    // SAFETY: by this function's contract.
    unsafe {
        goes_on_here((*import).store.cast());
        settle(import, result)
    }
}

/// The part of [`finish`] that uses no thread-local.
///
/// # Safety
/// As for [`finish`].
#[inline(always)]
unsafe fn settle<R>(
    import: *const VmFuncImport,
    result: std::thread::Result<Result<R, Error>>,
) -> R {
    let ending = match result {
        // SAFETY: the slot's store is live: its code is calling.
        Ok(Ok(result)) if unsafe { !is_raised((*import).store) } => return result,
        // SAFETY: as above.
        Ok(Ok(result)) if unsafe { !ends((*import).store.cast()) } => return result,
        Ok(Ok(_)) => Ending::Trap(TrapCode::Interrupt),
        // SAFETY: by this function's contract.
        Ok(Err(error)) => unsafe { throw_from_host((*import).store.cast(), error) },
        Err(panic) => Ending::Panic(panic),
    };
    // SAFETY: by this function's contract; `ending` is moved, nothing else is left to drop.
    unsafe { raise((*import).store.cast(), ending) }
}

pub(crate) unsafe extern "C" fn array_shim(import: *const VmFuncImport, values: *mut ValRaw) {
    // SAFETY: machine code calls this through an exit of the function's signature.
    unsafe {
        let call = AssertUnwindSafe(|| {
            // The arguments are still in a frame of machine code.
            (*(*import).store.cast::<StoreCore>()).collect_externrefs(Point::Shim);
            HostFunc::call(import, values)
        });
        finish_here(import, catch_unwind(call));
    }
}
