//! Runtimes: names, closing, limits, redirection, and when things are freed.

mod closing;
mod joined;
mod redirection;
mod shared;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use precast_artifact::Strategy;
use precast_loader::runtime::{Caller, HostModule, InstanceConfig, Runtime};
use precast_loader::{
    Engine, Error, GlobalType, MemoryType, Module, StoreLimitsBuilder, Val, ValType,
};
use precast_tests::{child, module, strategies};

/// Data that counts how many of its values are alive.
#[derive(Default)]
struct Counted(Option<Arc<AtomicUsize>>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Some(Arc::clone(count)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn compile(engine: &Engine, wat: &str) -> Module {
    module(engine, wat, Strategy::Guarded)
}

fn runtime(engine: &Engine) -> Runtime {
    Runtime::new(engine)
}

fn named(name: &str) -> InstanceConfig {
    InstanceConfig::new().with_name(name)
}

fn message<V: std::fmt::Debug>(result: Result<V, Error>) -> String {
    result.unwrap_err().to_string()
}

/// Much longer than any operation here should take.
const SOON: Duration = Duration::from_secs(20);

/// Calls `env.f`, then `env.on`, which records that the guest went on.
const CALLS: &str = r#"(module (import "env" "f" (func $f)) (import "env" "on" (func $on))
    (func (export "run") (call $f) (call $on))
    (func (export "nothing")))"#;

/// A runtime that counts its stores.
fn counting(engine: &Engine) -> (Runtime<Counted>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let runtime = Runtime::with_data(engine, move || Counted::new(&counter));
    (runtime, count)
}

#[test]
fn names_are_unique_until_closed() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let empty = compile(&engine, "(module)");
    let first = runtime.instantiate(&empty, named("m")).unwrap();
    let again = message(runtime.instantiate(&empty, named("m")));
    assert_eq!(again, "module[m] has already been instantiated");
    let host = HostModule::builder("m").instantiate(&runtime);
    assert_eq!(message(host), "module[m] has already been instantiated");
    assert!(runtime.instance("m").is_some());
    first.close();
    assert!(runtime.instance("m").is_none());
    runtime.instantiate(&empty, named("m")).unwrap();
    // The runtime keeps named instances, so their handles may be dropped.
    assert!(runtime.instance("m").is_some());
    // Each runtime has names of its own.
    let other: Runtime = Runtime::new(&engine);
    other.instantiate(&empty, named("m")).unwrap();
    // A name is free again when instantiation fails.
    let importer = compile(&engine, r#"(module (import "n" "f" (func)))"#);
    let failed = message(runtime.instantiate(&importer, named("x")));
    assert_eq!(failed, "module[n] not instantiated");
    runtime.instantiate(&empty, named("x")).unwrap();
}

#[test]
fn anonymous_instances_have_no_limit_and_leave_nothing() {
    let engine = Engine::default();
    let (runtime, count) = counting(&engine);
    HostModule::builder("env")
        .func("f", |x: i32| x + 1)
        .global("g", GlobalType::new(ValType::I64, false), Val::I64(7))
        .instantiate(&runtime)
        .unwrap();
    let wat = r#"(module (import "env" "f" (func $f (param i32) (result i32))) (memory 1)
        (func (export "run") (param i32) (result i32)
            (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (local.get 0)))
            (call $f (i32.load (i32.const 0)))))"#;
    let guest = compile(&engine, wat);
    for i in 0..20_000 {
        let instance = runtime.instantiate(&guest, InstanceConfig::new()).unwrap();
        assert_eq!(instance.call_typed::<i32, i32>("run", i).unwrap(), i + 1);
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let held: Vec<_> = (0..100)
        .map(|_| runtime.instantiate(&guest, InstanceConfig::new()).unwrap())
        .collect();
    assert_eq!(count.load(Ordering::SeqCst), 100);
    assert_eq!(format!("{runtime:?}").matches("env").count(), 1);
    drop(held);
    assert_eq!(count.load(Ordering::SeqCst), 0);
    // Named instances are kept until each is closed.
    let config = |name: &str| InstanceConfig::new().with_name(name);
    let a = runtime.instantiate(&guest, config("a")).unwrap();
    runtime.instantiate(&guest, config("b")).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2);
    a.close();
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn instances_import_from_each_other_by_name() {
    for strategy in strategies() {
        let engine = Engine::default();
        let runtime = runtime(&engine);
        let library = r#"(module (memory (export "memory") 1)
            (global (export "g") (mut i32) (i32.const 5))
            (func (export "get") (result i32) (i32.load (i32.const 8))))"#;
        let program = r#"(module (import "lib" "memory" (memory 1))
            (import "lib" "g" (global $g (mut i32)))
            (import "lib" "get" (func $get (result i32)))
            (func (export "run") (result i32)
                (i32.store (i32.const 8) (global.get $g)) (call $get)))"#;
        let library = module(&engine, library, strategy);
        let program = module(&engine, program, strategy);
        let lib = runtime.instantiate(&library, named("lib")).unwrap();
        let instance = runtime.instantiate(&program, named("p")).unwrap();
        assert_eq!(instance.call_typed::<(), i32>("run", ()).unwrap(), 5);
        // After the library is closed, the host cannot use it, but instances that import from it
        // can.
        lib.close();
        assert_eq!(
            message(lib.call("get", &[])),
            "module closed with exit_code(0)"
        );
        assert_eq!(instance.call_typed::<(), i32>("run", ()).unwrap(), 5);
        let late = runtime.instantiate(&program, InstanceConfig::new());
        assert_eq!(message(late), "module[lib] not instantiated");
    }
}

