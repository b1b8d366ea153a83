//! What a store knows of its calls on stacks of their own, see [`fiber`](super::fiber).

use std::ffi::c_void;

use precast_artifact::vm::VmStoreContext;

use super::edges::SavedActivation;
use crate::error::Error;
use crate::sys::stack::FurtherStack;

/// The value of `entry_sp` of a store whose only calls are suspended.
pub(super) const SUSPENDED: usize = usize::MAX;

/// The fibers of a store.
#[derive(Debug)]
pub(crate) struct Fibers {
    /// The innermost running fiber, or null.
    pub(super) running: *mut Fiber,
    /// The number of suspended fibers.
    pub(super) suspended: u32,
}

impl Fibers {
    pub(super) const fn none() -> Self {
        Self {
            running: std::ptr::null_mut(),
            suspended: 0,
        }
    }

    /// # Errors
    /// [`Error::Suspended`] if there is a suspended call. Its future is leaked, since it borrows
    /// the store.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.suspended == 0 {
            Ok(())
        } else {
            Err(Error::Suspended)
        }
    }

    /// Whether futures of suspended calls were leaked, asked once when the store is dropped.
    pub(super) fn take_leaked(&mut self) -> bool {
        std::mem::take(&mut self.suspended) != 0
    }

    /// Notes that the fiber that is running enters wasm code.
    pub(super) fn note_entry(&mut self) {
        // SAFETY: a running fiber is on its stack, which is there.
        if let Some(fiber) = unsafe { self.running.as_mut() } {
            fiber.is_entered = true;
        }
    }

    /// The innermost fiber that is running, or null.
    pub(super) fn running(&self) -> *const Fiber {
        self.running
    }

    /// Whether frames of the store are on other stacks than that of the innermost activation: on
    /// those that the pollers of the running fibers run on, or on those of suspended ones.
    pub(super) fn are_nested(&self) -> bool {
        // SAFETY: a running fiber is on its stack, which is there, and so are those around it.
        let fiber_at = |fiber: *mut Fiber| unsafe { fiber.as_ref() };
        let mut running =
            std::iter::successors(fiber_at(self.running), |fiber| fiber_at(fiber.around));
        self.suspended != 0 || running.any(|fiber| fiber.elsewhere.is_active())
    }
}

/// A call on a stack of its own. It is at the top of that stack.
pub(crate) struct Fiber {
    /// The store.
    pub(super) store: *mut VmStoreContext,
    /// Lowest address that the stack has.
    pub(super) low: usize,
    /// Stack pointer of the side, poller or fiber, that is not running.
    pub(super) sp: usize,
    /// The stack, in a list of the thread while this fiber is running.
    pub(super) stack: FurtherStack,
    /// The store's fields about its activations on that side.
    pub(super) elsewhere: SavedActivation,
    /// The fiber of the store that the poller runs on, while this one is running.
    pub(super) around: *mut Fiber,
    /// The [`Context`](std::task::Context) of the poll while it lasts.
    pub(super) context: *mut c_void,
    /// Whether the call is one of wasm code, and not of a host function.
    pub(super) is_entered: bool,
    /// Whether frames of the host are on the stack, see [`HostCall`](super::fiber::HostCall).
    pub(super) is_pinned: bool,
    pub(super) is_cancelled: bool,
    pub(super) is_done: bool,
}

impl Fiber {
    /// While this fiber is running: the innermost activation on the stack of the poller, or null.
    pub(super) fn active_elsewhere(&self) -> *const SavedActivation {
        match self.elsewhere.is_active() {
            true => &raw const self.elsewhere,
            false => std::ptr::null(),
        }
    }

    /// While this fiber is running: the fiber that the poller runs on, or null.
    pub(super) fn around(&self) -> *const Self {
        self.around
    }
}
