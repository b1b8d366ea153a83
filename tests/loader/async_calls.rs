//! Calls on stacks of their own: values, host functions that wait, nesting, limits, and how such
//! calls end.

mod ends;
mod stacks;

use precast_artifact::Strategy;
use precast_loader::{
    Caller, Config, Engine, Error, ExternRef, Func, FuncType, Instance, InstancePre, Linker, Store,
    Trap, V128, Val, ValType,
};
use precast_tests::executor::{Pending, block_on, poll_once};
use precast_tests::{module, strategies, trap};

/// A guest whose imports are defined by `define`.
fn linked<T: 'static>(
    config: &Config,
    strategy: Strategy,
    wat: &str,
    define: impl FnOnce(&mut Linker<T>),
) -> InstancePre<T> {
    let engine = Engine::new(config).unwrap();
    let module = module(&engine, wat, strategy);
    let mut linker = Linker::new(&engine);
    define(&mut linker);
    linker.instantiate_pre(&module).unwrap()
}

/// Defines `fresh`, which makes an external reference, and `check`, which expects one.
pub(crate) fn define_references<T: 'static>(linker: &mut Linker<T>) {
    linker
        .func_wrap("h", "fresh", || Some(ExternRef::new(5_u8)))
        .unwrap();
    let check = |value: Option<ExternRef>| -> Result<(), Error> {
        value
            .map(|_| ())
            .ok_or_else(|| Error::host("the reference is gone"))
    };
    linker.func_wrap("h", "check", check).unwrap();
}

fn start<T: Send + 'static>(pre: &InstancePre<T>, data: T) -> (Store<T>, Instance) {
    let mut store = Store::new(pre.module().engine(), data);
    let instance = block_on(pre.instantiate_async(&mut store)).unwrap();
    (store, instance)
}

#[test]
fn values_of_every_type_pass_both_ways_across_a_suspension() {
    let wat = r#"(module
        (type $all (func (param i32 i64 f32 f64 v128 externref funcref)
            (result i32 i64 f32 f64 v128 externref funcref)))
        (import "h" "typed" (func $typed (type $all)))
        (import "h" "dynamic" (func $dynamic (type $all)))
        (export "host" (func $typed))
        (func (export "wasm") (type $all)
            (call $dynamic (call $typed (local.get 0) (local.get 1) (local.get 2) (local.get 3)
                (local.get 4) (local.get 5) (local.get 6)))))"#;
    type All = (i32, i64, f32, f64, V128, Option<ExternRef>, Option<Func>);
    for strategy in strategies() {
        let pre = linked::<()>(&Config::new(), strategy, wat, |linker| {
            linker
                .func_wrap_async("h", "typed", |_, all: All| {
                    Box::new(async move {
                        Pending(2).await;
                        (
                            all.0 + 1,
                            all.1 + 1,
                            all.2 + 1.0,
                            all.3 + 1.0,
                            all.4,
                            all.5,
                            all.6,
                        )
                    })
                })
                .unwrap();
            let types = [
                ValType::I32,
                ValType::I64,
                ValType::F32,
                ValType::F64,
                ValType::V128,
                ValType::EXTERNREF,
                ValType::FUNCREF,
            ];
            let ty = FuncType::new(linker.engine(), types, types);
            linker
                .func_new_async("h", "dynamic", ty, |_, params, results| {
                    Box::new(async move {
                        Pending(1).await;
                        results.clone_from_slice(params);
                        Ok(())
                    })
                })
                .unwrap();
        });
        let (mut store, instance) = start(&pre, ());
        let vector = V128::from(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10_u128);
        let reference = ExternRef::new("kept");
        for name in ["host", "wasm"] {
            let func = instance.get_func(&mut store, name).unwrap();
            let all = (
                7,
                -7_i64,
                0.5_f32,
                0.25_f64,
                vector,
                Some(reference.clone()),
                Some(func),
            );
            let typed = func.typed::<All, All>(&store).unwrap();
            let got = block_on(typed.call_async(&mut store, all)).unwrap();
            assert_eq!((got.0, got.1, got.2, got.3), (8, -6, 1.5, 1.25));
            assert_eq!(got.4.as_u128(), vector.as_u128());
            assert!(got.5.unwrap().ptr_eq(&reference) && got.6.is_some());

            let params = [
                Val::I32(1),
                Val::I64(2),
                Val::F32(0),
                Val::F64(0),
                Val::V128(vector),
                Val::ExternRef(Some(reference.clone())),
                Val::FuncRef(None),
            ];
            let mut results: Vec<_> = params.iter().map(|p| Val::default_for(p.ty())).collect();
            block_on(func.call_async(&mut store, &params, &mut results)).unwrap();
            assert_eq!(results[0].i32(), Some(2));
            let few = &mut results[..1];
            let error = block_on(func.call_async(&mut store, &params, few)).unwrap_err();
            assert!(matches!(error, Error::Count { .. }), "{error}");
        }
    }
}