#[test]
fn memories_go_when_nobody_needs_them_and_stores_with_the_last_instance() {
    // The resident memory is measured, to which no other test must add.
    if child::case().is_none() {
        return child::passes_in_child(
            "runtime::memories_go_when_nobody_needs_them_and_stores_with_the_last_instance",
            "alone",
        );
    }
    let engine = Engine::default();
    let (runtime, count) = counting(&engine);
    let config = |name: &str| InstanceConfig::new().with_name(name);
    let library = r#"(module (memory (export "memory") 16)
        (func (export "fill") (memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576))))"#;
    let library = compile(&engine, library);
    let user = r#"(module (import "lib" "memory" (memory 1)) (memory $own 16)
        (export "memory" (memory 0))
        (func (export "fill") (memory.fill $own (i32.const 0) (i32.const 1) (i32.const 1048576)))
        (func (export "get") (result i32) (i32.load (i32.const 0))))"#;
    let user = compile(&engine, user);
    let lib = runtime.instantiate(&library, config("lib")).unwrap();
    lib.call("fill", &[]).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let before = resident();
    for _ in 0..200 {
        let user = runtime.instantiate(&user, InstanceConfig::new()).unwrap();
        user.call("fill", &[]).unwrap();
    }
    // 200 MiB were written by instances of a store that is still there.
    assert!(resident() < before + (60 << 20), "{before} {}", resident());
    assert_eq!(count.load(Ordering::SeqCst), 1);
    // The memory outlives its instance as long as others import it, even indirectly.
    let first = runtime.instantiate(&user, config("first")).unwrap();
    let rule = InstanceConfig::new().with_import_module("lib", "first");
    let second = runtime.instantiate(&user, rule).unwrap();
    lib.close();
    first.close();
    assert_eq!(
        second.call_typed::<(), i32>("get", ()).unwrap(),
        0x0101_0101
    );
    drop(second);
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn stores_that_cannot_be_linked_say_what_to_do() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let library = compile(
        &engine,
        r#"(module (func (export "f") (result i32) (i32.const 4)))"#,
    );
    let both = r#"(module (import "a" "f" (func $a (result i32)))
        (import "b" "f" (func $b (result i32)))
        (func (export "sum") (result i32) (i32.add (call $a) (call $b))))"#;
    let both = compile(&engine, both);
    runtime.instantiate(&library, named("a")).unwrap();
    runtime.instantiate(&library, named("b")).unwrap();
    let error = message(runtime.instantiate(&both, InstanceConfig::new()));
    assert!(
        error.starts_with("`a` and `b` live in different stores"),
        "{error}"
    );
    for name in ["a", "b"] {
        runtime.instance(name).unwrap().close();
        let config = named(name).with_shared_store();
        runtime.instantiate(&library, config).unwrap();
    }
    let sum = runtime.instantiate(&both, InstanceConfig::new()).unwrap();
    assert_eq!(sum.call_typed::<(), i32>("sum", ()).unwrap(), 8);
}

