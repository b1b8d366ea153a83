//! Closing instances of a runtime: from inside of a call, and from another thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use precast_loader::runtime::{Caller, HostModule, Instance, InstanceConfig, Runtime};
use precast_loader::{Engine, Error, ExternRef};

use super::{CALLS, Counted, compile, counting, message, named, runtime};

#[test]
fn closing_is_idempotent_and_reaches_everything_in_reverse() {
    let engine = Engine::default();
    let closed = Arc::new(std::sync::Mutex::new(Vec::new()));
    struct Last(usize, Arc<std::sync::Mutex<Vec<usize>>>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }
    let (order, next) = (Arc::clone(&closed), AtomicUsize::new(0));
    let make = move || Last(next.fetch_add(1, Ordering::SeqCst), Arc::clone(&order));
    let runtime = Runtime::with_data(&engine, make);
    let guest = compile(&engine, r#"(module (func (export "f")))"#);
    let instances: Vec<_> = ["a", "", "b", ""]
        .map(|name| runtime.instantiate(&guest, InstanceConfig::new().with_name(name)))
        .into_iter()
        .map(Result::unwrap)
        .collect();
    instances[2].close_with_exit_code(3);
    instances[2].close_with_exit_code(4);
    runtime.close_with_exit_code(7);
    runtime.close_with_exit_code(8);
    assert_eq!(*closed.lock().unwrap(), [2, 3, 1, 0]);
    let codes: Vec<_> = instances.iter().map(Instance::exit_code).collect();
    assert_eq!(codes, [Some(7), Some(7), Some(3), Some(7)]);
    assert_eq!(runtime.exit_code(), Some(7));
    let late = runtime.instantiate(&guest, InstanceConfig::new());
    assert_eq!(message(late), "runtime closed with exit_code(7)");
    let late = HostModule::builder("env").instantiate(&runtime);
    assert_eq!(message(late), "runtime closed with exit_code(7)");
    assert_eq!(
        message(instances[0].call("f", &[])),
        "module closed with exit_code(7)"
    );
    assert_eq!(
        message(instances[2].call("f", &[])),
        "module closed with exit_code(3)"
    );
}

#[test]
fn closing_inside_of_a_host_function_ends_the_guest() {
    let engine = Engine::default();
    // The host function closes the instance by its name, closes the runtime, returns an exit, or
    // closes its caller and returns.
    for how in 0..4 {
        let runtime = runtime(&engine);
        let went_on = Arc::new(AtomicBool::new(false));
        let on = Arc::clone(&went_on);
        let f = move |mut caller: Caller<'_>| -> Result<(), Error> {
            let runtime = caller.data().runtime().unwrap();
            match how {
                0 => runtime.instance("m").unwrap().close_with_exit_code(9),
                1 => runtime.close_with_exit_code(9),
                2 => return Err(caller.exit(9)),
                _ => caller.calling_instance().unwrap().close_with_exit_code(9),
            }
            Ok(())
        };
        HostModule::builder("env")
            .func("f", f)
            .func("on", move || on.store(true, Ordering::SeqCst))
            .instantiate(&runtime)
            .unwrap();
        let guest = compile(&engine, CALLS);
        let instance = runtime.instantiate(&guest, named("m")).unwrap();
        let error = message(instance.call("run", &[]));
        assert_eq!(error, "module closed with exit_code(9)", "{how}");
        assert!(!went_on.load(Ordering::SeqCst), "{how}");
        assert_eq!(instance.exit_code(), Some(9));
        assert_eq!(
            message(instance.call("nothing", &[])),
            "module closed with exit_code(9)"
        );
        assert!(runtime.instance("m").is_none());
    }
}

#[test]
fn closing_from_another_thread_ends_the_call_at_the_next_host_function() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let (entered, wait) = channel();
    let f = move || {
        entered.send(()).ok();
        std::thread::sleep(Duration::from_millis(1));
    };
    HostModule::builder("env")
        .func("f", f)
        .instantiate(&runtime)
        .unwrap();
    let forever = r#"(module (import "env" "f" (func $f))
        (func (export "run") (loop $l (call $f) (br $l))) (func (export "nothing")))"#;
    let guest = compile(&engine, forever);
    let instance = runtime.instantiate(&guest, named("m")).unwrap();
    let other = runtime.instantiate(&guest, named("other")).unwrap();
    let running = instance.clone();
    let thread = std::thread::spawn(move || message(running.call("run", &[])));
    wait.recv().unwrap();
    instance.close_with_exit_code(5);
    assert_eq!(thread.join().unwrap(), "module closed with exit_code(5)");
    other.call("nothing", &[]).unwrap();
}

