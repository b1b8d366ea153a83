//! Faults outside of wasm code go to the signal handler that was installed before the loader's.
//!
//! Each case runs in a process of its own: the test binary is started again for it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use precast_artifact::Strategy;
use precast_loader::{Instance, Trap};
use precast_tests::{Guest, module, store, trap};

use crate::child::{self, case};

fn in_child(test: &str, case: &str) -> ExitStatus {
    child::in_child(test, case).status
}

/// Runs guarded wasm code that traps, so that the loader's handlers are installed and work.
fn trap_once() {
    let wat = "(module (memory 1) (func (export \"f\") (result i32) (i32.load (i32.const -4))))";
    let mut guest = Guest::new(wat, Strategy::Guarded);
    let code = trap(guest.call::<(), i32>("f", ()));
    assert_eq!(code, Trap::MemoryOutOfBounds);
}

fn fault() {
    // SAFETY: none. The write faults on purpose, in a process that was started for it.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
}

extern "C" fn leave(_: libc::c_int) {
    // SAFETY: the call ends the process.
    unsafe { libc::_exit(77) };
}

extern "C" fn leave_with_info(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the pointer is the kernel's, which the loader's handler passes on.
    let address = unsafe { (*info).si_addr() } as usize;
    // SAFETY: the call ends the process.
    unsafe { libc::_exit(if address == 8 { 78 } else { 79 }) };
}

fn install(handler: usize, flags: libc::c_int) {
    // SAFETY: the action and the signal are valid.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        assert_eq!(
            libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()),
            0
        );
    }
}

#[test]
fn a_handler_from_before_gets_foreign_faults() {
    match case().as_deref() {
        Some("plain") => {
            install(leave as *const () as usize, 0);
            trap_once();
            fault();
        }
        Some("info") => {
            install(leave_with_info as *const () as usize, libc::SA_SIGINFO);
            trap_once();
            fault();
        }
        Some("default") => {
            install(libc::SIG_DFL, 0);
            trap_once();
            fault();
        }
        _ => {
            let test = "signals::a_handler_from_before_gets_foreign_faults";
            assert_eq!(in_child(test, "plain").code(), Some(77));
            assert_eq!(in_child(test, "info").code(), Some(78));
            assert_eq!(in_child(test, "default").signal(), Some(libc::SIGSEGV));
        }
    }
}

#[test]
fn a_handler_from_after_that_chains_leaves_traps_working() {
    // Crash reporters do this: they install a handler later, and call the loader's for other
    // faults.
    static mut OURS: usize = 0;
    extern "C" fn theirs(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the variable was written before this handler was installed, and holds a handler
        // with three arguments.
        unsafe {
            let ours: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                std::mem::transmute((&raw const OURS).read());
            ours(signal, info, context);
        }
    }
    if case().is_some() {
        trap_once();
        // SAFETY: no other thread of this process uses the variable or the signal.
        unsafe {
            let mut old: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGSEGV, std::ptr::null(), &mut old);
            (&raw mut OURS).write(old.sa_sigaction);
        }
        install(
            theirs as *const () as usize,
            libc::SA_SIGINFO | libc::SA_ONSTACK,
        );
        trap_once();
        return;
    }
    let test = "signals::a_handler_from_after_that_chains_leaves_traps_working";
    assert!(in_child(test, "after").success());
}

#[test]
fn checked_modules_install_no_handler() {
    if case().is_some() {
        let current = || {
            // SAFETY: the call only reads the current action.
            unsafe {
                let mut old: libc::sigaction = std::mem::zeroed();
                libc::sigaction(libc::SIGILL, std::ptr::null(), &mut old);
                old.sa_sigaction
            }
        };
        let before = current();
        let wat = "(module (memory 1) (func (export \"f\") (param i32) (result i32)
            (i32.div_s (i32.const 1) (i32.load (local.get 0)))))";
        let mut store = store();
        let module = module(store.engine(), wat, Strategy::Checked);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance
            .get_typed_func::<i32, i32>(&mut store, "f")
            .unwrap();
        let code = |store: &mut _, at| f.call(store, at).unwrap_err().trap().unwrap();
        assert_eq!(code(&mut store, -4), Trap::MemoryOutOfBounds);
        assert_eq!(code(&mut store, 0), Trap::IntegerDivisionByZero);
        assert_eq!(current(), before);
        return;
    }
    assert!(in_child("signals::checked_modules_install_no_handler", "checked").success());
}

#[test]
fn a_thread_without_an_alternate_stack() {
    std::thread::spawn(|| {
        // SAFETY: the call only switches off the alternate stack of this thread.
        unsafe {
            let mut none: libc::stack_t = std::mem::zeroed();
            none.ss_flags = libc::SS_DISABLE;
            assert_eq!(libc::sigaltstack(&none, std::ptr::null_mut()), 0);
        }
        trap_once();
    })
    .join()
    .unwrap();
}