#[test]
fn host_modules_have_memories_and_globals() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    HostModule::builder("env")
        .memory("memory", MemoryType::new(1, Some(2)))
        .global(
            "constant",
            GlobalType::new(ValType::I32, false),
            Val::I32(40),
        )
        .global("variable", GlobalType::new(ValType::I32, true), Val::I32(2))
        .instantiate(&runtime)
        .unwrap();
    let wat = r#"(module (import "env" "memory" (memory 1 2))
        (import "env" "constant" (global $c i32)) (import "env" "variable" (global $v (mut i32)))
        (func (export "run") (result i32)
            (global.set $v (i32.add (global.get $c) (global.get $v)))
            (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (global.get $v)))
            (i32.load (i32.const 0))))"#;
    let guest = compile(&engine, wat);
    let one = runtime.instantiate(&guest, named("one")).unwrap();
    let two = runtime.instantiate(&guest, named("two")).unwrap();
    assert_eq!(one.call_typed::<(), i32>("run", ()).unwrap(), 42);
    assert_eq!(two.call_typed::<(), i32>("run", ()).unwrap(), 42 + 82);

    let twice = HostModule::builder("x").func("f", || {}).func("f", || {});
    let error = message(twice.instantiate(&runtime));
    assert_eq!(error, "`x`.`f` is defined already");
    let wrong = GlobalType::new(ValType::I32, false);
    let wrong = HostModule::builder("x").global("g", wrong, Val::I64(0));
    let error = message(wrong.instantiate(&runtime));
    assert_eq!(error, "value of a global: found i64, expected i32");
}

#[test]
fn limits_are_of_the_runtime() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let small = StoreLimitsBuilder::new().memory_size(2 << 16);
    runtime.set_limits(small.table_elements(10).instances(2).build());
    let grow = r#"(module (memory 1) (table 1 funcref)
        (func (export "grow") (param i32) (result i32 i32)
        (memory.grow (local.get 0)) (table.grow 0 (ref.null func) (i32.const 10))))"#;
    let grow = compile(&engine, grow);
    let one = runtime.instantiate(&grow, named("one")).unwrap();
    let grown = one.call_typed::<i32, (i32, i32)>("grow", 1).unwrap();
    assert_eq!(grown, (1, -1));
    assert_eq!(
        one.call_typed::<i32, (i32, i32)>("grow", 1).unwrap(),
        (-1, -1)
    );
    let big = compile(&engine, "(module (memory 3))");
    let error = message(runtime.instantiate(&big, InstanceConfig::new()));
    assert!(
        error.contains("196608 asked for, the limit is 131072"),
        "{error}"
    );
    let two = runtime.instantiate(&grow, InstanceConfig::new()).unwrap();
    let error = message(runtime.instantiate(&grow, InstanceConfig::new()));
    assert_eq!(error, "instances of a runtime: 3 asked for, the limit is 2");
    drop(two);
    runtime.instantiate(&grow, InstanceConfig::new()).unwrap();
}

#[test]
fn instantiating_beside_its_own_call_says_to_wait() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let importer = r#"(module (import "m" "nothing" (func)))"#;
    let importer = compile(&engine, importer);
    let f = move |caller: Caller<'_>| {
        let runtime = caller.data().runtime().unwrap();
        let made = runtime.instantiate(&importer, InstanceConfig::new());
        assert_eq!(
            message(made),
            "this thread is already in a call of that store: to call a function there, use what \
             `Instance::within` returns; to instantiate what imports from there, wait until the \
             call is over"
        );
    };
    let env = HostModule::builder("env").func("f", f).func("on", || ());
    env.instantiate(&runtime).unwrap();
    let guest = compile(&engine, CALLS);
    let guest = runtime.instantiate(&guest, named("m")).unwrap();
    guest.call("run", &[]).unwrap();
}

#[test]
fn calling_back_by_a_handle_is_an_error_not_a_deadlock() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let back = |mut caller: Caller<'_>| -> Result<i32, Error> {
        let instance = caller.calling_instance().unwrap();
        let error = message(instance.call("four", &[]));
        assert!(
            error.starts_with("this thread is already in a call of that store"),
            "{error}"
        );
        let guest = instance.within(&caller)?;
        let four = guest.get_typed_func::<(), i32>(&mut caller, "four")?;
        four.call(&mut caller, ())
    };
    HostModule::builder("env")
        .func("back", back)
        .instantiate(&runtime)
        .unwrap();
    let wat = r#"(module (import "env" "back" (func $back (result i32)))
        (func (export "four") (result i32) (i32.const 4))
        (func (export "run") (result i32) (call $back)))"#;
    let guest = compile(&engine, wat);
    let instance = runtime.instantiate(&guest, InstanceConfig::new()).unwrap();
    assert_eq!(instance.call_typed::<(), i32>("run", ()).unwrap(), 4);
}

