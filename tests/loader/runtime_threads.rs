//! Runtimes on many threads: which thread may use a store, what ends the waiting for a store, calls
//! inside of calls, instances that are made while others are closed, and panics of the host.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use precast_artifact::{Interruption, Strategy};
use precast_loader::runtime::{
    Caller, Context, HostModule, Instance, InstanceConfig, Runtime, Target,
};
use precast_loader::{Config, Engine, Error, MemoryType, Module};
use precast_tests::{Source, Watchdog, strategies};

/// Much longer than any operation here should take, and much shorter than the calls that block
/// them.
const SOON: Duration = Duration::from_secs(20);

fn engine() -> Engine {
    Engine::new(Config::new().epoch_interruption(true)).unwrap()
}

fn compile(engine: &Engine, wat: &str) -> Module {
    Source::new(Strategy::Guarded)
        .interruption(Interruption::Epoch)
        .module(engine, wat)
}

const LOOP: &str = r#"(module (memory (export "m") 1)
    (func (export "fine") (result i32) (i32.const 7))
    (func (export "loop") (loop (br 0))))"#;

/// Makes a host module with the function `f`.
fn host<T: Send + 'static>(
    runtime: &Runtime<T>,
    f: impl Fn(Caller<'_, T>) -> Result<(), Error> + Send + Sync + 'static,
) {
    HostModule::builder("env")
        .func("f", f)
        .instantiate(runtime)
        .unwrap();
}

const CALLS_HOST: &str = r#"(module (import "env" "f" (func $f)) (memory (export "m") 1)
    (func (export "run") (call $f))
    (func (export "fine") (result i32) (i32.const 7)))"#;

fn in_time<R>(work: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = work();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    result
}

/// Runs `work` on two instances in one store. The first is in a call until `work` returns.
fn busy(runtime: &Runtime, work: impl FnOnce(&Instance, &Instance)) {
    let (let_go, wait) = mpsc::channel::<()>();
    let (wait, entered) = (Mutex::new(wait), Arc::new(Barrier::new(2)));
    let inside = Arc::clone(&entered);
    host(runtime, move |_| {
        inside.wait();
        wait.lock().unwrap().recv().unwrap_err();
        Ok(())
    });
    let module = compile(runtime.engine(), CALLS_HOST);
    let shared = || InstanceConfig::new().with_shared_store();
    let a = runtime.instantiate(&module, shared()).unwrap();
    let b = runtime.instantiate(&module, shared()).unwrap();
    thread::scope(|scope| {
        let call = scope.spawn(|| a.call("run", &[]));
        entered.wait();
        work(&a, &b);
        drop(let_go);
        drop(call.join().unwrap());
    });
}

#[test]
fn waiting_for_a_store_ends_with_the_context() {
    let runtime: Runtime = Runtime::new(&engine());
    busy(&runtime, |a, b| {
        let context = Context::with_timeout(Duration::from_millis(20));
        let error = in_time(|| b.with_context(&context).call("fine", &[]));
        assert!(matches!(error, Err(Error::DeadlineExceeded)), "{error:?}");
        assert!(a.exit_code().is_none(), "the other one goes on");
    });
    let runtime: Runtime = Runtime::new(&engine());
    busy(&runtime, |_, b| {
        let context = Context::new();
        thread::scope(|scope| {
            let call = scope.spawn(|| in_time(|| b.with_context(&context).call("fine", &[])));
            thread::sleep(Duration::from_millis(20));
            context.cancel();
            assert!(matches!(call.join().unwrap(), Err(Error::Canceled)));
        });
    });
}

#[test]
fn waiting_for_a_store_ends_when_the_instance_or_the_runtime_is_closed() {
    for whole in [false, true] {
        let runtime: Runtime = Runtime::new(&engine());
        busy(&runtime, |_, b| {
            thread::scope(|scope| {
                let call = scope.spawn(|| in_time(|| b.call("fine", &[])));
                thread::sleep(Duration::from_millis(20));
                if whole {
                    runtime.close_with_exit_code(3);
                } else {
                    b.close_with_exit_code(3);
                }
                let result = call.join().unwrap();
                assert!(
                    matches!(result, Err(Error::Closed { exit_code: 3, .. })),
                    "{result:?}"
                );
            });
        });
    }
}

