//! Suspended calls that are dropped, moved between threads, or leaked, at every point where they
//! can be suspended; and what is left of them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Poll;

use precast_artifact::Strategy;
use precast_loader::{
    Caller, Engine, Error, Func, Instance, InstancePre, Linker, Store, TypedFunc,
};
use precast_tests::executor::{Pending, block_on, poll_once, poll_times};
use precast_tests::{mappings, module, strategies};

use crate::child::{case, passes_in_child};

/// Counts the host futures that exist.
#[derive(Debug, Clone, Default)]
struct Live(Arc<AtomicUsize>);

impl Live {
    fn one_more(&self) -> Self {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.clone()
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct Guard(Live);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// `run(n)` waits `n` times, for `n`, `n - 1`, … polls, and counts in its memory. `deep(n)` waits
/// once, below `n` frames and a nested asynchronous call.
const WAT: &str = r#"(module
    (import "h" "wait" (func $wait (param i32) (result i32)))
    (import "h" "deeper" (func $deeper (param i32) (result i32)))
    (memory (export "memory") 1)
    (func $run (export "run") (param $n i32) (result i32) (local $sum i32)
        (loop $l
            (local.set $sum (i32.add (local.get $sum) (call $wait (local.get $n))))
            (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func $deep (export "deep") (param $n i32) (result i32)
        (if (result i32) (local.get $n)
            (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get $n) (i32.const 1)))))
            (else (call $deeper (i32.const 3))))))"#;

fn linked(strategy: Strategy) -> InstancePre<Live> {
    let engine = Engine::default();
    let module = module(&engine, WAT, strategy);
    let mut linker: Linker<Live> = Linker::new(&engine);
    linker
        .func_wrap_async("h", "wait", |caller: Caller<'_, Live>, (n,): (i32,)| {
            let guard = Guard(caller.data().one_more());
            Box::new(async move {
                Pending(n.cast_unsigned()).await;
                drop(guard);
                2 * n
            })
        })
        .unwrap();
    linker
        .func_wrap_async(
            "h",
            "deeper",
            |mut caller: Caller<'_, Live>, (n,): (i32,)| {
                let guard = Guard(caller.data().one_more());
                Box::new(async move {
                    Pending(1).await;
                    let run = caller.get_export("run").unwrap().into_func().unwrap();
                    let run = run.typed::<i32, i32>(&caller)?;
                    let result = run.call_async(&mut caller, n).await;
                    Pending(1).await;
                    drop(guard);
                    result
                })
            },
        )
        .unwrap();
    linker.instantiate_pre(&module).unwrap()
}

fn start(pre: &InstancePre<Live>) -> (Store<Live>, Instance) {
    let mut store = Store::new(pre.module().engine(), Live::default());
    let instance = pre.instantiate(&mut store).unwrap();
    (store, instance)
}

fn func(store: &mut Store<Live>, instance: Instance, name: &str) -> TypedFunc<i32, i32> {
    instance.get_typed_func(store, name).unwrap()
}

/// The functions, their argument, the number of times that they are suspended, and their result.
const CASES: [(&str, i32, usize, i32); 3] = [
    ("run", 4, 4 + 3 + 2 + 1, 20),
    ("run", 1, 1, 2),
    ("deep", 50, 1 + (3 + 2 + 1) + 1, 50 + 12),
];

#[test]
fn dropped_at_every_point() {
    for strategy in strategies() {
        let pre = linked(strategy);
        for (name, n, points, result) in CASES {
            // The same store again and again, and a new one for each point.
            let (mut kept, kept_instance) = start(&pre);
            for stop in 0..=points {
                let (mut new, new_instance) = start(&pre);
                let stores = [(&mut kept, kept_instance), (&mut new, new_instance)];
                for (store, instance) in stores {
                    let live = store.data().clone();
                    let func = func(store, instance, name);
                    let mut future = Box::pin(func.call_async(&mut *store, n));
                    assert!(poll_times(future.as_mut(), stop).is_none(), "{name} {stop}");
                    assert_eq!(live.get() != 0, stop != 0);
                    drop(future);
                    assert_eq!(live.get(), 0, "{name} dropped after {stop} of {points}");
                    // The guest is as after a trap, and goes on.
                    let whole = func.call_async(&mut *store, n);
                    assert_eq!(block_on(whole).unwrap(), result);
                }
            }
            let func = func(&mut kept, kept_instance, name);
            let mut future = Box::pin(func.call_async(&mut kept, n));
            assert_eq!(
                poll_times(future.as_mut(), points + 1).unwrap().unwrap(),
                result
            );
        }
    }
}