#[test]
fn values_in_registers_pass_whether_or_not_the_future_is_ready() {
    let many = |ty: &str, n: usize| format!("{ty} ").repeat(n);
    let wat = format!(
        r#"(module
        (import "h" "nothing" (func $nothing))
        (import "h" "floats" (func $floats (param i32 {}) (result f64)))
        (import "h" "sixteen" (func $sixteen (param {}) (result i64)))
        (import "h" "two" (func $two (param i32 f32) (result i32 f32)))
        (import "h" "fresh" (func $fresh (param i32 externref funcref) (result externref)))
        (func (export "floats") (param i32) (result f64) (call $floats (local.get 0) {}))
        (func (export "sixteen") (param i64) (result i64) (call $sixteen (local.get 0) {}))
        (func (export "two") (param i32) (result i32 f32)
            (call $nothing) (call $two (local.get 0) (f32.const 0.5)))
        (func (export "fresh") (param $n i32) (param $times i32) (param externref)
            (result externref)
            (loop $l
                (drop (call $fresh (local.get $n) (local.get 2) (ref.null func)))
                (br_if $l (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
            (local.get 2)))"#,
        many("f64", 9),
        many("i64", 16),
        (1..=9)
            .map(|i| format!("(f64.const {i}) "))
            .collect::<String>(),
        (1..=15)
            .map(|i| format!("(i64.const {i}) "))
            .collect::<String>(),
    );
    type Nine = (i32, f64, f64, f64, f64, f64, f64, f64, f64, f64);
    #[rustfmt::skip]
    type Sixteen =
        (i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64);
    for strategy in strategies() {
        let pre = linked::<()>(&Config::new(), strategy, &wat, |linker| {
            linker
                .func_wrap_async("h", "nothing", |_, (): ()| Box::new(async {}))
                .unwrap()
                .func_wrap_async("h", "floats", |_, (n, a, _, c, _, _, _, g, _, i): Nine| {
                    Box::new(async move {
                        Pending(n.cast_unsigned()).await;
                        a + 10.0 * c + 100.0 * g + 1000.0 * i
                    })
                })
                .unwrap()
                .func_wrap_async("h", "sixteen", |_, all: Sixteen| {
                    Box::new(async move {
                        Pending(all.0 as u32).await;
                        all.1 + 100 * all.8 + 10_000 * all.15
                    })
                })
                .unwrap()
                .func_wrap_async("h", "two", |_, (n, x): (i32, f32)| {
                    Box::new(async move {
                        Pending(n.cast_unsigned()).await;
                        (n + 1, x + 1.0)
                    })
                })
                .unwrap();
            type Refs = (i32, Option<ExternRef>, Option<Func>);
            linker
                .func_wrap_async("h", "fresh", |_, (n, kept, none): Refs| {
                    Box::new(async move {
                        Pending(n.cast_unsigned()).await;
                        match (kept, none) {
                            (Some(_), None) => Ok(Some(ExternRef::new(5_u8))),
                            _ => Err(Error::host("the reference is gone")),
                        }
                    })
                })
                .unwrap();
        });
        let (mut store, instance) = start(&pre, ());
        for waits in [0, 1, 3] {
            let floats = instance
                .get_typed_func::<i32, f64>(&mut store, "floats")
                .unwrap();
            let got = block_on(floats.call_async(&mut store, waits)).unwrap();
            assert_eq!(got, 9731.0);
            let sixteen = instance
                .get_typed_func::<i64, i64>(&mut store, "sixteen")
                .unwrap();
            let got = block_on(sixteen.call_async(&mut store, i64::from(waits))).unwrap();
            assert_eq!(got, 150_801);
            let two = instance
                .get_typed_func::<i32, (i32, f32)>(&mut store, "two")
                .unwrap();
            let got = block_on(two.call_async(&mut store, waits)).unwrap();
            assert_eq!(got, (waits + 1, 1.5));
            // So many references that they are collected meanwhile.
            type Refs = (i32, i32, Option<ExternRef>);
            let fresh = instance
                .get_typed_func::<Refs, Option<ExternRef>>(&mut store, "fresh")
                .unwrap();
            let kept = ExternRef::new("kept");
            let all = (waits, 5000, Some(kept.clone()));
            let got = block_on(fresh.call_async(&mut store, all)).unwrap();
            assert!(got.unwrap().ptr_eq(&kept));
        }
    }
}

#[test]
fn a_start_function_may_wait() {
    let wat = r#"(module
        (import "h" "wait" (func $wait (result i32)))
        (global $g (export "g") (mut i32) (i32.const 0))
        (func $start (global.set $g (call $wait)))
        (start $start))"#;
    for strategy in strategies() {
        let pre = linked::<i32>(&Config::new(), strategy, wat, |linker| {
            linker
                .func_wrap_async("h", "wait", |caller: Caller<'_, i32>, (): ()| {
                    Box::new(async move {
                        Pending(3).await;
                        *caller.data()
                    })
                })
                .unwrap();
        });
        let (mut store, instance) = start(&pre, 5);
        let global = instance.get_global(&mut store, "g").unwrap();
        assert_eq!(global.get(&mut store).i32(), Some(5));
        // The same without the executor, and dropped in the middle.
        let mut other = Store::new(pre.module().engine(), 6);
        {
            let mut future = Box::pin(pre.instantiate_async(&mut other));
            assert!(poll_once(future.as_mut()).is_pending());
        }
        let error = pre.instantiate(&mut other).unwrap_err();
        assert!(matches!(error, Error::NotAsync), "{error}");
    }
}

