//! Promises about calls: function references, import slots, ids of signatures.

use precast_loader::{
    Caller, Engine, Error, Func, Instance, Linker, Store, Table, TableType, Trap, Val, ValType,
};
use precast_tests::{module, strategy_pairs};

/// Makes function references in every way: by an export, in a table, by `ref.func`.
const REFERENCES: &str = r#"(module
    (import "h" "host" (func $host (param i32) (result i32)))
    (import "h" "more" (func $more))
    (import "e" "t" (table $t 8 funcref))
    (type $f (func (param i32) (result i32)))
    (global $own (mut i32) (i32.const 0))
    (elem declare func $host $late $wide)
    (elem (table $t) (i32.const 0) func $early)
    (func $early (param i32) (result i32) (i32.add (global.get $own) (local.get 0)))
    (func $late (export "late") (param i32) (result i32) (i32.sub (global.get $own) (local.get 0)))
    (func $wide (param i64) (result i64) (local.get 0))
    (func (export "own") (param i32) (global.set $own (local.get 0)))
    (func (export "fill")
        (table.set $t (i32.const 1) (ref.func $late))
        (call $more)
        (table.set $t (i32.const 2) (ref.func $host))
        (call $more)
        (table.set $t (i32.const 3) (ref.func $wide)))
    (func (export "call") (param i32 i32) (result i32) (local $n i32) (local $sum i32)
        (loop $l
            (local.set $sum (i32.add (local.get $sum)
                (call_indirect $t (type $f) (local.get 1) (local.get 0))))
            (call $more)
            (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3))))
        (local.get $sum)))"#;

#[test]
fn references_stay_what_they_are() {
    for (first, second) in strategy_pairs() {
        let engine = Engine::default();
        let modules = [first, second].map(|strategy| module(&engine, REFERENCES, strategy));
        let mut store: Store<Vec<Func>> = Store::new(&engine, Vec::new());
        let mut linker: Linker<Vec<Func>> = Linker::new(&engine);
        linker.func_wrap("h", "host", |x: i32| x * 1000).unwrap();
        // Makes references while code is running that has read others.
        let more = |mut caller: Caller<'_, Vec<Func>>| {
            for _ in 0..20 {
                let func = Func::wrap(&mut caller, |x: i32| x);
                caller.data_mut().push(func);
            }
            let late = caller.get_export("late").unwrap().into_func().unwrap();
            caller.data_mut().push(late);
        };
        linker.func_wrap("h", "more", more).unwrap();
        let ty = TableType::new(ValType::FUNCREF, 8, None);
        let table = Table::new(&mut store, ty, Val::FuncRef(None)).unwrap();
        linker.define(&store, "e", "t", table).unwrap();
        let [a, b] = [0, 1].map(|i| linker.instantiate(&mut store, &modules[i]).unwrap());
        let own = |store: &mut Store<Vec<Func>>, instance: Instance, value: i32| {
            let own = instance
                .get_typed_func::<i32, ()>(&mut *store, "own")
                .unwrap();
            own.call(store, value).unwrap();
        };
        own(&mut store, a, 10);
        own(&mut store, b, 20);
        // One instance puts its references into the table, and both call them.
        for (filler, value) in [(a, 10), (b, 20), (a, 10)] {
            let fill = filler.get_typed_func::<(), ()>(&mut store, "fill").unwrap();
            fill.call(&mut store, ()).unwrap();
            let late = filler.get_func(&mut store, "late").unwrap();
            let in_table = table.get(&store, 1).unwrap();
            let in_table = *in_table.funcref().unwrap().unwrap();
            for func in [late, in_table] {
                let late = func.typed::<i32, i32>(&store).unwrap();
                assert_eq!(late.call(&mut store, 1).unwrap(), value - 1);
            }
            for caller in [a, b] {
                let call = caller
                    .get_typed_func::<(i32, i32), i32>(&mut store, "call")
                    .unwrap();
                let mut call = |slot, x| call.call(&mut store, (slot, x));
                // Slot 0 has the function of the instance that was made last.
                assert_eq!(call(0, 1).unwrap(), 3 * 21);
                assert_eq!(call(1, 1).unwrap(), 3 * (value - 1));
                assert_eq!(call(2, 1).unwrap(), 3000);
                for (slot, code) in [
                    (3, Trap::BadSignature),
                    (4, Trap::IndirectCallToNull),
                    (8, Trap::UndefinedElement),
                ] {
                    let error = call(slot, 1).unwrap_err();
                    assert_eq!(error.trap().unwrap(), code);
                }
            }
        }
    }
}

