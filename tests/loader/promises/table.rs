//! Promises about tables: bases, lengths, elements, frozen contents.

use precast_loader::{
    Caller, Engine, Error, Func, Instance, Linker, Module, Store, Table, Trap, Val,
};
use precast_tests::{module, strategies, strategy_pairs};

use super::ways::{IMPORTS, Side, WAYS, linker};

/// What host functions use.
#[derive(Default)]
struct Items {
    table: Option<Table>,
    one: Option<Func>,
    two: Option<Func>,
}

/// The module that defines the tables, or the one that imports them. `$t` is the table that the
/// ways change. Its first two elements are `$one` and `$two`, which return 1 and 2.
fn text(is_owner: bool, limits: &str, inline: &str, straight: &str) -> String {
    let mut functions = String::new();
    for (name, way) in WAYS {
        let body = straight.replace("{way}", way);
        functions += &format!(r#"(func (export "{name}") (result i32) (local $n i32) {body})"#);
    }
    let (tables, slot, first) = if is_owner {
        let tables = format!(
            r#"(table $t (export "t") {limits} funcref) (table $calls (export "calls") 2 funcref)"#
        );
        (tables, 0, "(elem (table $t) (i32.const 0) func $one $two)")
    } else {
        let tables = format!(
            r#"(import "o" "t" (table $t {limits} funcref)) (import "o" "calls" (table $calls 2 funcref))"#
        );
        (tables, 1, "")
    };
    let (imported, defined) = if is_owner {
        ("", tables.as_str())
    } else {
        (tables.as_str(), "")
    };
    format!(
        r#"(module (type $r (func (result i32)))
        {IMPORTS} {imported} {defined}
        {first} (elem (table $calls) (i32.const {slot}) func $own)
        (elem $both func $one $two) (elem declare func $one $two)
        (func $one (export "one") (result i32) (i32.const 1))
        (func $two (export "two") (result i32) (i32.const 2))
        (func $own (export "own") {{inline}})
        (func (export "size") (result i32) (table.size $t))
        (func (export "call") (param i32) (result i32) (call_indirect $t (type $r) (local.get 0)))
        (func (export "grow") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
        {functions})"#
    )
    .replace("{inline}", inline)
}

type Deed = fn(&mut Caller<'_, Side<Items>>, Table);

/// Two linked instances, the second of which imports from the first.
struct Pair {
    store: Store<Side<Items>>,
    table: Table,
    instances: [Instance; 2],
}

impl Pair {
    fn call(&mut self, which: usize, name: &str) -> Result<i32, Error> {
        let func = self.instances[which].get_typed_func::<(), i32>(&mut self.store, name)?;
        func.call(&mut self.store, ())
    }

    fn call1(&mut self, which: usize, name: &str, param: i32) -> Result<i32, Error> {
        let func = self.instances[which].get_typed_func::<i32, i32>(&mut self.store, name)?;
        func.call(&mut self.store, param)
    }
}

fn pair(modules: &[Module; 2], deed: Deed) -> Pair {
    let engine = modules[0].engine();
    let mut store = Store::new(engine, Side::<Items>::default());
    let mut linker = linker(engine, move |caller: &mut Caller<'_, Side<Items>>| {
        let table = caller.data().items.table.unwrap();
        deed(caller, table);
    });
    let first = linker.instantiate(&mut store, &modules[0]).unwrap();
    linker.instance(&mut store, "o", first).unwrap();
    let second = linker.instantiate(&mut store, &modules[1]).unwrap();
    let table = first.get_table(&mut store, "t").unwrap();
    let one = first.get_func(&mut store, "one");
    let two = first.get_func(&mut store, "two");
    let back = second.get_func(&mut store, "own");

    *store.data_mut() = Side {
        items: Items {
            table: Some(table),
            one,
            two,
        },
        back,
    };
    Pair {
        store,
        table,
        instances: [first, second],
    }
}

/// Runs `check` for each pair of strategies, each way and each of the two instances.
fn each_pair(texts: [String; 2], deed: Deed, mut check: impl FnMut(&mut Pair, &str, usize, &str)) {
    for (first, second) in strategy_pairs() {
        let engine = Engine::default();
        let modules = [
            module(&engine, &texts[0], first),
            module(&engine, &texts[1], second),
        ];
        for (way, _) in WAYS {
            for which in [0, 1] {
                let case = format!("{first} {second} {way} {which}");
                check(&mut pair(&modules, deed), way, which, &case);
            }
        }
    }
}

#[test]
fn tables_move_and_grow_under_running_code() {
    let inline = "(drop (table.grow $t (ref.func $two) (i32.const 5000)))";
    // The calls return 1 before the growth, then 2 from the new end and 1 from the old slot. The
    // loop does the same again.
    let body = "(local $sum i32)
        (local.set $sum (call_indirect $t (type $r) (i32.const 0))) {way}
        (if (i32.ne (table.size $t) (i32.const 5002)) (then unreachable))
        (local.set $sum (i32.add (local.get $sum)
            (i32.mul (i32.const 10) (call_indirect $t (type $r) (i32.sub (table.size $t) (i32.const 1))))))
        (local.set $sum (i32.add (local.get $sum)
            (i32.mul (i32.const 100) (call_indirect $t (type $r) (i32.const 0)))))
        (loop $l
            (table.set $t (i32.const 0) (table.get $t (i32.sub (table.size $t) (i32.const 1)))) {way}
            (table.set $t (i32.sub (table.size $t) (i32.const 1)) (table.get $t (i32.const 0)))
            (local.set $sum (i32.add (local.get $sum)
                (i32.mul (i32.const 1000) (call_indirect $t (type $r) (i32.sub (table.size $t) (i32.const 1))))))
            (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 4))))
        (local.get $sum)";
    let texts = [true, false].map(|is_owner| text(is_owner, "2", inline, body));
    let deed: Deed = |caller, table| {
        let two = caller.data().items.two;
        table.grow(&mut *caller, 5000, Val::FuncRef(two)).unwrap();
    };
    each_pair(texts, deed, |pair, way, which, case| {
        assert_eq!(pair.call(which, way).unwrap(), 8121, "{case}");
        let size = 2 + 5 * 5000;
        assert_eq!(pair.table.size(&pair.store), size as u64, "{case}");
        let two = pair.store.data().items.two;
        pair.table
            .grow(&mut pair.store, 7000, Val::FuncRef(two))
            .unwrap();
        for which in [0, 1] {
            assert_eq!(pair.call(which, "size").unwrap(), size + 7000);
            assert_eq!(pair.call1(which, "call", size + 6999).unwrap(), 2, "{case}");
            let error = pair.call1(which, "call", size + 7000).unwrap_err();
            assert_eq!(error.trap().unwrap(), Trap::UndefinedElement);
        }
    });
}

