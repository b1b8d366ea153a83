//! A stack overflow is a trap on the main thread, too. The stack of the main thread grows on demand
//! and has no fixed end.
//!
//! Each case runs on the main thread of a process of its own: this program, started again. A test
//! harness does not run anything on the main thread.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};
use precast_loader::Config;
use precast_tests::child::{case, passes_in_child_with};
use precast_tests::overflow::{linked, overflow};

const MIB: u64 = 1 << 20;

/// A case, which runs on the main thread of a process of its own.
struct Case {
    name: &'static str,
    /// The resource limit of the stack of the process, in bytes.
    limit: u64,
    /// The bytes of environment variables that are added to those of this process.
    environment: usize,
    run: fn(),
}

const CASES: &[Case] = &[
    Case {
        name: "first_used_deep_in_the_host",
        limit: 8 * MIB,
        environment: 0,
        run: first_used_deep_in_the_host,
    },
    Case {
        name: "under_a_large_environment",
        limit: 8 * MIB,
        environment: 600 << 10,
        run: under_a_large_environment,
    },
    Case {
        name: "whose_limit_changes",
        limit: 8 * MIB,
        environment: 0,
        run: whose_limit_changes,
    },
    Case {
        name: "without_a_limit",
        limit: libc::RLIM_INFINITY,
        environment: 0,
        run: under_a_large_environment,
    },
    Case {
        name: "of_256_kib",
        limit: 256 << 10,
        environment: 0,
        run: of_256_kib,
    },
    Case {
        name: "forked_by_a_thread",
        limit: 8 * MIB,
        environment: 0,
        run: forked_by_a_thread,
    },
    #[cfg(all(target_env = "gnu", target_arch = "x86_64"))]
    Case {
        name: "on_stacks_of_the_program",
        limit: 8 * MIB,
        environment: 0,
        run: coroutines::on_stacks_of_the_program,
    },
];