#[test]
fn start_functions() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let log = Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = Arc::clone(&log);
    HostModule::builder("env")
        .func("note", move |n: i32| notes.lock().unwrap().push(n))
        .func("exit", |code: i32| -> Result<(), Error> {
            Err(Error::Exit(code))
        })
        .instantiate(&runtime)
        .unwrap();
    let wat = r#"(module (import "env" "note" (func $note (param i32)))
        (import "env" "exit" (func $exit (param i32)))
        (func (export "_start") (call $note (i32.const 1)))
        (func (export "two") (call $note (i32.const 2)))
        (func (export "zero") (call $exit (i32.const 0)))
        (func (export "three") (call $exit (i32.const 3)))
        (func (export "trap") unreachable))"#;
    let guest = compile(&engine, wat);
    let start = |names: &[&str]| {
        let config = InstanceConfig::new().with_start_functions(names.iter().copied());
        runtime.instantiate(&guest, config)
    };
    start(&["missing", "two", "_start"]).unwrap();
    assert_eq!(*log.lock().unwrap(), [2, 1]);
    assert_eq!(start(&["zero", "two"]).unwrap().exit_code(), Some(0));
    assert_eq!(
        message(start(&["three", "two"])),
        "module closed with exit_code(3)"
    );
    assert!(message(start(&["trap"])).starts_with("wasm trap: unreachable"));
    assert_eq!(log.lock().unwrap().len(), 2);
    runtime.instantiate(&guest, InstanceConfig::new()).unwrap();
    assert_eq!(*log.lock().unwrap(), [2, 1, 1]);
}

#[test]
fn threads_make_call_and_close_at_once() {
    let engine = Engine::default();
    let (runtime, count) = counting(&engine);
    HostModule::builder("env")
        .func("f", std::thread::yield_now)
        .func("on", || {})
        .instantiate(&runtime)
        .unwrap();
    let guest = compile(&engine, CALLS);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (runtime, guest) = (&runtime, &guest);
            scope.spawn(move || {
                for i in 0..200 {
                    let name = if i % 2 == 0 { "shared" } else { "" };
                    let config = InstanceConfig::new().with_name(name);
                    match runtime.instantiate(guest, config) {
                        Ok(instance) => match instance.call("run", &[]) {
                            Ok(_) => instance.close_with_exit_code(thread),
                            Err(error) => assert!(matches!(error, Error::Closed { .. }), "{error}"),
                        },
                        Err(Error::AlreadyInstantiated { .. }) => {
                            if let Some(instance) = runtime.instance("shared") {
                                instance.close();
                            }
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    runtime.close();
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[test]
fn names_of_any_size_and_content() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    let empty = compile(&engine, "(module)");
    let long = "\u{0}é\n".repeat(100_000);
    runtime.instantiate(&empty, named(&long)).unwrap();
    assert!(runtime.instance(&long).is_some());
    let again = message(runtime.instantiate(&empty, named(&long)));
    assert!(again.ends_with("has already been instantiated"));
}

#[test]
fn a_panic_of_a_host_function_leaves_the_instance_usable() {
    let engine = Engine::default();
    let runtime = runtime(&engine);
    HostModule::builder("env")
        .func("f", || -> () { panic!("on purpose") })
        .func("on", || {})
        .instantiate(&runtime)
        .unwrap();
    let guest = compile(&engine, CALLS);
    let instance = runtime.instantiate(&guest, named("m")).unwrap();
    let call = std::panic::AssertUnwindSafe(|| instance.call("run", &[]).is_ok());
    let panic = std::panic::catch_unwind(call).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    instance.call("nothing", &[]).unwrap();
    instance.close();
    assert_eq!(
        message(instance.call("nothing", &[])),
        "module closed with exit_code(0)"
    );
}

#[test]
fn data_is_of_a_store() {
    let engine = Engine::default();
    let runtime: Runtime<i32> = Runtime::with_data(&engine, || 1);
    HostModule::builder("env")
        .func("get", |caller: Caller<'_, i32>| *caller.data().data())
        .instantiate(&runtime)
        .unwrap();
    let wat = r#"(module (import "env" "get" (func $get (result i32)))
        (func (export "get") (result i32) (call $get)))"#;
    let guest = compile(&engine, wat);
    let get = |config| {
        let instance = runtime.instantiate(&guest, config)?;
        instance.call_typed::<(), i32>("get", ())
    };
    assert_eq!(get(InstanceConfig::new()).unwrap(), 1);
    assert_eq!(get(InstanceConfig::new().with_data(5)).unwrap(), 5);
    let shared = || InstanceConfig::new().with_shared_store();
    let first = runtime.instantiate(&guest, shared().with_data(6)).unwrap();
    assert_eq!(get(shared()).unwrap(), 6);
    let error = message(get(shared().with_data(7)));
    assert!(error.contains("which has data already"), "{error}");
    drop(first);
    assert_eq!(get(shared()).unwrap(), 1);
}
