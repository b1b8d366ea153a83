//! Exceptions: how a throw finds its handler.
//!
//! A store keeps an exception like an external reference (see [`externrefs`](super::externrefs)):
//! machine code holds its number, and for short times its address.
//!
//! A throw walks the frames of the innermost activation by their frame pointers, from the wasm code
//! that throws to the entry. It looks each return address up in the table of
//! [handlers](precast_artifact::handlers) of its module, and continues at the first handler that it
//! finds. If there is none, the activation ends with [`Error::Exception`]. So a host function
//! between two activations gets the exception as an error, and throws it again by returning the
//! error.
//!
//! The frames in between are those of wasm code, which has nothing to drop, and of one shim or
//! builtin, which has nothing left to drop. Nothing unwinds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use precast_artifact::TrapCode;
use precast_artifact::vm::{VmContextHeader, VmException, VmTag};

use super::activation::{around, goes_on, goes_on_here, raise};
use super::ending::Ending;
use super::externrefs::Point;
use super::quota::for_exception;
use super::stopping::ends;
use super::store::StoreCore;
use crate::arch;
use crate::error::Error;
use crate::exception::Exception;

/// Where a throw continues.
struct Landing {
    code: usize,
    sp: usize,
    fp: usize,
}

/// The innermost handler of the innermost activation.
///
/// # Safety
/// `core` is a live store whose machine code called out through an exit trampoline or thunk.
unsafe fn landing(core: *const StoreCore) -> Option<Landing> {
    // SAFETY: by this function's contract, the stored edges are those of this activation. Machine
    // code keeps frame pointers everywhere, so the chain from there reaches the entry.
    unsafe {
        let vm = &raw const (*core).vm;
        let (edge, end) = ((*vm).exit_sp, (*vm).entry_fp);
        let (mut pc, mut fp) = (*(edge as *const usize), (*vm).exit_fp);
        let mut module = None;
        // Outer frames are at higher addresses. Anything else ends the chain.
        while fp < end && fp > edge {
            // The return address may be the end of the text, but the call before it is inside.
            let call = pc.wrapping_sub(1);
            let is_inside = |text: (usize, usize)| (text.0..text.1).contains(&call);
            if !module.is_some_and(|(_, text)| is_inside(text)) {
                module = (*core).module_at(call).map(|found| (found, found.text()));
            }
            if let Some((module, (start, text_end))) = module
                && let Some(handler) = module.handler_at(pc)
            {
                let code = start + handler.code as usize;
                let sp = fp.wrapping_sub(handler.frame as usize);
                // A damaged table can lead only to another place in the frames of the activation.
                if code < text_end && sp > edge && sp <= fp && sp.is_multiple_of(16) {
                    return Some(Landing { code, sp, fp });
                }
            }
            pc = *((fp + 8) as *const usize);
            let caller = *(fp as *const usize);
            if caller <= fp {
                return None;
            }
            fp = caller;
        }
        None
    }
}

