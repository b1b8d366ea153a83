//! Host functions: results, errors, panics, re-entrance.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use precast_artifact::Strategy;
use precast_loader::{
    AsContextMut, Caller, Engine, Error, Extern, FuncType, Instance, Linker, Store, Trap, V128,
    Val, ValType,
};
use precast_tests::{Guest, strategies};

fn instantiate<T>(
    strategy: Strategy,
    data: T,
    wat: &str,
    define: impl FnOnce(&mut Linker<T>),
) -> (Store<T>, Instance) {
    let guest = Guest::linked(wat, strategy, data, define);
    (guest.store, guest.instance)
}

#[test]
fn any_mix_of_types() {
    let wat = r#"(module
        (import "h" "all" (func $all (param i32 i64 f32 f64 i32) (result f64)))
        (import "h" "two" (func $two (param i32) (result i32 i64)))
        (import "h" "vector" (func $vector (param v128) (result v128)))
        (import "h" "dynamic" (func $dynamic (param i32 f64) (result f64 i32)))
        (import "h" "nine" (func $nine (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (func (export "all") (result f64)
            (call $all (i32.const -1) (i64.const 20) (f32.const 0.5) (f64.const 4) (i32.const 100)))
        (func (export "both") (result i32 i64) (call $two (i32.const 4)))
        (func (export "vector") (result v128) (call $vector (v128.const i64x2 1 2)))
        (func (export "dynamic") (result f64 i32) (call $dynamic (i32.const 3) (f64.const 1.5)))
        (func (export "nine") (result i32) (call $nine (i32.const 1) (i32.const 2) (i32.const 3)
            (i32.const 4) (i32.const 5) (i32.const 6) (i32.const 7) (i32.const 8) (i32.const 9))))"#;
    for strategy in strategies() {
        let (mut store, instance) = instantiate(strategy, (), wat, |linker| {
            linker
                .func_wrap("h", "all", |a: i32, b: i64, c: f32, d: f64, e: u32| {
                    f64::from(a) + b as f64 + f64::from(c) + d + f64::from(e)
                })
                .unwrap()
                .func_wrap("h", "two", |x: i32| (x + 1, i64::from(x) * 10))
                .unwrap()
                .func_wrap("h", "vector", |v: V128| V128::from(v.as_u128() + 1))
                .unwrap()
                .func_wrap(
                    "h",
                    "nine",
                    |a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32, h: i32, i: i32| {
                        [a, b, c, d, e, f, g, h, i]
                            .iter()
                            .fold(0, |n, digit| n * 10 + digit)
                    },
                )
                .unwrap();
            let ty = FuncType::new(
                &Engine::default(),
                [ValType::I32, ValType::F64],
                [ValType::F64, ValType::I32],
            );
            linker
                .func_new("h", "dynamic", ty, |_, params, results| {
                    results[0] = params[1].clone();
                    results[1] = params[0].clone();
                    Ok(())
                })
                .unwrap();
        });
        let store = &mut store;
        let all = instance
            .get_typed_func::<(), f64>(&mut *store, "all")
            .unwrap();
        assert_eq!(all.call(&mut *store, ()).unwrap(), 123.5);
        let both = instance
            .get_typed_func::<(), (i32, i64)>(&mut *store, "both")
            .unwrap();
        assert_eq!(both.call(&mut *store, ()).unwrap(), (5, 40));
        let vector = instance
            .get_typed_func::<(), V128>(&mut *store, "vector")
            .unwrap();
        assert_eq!(
            vector.call(&mut *store, ()).unwrap().as_u128(),
            (2 << 64) + 2
        );
        let dynamic = instance
            .get_typed_func::<(), (f64, i32)>(&mut *store, "dynamic")
            .unwrap();
        assert_eq!(dynamic.call(&mut *store, ()).unwrap(), (1.5, 3));
        let nine = instance
            .get_typed_func::<(), i32>(&mut *store, "nine")
            .unwrap();
        assert_eq!(nine.call(&mut *store, ()).unwrap(), 123_456_789);
    }
}

const CALLS_HOST: &str = r#"(module
    (import "h" "f" (func $f (result i32)))
    (memory (export "memory") 1)
    (func $inner (result i32) (i32.add (call $f) (i32.const 1)))
    (func $outer (export "run") (result i32) (i32.add (call $inner) (i32.const 1)))
    (func (export "fine") (result i32) (i32.const 7)))"#;

/// Counts its drops, to show that the values of a host function are dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn errors_cross_wasm() {
    for strategy in strategies() {
        let drops = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&drops);
        let (mut store, instance) = instantiate(strategy, (), CALLS_HOST, |linker| {
            linker
                .func_wrap("h", "f", move || -> Result<i32, Error> {
                    let _owned = Counted(Arc::clone(&counter));
                    Err(Error::host(std::io::Error::other("no such luck")))
                })
                .unwrap();
        });
        let run = instance
            .get_typed_func::<(), i32>(&mut store, "run")
            .unwrap();
        for _ in 0..3 {
            let error = run.call(&mut store, ()).unwrap_err();
            assert_eq!(error.to_string(), "no such luck");
            assert!(error.downcast_ref::<std::io::Error>().is_some());
            let names: Vec<_> = error
                .backtrace()
                .unwrap()
                .frames()
                .iter()
                .map(|f| f.func_name().unwrap())
                .collect();
            assert_eq!(names, ["inner", "outer"]);
        }
        assert_eq!(drops.load(Ordering::Relaxed), 3);
        let fine = instance
            .get_typed_func::<(), i32>(&mut store, "fine")
            .unwrap();
        assert_eq!(fine.call(&mut store, ()).unwrap(), 7);
    }
}