const NESTED: &str = r#"(module
    (import "h" "wait" (func $wait (param i32) (result i32)))
    (import "h" "deeper" (func $deeper (param i32) (result i32)))
    (import "h" "sync" (func $sync (param i32) (result i32)))
    (func (export "leaf") (param i32) (result i32) (call $wait (local.get 0)))
    (func (export "direct") (param i32) (result i32) (call $deeper (local.get 0)))
    (func (export "through-sync") (param i32) (result i32) (call $sync (local.get 0)))
    (func (export "trap") (param i32) (result i32) (drop (call $wait (local.get 0))) unreachable)
    (export "wait" (func $wait)))"#;

/// `deeper` calls an export by `call_async`, `sync` by `call`; both call `direct` again, and `leaf`
/// at the bottom.
fn nested(strategy: Strategy) -> InstancePre<&'static str> {
    linked(&Config::new(), strategy, NESTED, |linker| {
        linker
            .func_wrap_async("h", "wait", |_, (n,): (i32,)| {
                Box::new(async move {
                    Pending(1).await;
                    n
                })
            })
            .unwrap();
        linker
            .func_wrap_async(
                "h",
                "deeper",
                |mut caller: Caller<'_, &'static str>, (n,): (i32,)| {
                    Box::new(async move {
                        let name = if n == 0 { *caller.data() } else { "direct" };
                        let next = caller.get_export(name).unwrap().into_func().unwrap();
                        let next = next.typed::<i32, i32>(&caller)?;
                        Pending(1).await;
                        let below = next.call_async(&mut caller, n - 1).await?;
                        Pending(1).await;
                        Ok::<_, Error>(below + 1)
                    })
                },
            )
            .unwrap();
        linker
            .func_wrap(
                "h",
                "sync",
                |mut caller: Caller<'_, &'static str>, n: i32| {
                    let name = *caller.data();
                    let next = caller.get_export(name).unwrap().into_func().unwrap();
                    next.typed::<i32, i32>(&caller)?.call(&mut caller, n)
                },
            )
            .unwrap();
    })
}