/// Returns how an error of a host function ends the activation. Does not return if the error is an
/// exception that wasm code of the activation handles.
///
/// # Safety
/// As for [`raise`].
pub(crate) unsafe fn throw_from_host(core: *mut StoreCore, error: Error) -> Ending {
    let Error::Exception { exception, .. } = &error else {
        return Ending::Error(error);
    };
    // SAFETY: by this function's contract; nothing else is left to drop when this does not return.
    unsafe {
        // Code of this store cannot handle an exception of another store.
        if exception.exception().store != (*core).id.number() {
            return Ending::Error(error);
        }
        let Some(Landing { code, sp, fp }) = landing(core) else {
            return Ending::Error(error);
        };
        if ends(core) {
            return Ending::Trap(TrapCode::Interrupt);
        }
        if let Err(limit) = (*core).exnref_to_raw(Some(exception)) {
            return Ending::Error(limit);
        }
        let vm = exception.exception().vm();
        note_frames(core, (*vm).reference);
        if let Err(panic) = unwound_to(core, fp) {
            return Ending::Panic(panic);
        }
        // The store keeps the exception.
        drop(error);
        // Listeners, and the drop of the error, were host code.
        goes_on_here(core);
        arch::land(code, sp, fp, vm)
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
unsafe fn unwound_to(core: *mut StoreCore, fp: usize) -> std::thread::Result<()> {
    // SAFETY: by this function's contract; no other reference to the store is used meanwhile.
    unsafe {
        let entry_fp = (*core).vm.entry_fp;
        let Some(listeners) = (*core).listeners() else {
            return Ok(());
        };
        let unwind = || listeners.unwound_to(entry_fp, fp);
        catch_unwind(AssertUnwindSafe(unwind))
    }
}

/// Records the frames of a throw, for the backtrace that is shown if nothing catches the exception.
///
/// # Safety
/// As for [`raise`].
unsafe fn note_frames(core: *mut StoreCore, exnref: u64) {
    // SAFETY: as in `raise`.
    unsafe {
        let vm = &raw const (*core).vm;
        let (pc, fp) = (*((*vm).exit_sp as *const usize), (*vm).exit_fp);
        let around = around(core);
        (*core).frames.walk(pc, fp, (*vm).entry_fp, false, around);
        (*core).frames.exnref = exnref;
    }
}

/// [`Builtin::ExceptionNew`](precast_artifact::Builtin::ExceptionNew).
pub(crate) unsafe extern "C" fn exception_new(
    vmctx: *mut VmContextHeader,
    tag: *mut VmTag,
) -> *mut VmException {
    // SAFETY: called by machine code with its own context and one of its tags, through a thunk.
    // When `raise` is called, nothing is left to drop.
    unsafe {
        let core: *mut StoreCore = (*vmctx).store.cast();
        let make = AssertUnwindSafe(|| {
            // The drop of a value may panic.
            (*core).collect_externrefs(Point::Shim);
            let Some(tag) = NonNull::new(tag) else {
                unreachable!("the address of a tag");
            };
            for_exception(core, Exception::bytes_of(tag.as_ref()))?;
            let exception = Exception::make((*core).id.number(), tag)?;
            (*core).exnref_to_raw(Some(&exception))?;
            Ok(exception.exception().vm())
        });
        let made = catch_unwind(make);
        goes_on(core);
        match made {
            Ok(Ok(exception)) => {
                note_frames(core, (*exception).reference);
                exception
            }
            Ok(Err(error)) => raise(core, Ending::Error(error)),
            Err(panic) => raise(core, Ending::Panic(panic)),
        }
    }
}

/// [`Builtin::ExceptionGet`](precast_artifact::Builtin::ExceptionGet).
pub(crate) unsafe extern "C" fn exception_get(
    vmctx: *mut VmContextHeader,
    exnref: u64,
) -> *mut VmException {
    // SAFETY: called by machine code with its own context, through a thunk.
    unsafe {
        let core: *mut StoreCore = (*vmctx).store.cast();
        // The store keeps the exception.
        let found = (*core).exnref_from_raw(exnref);
        let found = found.map(|exception| exception.exception().vm());
        found.unwrap_or_else(|| raise(core, Ending::Trap(TrapCode::NullReference)))
    }
}

/// [`Builtin::ExceptionThrow`](precast_artifact::Builtin::ExceptionThrow).
pub(crate) unsafe extern "C" fn exception_throw(
    vmctx: *mut VmContextHeader,
    exception: *mut VmException,
) -> ! {
    // SAFETY: called by machine code with its own context, through a thunk; the exception is one
    // that the store keeps.
    unsafe {
        let core: *mut StoreCore = (*vmctx).store.cast();
        if let Some(Landing { code, sp, fp }) = landing(core) {
            if let Err(panic) = unwound_to(core, fp) {
                raise(core, Ending::Panic(panic))
            }
            goes_on_here(core);
            arch::land(code, sp, fp, exception)
        }
        let ending = match (*core).exnref_from_raw((*exception).reference) {
            Some(exception) => Ending::Error(exception.into()),
            None => unreachable!("the store keeps it while it is thrown"),
        };
        raise(core, ending)
    }
}
