//! Calls with a context: deadlines, cancellation, and the state of the instances afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use precast_artifact::{Interruption, Strategy};
use precast_loader::runtime::{
    Caller, Context, Done, EXIT_CANCELED, EXIT_DEADLINE_EXCEEDED, HostModule, InstanceConfig,
    Runtime,
};
use precast_loader::{Config, Engine, Error, Module};
use precast_tests::{Source, strategies};

const GUEST: &str = r#"(module (memory (export "m") 1)
    (func (export "fine") (result i32) (i32.const 7))
    (func (export "loop") (loop (br 0))))"#;

const DEADLINE: &str = "module closed with context deadline exceeded";
const CANCELED: &str = "module closed with context canceled";

fn engine() -> Engine {
    Engine::new(Config::new().epoch_interruption(true)).unwrap()
}

fn compile(engine: &Engine, wat: &str, strategy: Strategy) -> Module {
    Source::new(strategy)
        .interruption(Interruption::Epoch)
        .module(engine, wat)
}

fn message<V: std::fmt::Debug>(result: Result<V, Error>) -> String {
    result.unwrap_err().to_string()
}

fn short() -> Context {
    Context::with_timeout(Duration::from_millis(10))
}

#[test]
fn a_deadline_ends_the_call_and_closes_the_instance() {
    for strategy in strategies() {
        let engine = engine();
        let runtime: Runtime = Runtime::new(&engine);
        let module = compile(&engine, GUEST, strategy);
        let config = || InstanceConfig::new().with_name("guest");
        let instance = runtime.instantiate(&module, config()).unwrap();
        let context = Context::with_timeout(Duration::from_secs(600));
        let call = instance.with_context(&context);
        assert_eq!(call.call_typed::<(), i32>("fine", ()).unwrap(), 7);
        let start = Instant::now();
        let error = instance.with_context(&short()).call("loop", &[]);
        assert!(matches!(error, Err(Error::DeadlineExceeded)));
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(message(error), DEADLINE);
        assert_eq!(message(instance.call("fine", &[])), DEADLINE);
        assert_eq!(message(call.call("fine", &[])), DEADLINE);
        assert_eq!(instance.exit_code(), Some(EXIT_DEADLINE_EXCEEDED));
        // The first reason for closing counts, and the name is free again.
        instance.close_with_exit_code(3);
        assert_eq!(message(instance.call("fine", &[])), DEADLINE);
        runtime.instantiate(&module, config()).unwrap();
    }
}

#[test]
fn cancelling_ends_every_call_of_the_context() {
    for strategy in strategies() {
        let engine = engine();
        let runtime: Runtime = Runtime::new(&engine);
        let module = compile(&engine, GUEST, strategy);
        let context = Context::with_timeout(Duration::from_secs(600));
        thread::scope(|scope| {
            let calls: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let instance = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
                        let result = instance.with_context(&context).call("loop", &[]);
                        assert!(matches!(result, Err(Error::Canceled)));
                        assert_eq!(instance.exit_code(), Some(EXIT_CANCELED));
                        message(result)
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(20));
            context.cancel();
            for call in calls {
                assert_eq!(call.join().unwrap(), CANCELED);
            }
        });
        assert_eq!(context.done(), Some(Done::Canceled));
        // A call with a context that is done closes the instance.
        let late = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
        assert_eq!(
            message(late.with_context(&context).call("fine", &[])),
            CANCELED
        );
        assert_eq!(message(late.call("fine", &[])), CANCELED);
        // An instance that its runtime closes has the exit code of the runtime.
        let other = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
        runtime.close_with_exit_code(9);
        assert_eq!(
            message(other.call("fine", &[])),
            "module closed with exit_code(9)"
        );
        assert_eq!(message(late.call("fine", &[])), CANCELED);
    }
}

#[test]
fn a_context_that_ends_later_does_not_matter() {
    let engine = engine();
    let runtime: Runtime = Runtime::new(&engine);
    let module = compile(&engine, GUEST, Strategy::Guarded);
    let in_time = |timeout| {
        let instance = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
        let context = Context::with_timeout(Duration::from_millis(timeout));
        let called = instance.with_context(&context).call("fine", &[]);
        match called {
            Ok(_) => Some((instance, context)),
            Err(Error::DeadlineExceeded) => None,
            Err(error) => panic!("{error}"),
        }
    };
    // A machine that is busy, or emulated, may need longer for one call.
    let (instance, context) = [100, 500, 2500, 12_500]
        .into_iter()
        .find_map(in_time)
        .expect("one call in 12 seconds");
    let start = Instant::now();
    while context.done().is_none() && start.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(context.done(), Some(Done::DeadlineExceeded));
    instance.call("fine", &[]).unwrap();
    // An instance keeps working when another one in the same store is ended.
    let shared = || InstanceConfig::new().with_shared_store();
    let a = runtime.instantiate(&module, shared()).unwrap();
    let b = runtime.instantiate(&module, shared()).unwrap();
    assert_eq!(
        message(a.with_context(&short()).call("loop", &[])),
        DEADLINE
    );
    assert_eq!(b.call_typed::<(), i32>("fine", ()).unwrap(), 7);
}

