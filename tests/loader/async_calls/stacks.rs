//! Stacks of suspendable calls: how many there are, where they end, and what they may use.

use precast_artifact::Strategy;
use precast_loader::{
    Caller, Config, Error, Extern, StoreLimitsBuilder, Trap, TypedFunc, WasmBacktrace,
};
use precast_tests::executor::{Pending, block_on, poll_once};
use precast_tests::{strategies, trap};

use super::{linked, start};

/// However many stacks are kept, each call has one, and the stack of an earlier call has nothing to
/// do with its results.
#[test]
fn any_number_of_stacks_can_be_kept() {
    let wat = r#"(module (import "h" "wait" (func $wait (param i32) (result i32)))
        (func (export "f") (param i32) (result i32)
            (i32.add (call $wait (local.get 0)) (call $wait (i32.const 1)))))"#;
    for kept in [0, 1] {
        let config = Config::new().async_stacks_kept(kept).clone();
        let pre = linked::<()>(&config, Strategy::Guarded, wat, |linker| {
            linker
                .func_wrap_async("h", "wait", |_, (n,): (i32,)| {
                    Box::new(async move {
                        Pending(1).await;
                        10 * n
                    })
                })
                .unwrap();
        });
        for n in 0..5 {
            let (mut first, a) = start(&pre, ());
            let (mut second, b) = start(&pre, ());
            let f = a.get_typed_func::<i32, i32>(&mut first, "f").unwrap();
            let g = b.get_typed_func::<i32, i32>(&mut second, "f").unwrap();
            let mut waits = Box::pin(f.call_async(&mut first, n));
            assert!(poll_once(waits.as_mut()).is_pending());
            assert_eq!(
                block_on(g.call_async(&mut second, n + 1)).unwrap(),
                10 * n + 20
            );
            assert_eq!(block_on(waits).unwrap(), 10 * n + 10);
        }
    }
}

#[test]
fn the_end_of_the_stack_is_a_trap() {
    let wat = r#"(module
        (import "h" "wait" (func $wait (param i32) (result i32)))
        (import "h" "again" (func $again (param i32) (result i32)))
        (func $plain (export "plain") (param i32) (result i32)
            (i32.add (i32.const 1) (call $plain (local.get 0))))
        (func (export "after-a-wait") (param i32) (result i32)
            (call $plain (call $wait (local.get 0))))
        (func $down (export "down") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
                (else (call $wait (i32.const 0)))))
        (func (export "again") (param i32) (result i32)
            (i32.add (i32.const 1) (call $again (local.get 0)))))"#;
    for (bytes, max) in [(0, 1 << 20), (2 << 20, 1 << 20), (8 << 20, 64 << 20)] {
        let mut config = Config::new();
        config.async_stack_size(bytes).max_wasm_stack(max);
        for strategy in strategies() {
            let pre = linked::<u32>(&config, strategy, wat, |linker| {
                linker
                    .func_wrap_async("h", "wait", |_, (n,): (i32,)| {
                        Box::new(async move {
                            // A host function uses stack, too.
                            let big = std::hint::black_box([n; 4 << 10]);
                            Pending(1).await;
                            big[77]
                        })
                    })
                    .unwrap();
                linker
                    .func_wrap("h", "again", |mut caller: Caller<'_, u32>, n: i32| {
                        *caller.data_mut() += 1;
                        let again = caller.get_export("again").unwrap().into_func().unwrap();
                        again.typed::<i32, i32>(&caller)?.call(&mut caller, n)
                    })
                    .unwrap();
            });
            let (mut store, instance) = start(&pre, 0);
            for name in ["plain", "after-a-wait", "again"] {
                let func = instance
                    .get_typed_func::<i32, i32>(&mut store, name)
                    .unwrap();
                for _ in 0..2 {
                    let result = block_on(func.call_async(&mut store, 1));
                    assert_eq!(trap(result), Trap::StackOverflow, "{name}");
                }
            }
            assert!(*store.data() > 4, "{}", store.data());
            // At every depth that there is room for, a host function has its room, too.
            let down = instance
                .get_typed_func::<i32, i32>(&mut store, "down")
                .unwrap();
            let mut depth = 1;
            loop {
                match block_on(down.call_async(&mut store, depth)) {
                    Ok(got) => assert_eq!(got, depth),
                    result => break assert_eq!(trap(result), Trap::StackOverflow),
                }
                depth += depth / 16 + 1;
            }
            assert!(depth > 100, "{depth}");
        }
    }
}

