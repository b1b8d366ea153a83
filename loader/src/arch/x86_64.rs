//! x86-64.

use std::arch::asm;
use std::arch::x86_64::__m128i;
use std::ffi::c_void;
use std::mem::{MaybeUninit, offset_of};

use libc::{REG_RBP, REG_RIP, REG_RSP, ucontext_t};
use precast_artifact::target::Arch;
use precast_artifact::vm::{VmException, VmStoreContext};

pub(crate) const ARCH: Arch = Arch::X86_64;

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
    // its payload in `rax`. The operands have registers of their own: any register may be `rbp`
    // in a function without a frame pointer, and `rbp` is overwritten before the jump.
    unsafe {
        asm!(
            "mov rsp, rcx",
            "mov rbp, rdx",
            "jmp rsi",
            in("rcx") sp,
            in("rdx") fp,
            in("rsi") handler,
            in("rax") exception,
            options(noreturn),
        )
    }
}

/// The integer arguments of a call, in order. Those that the function has no parameter for are not
/// initialised.
pub(crate) type Words = [MaybeUninit<u64>; 5];

/// Whether [`call_wasm`] exists.
pub(crate) const CALLS_WASM: bool = true;

/// Does what a native entry does, for a function with at most five integers or references as
/// parameters and at most one as its result: stores where this frame is, and calls the function. If
/// the activation ends early, this returns a meaningless result.
///
/// A function of the `tail` convention saves no registers, see [`is_tail_like_c`]. The Rust
/// compiler saves those that its caller needs, so they are saved once, where an entry would save
/// them a second time.
///
/// # Safety
/// As for calling a native entry. `vm` is the store of the context `ctx`.
///
/// [`is_tail_like_c`]: precast_artifact::signature::is_tail_like_c
#[inline(always)]
pub(crate) unsafe fn call_wasm(
    vm: *mut VmStoreContext,
    ctx: *mut c_void,
    code: *const u8,
    args: Words,
) -> u64 {
    let result;
    // SAFETY: `rbx` and `rbp`, which cannot be operands, are restored from the stack. The stack
    // pointer has its old value at the label, whichever way leads there. All other registers except
    // `rsp` are declared as changed. The stack is aligned for the call, since two words are pushed.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            "mov rbp, rsp",
            "mov [r10 + {entry_fp}], rbp",
            "mov [r10 + {entry_sp}], rsp",
            "lea r11, [rip + 2f]",
            "mov [r10 + {entry_handler}], r11",
            "call rax",
            "2:",
            "pop rbp",
            "pop rbx",
            entry_fp = const offset_of!(VmStoreContext, entry_fp),
            entry_sp = const offset_of!(VmStoreContext, entry_sp),
            entry_handler = const offset_of!(VmStoreContext, entry_handler),
            inlateout("rax") code as u64 => result,
            in("r10") vm,
            out("r11") _,
            in("rdi") ctx,
            in("rsi") args[0],
            in("rdx") args[1],
            in("rcx") args[2],
            in("r8") args[3],
            in("r9") args[4],
            lateout("r12") _,
            lateout("r13") _,
            lateout("r14") _,
            lateout("r15") _,
            clobber_abi("C"),
        )
    }
    result
}

/// Defines a function that stands in for a native exit: it stores where the wasm frames end and
/// goes on to the native shim with the arguments untouched. It has no frame of its own, so `rbp` is
/// still that of the caller and the return address is on top of the stack. With the name of such a
/// function, the macro gives its address.
///
/// Wasm code calls it with the `tail` convention, see [`is_tail_like_c`].
///
/// [`is_tail_like_c`]: precast_artifact::signature::is_tail_like_c
macro_rules! direct_shim {
    (fn $name:ident<$($G:ident $(: $Bound:tt)?),* $(,)?>() -> $inner:path where $($where:tt)*) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name<$($G $(: $Bound)?),*>()
        where $($where)*
        {
            std::arch::naked_asm!(
                "mov r11, [rdi + {store}]",
                "mov [r11 + {exit_fp}], rbp",
                "mov [r11 + {exit_sp}], rsp",
                "jmp {inner}",
                store = const std::mem::offset_of!(precast_artifact::vm::VmFuncImport, store),
                exit_fp = const std::mem::offset_of!(precast_artifact::vm::VmStoreContext, exit_fp),
                exit_sp = const std::mem::offset_of!(precast_artifact::vm::VmStoreContext, exit_sp),
                inner = sym $inner,
            )
        }
    };
    ($shim:path) => {
        $shim as *const u8
    };
}
pub(crate) use direct_shim;

