//! Where code stops when its fuel ends: at the same place, however it was compiled.

use precast_artifact::Interruption;
use precast_compiler::{Inline, OptLevel, Passes, Settings};
use precast_loader::{Engine, Instance, Module, Store, Trap};
use precast_tests::strategies;

/// Code with loops, exits and calls in them, and blocks whose branches have different costs. Each
/// step is recorded in memory.
const WAYS: &str = r#"(module
    (memory (export "memory") 1)
    (tag $t)
    (func $step (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
    (func $small (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
    (func $throws (param i32) (call $step) (if (i32.eqz (local.get 0)) (then (throw $t))))
    (func (export "ways") (param $n i32) (result i32) (local $i i32) (local $s i32)
        (loop $outer
            ;; The way that calls and the one that does not.
            (if (i32.and (local.get $n) (i32.const 1)) (then (call $step)))
            (block $skip
                (br_if $skip (i32.and (local.get $n) (i32.const 2)))
                (local.set $s (i32.add (local.get $s) (call $small (local.get $n))))
                (br_if $skip (i32.and (local.get $n) (i32.const 4)))
                (i32.store (i32.const 8) (local.get $s))
                (local.set $s (i32.sub (i32.const 7) (i32.add (local.get $s) (local.get $n)))))
            ;; A loop that is entered with more than it costs, and two ways back.
            (local.set $i (i32.add (i32.and (local.get $n) (i32.const 3)) (i32.const 1)))
            (block $out
                (loop $inner
                    (i32.store8 offset=16 (local.get $i) (local.get $s))
                    (br_if $out (i32.gt_u (local.get $i) (i32.const 3)))
                    (br_if $inner (i32.and
                        (local.tee $i (i32.sub (local.get $i) (i32.const 1))) (i32.const 1)))
                    (nop)
                    (br_if $inner (local.get $i))))
            (call $step)
            (block $a (block $b (block $c
                (br_table $a $b $c $outer (select (i32.const 9)
                    (i32.and (local.get $n) (i32.const 3)) (i32.eq (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 6)))))
                (local.set $s (i32.add (local.get $s) (i32.const 2)))
                (call $step))
                (drop (call $small (i32.const 1))))
            (drop (i32.load (i32.const 0)))
            ;; A loop of which every way back is after a call.
            (block $caught
                (loop $calls
                    (try_table (catch $t $caught) (call $throws (local.get $s)))
                    (call $step)
                    (br_if $calls (local.tee $s (i32.shr_u (local.get $s) (i32.const 9))))))
            (loop $once (call $step))
            (br_if $outer (i32.gt_s (local.get $n) (i32.const 0))))
        (local.get $s)))"#;

/// Wherever the fuel ends, code stops at the same place, whether calls are inlined, the code is
/// optimised, or fuel is counted by the carry of additions, as guarded code does.
#[test]
fn every_amount_stops_at_one_place() {
    let engine = Engine::default();
    let mut modules = Vec::new();
    for strategy in strategies() {
        for opt_level in [OptLevel::None, OptLevel::Speed] {
            for inline in [Inline::Never, Inline::Always] {
                let settings = Settings {
                    strategy,
                    opt_level,
                    interruption: Interruption::Fuel,
                    passes: Passes {
                        inline,
                        ..Passes::default()
                    },
                    ..Settings::default()
                };
                let artifact = precast_tests::compiled(WAYS, &settings).unwrap();
                // SAFETY: our own compiler has just written these bytes.
                let module = unsafe { Module::from_bytes(&engine, &artifact) }.unwrap();
                modules.push((module, format!("{strategy} {opt_level:?} {inline:?}")));
            }
        }
    }
    // What is left, how many steps were made, and the result if the call returned.
    let run = |module: &Module, fuel: u64| {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, module, &[]).unwrap();
        let func = instance.get_typed_func::<i32, i32>(&mut store, "ways");
        store.set_fuel(fuel).unwrap();
        let result = func.unwrap().call(&mut store, 11);
        let left = store.get_fuel().unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let steps = u32::from_le_bytes(memory.data(&store)[..4].try_into().unwrap());
        if let Err(error) = &result {
            assert_eq!(error.trap(), Some(Trap::OutOfFuel), "{error}");
        }
        (left, steps, result.ok())
    };
    const MAX: u64 = i64::MAX.cast_unsigned();
    let (left, all, result) = run(&modules[0].0, MAX);
    let total = MAX - left;
    assert!(
        all > 20 && total > 500 && result.is_some(),
        "{all} steps, {total} fuel"
    );
    let mut before = 0;
    for fuel in (0..total + 3).chain([MAX - 1, MAX, u64::MAX]) {
        let expected = run(&modules[0].0, fuel);
        for (module, name) in &modules[1..] {
            assert_eq!(
                run(module, fuel),
                expected,
                "{name}, fuel {fuel} of {total}"
            );
        }
        // More fuel leads at least as far, and all that is needed leads to the end.
        assert!(expected.1 >= before, "fuel {fuel}");
        before = expected.1;
        if fuel >= total {
            let left = fuel.min(MAX) - total;
            assert_eq!(expected, (left, all, result), "fuel {fuel} of {total}");
        } else if expected.2.is_none() {
            assert_eq!(expected.0, 0);
        }
    }
}