#[test]
fn exits_and_traps_of_the_host() {
    for strategy in strategies() {
        let (mut store, instance) = instantiate(strategy, false, CALLS_HOST, |linker| {
            linker
                .func_wrap("h", "f", |caller: Caller<'_, bool>| -> Result<i32, Error> {
                    if *caller.data() {
                        Err(Error::Exit(42))
                    } else {
                        Err(Trap::NullReference.into())
                    }
                })
                .unwrap();
        });
        let run = instance
            .get_typed_func::<(), i32>(&mut store, "run")
            .unwrap();
        let error = run.call(&mut store, ()).unwrap_err();
        assert_eq!(error.trap().unwrap(), Trap::NullReference);
        assert_eq!(error.backtrace().unwrap().frames().len(), 2);
        *store.data_mut() = true;
        assert!(matches!(run.call(&mut store, ()), Err(Error::Exit(42))));
    }
}

#[test]
fn panics_go_around_wasm() {
    for strategy in strategies() {
        let drops = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&drops);
        let (mut store, instance) = instantiate(strategy, (), CALLS_HOST, |linker| {
            linker
                .func_wrap("h", "f", move || -> i32 {
                    let _owned = Counted(Arc::clone(&counter));
                    std::panic::panic_any("on purpose")
                })
                .unwrap();
        });
        let run = instance
            .get_typed_func::<(), i32>(&mut store, "run")
            .unwrap();
        for _ in 0..3 {
            let call = AssertUnwindSafe(|| run.call(&mut store, ()));
            let panic = catch_unwind(call).unwrap_err();
            assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "on purpose");
        }
        assert_eq!(drops.load(Ordering::Relaxed), 3);
        let fine = instance
            .get_typed_func::<(), i32>(&mut store, "fine")
            .unwrap();
        assert_eq!(fine.call(&mut store, ()).unwrap(), 7);
    }
}

#[test]
fn the_caller_and_its_memory() {
    for strategy in strategies() {
        let (mut store, instance) = instantiate(strategy, 5_i32, CALLS_HOST, |linker| {
            linker
                .func_wrap("h", "f", |mut caller: Caller<'_, i32>| -> i32 {
                    let memory = caller
                        .get_export("memory")
                        .and_then(Extern::into_memory)
                        .unwrap();
                    let (bytes, data) = memory.data_and_store_mut(&mut caller);
                    bytes[10] += 1;
                    *data += 1;
                    assert!(caller.get_export("absent").is_none());
                    *caller.data()
                })
                .unwrap();
        });
        let run = instance
            .get_typed_func::<(), i32>(&mut store, "run")
            .unwrap();
        assert_eq!(run.call(&mut store, ()).unwrap(), 8);
        assert_eq!(run.call(&mut store, ()).unwrap(), 9);
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        assert_eq!(memory.data(&store)[10], 2);
        assert_eq!(store.into_data(), 7);
    }
}

#[test]
fn wasm_to_host_to_wasm() {
    let wat = r#"(module
        (import "h" "down" (func $down (param i32) (result i32)))
        (func $sum (export "sum") (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0))
                (then (unreachable))
                (else (i32.add (local.get 0) (call $down (i32.sub (local.get 0) (i32.const 1))))))))"#;
    for strategy in strategies() {
        let (mut store, instance) = instantiate(strategy, 0_u32, wat, |linker| {
            linker
                .func_wrap("h", "down", |mut caller: Caller<'_, u32>, n: i32| {
                    *caller.data_mut() += 1;
                    let sum = caller
                        .get_export("sum")
                        .and_then(Extern::into_func)
                        .unwrap();
                    let sum = sum.typed::<i32, i32>(&caller)?;
                    match sum.call(caller.as_context_mut(), n) {
                        // The trap of the innermost activation ends here.
                        Err(error) if error.trap().is_some() => Ok(1000),
                        result => result,
                    }
                })
                .unwrap();
        });
        let sum = instance
            .get_typed_func::<i32, i32>(&mut store, "sum")
            .unwrap();
        assert_eq!(sum.call(&mut store, 10).unwrap(), 1055);
        assert_eq!(*store.data(), 10);
        assert_eq!(sum.call(&mut store, 3).unwrap(), 1006);
    }
}

