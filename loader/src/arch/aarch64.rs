//! 64-bit Arm.

use std::arch::asm;
use std::ffi::c_void;

use libc::ucontext_t;
use precast_artifact::target::Arch;
use precast_artifact::vm::{VmException, VmStoreContext};

pub(crate) const ARCH: Arch = Arch::Aarch64;

/// Continues at a landing pad of an entry trampoline, and abandons every frame below it.
///
/// # Safety
/// The three values are the `entry_*` of the innermost activation on this thread's stack, and no
/// frame below has anything left to drop.
pub(crate) unsafe fn resume(handler: usize, sp: usize, fp: usize) -> ! {
    // SAFETY: the trampoline declared this landing pad to clobber every register but these two, and
    // takes no payload.
    unsafe { land(handler, sp, fp, std::ptr::null_mut()) }
}

/// Continues at a handler of wasm code, and abandons every frame below it.
///
/// # Safety
/// `handler` is that of a call of wasm code in a frame of the innermost activation on this thread's
/// stack, `sp` and `fp` are that frame's, and no frame below has anything left to drop.
pub(crate) unsafe fn land(handler: usize, sp: usize, fp: usize, exception: *mut VmException) -> ! {
    // SAFETY: the call declared its handler to clobber every register but these two, and to take
    // its payload in `x0`. The operands have registers of their own: any register may be `x29`
    // in a function without a frame pointer, and `x29` is overwritten before the jump.
    unsafe {
        asm!(
            "mov sp, x9",
            "mov x29, x10",
            "br x11",
            in("x9") sp,
            in("x10") fp,
            in("x11") handler,
            in("x0") exception,
            options(noreturn),
        )
    }
}

/// The integer arguments of a call.
pub(crate) type Words = [std::mem::MaybeUninit<u64>; 5];

/// Whether [`call_wasm`] exists.
pub(crate) const CALLS_WASM: bool = false;

/// Never called, because the `tail` convention and C pass arguments in different registers here.
///
/// # Safety
/// It is never safe to call this.
pub(crate) unsafe fn call_wasm(
    _: *mut VmStoreContext,
    _: *mut c_void,
    _: *const u8,
    _: Words,
) -> u64 {
    unreachable!("`CALLS_WASM` is false")
}

/// There are no direct shims, because the `tail` convention and C pass arguments in different
/// registers here.
macro_rules! direct_shim {
    (fn $($definition:tt)*) => {};
    ($shim:path) => {
        std::ptr::null()
    };
}
pub(crate) use direct_shim;

/// Defines a function that stands in for every function of a closed instance: it stores where the
/// wasm frames end and calls `$inner`, which does not return. The first argument, which `tail`
/// passes in `x2`, is the context of the instance, and the others do not matter. The frame puts the
/// return address in memory, where the walk of the frames looks for it.
///
/// Wasm code and entries call it with the `tail` convention.
macro_rules! closed_entry {
    ($name:ident => $inner:path) => {
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() {
            std::arch::naked_asm!(
                "ldr x9, [x2, #{store}]",
                "str x29, [x9, #{exit_fp}]",
                "stp x29, x30, [sp, #-16]!",
                "mov x29, sp",
                "add x10, sp, #8",
                "str x10, [x9, #{exit_sp}]",
                "mov x0, x2",
                "bl {inner}",
                "brk #1",
                store = const std::mem::offset_of!(precast_artifact::vm::VmContextHeader, store),
                exit_fp = const std::mem::offset_of!(precast_artifact::vm::VmStoreContext, exit_fp),
                exit_sp = const std::mem::offset_of!(precast_artifact::vm::VmStoreContext, exit_sp),
                inner = sym $inner,
            )
        }
    };
}
pub(crate) use closed_entry;

/// The stack pointer, roughly: that of the caller or a little below.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// The registers that a function preserves. They hold values of callers further up, if no function
/// in between has saved them. A function preserves only the lower halves of vector registers.
#[inline(always)]
pub(crate) fn saved_registers() -> [u64; 20] {
    let mut saved = [0; 20];
    // SAFETY: writes twenty registers to the array.
    unsafe {
        asm!(
            "stp x19, x20, [{to}]",
            "stp x21, x22, [{to}, 16]",
            "stp x23, x24, [{to}, 32]",
            "stp x25, x26, [{to}, 48]",
            "stp x27, x28, [{to}, 64]",
            "stp x29, x30, [{to}, 80]",
            "stp d8, d9, [{to}, 96]",
            "stp d10, d11, [{to}, 112]",
            "stp d12, d13, [{to}, 128]",
            "stp d14, d15, [{to}, 144]",
            to = in(reg) &raw mut saved,
            options(nostack, preserves_flags),
        );
    }
    saved
}

/// Bytes that [`switch_stack`] leaves on a stack.
#[cfg(feature = "async")]
const SWITCHED: usize = 160;

