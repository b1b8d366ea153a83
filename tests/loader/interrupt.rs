//! Running code is stopped: by deadlines, by handles, by fuel.

use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use precast_artifact::{Interruption, Strategy};
use precast_loader::{
    Caller, Config, Engine, Error, Instance, Linker, Module, Store, Trap, TypedFunc,
};
use precast_tests::{Source, strategies, trap};

/// Functions that run for ever, or nearly so.
const LOOPS: &str = r#"(module
    (import "h" "host" (func $host))
    (type $v (func))
    (memory 2)
    (table 2 2 funcref)
    (elem (i32.const 0) $tail $indirect)
    (global $g (mut i32) (i32.const 0))
    (func (export "empty") (loop (br 0)))
    ;; The inner loop checks the same word as the outer one and the first one.
    (func (export "nested") (local i32)
        (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 9))))
        (loop (loop (br 0)) (br 0)))
    (func (export "counting") (local i64)
        (loop (local.set 0 (i64.add (local.get 0) (i64.const 1)))
            (br_if 0 (i64.ne (local.get 0) (i64.const -1)))))
    (func (export "table") (param i32)
        (loop (loop (br_table 0 1 0 (local.get 0)))))
    (func (export "storing")
        (loop (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
            (global.set $g (i32.load (i32.const 8))) (br 0)))
    (func $fill (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 131072)) (br 0)))
    (export "fill" (func $fill))
    (func (export "copy")
        (loop (memory.copy (i32.const 0) (i32.const 65536) (i32.const 65536)) (br 0)))
    (func $leaf (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
    (func (export "leaves") (local i32)
        (loop (local.set 0 (call $leaf (local.get 0))) (br 0)))
    (func $tree (param i32)
        (if (local.get 0) (then
            (call $tree (i32.sub (local.get 0) (i32.const 1)))
            (call $tree (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "recursion") (call $tree (i32.const 100)))
    (func $tail (export "tail") (return_call $other))
    (func $other (return_call $tail))
    (func $indirect (export "indirect") (return_call_indirect (type $v) (i32.const 1)))
    (func (export "hosts") (loop (call $host) (br 0)))
    (func (export "host") (call $host))
    (func (export "fine") (result i32) (i32.const 7)))"#;

const NAMES: [&str; 12] = [
    "empty",
    "nested",
    "counting",
    "storing",
    "fill",
    "copy",
    "leaves",
    "recursion",
    "tail",
    "indirect",
    "hosts",
    "table",
];

/// Ends the process if the test does not end in time, because a guest was not stopped.
pub(crate) struct Watchdog(Sender<()>);

impl Watchdog {
    pub(crate) fn new() -> Self {
        let (send, receive) = channel::<()>();
        thread::spawn(move || {
            let patience = Duration::from_secs(300);
            if receive.recv_timeout(patience) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("a guest was not stopped within {patience:?}");
                std::process::exit(101);
            }
        });
        Self(send)
    }
}

fn epoch_engine() -> Engine {
    Engine::new(Config::new().epoch_interruption(true)).unwrap()
}

fn epoch(engine: &Engine, wat: &str, strategy: Strategy) -> Module {
    let source = Source::new(strategy).interruption(Interruption::Epoch);
    source.module(engine, wat)
}

fn instantiate(module: &Module) -> (Store<u32>, Instance) {
    let mut linker: Linker<u32> = Linker::new(module.engine());
    linker
        .func_wrap("h", "host", |mut caller: Caller<'_, u32>| {
            *caller.data_mut() += 1;
        })
        .unwrap();
    let mut store = Store::new(module.engine(), 0);
    let instance = linker.instantiate(&mut store, module).unwrap();
    (store, instance)
}

fn call(store: &mut Store<u32>, instance: Instance, name: &str) -> Result<(), Error> {
    if name == "table" {
        let func = instance.get_typed_func::<i32, ()>(&mut *store, name)?;
        return func.call(store, 0);
    }
    let func = instance.get_typed_func::<(), ()>(&mut *store, name)?;
    func.call(store, ())
}

fn fine(store: &mut Store<u32>, instance: Instance) -> Result<i32, Error> {
    let func: TypedFunc<(), i32> = instance.get_typed_func(&mut *store, "fine")?;
    func.call(store, ())
}

#[test]
fn deadlines_stop_every_loop_and_recursion() {
    let dog = Watchdog::new();
    for strategy in strategies() {
        let engine = epoch_engine();
        let module = epoch(&engine, LOOPS, strategy);
        assert_eq!(module.interruption(), Interruption::Epoch);
        for name in NAMES {
            let (mut store, instance) = instantiate(&module);
            store.set_epoch_deadline(2).unwrap();
            let ticks = thread::spawn(move || {
                for _ in 0..2 {
                    thread::sleep(Duration::from_millis(5));
                    engine.increment_epoch();
                }
            });
            let error = call(&mut store, instance, name).unwrap_err();
            let interrupt = error.trap().expect(name);
            assert_eq!(interrupt, Trap::Interrupt, "{name} {strategy}");
            assert!(
                !error.backtrace().unwrap().frames().is_empty(),
                "{name} {strategy}"
            );
            ticks.join().unwrap();
            assert_eq!(
                fine(&mut store, instance).unwrap(),
                7,
                "short functions pass"
            );
            // The deadline stays in the past until another one is set.
            assert_eq!(trap(call(&mut store, instance, "empty")), Trap::Interrupt);
            store.set_epoch_deadline(1).unwrap();
            call(&mut store, instance, "host").unwrap();
            engine.increment_epoch();
            assert_eq!(trap(call(&mut store, instance, "host")), Trap::Interrupt);
            store.clear_epoch_deadline();
            call(&mut store, instance, "host").unwrap();
        }
    }
    drop(dog.0);
}

#[test]
fn fuel_stops_every_loop_and_recursion() {
    let dog = Watchdog::new();
    for strategy in strategies() {
        let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
        let source = Source::new(strategy).interruption(Interruption::Fuel);
        let module = source.module(&engine, LOOPS);
        for name in NAMES {
            let (mut store, instance) = instantiate(&module);
            let none = call(&mut store, instance, name);
            assert_eq!(trap(none), Trap::OutOfFuel, "{name} without any");
            store.set_fuel(1000).unwrap();
            let error = call(&mut store, instance, name).unwrap_err();
            assert_eq!(error.trap(), Some(Trap::OutOfFuel));
            assert!(
                error
                    .to_string()
                    .starts_with("wasm trap: all fuel consumed"),
                "{error}"
            );
            assert_eq!(store.get_fuel().unwrap(), 0, "{name} {strategy}");
            assert_eq!(trap(fine(&mut store, instance)), Trap::OutOfFuel);
            store.set_fuel(1000).unwrap();
            assert_eq!(fine(&mut store, instance).unwrap(), 7);
        }
    }
    drop(dog.0);
}

#[test]
fn handles_work_from_anywhere_and_outlive_the_store() {
    let dog = Watchdog::new();
    for strategy in strategies() {
        let engine = epoch_engine();
        let module = epoch(&engine, LOOPS, strategy);
        let (mut store, instance) = instantiate(&module);
        let handle = store.interrupt_handle();
        let other = handle.clone();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            other.interrupt();
        });
        assert_eq!(trap(call(&mut store, instance, "nested")), Trap::Interrupt);
        thread.join().unwrap();
        assert_eq!(trap(call(&mut store, instance, "nested")), Trap::Interrupt);
        handle.clear();
        call(&mut store, instance, "host").unwrap();
        // Clearing one reason does not clear the other.
        handle.interrupt();
        store.set_epoch_deadline(5).unwrap();
        assert_eq!(trap(call(&mut store, instance, "host")), Trap::Interrupt);
        handle.clear();
        call(&mut store, instance, "host").unwrap();
        drop(store);
        handle.interrupt();
        handle.clear();
        engine.increment_epoch();
        // Taking the data out of a store ends the store.
        let (mut store, _) = instantiate(&module);
        let handle = store.interrupt_handle();
        store.set_epoch_deadline(1).unwrap();
        store.into_data();
        handle.interrupt();
        engine.increment_epoch();
    }
    drop(dog.0);
}

