//! Faults in machine code become traps.
//!
//! The handlers are installed once per process, when the first instance of a module with guarded
//! memories is made; modules with checked memories need no signals. The handler takes no lock and
//! allocates nothing. It reads one thread-local, the store that runs on this thread, and decides
//! whether wasm code made the fault. If so, it continues at the landing pad of the activation. It
//! passes every other fault on to the handler that was installed before, as if it did not exist
//! itself.
//!
//! A fault is a trap when an instruction made it (nobody has sent the signal), when its program
//! counter lies in the text of a module of the running store, and
//! - the address of an access (SIGSEGV, SIGBUS) lies in the reservation of one of the store's
//!   memories: out of bounds; or
//! - the trap table of the artifact has an entry for that very instruction.
//!
//! Code that does not trap never faults, so it also runs on a thread that blocks these signals, and
//! after somebody has installed another handler.
//!
//! Why is the address compared, and not the instruction? Memory accesses then need no entries in
//! the trap table, of which they would be the largest part. And a fault of wrong machine code
//! outside of every memory is not mistaken for a trap.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, c_void, siginfo_t, ucontext_t};

use super::activation;
use super::ending::Ending;
use crate::arch;

/// SIGSEGV and SIGBUS: access to guard pages (or, SIGBUS, beyond the end of a mapped file).
/// SIGILL: explicit trap instructions. SIGFPE: division on x86-64.
const SIGNALS: [c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

struct Previous([UnsafeCell<MaybeUninit<libc::sigaction>>; 4]);

// SAFETY: written once, under `INSTALL`, before the handler can run; only read afterwards.
unsafe impl Sync for Previous {}

static INSTALL: Once = Once::new();
static PREVIOUS: Previous =
    Previous([const { UnsafeCell::new(MaybeUninit::uninit()) }; SIGNALS.len()]);

/// Signals whose previous handler has replaced itself by the default action since then.
static GONE: [AtomicBool; SIGNALS.len()] = [const { AtomicBool::new(false) }; SIGNALS.len()];

/// Why traps of guarded code would not work on a thread.
///
/// ```
/// use precast_loader::hosts::{SignalFault, check_signals};
///
/// /// Whether another part of the program has installed a handler that the loader does not know.
/// fn is_replaced() -> bool {
///     let faults = check_signals().err();
///     let is_replaced = |(_, fault)| fault == SignalFault::Replaced;
///     faults.is_some_and(|faults| faults.iter().any(is_replaced))
/// }
/// # assert!(!is_replaced());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalFault {
    /// Another handler was installed later. If it does not call the one that was there before for
    /// faults that it does not know, a trap is a fault of the process.
    Replaced,
    /// The thread blocks the signal, and the system ends a process that faults then.
    Blocked,
}

/// The signals of guarded code that would not become traps on this thread, with the reasons. Empty
/// if all traps work. Installs the handlers if they are not installed yet.
pub(crate) fn faults() -> Vec<(c_int, SignalFault)> {
    install();
    let mut faults = Vec::new();
    for signal in SIGNALS {
        // SAFETY: zero is valid for a sigaction and for a set of signals, which the calls write.
        unsafe {
            let mut now: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut now);
            if now.sa_sigaction != handler as *const () as usize {
                faults.push((signal, SignalFault::Replaced));
            }
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut mask);
            if libc::sigismember(&mask, signal) == 1 {
                faults.push((signal, SignalFault::Blocked));
            }
        }
    }
    faults
}

/// Installs the handlers, once.
pub(crate) fn install() {
    INSTALL.call_once(|| {
        for (signal, previous) in SIGNALS.iter().zip(&PREVIOUS.0) {
            // SAFETY: `previous` is written before the handler that reads it is installed (the
            // first call only asks), and `action` is a valid sigaction: zero is valid for all its
            // fields that are not set here.
            unsafe {
                let previous = (*previous.get()).as_mut_ptr();
                let asked = libc::sigaction(*signal, std::ptr::null(), previous);
                assert!(
                    asked == 0 && set(*signal),
                    "sigaction for a fixed, valid signal"
                );
            }
        }
    });
}

