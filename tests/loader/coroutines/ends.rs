//! Calls of coroutines that end in any order: calls that can be suspended, and calls of a runtime.

use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use corosensei::{Coroutine, CoroutineResult, Yielder};
use precast_artifact::Strategy;
use precast_loader::runtime::{HostModule, Instance, InstanceConfig, Runtime};
use precast_loader::{Caller, Config, Engine, Error, Linker, Module, Store, Trap};
use precast_tests::executor::{Pending, block_on};
use precast_tests::{Source, module, on_stack_of, strategies, trap};

use super::{YIELDER, suspend};

/// More than any stack here has, so that the limit of a stack is what ends a recursion.
const NO_LIMIT: usize = 1 << 30;

const RECURSES: &str = r#"(module
    (func $deep (param i64) (result i64)
        (i64.add (call $deep (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
    (func (export "deep") (drop (call $deep (i64.const 0)))))"#;

const WAITS: &str = r#"(module
    (import "h" "wait" (func $wait))
    (func $deep (param i64) (result i64)
        (i64.add (call $deep (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
    (func (export "run") (call $wait) (drop (call $deep (i64.const 0)))))"#;

/// A recursion that only the end of the stack ends.
fn recurse(engine: &Engine, recurses: &Module) -> Trap {
    let mut store = Store::new(engine, ());
    let instance = Linker::new(engine).instantiate(&mut store, recurses);
    let deep = instance
        .unwrap()
        .get_typed_func::<(), ()>(&mut store, "deep")
        .unwrap();
    trap(deep.call(&mut store, ()))
}

/// A call that can be suspended. The poll of its host future is left in the middle `times`
/// times. Then the host recurses in another store, and the guest in its own.
fn wait_then_recurse(engine: &Engine, waits: &Module, recurses: &Module, times: usize) -> Trap {
    let mut linker: Linker<()> = Linker::new(engine);
    let (of_host, recurses) = (*engine, recurses.clone());
    let wait = move |_: Caller<'_, ()>, (): ()| {
        let recurses = recurses.clone();
        async move {
            for _ in 0..times {
                suspend();
            }
            assert_eq!(recurse(&of_host, &recurses), Trap::StackOverflow);
            Pending(1).await;
            suspend();
        }
    };
    linker
        .func_wrap_async("h", "wait", move |caller, none| {
            Box::new(wait(caller, none))
        })
        .unwrap();
    let mut store = Store::new(engine, ());
    let instance = block_on(linker.instantiate_async(&mut store, waits)).unwrap();
    let run = instance.get_typed_func::<(), ()>(&mut store, "run");
    trap(block_on(run.unwrap().call_async(&mut store, ())))
}

/// Runs coroutines in turns until all are over, the newest first if `reverse`.
fn run_in_turns<R>(mut left: Vec<Coroutine<(), (), R>>, reverse: bool) -> Vec<R> {
    let mut results = Vec::new();
    while !left.is_empty() {
        if reverse {
            left.reverse();
        }
        left.retain_mut(|coroutine| match coroutine.resume(()) {
            CoroutineResult::Yield(()) => true,
            CoroutineResult::Return(result) => {
                results.push(result);
                false
            }
        });
    }
    results
}

#[test]
fn suspendable_calls_leave_the_bounds_of_every_stack_right() {
    for strategy in strategies() {
        for lasting in [[1, 1, 1], [1, 2, 3], [3, 2, 1], [2, 1, 3], [1, 3, 2]] {
            for reverse in [false, true] {
                on_stack_of(512 << 10, move || {
                    let mut config = Config::new();
                    config
                        .max_wasm_stack(NO_LIMIT)
                        .async_stack_size(512 << 10)
                        .async_stacks_kept(0);
                    let engine = Engine::new(&config).unwrap();
                    let waits = module(&engine, WAITS, strategy);
                    let recurses = module(&engine, RECURSES, strategy);
                    let start = |times| {
                        let (waits, recurses) = (waits.clone(), recurses.clone());
                        Coroutine::new(move |yielder: &Yielder<(), ()>, ()| {
                            YIELDER.set(yielder);
                            wait_then_recurse(&engine, &waits, &recurses, times)
                        })
                    };
                    let traps = run_in_turns(lasting.map(start).into(), reverse);
                    assert_eq!(traps, [Trap::StackOverflow; 3]);
                    // All those stacks are gone. This one is what it was.
                    assert_eq!(recurse(&engine, &recurses), Trap::StackOverflow);
                });
            }
        }
    }
}

type Call = Coroutine<(), (), Result<(), Error>>;

/// Has a turn in a call. Returns how the call has ended, if it has.
fn turn(call: &mut Call) -> Option<Result<(), Error>> {
    match call.resume(()) {
        CoroutineResult::Yield(()) => None,
        CoroutineResult::Return(result) => Some(result),
    }
}

/// Instances of one runtime, whose calls are suspended in a host function.
fn suspended_calls() -> ([Instance; 3], impl Fn(&Instance) -> Call) {
    let engine = Engine::default();
    let runtime: Runtime = Runtime::new(&engine);
    HostModule::builder("h")
        .func("wait", suspend)
        .instantiate(&runtime)
        .unwrap();
    let wat = r#"(module (import "h" "wait" (func $wait)) (func (export "run") (call $wait)))"#;
    let module = Source::new(Strategy::Guarded).module(&engine, wat);
    let instances = ["a", "b", "c"].map(|name| {
        let config = InstanceConfig::new().with_name(name);
        runtime.instantiate(&module, config).unwrap()
    });
    let begin = |instance: &Instance| {
        let instance = instance.clone();
        let mut call = Coroutine::new(move |yielder: &Yielder<(), ()>, ()| {
            YIELDER.set(yielder);
            instance.call("run", &[]).map(drop)
        });
        assert!(turn(&mut call).is_none());
        call
    };
    (instances, begin)
}

#[test]
fn calls_of_a_runtime_that_end_in_any_order_can_be_closed() {
    let (done, wait) = mpsc::channel();
    thread::spawn(move || {
        let (instances, begin) = suspended_calls();
        let [mut a, mut b, mut c] = instances.each_ref().map(&begin);
        assert!(turn(&mut a).unwrap().is_ok());
        assert!(turn(&mut c).unwrap().is_ok());
        // This call begins after that of `b`, which began after an earlier call of `a`.
        let mut again = begin(&instances[0]);
        instances[0].close_with_exit_code(4);
        let ended = turn(&mut again).unwrap();
        assert!(matches!(ended, Err(Error::Closed { exit_code: 4, .. })));
        assert!(turn(&mut b).unwrap().is_ok());
        done.send(()).unwrap();
    });
    // Links in a circle would be followed for ever.
    wait.recv_timeout(Duration::from_secs(300)).unwrap();
}

#[test]
fn calls_that_are_over_have_no_calls_inside_of_them() {
    let (instances, begin) = suspended_calls();
    let [mut a, mut b, mut c] = instances.each_ref().map(&begin);
    for call in [&mut a, &mut b, &mut c] {
        assert!(turn(call).unwrap().is_ok());
    }
    let both = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut of_other = begin(&instances[1]);
            instances[1].close_with_exit_code(5);
            both.wait();
            both.wait();
            let ended = turn(&mut of_other).unwrap();
            assert!(matches!(ended, Err(Error::Closed { exit_code: 5, .. })));
        });
        both.wait();
        // The other thread's call has been ended, and is not over. This thread is in no call.
        let mut after = begin(&instances[2]);
        both.wait();
        assert!(turn(&mut after).unwrap().is_ok());
    });
}

/// `a` calls `c` while the call of `b` is under way, which began in between. When that one is over,
/// closing `a` still ends the call of `c`.
#[test]
fn a_call_that_ends_in_the_middle_leaves_the_others_linked() {
    let engine = Engine::default();
    let runtime: Runtime = Runtime::new(&engine);
    let inner: Arc<Mutex<Option<Instance>>> = Arc::default();
    let to_call = Arc::clone(&inner);
    let has_ended = Arc::new(Mutex::new(None));
    let note = Arc::clone(&has_ended);
    let wait = move || {
        suspend();
        let inner = to_call.lock().unwrap().take();
        if let Some(inner) = inner {
            *note.lock().unwrap() = Some(inner.call("run", &[]).map(drop));
        }
    };
    HostModule::builder("h")
        .func("wait", wait)
        .instantiate(&runtime)
        .unwrap();
    let wat = r#"(module (import "h" "wait" (func $wait)) (func (export "run") (call $wait)))"#;
    let module = Source::new(Strategy::Guarded).module(&engine, wat);
    let [a, b, c] = ["a", "b", "c"].map(|name| {
        let config = InstanceConfig::new().with_name(name);
        runtime.instantiate(&module, config).unwrap()
    });
    let begin = |instance: &Instance| {
        let instance = instance.clone();
        let mut call: Call = Coroutine::new(move |yielder: &Yielder<(), ()>, ()| {
            YIELDER.set(yielder);
            instance.call("run", &[]).map(drop)
        });
        assert!(turn(&mut call).is_none());
        call
    };
    let (mut of_a, mut of_b) = (begin(&a), begin(&b));
    *inner.lock().unwrap() = Some(c.clone());
    assert!(turn(&mut of_a).is_none());
    assert!(turn(&mut of_b).unwrap().is_ok());
    a.close_with_exit_code(6);
    assert!(c.exit_code().is_none(), "only its call ends");
    let ended = turn(&mut of_a).unwrap();
    assert!(matches!(ended, Err(Error::Closed { exit_code: 6, .. })));
    let ended = has_ended.lock().unwrap().take().unwrap();
    assert!(
        matches!(ended, Err(Error::Closed { exit_code: 6, .. })),
        "{ended:?}"
    );
}
