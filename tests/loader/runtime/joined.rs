//! Stores of several instances: waiting for the store of an import, and what is left of instances
//! that are closed or were never finished.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use precast_artifact::{Interruption, Strategy};
use precast_loader::runtime::{Context, HostModule, InstanceConfig, Runtime, Target};
use precast_loader::{
    Config, Engine, Error, ExternRef, GlobalType, MemoryType, StoreContextMut, StoreLimitsBuilder,
    TableType, Val, ValType,
};
use precast_tests::{Source, child};

use super::{SOON, compile, counting, message, named, resident, runtime};

/// Makes an instance that imports from one whose call goes on, and ends that by `end`.
fn importing_from_a_busy_one(
    end: impl FnOnce(&Runtime, &Context),
    timeout: Option<Duration>,
) -> Error {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let module = |wat| {
        let source = Source::new(Strategy::Guarded).interruption(Interruption::Epoch);
        source.module(&engine, wat)
    };
    let runtime = runtime(&engine);
    let (entered, inside) = mpsc::channel::<()>();
    let (let_go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new((entered, wait));
    HostModule::builder("env")
        .func("wait", move || {
            let wait = wait.lock().unwrap();
            wait.0.send(()).unwrap();
            wait.1.recv_timeout(2 * SOON).unwrap_err();
        })
        .instantiate(&runtime)
        .unwrap();
    let lib = r#"(module (import "env" "wait" (func $wait)) (func (export "f"))
        (func (export "run") (call $wait)))"#;
    let lib = runtime.instantiate(&module(lib), named("lib")).unwrap();
    let importer = module(r#"(module (import "lib" "f" (func)))"#);
    let context = timeout.map_or_else(Context::new, Context::with_timeout);
    thread::scope(|scope| {
        let call = scope.spawn(|| lib.call("run", &[]));
        inside.recv().unwrap();
        let made = scope.spawn(|| {
            let config = named("late").with_context(&context);
            let start = Instant::now();
            (runtime.instantiate(&importer, config), start.elapsed())
        });
        thread::sleep(Duration::from_millis(30));
        end(&runtime, &context);
        let (made, time) = made.join().unwrap();
        drop(let_go);
        drop(call.join().unwrap());
        assert!(time < SOON, "{time:?}");
        made.unwrap_err()
    })
}

#[test]
fn waiting_for_the_store_of_an_import_ends_with_the_context_and_the_runtime() {
    let timeout = Some(Duration::from_millis(20));
    let error = importing_from_a_busy_one(|_, _| {}, timeout);
    assert!(matches!(error, Error::DeadlineExceeded), "{error}");
    let error = importing_from_a_busy_one(|_, context| context.cancel(), None);
    assert!(matches!(error, Error::Canceled), "{error}");
    let error = importing_from_a_busy_one(|runtime, _| runtime.close_with_exit_code(4), None);
    assert!(
        matches!(error, Error::Closed { exit_code: 4, .. }),
        "{error}"
    );
}

/// A call can stop making an instance that waits for the store of the call, and goes on.
#[test]
fn stopping_to_make_an_instance_does_not_end_the_call_that_does_so() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let context = Context::new();
    let (entered, inside) = mpsc::channel::<()>();
    let (waits, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new((entered, wait));
    let cancelled = context.clone();
    HostModule::builder("env")
        .func("cancel", move || {
            let wait = wait.lock().unwrap();
            wait.0.send(()).unwrap();
            wait.1.recv().unwrap();
            cancelled.cancel();
        })
        .instantiate(&runtime)
        .unwrap();
    let lib = r#"(module (import "env" "cancel" (func $cancel)) (func (export "f"))
        (func (export "run") (result i32) (call $cancel) (i32.const 5)))"#;
    let lib = runtime.instantiate(&compile(&engine, lib), named("lib"));
    let lib = lib.unwrap();
    let late = compile(&engine, r#"(module (import "lib" "f" (func)))"#);
    thread::scope(|scope| {
        let call = scope.spawn(|| lib.call_typed::<(), i32>("run", ()));
        inside.recv().unwrap();
        let config = named("late").with_context(&context);
        let made = scope.spawn(|| runtime.instantiate(&late, config));
        thread::sleep(Duration::from_millis(30));
        waits.send(()).unwrap();
        let made = made.join().unwrap();
        assert!(matches!(made, Err(Error::Canceled)), "{made:?}");
        assert_eq!(call.join().unwrap().unwrap(), 5);
    });
    runtime.instantiate(&late, named("late")).unwrap();
}

/// A library, and a module that imports from it and fails when it has filled 32 MiB.
fn failing(fails: &str) -> (&'static str, String) {
    let lib = r#"(module (func (export "f")) (table (export "t") 1 funcref)
        (func (export "run") (call_indirect (i32.const 0))))"#;
    let plug = format!(
        r#"(module (import "lib" "f" (func)) (import "lib" "t" (table 1 funcref))
        (import "env" "f" (func $f)) (memory 512)
        (func $g (memory.fill (i32.const 0) (i32.const 1) (i32.const 1)))
        (elem (i32.const 0) func $g)
        (func $start (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x2000000)) {fails})
        (start $start))"#
    );
    (lib, plug)
}