/// Sends a signal to this process from outside of any code that faults.
fn send(signal: libc::c_int) {
    // SAFETY: takes no pointer.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

/// A signal such as that of `kill -SEGV` has the same effect as without the loader. If the process
/// continues, traps still work.
#[test]
fn signals_that_are_sent_do_what_they_did_before() {
    const TEST: &str = "signals::signals_that_are_sent_do_what_they_did_before";
    let signals = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
    let action = |action: usize, flags| {
        for signal in signals {
            // SAFETY: a valid action for a valid signal.
            unsafe {
                let mut new: libc::sigaction = std::mem::zeroed();
                new.sa_sigaction = action;
                new.sa_flags = flags;
                assert_eq!(libc::sigaction(signal, &new, std::ptr::null_mut()), 0);
            }
        }
    };
    extern "C" fn count(_: libc::c_int) {
        COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let Some(case) = case() else {
        for signal in signals {
            let ended = in_child(TEST, &format!("default {signal}"));
            assert_eq!(ended.signal(), Some(signal), "{ended}");
        }
        for case in ["ignored", "handled", "rust's"] {
            child::passes_in_child(TEST, case);
        }
        return;
    };
    match case.split_once(' ') {
        Some((_, signal)) => {
            action(libc::SIG_DFL, 0);
            trap_once();
            send(signal.parse().unwrap());
        }
        None if case == "ignored" => {
            action(libc::SIG_IGN, 0);
            trap_once();
            for _ in 0..3 {
                signals.into_iter().for_each(send);
                trap_once();
            }
        }
        None if case == "handled" => {
            action(count as *const () as usize, 0);
            trap_once();
            for _ in 0..3 {
                signals.into_iter().for_each(send);
                trap_once();
            }
            assert_eq!(COUNT.load(std::sync::atomic::Ordering::Relaxed), 12);
        }
        // The standard library's handlers for SIGSEGV and SIGBUS remove themselves at the first
        // signal.
        None => {
            trap_once();
            send(libc::SIGSEGV);
            send(libc::SIGBUS);
            trap_once();
            precast_loader::hosts::check_signals().unwrap();
        }
    }
}

/// A signal that is sent while wasm code runs is no trap, even if it interrupts an instruction that
/// can trap with this signal.
#[test]
fn signals_that_are_sent_to_wasm_code_are_no_traps() {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    const TEST: &str = "signals::signals_that_are_sent_to_wasm_code_are_no_traps";
    static COUNT: AtomicU32 = AtomicU32::new(0);
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    extern "C" fn count(_: libc::c_int) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    if case().is_none() {
        return child::passes_in_child(TEST, "all");
    }
    // SAFETY: a valid action for a valid signal.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = count as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGFPE, &new, std::ptr::null_mut()), 0);
    }
    // Nearly all of its time goes to divisions, each of which needs the result of the one before.
    let wat = "(module (func (export \"f\") (param i32 i64 i64)
        (loop $again
            (local.set 1 (i64.xor (i64.div_u (local.get 1) (local.get 2)) (i64.const -1)))
            (local.set 1 (i64.xor (i64.rem_u (local.get 1) (local.get 2)) (i64.const -1)))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))";
    let mut guest = Guest::new(wat, Strategy::Guarded);
    // SAFETY: takes nothing.
    let thread = unsafe { libc::pthread_self() };
    std::thread::spawn(move || {
        for sent in 0..100 {
            // SAFETY: the thread waits for `IS_OVER`.
            assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGFPE) }, 0);
            while COUNT.load(Ordering::Relaxed) == sent {
                std::thread::yield_now();
            }
        }
        IS_OVER.store(true, Ordering::Relaxed);
    });
    while !IS_OVER.load(Ordering::Relaxed) {
        let done = guest.call::<(i32, i64, i64), ()>("f", (10_000, -1, 3));
        done.expect("no division by zero");
    }
    assert_eq!(COUNT.load(Ordering::Relaxed), 100);
}

#[test]
fn a_host_can_ask_whether_traps_work() {
    use precast_loader::hosts::{SignalFault, check_signals};
    const TEST: &str = "signals::a_host_can_ask_whether_traps_work";
    if case().is_none() {
        return child::passes_in_child(TEST, "all");
    }
    check_signals().unwrap();
    trap_once();
    check_signals().unwrap();
    let blocked = std::thread::spawn(|| {
        // SAFETY: the set is initialised by the first call; the mask is this thread's own.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&mut set, libc::SIGFPE);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        }
        check_signals().unwrap_err()
    });
    let blocked = blocked.join().unwrap();
    let found: Vec<_> = blocked.iter().collect();
    assert_eq!(found, [(libc::SIGFPE, SignalFault::Blocked)]);
    assert_eq!(
        blocked.to_string(),
        "traps of modules with guarded memories do not work on this thread: SIGFPE is blocked"
    );
    install(leave as *const () as usize, 0);
    let found: Vec<_> = check_signals().unwrap_err().iter().collect();
    assert_eq!(found, [(libc::SIGSEGV, SignalFault::Replaced)]);
}
