//! The fuel that code consumes: as much as with Wasmtime 49.

use precast_artifact::{Interruption, Strategy};
use precast_loader::{Caller, Config, Engine, Error, Instance, Linker, Module, Store, Trap};
use precast_tests::{Source, strategies, trap};

fn fuel(engine: &Engine, wat: &str, strategy: Strategy) -> Module {
    let source = Source::new(strategy).interruption(Interruption::Fuel);
    source.module(engine, wat)
}

/// Each operator costs 1, except for those of the control structure. Entering a function costs 1.
#[test]
fn fuel_is_counted_exactly() {
    const WAT: &str = r#"(module
        (import "h" "left" (func $left (result i64)))
        (func (export "empty"))
        (func $add (export "add") (param i32 i32) (result i32)
            (i32.add (local.get 0) (local.get 1)))
        (func (export "structure")
            (block (nop) (drop (i32.const 1)) (block (br 0)) (return)))
        (func (export "twice") (result i32)
            (call $add (call $add (i32.const 1) (i32.const 2)) (i32.const 3)))
        (func (export "choose") (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.const 1)) (else (i32.add (i32.const 1) (i32.const 2)))))
        (func $loop (export "loop") (param i32)
            (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "tail") (param i32) (return_call $loop (local.get 0)))
        (memory 1) (table 4 funcref) (data $d "abcdefgh")
        (func (export "fill") (param i32) (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))
        (func (export "fill20") (memory.fill (i32.const 0) (i32.const 1) (i32.const 20)))
        (func (export "copy") (param i32) (memory.copy (i32.const 0) (i32.const 9) (local.get 0)))
        (func (export "init") (param i32) (memory.init $d (i32.const 0) (i32.const 1) (local.get 0)))
        (func (export "table") (param i32) (table.fill 0 (i32.const 0) (ref.null func) (local.get 0)))
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "trap") (drop (i32.const 1)) (unreachable))
        (func (export "seen") (result i64) (drop (i32.const 1)) (call $left)))"#;
    let kinds = [Interruption::Fuel, Interruption::FuelAndEpoch];
    for (strategy, kind) in strategies()
        .into_iter()
        .flat_map(|s| kinds.map(|kind| (s, kind)))
    {
        let engine = Engine::default();
        let source = Source::new(strategy).interruption(kind);
        let module = source.module(&engine, WAT);
        let mut linker: Linker<()> = Linker::new(&engine);
        let left = |mut caller: Caller<'_, ()>| {
            use precast_loader::AsContextMut;
            let mut store = caller.as_context_mut();
            let left = store.get_fuel().unwrap().cast_signed();
            store.set_fuel(50).unwrap();
            left
        };
        linker.func_wrap("h", "left", left).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let mut used = |name: &str, params: &[i32]| {
            let func = instance.get_func(&mut store, name).unwrap();
            let params: Vec<_> = params
                .iter()
                .map(|v| precast_loader::Val::I32(*v))
                .collect();
            let mut results = vec![precast_loader::Val::I32(0); func.ty(&store).results().len()];
            store.set_fuel(100).unwrap();
            let result = func.call(&mut store, &params, &mut results);
            (100 - store.get_fuel().unwrap(), result.is_ok(), results)
        };
        assert_eq!(used("empty", &[]).0, 1);
        assert_eq!(used("add", &[1, 2]).0, 1 + 3);
        assert_eq!(used("structure", &[]).0, 1 + 2);
        assert_eq!(used("twice", &[]).0, 1 + 5 + 2 * 4);
        assert_eq!(used("choose", &[1]).0, 1 + 2 + 1);
        assert_eq!(used("choose", &[0]).0, 1 + 2 + 3);
        assert_eq!(used("loop", &[1]).0, 1 + 5);
        assert_eq!(used("loop", &[9]).0, 1 + 9 * 5);
        assert_eq!(used("tail", &[9]).0, 1 + 2 + 1 + 9 * 5);
        assert_eq!(used("fill", &[10]).0, 1 + 4 + 10);
        assert_eq!(used("fill20", &[]).0, 1 + 4 + 20);
        assert_eq!(used("copy", &[7]).0, 1 + 4 + 7);
        assert_eq!(used("init", &[5]).0, 1 + 4 + 5);
        assert_eq!(used("table", &[3]).0, 1 + 4 + 3);
        assert_eq!(used("grow", &[1]).0, 1 + 2 + 1);
        let (fuel, ok, _) = used("trap", &[]);
        assert_eq!((fuel, ok), (1 + 1, false));
        // The host function sees the remaining fuel, and what it sets counts.
        let (after, ok, results) = used("seen", &[]);
        assert!(ok);
        assert!(
            matches!(results[0], precast_loader::Val::I64(97)),
            "{results:?}"
        );
        assert_eq!(after, 50);
        // With one unit more than enough, and with too little.
        let func = instance
            .get_typed_func::<i32, ()>(&mut store, "loop")
            .unwrap();
        store.set_fuel(42).unwrap();
        func.call(&mut store, 8).unwrap();
        assert_eq!(store.get_fuel().unwrap(), 1);
        store.set_fuel(36).unwrap();
        assert_eq!(trap(func.call(&mut store, 8)), Trap::OutOfFuel);
        store.set_fuel(u64::MAX).unwrap();
        assert_eq!(store.get_fuel().unwrap(), i64::MAX.cast_unsigned());
    }
}

