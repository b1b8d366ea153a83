//! Promises about what code reads of its store and of its own context.

use std::thread;
use std::time::Duration;

use precast_artifact::Interruption;
use precast_loader::{
    AsContextMut, Caller, Engine, Error, Instance, Linker, Store, StoreLimitsBuilder, Trap,
};
use precast_tests::{Source, module, strategies};

#[test]
fn a_reused_instance_uses_its_new_store() {
    // Code reaches its store by import slots, by routines of the loader with and without a thunk,
    // and by traps.
    let wat = r#"(module (import "h" "n" (func $n (result i32))) (memory 1)
        (func (export "n") (result i32)
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 300))
            (memory.copy (i32.const 300) (i32.const 0) (i32.const 300))
            (i32.add (call $n) (i32.mul (i32.const 1000) (i32.load8_u (i32.const 599)))))
        (func (export "grow") (result i32) (memory.grow (i32.const 2)))
        (func $down (export "down") (result i32) (i32.add (i32.const 1) (call $down)))
        (func (export "trap") (result i32) (unreachable)))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<i32> = Linker::new(&engine);
        let n = |caller: Caller<'_, i32>| *caller.data();
        linker.func_wrap("h", "n", n).unwrap();
        let pre = linker.instantiate_pre(&module).unwrap();
        let round = |round: i32| {
            // Another store may be at the address of the last one.
            let _other = (round % 2 == 0).then(|| Store::new(&engine, -1));
            let mut store = Store::new(&engine, round);
            let limits = StoreLimitsBuilder::new().memory_size(if round % 2 == 0 {
                65536
            } else {
                usize::MAX
            });
            store.set_limits(limits.build());
            let instance = pre.instantiate(&mut store).unwrap();
            let mut call = |name: &str| {
                let func = instance.get_typed_func::<(), i32>(&mut store, name)?;
                func.call(&mut store, ())
            };
            assert_eq!(call("n").unwrap(), 1000 + round, "{strategy}");
            assert_eq!(call("grow").unwrap(), if round % 2 == 0 { -1 } else { 1 });
            for (name, code) in [
                ("trap", Trap::UnreachableCodeReached),
                ("down", Trap::StackOverflow),
            ] {
                assert_eq!(call(name).unwrap_err().trap().unwrap(), code);
            }
            assert_eq!(call("n").unwrap(), 1000 + round, "{strategy}");
        };
        (0..8).for_each(round);
        // Two instances are used in turn.
        let mut stores = [0, 1].map(|i| Store::new(&engine, i));
        let instances = [0, 1].map(|i| pre.instantiate(&mut stores[i]).unwrap());
        for i in [0, 1, 0, 1] {
            let n = instances[i]
                .get_typed_func::<(), i32>(&mut stores[i], "n")
                .unwrap();
            assert_eq!(n.call(&mut stores[i], ()).unwrap(), 1000 + i as i32);
        }
    }
}