/// Defines a function that stands in for every function of a closed instance: it stores where the
/// wasm frames end and jumps to `$inner`, which does not return. The first argument is the context
/// of the instance, and the others do not matter. It has no frame of its own, see [`direct_shim`].
///
/// Wasm code and entries call it with the `tail` convention.
macro_rules! closed_entry {
    ($name:ident => $inner:path) => {
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() {
            std::arch::naked_asm!(
                "mov r11, [rdi + {store}]",
                "mov [r11 + {exit_fp}], rbp",
                "mov [r11 + {exit_sp}], rsp",
                "jmp {inner}",
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
    unsafe { asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// The registers that a function preserves. They hold values of callers further up, if no function
/// in between has saved them.
#[inline(always)]
pub(crate) fn saved_registers() -> [u64; 6] {
    let mut saved = [0; 6];
    // SAFETY: writes six registers to the array.
    unsafe {
        asm!(
            "mov [{to}], rbx",
            "mov [{to} + 8], rbp",
            "mov [{to} + 16], r12",
            "mov [{to} + 24], r13",
            "mov [{to} + 32], r14",
            "mov [{to} + 40], r15",
            to = in(reg) &raw mut saved,
            options(nostack, preserves_flags),
        );
    }
    saved
}

/// Words that [`switch_stack`] leaves on a stack, and a return address of zero above them.
#[cfg(feature = "async")]
const SWITCHED: usize = 8;

/// Defines a function that saves on this stack what a function preserves, exchanges the stack
/// pointer with the one in its argument, takes the same from there, and goes on with `$last`.
#[cfg(feature = "async")]
macro_rules! switch {
    ($(#[$attr:meta])* $name:ident, $($last:literal),+) => {
        $(#[$attr])*
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name(saved: *mut usize) {
            std::arch::naked_asm!(
                "push rbp",
                "push rbx",
                "push r12",
                "push r13",
                "push r14",
                "push r15",
                "mov rax, [rdi]",
                "mov [rdi], rsp",
                "mov rsp, rax",
                "pop r15",
                "pop r14",
                "pop r13",
                "pop r12",
                "pop rbx",
                "pop rbp",
                $($last),+
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
    enter_stack, "pop rcx", "jmp rcx"
}

/// Leaves this stack for good, and switches back to the one that [`enter_stack`] has left.
///
/// # Safety
/// `sp` is the stack pointer that it has left, and no other thread switches to that stack. Nothing
/// on this stack is left to drop.
#[cfg(feature = "async")]
#[inline(always)]
pub(crate) unsafe fn leave_stack(sp: usize) -> ! {
    // SAFETY: by this function's contract; what is popped is what `enter_stack` has pushed.
    unsafe {
        asm!(
            "mov rsp, {sp}",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbx",
            "pop rbp",
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
    let frame = (top - SWITCHED * 8) as *mut usize;
    // r15, r14, r13, r12, rbx, rbp, the address to jump to, and the return address of `run`. A
    // frame pointer of zero ends every walk along frame pointers, and a return address of zero
    // every other one.
    let words = [
        0,
        0,
        0,
        run as usize,
        data as usize,
        0,
        start as *const () as usize,
        0,
    ];
    // SAFETY: by this function's contract.
    unsafe { frame.cast::<[usize; SWITCHED]>().write(words) };
    frame as usize
}

/// The code that a new stack starts with.
#[cfg(feature = "async")]
#[unsafe(naked)]
unsafe extern "C" fn start() {
    std::arch::naked_asm!("mov rdi, rbx", "jmp r12")
}

/// Program counter and frame pointer of an interrupted context.
pub(crate) fn context_pc_fp(context: &ucontext_t) -> (usize, usize) {
    let regs = &context.uc_mcontext.gregs;
    (
        regs[REG_RIP as usize] as usize,
        regs[REG_RBP as usize] as usize,
    )
}

/// Lets an interrupted context continue at a landing pad, see [`resume`].
pub(crate) fn context_resume(context: &mut ucontext_t, handler: usize, sp: usize, fp: usize) {
    let regs = &mut context.uc_mcontext.gregs;
    regs[REG_RIP as usize] = handler as i64;
    regs[REG_RSP as usize] = sp as i64;
    regs[REG_RBP as usize] = fp as i64;
}

/// The instruction `pshufb`, for CPUs without SSSE3.
#[expect(
    improper_ctypes_definitions,
    reason = "machine code calls it, with vectors in registers"
)]
pub(crate) extern "C" fn pshufb(value: __m128i, mask: __m128i) -> __m128i {
    // SAFETY: both types are 16 bytes, and every value of them is valid.
    let [value, mask] =
        [value, mask].map(|v| unsafe { std::mem::transmute::<__m128i, [u8; 16]>(v) });
    let out: [u8; 16] = std::array::from_fn(|i| match mask[i] {
        m if m & 0x80 != 0 => 0,
        m => value[usize::from(m & 15)],
    });
    // SAFETY: as above.
    unsafe { std::mem::transmute::<[u8; 16], __m128i>(out) }
}