#[test]
fn moved_to_another_thread_at_every_point() {
    for strategy in strategies() {
        let pre = linked(strategy);
        for (name, n, points, result) in CASES {
            // A new thread polls the future once, and hands it on. The last one drops it early.
            for stop in [points + 1, points / 2] {
                let (mut store, instance) = start(&pre);
                let live = store.data().clone();
                let func = func(&mut store, instance, name);
                let mut future = Box::pin(async move { func.call_async(&mut store, n).await });
                let mut done = None;
                for _ in 0..stop {
                    future = std::thread::spawn(|| {
                        let mut future = future;
                        let polled = poll_once(future.as_mut());
                        (future, polled)
                    })
                    .join()
                    .map(|(future, polled)| {
                        if let Poll::Ready(result) = polled {
                            done = Some(result.unwrap());
                        }
                        future
                    })
                    .unwrap();
                }
                assert_eq!(done, (stop > points).then_some(result));
                std::thread::spawn(move || drop(future)).join().unwrap();
                assert_eq!(live.get(), 0);
            }
        }
    }
}

/// Guests that are suspended at the same time.
const GUESTS: i32 = 2000;

/// Polls each guest once that comes in, and passes it on, until all are done.
fn take_turns<F>(
    from: mpsc::Receiver<(i32, Pin<Box<F>>)>,
    to: mpsc::Sender<(i32, Pin<Box<F>>)>,
    results: &AtomicUsize,
) where
    F: Future<Output = Result<i32, Error>>,
{
    while let Ok((n, mut future)) = from.recv() {
        match poll_once(future.as_mut()) {
            Poll::Ready(result) => {
                let k = n % 3 + 1;
                assert_eq!(result.unwrap(), k * (k + 1));
                if results.fetch_add(1, Ordering::SeqCst) + 1 == GUESTS as usize {
                    return;
                }
            }
            Poll::Pending => to.send((n, future)).unwrap(),
        }
    }
}

#[test]
fn thousands_are_suspended_on_two_threads() {
    let pre = linked(Strategy::Checked);
    let make = |n: i32| {
        let pre = pre.clone();
        Box::pin(async move {
            let mut store = Store::new(pre.module().engine(), Live::default());
            let instance = pre.instantiate_async(&mut store).await?;
            let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
            run.call_async(&mut store, n % 3 + 1).await
        })
    };
    // Two threads pass all guests to each other, until they are done.
    let ((to_a, from_b), (to_b, from_a)) = (mpsc::channel(), mpsc::channel());
    for n in 0..GUESTS {
        to_a.send((n, make(n))).unwrap();
    }
    let results = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| take_turns(from_b, to_b, &results));
        scope.spawn(|| take_turns(from_a, to_a, &results));
    });
    assert_eq!(results.load(Ordering::SeqCst), GUESTS as usize);
}