#[test]
fn more_stack_than_there_is_address_space_is_an_error() {
    let mut config = Config::new();
    config.async_stack_size(usize::MAX);
    let pre = linked::<()>(
        &config,
        Strategy::Checked,
        r#"(module (func (export "f")))"#,
        |_| {},
    );
    let (mut store, instance) = start(&pre, ());
    let func = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    for _ in 0..2 {
        let error = block_on(func.call_async(&mut store, ())).unwrap_err();
        assert!(matches!(error, Error::Memory { .. }), "{error}");
    }
    func.call(&mut store, ()).unwrap();
}

#[test]
fn limits_hold_while_calls_are_suspended() {
    let wat = r#"(module
        (import "h" "wait" (func $wait))
        (memory (export "memory") 1)
        (func (export "grow") (param i32) (result i32)
            (call $wait) (memory.grow (local.get 0))))"#;
    for strategy in strategies() {
        let pre = linked::<()>(&Config::new(), strategy, wat, |linker| {
            linker
                .func_wrap_async("h", "wait", |_, (): ()| Box::new(Pending(2)))
                .unwrap();
        });
        let (mut store, instance) = start(&pre, ());
        store.set_limits(StoreLimitsBuilder::new().memory_size(3 << 16).build());
        let grow = instance
            .get_typed_func::<i32, i32>(&mut store, "grow")
            .unwrap();
        for (delta, expected) in [(1, 1), (5, -1), (1, 2), (1, -1)] {
            assert_eq!(
                block_on(grow.call_async(&mut store, delta)).unwrap(),
                expected
            );
        }
        // What was dropped in the middle has not grown.
        let mut future = Box::pin(grow.call_async(&mut store, 0));
        assert!(poll_once(future.as_mut()).is_pending());
        drop(future);
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        assert_eq!(memory.size(&store), 3);
    }
}

/// Calls are active on several stacks: the host's own, and those of calls that can be suspended.
#[test]
fn a_backtrace_has_the_frames_of_all_stacks() {
    type Traces = Vec<Vec<(String, bool)>>;
    fn frames(trace: &WasmBacktrace) -> Vec<(String, bool)> {
        let frames = trace.frames().iter();
        frames
            .map(|frame| {
                let name = frame.func_name().unwrap();
                (name.to_owned(), frame.is_called_by_host())
            })
            .collect()
    }
    fn next(caller: &mut Caller<'_, Traces>, left: i32) -> TypedFunc<i32, ()> {
        let trace = frames(&WasmBacktrace::capture(&*caller));
        caller.data_mut().push(trace);
        let name = if left == 0 { "fail" } else { "f" };
        let next = caller.get_export(name).and_then(Extern::into_func);
        next.unwrap().typed(&*caller).unwrap()
    }
    // Of two calls, one asks a host function that can suspend, which calls the next function on the
    // same stack. The other asks one that cannot, which makes a call on a stack of its own.
    let wat = r#"(module
        (import "h" "suspends" (func $suspends (param i32)))
        (import "h" "blocks" (func $blocks (param i32)))
        (func $f (export "f") (param i32)
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (if (i32.and (local.get 0) (i32.const 1))
                (then (call $blocks (local.get 0)))
                (else (call $suspends (local.get 0)))))
        (func $fail (export "fail") (param i32) unreachable))"#;
    for strategy in strategies() {
        let pre = linked::<Traces>(&Config::new(), strategy, wat, |linker| {
            linker
                .func_wrap_async("h", "suspends", |mut caller, (left,): (i32,)| {
                    Box::new(async move {
                        Pending(1).await;
                        next(&mut caller, left).call(&mut caller, left)
                    })
                })
                .unwrap();
            let blocks = |mut caller: Caller<'_, Traces>, left: i32| {
                let next = next(&mut caller, left);
                block_on(next.call_async(&mut caller, left))
            };
            linker.func_wrap("h", "blocks", blocks).unwrap();
        });
        // From the stack of the host, and from one of its own.
        for (calls, on_fiber) in [(4, false), (5, true)] {
            let (mut store, instance) = start(&pre, Traces::new());
            let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
            let error = match on_fiber {
                true => block_on(f.call_async(&mut store, calls)),
                false => f.call(&mut store, calls),
            };
            let all = |n| vec![("f".to_owned(), true); n];
            let mut expected = all(calls as usize);
            expected.insert(0, ("fail".to_owned(), true));
            let error = error.unwrap_err();
            assert_eq!(frames(error.backtrace().unwrap()), expected, "{strategy}");
            let expected: Vec<_> = (1..=calls as usize).map(all).collect();
            assert_eq!(*store.data(), expected);
            assert!(WasmBacktrace::capture(&store).frames().is_empty());
        }
    }
}
