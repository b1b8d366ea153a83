//! Deadlines after which code goes on, or is suspended; and suspended calls that are to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use precast_artifact::{Interruption, Strategy};
use precast_loader::runtime::{HostModule, InstanceConfig, Runtime};
use precast_loader::{
    Config, Engine, Error, Instance, Linker, Module, Store, Trap, TypedFunc, UpdateDeadline,
    WasmParams, WasmResults,
};
use precast_tests::executor::{Pending, block_on, poll_once, poll_times};
use precast_tests::{Source, Watchdog, strategies, trap};

/// `mix(n)` works with many values of all kinds in a loop of `n` rounds, with calls and a range.
const WAT: &str = r#"(module
    (import "h" "wait" (func $wait))
    (memory (export "memory") 8)
    (func $fib (export "fib") (param i64) (result i64)
        (if (result i64) (i64.lt_u (local.get 0) (i64.const 2)) (then (local.get 0))
            (else (i64.add (call $fib (i64.sub (local.get 0) (i64.const 1)))
                (call $fib (i64.sub (local.get 0) (i64.const 2)))))))
    (func (export "mix") (param $n i32) (result i64)
        (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $e i64) (local $f i64)
        (local $g i64) (local $h i64) (local $i i64) (local $j i64) (local $x f64) (local $y f64)
        (local $z f32) (local $v v128) (local $w v128)
        (local.set $a (i64.const 3)) (local.set $x (f64.const 1.5)) (local.set $z (f32.const 1))
        (local.set $v (v128.const i32x4 1 2 3 4)) (local.set $j (i64.const 77))
        (loop $l
            (local.set $b (i64.add (local.get $a) (local.get $j)))
            (local.set $c (i64.mul (local.get $b) (i64.const 7)))
            (local.set $d (i64.xor (local.get $c) (local.get $a)))
            (local.set $e (i64.sub (local.get $d) (local.get $b)))
            (local.set $f (i64.rotl (local.get $e) (i64.const 9)))
            (local.set $g (i64.add (local.get $f) (local.get $c)))
            (local.set $h (i64.or (local.get $g) (i64.const 1)))
            (local.set $i (i64.rem_u (local.get $h) (i64.const 1000003)))
            (local.set $x (f64.add (f64.mul (local.get $x) (f64.const 1.0009)) (local.get $y)))
            (local.set $y (f64.sqrt (local.get $x)))
            (local.set $z (f32.add (local.get $z) (f32.const 0.25)))
            (local.set $w (i32x4.add (local.get $v) (i32x4.splat (local.get $n))))
            (local.set $v (v128.xor (local.get $w) (v128.const i32x4 9 8 7 6)))
            (memory.fill (local.get $n) (local.get $n) (i32.add (local.get $n) (i32.const 200)))
            (local.set $a (i64.add (i64.xor (local.get $i) (local.get $j)) (i64.add (local.get $g)
                (i64.add (i64.reinterpret_f64 (local.get $x)) (i64x2.extract_lane 1 (local.get $v))))))
            (local.set $j (i64.add (local.get $j) (i64.extend_i32_u (i32.load8_u (local.get $n)))))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i64.add (local.get $a) (i64.add (call $fib (i64.const 9))
            (i64.add (i64.reinterpret_f64 (local.get $y))
                (i64.extend_i32_u (i32.reinterpret_f32 (local.get $z)))))))
    (func (export "endless") (loop $l (br $l)))
    (func (export "wait") (call $wait)))"#;

fn modules() -> impl Iterator<Item = (Engine, Module)> {
    strategies().into_iter().map(|strategy: Strategy| {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let source = Source::new(strategy).interruption(Interruption::Epoch);
        let module = source.module(&engine, WAT);
        (engine, module)
    })
}

/// `wait` never ends.
fn start(engine: &Engine, module: &Module) -> (Store<u32>, Instance) {
    let mut linker: Linker<u32> = Linker::new(engine);
    linker
        .func_wrap_async("h", "wait", |_, (): ()| {
            Box::new(std::future::pending::<()>())
        })
        .unwrap();
    let mut store = Store::new(engine, 0);
    let instance = linker.instantiate(&mut store, module).unwrap();
    (store, instance)
}

fn func<P: WasmParams, R: WasmResults>(
    store: &mut Store<u32>,
    instance: Instance,
    name: &str,
) -> TypedFunc<P, R> {
    instance.get_typed_func(store, name).unwrap()
}