#[test]
fn an_instance_whose_start_section_fails_is_closed() {
    // The resident memory is measured, to which no other test must add.
    if child::case().is_none() {
        return child::passes_in_child(
            "runtime::joined::an_instance_whose_start_section_fails_is_closed",
            "alone",
        );
    }
    let engine = Engine::default();
    for (fails, panics) in [("unreachable", false), ("(call $f)", true)] {
        let runtime = runtime(&engine);
        let limits = StoreLimitsBuilder::new().total_memory_size(80 << 20);
        runtime.set_limits(limits.build());
        HostModule::builder("env")
            .func("f", || -> () { panic!("on purpose") })
            .instantiate(&runtime)
            .unwrap();
        let (lib, plug) = failing(fails);
        let lib = runtime.instantiate(&compile(&engine, lib), named("lib"));
        let plug = compile(&engine, &plug);
        let mut before = 0;
        // The third one would be beyond the limit if the first two counted.
        for round in 0..5 {
            let make = || runtime.instantiate(&plug, InstanceConfig::new());
            let made = catch_unwind(AssertUnwindSafe(make));
            assert_eq!(made.is_err(), panics);
            if let Ok(made) = made {
                let error = message(made);
                assert!(error.starts_with("wasm trap: unreachable"), "{error}");
            }
            if round == 0 {
                // A panic that is reported takes memory for names.
                before = resident();
            }
        }
        let after = resident();
        assert!(after < before + (20 << 20), "{before} {after}");
        // The table of the library has got a function of the failed instances.
        let error = message(lib.unwrap().call("run", &[]));
        assert_eq!(error, "module closed with exit_code(0)");
    }
}

#[test]
fn a_host_module_that_cannot_be_made_leaves_nothing() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let limits = StoreLimitsBuilder::new()
        .total_memory_size(64 << 20)
        .total_table_elements(1000);
    runtime.set_limits(limits.build());
    let table = |elements| TableType::new(ValType::FUNCREF, elements, None);
    let with_table = |name, elements| {
        let module = HostModule::builder(name).memory("m", MemoryType::new(256, None));
        module.table("t", table(elements)).with_shared_store()
    };
    let stays = with_table("stays", 100).instantiate(&runtime).unwrap();
    // The memories of six such modules would be beyond the limit.
    for _ in 0..6 {
        let error = message(with_table("fails", 1000).instantiate(&runtime));
        assert!(error.starts_with("elements of all tables"), "{error}");
    }
    with_table("fits", 900).instantiate(&runtime).unwrap();
    assert_eq!(stays.exit_code(), None);
}

#[test]
fn a_closed_instance_gives_up_its_tables() {
    // The resident memory is measured, to which no other test must add.
    if child::case().is_none() {
        return child::passes_in_child(
            "runtime::joined::a_closed_instance_gives_up_its_tables",
            "alone",
        );
    }
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let limits = StoreLimitsBuilder::new().total_table_elements(3_000_000);
    runtime.set_limits(limits.build());
    let lib = compile(&engine, r#"(module (func (export "f")))"#);
    let lib = runtime.instantiate(&lib, named("lib")).unwrap();
    // A table that begins short and grows long, a long one, and many short ones.
    for tables in [
        "(table $t 1 funcref)".to_owned(),
        "(table $t 1500000 funcref)".to_owned(),
        format!("(table $t 1 funcref) {}", exported_tables(12)),
    ] {
        let plug = format!(
            r#"(module (import "lib" "f" (func)) {tables} (elem declare func $g) (func $g)
            (func (export "_start")
                (loop $l (br_if $l (i32.ne (i32.const -1)
                    (table.grow $t (ref.func $g) (i32.const 500)))))
                (table.fill $t (i32.const 0) (ref.func $g) (table.size $t))
                (if (i32.lt_u (table.size $t) (i32.const 1400000)) (then unreachable))))"#
        );
        let plug = compile(&engine, &plug);
        let before = resident();
        for _ in 0..10 {
            let plug = runtime.instantiate(&plug, InstanceConfig::new()).unwrap();
            plug.close();
        }
        let after = resident();
        assert!(after < before + (60 << 20), "{before} {after}: {tables}");
    }
    lib.call("f", &[]).unwrap();
}