/// Defines a function that saves on this stack what a function preserves, exchanges the stack
/// pointer with the one in its argument, takes the same from there, and goes on with `$last`.
#[cfg(feature = "async")]
macro_rules! switch {
    ($(#[$attr:meta])* $name:ident, $last:literal) => {
        $(#[$attr])*
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name(saved: *mut usize) {
            std::arch::naked_asm!(
                "stp x29, x30, [sp, #-160]!",
                "stp x19, x20, [sp, #16]",
                "stp x21, x22, [sp, #32]",
                "stp x23, x24, [sp, #48]",
                "stp x25, x26, [sp, #64]",
                "stp x27, x28, [sp, #80]",
                "stp d8, d9, [sp, #96]",
                "stp d10, d11, [sp, #112]",
                "stp d12, d13, [sp, #128]",
                "stp d14, d15, [sp, #144]",
                "ldr x9, [x0]",
                "mov x10, sp",
                "str x10, [x0]",
                "mov sp, x9",
                "ldp x19, x20, [sp, #16]",
                "ldp x21, x22, [sp, #32]",
                "ldp x23, x24, [sp, #48]",
                "ldp x25, x26, [sp, #64]",
                "ldp x27, x28, [sp, #80]",
                "ldp d8, d9, [sp, #96]",
                "ldp d10, d11, [sp, #112]",
                "ldp d12, d13, [sp, #128]",
                "ldp d14, d15, [sp, #144]",
                "ldp x29, x30, [sp], #160",
                $last
            )
        }
    };
}

#[cfg(feature = "async")]
switch! {
    /// Switches back to the stack that [`enter_stack`] has left: saves the registers that a
    /// function preserves on this stack, and exchanges the stack pointer with the one in `saved`.
    /// Returns when another call of [`enter_stack`] switches to this stack, perhaps on another
    /// thread.
    ///
    /// The settings of floating-point arithmetic stay those of the thread.
    ///
    /// # Safety
    /// `saved` is the stack pointer that [`enter_stack`] has left, and no other thread switches to
    /// that stack.
    switch_stack, "ret"
}

#[cfg(feature = "async")]
switch! {
    /// Switches in the same way to a stack that [`switch_stack`] has left or [`prepare_stack`] has
    /// prepared. Returns when [`switch_stack`] or [`leave_stack`] switches back to this stack.
    ///
    /// This jumps where [`switch_stack`] returns. The CPU expects each return to lead behind the
    /// latest call that has not returned yet. So when a call on the other stack is over without a
    /// switch in between, it expects the return from [`leave_stack`] and those of the callers of
    /// this function. A return that it does not expect takes about 5 ns.
    ///
    /// # Safety
    /// `saved` is the stack pointer of such a stack, and no other thread switches to that stack.
    enter_stack, "br x30"
}

/// Leaves this stack for good, and switches back to the one that [`enter_stack`] has left.
///
/// # Safety
/// `sp` is the stack pointer that it has left, and no other thread switches to that stack. Nothing
/// on this stack is left to drop.
#[cfg(feature = "async")]
#[inline(always)]
pub(crate) unsafe fn leave_stack(sp: usize) -> ! {
    // SAFETY: by this function's contract; what is loaded is what `enter_stack` has stored.
    unsafe {
        asm!(
            "mov sp, {sp}",
            "ldp x19, x20, [sp, #16]",
            "ldp x21, x22, [sp, #32]",
            "ldp x23, x24, [sp, #48]",
            "ldp x25, x26, [sp, #64]",
            "ldp x27, x28, [sp, #80]",
            "ldp d8, d9, [sp, #96]",
            "ldp d10, d11, [sp, #112]",
            "ldp d12, d13, [sp, #128]",
            "ldp d14, d15, [sp, #144]",
            "ldp x29, x30, [sp], #160",
            "ret",
            sp = in(reg) sp,
            options(noreturn),
        )
    }
}

/// Prepares a new stack, so that the first switch to it calls `run` with `data`. `run` must not
/// return. The result is the stack pointer for [`enter_stack`].
///
/// # Safety
/// `top` is a multiple of 16, and the words below it can be written.
#[cfg(feature = "async")]
pub(crate) unsafe fn prepare_stack(
    top: usize,
    run: unsafe extern "C" fn(*mut c_void) -> !,
    data: *mut c_void,
) -> usize {
    let frame = (top - SWITCHED) as *mut usize;
    let mut words = [0; SWITCHED / 8];
    // x29, x30, x19, x20. A frame pointer of zero ends every walk along frame pointers.
    words[1] = start as *const () as usize;
    words[2] = data as usize;
    words[3] = run as usize;
    // SAFETY: by this function's contract.
    unsafe { frame.cast::<[usize; SWITCHED / 8]>().write(words) };
    frame as usize
}

/// The code that a new stack starts with. A return address of zero ends every walk of an unwinder.
#[cfg(feature = "async")]
#[unsafe(naked)]
unsafe extern "C" fn start() {
    std::arch::naked_asm!("mov x0, x19", "mov x30, xzr", "br x20")
}

/// Program counter and frame pointer of an interrupted context.
pub(crate) fn context_pc_fp(context: &ucontext_t) -> (usize, usize) {
    let regs = &context.uc_mcontext;
    (regs.pc as usize, regs.regs[29] as usize)
}

/// Lets an interrupted context continue at a landing pad, see [`resume`].
pub(crate) fn context_resume(context: &mut ucontext_t, handler: usize, sp: usize, fp: usize) {
    let regs = &mut context.uc_mcontext;
    regs.pc = handler as u64;
    regs.sp = sp as u64;
    regs.regs[29] = fp as u64;
}