#[test]
fn making_an_instance_does_not_wait_for_a_store_for_longer_than_it_may() {
    let runtime: Runtime = Runtime::new(&engine());
    busy(&runtime, |_, _| {
        let module = compile(runtime.engine(), LOOP);
        let context = Context::with_timeout(Duration::from_millis(20));
        let config = InstanceConfig::new().with_shared_store().with_name("late");
        let made = in_time(|| runtime.instantiate(&module, config.with_context(&context)));
        assert!(matches!(made, Err(Error::DeadlineExceeded)), "{made:?}");
        thread::scope(|scope| {
            let config = InstanceConfig::new().with_shared_store().with_name("late");
            let made = scope.spawn(|| in_time(|| runtime.instantiate(&module, config)));
            thread::sleep(Duration::from_millis(20));
            runtime.close_with_exit_code(4);
            let made = made.join().unwrap();
            assert!(
                matches!(made, Err(Error::Closed { exit_code: 4, what, .. }) if what == "runtime"),
                "{made:?}"
            );
        });
    });
}

/// Two instances in two stores call each other from inside of their calls. Returns the errors of
/// both calls after `end` has ended them.
fn calling_each_other(end: impl FnOnce(&Runtime, &[Instance; 2], &Context)) -> [Error; 2] {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let runtime: Runtime = Runtime::new(&engine());
    let both = Arc::new(Barrier::new(3));
    let instances: Arc<Mutex<Vec<Instance>>> = Arc::default();
    let (others, begun) = (Arc::clone(&instances), Arc::clone(&both));
    host(&runtime, move |mut caller| {
        begun.wait();
        let own = caller.calling_instance().unwrap();
        let other = others.lock().unwrap().clone();
        let other = other.into_iter().find(|i| i.name() != own.name()).unwrap();
        other.call("fine", &[]).map(drop)
    });
    let module = compile(runtime.engine(), CALLS_HOST);
    let made = ["a", "b"].map(|name| {
        let config = InstanceConfig::new().with_name(name);
        runtime.instantiate(&module, config).unwrap()
    });
    instances.lock().unwrap().extend(made.clone());
    let context = Context::new();
    let results = thread::scope(|scope| {
        let calls = made
            .each_ref()
            .map(|instance| scope.spawn(|| instance.with_context(&context).call("run", &[])));
        both.wait();
        thread::sleep(Duration::from_millis(50));
        in_time(|| {
            end(&runtime, &made, &context);
            calls.map(|call| call.join().unwrap().unwrap_err())
        })
    });
    instances.lock().unwrap().clear();
    results
}

#[test]
fn instances_that_wait_for_each_other_can_be_ended() {
    let errors = calling_each_other(|runtime, _, _| runtime.close_with_exit_code(5));
    for error in errors {
        assert!(
            matches!(error, Error::Closed { exit_code: 5, .. }),
            "{error}"
        );
    }
    let errors = calling_each_other(|_, _, context| context.cancel());
    for error in errors {
        assert!(matches!(error, Error::Canceled), "{error}");
    }
    // When one instance is closed, its call ends. Then the call of the other instance gets its
    // store and finds it closed.
    let errors = calling_each_other(|_, instances, _| instances[0].close_with_exit_code(6));
    for error in errors {
        assert!(
            matches!(error, Error::Closed { exit_code: 6, .. }),
            "{error}"
        );
    }
}

#[test]
fn what_ends_a_call_ends_the_calls_inside_of_it() {
    for strategy in strategies() {
        let engine = engine();
        let runtime: Runtime = Runtime::new(&engine);
        let source = Source::new(strategy).interruption(Interruption::Epoch);
        let inner = source.module(&engine, LOOP);
        let inner = runtime.instantiate(&inner, InstanceConfig::new()).unwrap();
        let called = inner.clone();
        host(&runtime, move |_| called.call("loop", &[]).map(drop));
        let outer = source.module(&engine, CALLS_HOST);
        let outer = runtime.instantiate(&outer, InstanceConfig::new()).unwrap();
        let context = Context::with_timeout(Duration::from_millis(20));
        let result = in_time(|| outer.with_context(&context).call("run", &[]));
        assert!(matches!(result, Err(Error::DeadlineExceeded)), "{result:?}");
        // The inner instance was not called with the context, so it is not closed.
        assert_eq!(inner.call_typed::<(), i32>("fine", ()).unwrap(), 7);
    }
}

