//! Programs with threads.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use precast_artifact::Strategy;
use precast_loader::{Engine, Error, Linker, Store, Trap};
use precast_tests::{Watchdog, module, strategies};
use precast_wasi::{SharedWasiCtx, WasiCtxBuilder, WasiThreads, add_to_linker};

/// What all programs import and use. At address 0 is a counter, and at 4 the number 0, which no
/// thread changes.
const IMPORTS: &str = r#"
    (import "env" "memory" (memory 2 2 shared))
    (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff"
        (func $poll (param i32 i32 i32 i32) (result i32)))
    (export "memory" (memory 0))
    (func $print (param $at i32) (param $len i32)
        (local $list i32)
        ;; Each thread has a list of its own, in front of its text.
        (local.set $list (i32.sub (local.get $at) (i32.const 16)))
        (i32.store (local.get $list) (local.get $at))
        (i32.store offset=4 (local.get $list) (local.get $len))
        (if (call $fd_write (i32.const 1) (local.get $list) (i32.const 1)
                (i32.add (local.get $list) (i32.const 8)))
            (then (unreachable))))
    (func $sleep_forever
        (drop (memory.atomic.wait32 (i32.const 4) (i32.const 0) (i64.const -1))))
"#;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a program with at most `limit` threads. Returns how it ended, and its output.
fn run(body: &str, strategy: Strategy, limit: usize) -> (Result<(), Error>, String) {
    let output = Output::default();
    let wasi = WasiCtxBuilder::new().stdout(output.clone()).build();
    let wasi = SharedWasiCtx::new(wasi);
    let engine = Engine::default();
    let module = module(&engine, &format!("(module {IMPORTS} {body})"), strategy);
    assert!(WasiThreads::<SharedWasiCtx>::are_used_by(&module));
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |wasi: &mut SharedWasiCtx| wasi).unwrap();
    let threads = WasiThreads::new(limit);
    threads.add_to_linker(&mut linker, &module).unwrap();
    let program = linker.instantiate_pre(&module).unwrap();
    let ended = threads.run(&program, move || Ok(Store::new(&engine, wasi.clone())));
    threads.wait();
    let output = output.0.lock().unwrap().clone();
    (ended, String::from_utf8(output).unwrap())
}

/// The main thread waits for all others.
#[test]
fn threads_work_on_one_memory() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let body = r#"
        (func (export "wasi_thread_start") (param $tid i32) (param $arg i32)
            (local $text i32)
            (if (i32.le_s (local.get $tid) (i32.const 0)) (then (unreachable)))
            (local.set $text (i32.add (i32.const 1024) (i32.mul (local.get $arg) (i32.const 64))))
            (i32.store8 (local.get $text) (i32.add (i32.const 48) (local.get $arg)))
            (call $print (local.get $text) (i32.const 1))
            (if (call $random (i32.add (i32.const 4096) (local.get $arg)) (i32.const 5000))
                (then (unreachable)))
            (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
            (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))
        (func (export "_start")
            (local $i i32) (local $done i32)
            (loop $next
                (if (i32.le_s (call $spawn (local.get $i)) (i32.const 0)) (then (unreachable)))
                (br_if $next (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))
            (loop $wait
                (local.set $done (i32.atomic.load (i32.const 0)))
                (if (i32.ne (local.get $done) (i32.const 8)) (then
                    (drop (memory.atomic.wait32
                        (i32.const 0) (local.get $done) (i64.const -1)))
                    (br $wait))))
            (i32.store (i32.const 1024) (i32.const 0x0a21))
            (call $print (i32.const 1024) (i32.const 2)))"#;
    for strategy in strategies() {
        let (ended, output) = run(body, strategy, 8);
        ended.unwrap();
        let (threads, end) = output.split_at(8);
        let mut threads: Vec<_> = threads.chars().collect();
        threads.sort_unstable();
        assert_eq!(threads, ['0', '1', '2', '3', '4', '5', '6', '7']);
        assert_eq!(end, "!\n");
    }
}

#[test]
fn a_thread_ends_the_program() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let body = |end: &str| {
        format!(
            r#"(func (export "wasi_thread_start") (param i32 i32) {end})
            (func (export "_start")
                (drop (call $spawn (i32.const 0)))
                (call $sleep_forever))"#
        )
    };
    for strategy in strategies() {
        for code in [7, 0] {
            let (ended, _) = run(
                &body(&format!("(call $exit (i32.const {code}))")),
                strategy,
                1,
            );
            assert!(
                matches!(ended, Err(Error::Exit(found)) if found == code),
                "{ended:?}"
            );
        }
        let (ended, _) = run(&body("(unreachable)"), strategy, 1);
        let error = ended.unwrap_err();
        assert_eq!(error.trap().unwrap(), Trap::UnreachableCodeReached);
        let (ended, _) = run(&body("(drop (i32.load (i32.const -1)))"), strategy, 1);
        let error = ended.unwrap_err();
        assert_eq!(error.trap().unwrap(), Trap::MemoryOutOfBounds);
    }
}