fn exported_tables(count: usize) -> String {
    (0..count)
        .map(|i| format!(r#"(table (export "{i}") 131072 funcref)"#))
        .collect()
}

#[test]
fn a_closed_instance_gives_up_values_of_the_host_and_exceptions() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let limits = StoreLimitsBuilder::new().total_memory_size(16 << 20);
    runtime.set_limits(limits.build());
    let value: Arc<()> = Arc::default();
    let given = Arc::clone(&value);
    HostModule::builder("env")
        .func("value", move || Some(ExternRef::new(Arc::clone(&given))))
        .instantiate(&runtime)
        .unwrap();
    let shared = || InstanceConfig::new().with_shared_store();
    HostModule::builder("own")
        .table("t", TableType::new(ValType::EXTERNREF, 1, None))
        .global(
            "g",
            GlobalType::new(ValType::EXTERNREF, true),
            Val::ExternRef(None),
        )
        .with_shared_store()
        .instantiate(&runtime)
        .unwrap();
    let stays = compile(&engine, r#"(module (func (export "f")))"#);
    let stays = runtime.instantiate(&stays, shared()).unwrap();
    // Each one throws exceptions of about 10 MiB, and keeps them.
    let plug = r#"(module (import "env" "value" (func $value (result externref)))
        (import "own" "t" (table $t 1 externref)) (import "own" "g" (global $g (mut externref)))
        (tag $e (param i64 i64 i64 i64))
        (table $own 4 externref) (global $mine (mut externref) (ref.null extern))
        (table $thrown 1 exnref)
        (func (export "_start") (local i32)
            (table.set $t (i32.const 0) (call $value)) (global.set $g (call $value))
            (table.set $own (i32.const 3) (call $value)) (global.set $mine (call $value))
            (loop $l
                (block $h (result exnref)
                    (try_table (catch_all_ref $h)
                        (throw $e (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)))
                    unreachable)
                (drop (table.grow $thrown (i32.const 1)))
                (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                (br_if $l (i32.lt_u (local.get 0) (i32.const 40000))))))"#;
    let plug = compile(&engine, plug);
    for _ in 0..4 {
        runtime.instantiate(&plug, shared()).unwrap().close();
    }
    assert!(Arc::strong_count(&value) > 2);
    runtime.instance("own").unwrap().close();
    let collect = |mut store: StoreContextMut<'_, _>, _| {
        store.gc();
        Ok(())
    };
    stays.with(collect).unwrap();
    // This test and the host function.
    assert_eq!(Arc::strong_count(&value), 2);
}

/// Each instance imports from the one before, and all of them become free at once.
#[test]
fn a_long_chain_that_becomes_free_takes_no_stack() {
    const CASES: [&str; 3] = [
        "handles close it",
        "the runtime goes last",
        "handles go last",
    ];
    // The C library may give a thread a larger stack that a thread of another test had.
    let Some(case) = child::case() else {
        for case in CASES {
            child::passes_in_child(
                "runtime::joined::a_long_chain_that_becomes_free_takes_no_stack",
                case,
            );
        }
        return;
    };
    const LEN: usize = 30_000;
    // Only the handles of anonymous instances close them.
    let is_named = case != CASES[0];
    let free = move || {
        let engine = Engine::default();
        let runtime = runtime(&engine);
        runtime.set_limits(StoreLimitsBuilder::new().instances(LEN + 1).build());
        let first = compile(&engine, r#"(module (func (export "f")))"#);
        let next = r#"(module (import "before" "f" (func $f)) (export "f" (func $f)))"#;
        let next = compile(&engine, next);
        let mut all = vec![runtime.instantiate(&first, InstanceConfig::new()).unwrap()];
        for i in 0..LEN {
            let before = all.last().unwrap().clone();
            let config = InstanceConfig::new().with_import_resolver(move |_, _, name| {
                Some(Target::Instance(before.clone(), name.to_owned()))
            });
            let name = if is_named {
                i.to_string()
            } else {
                String::new()
            };
            all.push(runtime.instantiate(&next, config.with_name(name)).unwrap());
        }
        all.last().unwrap().call("f", &[]).unwrap();
        if case == CASES[2] {
            drop(runtime);
            all.last().unwrap().call("f", &[]).unwrap();
        }
        all.into_iter().for_each(drop);
    };
    let thread = thread::Builder::new().stack_size(1 << 20);
    thread.spawn(free).unwrap().join().unwrap();
}

/// An instance that only its runtime had is not open any more when the runtime is gone.
#[test]
fn instances_that_go_with_their_runtime_do_not_keep_a_store() {
    let engine = Engine::default();
    let (runtime, count) = counting(&engine);
    let lib = compile(&engine, r#"(module (func (export "f")))"#);
    let user = compile(&engine, r#"(module (import "lib" "f" (func)))"#);
    let config = |name: &str| InstanceConfig::new().with_name(name);
    let lib = runtime.instantiate(&lib, config("lib")).unwrap();
    runtime.instantiate(&user, config("user")).unwrap();
    drop(runtime);
    lib.call("f", &[]).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1);
    lib.close();
    assert_eq!(count.load(Ordering::SeqCst), 0);
}
