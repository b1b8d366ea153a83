//! Handlers of exceptions: live references, alignment of the VM context, fuel.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use precast_artifact::{Interruption, Strategy};
use precast_loader::{Engine, ExternRef, Instance, Linker, Module, Store, Trap, Val};
use precast_tests::{Source, strategies, trap};

/// A value that counts when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The module with each strategy.
fn modules(engine: &Engine, wat: &str, interruption: Interruption) -> Vec<(Strategy, Module)> {
    let module = |strategy| {
        Source::new(strategy)
            .interruption(interruption)
            .module(engine, wat)
    };
    strategies()
        .map(|strategy| (strategy, module(strategy)))
        .into()
}

/// References that only a handler uses are live across the call that throws, also when references
/// are collected in it.
#[test]
fn references_that_only_handlers_use_are_kept() {
    const WAT: &str = r#"(module
        (import "h" "take" (func $take (param externref)))
        (import "h" "make" (func $make (result externref)))
        (tag $t)
        (tag $e (param externref))
        ;; Makes so many references that those that nothing holds are collected.
        (func $burn (param i32)
            (try_table)
            (loop $l
                (drop (call $make))
                (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (throw $t))
        (func (export "local") (param i32) (local $r externref)
            (local.set $r (call $make))
            (block $h (try_table (catch $t $h) (call $burn (local.get 0))) (return))
            (call $take (local.get $r)))
        (func (export "old") (param i32) (local $r externref)
            (local.set $r (call $make))
            try (call $burn (local.get 0)) catch $t (call $take (local.get $r)) end)
        ;; The reference is on the operand stack, below the block.
        (func (export "operand") (param i32)
            (call $make)
            (block $h (try_table (catch_all $h) (call $burn (local.get 0))) (unreachable))
            (call $take))
        ;; The exception holds the reference, and only the handler of a second throw uses it.
        (func (export "exception") (param i32) (local $x exnref)
            (block $first (result externref exnref)
                (try_table (catch_ref $e $first) (throw $e (call $make))) (unreachable))
            (local.set $x) (drop)
            (block $second
                (try_table (catch_all $second) (call $burn (local.get 0))) (unreachable))
            (block $third (result externref)
                (try_table (catch $e $third) (throw_ref (local.get $x))) (unreachable))
            (call $take))
        ;; A loop, so that the reference that the handler uses is another one each time.
        (func (export "loop") (param i32) (local $r externref) (local $n i32)
            (local.set $n (i32.const 5))
            (loop $l
                (local.set $r (call $make))
                (block $h (try_table (catch_all $h) (call $burn (local.get 0))) (unreachable))
                (call $take (local.get $r))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
    let engine = Engine::default();
    for (how, module) in modules(&engine, WAT, Interruption::None) {
        for name in ["local", "old", "operand", "exception", "loop"] {
            let gone = Arc::new(AtomicUsize::new(0));
            let taken = Arc::new(AtomicUsize::new(0));
            let mut linker = Linker::<()>::new(&engine);
            let counter = Arc::clone(&gone);
            let make = move || Some(ExternRef::new(Counted(Arc::clone(&counter))));
            linker.func_wrap("h", "make", make).unwrap();
            let counter = Arc::clone(&taken);
            let take = move |value: Option<ExternRef>| {
                let value = value.unwrap();
                assert!(value.data().downcast_ref::<Counted>().is_some());
                counter.fetch_add(1, Ordering::SeqCst);
            };
            linker.func_wrap("h", "take", take).unwrap();
            let mut store = Store::new(&engine, ());
            let instance = linker.instantiate(&mut store, &module).unwrap();
            let func = instance
                .get_typed_func::<i32, ()>(&mut store, name)
                .unwrap();
            func.call(&mut store, 20_000).unwrap();
            let expected = if name == "loop" { 5 } else { 1 };
            assert_eq!(taken.load(Ordering::SeqCst), expected, "{name} {how}");
            // They were collected while the function ran.
            assert!(gone.load(Ordering::SeqCst) > 10_000, "{name} {how}");
        }
    }
}

/// Whatever the number of tags, the parts of the VM context after them are aligned: globals of
/// vectors, references, tables and memories work.
#[test]
fn any_number_of_tags_leaves_the_context_aligned() {
    let engine = Engine::default();
    for imported in 0..4 {
        for defined in 0..4 {
            let imports = r#"(import "e" "t" (tag (param i32)))"#.repeat(imported);
            let tags = "(tag (param i32))".repeat(defined);
            let throws: String = (0..imported + defined)
                .map(|tag| {
                    format!(
                        r#"(func (export "throw{tag}") (result i32)
                        (block $h (result i32) (try_table (catch {tag} $h)
                            (throw {tag} (i32.const {tag}))) (unreachable)))"#
                    )
                })
                .collect();
            let wat = format!(
                r#"(module {imports} {tags} {throws}
                (memory 1) (table $t 3 funcref) (elem (table $t) (i32.const 1) func $seven)
                (global $v (mut v128) (v128.const i64x2 1 2))
                (global $r (mut funcref) (ref.null func))
                (global $i (mut i32) (i32.const 3))
                (global $w (mut v128) (v128.const i64x2 3 4))
                (func $seven (result i32) (i32.const 7))
                (func (export "use") (result i32)
                    (global.set $v (i64x2.add (global.get $v) (global.get $w)))
                    (global.set $r (table.get $t (i32.const 1)))
                    (table.set $t (i32.const 2) (global.get $r))
                    (i32.store (i32.const 8) (global.get $i))
                    (i32.add
                        (i32.add (call_indirect $t (result i32) (i32.const 2))
                            (i32.load (i32.const 8)))
                        (i32.wrap_i64 (i64.add (i64x2.extract_lane 0 (global.get $v))
                            (i64x2.extract_lane 1 (global.get $v)))))))"#
            );
            let exporter = r#"(module (tag (export "t") (param i32)))"#;
            let exporters = modules(&engine, exporter, Interruption::None);
            for ((how, module), (_, exporter)) in modules(&engine, &wat, Interruption::None)
                .iter()
                .zip(&exporters)
            {
                let mut store = Store::new(&engine, ());
                let exporter = Instance::new(&mut store, exporter, &[]).unwrap();
                let tag = exporter.get_export(&mut store, "t").unwrap();
                let items = vec![tag; imported];
                let instance = Instance::new(&mut store, module, &items).unwrap();
                let mut call = |name: &str| {
                    let func = instance.get_typed_func::<(), i32>(&mut store, name);
                    func.unwrap().call(&mut store, ()).unwrap()
                };
                assert_eq!(call("use"), 20, "{imported} {defined} {how}");
                for tag in 0..imported + defined {
                    assert_eq!(call(&format!("throw{tag}")), tag as i32, "{how}");
                }
            }
        }
    }
}

/// What a call through a reference used is counted, whether it returns, throws past its caller, or
/// is a tail call.
#[test]
fn fuel_is_counted_where_calls_through_references_throw() {
    const WAT: &str = r#"(module
        (type $t (func (param i32)))
        (tag $e)
        (elem declare func $spend $pass)
        (func $spend (type $t)
            (try_table)
            (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (throw $e))
        (func $pass (type $t) (return_call_ref $t (local.get 0) (ref.func $spend)))
        (func $direct (type $t) (return_call $spend (local.get 0)))
        (func (export "call") (param i32)
            (block $h (try_table (catch $e $h) (call $spend (local.get 0)))))
        (func (export "ref") (param i32)
            (block $h (try_table (catch $e $h) (call_ref $t (local.get 0) (ref.func $spend)))))
        (func (export "old") (param i32)
            try (call_ref $t (local.get 0) (ref.func $spend)) catch_all end)
        (func (export "tail") (param i32)
            (block $h (try_table (catch $e $h) (call_ref $t (local.get 0) (ref.func $pass)))))
        (func (export "uncaught") (param i32) (call_ref $t (local.get 0) (ref.func $spend))))"#;
    let engine = Engine::default();
    for (how, module) in modules(&engine, WAT, Interruption::Fuel) {
        let run = |name: &str, rounds: i32, fuel: u64| {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            store.set_fuel(fuel).unwrap();
            let func = instance.get_func(&mut store, name).unwrap();
            let result = func.call(&mut store, &[Val::I32(rounds)], &mut []);
            (result, fuel - store.get_fuel().unwrap())
        };
        for name in ["call", "ref", "old", "tail", "uncaught"] {
            let used = |rounds| {
                let (result, used) = run(name, rounds, 1_000_000);
                assert_eq!(result.is_ok(), name != "uncaught", "{how} {name}");
                used
            };
            let (few, many) = (used(1), used(1001));
            // Each round has the same operators, wherever the loop is called from.
            let round = (many - few) / 1000;
            assert_eq!(few + 1000 * round, many, "{how} {name}");
            assert!((4..8).contains(&round), "{how} {name}: {round}");
            let (result, left) = run(name, 1001, many / 2);
            assert_eq!(trap(result), Trap::OutOfFuel, "{how} {name}");
            assert!(left >= many / 2, "{how} {name}");
        }
        let direct = run("call", 100, 1_000_000).1;
        assert_eq!(run("ref", 100, 1_000_000).1, direct + 1, "{how}");
    }
}