/// In a process of its own, because other tests map and unmap.
#[test]
fn nothing_is_left_of_calls_that_are_over_or_dropped() {
    const TEST: &str = "async_drops::nothing_is_left_of_calls_that_are_over_or_dropped";
    if case().is_none() {
        return passes_in_child(TEST, "alone");
    }
    for strategy in strategies() {
        let pre = linked(strategy);
        let mut before = 0;
        for round in 0..40 {
            let mut futures = Vec::new();
            for n in 0..20 {
                let (mut store, instance) = start(&pre);
                let func = func(&mut store, instance, "deep");
                let call = async move { func.call_async(&mut store, n).await };
                futures.push(Box::pin(call));
            }
            for (i, mut future) in futures.into_iter().enumerate() {
                let done = poll_times(future.as_mut(), i % 12);
                assert_eq!(done.is_some(), i % 12 > 8);
            }
            if round == 1 {
                before = mappings();
            }
        }
        let after = mappings();
        assert!(after <= before + 4, "{before} mappings grew to {after}");
    }
}

#[test]
fn a_leaked_future_leaves_a_store_that_refuses_calls() {
    for strategy in strategies() {
        let pre = linked(strategy);
        for stop in [1, 5] {
            let (mut store, instance) = start(&pre);
            let live = store.data().clone();
            let run = func(&mut store, instance, "run");
            let mut future = Box::pin(run.call_async(&mut store, 4));
            assert!(poll_times(future.as_mut(), stop).is_none());
            std::mem::forget(future);
            for _ in 0..2 {
                let error = run.call(&mut store, 1).unwrap_err();
                assert!(matches!(error, Error::Suspended), "{error}");
                let error = block_on(run.call_async(&mut store, 1)).unwrap_err();
                assert!(matches!(error, Error::Suspended), "{error}");
            }
            assert!(instance.reset(&mut store).is_err());
            assert!(instance.snapshot(&mut store).is_err());
            // Operations that need no code still work.
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            assert_eq!(memory.data(&store)[0], u8::from(stop == 5));
            let host = Func::wrap(&mut store, || 5);
            assert_eq!(
                host.typed::<(), i32>(&store)
                    .unwrap()
                    .call(&mut store, ())
                    .unwrap(),
                5
            );
            drop(store);
            assert_eq!(live.get(), 1, "the host future was leaked, too");
            // The instance is used again.
            let (mut store, instance) = start(&pre);
            let run = func(&mut store, instance, "run");
            assert_eq!(block_on(run.call_async(&mut store, 4)).unwrap(), 20);
        }
    }
}

/// What a guest has written is gone before the next one takes its instance over, although its code
/// ran only on stacks of its own.
#[test]
fn instances_are_reset_after_calls_on_stacks_of_their_own() {
    for strategy in strategies() {
        let pre = linked(strategy);
        for stop in [5, 6, 100, 7, 100] {
            let (mut store, instance) = start(&pre);
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            assert_eq!(memory.data(&store)[0], 0, "{stop}");
            let run = func(&mut store, instance, "run");
            let mut future = Box::pin(run.call_async(&mut store, 4));
            let done = poll_times(future.as_mut(), stop);
            assert_eq!(done.is_some(), stop == 100);
            match stop {
                7 => std::mem::forget(future),
                _ => drop(future),
            }
            assert_ne!(memory.data(&store)[0], 0);
        }
    }
}

/// A future that was never polled has not begun anything.
#[test]
fn a_future_that_was_leaked_before_it_began_does_no_harm() {
    let pre = linked(Strategy::Checked);
    let (mut store, instance) = start(&pre);
    let run = func(&mut store, instance, "run");
    std::mem::forget(run.call_async(&mut store, 4));
    assert_eq!(block_on(run.call_async(&mut store, 4)).unwrap(), 20);
}

