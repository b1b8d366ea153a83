//! What programs with threads may take, and what they must import.

use std::time::Duration;

use precast_artifact::Strategy;
use precast_loader::{Engine, Error, Linker, Store, StoreLimits, StoreLimitsBuilder};
use precast_tests::{Watchdog, cpu_time, module, strategies};
use precast_wasi::{SharedWasiCtx, WasiCtxBuilder, WasiThreads, add_to_linker};

const IMPORTS: &str = r#"
    (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;

/// Runs a program of these memories and functions, with so many threads besides the main one at a
/// time. Returns how it ended.
fn run(body: &str, strategy: Strategy, threads: usize, limits: StoreLimits) -> Result<(), Error> {
    let engine = Engine::default();
    let module = module(&engine, &format!("(module {IMPORTS} {body})"), strategy);
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |wasi: &mut SharedWasiCtx| wasi)?;
    let threads = WasiThreads::new(threads);
    threads.set_limits(limits);
    threads.add_to_linker(&mut linker, &module)?;
    let program = linker.instantiate_pre(&module)?;
    let wasi = SharedWasiCtx::new(WasiCtxBuilder::new().build());
    let ended = threads.run(&program, move || Ok(Store::new(&engine, wasi.clone())));
    threads.wait();
    ended
}

/// A program of eight threads that do something and stay. It exits with `result` when all have done
/// it.
fn eight_threads(thread: &str, result: &str) -> String {
    format!(
        r#"(import "env" "memory" (memory $m 1 100 shared))
        (memory $own 1 100)
        (table $table (export "table") 1 funcref)
        (func (export "wasi_thread_start") (param i32 i32)
            {thread}
            (drop (i32.atomic.rmw.add $m (i32.const 0) (i32.const 1)))
            (drop (memory.atomic.notify $m (i32.const 0) (i32.const -1)))
            (drop (memory.atomic.wait32 $m (i32.const 4) (i32.const 0) (i64.const -1))))
        (func (export "_start")
            (local $i i32) (local $done i32)
            (loop $next
                (if (i32.le_s (call $spawn (local.get $i)) (i32.const 0)) (then (unreachable)))
                (br_if $next (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))
            (loop $wait
                (local.set $done (i32.atomic.load $m (i32.const 0)))
                (if (i32.ne (local.get $done) (i32.const 8)) (then
                    (drop (memory.atomic.wait32 $m
                        (i32.const 0) (local.get $done) (i64.const -1)))
                    (br $wait))))
            (call $exit {result}))"#
    )
}

/// Repeats a growth until it fails, and counts the times in the shared memory.
fn repeat(grow: &str) -> String {
    format!(
        "(loop $more (if (i32.ge_s {grow} (i32.const 0)) (then
            (drop (i32.atomic.rmw.add $m (i32.const 8) (i32.const 1))) (br $more))))"
    )
}

#[test]
fn limits_are_those_of_the_whole_program() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let limits = StoreLimitsBuilder::new;
    for strategy in strategies() {
        let code = |thread: &str, result, limits: StoreLimitsBuilder| {
            let wat = eight_threads(thread, result);
            match run(&wat, strategy, 8, limits.build()) {
                Err(Error::Exit(code)) => code,
                ended => panic!("{ended:?}"),
            }
        };
        let grown = "(i32.atomic.load $m (i32.const 8))";
        let shared = repeat("(memory.grow $m (i32.const 1))");
        let own = repeat("(memory.grow $own (i32.const 1))");
        let table = repeat("(table.grow $table (ref.null func) (i32.const 1))");
        // One page is shared and each of nine threads has one when all have started. A thread that
        // is early may leave no room for the start of the last one: then the program fails, so that
        // the threads wait for each other here.
        let all_started = "
            (drop (i32.atomic.rmw.add $m (i32.const 16) (i32.const 1)))
            (loop $early (br_if $early
                (i32.lt_u (i32.atomic.load $m (i32.const 16)) (i32.const 8))))";
        let small = || limits().total_memory_size(25 << 16);
        let after = |body: &str| format!("{all_started} {body}");
        assert_eq!(code(&after(&shared), "(memory.size $m)", small()), 16);
        assert_eq!(code(&after(&own), grown, small()), 15);
        assert_eq!(code(&after(&format!("{own} {shared}")), grown, small()), 15);
        let elements = limits().total_table_elements(20);
        assert_eq!(code(&after(&table), grown, elements), 11);
        assert_eq!(code("", "(i32.const 5)", limits().instances(9)), 5);
        // What has no room from the start is an error that names the limit.
        for (limits, expected) in [
            (limits().instances(8), "instances of all stores together: 9"),
            (limits().total_memory_size(9 << 16), "bytes of all linear"),
            (limits().total_table_elements(8), "elements of all tables"),
            (limits().total_memory_size(65535), "65536 asked for"),
        ] {
            let wat = eight_threads("", "(i32.const 5)");
            let error = run(&wat, strategy, 8, limits.build()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}

/// Twenty threads, one after the other, of which two at a time would pass the limit.
#[test]
fn a_thread_that_ended_gives_back_what_it_had() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let wat = r#"
        (import "env" "memory" (memory $m 1 100 shared))
        (memory $own 1 100)
        (func (export "wasi_thread_start") (param i32 i32)
            (if (i32.lt_s (memory.grow $own (i32.const 9)) (i32.const 0)) (then (unreachable))))
        (func (export "_start")
            (local $i i32)
            (loop $next
                ;; The next thread starts when the place of the last one is free.
                (loop $again
                    (drop (memory.atomic.wait32 $m
                        (i32.const 4) (i32.const 0) (i64.const 100000)))
                    (br_if $again (i32.le_s (call $spawn (i32.const 0)) (i32.const 0))))
                (br_if $next (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20))))
            (call $exit (i32.const 4)))"#;
    for strategy in strategies() {
        let limits = StoreLimitsBuilder::new().total_memory_size(12 << 16);
        let ended = run(wat, strategy, 1, limits.build());
        assert!(matches!(ended, Err(Error::Exit(4))), "{ended:?}");
    }
}