#[test]
fn code_that_goes_on_has_kept_all_its_values() {
    for (engine, module) in modules() {
        let (mut store, instance) = start(&engine, &module);
        let mix = func::<i32, i64>(&mut store, instance, "mix");
        let expected = mix.call(&mut store, 300).unwrap();
        // Every check finds a deadline that has passed.
        store.epoch_deadline_callback(|mut store| {
            *store.data_mut() += 1;
            Ok(UpdateDeadline::Continue(0))
        });
        store.set_epoch_deadline(0).unwrap();
        assert_eq!(mix.call(&mut store, 300).unwrap(), expected);
        let asked = *store.data();
        assert!(asked > 300, "{asked}");
        // Every check suspends the code.
        store.epoch_deadline_async_yield_and_update(0);
        let mut future = Box::pin(mix.call_async(&mut store, 300));
        let mut polls = 1;
        let got = loop {
            match poll_once(future.as_mut()) {
                Poll::Ready(got) => break got,
                Poll::Pending => polls += 1,
            }
        };
        assert_eq!((got.unwrap(), polls), (expected, asked + 1));
        drop(future);
        // The same, on many threads in turn.
        let mut future = Box::pin(mix.call_async(&mut store, 20));
        let mut moved = None;
        while moved.is_none() {
            std::thread::scope(|scope| {
                scope
                    .spawn(|| moved = poll_times(future.as_mut(), 9))
                    .join()
                    .unwrap();
            });
        }
        drop(future);
        store.epoch_deadline_trap();
        assert_eq!(trap(mix.call(&mut store, 20)), Trap::Interrupt);
        store.clear_epoch_deadline();
        assert_eq!(
            Some(mix.call(&mut store, 20).unwrap()),
            moved.map(Result::unwrap)
        );
    }
}

#[test]
fn code_that_was_suspended_at_a_deadline_can_be_dropped_anywhere() {
    for (engine, module) in modules() {
        let (mut store, instance) = start(&engine, &module);
        store.epoch_deadline_async_yield_and_update(0);
        store.set_epoch_deadline(0).unwrap();
        let mix = func::<i32, i64>(&mut store, instance, "mix");
        for polls in 0..60 {
            let mut future = Box::pin(mix.call_async(&mut store, 30));
            assert!(poll_times(future.as_mut(), polls).is_none());
        }
        assert!(block_on(mix.call_async(&mut store, 30)).is_ok());
        // A synchronous call cannot be suspended.
        let error = mix.call(&mut store, 30).unwrap_err();
        assert!(matches!(error, Error::NotAsync), "{error}");
    }
}

#[test]
fn an_endless_guest_lets_others_run() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for (engine, module) in modules() {
        let (mut store, instance) = start(&engine, &module);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(1).unwrap();
        let endless = func::<(), ()>(&mut store, instance, "endless");
        let mut future = Box::pin(endless.call_async(&mut store, ()));
        for _ in 0..20 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(1));
                    engine.increment_epoch();
                });
                assert!(poll_once(future.as_mut()).is_pending());
            });
        }
        drop(future);
    }
}

#[test]
fn what_the_host_decides_counts() {
    for (engine, module) in modules() {
        let (mut store, instance) = start(&engine, &module);
        let endless = func::<(), ()>(&mut store, instance, "endless");
        store.set_epoch_deadline(0).unwrap();
        let count = |mut store: precast_loader::StoreContextMut<'_, u32>| {
            *store.data_mut() += 1;
            match *store.data() {
                10 => Ok(UpdateDeadline::Interrupt),
                20 => Err(Error::host("enough")),
                30 => panic!("too much"),
                _ => Ok(UpdateDeadline::Continue(0)),
            }
        };
        store.epoch_deadline_callback(count);
        assert_eq!(trap(endless.call(&mut store, ())), Trap::Interrupt);
        assert_eq!(*store.data(), 10);
        assert_eq!(
            endless.call(&mut store, ()).unwrap_err().to_string(),
            "enough"
        );
        let call = std::panic::AssertUnwindSafe(|| endless.call(&mut store, ()));
        let panic = std::panic::catch_unwind(call).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"too much"));
        // It is asked again after a panic, and by calls with stacks of their own.
        *store.data_mut() = 5;
        let result = block_on(endless.call_async(&mut store, ()));
        assert_eq!(trap(result), Trap::Interrupt);
        // The callback is not called for other reasons.
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(0)));
        let handle = store.interrupt_handle();
        handle.interrupt();
        assert_eq!(trap(endless.call(&mut store, ())), Trap::Interrupt);
        handle.clear();
        // What it sets instead of itself stays.
        store.epoch_deadline_callback(|mut store| {
            store.epoch_deadline_async_yield_and_update(0);
            Ok(UpdateDeadline::Continue(0))
        });
        let mut future = Box::pin(endless.call_async(&mut store, ()));
        assert!(poll_times(future.as_mut(), 10).is_none());
        drop(future);
        // A callback that wants no more questions gets none, and is dropped.
        let (held, mut asked) = (Arc::new(()), 0);
        let holds = held.clone();
        store.epoch_deadline_callback(move |mut store| {
            asked += 1;
            assert_eq!((asked, Arc::strong_count(&holds)), (1, 2));
            store.epoch_deadline_trap();
            Ok(UpdateDeadline::Continue(0))
        });
        assert_eq!(trap(endless.call(&mut store, ())), Trap::Interrupt);
        assert_eq!(Arc::strong_count(&held), 1);
        // A future of the host's own.
        let mut turn = 0;
        store.epoch_deadline_callback(move |_| {
            turn += 1;
            Ok(match turn {
                3 => UpdateDeadline::Interrupt,
                _ => UpdateDeadline::YieldCustom(0, Box::pin(Pending(5))),
            })
        });
        let mut future = Box::pin(endless.call_async(&mut store, ()));
        let polled = poll_times(future.as_mut(), 10);
        assert!(polled.is_none(), "{polled:?}");
        assert_eq!(
            trap(poll_times(future.as_mut(), 1).unwrap()),
            Trap::Interrupt
        );
    }
}