#[test]
fn asynchronous_calls_nest() {
    for strategy in strategies() {
        let pre = nested(strategy);
        let (mut store, instance) = start(&pre, "leaf");
        let direct = instance
            .get_typed_func::<i32, i32>(&mut store, "direct")
            .unwrap();
        for depth in [0, 1, 7, 60] {
            let got = block_on(direct.call_async(&mut store, depth)).unwrap();
            assert_eq!(got, depth, "-1 from the leaf, and one for each level");
        }
        // A trap at the bottom comes up through all levels.
        *store.data_mut() = "trap";
        let result = block_on(direct.call_async(&mut store, 5));
        assert_eq!(trap(result), Trap::UnreachableCodeReached);
        // Dropping the outermost future ends all levels, wherever they are.
        *store.data_mut() = "leaf";
        for polls in 0..14 {
            let mut future = Box::pin(direct.call_async(&mut store, 5));
            for _ in 0..polls {
                assert!(poll_once(future.as_mut()).is_pending());
            }
        }
        assert_eq!(block_on(direct.call_async(&mut store, 3)).unwrap(), 3);
    }
}

#[test]
fn what_cannot_be_suspended_is_an_error() {
    for strategy in strategies() {
        for (name, bottom) in [("through-sync", "leaf"), ("through-sync", "wait")] {
            let pre = nested(strategy);
            let (mut store, instance) = start(&pre, bottom);
            let func = instance
                .get_typed_func::<i32, i32>(&mut store, name)
                .unwrap();
            for _ in 0..2 {
                let error = block_on(func.call_async(&mut store, 1)).unwrap_err();
                assert!(matches!(error, Error::NotAsync), "{error}");
                let error = func.call(&mut store, 1).unwrap_err();
                assert!(matches!(error, Error::NotAsync), "{error}");
            }
        }
        // Functions of the host that the host calls, and that call wasm code synchronously. Nothing
        // is active when they begin.
        let pre = nested(strategy);
        let (mut store, instance) = start(&pre, "leaf");
        let leaf = instance
            .get_typed_func::<i32, i32>(&mut store, "leaf")
            .unwrap();
        let wait = instance
            .get_typed_func::<i32, i32>(&mut store, "wait")
            .unwrap();
        for inner in [leaf, wait] {
            let sync = Func::wrap(
                &mut store,
                move |mut caller: Caller<'_, &'static str>, n: i32| inner.call(&mut caller, n),
            );
            let future = Func::wrap_async(
                &mut store,
                move |mut caller: Caller<'_, &'static str>, (n,): (i32,)| {
                    Box::new(async move {
                        Pending(1).await;
                        let result = inner.call(&mut caller, n);
                        Pending(1).await;
                        assert_eq!(inner.call_async(&mut caller, n).await.unwrap(), n);
                        result
                    })
                },
            );
            for outer in [sync, future] {
                let outer = outer.typed::<i32, i32>(&store).unwrap();
                for _ in 0..2 {
                    let error = block_on(outer.call_async(&mut store, 1)).unwrap_err();
                    assert!(matches!(error, Error::NotAsync), "{error}");
                }
            }
        }
        // A function of the host that waits, called by the host.
        let pre = nested(strategy);
        let (mut store, instance) = start(&pre, "leaf");
        let wait = instance
            .get_typed_func::<i32, i32>(&mut store, "wait")
            .unwrap();
        assert!(matches!(wait.call(&mut store, 1), Err(Error::NotAsync)));
        assert_eq!(block_on(wait.call_async(&mut store, 1)).unwrap(), 1);
        let leaf = instance
            .get_typed_func::<i32, i32>(&mut store, "leaf")
            .unwrap();
        assert!(matches!(leaf.call(&mut store, 1), Err(Error::NotAsync)));
        assert_eq!(block_on(leaf.call_async(&mut store, 9)).unwrap(), 9);
    }
}

