//! A closed instance keeps its promises until its store is gone, and is not entered any more.

use precast_artifact::Strategy;
use precast_loader::runtime::{Caller, HostModule, Instance, InstanceConfig, Runtime};
use precast_loader::{Engine, Error, Val};
use precast_tests::{module, strategies};

fn named(name: &str) -> InstanceConfig {
    InstanceConfig::new().with_name(name)
}

fn message<V: std::fmt::Debug>(result: Result<V, Error>) -> String {
    result.unwrap_err().to_string()
}

/// Calls what is in its table, in every way, and goes on to work afterwards.
const CALLER: &str = r#"(module
    (type $f (func (param i32) (result i32)))
    (type $many (func (param i32 i64 f32 f64 i32 i32 i32 i32 i32 i64 i64 f64) (result i64)))
    (table (export "t") 4 funcref)
    (func (export "go") (param i32) (result i32)
        (call_indirect (type $f) (local.get 0) (i32.const 0)))
    (func (export "tail") (param i32) (result i32)
        (return_call_indirect (type $f) (local.get 0) (i32.const 0)))
    (func (export "loop") (param i32) (result i32) (local $n i32)
        (loop $l
            (drop (call_indirect (type $f) (local.get 0) (i32.const 0)))
            (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 9))))
        (local.get $n))
    (func (export "many") (param i32) (result i32)
        (i32.wrap_i64 (call_indirect (type $many) (local.get 0) (i64.const 1) (f32.const 2) (f64.const 3)
            (i32.const 4) (i32.const 5) (i32.const 6) (i32.const 7) (i32.const 8) (i64.const 9)
            (i64.const 10) (f64.const 11) (i32.const 1))))
    (func (export "passed-on") (param i32) (result i32)
        (table.set (i32.const 2) (table.get (i32.const 0)))
        (call_indirect (type $f) (local.get 0) (i32.const 2)))
    (func (export "fine") (result i32) (i32.const 7)))"#;

const WAYS: [&str; 5] = ["go", "tail", "loop", "many", "passed-on"];

/// Puts its functions into the caller's table. Their memory cannot grow.
const CALLEE: &str = r#"(module
    (import "a" "t" (table 4 funcref))
    (import "h" "close" (func $close (param i32)))
    (memory (export "m") 1 1)
    (elem (i32.const 0) $f $many)
    (func $f (export "f") (param i32) (result i32)
        (if (i32.eq (local.get 0) (i32.const 1))
            (then (memory.fill (i32.const 0) (i32.const 1) (i32.const 64))))
        (if (i32.eq (local.get 0) (i32.const 2)) (then (call $close (i32.const 5))))
        (i32.load (i32.const 0)))
    (func $many (param i32 i64 f32 f64 i32 i32 i32 i32 i32 i64 i64 f64) (result i64)
        (i64.load (i32.const 8))))"#;

struct Two {
    runtime: Runtime,
    caller: Instance,
    callee: Instance,
}

/// The caller and the callee in one store of a runtime.
fn two(strategies: (Strategy, Strategy)) -> Two {
    let engine = Engine::default();
    let runtime: Runtime = Runtime::new(&engine);
    HostModule::builder("h")
        .func("close", |caller: Caller<'_>, code: i32| {
            let runtime = caller.data().runtime().unwrap();
            let callee = runtime.instance("b").unwrap();
            callee.close_with_exit_code(code.cast_unsigned());
        })
        .instantiate(&runtime)
        .unwrap();
    let caller = module(&engine, CALLER, strategies.0);
    let callee = module(&engine, CALLEE, strategies.1);
    let caller = runtime.instantiate(&caller, named("a")).unwrap();
    let callee = runtime.instantiate(&callee, named("b")).unwrap();
    Two {
        runtime,
        caller,
        callee,
    }
}

fn pairs() -> impl Iterator<Item = (Strategy, Strategy)> {
    let both = strategies();
    both.into_iter().flat_map(move |a| both.map(|b| (a, b)))
}

#[test]
fn code_of_a_closed_instance_is_not_entered() {
    for pair in pairs() {
        let Two {
            runtime,
            caller,
            callee,
        } = two(pair);
        for way in WAYS {
            for what in [0, 1] {
                caller.call(way, &[Val::I32(what)]).unwrap();
            }
        }
        // What the host holds of it.
        let (func, typed) = callee
            .with(|mut store, instance| {
                let func = instance.get_func(&mut store, "f").unwrap();
                Ok((func, func.typed::<i32, i32>(&store)?))
            })
            .unwrap();
        callee.close_with_exit_code(9);
        let closed = "module closed with exit_code(9)";
        for way in WAYS {
            for what in [0, 1, 2] {
                let result = caller.call(way, &[Val::I32(what)]);
                assert_eq!(message(result), closed, "{way} {what}");
                assert_eq!(caller.exit_code(), None);
                assert_eq!(caller.call_typed::<(), i32>("fine", ()).unwrap(), 7);
            }
        }
        caller
            .with(|mut store, _| {
                let mut results = [Val::I32(0)];
                let called = func.call(&mut store, &[Val::I32(1)], &mut results);
                assert_eq!(message(called), closed);
                assert_eq!(message(typed.call(&mut store, 1)), closed);
                Ok(())
            })
            .unwrap();
        assert!(runtime.instance("b").is_none());
    }
}