#[test]
fn the_stack_limit_is_that_of_the_thread() {
    let wat = r#"(module (import "h" "back" (func $back (param i32) (result i32)))
        (func $down (export "down") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
                (else (i32.const 0))))
        (func (export "both") (param i32) (result i32)
            (i32.add (call $down (i32.const 50)) (i32.add (call $back (local.get 0)) (call $down (local.get 0))))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<u32> = Linker::new(&engine);
        // A nested activation that overflows the stack must restore the limit of the outer one.
        let back = |mut caller: Caller<'_, u32>, n: i32| -> Result<i32, Error> {
            let down = caller.get_export("down").unwrap().into_func().unwrap();
            let down = down.typed::<i32, i32>(&caller)?;
            let error = down.call(&mut caller, 100_000_000).unwrap_err();
            assert_eq!(error.trap().unwrap(), Trap::StackOverflow);
            *caller.data_mut() += 1;
            down.call(&mut caller, n)
        };
        linker.func_wrap("h", "back", back).unwrap();
        let mut store = Store::new(&engine, 0);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        // The store moves between threads with larger and smaller stacks.
        for (kib, depth, fits) in [
            (4096, 10_000, true),
            (512, 100, true),
            (512, 100_000_000, false),
            (4096, 10_000, true),
            (768, 100_000_000, false),
        ] {
            let run = move || {
                let both = instance
                    .get_typed_func::<i32, i32>(&mut store, "both")
                    .unwrap();
                let result = both.call(&mut store, depth);
                (store, result)
            };
            let thread = thread::Builder::new()
                .stack_size(kib << 10)
                .spawn(run)
                .unwrap();
            let (back, result) = thread.join().unwrap();
            store = back;
            match result {
                Ok(sum) => assert_eq!((sum, fits), (50 + 2 * depth, true)),
                Err(error) => {
                    assert!(!fits, "{strategy} {kib} {depth}: {error}");
                    assert_eq!(error.trap().unwrap(), Trap::StackOverflow);
                }
            }
        }
        assert_eq!(*store.data(), 5);
    }
}

#[test]
fn the_interrupt_word_is_read_each_time() {
    // The code reads the word before the loops, and nothing in the loops writes to memory.
    let wat = r#"(module
        (func $many (param i32) (result i32)
            (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 0))
        (func (export "run") (result i32) (local $n i32)
            (local.set $n (i32.const 100))
            (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (drop (call $many (i32.const 100)))
            (loop $outer (loop $inner (br $inner)) (br $outer))
            (i32.const 1)))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let source = Source::new(strategy).interruption(Interruption::Epoch);
        let module = source.module(&engine, wat);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let handle = store.interrupt_handle();
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            handle.interrupt();
        });
        let run = instance
            .get_typed_func::<(), i32>(&mut store, "run")
            .unwrap();
        let error = run.call(&mut store, ()).unwrap_err();
        assert_eq!(error.trap().unwrap(), Trap::Interrupt, "{strategy}");
        other.join().unwrap();
    }
}

#[test]
fn fuel_that_a_host_function_gives_counts() {
    let wat = r#"(module (import "h" "more" (func $more))
        (func (export "run") (param $n i32)
            (loop $l
                (call $more)
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let source = Source::new(strategy).interruption(Interruption::Fuel);
        let module = source.module(&engine, wat);
        let mut linker: Linker<u64> = Linker::new(&engine);
        let more = |mut caller: Caller<'_, u64>| {
            let given = *caller.data();
            if given > 0 {
                caller.as_context_mut().set_fuel(given).unwrap();
            }
        };
        linker.func_wrap("h", "more", more).unwrap();
        let mut store = Store::new(&engine, 100);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance
            .get_typed_func::<i32, ()>(&mut store, "run")
            .unwrap();
        store.set_fuel(50).unwrap();
        run.call(&mut store, 10_000).unwrap();
        assert!(
            (1..100).contains(&store.get_fuel().unwrap()),
            "{}",
            store.get_fuel().unwrap()
        );
        // Giving less fuel than was left counts, too, and so does giving none.
        store.set_fuel(1_000_000).unwrap();
        *store.data_mut() = 3;
        for given in [3, 0] {
            *store.data_mut() = given;
            let error = run.call(&mut store, 10_000).unwrap_err();
            assert_eq!(error.trap().unwrap(), Trap::OutOfFuel, "{strategy}");
            store.set_fuel(1000).unwrap();
        }
    }
}