#[test]
fn a_wrong_dynamic_result_is_an_error() {
    for strategy in strategies() {
        let (mut store, instance) = instantiate(strategy, (), CALLS_HOST, |linker| {
            let ty = FuncType::new(&Engine::default(), [], [ValType::I32]);
            linker
                .func_new("h", "f", ty, |_, _, results| {
                    results[0] = Val::F64(0);
                    Ok(())
                })
                .unwrap();
        });
        let run = instance
            .get_typed_func::<(), i32>(&mut store, "run")
            .unwrap();
        let error = run.call(&mut store, ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "result of a host function: found f64, expected i32"
        );
    }
}

/// An instance that exports a host function again lends its memory to nobody: the function works on
/// the memory of the instance that imports the export and calls it.
#[test]
fn host_functions_that_are_passed_on_work_for_their_caller() {
    const LIBRARY: &str = r#"(module
        (import "h" "typed" (func $typed (param i32)))
        (import "h" "untyped" (func $untyped (param i32)))
        (memory (export "memory") 1)
        (export "typed" (func $typed)) (export "untyped" (func $untyped)))"#;
    const PLUGIN: &str = r#"(module
        (import "library" "typed" (func $typed (param i32)))
        (import "library" "untyped" (func $untyped (param i32)))
        (memory (export "memory") 1)
        (export "typed" (func $typed)) (export "untyped" (func $untyped))
        (table 2 funcref) (elem (i32.const 0) $typed $untyped)
        (func (export "call") (param i32)
            (call $typed (local.get 0))
            (call $untyped (i32.add (local.get 0) (i32.const 1))))
        (func (export "call through a table") (param i32)
            (call_indirect (param i32) (local.get 0) (i32.const 0))
            (call_indirect (param i32) (i32.add (local.get 0) (i32.const 1)) (i32.const 1))))"#;
    fn mark(caller: &mut Caller<'_, ()>, at: usize) -> Result<(), Error> {
        let memory = caller.get_export("memory").and_then(Extern::into_memory);
        memory.unwrap().write(&mut *caller, at, b"x")
    }
    for strategy in strategies() {
        let engine = Engine::default();
        let mut linker: Linker<()> = Linker::new(&engine);
        let typed = |mut caller: Caller<'_, ()>, at: u32| mark(&mut caller, at as usize);
        linker.func_wrap("h", "typed", typed).unwrap();
        let ty = FuncType::new(&engine, [ValType::I32], []);
        let untyped = |mut caller: Caller<'_, ()>, params: &[Val], _: &mut [Val]| {
            mark(&mut caller, params[0].unwrap_i32() as usize)
        };
        linker.func_new("h", "untyped", ty, untyped).unwrap();
        let mut store = Store::new(&engine, ());
        let module = |wat| precast_tests::module(&engine, wat, strategy);
        let library = linker.instantiate(&mut store, &module(LIBRARY)).unwrap();
        linker.instance(&mut store, "library", library).unwrap();
        let plugin = linker.instantiate(&mut store, &module(PLUGIN)).unwrap();
        // A chain of two.
        let mut chain: Linker<()> = Linker::new(&engine);
        chain.instance(&mut store, "library", plugin).unwrap();
        let last = chain.instantiate(&mut store, &module(PLUGIN)).unwrap();
        let mut at = 0;
        for caller in [plugin, last] {
            for name in ["call", "call through a table"] {
                let call = caller.get_typed_func::<u32, ()>(&mut store, name);
                call.unwrap().call(&mut store, at).unwrap();
                for instance in [library, plugin, last] {
                    let memory = instance.get_memory(&mut store, "memory").unwrap();
                    let found = &memory.data(&store)[at as usize..][..2];
                    let expected: &[u8] = if instance == caller { b"xx" } else { &[0, 0] };
                    assert_eq!(found, expected, "{strategy:?} {name} {at}");
                }
                at += 2;
            }
        }
        // The host calls exports of the plug-in.
        for name in ["typed", "untyped"] {
            let func = plugin.get_typed_func::<u32, ()>(&mut store, name);
            func.unwrap().call(&mut store, 100).unwrap();
        }
        let memory = plugin.get_memory(&mut store, "memory").unwrap();
        assert_eq!(memory.data(&store)[100], b'x');
    }
}