#[test]
fn host_functions_can_stop_their_caller_whatever_its_code() {
    for interruption in Interruption::ALL {
        for strategy in strategies() {
            let engine = Engine::default();
            let source = Source::new(strategy).interruption(*interruption);
            let module = source.module(&engine, LOOPS);
            let mut linker: Linker<u32> = Linker::new(&engine);
            let stop = |mut caller: Caller<'_, u32>| {
                use precast_loader::AsContextMut;
                *caller.data_mut() += 1;
                if *caller.data() == 3 {
                    caller.as_context_mut().interrupt_handle().interrupt();
                }
            };
            linker.func_wrap("h", "host", stop).unwrap();
            let mut store = Store::new(&engine, 0);
            if interruption.counts_fuel() {
                store.set_fuel(1000).unwrap();
            }
            let instance = linker.instantiate(&mut store, &module).unwrap();
            assert_eq!(trap(call(&mut store, instance, "hosts")), Trap::Interrupt);
            assert_eq!(*store.data(), 3);
        }
    }
}

#[test]
fn start_functions_are_stopped() {
    let dog = Watchdog::new();
    for strategy in strategies() {
        let engine = epoch_engine();
        let module = epoch(
            &engine,
            "(module (func $f (loop (br 0))) (start $f))",
            strategy,
        );
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1).unwrap();
        let ticks = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            engine.increment_epoch();
        });
        assert_eq!(
            trap(Instance::new(&mut store, &module, &[])),
            Trap::Interrupt
        );
        ticks.join().unwrap();
    }
    drop(dog.0);
}