#[test]
fn elements_that_others_set_are_seen() {
    for inline in [
        "(table.set $t (i32.const 0) (ref.func $two))",
        "(table.init $t $both (i32.const 0) (i32.const 1) (i32.const 1))",
        "(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 1))",
        "(table.fill $t (i32.const 0) (ref.func $two) (i32.const 1))",
    ] {
        let body = "(local $sum i32) (local $one funcref)
            (local.set $one (table.get $t (i32.const 0)))
            (local.set $sum (call_indirect $t (type $r) (i32.const 0))) {way}
            (local.set $sum (i32.add (local.get $sum)
                (i32.mul (i32.const 10) (call_indirect $t (type $r) (i32.const 0)))))
            (loop $l
                (table.set $t (i32.const 0) (local.get $one)) {way}
                (local.set $sum (i32.add (local.get $sum)
                    (i32.mul (i32.const 100) (call_indirect $t (type $r) (i32.const 0)))))
                (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 4))))
            (local.get $sum)";
        for limits in ["2", "2 2"] {
            let texts = [true, false].map(|is_owner| text(is_owner, limits, inline, body));
            let deed: Deed = |caller, table| {
                let two = caller.data().items.two;
                table.set(&mut *caller, 0, Val::FuncRef(two)).unwrap();
            };
            each_pair(texts, deed, |pair, way, which, case| {
                assert_eq!(
                    pair.call(which, way).unwrap(),
                    821,
                    "{inline} {limits} {case}"
                );
                let one = pair.store.data().items.one;
                pair.table
                    .set(&mut pair.store, 0, Val::FuncRef(one))
                    .unwrap();
                assert_eq!(pair.call1(which, "call", 0).unwrap(), 1);
            });
        }
    }
}

#[test]
fn fixed_tables_cannot_grow() {
    let inline = "(if (i32.ne (table.grow $t (ref.null func) (i32.const 1)) (i32.const -1)) (then unreachable))
        (if (i32.ne (table.grow $t (ref.null func) (i32.const 0)) (i32.const 2)) (then unreachable))";
    let body = "(local $sum i32)
        (local.set $sum (call_indirect $t (type $r) (i32.const 0))) {way}
        (table.set $t (i32.const 0) (table.get $t (i32.const 1))) {way}
        (i32.add (local.get $sum) (i32.mul (i32.const 10) (call_indirect $t (type $r) (i32.const 0))))";
    for limits in ["2 2", "1", "2 3"] {
        let texts = [
            text(true, "2 2", inline, body),
            text(false, limits, inline, body),
        ];
        let deed: Deed = |caller, table| {
            assert!(table.grow(&mut *caller, 1, Val::FuncRef(None)).is_err());
            assert_eq!(table.grow(&mut *caller, 0, Val::FuncRef(None)).unwrap(), 2);
        };
        each_pair(texts, deed, |pair, way, which, case| {
            assert_eq!(pair.call(which, way).unwrap(), 21, "{case}");
            let null = Val::FuncRef(None);
            assert!(pair.table.grow(&mut pair.store, 1, null).is_err());
            for which in [0, 1] {
                assert_eq!(pair.call1(which, "grow", 1).unwrap(), -1, "{case}");
                assert_eq!(pair.call(which, "size").unwrap(), 2, "{case}");
                let error = pair.call1(which, "call", 2).unwrap_err();
                assert_eq!(error.trap().unwrap(), Trap::UndefinedElement);
            }
        });
    }
    // The type of this table allows growth, but nothing that grows tables can reach it.
    let wat = r#"(module (type $r (func (result i32))) (table $t 3 funcref) (elem declare func $f)
        (func $f (result i32) (i32.const 4))
        (func (export "f") (param i32) (result i32)
            (if (i32.eqz (ref.is_null (table.get $t (local.get 0)))) (then unreachable))
            (table.set $t (local.get 0) (ref.func $f))
            (i32.add (i32.mul (i32.const 10) (table.size $t)) (call_indirect $t (type $r) (local.get 0)))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let pre = Linker::<()>::new(&engine).instantiate_pre(&module).unwrap();
        // The instances are reused, and their elements are reset.
        for _ in 0..5 {
            let mut store = Store::new(&engine, ());
            let instance = pre.instantiate(&mut store).unwrap();
            let f = instance
                .get_typed_func::<i32, i32>(&mut store, "f")
                .unwrap();
            for i in 0..3 {
                assert_eq!(f.call(&mut store, i).unwrap(), 34, "{strategy}");
            }
            let error = f.call(&mut store, 3).unwrap_err();
            assert_eq!(error.trap().unwrap(), Trap::TableOutOfBounds);
        }
    }
}