/// A reference to a function is made by the loader at its first use only. What callees have used
/// before is not forgotten, whether that happens or not.
#[test]
fn references_to_functions_forget_nothing() {
    const WAT: &str = r#"(module
        (table 1 funcref)
        (elem declare func $callee)
        (func $callee (param $n i32)
            (try_table
                (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
        (func (export "run") (param $n i32)
            (call $callee (local.get $n))
            (table.set (i32.const 0) (ref.func $callee))))"#;
    for strategy in strategies() {
        for kind in [Interruption::Fuel, Interruption::FuelAndEpoch] {
            let engine = Engine::default();
            let source = Source::new(strategy).interruption(kind);
            let module = source.module(&engine, WAT);
            let mut store = Store::new(&engine, ());
            let instance = Linker::new(&engine).instantiate(&mut store, &module);
            let run = instance
                .unwrap()
                .get_typed_func::<i32, ()>(&mut store, "run");
            let run = run.unwrap();
            for n in [10, 10, 1000, 10] {
                store.set_fuel(10_000).unwrap();
                run.call(&mut store, n).unwrap();
                let used = 10_000 - store.get_fuel().unwrap();
                let expected = (1 + 2) + (1 + 1 + 5 * n as u64) + 3;
                assert_eq!(used, expected, "{strategy:?} {kind:?} {n}");
            }
        }
    }
}

/// A function that declares far more locals than its code can use keeps them in its frame, and
/// makes them zero whenever it is called. That takes long, so it costs. Locals that are kept in
/// registers cost the same.
#[test]
fn declaring_very_many_locals_costs() {
    let kinds = [Interruption::Fuel, Interruption::FuelAndEpoch];
    // The code that does nothing makes the second function long enough for variables.
    for (locals, nops) in [(40_000, 0), (2_000, 300)] {
        let wat = format!(
            r#"(module
                (func (export "many") (param $x i64) (result i64) (local {}) {}
                    (i64.add (local.get $x) (i64x2.extract_lane 1 (local.get {locals})))))"#,
            "v128 ".repeat(locals),
            "(nop) ".repeat(nops)
        );
        for (strategy, kind) in strategies()
            .into_iter()
            .flat_map(|s| kinds.map(|kind| (s, kind)))
        {
            let engine = Engine::default();
            let source = Source::new(strategy).interruption(kind);
            let module = source.module(&engine, &wat);
            let mut store = Store::new(&engine, ());
            let instance = Linker::new(&engine).instantiate(&mut store, &module);
            let many = instance
                .unwrap()
                .get_typed_func::<i64, i64>(&mut store, "many");
            let many = many.unwrap();
            // Entering, four operators, and two for each local beyond the first 16 KiB.
            let cost = 1 + 4 + 2 * locals as u64 - (16 << 10) / 8;
            store.set_fuel(2 * cost).unwrap();
            assert_eq!(many.call(&mut store, 7).unwrap(), 7);
            assert_eq!(store.get_fuel().unwrap(), cost);
            many.call(&mut store, 7).unwrap();
            assert_eq!(store.get_fuel().unwrap(), 0);
            assert_eq!(trap(many.call(&mut store, 7)), Trap::OutOfFuel);
        }
    }
}

/// An operator on a range costs one for each unit if it succeeds. If it fails, it costs as much as
/// any operator, however long the range is. Growth by a small constant is charged in either case.
#[test]
fn ranges_are_charged_when_the_operator_succeeds() {
    const WAT: &str = r#"(module
        (memory 2 10) (memory $m64 i64 1 8)
        (table $t 100 200 funcref) (table $t64 i64 10 20 funcref)
        (data $d "0123456789") (elem $e func $x $x $x) (func $x)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "grow -1") (drop (memory.grow (i32.const -1))))
        (func (export "grow 5000") (drop (memory.grow (i32.const 5000))))
        (func (export "grow 3") (drop (memory.grow (i32.const 3))))
        (func (export "grow 100") (drop (memory.grow (i32.const 100))))
        (func (export "grow64 100000") (drop (memory.grow $m64 (i64.const 100000))))
        (func (export "grow64 -1") (drop (memory.grow $m64 (i64.const -1))))
        (func (export "tgrow -1") (drop (table.grow $t (ref.null func) (i32.const -1))))
        (func (export "tgrow 50") (drop (table.grow $t (ref.null func) (i32.const 50))))
        (func (export "tgrow64 -1") (drop (table.grow $t64 (ref.null func) (i64.const -1))))
        (func (export "fill oob") (memory.fill (i32.const 0) (i32.const 1) (i32.const -1)))
        (func (export "fill") (memory.fill (i32.const 0) (i32.const 1) (i32.const 70000)))
        (func (export "fill64 oob")
            (memory.fill $m64 (i64.const 0) (i32.const 1) (i64.const -1)))
        (func (export "copy oob") (memory.copy (i32.const 0) (i32.const 1) (i32.const -1)))
        (func (export "copy") (memory.copy (i32.const 0) (i32.const 1) (i32.const 70000)))
        (func (export "init oob") (memory.init $d (i32.const 0) (i32.const 1) (i32.const -1)))
        (func (export "init") (memory.init $d (i32.const 0) (i32.const 1) (i32.const 9)))
        (func (export "tfill oob") (table.fill $t (i32.const 0) (ref.null func) (i32.const -1)))
        (func (export "tfill") (table.fill $t (i32.const 0) (ref.null func) (i32.const 99)))
        (func (export "tcopy oob") (table.copy $t $t (i32.const 0) (i32.const 0) (i32.const -1)))
        (func (export "tcopy") (table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 90)))
        (func (export "tinit oob") (table.init $t $e (i32.const 0) (i32.const 0) (i32.const -1)))
        (func (export "tinit") (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 3))))"#;
    // The name of the export, its cost, and whether it returns.
    const CASES: [(&str, u64, bool); 26] = [
        ("grow -1", 3, true),
        ("grow 5000", 3, true),
        ("grow 3", 6, true),
        ("grow 100", 103, true),
        ("grow64 100000", 3, true),
        ("grow64 -1", 3, true),
        ("tgrow -1", 4, true),
        ("tgrow 50", 54, true),
        ("tgrow64 -1", 4, true),
        ("fill oob", 5, false),
        ("fill", 70_005, true),
        ("fill64 oob", 5, false),
        ("copy oob", 5, false),
        ("copy", 70_005, true),
        ("init oob", 5, false),
        ("init", 14, true),
        ("tfill oob", 5, false),
        ("tfill", 104, true),
        ("tcopy oob", 5, false),
        ("tcopy", 95, true),
        ("tinit oob", 5, false),
        ("tinit", 8, true),
        // Operators that failed leave nothing behind.
        ("grow -1", 3, true),
        ("tgrow -1", 4, true),
        ("fill oob", 5, false),
        ("fill", 70_005, true),
    ];
    for strategy in strategies() {
        let engine = Engine::default();
        let module = fuel(&engine, WAT, strategy);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for (name, cost, returns) in CASES {
            let func = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
            store.set_fuel(1 << 40).unwrap();
            let result = func.call(&mut store, ());
            assert_eq!(result.is_ok(), returns, "{name} {strategy}");
            if returns || strategy == Strategy::Checked {
                assert_eq!(
                    (1 << 40) - store.get_fuel().unwrap(),
                    cost,
                    "{name} {strategy}"
                );
            }
        }
        let grow = instance
            .get_typed_func::<i32, i32>(&mut store, "grow")
            .unwrap();
        // With no fuel left, growth that fails goes on, because it does not check the fuel. Growth
        // that succeeds has to be paid for.
        store.set_fuel(3).unwrap();
        assert_eq!(grow.call(&mut store, -1).unwrap(), -1);
        assert_eq!(store.get_fuel().unwrap(), 0);
        store.set_fuel(4).unwrap();
        assert_eq!(trap(grow.call(&mut store, 1)), Trap::OutOfFuel);
        store.set_fuel(5).unwrap();
        assert_eq!(grow.call(&mut store, 1).unwrap(), 6);
        assert_eq!(store.get_fuel().unwrap(), 1);
    }
}