#[test]
fn imports_stay_what_they_are() {
    // The imports are a host function, a function of another instance, and a host function that the
    // other instance exports again.
    let library = r#"(module (import "h" "host" (func $host (param i32) (result i32)))
        (global $n (mut i32) (i32.const 0))
        (func (export "next") (param i32) (result i32)
            (global.set $n (i32.add (global.get $n) (local.get 0))) (global.get $n))
        (export "passed" (func $host)))"#;
    let user = r#"(module
        (import "h" "host" (func $host (param i32) (result i32)))
        (import "l" "next" (func $next (param i32) (result i32)))
        (import "l" "passed" (func $passed (param i32) (result i32)))
        (func $tail (param i32) (result i32) (return_call $next (local.get 0)))
        (func (export "run") (param $n i32) (result i32) (local $sum i32)
            (loop $l
                (local.set $sum (i32.add (local.get $sum) (call $host (i32.const 1))))
                (local.set $sum (i32.add (local.get $sum) (call $next (i32.const 1))))
                (local.set $sum (i32.add (local.get $sum) (call $passed (i32.const 1))))
                (local.set $sum (i32.add (local.get $sum) (call $tail (i32.const 1))))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $sum)))"#;
    for (first, second) in strategy_pairs() {
        let engine = Engine::default();
        let modules = [
            module(&engine, library, first),
            module(&engine, user, second),
        ];
        let mut store: Store<Option<Func>> = Store::new(&engine, None);
        let mut linker: Linker<Option<Func>> = Linker::new(&engine);
        // Calls back once into the code that has read its import slots.
        let host = |mut caller: Caller<'_, Option<Func>>, x: i32| -> Result<i32, Error> {
            let Some(run) = caller.data_mut().take() else {
                return Ok(100 * x);
            };
            let sum = run.typed::<i32, i32>(&caller)?.call(&mut caller, 1)?;
            Ok(sum + 100_000 * x)
        };
        linker.func_wrap("h", "host", host).unwrap();
        let library = linker.instantiate(&mut store, &modules[0]).unwrap();
        linker.instance(&mut store, "l", library).unwrap();
        let users = [0, 1].map(|_| linker.instantiate(&mut store, &modules[1]).unwrap());
        let mut next = 0;
        for round in 0..4 {
            let user = users[round % 2];
            let run = user.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
            *store.data_mut() = users[(round / 2) % 2].get_func(&mut store, "run");
            let sum = run.call(&mut store, 3).unwrap();
            // One pass inside of the first host call and three passes of the call itself add
            // eight numbers, and call the host function twice each except for the first call.
            let numbers: i32 = (next + 1..=next + 8).sum();
            next += 8;
            assert_eq!(sum, 100_000 + 7 * 100 + numbers, "{first} {second}");
        }
    }
}

#[test]
fn long_signatures_keep_their_ids() {
    // These signatures have more values than fit into an id, so their ids are in the GOT.
    // They differ in the last value only.
    let long = |last: &str| format!("(param {} {last}) (result i32)", "i32 ".repeat(24));
    let args = |last: &str| {
        let first: String = (0..24).map(|i| format!("(i32.const {i})")).collect();
        first + last
    };
    let (a, b) = (long("i32"), long("i64"));
    let (args_a, args_b) = (args("(i32.const 7)"), args("(i64.const 7)"));
    let owner = format!(
        r#"(module (table (export "t") 4 funcref) (elem (i32.const 0) $a $b)
        (func $a {a} (i32.add (local.get 23) (local.get 24)))
        (func $b {b} (i32.wrap_i64 (local.get 24))))"#
    );
    let user = format!(
        r#"(module (import "o" "t" (table 4 funcref)) (type $a (func {a})) (type $b (func {b}))
        (func (export "a") (param i32) (result i32) (call_indirect (type $a) {args_a} (local.get 0)))
        (func (export "b") (param i32) (result i32) (call_indirect (type $b) {args_b} (local.get 0))))"#
    );
    for (first, second) in strategy_pairs() {
        let engine = Engine::default();
        // With another type in front, the same signatures have other numbers.
        let padded = user.replace("(type $a (func", "(type (func (param f64))) (type $a (func");
        let modules = [
            module(&engine, &owner, first),
            module(&engine, &user, second),
            module(&engine, &padded, second),
        ];
        let mut store = Store::new(&engine, ());
        let mut linker: Linker<()> = Linker::new(&engine);
        let owner = linker.instantiate(&mut store, &modules[0]).unwrap();
        linker.instance(&mut store, "o", owner).unwrap();
        for module in &modules[1..] {
            let user = linker.instantiate(&mut store, module).unwrap();
            let mut call = |name: &str, slot| {
                let func = user.get_typed_func::<i32, i32>(&mut store, name)?;
                func.call(&mut store, slot)
            };
            assert_eq!((call("a", 0).unwrap(), call("b", 1).unwrap()), (30, 7));
            for (name, slot, code) in [
                ("a", 1, Trap::BadSignature),
                ("b", 0, Trap::BadSignature),
                ("b", 2, Trap::IndirectCallToNull),
            ] {
                let error = call(name, slot).unwrap_err();
                assert_eq!(error.trap().unwrap(), code, "{name} {slot}");
            }
        }
    }
}
