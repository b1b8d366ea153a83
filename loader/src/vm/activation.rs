//! Entering wasm code and leaving it early.
//!
//! An *activation* is one call of the host into wasm code. Entry trampolines, which are in the
//! artifact, store where to resume if the activation ends early. [`enter`] saves what they have
//! stored for an outer activation of the same store, the stack limit, and the thread-local that the
//! signal handler reads.
//!
//! To end an activation early, [`raise`] (for host functions and builtins) or the signal handler
//! records the reason and the frames, and continues at the landing pad of the trampoline, which
//! returns to [`enter`] as a call would. The only host frames in between are those of a shim or
//! builtin, which has nothing left to drop. Nothing unwinds.

use std::cell::Cell;

use precast_artifact::TrapCode;

use super::ending::{Ending, RawFrames};
use super::externrefs::Point;
#[cfg(feature = "async")]
use super::fiber::{Fiber, SUSPENDED};
use super::module::MappedModule;
use super::store::StoreCore;
use crate::arch;
use crate::backtrace::WasmBacktrace;
use crate::error::Error;
use crate::sys::stack;

thread_local! {
    static CURRENT: Cell<*mut StoreCore> = const { Cell::new(std::ptr::null_mut()) };
}

/// The store of the innermost activation on this thread, or null.
pub(crate) fn current() -> *mut StoreCore {
    CURRENT.get()
}

/// Runs `call`, which calls an entry trampoline of machine code that belongs to `core`.
///
/// # Errors
/// The error that ended the activation early. A panic of a host function continues here.
///
/// # Safety
/// `core` is a live store that no reference is held to, and `call` enters code of one of its
/// instances, with arguments of the right types.
#[inline]
pub(crate) unsafe fn enter<R>(core: *mut StoreCore, call: impl FnOnce() -> R) -> Result<R, Error> {
    // SAFETY: by this function's contract; the store's fields are only reached through `core`.
    unsafe {
        if !is_active(core) {
            return enter_outermost(core, call);
        }
        let limit = nested_limit(core)?;
        let saved = SavedActivation::save(core);
        (*core).outer = &raw const saved;
        (*core).vm.stack_limit = limit;
        let outer = CURRENT.replace(core);
        let result = call();
        CURRENT.set(outer);
        saved.restore(core);
        finish(core, result)
    }
}

/// The stack limit for code that is entered inside of another activation of its store: that of the
/// activation, unless a host function has moved its [`Caller`](crate::Caller) to another stack.
///
/// # Errors
/// A trap if the host has used so much stack that code cannot be entered, and [`Error::Suspended`].
///
/// # Safety
/// `core` is valid and active.
#[cold]
#[inline(never)]
unsafe fn nested_limit(core: *const StoreCore) -> Result<usize, Error> {
    // SAFETY: by this function's contract.
    let (limit, entry) = unsafe { ((*core).vm.stack_limit, (*core).vm.entry_sp) };
    #[cfg(feature = "async")]
    // SAFETY: as above.
    unsafe { (*core).fibers.check() }?;
    if !stack::is_this(entry) {
        // SAFETY: as above.
        return stack::limit(unsafe { (*core).stack_bytes }).ok_or_else(no_stack);
    }
    if stack::has_room(limit) {
        Ok(limit)
    } else {
        Err(no_stack())
    }
}

/// Whether wasm code of a store is active on this stack, or suspended.
///
/// # Safety
/// `core` is valid.
#[inline(always)]
pub(crate) unsafe fn is_active(core: *const StoreCore) -> bool {
    // SAFETY: by this function's contract.
    unsafe { (*core).vm.entry_sp != 0 }
}

/// Whether wasm code of a store is active on any stack, or suspended. On the stack of a fiber that
/// calls a host function, nothing may be active, but code around that call is.
///
/// # Safety
/// `core` is valid.
pub(crate) unsafe fn is_active_anywhere(core: *const StoreCore) -> bool {
    // SAFETY: by this function's contract.
    unsafe {
        #[cfg(feature = "async")]
        if (*core).fibers.are_nested() {
            return true;
        }
        is_active(core)
    }
}