/// The callback calls the guest, whose code ends at the deadline instead of asking again.
#[test]
fn a_callback_may_call_the_guest() {
    for (engine, module) in modules() {
        let (mut store, instance) = start(&engine, &module);
        let endless = func::<(), ()>(&mut store, instance, "endless");
        let fib = func::<i64, i64>(&mut store, instance, "fib");
        store.set_epoch_deadline(0).unwrap();
        store.epoch_deadline_callback(move |mut store| {
            assert_eq!(trap(fib.call(&mut store, 9)), Trap::Interrupt);
            Ok(UpdateDeadline::Interrupt)
        });
        assert_eq!(trap(endless.call(&mut store, ())), Trap::Interrupt);
        assert_eq!(
            trap(block_on(endless.call_async(&mut store, ()))),
            Trap::Interrupt
        );
    }
}

/// A call that waits for ever is woken and ends: by a handle, and by a deadline without a callback.
#[test]
fn a_suspended_call_is_woken_when_it_is_to_end() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for (engine, module) in modules() {
        let (mut store, instance) = start(&engine, &module);
        let wait = func::<(), ()>(&mut store, instance, "wait");
        let handle = store.interrupt_handle();
        for deadline in [false, true] {
            if deadline {
                store.set_epoch_deadline(1).unwrap();
            }
            let handle = handle.clone();
            let end = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                match deadline {
                    false => handle.interrupt(),
                    true => engine.increment_epoch(),
                }
            });
            assert_eq!(
                trap(block_on(wait.call_async(&mut store, ()))),
                Trap::Interrupt
            );
            end.join().unwrap();
            store.interrupt_handle().clear();
        }
    }
    for (engine, module) in modules() {
        let (mut store, instance) = start(&engine, &module);
        let wait = func::<(), ()>(&mut store, instance, "wait");
        // Raised before the first poll, and before the call is suspended.
        let handle = store.interrupt_handle();
        handle.interrupt();
        assert_eq!(
            trap(block_on(wait.call_async(&mut store, ()))),
            Trap::Interrupt
        );
    }
}

#[test]
fn closing_an_instance_of_a_runtime_ends_its_suspended_call() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for (engine, module) in modules() {
        let started = Arc::new(AtomicU32::new(0));
        let runtime: Runtime = Runtime::new(&engine);
        let host = HostModule::builder("h").func("wait", || {});
        host.instantiate(&runtime).unwrap();
        let instance = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
        let closing = {
            let (instance, started) = (instance.clone(), Arc::clone(&started));
            std::thread::spawn(move || {
                while started.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                instance.close_with_exit_code(7);
            })
        };
        let result = instance.with(|mut store, _| {
            let forever = precast_loader::Func::wrap_async(&mut store, move |_, (): ()| {
                started.store(1, Ordering::SeqCst);
                Box::new(std::future::pending::<()>())
            });
            let forever = forever.typed::<(), ()>(&store)?;
            block_on(forever.call_async(&mut store, ()))
        });
        assert!(
            matches!(result, Err(Error::Closed { exit_code: 7, .. })),
            "{result:?}"
        );
        closing.join().unwrap();
    }
}

/// A host that says what happens at a deadline need not set one first.
#[test]
fn a_callback_has_a_deadline_from_the_start() {
    for (engine, module) in modules() {
        let (mut store, instance) = start(&engine, &module);
        store.epoch_deadline_async_yield_and_update(1);
        let endless = func::<(), ()>(&mut store, instance, "endless");
        let mut future = Box::pin(endless.call_async(&mut store, ()));
        for _ in 0..3 {
            assert!(poll_once(future.as_mut()).is_pending(), "the code ends");
            engine.increment_epoch();
        }
        drop(future);
        // A deadline that is set stays.
        let (mut store, instance) = start(&engine, &module);
        store.set_epoch_deadline(1000).unwrap();
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Interrupt));
        let mix = func::<i32, i64>(&mut store, instance, "mix");
        mix.call(&mut store, 300).unwrap();
    }
}

/// Code without epochs goes on to work in a store with a callback that is never called.
#[test]
fn a_callback_asks_nothing_of_code_without_epochs() {
    let engine = Engine::default();
    for strategy in strategies() {
        let module = Source::new(strategy).module(&engine, "(module (func (export \"f\")))");
        let mut store = Store::new(&engine, ());
        Instance::new(&mut store, &module, &[]).unwrap();
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Interrupt));
        Instance::new(&mut store, &module, &[]).unwrap();
    }
}
