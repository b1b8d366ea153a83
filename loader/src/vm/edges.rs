//! Where the frames of an activation begin and end, and what else a store knows of it.
//!
//! The store has these fields of its innermost activation in its [`VmStoreContext`], because entry
//! trampolines and exits write them. Those of an outer activation are saved on the stack while an
//! inner one lasts.

use precast_artifact::vm::VmStoreContext;

/// The fields of a store that an inner activation overwrites.
pub(crate) struct SavedActivation {
    stack_limit: usize,
    pub(super) entry_fp: usize,
    entry_sp: usize,
    entry_handler: usize,
    pub(super) exit_fp: usize,
    pub(super) exit_sp: usize,
    /// The activation around this one, or null.
    pub(super) outer: *const SavedActivation,
}

impl SavedActivation {
    /// The fields of a store whose code is not active.
    #[cfg(feature = "async")]
    pub(super) const IDLE: Self = Self {
        stack_limit: usize::MAX,
        entry_fp: 0,
        entry_sp: 0,
        entry_handler: 0,
        exit_fp: 0,
        exit_sp: 0,
        outer: std::ptr::null(),
    };

    /// The fields of a store, with the activation `outer` around the innermost one.
    ///
    /// # Safety
    /// `vm` is valid.
    #[inline(always)]
    pub(super) unsafe fn save(vm: *const VmStoreContext, outer: *const Self) -> Self {
        // SAFETY: by this function's contract.
        unsafe {
            Self {
                outer,
                stack_limit: (*vm).stack_limit,
                entry_fp: (*vm).entry_fp,
                entry_sp: (*vm).entry_sp,
                entry_handler: (*vm).entry_handler,
                exit_fp: (*vm).exit_fp,
                exit_sp: (*vm).exit_sp,
            }
        }
    }

    /// Writes the fields to a store, except for `outer`, which the caller writes.
    ///
    /// # Safety
    /// `vm` is valid.
    #[inline(always)]
    pub(super) unsafe fn restore(&self, vm: *mut VmStoreContext) {
        // SAFETY: by this function's contract.
        unsafe {
            (*vm).stack_limit = self.stack_limit;
            (*vm).entry_fp = self.entry_fp;
            (*vm).entry_sp = self.entry_sp;
            (*vm).entry_handler = self.entry_handler;
            (*vm).exit_fp = self.exit_fp;
            (*vm).exit_sp = self.exit_sp;
        }
    }

    /// Exchanges the fields with those of a store, whose activation around the innermost one is
    /// `outer`.
    ///
    /// # Safety
    /// `vm` is valid.
    #[cfg(feature = "async")]
    pub(super) unsafe fn exchange(&mut self, vm: *mut VmStoreContext, outer: &mut *const Self) {
        // SAFETY: by this function's contract.
        unsafe {
            let other = Self::save(vm, *outer);
            self.restore(vm);
            *outer = self.outer;
            *self = other;
        }
    }

    /// Whether these are the fields of a store whose code is active.
    #[cfg(feature = "async")]
    pub(super) fn is_active(&self) -> bool {
        self.entry_sp != 0
    }

    /// The return address and the frame pointer of the activation's innermost frame, and the frame
    /// pointer of its entry.
    ///
    /// # Safety
    /// The activation is not over.
    pub(super) unsafe fn frames(&self) -> (usize, usize, usize) {
        // SAFETY: the code called out through an exit or a thunk, which noted where the return
        // address is.
        let pc = unsafe { *(self.exit_sp as *const usize) };
        (pc, self.exit_fp, self.entry_fp)
    }
}