/// Host functions that block: one waits for another guest's call, one for a call of its own caller.
#[test]
fn a_host_function_may_block_inside_of_an_asynchronous_call() {
    let wat = r#"(module
        (import "h" "block" (func $block (param i32) (result i32)))
        (import "h" "wait" (func $wait (param i32) (result i32)))
        (func (export "leaf") (param i32) (result i32) (call $wait (local.get 0)))
        (func (export "run") (param i32) (result i32)
            (i32.add (call $block (local.get 0)) (call $wait (i32.const 1)))))"#;
    for strategy in strategies() {
        let pre = linked::<()>(&Config::new(), strategy, wat, |linker| {
            linker
                .func_wrap_async("h", "wait", |_, (n,): (i32,)| {
                    Box::new(async move {
                        Pending(2).await;
                        n
                    })
                })
                .unwrap();
            linker
                .func_wrap("h", "block", |mut caller: Caller<'_, ()>, n: i32| {
                    let leaf = caller.get_export("leaf").unwrap().into_func().unwrap();
                    let leaf = leaf.typed::<i32, i32>(&caller)?;
                    block_on(leaf.call_async(&mut caller, n))
                })
                .unwrap();
        });
        let (mut store, instance) = start(&pre, ());
        let run = instance
            .get_typed_func::<i32, i32>(&mut store, "run")
            .unwrap();
        for n in 0..3 {
            assert_eq!(block_on(run.call_async(&mut store, n)).unwrap(), n + 1);
        }
        // In a synchronous call, the inner call has a stack of its own, and the outer one waits.
        assert!(matches!(run.call(&mut store, 1), Err(Error::NotAsync)));
    }
}

#[test]
fn a_panic_and_an_error_of_a_host_future_reach_the_poller() {
    let wat = r#"(module
        (import "h" "fail" (func $fail (param i32)))
        (func $inner (param i32) (call $fail (local.get 0)))
        (func (export "run") (param i32) (call $inner (local.get 0))))"#;
    for strategy in strategies() {
        let pre = linked::<()>(&Config::new(), strategy, wat, |linker| {
            linker
                .func_wrap_async("h", "fail", |_, (how,): (i32,)| {
                    Box::new(async move {
                        Pending(1).await;
                        match how {
                            0 => Ok(()),
                            1 => Err(Error::host("no tickets")),
                            2 => Err(Error::Exit(3)),
                            3 => Err(Trap::OutOfFuel.into()),
                            _ => panic!("in a future"),
                        }
                    })
                })
                .unwrap();
        });
        let (mut store, instance) = start(&pre, ());
        let run = instance
            .get_typed_func::<i32, ()>(&mut store, "run")
            .unwrap();
        block_on(run.call_async(&mut store, 0)).unwrap();
        let error = block_on(run.call_async(&mut store, 1)).unwrap_err();
        assert_eq!(error.to_string(), "no tickets");
        let frames = error.backtrace().unwrap().frames();
        let names: Vec<_> = frames
            .iter()
            .filter_map(|frame| frame.func_name())
            .collect();
        assert_eq!(names, ["inner", "run"]);
        let error = block_on(run.call_async(&mut store, 2)).unwrap_err();
        assert!(matches!(error, Error::Exit(3)));
        assert_eq!(
            trap(block_on(run.call_async(&mut store, 3))),
            Trap::OutOfFuel
        );
        let call = std::panic::AssertUnwindSafe(|| block_on(run.call_async(&mut store, 4)));
        let panic = std::panic::catch_unwind(call).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"in a future"));
        block_on(run.call_async(&mut store, 0)).unwrap();
    }
}

#[test]
fn exceptions_pass_through_asynchronous_host_functions() {
    let wat = r#"(module
        (import "h" "call" (func $call (param i32) (result i32)))
        (tag $t (param i32))
        (func (export "throw") (param i32) (result i32) (throw $t (local.get 0)))
        (func (export "catch") (param i32) (result i32)
            (block $caught (result i32)
                (try_table (result i32) (catch $t $caught) (call $call (local.get 0))))))"#;
    for strategy in strategies() {
        let pre = linked::<()>(&Config::new(), strategy, wat, |linker| {
            linker
                .func_wrap_async("h", "call", |mut caller: Caller<'_, ()>, (n,): (i32,)| {
                    Box::new(async move {
                        let throw = caller.get_export("throw").unwrap().into_func().unwrap();
                        let throw = throw.typed::<i32, i32>(&caller)?;
                        Pending(1).await;
                        let result = throw.call_async(&mut caller, n).await;
                        Pending(1).await;
                        result
                    })
                })
                .unwrap();
        });
        let (mut store, instance) = start(&pre, ());
        let catch = instance
            .get_typed_func::<i32, i32>(&mut store, "catch")
            .unwrap();
        assert_eq!(block_on(catch.call_async(&mut store, 41)).unwrap(), 41);
        let throw = instance
            .get_typed_func::<i32, i32>(&mut store, "throw")
            .unwrap();
        let error = block_on(throw.call_async(&mut store, 1)).unwrap_err();
        assert!(error.exception().is_some());
    }
}