#[test]
fn every_part_of_the_context_is_used() {
    // The module has globals of all sizes, memories, tables, import slots, references and flags: a
    // part at a wrong offset would change another one.
    let wat = r#"(module
        (import "h" "n" (func $n (param i32) (result i32))) (import "h" "m" (func $m (param i32) (result i32)))
        (global $a (mut i32) (i32.const 1)) (global $v (mut v128) (v128.const i64x2 2 3))
        (global $b (mut f64) (f64.const 4))
        (memory $x (export "x") 1) (memory $y (export "y") 1 4)
        (table $t (export "t") 2 funcref) (table $u 2 funcref) (table $e (export "e") 1 externref)
        (elem $p func $f $n) (elem $q func $f) (elem declare func $m)
        (data $d "abc") (data $k "xyz")
        (type $r (func (param i32) (result i32)))
        (func $f (export "f") (param i32) (result i32) (i32.add (local.get 0) (global.get $a)))
        (func (export "run") (result i32)
            (global.set $a (i32.const 10))
            (global.set $v (v128.const i64x2 20 30))
            (global.set $b (f64.const 40))
            (i32.store $x (i32.const 0) (i32.const 50)) (i32.store $y (i32.const 0) (i32.const 60))
            (drop (memory.grow $y (i32.const 1)))
            (memory.init $y $d (i32.const 65536) (i32.const 0) (i32.const 3))
            (table.init $t $p (i32.const 0) (i32.const 0) (i32.const 2))
            (table.init $u $q (i32.const 1) (i32.const 0) (i32.const 1))
            (drop (table.grow $t (ref.func $m) (i32.const 1)))
            (data.drop $d) (elem.drop $p)
            (i32.add (i32.add (i32.add (global.get $a) (i32x4.extract_lane 2 (global.get $v)))
                    (i32.trunc_f64_s (global.get $b)))
                (i32.add (i32.add (i32.load $x (i32.const 0)) (i32.load $y (i32.const 0)))
                    (i32.add (i32.load8_u $y (i32.const 65538))
                        (i32.add (call_indirect $t (type $r) (i32.const 100) (i32.const 0))
                            (i32.add (call_indirect $t (type $r) (i32.const 200) (i32.const 1))
                                (i32.add (call_indirect $t (type $r) (i32.const 300) (i32.const 2))
                                    (call_indirect $u (type $r) (i32.const 400) (i32.const 1)))))))))
        (func (export "data") (param i32)
            (memory.init $x $d (i32.const 0) (i32.const 0) (local.get 0)))
        (func (export "other data") (param i32)
            (memory.init $x $k (i32.const 0) (i32.const 0) (local.get 0)))
        (func (export "elem") (param i32)
            (table.init $t $p (i32.const 0) (i32.const 0) (local.get 0)))
        (func (export "other elem") (param i32)
            (table.init $t $q (i32.const 0) (i32.const 0) (local.get 0))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<()> = Linker::new(&engine);
        linker.func_wrap("h", "n", |x: i32| x + 1).unwrap();
        linker.func_wrap("h", "m", |x: i32| x + 2).unwrap();
        let pre = linker.instantiate_pre(&module).unwrap();
        for _ in 0..4 {
            let mut store = Store::new(&engine, ());
            let instance = pre.instantiate(&mut store).unwrap();
            let run = instance
                .get_typed_func::<(), i32>(&mut store, "run")
                .unwrap();
            let segment = |store: &mut Store<()>, name: &str, len: i32| {
                let func = instance
                    .get_typed_func::<i32, ()>(&mut *store, name)
                    .unwrap();
                func.call(store, len).is_ok()
            };
            // After reuse, no segment is dropped.
            for (name, len) in [
                ("data", 3),
                ("other data", 3),
                ("elem", 2),
                ("other elem", 1),
            ] {
                assert!(segment(&mut store, name, len), "{name}");
            }
            let sum = 10 + 30 + 40 + 50 + 60 + 99 + 110 + 201 + 302 + 410;
            assert_eq!(run.call(&mut store, ()).unwrap(), sum, "{strategy}");
            for (name, len, there) in [
                ("data", 1, false),
                ("data", 0, true),
                ("elem", 1, false),
                ("other data", 3, true),
                ("other elem", 1, true),
            ] {
                assert_eq!(segment(&mut store, name, len), there, "{name} {len}");
            }
        }
    }
}
