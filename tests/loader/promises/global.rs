//! Promises about globals: mutable ones, immutable ones, and those that code has as constants.

use precast_loader::{
    Caller, Engine, Error, Func, Global, GlobalType, Instance, Linker, Module, Store, Val, ValType,
};
use precast_tests::{module, strategies, strategy_pairs};

use super::ways::{IMPORTS, Side, WAYS, linker};

const TYPES: [&str; 5] = ["i32", "i64", "f32", "f64", "v128"];

fn constant(ty: &str, value: u8) -> String {
    match ty {
        "v128" => format!("(v128.const i64x2 {value} {value})"),
        ty => format!("({ty}.const {value})"),
    }
}

/// Code for the value of global `$ty` as an i32.
fn value(ty: &str) -> String {
    match ty {
        "i32" => "(global.get $i32)".into(),
        "i64" => "(i32.wrap_i64 (global.get $i64))".into(),
        "v128" => "(i32x4.extract_lane 2 (global.get $v128))".into(),
        ty => format!("(i32.trunc_{ty}_s (global.get ${ty}))"),
    }
}

/// The module that defines the globals, or the one that imports them. All ways set all globals to
/// 7.
fn text(is_owner: bool) -> String {
    let inline: String = TYPES
        .iter()
        .map(|ty| format!("(global.set ${ty} {})", constant(ty, 7)))
        .collect();
    let (mut tables, mut globals, mut functions) = (String::new(), String::new(), String::new());
    for ty in TYPES {
        globals += &match is_owner {
            true => format!(
                r#"(global ${ty} (export "{ty}") (mut {ty}) {})"#,
                constant(ty, 1)
            ),
            false => format!(r#"(import "o" "{ty}" (global ${ty} (mut {ty})))"#),
        };
        for (name, way) in WAYS {
            let (one, value) = (constant(ty, 1), value(ty));
            functions += &format!(
                r#"(func (export "{ty} {name}") (result i32) (local $sum i32) (local $n i32)
                (global.set ${ty} {one})
                (local.set $sum {value}) {way}
                (local.set $sum (i32.add (local.get $sum) (i32.mul (i32.const 10) {value})))
                (loop $l
                    (global.set ${ty} {one}) {way}
                    (local.set $sum (i32.add (local.get $sum) (i32.mul (i32.const 100) {value})))
                    (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3))))
                (local.get $sum))"#
            );
        }
    }
    tables += match is_owner {
        true => r#"(table $calls (export "calls") 2 funcref)"#,
        false => r#"(import "o" "calls" (table $calls 2 funcref))"#,
    };
    let slot = i32::from(!is_owner);
    format!(
        r#"(module {IMPORTS} {tables} {globals}
        (elem (table $calls) (i32.const {slot}) func $own)
        (func $own (export "own") {{inline}}) {functions})"#
    )
    .replace("{inline}", &inline)
}

fn val(ty: ValType, value: u8) -> Val {
    match ty {
        ValType::I32 => Val::I32(value.into()),
        ValType::I64 => Val::I64(value.into()),
        ValType::F32 => Val::F32(f32::from(value).to_bits()),
        ValType::F64 => Val::F64(f64::from(value).to_bits()),
        _ => Val::V128((u128::from(value) << 64 | u128::from(value)).into()),
    }
}

#[test]
fn mutable_globals_are_read_again() {
    for (first, second) in strategy_pairs() {
        let engine = Engine::default();
        let modules: [Module; 2] = [
            module(&engine, &text(true), first),
            module(&engine, &text(false), second),
        ];
        // The second module's globals are those of the first, or of the host.
        for by_host in [false, true] {
            let mut store = Store::new(&engine, Side::<Vec<Global>>::default());
            let mut linker = linker(&engine, |caller: &mut Caller<'_, Side<Vec<Global>>>| {
                for global in caller.data().items.clone() {
                    let value = val(global.ty().content, 7);
                    global.set(&mut *caller, value).unwrap();
                }
            });
            let owner = linker.instantiate(&mut store, &modules[0]).unwrap();
            let mut globals = Vec::new();
            for export in owner.exports(&mut store) {
                let (name, item) = (export.name().to_owned(), export.into_extern());
                let item = match item.clone().into_global() {
                    Some(global) if by_host => {
                        let one = val(global.ty().content, 1);
                        Global::new(&mut store, global.ty(), one).unwrap().into()
                    }
                    _ => item,
                };
                globals.extend(item.clone().into_global());
                linker.define(&store, "o", &name, item).unwrap();
            }
            let user = linker.instantiate(&mut store, &modules[1]).unwrap();
            store.data_mut().items = globals;
            store.data_mut().back = user.get_func(&mut store, "own");
            let instances = if by_host {
                vec![user]
            } else {
                vec![owner, user]
            };
            for ty in TYPES {
                for (way, _) in WAYS {
                    // Slot 0 sets the globals of the first module.
                    if by_host && way == "slot 0" {
                        continue;
                    }
                    for instance in &instances {
                        let name = format!("{ty} {way}");
                        let func = instance.get_typed_func::<(), i32>(&mut store, &name);
                        let sum = func.unwrap().call(&mut store, ()).unwrap();
                        assert_eq!(sum, 2171, "{first} {second} {name} {by_host}");
                    }
                }
            }
        }
    }
}