/// References that only a suspended frame holds are kept while other code of the store makes many.
#[test]
fn references_in_frames_of_other_stacks_are_kept() {
    let wat = r#"(module
        (import "h" "fresh" (func $fresh (result externref)))
        (import "h" "call" (func $call))
        (import "h" "check" (func $check (param externref)))
        (func (export "many") (local $i i32)
            (loop $l (drop (call $fresh))
                (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                    (i32.const 5000)))))
        (func (export "run") (local externref)
            (local.set 0 (call $fresh)) (call $call) (call $check (local.get 0))))"#;
    for strategy in strategies() {
        let pre = linked::<()>(&Config::new(), strategy, wat, |linker| {
            define_references(linker);
            linker
                .func_wrap_async("h", "call", |mut caller: Caller<'_, ()>, (): ()| {
                    Box::new(async move {
                        let many = caller.get_export("many").unwrap().into_func().unwrap();
                        let many = many.typed::<(), ()>(&caller)?;
                        many.call(&mut caller, ())?;
                        Pending(1).await;
                        many.call_async(&mut caller, ()).await
                    })
                })
                .unwrap();
        });
        let (mut store, instance) = start(&pre, ());
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        for _ in 0..3 {
            block_on(run.call_async(&mut store, ())).unwrap();
        }
    }
}

/// Modules that a linker defines whole wait for host functions: a library while it is initialised,
/// and each call of a command in an instance of its own.
#[test]
fn modules_that_wait_are_defined_by_a_linker() {
    let wait = r#"(import "h" "wait" (func $wait (param i32) (result i32)))"#;
    let library = format!(
        r#"(module {wait} (global $made (mut i32) (i32.const 0))
            (func (export "_initialize") (global.set $made (call $wait (i32.const 20))))
            (func (export "made") (result i32) (global.get $made)))"#
    );
    let command = format!(
        r#"(module {wait} (memory (export "memory") 1) (global $calls (mut i32) (i32.const 0))
            (func (export "_start"))
            (func (export "run") (param i32) (result i32)
                (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                (i32.mul (call $wait (local.get 0)) (global.get $calls))))"#
    );
    let program = r#"(module
        (import "library" "made" (func $made (result i32)))
        (import "command" "run" (func $run (param i32) (result i32)))
        (func (export "f") (result i32)
            (i32.add (call $run (call $made)) (call $run (i32.const 1000)))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = |wat: &str| module(&engine, wat, strategy);
        let mut linker: Linker<()> = Linker::new(&engine);
        linker
            .func_wrap_async("h", "wait", |_, (value,): (i32,)| {
                Box::new(async move {
                    Pending(2).await;
                    value + 1
                })
            })
            .unwrap();
        let mut store = Store::new(&engine, ());
        for (name, wat) in [("library", &library), ("command", &command)] {
            let module = module(wat);
            let mut defined = Box::pin(linker.module_async(&mut store, name, &module));
            let is_pending = poll_once(defined.as_mut()).is_pending();
            assert_eq!(is_pending, name == "library");
            if is_pending {
                block_on(defined).unwrap();
            }
        }
        let instance = linker.instantiate(&mut store, &module(program)).unwrap();
        let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
        let mut call = Box::pin(f.call_async(&mut store, ()));
        assert!(poll_once(call.as_mut()).is_pending());
        assert_eq!(block_on(call).unwrap(), 22 + 1001);
        let again = block_on(f.call_async(&mut store, ())).unwrap();
        assert_eq!(again, 22 + 1001, "each call has an instance of its own");
        assert!(matches!(f.call(&mut store, ()), Err(Error::NotAsync)));
        // The same name again, and a call that is dropped while it waits.
        let error = block_on(linker.module_async(&mut store, "command", &module(&command)));
        assert!(matches!(error.err(), Some(Error::Duplicate { .. })));
        let mut call = Box::pin(f.call_async(&mut store, ()));
        assert!(poll_once(call.as_mut()).is_pending());
        drop(call);
        assert_eq!(block_on(f.call_async(&mut store, ())).unwrap(), 22 + 1001);
    }
}