/// A range is paid for before it is worked on: a guest without fuel cannot have gigabytes copied.
#[test]
fn ranges_are_paid_for_before_they_are_worked_on() {
    const WAT: &str = r#"(module
        (memory (export "m") 16)
        (func (export "fill") (param i32)
            (memory.fill (i32.const 0) (i32.const 7) (local.get 0)))
        (func (export "copy") (param i32)
            (memory.copy (i32.const 0) (i32.const 500000) (local.get 0))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = fuel(&engine, WAT, strategy);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        memory.data_mut(&mut store)[500_000] = 9;
        for name in ["fill", "copy"] {
            let func = instance
                .get_typed_func::<i32, ()>(&mut store, name)
                .unwrap();
            store.set_fuel(400_000).unwrap();
            assert_eq!(trap(func.call(&mut store, 400_000)), Trap::OutOfFuel);
            assert_eq!(
                (store.get_fuel().unwrap(), memory.data(&store)[0]),
                (0, 0),
                "{name}"
            );
        }
    }
}

/// Code with fuel and epochs ends by what comes first, and both are told apart.
#[test]
fn fuel_and_a_deadline_together() {
    const WAT: &str = r#"(module
        (func (export "spin") (loop (br 0)))
        (func $again (export "again") (call $again2)) (func $again2 (return_call $again)))"#;
    for strategy in strategies() {
        let mut config = Config::new();
        let engine = Engine::new(config.epoch_interruption(true).consume_fuel(true)).unwrap();
        let source = Source::new(strategy).interruption(Interruption::FuelAndEpoch);
        let module = source.module(&engine, WAT);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for name in ["spin", "again"] {
            let func = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
            store.set_fuel(1_000).unwrap();
            store.set_epoch_deadline(1).unwrap();
            assert_eq!(trap(func.call(&mut store, ())), Trap::OutOfFuel);
            assert_eq!(store.get_fuel().unwrap(), 0);
            store.set_fuel(u64::MAX).unwrap();
            if name == "spin" {
                engine.increment_epoch();
                assert_eq!(trap(func.call(&mut store, ())), Trap::Interrupt);
            }
            store.clear_epoch_deadline();
        }
        // The engine asks for both.
        for kind in [Interruption::None, Interruption::Fuel, Interruption::Epoch] {
            let module = Source::new(strategy)
                .interruption(kind)
                .module(&engine, WAT);
            let error = Instance::new(&mut store, &module, &[]).unwrap_err();
            let Error::Interruption {
                found, expected, ..
            } = error
            else {
                panic!("{error}")
            };
            assert_eq!((found, expected), (kind, Interruption::FuelAndEpoch));
        }
    }
}