/// [`enter`] for a store without an activation.
///
/// # Errors
/// As for [`enter`].
///
/// # Safety
/// As for [`enter`], and the store is not [active](is_active).
#[inline(always)]
pub(crate) unsafe fn enter_outermost<R>(
    core: *mut StoreCore,
    call: impl FnOnce() -> R,
) -> Result<R, Error> {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(limit) = stack::limit((*core).stack_bytes) else {
            return Err(no_stack());
        };
        (*core).vm.stack_limit = limit;
        let outer = CURRENT.replace(core);
        let result = call();
        CURRENT.set(outer);
        (*core).vm.entry_sp = 0;
        finish(core, result)
    }
}

/// [`enter_outermost`] on the stack of a fiber, as its only entry. The frame of this function may
/// go on on another thread than it began on, so it uses no thread-local. The fiber that is resumed
/// has what it needs there already.
///
/// # Errors
/// As for [`enter`].
///
/// # Safety
/// As for [`enter_outermost`]; the code runs on the stack of a fiber that ends at `low`.
#[cfg(feature = "async")]
#[inline(always)]
pub(crate) unsafe fn enter_on_fiber<R>(
    core: *mut StoreCore,
    low: usize,
    call: impl FnOnce() -> R,
) -> Result<R, Error> {
    // SAFETY: by this function's contract.
    unsafe {
        (*core).fibers.note_entry();
        let by_config = arch::stack_pointer().saturating_sub((*core).stack_bytes);
        (*core).vm.stack_limit = by_config.max(low + stack::HOST_RESERVE);
        let result = call();
        (*core).vm.entry_sp = 0;
        finish(core, result)
    }
}

/// Makes `core` the store of the innermost activation on this thread, and returns the former one.
#[cfg(feature = "async")]
pub(crate) fn replace_current(core: *mut StoreCore) -> *mut StoreCore {
    CURRENT.replace(core)
}

/// The trap of code that cannot be entered for want of stack.
#[cold]
#[inline(never)]
fn no_stack() -> Error {
    TrapCode::StackOverflow.into()
}

/// # Safety
/// An activation of `core` is just over.
#[inline(always)]
unsafe fn finish<R>(core: *mut StoreCore, result: R) -> Result<R, Error> {
    // SAFETY: by this function's contract.
    unsafe {
        if (&raw const (*core).vm.trapped).read_volatile() != 0 {
            return Err(ended(core));
        }
        Ok(result)
    }
}

/// The fields of a store that an inner activation overwrites.
pub(crate) struct SavedActivation {
    stack_limit: usize,
    entry_fp: usize,
    entry_sp: usize,
    entry_handler: usize,
    exit_fp: usize,
    exit_sp: usize,
    /// The activation around this one, or null.
    outer: *const SavedActivation,
}

impl SavedActivation {
    /// The fields of a store whose code is not active.
    #[cfg(feature = "async")]
    pub(crate) const IDLE: Self = Self {
        stack_limit: usize::MAX,
        entry_fp: 0,
        entry_sp: 0,
        entry_handler: 0,
        exit_fp: 0,
        exit_sp: 0,
        outer: std::ptr::null(),
    };

    /// Exchanges the fields with those of a store.
    ///
    /// # Safety
    /// `core` is valid.
    #[cfg(feature = "async")]
    pub(crate) unsafe fn exchange(&mut self, core: *mut StoreCore) {
        // SAFETY: by this function's contract.
        unsafe {
            let other = Self::save(core);
            self.restore(core);
            *self = other;
        }
    }

    /// Whether these are the fields of a store whose code is active.
    #[cfg(feature = "async")]
    pub(crate) fn is_active(&self) -> bool {
        self.entry_sp != 0
    }