/// Two instances make tail calls of each other's functions for ever.
#[test]
fn tail_calls_between_instances_are_stopped() {
    let dog = Watchdog::new();
    for strategy in strategies() {
        let engine = epoch_engine();
        let first = epoch(
            &engine,
            r#"(module (type $v (func)) (table (export "t") 1 1 funcref)
                (func (export "f") (return_call_indirect (type $v) (i32.const 0))))"#,
            strategy,
        );
        let second = epoch(
            &engine,
            r#"(module (import "a" "t" (table 1 1 funcref)) (import "a" "f" (func $f))
                (func $g (return_call $f)) (elem (i32.const 0) $g))"#,
            strategy,
        );
        let mut store = Store::new(&engine, ());
        let a = Instance::new(&mut store, &first, &[]).unwrap();
        let mut linker: Linker<()> = Linker::new(&engine);
        linker.instance(&mut store, "a", a).unwrap();
        linker.instantiate(&mut store, &second).unwrap();
        store.set_epoch_deadline(1).unwrap();
        let ticks = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            engine.increment_epoch();
        });
        let f = a.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        assert_eq!(trap(f.call(&mut store, ())), Trap::Interrupt);
        ticks.join().unwrap();
    }
    drop(dog.0);
}

#[test]
fn engines_have_their_own_epochs_and_refuse_other_code() {
    let (a, b) = (epoch_engine(), epoch_engine());
    let module = epoch(&a, LOOPS, Strategy::Guarded);
    let (mut store, instance) = instantiate(&module);
    store.set_epoch_deadline(1).unwrap();
    b.increment_epoch();
    call(&mut store, instance, "host").unwrap();
    a.increment_epoch();
    assert_eq!(trap(call(&mut store, instance, "host")), Trap::Interrupt);

    let fuel = Engine::new(Config::new().consume_fuel(true)).unwrap();
    for (engine, found, expected) in [
        (a, "none", "epoch"),
        (a, "fuel", "epoch"),
        (fuel, "none", "fuel"),
    ] {
        let interruption = Interruption::ALL
            .iter()
            .find(|i| i.text() == found)
            .unwrap();
        let source = Source::new(Strategy::Checked).interruption(*interruption);
        let module = source.module(&engine, "(module)");
        let mut store = Store::new(&engine, ());
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert!(matches!(error, Error::Interruption { .. }));
        assert_eq!(
            error.to_string(),
            format!(
                "the module was compiled with interruption `{found}`, and the engine asks for \
                 `{expected}`: compile it again with `--interruption {expected}`"
            )
        );
    }
}

/// After an instance was stopped while it wrote, the next instance in its slot finds nothing of it.
#[test]
fn pooled_instances_are_clean_after_an_interrupt() {
    const WAT: &str = r#"(module
        (memory (export "m") 4)
        (data (i32.const 70000) "initial")
        (global $g (export "g") (mut i64) (i64.const 5))
        (func (export "scribble") (local i32)
            (loop
                (global.set $g (i64.const -1))
                (i32.store8 (i32.and (local.get 0) (i32.const 0x3ffff)) (i32.const 0xee))
                (local.set 0 (i32.add (local.get 0) (i32.const 61)))
                (br 0))))"#;
    let dog = Watchdog::new();
    for interruption in [Interruption::Epoch, Interruption::Fuel] {
        for strategy in strategies() {
            let engine = Engine::default();
            let source = Source::new(strategy).interruption(interruption);
            let module = source.module(&engine, WAT);
            let linker: Linker<()> = Linker::new(&engine);
            let pre = linker.instantiate_pre(&module).unwrap();
            for round in 0..30 {
                let mut store = Store::new(&engine, ());
                let instance = pre.instantiate(&mut store).unwrap();
                let memory = instance.get_memory(&mut store, "m").unwrap();
                let mut expected = vec![0; 4 << 16];
                expected[70000..70007].copy_from_slice(b"initial");
                assert!(
                    memory.data(&store) == expected,
                    "{interruption} {strategy} {round}"
                );
                let global = instance.get_global(&mut store, "g").unwrap();
                assert!(matches!(
                    global.get(&mut store),
                    precast_loader::Val::I64(5)
                ));
                if interruption == Interruption::Fuel {
                    store.set_fuel(200_000).unwrap();
                }
                let handle = store.interrupt_handle();
                let stop = (interruption == Interruption::Epoch).then(|| {
                    thread::spawn(move || {
                        thread::sleep(Duration::from_millis(1));
                        handle.interrupt();
                    })
                });
                let scribble = instance
                    .get_typed_func::<(), ()>(&mut store, "scribble")
                    .unwrap();
                assert!(scribble.call(&mut store, ()).is_err());
                if let Some(stop) = stop {
                    stop.join().unwrap();
                }
                // A new store is not stopped, even if its instance is a reused one.
            }
        }
    }
    drop(dog.0);
}