#[test]
fn the_minimum_of_a_shared_memory_is_judged_before_it_is_made() {
    let wat = r#"
        (import "env" "m" (memory 10000 20000 shared))
        (func (export "_start"))"#;
    for strategy in strategies() {
        let limits = StoreLimitsBuilder::new().total_memory_size(1 << 20);
        let error = run(wat, strategy, 1, limits.build()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bytes of all linear memories of all stores together: 655360000 asked for, the limit \
             is 1048576"
        );
    }
}

#[test]
fn a_memory_that_is_imported_twice_is_one() {
    let wat = r#"
        (import "env" "m" (memory $m 1 2 shared))
        (import "env" "m" (memory $again 1 2 shared))
        (func (export "_start")
            (i32.store $m (i32.const 8) (i32.const 3))
            (call $exit (i32.load $again (i32.const 8))))"#;
    for strategy in strategies() {
        let ended = run(wat, strategy, 1, StoreLimits::default());
        assert!(matches!(ended, Err(Error::Exit(3))), "{ended:?}");
    }
}

/// Each thread would have a memory of its own.
#[test]
fn a_program_must_import_its_memory() {
    let imported = r#"(import "env" "m" (memory $m 1 2 shared))"#;
    for strategy in strategies() {
        for (memories, name) in [
            (
                "(memory (export \"memory\") 1 2 shared)".to_owned(),
                "memory",
            ),
            ("(memory (export \"memory\") 1 2)".to_owned(), "memory"),
            (
                format!("{imported} (memory (export \"o\") 1 2 shared)"),
                "o",
            ),
            (
                format!("{imported} (memory (export \"memory\") 1)"),
                "memory",
            ),
        ] {
            let wat = format!(r#"{memories} (func (export "_start"))"#);
            let error = run(&wat, strategy, 1, StoreLimits::default()).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(&format!("exports as {name:?}")), "{error}");
            assert!(error.contains("--import-memory"), "{error}");
        }
        // Memories besides that of the program may be each thread's own.
        let own = r#"(memory $own 1) (export "memory" (memory $m)) (export "own" (memory $own))"#;
        let wat = format!(r#"{imported} {own} (func (export "_start"))"#);
        run(&wat, strategy, 1, StoreLimits::default()).unwrap();
    }
}

/// Linking looks at each import and each export once: it happens before a host counts the time.
#[test]
fn many_imports_and_exports_are_linked_at_once() {
    const MANY: usize = 20_000;
    let functions = r#"(import "wasi" "thread-spawn" (func (param i32) (result i32)))"#;
    let mut wat = format!("(module {}", functions.repeat(MANY));
    wat += r#"(import "env" "m" (memory $m 1 2 shared)) (memory $own 1) (func $f)"#;
    for i in 0..MANY {
        let item = ["(func $f)", "(memory $m)", "(memory $own)"][i % 3];
        wat += &format!(r#"(export "{i}" {item})"#);
    }
    wat += ")";
    let engine = Engine::default();
    for strategy in strategies() {
        let module = module(&engine, &wat, strategy);
        let start = cpu_time();
        let types = module
            .exports()
            .filter(|export| export.ty().func().is_some());
        assert_eq!(types.count(), MANY.div_ceil(3));
        let once = cpu_time() - start;
        let mut linker = Linker::<()>::new(&engine);
        let start = cpu_time();
        WasiThreads::new(1)
            .add_to_linker(&mut linker, &module)
            .unwrap();
        let linked = cpu_time() - start;
        let max = 30 * once.max(Duration::from_millis(3));
        assert!(
            linked < max,
            "{linked:?}, where looking at the exports takes {once:?}"
        );
    }
}