fn main() -> ExitCode {
    if let Some(name) = case() {
        let found = CASES.iter().find(|case| case.name == name);
        (found.expect("a case of this name").run)();
        return ExitCode::SUCCESS;
    }
    let trials = CASES.iter().map(|case| {
        Trial::test(case.name, || {
            passes_in_child_with(case.name, case.name, |command| prepare(case, command));
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn prepare(case: &Case, command: &mut Command) {
    // The system limits a single string to 128 KiB.
    const PART: usize = 120 << 10;
    for part in 0..case.environment.div_ceil(PART) {
        command.env(format!("PRECAST_FILLED_{part}"), "x".repeat(PART));
    }
    let limit = case.limit;
    // SAFETY: the function only makes two system calls.
    unsafe { command.pre_exec(move || limit_stack(limit)) };
}

/// Calls `f` after using up `kib` KiB of stack.
#[inline(never)]
fn deep(kib: usize, f: &mut dyn FnMut()) {
    let used = std::hint::black_box([0_u8; 64 << 10]);
    if kib > 64 {
        deep(kib - 64, f);
    } else {
        f();
    }
    std::hint::black_box(&used);
}

/// Sets the soft limit of the stack of this process, up to its hard limit.
fn limit_stack(bytes: u64) -> std::io::Result<()> {
    // SAFETY: an rlimit may be zeroed, and the calls only read and write that one.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_STACK, &mut limit) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        limit.rlim_cur = bytes.min(limit.rlim_max);
        match libc::setrlimit(libc::RLIMIT_STACK, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }
}

fn large_config() -> Config {
    let mut config = Config::new();
    config.max_wasm_stack(32 << 20);
    config
}

/// The largest depths are closer to the end of the stack than the reserve.
fn first_used_deep_in_the_host() {
    let linked = linked(&Config::default());
    for kib in [7400, 64, 6000, 7000, 7600, 7800] {
        deep(kib, &mut || {
            overflow(&linked);
        });
    }
    assert!(overflow(&linked) > 20);
}

fn under_a_large_environment() {
    let linked = linked(&large_config());
    assert!(overflow(&linked) > 20);
    deep(7000, &mut || {
        overflow(&linked);
    });
}

/// A program with imports runs, and an overflow is a trap.
fn of_256_kib() {
    let depth = overflow(&linked(&Config::default()));
    assert!(depth > 20, "only {depth} levels deep");
}

/// The limit at the time when the stack has to grow is the one that counts.
fn whose_limit_changes() {
    let (small, large) = (linked(&Config::default()), linked(&large_config()));
    overflow(&small);
    limit_stack(2 * MIB).unwrap();
    overflow(&small);
    deep(1000, &mut || {
        overflow(&small);
    });
    assert!(overflow(&large) > 20);
    limit_stack(64 * MIB).unwrap();
    assert!(overflow(&large) > 20);
}

/// The only thread of the child process runs on the stack of the thread that forked it.
fn forked_by_a_thread() {
    let linked = linked(&large_config());
    let fork = move || {
        // SAFETY: no other thread can hold a lock that the child needs, because the main thread
        // waits for this one.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let depth = overflow(&linked);
            std::process::exit(if depth > 20 { 0 } else { 1 });
        }
        let mut status = 0;
        // SAFETY: the call only writes to a local variable.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    thread.spawn(fork).unwrap().join().unwrap();
}

/// On stacks that the program makes itself, only the configured limit and the reserve protect the
/// end.
#[cfg(all(target_env = "gnu", target_arch = "x86_64"))]
mod coroutines {
    use std::sync::Arc;

    use precast_loader::{Caller, Engine, Extern, ExternRef, Linker, Store};
    use precast_tests::{module, strategies};

    use super::{Config, deep, linked, overflow};

    const SIZE: usize = 2 << 20;
    const PAGE: usize = 1 << 12;

    /// Runs `run` on a stack of its own, which is between two guard pages.
    fn coroutine(run: extern "C" fn()) {
        // SAFETY: the mapping is new, and is used as a stack until the context is left for good.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let whole = SIZE + 2 * PAGE;
            let base = libc::mmap(std::ptr::null_mut(), whole, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(base, libc::MAP_FAILED);
            let stack = base.byte_add(PAGE);
            let usable = libc::mprotect(stack, SIZE, libc::PROT_READ | libc::PROT_WRITE);
            assert_eq!(usable, 0);
            let mut back: libc::ucontext_t = std::mem::zeroed();
            let mut there: libc::ucontext_t = std::mem::zeroed();
            assert_eq!(libc::getcontext(&mut there), 0);
            there.uc_stack.ss_sp = stack;
            there.uc_stack.ss_size = SIZE;
            there.uc_link = &mut back;
            libc::makecontext(&mut there, run, 0);
            assert_eq!(libc::swapcontext(&mut back, &there), 0);
            libc::munmap(base, whole);
        }
    }

    /// Wasm code on such a stack gives external references back, too. With a host function in
    /// between, the stacks of the activations are unknown, and the references are kept.
    fn references() {
        let wat = r#"(module
            (import "h" "fresh" (func $fresh (result externref)))
            (import "h" "again" (func $again))
            (func $burn (export "burn") (param $n i32) (loop $l
                (drop (call $fresh))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
            (func (export "nest") (call $again)))"#;
        let engine = Engine::default();
        let held = Arc::new(());
        for strategy in strategies() {
            let module = module(&engine, wat, strategy);
            let mut linker: Linker<Arc<()>> = Linker::new(&engine);
            let fresh =
                |caller: Caller<'_, Arc<()>>| Some(ExternRef::new(Arc::clone(caller.data())));
            linker.func_wrap("h", "fresh", fresh).unwrap();
            let again = |mut caller: Caller<'_, Arc<()>>| {
                let burn = caller
                    .get_export("burn")
                    .and_then(Extern::into_func)
                    .unwrap();
                burn.typed::<i32, ()>(&caller)?.call(&mut caller, 10_000)
            };
            linker.func_wrap("h", "again", again).unwrap();
            let mut store = Store::new(&engine, Arc::clone(&held));
            let instance = linker.instantiate(&mut store, &module).unwrap();
            let burn = instance
                .get_typed_func::<i32, ()>(&mut store, "burn")
                .unwrap();
            let nest = instance
                .get_typed_func::<(), ()>(&mut store, "nest")
                .unwrap();
            burn.call(&mut store, 100_000).unwrap();
            assert!(Arc::strong_count(&held) < 1500);
            nest.call(&mut store, ()).unwrap();
            burn.call(&mut store, 100_000).unwrap();
            assert!(Arc::strong_count(&held) < 25_000);
        }
    }

    extern "C" fn run() {
        references();
        assert!(overflow(&linked(&Config::default())) > 20);
    }

    pub(super) fn on_stacks_of_the_program() {
        let all = || {
            coroutine(run);
            run();
            coroutine(run);
        };
        all();
        let linked = linked(&Config::default());
        deep(7000, &mut || {
            overflow(&linked);
            coroutine(run);
        });
        std::thread::spawn(all).join().unwrap();
    }
}