/// Stores with deadlines are made and dropped on several threads while epochs pass.
#[test]
fn stores_come_and_go_while_epochs_pass() {
    let dog = Watchdog::new();
    let engine = epoch_engine();
    let module = epoch(&engine, LOOPS, Strategy::Guarded);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|i| {
                let module = &module;
                scope.spawn(move || {
                    for round in 0..100 {
                        let (mut store, instance) = instantiate(module);
                        store.set_epoch_deadline(1 + (round + i) % 4).unwrap();
                        let handle = store.interrupt_handle();
                        if round % 3 == 0 {
                            store.into_data();
                            handle.interrupt();
                            continue;
                        }
                        if round % 5 == 0 {
                            handle.interrupt();
                        }
                        assert_eq!(trap(call(&mut store, instance, "nested")), Trap::Interrupt);
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            engine.increment_epoch();
            thread::sleep(Duration::from_micros(200));
        }
    });
    drop(dog.0);
}

/// Fuel and deadlines are errors for code that checks neither, because it would run for ever.
#[test]
fn what_would_do_nothing_is_an_error() {
    let engine = Engine::default();
    for interruption in Interruption::ALL {
        let source = Source::new(Strategy::Guarded).interruption(*interruption);
        let module = source.module(&engine, LOOPS);
        let (fuel, epoch) = (Interruption::Fuel, Interruption::Epoch);
        let message = |asked_by: &str, expected: Interruption| {
            format!(
                "the module was compiled with interruption `{interruption}`, and {asked_by} asks for \
                 `{expected}`: compile it again with `--interruption {expected}`"
            )
        };
        // The instance exists before fuel or a deadline is set.
        let (mut store, _) = instantiate(&module);
        let given = store.set_fuel(9).map_err(|error| error.to_string());
        let refused = || Err(message("the store's fuel", fuel));
        assert_eq!(
            given,
            if interruption.counts_fuel() {
                Ok(())
            } else {
                refused()
            }
        );
        store.set_fuel(u64::MAX).unwrap();
        let given = store
            .set_epoch_deadline(1)
            .map_err(|error| error.to_string());
        let refused = || Err(message("the store's deadline", epoch));
        assert_eq!(
            given,
            if interruption.has_epochs() {
                Ok(())
            } else {
                refused()
            }
        );
        // Fuel or a deadline is set before the instance is made.
        let instantiate = |prepare: fn(&mut Store<()>)| {
            let mut linker: Linker<()> = Linker::new(&engine);
            linker.func_wrap("h", "host", || {}).unwrap();
            let mut store = Store::new(&engine, ());
            prepare(&mut store);
            let made = linker.instantiate(&mut store, &module);
            made.map(drop).map_err(|error| error.to_string())
        };
        let made = instantiate(|store| store.set_fuel(9).unwrap());
        let refused = || Err(message("the store's fuel", fuel));
        assert_eq!(
            made,
            if interruption.counts_fuel() {
                Ok(())
            } else {
                refused()
            }
        );
        let made = instantiate(|store| store.set_epoch_deadline(1).unwrap());
        let refused = || Err(message("the store's deadline", epoch));
        assert_eq!(
            made,
            if interruption.has_epochs() {
                Ok(())
            } else {
                refused()
            }
        );
        instantiate(|store| {
            store.set_epoch_deadline(1).unwrap();
            store.clear_epoch_deadline();
        })
        .unwrap();
    }
}