/// Threads that still run when the main thread ends are ended.
#[test]
fn the_main_thread_ends_the_program() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let body = |main: &str| {
        format!(
            r#"(func (export "wasi_thread_start") (param i32 i32)
                (call $sleep_forever) (call $sleep_forever))
            (func (export "_start")
                (drop (call $spawn (i32.const 0)))
                (drop (call $spawn (i32.const 1)))
                {main})"#
        )
    };
    for strategy in strategies() {
        let (ended, _) = run(&body(""), strategy, 2);
        ended.unwrap();
        let (ended, _) = run(&body("(call $exit (i32.const 3))"), strategy, 2);
        assert!(matches!(ended, Err(Error::Exit(3))), "{ended:?}");
    }
}

/// Of a thousand threads, those beyond the limit are refused with an error code.
#[test]
fn threads_have_a_limit() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let body = r#"
        (func (export "wasi_thread_start") (param i32 i32) (call $sleep_forever))
        (func (export "_start")
            (local $i i32) (local $refused i32)
            (loop $next
                (local.set $refused (i32.add (local.get $refused)
                    (i32.eq (call $spawn (i32.const 0)) (i32.const -6))))
                (br_if $next (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
            (call $exit (local.get $refused)))"#;
    for strategy in strategies() {
        let (ended, _) = run(body, strategy, 10);
        assert!(matches!(ended, Err(Error::Exit(990))), "{ended:?}");
    }
}

/// A thread that sleeps does not keep others from using the descriptors.
#[test]
fn waiting_threads_let_others_write() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let body = r#"
        (func (export "wasi_thread_start") (param i32 i32)
            (i32.store8 (i32.const 1024) (i32.const 120))
            (call $print (i32.const 1024) (i32.const 1))
            (call $exit (i32.const 0)))
        (func (export "_start")
            ;; A subscription to the monotonic clock, in an hour.
            (i32.store (i32.const 2064) (i32.const 1))
            (i64.store (i32.const 2072) (i64.const 3600000000000))
            (drop (call $spawn (i32.const 0)))
            (drop (call $poll
                (i32.const 2048) (i32.const 3072) (i32.const 1) (i32.const 3200))))"#;
    for strategy in strategies() {
        let (ended, output) = run(body, strategy, 1);
        assert!(matches!(ended, Err(Error::Exit(0))), "{ended:?}");
        assert_eq!(output, "x");
    }
}

#[test]
fn a_module_without_a_start_for_threads() {
    let body = r#"(func (export "_start") (drop (call $spawn (i32.const 0))))"#;
    for strategy in strategies() {
        let (ended, _) = run(body, strategy, 1);
        let error = ended.unwrap_err().to_string();
        assert!(error.contains("wasi_thread_start"), "{error}");
    }
}

#[test]
fn a_program_runs_once() {
    let wat = r#"(module (func (export "_start")))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let linker: Linker<()> = Linker::new(&engine);
        let program = linker.instantiate_pre(&module).unwrap();
        let threads = WasiThreads::new(1);
        threads
            .run(&program, move || Ok(Store::new(&engine, ())))
            .unwrap();
        let again = threads.run(&program, move || Ok(Store::new(&engine, ())));
        assert!(again.unwrap_err().to_string().contains("run already"));
        let stopped = WasiThreads::new(1);
        stopped.stop();
        let ended = stopped.run(&program, move || Ok(Store::new(&engine, ())));
        assert_eq!(ended.unwrap_err().trap().unwrap(), Trap::Interrupt);
    }
}