#[test]
fn frozen_tables_are_the_same_for_all() {
    let wat = r#"(module
        (import "h" "f" (func $host (result i32)))
        (type $r (func (result i32)))
        (global $n (mut i32) (i32.const 0))
        (table 4 funcref) (elem (i32.const 0) $mine $host $other)
        (func $mine (result i32) (global.get $n))
        (func $other (param i32))
        (func (export "set") (param i32) (result i32) (global.set $n (local.get 0)) (table.size 0))
        (func (export "call") (param i32) (result i32) (call_indirect (type $r) (local.get 0))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<i32> = Linker::new(&engine);
        let f = |caller: Caller<'_, i32>| *caller.data();
        linker.func_wrap("h", "f", f).unwrap();
        let pre = linker.instantiate_pre(&module).unwrap();
        for round in 0..4 {
            let mut store = Store::new(&engine, 100 + round);
            let both = [0, 1].map(|_| pre.instantiate(&mut store).unwrap());
            let mut call = |which: usize, name: &str, param: i32| {
                let instance: Instance = both[which];
                let func = instance.get_typed_func::<i32, i32>(&mut store, name)?;
                func.call(&mut store, param)
            };
            assert_eq!(call(0, "set", 7).unwrap(), 4);
            assert_eq!(call(1, "set", 8).unwrap(), 4);
            for (which, own) in [(0, 7), (1, 8)] {
                assert_eq!(call(which, "call", 0).unwrap(), own, "{strategy}");
                assert_eq!(call(which, "call", 1).unwrap(), 100 + round, "{strategy}");
                for (i, code) in [
                    (2, Trap::BadSignature),
                    (3, Trap::IndirectCallToNull),
                    (4, Trap::UndefinedElement),
                    (-1, Trap::UndefinedElement),
                ] {
                    let error = call(which, "call", i).unwrap_err();
                    assert_eq!(error.trap().unwrap(), code);
                }
            }
            // No export reaches the table, so nobody can change it.
            for instance in both {
                let mut exports = instance.exports(&mut store);
                assert!(exports.all(|export| export.into_table().is_none()));
            }
        }
    }
}

#[test]
fn a_reset_keeps_what_importers_expect() {
    let owner = r#"(module (table (export "t") 1 9 funcref))"#;
    let engine = Engine::default();
    for (minimum, maximum) in [(9, "9"), (4, ""), (1, "")] {
        for strategy in strategies() {
            let user = format!(
                r#"(module (import "o" "t" (table {minimum} {maximum} funcref))
                (func (export "null") (param i32) (result i32) (ref.is_null (table.get (local.get 0)))))"#
            );
            let mut store = Store::new(&engine, ());
            let owner = Instance::new(&mut store, &module(&engine, owner, strategy), &[]).unwrap();
            let table = owner.get_table(&mut store, "t").unwrap();
            table
                .grow(&mut store, minimum - 1, Val::FuncRef(None))
                .unwrap();
            let user = module(&engine, &user, strategy);
            let user = Instance::new(&mut store, &user, &[table.into()]).unwrap();
            let reset = owner.reset(&mut store);
            if minimum == 1 {
                reset.unwrap();
            } else {
                let error = reset.unwrap_err().to_string();
                let expected = format!("its table 0 with a minimum of {minimum} elements");
                assert!(error.contains(&expected), "{error}");
            }
            assert_eq!(table.size(&store), minimum);
            let null = user.get_typed_func::<u32, i32>(&mut store, "null").unwrap();
            assert_eq!(null.call(&mut store, minimum as u32 - 1).unwrap(), 1);
            null.call(&mut store, minimum as u32).unwrap_err();
        }
    }
}
