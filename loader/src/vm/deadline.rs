//! Code whose interrupt word is raised: it ends, or the host decides.
//!
//! Code that finds the word raised calls [`interrupted`]. If the only reason is that a deadline has
//! passed, and the host has set a callback for that, its answer counts: the code ends, goes on with
//! a new deadline, or is suspended first. Other reasons end the code, and the host is not asked.
//!
//! Host functions, and operators on long ranges, look at the word too, but cannot be suspended
//! there. If the store has a callback to ask, they go on ([`ends`]), and the code that they return
//! to asks. Code that waits at an address of a shared memory asks while it waits.
//!
//! While the callback runs, there is no callback to ask: code that the callback calls ends at the
//! deadline.

use precast_artifact::TrapCode;
use precast_artifact::vm::VmContextHeader;

use super::activation::{goes_on_here, raise};
use super::ending::{Ending, caught};
#[cfg(feature = "async")]
use super::fiber;
use super::interrupt::is_raised;
use super::stopping::ends;
use super::store::StoreCore;
use crate::deadline::UpdateDeadline;

/// [`Builtin::Interrupted`](precast_artifact::Builtin::Interrupted).
pub(crate) unsafe extern "C" fn interrupted(vmctx: *mut VmContextHeader) {
    // SAFETY: called by machine code with its own context, through a thunk. When `raise` is called,
    // nothing is left to drop.
    unsafe {
        let core = (*vmctx).store.cast::<StoreCore>();
        // The future of the host may panic, and so may the waker of its task.
        if let Err(ending) = caught(|| go_on(core)) {
            raise(core, ending);
        }
    }
}

/// Asks the host if the only reason to stop is that a deadline has passed, and suspends the code if
/// the host says so.
///
/// # Errors
/// How the activation ends.
///
/// # Panics
/// If code of the host does.
///
/// # Safety
/// As for [`raise`]; frames of the caller may continue on another thread, so after this call they
/// may use thread-locals only inside of functions that are never inlined.
pub(super) unsafe fn go_on(core: *mut StoreCore) -> Result<(), Ending> {
    // SAFETY: by this function's contract; the code may continue on another thread than it began
    // on, so what may use thread-locals is not inlined here.
    unsafe {
        match decide(core)? {
            UpdateDeadline::Interrupt => return Err(Ending::Trap(TrapCode::Interrupt)),
            UpdateDeadline::Continue(_) => {}
            #[cfg(feature = "async")]
            UpdateDeadline::Yield(_) => {
                let fiber = fiber::suspendable(core)?;
                fiber::wait_and_drop(fiber, yield_now())?;
            }
            #[cfg(feature = "async")]
            UpdateDeadline::YieldCustom(_, future) => {
                fiber::wait_and_drop(fiber::suspendable(core)?, future)?;
            }
        }
        goes_on_here(core);
    }
    Ok(())
}

/// Asks the host, and sets the new deadline.
///
/// # Errors
/// The ending if the code is to end without being asked, or because asking failed.
///
/// # Safety
/// As for [`raise`].
#[inline(never)]
unsafe fn decide(core: *mut StoreCore) -> Result<UpdateDeadline, Ending> {
    // SAFETY: by this function's contract.
    unsafe {
        if !is_raised(&raw mut (*core).vm) {
            return Ok(UpdateDeadline::Continue(0));
        }
        let Some(ask) = (*core).ask_host.filter(|_| !ends(core)) else {
            return Ok(UpdateDeadline::Interrupt);
        };
        let update = ask(core)?;
        match &update {
            UpdateDeadline::Interrupt => {}
            UpdateDeadline::Continue(ticks) => (*core).set_deadline(Some(*ticks)),
            #[cfg(feature = "async")]
            UpdateDeadline::Yield(ticks) | UpdateDeadline::YieldCustom(ticks, _) => {
                (*core).set_deadline(Some(*ticks));
            }
        }
        Ok(update)
    }
}

/// A future that is pending once.
#[cfg(feature = "async")]
#[inline(never)]
fn yield_now() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    let mut is_first = true;
    Box::pin(std::future::poll_fn(move |context| {
        if std::mem::take(&mut is_first) {
            context.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(())
    }))
}