/// Globals whose values are known when the module is compiled, when it is instantiated, and only to
/// the importer.
const IMMUTABLE: &str = r#"(module
    (import "e" "i" (global $i i64))
    (import "e" "f" (func $f))
    (global $folded (export "folded") i64 (i64.const 11))
    (global $sum (export "sum") i64 (i64.add (i64.const 5) (i64.const 6)))
    (global $late (export "late") i64 (i64.add (global.get $i) (i64.const 1)))
    (global $ref (export "ref") funcref (ref.func $mine))
    (export "i" (global $i))
    (table 1 1 funcref) (export "t" (table 0))
    (func $mine (export "mine") (result i64) (global.get $late))
    (func (export "all") (result i64) (local $n i32) (local $all i64)
        (loop $l
            (local.set $all (i64.add (i64.mul (global.get $folded) (i64.const 1000000))
                (i64.add (i64.mul (global.get $late) (i64.const 1000)) (global.get $i))))
            (call $f)
            (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3))))
        (table.set 0 (i32.const 0) (global.get $ref))
        (if (i64.ne (call_indirect (result i64) (i32.const 0)) (global.get $late)) (then unreachable))
        (local.get $all)))"#;

#[test]
fn immutable_globals_cannot_be_set() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, IMMUTABLE, strategy);
        let mut store = Store::new(&engine, ());
        let new = |store: &mut Store<()>, mutable| {
            let ty = GlobalType::new(ValType::I64, mutable);
            Global::new(store, ty, Val::I64(40)).unwrap()
        };
        let nothing = Func::wrap(&mut store, || {});
        let mutable = new(&mut store, true);
        let error = Instance::new(&mut store, &module, &[mutable.into(), nothing.into()]);
        assert!(matches!(error, Err(Error::Link(_))));
        let immutable = new(&mut store, false);
        let instance =
            Instance::new(&mut store, &module, &[immutable.into(), nothing.into()]).unwrap();
        let all = instance
            .get_typed_func::<(), i64>(&mut store, "all")
            .unwrap();
        assert_eq!(all.call(&mut store, ()).unwrap(), 11_041_040);
        let mut globals = vec![immutable];
        for name in ["folded", "sum", "late", "i"] {
            globals.push(instance.get_global(&mut store, name).unwrap());
        }
        for global in globals {
            let before = global.get(&store).i64();
            assert!(matches!(
                global.set(&mut store, Val::I64(1)),
                Err(Error::Immutable { .. })
            ));
            assert_eq!(global.get(&store).i64(), before);
        }
        let reference = instance.get_global(&mut store, "ref").unwrap();
        assert!(reference.set(&mut store, Val::FuncRef(None)).is_err());
        assert_eq!(all.call(&mut store, ()).unwrap(), 11_041_040);
        // The import of a mutable global does not accept an immutable one.
        let wat = r#"(module (import "e" "g" (global (mut i64))))"#;
        let sets = precast_tests::module(&engine, wat, strategy);
        for name in ["folded", "late"] {
            let global = instance.get_global(&mut store, name).unwrap();
            let error = Instance::new(&mut store, &sets, &[global.into()]);
            assert!(matches!(error, Err(Error::Link(_))), "{name}");
        }
    }
}

#[test]
fn immutable_globals_are_of_the_instance() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, IMMUTABLE, strategy);
        let mut store = Store::new(&engine, ());
        let nothing = Func::wrap(&mut store, || {});
        let ty = GlobalType::new(ValType::I64, false);
        let first = Global::new(&mut store, ty, Val::I64(1)).unwrap();
        let one = Instance::new(&mut store, &module, &[first.into(), nothing.into()]).unwrap();
        // Each instance imports what the one before has computed.
        let mut chain = vec![one];
        for _ in 0..5 {
            let late = chain[chain.len() - 1]
                .get_global(&mut store, "late")
                .unwrap();
            let next = Instance::new(&mut store, &module, &[late.into(), nothing.into()]).unwrap();
            chain.push(next);
        }
        for (i, instance) in (1..).zip(chain) {
            let all = instance
                .get_typed_func::<(), i64>(&mut store, "all")
                .unwrap();
            let expected = 11_000_000 + (i + 1) * 1000 + i;
            assert_eq!(all.call(&mut store, ()).unwrap(), expected, "{strategy}");
        }
        // A reused instance has references to its own functions.
        let wat = r#"(module (import "h" "n" (func $n (result i32)))
            (global $r funcref (ref.func $f)) (table 1 funcref) (export "t" (table 0))
            (func $f (result i32) (call $n))
            (func (export "f") (result i32)
                (table.set 0 (i32.const 0) (global.get $r)) (call_indirect (result i32) (i32.const 0))))"#;
        let reused = precast_tests::module(&engine, wat, strategy);
        let mut linker: Linker<i32> = Linker::new(&engine);
        let n = |caller: Caller<'_, i32>| *caller.data();
        linker.func_wrap("h", "n", n).unwrap();
        let pre = linker.instantiate_pre(&reused).unwrap();
        for round in 0..4 {
            let mut store = Store::new(&engine, round);
            for _ in 0..2 {
                let instance = pre.instantiate(&mut store).unwrap();
                let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
                assert_eq!(f.call(&mut store, ()).unwrap(), round, "{strategy}");
            }
        }
    }
}
