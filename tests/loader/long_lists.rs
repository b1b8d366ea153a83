//! Modules with more of something than fits in 15 or 16 bits.

use precast_loader::{Instance, Store, TypedFunc, Val};
use precast_tests::{module, store, strategies};

fn function(wat: &str, strategy: precast_artifact::Strategy) -> (Store<()>, TypedFunc<i32, i32>) {
    let mut store = store();
    let module = module(store.engine(), wat, strategy);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let function = instance.get_typed_func(&mut store, "f").unwrap();
    (store, function)
}

#[test]
fn branch_tables() {
    for targets in [65_520, 65_521, 300_000] {
        let list = "0 1 ".repeat(targets / 2) + if targets % 2 == 0 { "" } else { "0" };
        let wat = format!(
            r#"(module (func (export "f") (param i32) (result i32)
                (block (block (block (br_table {list} 2 (local.get 0)))
                    (return (i32.const 10)))
                    (return (i32.const 11)))
                (i32.const 12)))"#
        );
        for strategy in strategies() {
            let (mut store, function) = function(&wat, strategy);
            let targets = targets as i32;
            for (index, expected) in [
                (0, 10),
                (1, 11),
                (targets - 1, 10 + (targets - 1) % 2),
                (targets, 12),
                (targets + 1, 12),
                (i32::MAX, 12),
                (-1, 12),
            ] {
                assert_eq!(
                    function.call(&mut store, index).unwrap(),
                    expected,
                    "{index}"
                );
            }
        }
    }
}

#[test]
fn data_segments() {
    // A module may have 100,000.
    for (count, passive) in [(32_769, 100), (100, 32_770), (50_000, 50_000)] {
        let active: String = (0..count)
            .map(|i| format!("(data (i32.const {}) \"\\{:02x}\")", 3 * i, i % 251))
            .collect();
        let (middle, last) = (passive / 2, passive - 1);
        let passive: String = (0..passive)
            .map(|i| format!("(data $p{i} \"\\{:02x}\")", i % 241))
            .collect();
        // Those that are named are kept for run time, among many that are not.
        let wat = format!(
            r#"(module (memory (export "m") 8) {active} {passive}
            (func (export "f") (param i32) (result i32)
                (memory.init $p{middle} (local.get 0) (i32.const 0) (i32.const 1))
                (memory.init $p{last} (i32.add (local.get 0) (i32.const 1)) (i32.const 0) (i32.const 1))
                (data.drop $p{last})
                (i32.load16_u (local.get 0))))"#
        );
        for strategy in strategies() {
            let mut store = store();
            let module = module(store.engine(), &wat, strategy);
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let memory = instance.get_memory(&mut store, "m").unwrap();
            for i in 0..count {
                assert_eq!(memory.data(&store)[3 * i], (i % 251) as u8, "{i}");
            }
            let function: TypedFunc<i32, i32> = instance.get_typed_func(&mut store, "f").unwrap();
            let expected = middle % 241 + (last % 241) * 256;
            assert_eq!(function.call(&mut store, 500_000).unwrap(), expected);
            // The second time the last one is dropped.
            assert!(function.call(&mut store, 500_000).is_err());
        }
    }
}

#[test]
fn element_segments() {
    for (count, passive) in [(32_769, 100), (100, 32_770), (50_000, 50_000)] {
        let active: String = (0..count)
            .map(|i| format!("(elem (i32.const {i}) $f{})", i % 3))
            .collect();
        let (middle, last) = (passive / 2, passive - 1);
        let passive: String = (0..passive)
            .map(|i| format!("(elem $p{i} funcref (ref.func $f{}))", i % 2))
            .collect();
        let wat = format!(
            r#"(module (type $t (func (result i32))) (table {count} funcref) (table $u 2 funcref)
            {active} {passive}
            (func $f0 (result i32) (i32.const 100))
            (func $f1 (result i32) (i32.const 101))
            (func $f2 (result i32) (i32.const 102))
            (func (export "f") (param i32) (result i32) (call_indirect 0 (type $t) (local.get 0)))
            (func (export "init") (param i32) (result i32)
                (table.init $u $p{middle} (i32.const 0) (i32.const 0) (i32.const 1))
                (table.init $u $p{last} (i32.const 1) (i32.const 0) (i32.const 1))
                (elem.drop $p{last})
                (call_indirect $u (type $t) (local.get 0))))"#
        );
        for strategy in strategies() {
            let mut store = store();
            let module = module(store.engine(), &wat, strategy);
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let function: TypedFunc<i32, i32> = instance.get_typed_func(&mut store, "f").unwrap();
            for i in [0, 1, 2, count / 2, count - 1] {
                let found = function.call(&mut store, i).unwrap();
                assert_eq!(found, 100 + i % 3, "{i}");
            }
            assert!(function.call(&mut store, count).is_err());
            let init = instance.get_func(&mut store, "init").unwrap();
            let mut results = [Val::I32(0)];
            init.call(&mut store, &[Val::I32(1)], &mut results).unwrap();
            assert_eq!(results[0].i32(), Some(100 + last % 2));
            assert!(init.call(&mut store, &[Val::I32(0)], &mut results).is_err());
        }
    }
}