    /// # Safety
    /// `core` is valid.
    unsafe fn save(core: *const StoreCore) -> Self {
        // SAFETY: by this function's contract.
        unsafe {
            let vm = &raw const (*core).vm;
            Self {
                outer: (*core).outer,
                stack_limit: (*vm).stack_limit,
                entry_fp: (*vm).entry_fp,
                entry_sp: (*vm).entry_sp,
                entry_handler: (*vm).entry_handler,
                exit_fp: (*vm).exit_fp,
                exit_sp: (*vm).exit_sp,
            }
        }
    }

    /// Where the innermost frame of the activation goes on, its frame pointer, and that of the
    /// entry.
    ///
    /// # Safety
    /// The activation is not over.
    pub(crate) unsafe fn frames(&self) -> (usize, usize, usize) {
        // SAFETY: the code called out through an exit or a thunk, which noted where the return
        // address is.
        let pc = unsafe { *(self.exit_sp as *const usize) };
        (pc, self.exit_fp, self.entry_fp)
    }

    /// # Safety
    /// `core` is valid.
    unsafe fn restore(&self, core: *mut StoreCore) {
        // SAFETY: by this function's contract.
        unsafe {
            (*core).outer = self.outer;
            let vm = &raw mut (*core).vm;
            (*vm).stack_limit = self.stack_limit;
            (*vm).entry_fp = self.entry_fp;
            (*vm).entry_sp = self.entry_sp;
            (*vm).entry_handler = self.entry_handler;
            (*vm).exit_fp = self.exit_fp;
            (*vm).exit_sp = self.exit_sp;
        }
    }
}

/// The activations of a store around the innermost one, from the inside out: those on its stack,
/// then those on the stacks that run the fibers which are running.
pub(crate) struct Around {
    /// The next one on the same stack, or null.
    next: *const SavedActivation,
    /// The fiber whose stack that is, or null.
    #[cfg(feature = "async")]
    fiber: *const Fiber,
}

impl Around {
    /// # Safety
    /// `core` is valid, and no activation begins or ends while this is used.
    pub(crate) unsafe fn of(core: *const StoreCore) -> Self {
        // SAFETY: by this function's contract.
        unsafe {
            Self {
                next: (*core).outer,
                #[cfg(feature = "async")]
                fiber: (*core).fibers.running(),
            }
        }
    }
}

impl Iterator for Around {
    type Item = *const SavedActivation;

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: by the contract of `of`: what an activation has saved is on the stack for as long
        // as it lasts, and so is a fiber that is running.
        unsafe {
            #[cfg(feature = "async")]
            while self.next.is_null()
                && let Some(fiber) = self.fiber.as_ref()
            {
                self.next = fiber.active_elsewhere();
                self.fiber = fiber.around();
            }
            let found = self.next.as_ref()?;
            self.next = found.outer;
            Some(found)
        }
    }
}

#[cold]
#[inline(never)]
unsafe fn ended(core: *mut StoreCore) -> Error {
    // SAFETY: as for `enter`; the activation is over, so nothing else uses the store now.
    let core = unsafe { &mut *core };
    core.vm.trapped = 0;
    let ending = core.ending.take();
    if let Some(Ending::Trap(TrapCode::OutOfFuel)) = ending {
        // The code counts in a register, whose value is lost.
        core.vm.fuel = 0;
    }
    let error = match ending {
        Some(Ending::Panic(payload)) => {
            core.frames.clear();
            core.abort_ended(None);
            std::panic::resume_unwind(payload)
        }
        Some(Ending::Trap(code)) => {
            Error::from(code).with_backtrace(|| resolve(&core.frames, core))
        }
        Some(Ending::Fault(address)) => {
            let mut trace = resolve(&core.frames, core);
            trace.fault = core.fault_at(address);
            Error::from(TrapCode::MemoryOutOfBounds).with_backtrace(|| trace)
        }
        Some(Ending::Error(error)) => error.with_backtrace(|| resolve(&core.frames, core)),
        None => unreachable!("whoever sets `trapped` says why"),
    };
    core.abort_ended(Some(&error));
    error
}