/// A second call of `run` is an error at once, and takes no result away from the first one.
#[test]
fn a_program_that_runs_is_not_run_again() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, r#"(module (func (export "_start")))"#, strategy);
        let linker: Linker<()> = Linker::new(&engine);
        let program = linker.instantiate_pre(&module).unwrap();
        for _ in 0..500 {
            let threads = WasiThreads::new(1);
            let run = || threads.run(&program, move || Ok(Store::new(&engine, ())));
            let ended = std::thread::scope(|scope| {
                let calls = [(); 2].map(|()| scope.spawn(run));
                calls.map(|call| call.join().unwrap())
            });
            assert_eq!(ended.iter().filter(|end| end.is_ok()).count(), 1);
            let error = ended.into_iter().find_map(Result::err).unwrap();
            assert!(error.to_string().contains("run already"), "{error}");
        }
    }
}

/// A thread whose store cannot be made does not start: the program gets an error code, or ends if
/// `new_store` panicked. In both cases `wait` does not wait for the thread.
#[test]
fn a_thread_without_a_store_does_not_start() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let body = r#"
        (func (export "wasi_thread_start") (param i32 i32) unreachable)
        (func (export "_start")
            (call $exit (call $spawn (i32.const 0))))"#;
    for strategy in strategies() {
        for panics in [false, true] {
            let engine = Engine::default();
            let module = module(&engine, &format!("(module {IMPORTS} {body})"), strategy);
            let mut linker = Linker::new(&engine);
            add_to_linker(&mut linker, |wasi: &mut SharedWasiCtx| wasi).unwrap();
            let threads = WasiThreads::new(1);
            threads.add_to_linker(&mut linker, &module).unwrap();
            let program = linker.instantiate_pre(&module).unwrap();
            let wasi = SharedWasiCtx::new(WasiCtxBuilder::new().build());
            let is_first = AtomicBool::new(true);
            let new_store = move || match is_first.swap(false, Ordering::SeqCst) {
                true => Ok(Store::new(&engine, wasi.clone())),
                false if panics => panic!("no store"),
                false => Err(Error::host("no store")),
            };
            let ended = threads.run(&program, new_store).unwrap_err();
            threads.wait();
            if panics {
                assert!(ended.to_string().contains("panicked"), "{ended}");
            } else {
                // EAGAIN, negative.
                assert!(matches!(ended, Error::Exit(-6)), "{ended}");
            }
        }
    }
}

/// A stack that no address space has: the system refuses the thread, and the program can end.
#[test]
fn a_main_thread_that_the_system_refuses_is_an_error() {
    let _watchdog = Watchdog::new(Duration::from_secs(60));
    let engine = Engine::default();
    let module = module(
        &engine,
        r#"(module (func (export "_start")))"#,
        Strategy::Guarded,
    );
    let linker: Linker<()> = Linker::new(&engine);
    let pre = linker.instantiate_pre(&module).unwrap();
    let threads = WasiThreads::with_stack(1, 1 << 60);
    let new_store = move || Ok(Store::new(&engine, ()));
    let error = threads.run(&pre, new_store).unwrap_err();
    assert!(matches!(error, Error::Thread { .. }), "{error:?}");
    assert_eq!(error.to_string(), "cannot start a thread of the program");
    threads.wait();
}
