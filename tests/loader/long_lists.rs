//! Modules with more of something than fits in 15 or 16 bits.

use std::collections::HashMap;
use std::time::Duration;

use precast_artifact::{Strategy, name_hash};
use precast_loader::{
    Engine, Extern, Func, Global, GlobalType, Instance, Store, TypedFunc, Val, ValType,
};
use precast_tests::{ArtifactFile, artifact, cpu_time, module, store, strategies};

fn function(wat: &str, strategy: Strategy) -> (Store<()>, TypedFunc<i32, i32>) {
    let mut store = store();
    let module = module(store.engine(), wat, strategy);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let function = instance.get_typed_func(&mut store, "f").unwrap();
    (store, function)
}

/// References to a function that are made again and again do not look its type up each time, which
/// takes longest for types of many values.
#[test]
fn references_to_one_function() {
    let wat = format!(
        r#"(module (func $f (param {}))
            (table $t 100000 funcref) (elem $e func {})
            (func (export "f") (param i32) (result i32)
                (loop $next
                    (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 100000))
                    (br_if $next (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (table.size $t)))"#,
        "i64 ".repeat(900),
        "$f ".repeat(100_000)
    );
    for strategy in strategies() {
        let (mut store, function) = function(&wat, strategy);
        let start = cpu_time();
        assert_eq!(function.call(&mut store, 5).unwrap(), 100_000);
        let took = cpu_time() - start;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
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

#[test]
fn functions_among_many_other_imports() {
    // A table refers to imported functions that are behind, among and before imports of globals.
    // What that takes must not grow with the product of references and imports.
    const REFERENCES: usize = 200_000;
    let globals = |count| r#"(import "e" "g" (global i32))"#.repeat(count);
    let import = |name: &str| format!(r#"(import "e" "{name}" (func ${name} (result i32)))"#);
    let mut took = Vec::new();
    for count in [1, 60_000] {
        let (first, second, third) = (import("a"), import("b"), import("c"));
        let (some, rest) = (globals(count / 3), globals(count - count / 3));
        let references = "$c $b $a $b ".repeat(REFERENCES / 4);
        let wat = format!(
            r#"(module {first} {some} {second} {rest} {third}
            (table (export "t") {REFERENCES} funcref) (elem (i32.const 0) {references})
            (func (export "f") (param i32) (result i32)
                (call_indirect (result i32) (local.get 0))))"#
        );
        for strategy in strategies() {
            let mut store = store();
            let module = module(store.engine(), &wat, strategy);
            assert!(format!("{module:?}").len() < 2000, "{module:?}");
            let ty = GlobalType::new(ValType::I32, false);
            let global = Global::new(&mut store, ty, Val::I32(0)).unwrap();
            let imports: Vec<Extern> = module
                .imports()
                .map(|import| match import.name() {
                    "g" => global.into(),
                    name => {
                        let value = i32::from(name.as_bytes()[0]);
                        Func::wrap(&mut store, move || value).into()
                    }
                })
                .collect();
            let start = cpu_time();
            let instance = Instance::new(&mut store, &module, &imports).unwrap();
            took.push(cpu_time() - start);
            let f = instance.get_typed_func::<i32, i32>(&mut store, "f");
            let f = f.unwrap();
            let mut call = |index| f.call(&mut store, index).unwrap() as u8;
            assert_eq!([0, 1, 2, 3].map(&mut call), *b"cbab");
            assert_eq!(call(REFERENCES as i32 - 1), b'b');
        }
    }
    assert!(took[2] < took[0] * 50 && took[3] < took[1] * 50, "{took:?}");
}

#[test]
fn references_to_functions_behind_other_imports() {
    // Opening checks the function of each initial value of a global. What that takes must not grow
    // with the product of such globals and of imports.
    const REFERENCES: usize = 60_000;
    for strategy in strategies() {
        let mut took = Vec::new();
        for others in [1, 60_000] {
            let others = r#"(import "e" "g" (global i32))"#.repeat(others);
            let references = "(global (ref null $t) (ref.func $f))".repeat(REFERENCES);
            let wat = format!(
                r#"(module (type $t (func)) {others} (import "e" "f" (func $f (type $t)))
                {references})"#
            );
            let file = ArtifactFile::new(&artifact(&wat, strategy));
            let engine = Engine::default();
            took.push(fastest(|| drop(file.open(&engine))));
        }
        assert!(took[1] < took[0] * 50, "{took:?}");
    }
}

#[test]
fn exports_whose_names_have_the_same_hash() {
    // What listing all exports, and finding each of them, takes must not grow with the square of
    // their number.
    let names = colliding_names(14);
    let strategy = Strategy::Guarded;
    let mut took = Vec::new();
    for collide in [false, true] {
        let name = |i: usize| match collide {
            true => names[i].clone(),
            false => format!("{i:0len$}", len = names[i].len()),
        };
        let names: Vec<String> = (0..names.len()).map(name).collect();
        let export = |name: &String| format!("(export \"{name}\")");
        let exports: String = names.iter().map(export).collect();
        let wat = format!("(module (func {exports}) (func (export \"other\")))");
        let mut store = store();
        let module = module(store.engine(), &wat, strategy);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let found: Vec<_> = instance.exports(&mut store).collect();
        let found: Vec<&str> = found.iter().map(|export| export.name()).collect();
        assert_eq!(found.len(), names.len() + 1);
        assert!(names.iter().eq(found[..names.len()].iter()));
        took.push(fastest(|| drop(instance.exports(&mut store))));
        took.push(fastest(|| {
            for name in &names {
                assert!(instance.get_func(&mut store, name).is_some());
            }
        }));
        took.push(fastest(|| {
            for name in &names {
                let export = module.get_export_index(name).unwrap();
                assert!(instance.get_module_export(&mut store, &export).is_some());
            }
        }));
        assert!(instance.get_func(&mut store, &names[0][1..]).is_none());
    }
    let is_bound = (0..3).all(|i| took[i + 3] < took[i] * 20);
    assert!(is_bound, "{took:?}");
}

/// Names of the same [`name_hash`], two to the power of `pairs`: each is one of the first two
/// strings with the same hash, then one of two that have the same hash behind them, and so on.
fn colliding_names(pairs: usize) -> Vec<String> {
    let mut names = vec![String::new()];
    for _ in 0..pairs {
        let mut seen = HashMap::new();
        let pair = (0_u32..).find_map(|i| {
            let next = format!("{i:x}.");
            let other = seen.insert(name_hash(&format!("{}{next}", names[0])), next.clone());
            other.map(|other| [other, next])
        });
        let both = pair.into_iter().flatten();
        names = both
            .flat_map(|next| names.iter().map(move |name| format!("{name}{next}")))
            .collect();
    }
    assert!(
        names
            .iter()
            .all(|name| name_hash(name) == name_hash(&names[0]))
    );
    names
}

/// The shortest time of a few runs.
fn fastest(mut run: impl FnMut()) -> Duration {
    let times = (0..3).map(|_| {
        let start = cpu_time();
        run();
        cpu_time() - start
    });
    times.min().unwrap_or_default()
}