fn resolve(frames: &RawFrames, core: &StoreCore) -> WasmBacktrace {
    frames.resolve(|pc| {
        let module = core.held_module_at(pc);
        module.map_or_else(Vec::new, |module| MappedModule::frames_at(&module, pc))
    })
}

/// The frames that are active now.
///
/// # Safety
/// `core` is a live store, and no machine code of it runs: if it is active, its code has called a
/// host function or a builtin.
pub(crate) unsafe fn capture(core: &StoreCore) -> WasmBacktrace {
    // SAFETY: by this function's contract, the stored edges are those of the innermost activation.
    unsafe {
        let (mut frames, around) = (RawFrames::EMPTY, Around::of(core));
        let is_here = is_active(core);
        // The edges of a suspended call are those that its fiber keeps.
        #[cfg(feature = "async")]
        let is_here = is_here && core.vm.entry_sp != SUSPENDED;
        if is_here {
            let vm = &core.vm;
            let pc = *(vm.exit_sp as *const usize);
            frames.walk(pc, vm.exit_fp, vm.entry_fp, false, around);
        } else {
            frames.walk_around(around);
        }
        resolve(&frames, core)
    }
}

/// Calls `visit` with every word in which code of the store's activations may hold a value: the
/// words of their frames, and those of the host frames in between, where registers of machine code
/// are saved. Returns `false`, and visits nothing, if the activations are not known to be on one
/// stack.
///
/// # Safety
/// `core` is a live store whose machine code is not running; for [`Point::Shim`], it called this
/// thread's innermost shim.
#[inline(never)]
pub(crate) unsafe fn visit_words(
    core: *const StoreCore,
    point: Point,
    visit: &mut impl FnMut(u64),
) -> bool {
    // SAFETY: by this function's contract: the saved fields of an activation are on the stack for
    // as long as it lasts. The frames are readable, being between this one and one of the same
    // stack.
    unsafe {
        #[cfg(feature = "async")]
        if (*core).fibers.are_nested() {
            return false;
        }
        if !is_active(core) {
            return true;
        }
        let registers = arch::saved_registers();
        let sp = arch::stack_pointer();
        let vm = &raw const (*core).vm;
        // Each activation is further up on the stack than the one that it called.
        let (mut exit, mut entry) = ((*vm).exit_sp, (*vm).entry_fp);
        let mut in_order = sp <= exit && exit <= entry;
        let mut outer = (*core).outer;
        // If there is only one activation, its shim is on the same stack.
        let mut on_one_stack = point == Point::Shim && outer.is_null();
        while let Some(saved) = outer.as_ref() {
            in_order &= entry <= saved.exit_sp && saved.exit_sp <= saved.entry_fp;
            (exit, entry) = (saved.exit_sp, saved.entry_fp);
            outer = saved.outer;
        }
        let known = stack::range();
        on_one_stack |= known.contains(&sp) && known.contains(&entry) && known.contains(&exit);
        if !in_order || !on_one_stack {
            return false;
        }
        registers.into_iter().for_each(&mut *visit);
        for at in (sp.next_multiple_of(8)..entry).step_by(8) {
            visit((at as *const u64).read_volatile());
        }
        true
    }
}

/// Ends the innermost activation of `core`.
///
/// # Safety
/// The caller is a shim of a host function or a builtin that machine code of `core` called through
/// an exit trampoline or a thunk. Its frame and those below it have nothing left to drop.
#[cold]
#[inline(never)]
pub(crate) unsafe fn raise(core: *mut StoreCore, ending: Ending) -> ! {
    // SAFETY: by this function's contract, the stored edges of the wasm frames are those of this
    // activation.
    unsafe {
        let vm = &raw mut (*core).vm;
        let fp = (*vm).exit_fp;
        let pc = *((*vm).exit_sp as *const usize);
        (*core).record(ending, pc, fp, false);
        arch::resume((*vm).entry_handler, (*vm).entry_sp, (*vm).entry_fp)
    }
}