/// An inner call that is leaked inside of a host function.
#[test]
fn a_leaked_inner_future_refuses_calls_too() {
    let wat = r#"(module
        (import "h" "leak" (func $leak))
        (import "h" "wait" (func $wait (param i32) (result i32)))
        (func (export "leaf") (param i32) (result i32) (call $wait (local.get 0)))
        (func (export "run") (call $leak) (drop (call $wait (i32.const 1)))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<()> = Linker::new(&engine);
        linker
            .func_wrap_async("h", "wait", |_, (n,): (i32,)| {
                Box::new(async move {
                    Pending(n.cast_unsigned()).await;
                    n
                })
            })
            .unwrap();
        linker
            .func_wrap_async("h", "leak", |mut caller: Caller<'_, ()>, (): ()| {
                Box::new(async move {
                    let leaf = caller.get_export("leaf").unwrap().into_func().unwrap();
                    let leaf = leaf.typed::<i32, i32>(&caller)?;
                    {
                        let mut inner = Box::pin(leaf.call_async(&mut caller, 9));
                        assert!(poll_once(inner.as_mut()).is_pending());
                        std::mem::forget(inner);
                    }
                    let refused = leaf.call(&mut caller, 1);
                    assert!(matches!(refused, Err(Error::Suspended)));
                    Pending(1).await;
                    Ok::<_, Error>(())
                })
            })
            .unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        // The outer call goes on to its end, and later ones are refused.
        block_on(run.call_async(&mut store, ())).unwrap();
        let error = block_on(run.call_async(&mut store, ())).unwrap_err();
        assert!(matches!(error, Error::Suspended), "{error}");
    }
}

#[test]
#[should_panic(expected = "after completion")]
fn a_future_that_is_polled_after_it_was_ready_panics() {
    let pre = linked(Strategy::Checked);
    let (mut store, instance) = start(&pre);
    let run = func(&mut store, instance, "run");
    let mut future = Box::pin(run.call_async(&mut store, 1));
    assert!(poll_times(future.as_mut(), 2).is_some());
    drop(poll_once(future.as_mut()));
}

/// The drop of a host future panics while its call is cancelled.
#[test]
fn a_panic_in_the_drop_of_a_host_future_reaches_who_drops_the_call() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }
    let wat = r#"(module (import "h" "wait" (func $wait)) (func (export "run") (call $wait))
        (func (export "ok")))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<()> = Linker::new(&engine);
        linker
            .func_wrap_async("h", "wait", |_, (): ()| {
                Box::new(async {
                    let bomb = Bomb;
                    Pending(9).await;
                    drop(bomb);
                })
            })
            .unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        let mut future = Box::pin(run.call_async(&mut store, ()));
        assert!(poll_once(future.as_mut()).is_pending());
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(future)));
        assert_eq!(dropped.unwrap_err().downcast_ref(), Some(&"in a drop"));
        let ok = instance.get_typed_func::<(), ()>(&mut store, "ok").unwrap();
        ok.call(&mut store, ()).unwrap();
    }
}

/// A caller may move to another thread, which has a stack of its own: the limit is that stack's.
#[test]
fn a_caller_on_another_thread_has_that_threads_stack() {
    let wat = r#"(module
        (import "h" "elsewhere" (func $elsewhere (param i32) (result i32)))
        (func $plain (export "plain") (param i32) (result i32)
            (i32.add (i32.const 1) (call $plain (local.get 0))))
        (func (export "seven") (param i32) (result i32) (i32.const 7))
        (func (export "run") (param i32) (result i32) (call $elsewhere (local.get 0))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<()> = Linker::new(&engine);
        linker
            .func_wrap("h", "elsewhere", |mut caller: Caller<'_, ()>, n: i32| {
                let name = if n == 0 { "plain" } else { "seven" };
                let func = caller.get_export(name).unwrap().into_func().unwrap();
                let func = func.typed::<i32, i32>(&caller)?;
                let call = || func.call(&mut caller, n);
                std::thread::scope(|scope| scope.spawn(call).join().unwrap())
            })
            .unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance
            .get_typed_func::<i32, i32>(&mut store, "run")
            .unwrap();
        for _ in 0..3 {
            let result = precast_tests::trap(run.call(&mut store, 0));
            assert_eq!(result, precast_loader::Trap::StackOverflow);
            assert_eq!(run.call(&mut store, 1).unwrap(), 7);
            let result = precast_tests::trap(block_on(run.call_async(&mut store, 0)));
            assert_eq!(result, precast_loader::Trap::StackOverflow);
            assert_eq!(block_on(run.call_async(&mut store, 1)).unwrap(), 7);
        }
    }
}