#[test]
fn start_functions_end_too() {
    let engine = engine();
    let runtime: Runtime = Runtime::new(&engine);
    for wat in [
        r#"(module (func (export "_start") (loop (br 0))))"#,
        "(module (func $f (loop (br 0))) (start $f))",
    ] {
        let module = compile(&engine, wat, Strategy::Guarded);
        let config = |context: &Context| {
            InstanceConfig::new()
                .with_name("guest")
                .with_context(context)
        };
        assert_eq!(
            message(runtime.instantiate(&module, config(&short()))),
            DEADLINE
        );
        let canceled = Context::new();
        canceled.cancel();
        assert_eq!(
            message(runtime.instantiate(&module, config(&canceled))),
            CANCELED
        );
        assert!(runtime.instance("guest").is_none());
    }
}

/// If the context ends while a host function runs, the guest ends when the host function returns,
/// whatever its kind of interruption.
#[test]
fn a_host_function_is_finished_first() {
    for interruption in [Interruption::None, Interruption::Epoch] {
        let engine = Engine::default();
        let runtime: Runtime = Runtime::new(&engine);
        let calls = Arc::new(AtomicUsize::new(0));
        let (context, counter) = (Context::new(), Arc::clone(&calls));
        let inner = context.clone();
        HostModule::builder("env")
            .func("f", move |_: Caller<'_>| {
                counter.fetch_add(1, Ordering::SeqCst);
                inner.cancel();
            })
            .instantiate(&runtime)
            .unwrap();
        let wat = r#"(module (import "env" "f" (func $f))
            (func (export "run") (loop (call $f) (br 0))))"#;
        let source = Source::new(Strategy::Guarded).interruption(interruption);
        let module = source.module(&engine, wat);
        let instance = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
        assert_eq!(
            message(instance.with_context(&context).call("run", &[])),
            CANCELED
        );
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn code_that_cannot_be_stopped_is_an_error_if_asked_for() {
    let engine = engine();
    let runtime: Runtime = Runtime::new(&engine);
    let module = Source::new(Strategy::Guarded).module(&engine, GUEST);
    let error = runtime.instantiate(&module, InstanceConfig::new());
    assert!(matches!(error, Err(Error::Interruption { .. })));
}

#[test]
fn runtimes_give_fuel() {
    let engine = Engine::default();
    let source = Source::new(Strategy::Guarded).interruption(Interruption::Fuel);
    let module = source.module(&engine, GUEST);
    let runtime: Runtime = Runtime::new(&engine);
    let instance = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
    instance.call("fine", &[]).unwrap();
    runtime.set_fuel(1000);
    let instance = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
    let error = message(instance.call("loop", &[]));
    assert!(error.starts_with("wasm trap: all fuel consumed"), "{error}");
}

/// On several threads, some calls return before their deadlines and some do not.
#[test]
fn deadlines_race_with_returns() {
    let engine = engine();
    let runtime: Runtime = Runtime::new(&engine);
    let module = compile(&engine, GUEST, Strategy::Guarded);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (runtime, module) = (&runtime, &module);
            scope.spawn(move || {
                for round in 0..200_u64 {
                    let instance = runtime.instantiate(module, InstanceConfig::new()).unwrap();
                    let time = Duration::from_micros((thread + round) % 40);
                    let context = Context::with_timeout(time);
                    let call = instance.with_context(&context);
                    match call.call_typed::<(), i32>("fine", ()) {
                        // A call that has returned is not closed by its deadline.
                        Ok(7) => {
                            thread::sleep(Duration::from_micros(60));
                            instance.call("fine", &[]).unwrap();
                        }
                        Err(Error::DeadlineExceeded) => {
                            assert_eq!(message(instance.call("fine", &[])), DEADLINE);
                        }
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
}

/// Closing a runtime closes all instances, even if the drop of the data of some panics.
#[test]
fn panics_of_dropped_data_keep_no_instance_open() {
    struct Data(bool);
    impl Drop for Data {
        fn drop(&mut self) {
            assert!(!self.0, "in a drop");
        }
    }
    let engine = engine();
    let module = compile(&engine, GUEST, Strategy::Guarded);
    let runtime = Runtime::with_data(&engine, || Data(false));
    let new = |panics, name| {
        let config = InstanceConfig::new().with_name(name);
        let config = config.with_data(Data(panics));
        runtime.instantiate(&module, config).unwrap()
    };
    // The latest is closed first.
    let instances = [new(false, "a"), new(true, "b"), new(true, "c")];
    let close = std::panic::AssertUnwindSafe(|| runtime.close());
    let panic = std::panic::catch_unwind(close).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"in a drop"));
    for instance in &instances {
        let ended = instance.call("fine", &[]);
        assert!(matches!(ended, Err(Error::Closed { .. })), "{ended:?}");
    }
}
