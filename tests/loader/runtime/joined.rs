//! Stores of several instances: waiting for the store of an import, and what is left of instances
//! that are closed or were never finished.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use precast_artifact::{Interruption, Strategy};
use precast_loader::runtime::{Context, HostModule, InstanceConfig, Runtime};
use precast_loader::{Config, Engine, Error, StoreLimitsBuilder};
use precast_tests::Source;

use super::{compile, message, named, resident, runtime};

/// Much longer than any operation here should take.
const SOON: Duration = Duration::from_secs(5);

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
        let before = resident();
        // The third one would be beyond the limit if the first two counted.
        for _ in 0..5 {
            let make = || runtime.instantiate(&plug, InstanceConfig::new());
            let made = catch_unwind(AssertUnwindSafe(make));
            assert_eq!(made.is_err(), panics);
            if let Ok(made) = made {
                let error = message(made);
                assert!(error.starts_with("wasm trap: unreachable"), "{error}");
            }
        }
        let after = resident();
        assert!(after < before + (40 << 20), "{before} {after}");
        // The table of the library has got a function of the failed instances.
        let error = message(lib.unwrap().call("run", &[]));
        assert_eq!(error, "module closed with exit_code(0)");
    }
}