/// Installs the handler for one signal. Also called by the handler.
fn set(signal: c_int) -> bool {
    // SAFETY: a valid action: zero is valid for all fields that are not set here.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        // SA_ONSTACK: a fault of the host by stack overflow must still reach its handler.
        // SA_NODEFER: a fault inside a chained handler is not held back.
        // SA_SIGINFO: the handler needs the context.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(signal, &action, std::ptr::null_mut()) == 0
    }
}

unsafe extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes valid pointers.
    unsafe {
        if trap(signal, &*info, &mut *context.cast::<ucontext_t>()) {
            return;
        }
        chain(signal, info, context);
    }
}

/// Whether the signal was sent, and not made by an instruction, which would make it again.
fn is_sent(info: &siginfo_t) -> bool {
    info.si_code <= 0
}

/// Turns the fault into a trap if wasm code made it. A signal that was sent is no fault, even if it
/// interrupts an instruction that can trap.
///
/// # Safety
/// Called from a signal handler, with that signal's context.
unsafe fn trap(signal: c_int, info: &siginfo_t, context: &mut ucontext_t) -> bool {
    let core = activation::running();
    if core.is_null() || is_sent(info) {
        return false;
    }
    let by_access = matches!(signal, libc::SIGSEGV | libc::SIGBUS);
    // SAFETY: the kernel filled the address in; `core` is the store that runs on this thread.
    let address = unsafe { info.si_addr() } as usize;
    let (pc, fp) = arch::context_pc_fp(context);
    // SAFETY: `core` is the store that runs on this thread; the fault is in machine code (if not,
    // the store has no module at `pc`), so no host code is in the middle of changing the store.
    unsafe {
        let Some(module) = (*core).module_at(pc) else {
            return false;
        };
        let trap = if by_access && (*core).is_guest_memory(address) {
            Ending::Fault(address)
        } else {
            match module.trap_at(pc) {
                Some(code) => Ending::Trap(code),
                None => return false,
            }
        };
        let vm = &raw mut (*core).vm;
        let (handler, sp, entry_fp) = ((*vm).entry_handler, (*vm).entry_sp, (*vm).entry_fp);
        (*core).record_trap(trap, pc, fp);
        arch::context_resume(context, handler, sp, entry_fp);
    }
    true
}

/// Handles a signal as if this handler did not exist.
///
/// # Safety
/// Called from a signal handler with its arguments.
unsafe fn chain(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(i) = SIGNALS.iter().position(|s| *s == signal) else {
        return;
    };
    // SAFETY: written before the handler was installed; the function pointers are those that the
    // program gave to `sigaction`.
    unsafe {
        let is_sent = is_sent(&*info);
        let previous = (*PREVIOUS.0[i].get()).assume_init_ref();
        let action = if GONE[i].load(Ordering::Relaxed) {
            libc::SIG_DFL
        } else {
            previous.sa_sigaction
        };
        match action {
            libc::SIG_IGN if is_sent => {}
            // The instruction faults again, and the default action ends the process with the same
            // signal. A fault that is ignored repeats for ever, and the kernel ends the process in
            // that case, too.
            libc::SIG_DFL | libc::SIG_IGN => {
                let mut default: libc::sigaction = std::mem::zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &default, std::ptr::null_mut());
                if is_sent {
                    libc::raise(signal);
                }
            }
            action => {
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    let action: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                        std::mem::transmute(action);
                    action(signal, info, context);
                } else {
                    let action: extern "C" fn(c_int) = std::mem::transmute(action);
                    action(signal);
                }
                if is_sent {
                    stay(i, signal);
                }
            }
        }
    }
}

/// Installs the handler again after a chained handler has replaced it by the default action. Rust's
/// standard library does this for faults that it does not know, and expects the fault to come
/// again, but a signal that was sent does not. The next such signal gets the default action, as it
/// would without this handler.
fn stay(i: usize, signal: c_int) {
    // SAFETY: zero is a valid sigaction, which the call writes.
    let now = unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut now);
        now.sa_sigaction
    };
    if now == libc::SIG_DFL {
        GONE[i].store(true, Ordering::Relaxed);
        set(signal);
    }
}