#[test]
fn a_host_function_passes_its_context_on() {
    let engine = engine();
    let runtime: Runtime = Runtime::new(&engine);
    let module = compile(&engine, LOOP);
    let inner = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
    let called = inner.clone();
    host(&runtime, move |caller| match caller.context() {
        Some(context) => called.with_context(&context).call("loop", &[]).map(drop),
        None => Ok(()),
    });
    let module = compile(&engine, CALLS_HOST);
    let outer = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
    outer.call("run", &[]).unwrap();
    let context = Context::with_timeout(Duration::from_millis(20));
    let result = in_time(|| outer.with_context(&context).call("run", &[]));
    assert!(matches!(result, Err(Error::DeadlineExceeded)), "{result:?}");
    let result = inner.call("fine", &[]);
    assert!(matches!(result, Err(Error::DeadlineExceeded)), "{result:?}");
}

/// Counts the values that exist, and keeps the name of the thread that dropped one last.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>, Arc<Mutex<Option<String>>>);

impl Counter {
    fn data(&self) -> Counted {
        self.0.fetch_add(1, Ordering::SeqCst);
        Counted(self.clone())
    }

    fn there(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct Counted(Counter);

impl Drop for Counted {
    fn drop(&mut self) {
        *self.0.1.lock().unwrap() = thread::current().name().map(str::to_owned);
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn after_a_panic_of_the_host_closing_frees_everything() {
    let engine = engine();
    let counter = Counter::default();
    let data = counter.clone();
    let runtime: Runtime<Counted> = Runtime::with_data(&engine, move || data.data());
    host(&runtime, |_| panic!("of the host"));
    let module = compile(&engine, CALLS_HOST);
    for round in 0..20 {
        let config = || InstanceConfig::new().with_name("guest");
        let instance = runtime.instantiate(&module, config()).unwrap();
        let call = || instance.call("run", &[]);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
        assert_eq!(
            caught.unwrap_err().downcast_ref::<&str>(),
            Some(&"of the host")
        );
        assert_eq!(instance.call_typed::<(), i32>("fine", ()).unwrap(), 7);
        instance.close();
        assert_eq!(counter.there(), 0, "round {round}");
    }
    // The host panics while an instance is made: in the start section, and in a start function.
    for wat in [
        r#"(module (import "env" "f" (func $f)) (start $f))"#,
        r#"(module (import "env" "f" (func $f)) (export "_start" (func $f)))"#,
    ] {
        let module = compile(&engine, wat);
        let make = || runtime.instantiate(&module, InstanceConfig::new().with_name("guest"));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(make));
        assert!(caught.is_err());
        assert_eq!(counter.there(), 0, "{wat}");
        assert!(runtime.instance("guest").is_none());
    }
}

/// Guests that wait at an address of a shared memory for a notification that never comes.
#[test]
fn waits_for_notifications_end_with_closing_and_contexts() {
    let wat = r#"(module (memory (export "m") 1 1 shared)
        (func (export "wait")
            (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))"#;
    let runtime: Runtime = Runtime::new(&engine());
    let module = compile(runtime.engine(), wat);
    let instance = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
    let context = Context::with_timeout(Duration::from_millis(20));
    let ended = in_time(|| instance.with_context(&context).call("wait", &[]));
    assert!(ended.is_err(), "{ended:?}");
    let instance = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
    thread::scope(|scope| {
        let call = scope.spawn(|| instance.call("wait", &[]));
        thread::sleep(Duration::from_millis(30));
        let ended = in_time(|| {
            instance.close_with_exit_code(9);
            call.join().unwrap()
        });
        assert!(matches!(ended, Err(Error::Closed { .. })), "{ended:?}");
    });
}

#[test]
fn closing_a_runtime_ends_the_start_section_and_the_start_function() {
    for wat in [
        "(module (func $f (loop (br 0))) (start $f))",
        r#"(module (func (export "_start") (loop (br 0))))"#,
    ] {
        let runtime: Runtime = Runtime::new(&engine());
        let module = compile(runtime.engine(), wat);
        thread::scope(|scope| {
            let made = scope.spawn(|| runtime.instantiate(&module, InstanceConfig::new()));
            thread::sleep(Duration::from_millis(30));
            let made = in_time(|| {
                runtime.close();
                made.join().unwrap()
            });
            assert!(matches!(made, Err(Error::Closed { .. })), "{made:?}");
        });
    }
}

#[test]
fn a_start_function_that_somebody_closes_is_no_success() {
    let runtime: Runtime = Runtime::new(&engine());
    let begun = Arc::new(Barrier::new(2));
    let inside = Arc::clone(&begun);
    host(&runtime, move |_| {
        inside.wait();
        Ok(())
    });
    let wat = r#"(module (import "env" "f" (func $f))
        (func (export "_start") (call $f) (loop (br 0))))"#;
    let module = compile(runtime.engine(), wat);
    thread::scope(|scope| {
        let config = InstanceConfig::new().with_name("program");
        let made = scope.spawn(|| runtime.instantiate(&module, config));
        begun.wait();
        runtime.instance("program").unwrap().close();
        let made = made.join().unwrap();
        assert!(
            matches!(made, Err(Error::Closed { exit_code: 0, .. })),
            "{made:?}"
        );
    });
    // An instance that exits by itself is returned.
    let exits: Runtime = Runtime::new(runtime.engine());
    host(&exits, |mut caller| Err(caller.exit(0)));
    let instance = exits.instantiate(&module, InstanceConfig::new()).unwrap();
    assert_eq!(instance.exit_code(), Some(0));
}

#[test]
fn data_is_made_without_a_lock() {
    let engine = engine();
    let slot: Arc<Mutex<Option<Runtime<usize>>>> = Arc::default();
    let (runtime, module) = (Arc::clone(&slot), compile(&engine, LOOP));
    let depth = AtomicUsize::new(0);
    let inner = module.clone();
    let make = move || {
        let depth = depth.fetch_add(1, Ordering::SeqCst);
        let runtime = runtime.lock().unwrap().clone();
        if let Some(runtime) = runtime
            && depth == 0
        {
            let shared = InstanceConfig::new().with_shared_store();
            runtime.instantiate(&inner, shared).unwrap();
        }
        depth
    };
    let runtime = Runtime::with_data(&engine, make);
    *slot.lock().unwrap() = Some(runtime.clone());
    let shared = InstanceConfig::new().with_shared_store();
    let instance = in_time(|| runtime.instantiate(&module, shared).unwrap());
    assert_eq!(instance.call_typed::<(), i32>("fine", ()).unwrap(), 7);
    *slot.lock().unwrap() = None;
}

/// Whenever the exporting instance is closed, the importing instance either works or is not made.
#[test]
fn an_instance_is_made_before_its_import_is_closed_or_not_at_all() {
    const EXPORTER: &str = r#"(module (memory (export "m") 1) (data (i32.const 0) "\2a")
        (func (export "f") (result i32) (i32.load (i32.const 0))))"#;
    const IMPORTER: &str = r#"(module (import "lib" "m" (memory 1))
        (import "lib" "f" (func $f (result i32)))
        (func (export "run") (result i32)
            (i32.add (call $f) (i32.load (i32.const 0))))
        (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#;
    let engine = engine();
    let (exporter, importer) = (compile(&engine, EXPORTER), compile(&engine, IMPORTER));
    let (made, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for round in 0..300 {
        let runtime: Runtime = Runtime::new(&engine);
        let config = InstanceConfig::new().with_name("lib");
        let library = runtime.instantiate(&exporter, config).unwrap();
        let start = Barrier::new(3);
        thread::scope(|scope| {
            for by_handle in [false, true] {
                let (runtime, importer, library) = (&runtime, &importer, &library);
                let (made, refused, start) = (&made, &refused, &start);
                scope.spawn(move || {
                    let mut config = InstanceConfig::new();
                    if by_handle {
                        let library = library.clone();
                        config = config.with_import_resolver(move |_, _, name| {
                            Some(Target::Instance(library.clone(), name.to_owned()))
                        });
                    }
                    start.wait();
                    match runtime.instantiate(importer, config) {
                        Ok(instance) => {
                            made.fetch_add(1, Ordering::Relaxed);
                            assert_eq!(instance.call_typed::<(), i32>("run", ()).unwrap(), 84);
                            // The other importing instance may have grown the memory first.
                            let pages = instance.call_typed::<(), i32>("grow", ()).unwrap();
                            assert!((1..=2).contains(&pages), "{pages}");
                            assert_eq!(instance.call_typed::<(), i32>("run", ()).unwrap(), 84);
                        }
                        Err(Error::Closed { exit_code: 9, .. }) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(Error::NotInstantiated { .. }) if !by_handle => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        other => panic!("{other:?}"),
                    }
                });
            }
            start.wait();
            for _ in 0..round % 60 * 20 {
                std::hint::spin_loop();
            }
            library.close_with_exit_code(9);
        });
    }
    eprintln!("{made:?} made, {refused:?} refused");
}

#[test]
fn data_of_the_host_is_not_dropped_by_the_thread_that_watches_deadlines() {
    let engine = engine();
    let counter = Counter::default();
    let data = counter.clone();
    let runtime: Runtime<Counted> = Runtime::with_data(&engine, move || data.data());
    let module = compile(&engine, LOOP);
    for _ in 0..20 {
        let instance = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
        let context = Context::with_timeout(Duration::from_millis(2));
        let name = thread::Builder::new().name("caller".to_owned());
        let call = move || instance.with_context(&context).call("loop", &[]);
        let result = name.spawn(call).unwrap().join().unwrap();
        assert!(matches!(result, Err(Error::DeadlineExceeded)));
        assert_eq!(counter.there(), 0);
        assert_eq!(counter.1.lock().unwrap().take().as_deref(), Some("caller"));
    }
}

#[test]
fn deadlines_on_code_that_knows_none_are_errors() {
    let engine = Engine::default();
    let runtime: Runtime = Runtime::new(&engine);
    let module = Source::new(Strategy::Guarded).module(&engine, LOOP);
    let expected = "the module was compiled with interruption `none`, and the context's deadline asks \
                    for `epoch`: compile it again with `--interruption epoch`";
    let context = Context::with_timeout(Duration::from_secs(60));
    let config = || InstanceConfig::new().with_name("guest");
    let made = runtime.instantiate(&module, config().with_context(&context));
    assert_eq!(made.unwrap_err().to_string(), expected);
    let instance = runtime.instantiate(&module, config()).unwrap();
    let called = instance.with_context(&context).call("fine", &[]);
    assert_eq!(called.unwrap_err().to_string(), expected);
    // The error does not close the instance, and a context without a deadline is not an error.
    instance
        .with_context(&Context::new())
        .call("fine", &[])
        .unwrap();
    runtime.set_fuel(1000);
    let made = runtime.instantiate(&module, InstanceConfig::new());
    assert_eq!(
        made.unwrap_err().to_string(),
        "the module was compiled with interruption `none`, and the store's fuel asks for `fuel`: \
         compile it again with `--interruption fuel`"
    );
}

#[test]
fn a_panic_inside_of_a_nested_call_leaves_nothing_behind() {
    let engine = engine();
    let runtime: Runtime = Runtime::new(&engine);
    let panics = Arc::new(AtomicBool::new(true));
    let armed = Arc::clone(&panics);
    host(&runtime, move |_| {
        assert!(!armed.load(Ordering::SeqCst), "armed");
        Ok(())
    });
    let module = compile(&engine, CALLS_HOST);
    let inner = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
    let called = inner.clone();
    HostModule::builder("outer")
        .func("f", move |_: Caller<'_>| called.call("run", &[]).map(drop))
        .memory("m", MemoryType::new(1, None))
        .instantiate(&runtime)
        .unwrap();
    let config = InstanceConfig::new().with_import_module("env", "outer");
    let outer = runtime.instantiate(&module, config).unwrap();
    let call = || outer.call("run", &[]);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
    panics.store(false, Ordering::SeqCst);
    outer.call("run", &[]).unwrap();
    thread::scope(|scope| {
        for instance in [&inner, &outer] {
            scope.spawn(|| in_time(|| instance.call("run", &[]).unwrap()));
        }
    });
}