#[test]
fn a_neighbour_in_the_same_store_goes_on_after_an_interrupted_call() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let close = |caller: Caller<'_>| {
        let runtime = caller.data().runtime().unwrap();
        runtime.instance("user").unwrap().close_with_exit_code(6);
    };
    HostModule::builder("env")
        .func("f", close)
        .instantiate(&runtime)
        .unwrap();
    let library = compile(
        &engine,
        r#"(module (func (export "four") (result i32) (i32.const 4)))"#,
    );
    let user = r#"(module (import "lib" "four" (func (result i32))) (import "env" "f" (func $f))
        (func (export "run") (call $f)))"#;
    let user = compile(&engine, user);
    let library = runtime.instantiate(&library, named("lib")).unwrap();
    let user = runtime.instantiate(&user, named("user")).unwrap();
    assert_eq!(
        message(user.call("run", &[])),
        "module closed with exit_code(6)"
    );
    assert_eq!(library.call_typed::<(), i32>("four", ()).unwrap(), 4);
}

/// Panics when it is dropped, unless a panic is under way.
struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "the host's drop");
    }
}

/// Two instances that need the shared store are made at once, so there are data for two stores. The
/// data that is not needed panics when it is dropped, and the store is freed all the same.
#[test]
fn a_store_is_not_lost_when_data_for_another_panics() {
    #[derive(Default)]
    struct Data {
        _panics: Option<PanicsOnDrop>,
        _counted: Option<Counted>,
    }
    let engine = Engine::default();
    let guest = compile(&engine, "(module)");
    let count = Arc::new(AtomicUsize::new(0));
    let itself: Arc<Mutex<Option<Runtime<Data>>>> = Arc::default();
    let (counter, runtime, module) = (Arc::clone(&count), Arc::clone(&itself), guest.clone());
    let make = move || {
        let Some(runtime) = runtime.lock().unwrap().take() else {
            return Data {
                _panics: None,
                _counted: Some(Counted::new(&counter)),
            };
        };
        let first = InstanceConfig::new().with_name("first").with_shared_store();
        runtime.instantiate(&module, first).unwrap();
        Data {
            _panics: Some(PanicsOnDrop),
            _counted: None,
        }
    };
    let runtime = Runtime::with_data(&engine, make);
    *itself.lock().unwrap() = Some(runtime.clone());
    let second = || {
        InstanceConfig::new()
            .with_name("second")
            .with_shared_store()
    };
    let make = || runtime.instantiate(&guest, second());
    assert!(catch_unwind(AssertUnwindSafe(make)).is_err());
    assert_eq!(count.load(Ordering::SeqCst), 1);
    // The name of the second one is free, and so is the store when no instance is open in it.
    runtime.instantiate(&guest, second()).unwrap().close();
    runtime.instance("first").unwrap().close();
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

/// An instance that nobody gets, because what the configuration holds panics, is closed.
#[test]
fn an_instance_is_not_lost_when_its_configuration_panics() {
    let engine = Engine::default();
    let (runtime, count) = counting(&engine);
    let guest = compile(&engine, "(module)");
    for name in ["", "named"] {
        let panics = PanicsOnDrop;
        let config = InstanceConfig::new().with_name(name);
        let config = config.with_import_resolver(move |_, _, _| {
            let _ = &panics;
            None
        });
        let make = || runtime.instantiate(&guest, config);
        assert!(catch_unwind(AssertUnwindSafe(make)).is_err());
        assert_eq!(count.load(Ordering::SeqCst), 0, "{name}");
        assert!(runtime.instance(name).is_none());
    }
}

/// A call closes its own instance, whose data panics. The result of the call is dropped, too.
#[test]
fn results_are_not_lost_when_data_panics() {
    let engine = Engine::default();
    let runtime = Runtime::with_data(&engine, || PanicsOnDrop);
    let guest = compile(&engine, "(module)");
    let guest = runtime.instantiate(&guest, InstanceConfig::new()).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let call = || {
        guest.with(|_, _| {
            guest.close();
            Ok(ExternRef::new(Counted::new(&count)))
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert_eq!(count.load(Ordering::SeqCst), 0);
}
