//! Entering wasm code and leaving it early.
//!
//! An *activation* is one call of the host into wasm code. Entry trampolines, which are in the
//! artifact, store where to resume if the activation ends early. [`enter`] saves what they have
//! stored for an outer activation of the same store and the stack limit, and says to the signal
//! handler whose code runs on this thread ([`running`]).
//!
//! To end an activation early, [`raise`] (for host functions and builtins) or the signal handler
//! records the reason and the frames, and continues at the landing pad of the trampoline, which
//! returns to [`enter`] as a call would. The only host frames in between are those of a shim or
//! builtin, which has nothing left to drop. Nothing unwinds.

use std::cell::Cell;

use precast_artifact::TrapCode;

use super::edges::SavedActivation;
use super::ending::Ending;
use super::externrefs::Point;
#[cfg(feature = "async")]
use super::fibers::SUSPENDED;
use super::frames::{Around, RawFrames};
use super::module::MappedModule;
use super::store::StoreCore;
use crate::arch;
use crate::backtrace::WasmBacktrace;
use crate::error::Error;
use crate::sys::stack;

thread_local! {
    static RUNNING: Cell<*mut StoreCore> = const { Cell::new(std::ptr::null_mut()) };
}

/// The store whose machine code runs on this thread. While host code runs, any store or null.
///
/// This is set where machine code is entered, and again wherever host code that machine code has
/// called returns to it. So it holds whatever host code does meanwhile: it may call other stores,
/// and switch to another stack of its own where another store's call is under way.
pub(crate) fn running() -> *mut StoreCore {
    RUNNING.get()
}

/// Host code is about to enter machine code of a store, or to return to it.
#[inline(always)]
pub(crate) fn goes_on(core: *mut StoreCore) {
    RUNNING.set(core);
}

/// [`goes_on`] where the frame of the caller may have begun on another thread. A function that is
/// inlined there could use that thread's variable.
#[inline(never)]
pub(crate) fn goes_on_here(core: *mut StoreCore) {
    goes_on(core);
}

/// No machine code runs on this thread any longer.
#[inline(always)]
pub(crate) fn is_left() {
    RUNNING.set(std::ptr::null_mut());
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
        let saved = SavedActivation::save(&raw const (*core).vm, (*core).outer);
        (*core).outer = &raw const saved;
        (*core).vm.stack_limit = limit;
        goes_on(core);
        let result = call();
        is_left();
        saved.restore(&raw mut (*core).vm);
        (*core).outer = saved.outer;
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
        goes_on(core);
        let result = call();
        is_left();
        (*core).vm.entry_sp = 0;
        finish(core, result)
    }
}

/// [`enter_outermost`] on the stack of a fiber, as its only entry. The frame of this function may
/// continue on another thread than it began on, so it uses no thread-local. [`fiber`](super::fiber)
/// has set the thread-locals when it resumed the fiber.
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
        None => unreachable!("`trapped` is set together with `ending`"),
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
        let (mut frames, around) = (RawFrames::EMPTY, around(core));
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
        let known = stack::stack_with(sp);
        on_one_stack |= known.is_some_and(|known| known.contains(&entry) && known.contains(&exit));
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

impl StoreCore {
    /// Records why and where an activation ends. Allocates nothing.
    ///
    /// # Safety
    /// As for [`RawFrames::walk`].
    pub(crate) unsafe fn record(&mut self, ending: Ending, pc: usize, fp: usize, exact: bool) {
        // The frames of an exception are known from where it was thrown, if no other was since
        // then.
        let is_known = self.knows_frames_of(&ending);
        let entry = self.vm.entry_fp;
        self.ending = Some(ending);
        if let Some(listeners) = self.listeners() {
            listeners.note_end(entry);
        }
        self.vm.trapped = 1;
        if is_known {
            return;
        }
        // SAFETY: by this function's contract.
        unsafe {
            let around = around(self);
            self.frames.walk(pc, fp, entry, exact, around);
        }
    }

    /// [`StoreCore::record`] for the signal handler.
    ///
    /// # Safety
    /// `pc` and `fp` are those of wasm code of this store that was interrupted.
    pub(crate) unsafe fn record_trap(&mut self, trap: Ending, pc: usize, fp: usize) {
        // SAFETY: by this function's contract.
        unsafe { self.record(trap, pc, fp, true) };
    }

    /// Whether an activation ends with the exception whose frames were recorded.
    fn knows_frames_of(&self, ending: &Ending) -> bool {
        let Ending::Error(Error::Exception { exception, .. }) = ending else {
            return false;
        };
        let exception = exception.exception();
        // SAFETY: the store that ends has its exceptions to itself.
        exception.store == self.id.number()
            && unsafe { (*exception.vm()).reference } == self.frames.exnref
    }

    /// Ends what was active in the activation that has just ended. The listener may panic.
    fn abort_ended(&mut self, error: Option<&Error>) {
        if let Some(listeners) = self.listeners() {
            listeners.abort_ended(error);
        }
    }
}

/// The activations of a store around the innermost one.
///
/// # Safety
/// `core` is valid, and no activation begins or ends while the result is used.
pub(super) unsafe fn around(core: *const StoreCore) -> Around {
    // SAFETY: by this function's contract.
    unsafe {
        Around::new(
            (*core).outer,
            #[cfg(feature = "async")]
            (*core).fibers.running(),
        )
    }
}
