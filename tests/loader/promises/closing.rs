//! A closed instance keeps its promises until its store is dropped, but its code is not entered.

use precast_artifact::Strategy;
use precast_loader::runtime::{Caller, HostModule, Instance, InstanceConfig, Runtime};
use precast_loader::{AsContextMut, Engine, Error, Func, Memory, Trap, Val};
use precast_tests::{module, strategies, strategy_pairs};

fn named(name: &str) -> InstanceConfig {
    InstanceConfig::new().with_name(name)
}

fn message<V: std::fmt::Debug>(result: Result<V, Error>) -> String {
    result.unwrap_err().to_string()
}

/// Calls the functions in its table in every way, and must keep working afterwards.
const CALLER: &str = r#"(module
    (type $f (func (param i32) (result i32)))
    (type $many (func (param i32 i64 f32 f64 i32 i32 i32 i32 i32 i64 i64 f64) (result i64)))
    (table (export "t") 4 funcref)
    (func (export "go") (param i32) (result i32)
        (call_indirect (type $f) (local.get 0) (i32.const 0)))
    (func (export "tail") (param i32) (result i32)
        (return_call_indirect (type $f) (local.get 0) (i32.const 0)))
    (func (export "loop") (param i32) (result i32) (local $n i32)
        (loop $l
            (drop (call_indirect (type $f) (local.get 0) (i32.const 0)))
            (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 9))))
        (local.get $n))
    (func (export "many") (param i32) (result i32)
        (i32.wrap_i64 (call_indirect (type $many) (local.get 0) (i64.const 1) (f32.const 2) (f64.const 3)
            (i32.const 4) (i32.const 5) (i32.const 6) (i32.const 7) (i32.const 8) (i64.const 9)
            (i64.const 10) (f64.const 11) (i32.const 1))))
    (func (export "passed-on") (param i32) (result i32)
        (table.set (i32.const 2) (table.get (i32.const 0)))
        (call_indirect (type $f) (local.get 0) (i32.const 2)))
    (func (export "fine") (result i32) (i32.const 7)))"#;

const WAYS: [&str; 5] = ["go", "tail", "loop", "many", "passed-on"];

/// Puts its functions into the caller's table. Its memory cannot grow.
const CALLEE: &str = r#"(module
    (import "a" "t" (table 4 funcref))
    (import "h" "close" (func $close (param i32)))
    (memory (export "m") 1 1)
    (elem (i32.const 0) $f $many)
    (func $f (export "f") (param i32) (result i32)
        (if (i32.eq (local.get 0) (i32.const 1))
            (then (memory.fill (i32.const 0) (i32.const 1) (i32.const 64))))
        (if (i32.eq (local.get 0) (i32.const 2)) (then (call $close (i32.const 5))))
        (i32.load (i32.const 0)))
    (func $many (param i32 i64 f32 f64 i32 i32 i32 i32 i32 i64 i64 f64) (result i64)
        (i64.load (i32.const 8))))"#;

struct Two {
    runtime: Runtime,
    caller: Instance,
    callee: Instance,
}

/// The caller and the callee in one store of a runtime.
fn two(strategies: (Strategy, Strategy)) -> Two {
    let engine = Engine::default();
    let runtime: Runtime = Runtime::new(&engine);
    HostModule::builder("h")
        .func("close", |caller: Caller<'_>, code: i32| {
            let runtime = caller.data().runtime().unwrap();
            let callee = runtime.instance("b").unwrap();
            callee.close_with_exit_code(code.cast_unsigned());
        })
        .instantiate(&runtime)
        .unwrap();
    let caller = module(&engine, CALLER, strategies.0);
    let callee = module(&engine, CALLEE, strategies.1);
    let caller = runtime.instantiate(&caller, named("a")).unwrap();
    let callee = runtime.instantiate(&callee, named("b")).unwrap();
    Two {
        runtime,
        caller,
        callee,
    }
}

#[test]
fn code_of_a_closed_instance_is_not_entered() {
    for pair in strategy_pairs() {
        let Two {
            runtime,
            caller,
            callee,
        } = two(pair);
        for way in WAYS {
            for what in [0, 1] {
                caller.call(way, &[Val::I32(what)]).unwrap();
            }
        }
        // The handles that the host has.
        let (func, typed) = callee
            .with(|mut store, instance| {
                let func = instance.get_func(&mut store, "f").unwrap();
                Ok((func, func.typed::<i32, i32>(&store)?))
            })
            .unwrap();
        callee.close_with_exit_code(9);
        let closed = "module closed with exit_code(9)";
        for way in WAYS {
            for what in [0, 1, 2] {
                let result = caller.call(way, &[Val::I32(what)]);
                assert_eq!(message(result), closed, "{way} {what}");
                assert_eq!(caller.exit_code(), None);
                assert_eq!(caller.call_typed::<(), i32>("fine", ()).unwrap(), 7);
            }
        }
        caller
            .with(|mut store, _| {
                let mut results = [Val::I32(0)];
                let called = func.call(&mut store, &[Val::I32(1)], &mut results);
                assert_eq!(message(called), closed);
                assert_eq!(message(typed.call(&mut store, 1)), closed);
                Ok(())
            })
            .unwrap();
        assert!(runtime.instance("b").is_none());
    }
}

/// A module that uses the memory of another instance in every way.
fn memory_user(limits: &str, memory64: bool) -> String {
    let it = if memory64 { "i64" } else { "i32" };
    let ty = if memory64 { "i64 " } else { "" };
    format!(
        r#"(module (import "b" "m" (memory {ty}{limits})) (import "h" "f" (func $host))
        (data $d "12345678")
        (func (export "load") (param {it}) (i32.load8_u (local.get 0)) (drop))
        (func (export "store") (param {it}) (i32.store8 (local.get 0) (i32.const 3)))
        (func (export "fill") (param {it}) (memory.fill ({it}.const 0) (i32.const 1) (local.get 0)))
        (func (export "copy") (param {it}) (memory.copy ({it}.const 1) ({it}.const 2) (local.get 0)))
        (func (export "init") (param {it})
            (memory.init $d (local.get 0) (i32.const 0) (i32.const 8)))
        (func (export "around") (param {it})
            (i32.store8 (local.get 0) (i32.const 3)) (call $host)
            (if (i32.ne (i32.load8_u (local.get 0)) (i32.const 3)) (then unreachable)))
        (func (export "grow") (param {it}) (result {it}) (memory.grow (local.get 0))))"#
    )
}

#[test]
fn memories_keep_base_and_length() {
    for (owner, user) in strategy_pairs() {
        for memory64 in [false, true] {
            if user.guards(memory64, 16) && !owner.guards(memory64, 16) {
                continue;
            }
            for (own, known, grown) in [
                ("2 2", "2 2", 0),
                ("2 2", "1", 0),
                ("1 9", "1", 1),
                ("1", "1", 1),
            ] {
                let engine = Engine::default();
                let runtime: Runtime = Runtime::new(&engine);
                let keeper = r#"(module (table (export "t") 1 funcref))"#;
                let keeper = module(&engine, keeper, owner);
                let (ty, it) = if memory64 {
                    ("i64 ", "i64")
                } else {
                    ("", "i32")
                };
                let exporter = format!(
                    r#"(module (import "a" "t" (table 1 funcref)) (memory (export "m") {ty}{own})
                    (data ({it}.const 100) "initial"))"#
                );
                let exporter = module(&engine, &exporter, owner);
                let importer = module(&engine, &memory_user(known, memory64), user);
                let a = runtime.instantiate(&keeper, named("a")).unwrap();
                let b = runtime.instantiate(&exporter, named("b")).unwrap();
                // The runtime does not know that this instance imports from `b`.
                let (instance, memory) = b
                    .with(|mut store, instance| {
                        let memory = instance.get_memory(&mut store, "m").unwrap();
                        memory.grow(&mut store, grown)?;
                        let host = Func::wrap(&mut store, || {});
                        let imports = [memory.into(), host.into()];
                        let user = precast_loader::Instance::new(&mut store, &importer, &imports)?;
                        Ok((user, memory))
                    })
                    .unwrap();
                let call = |name: &str, at: u64| {
                    a.with(|mut store, _| {
                        let func = instance.get_func(&mut store, name).unwrap();
                        let at = match memory64 {
                            true => Val::I64(at.cast_signed()),
                            false => Val::I32((at as u32).cast_signed()),
                        };
                        let mut results = vec![Val::I64(0); func.ty(&store).results().len()];
                        func.call(&mut store, &[at], &mut results)?;
                        Ok(results)
                    })
                };
                let all = |closed: bool| {
                    let case = format!("{owner} {user} {memory64} {own} {known} {closed}");
                    let len = 131_072;
                    for (name, at) in [
                        ("load", len - 1),
                        ("store", len - 1),
                        ("fill", len),
                        ("copy", len - 2),
                        ("init", len - 8),
                        ("around", len - 1),
                    ] {
                        call(name, at).unwrap_or_else(|error| panic!("{case} {name}: {error}"));
                        let error = call(name, at + 1).unwrap_err();
                        let code = error.trap().unwrap();
                        assert_eq!(code, Trap::MemoryOutOfBounds, "{case} {name}");
                    }
                    a.with(|mut store, _| {
                        assert_eq!(memory.data_size(&store), 131_072, "{case}");
                        Ok(memory.data_ptr(&mut store) as usize)
                    })
                    .unwrap()
                };
                let base = all(false);
                b.close();
                // The closed instance's memory still has its bytes.
                a.with(|store, _| {
                    assert_eq!(&memory.data(&store)[100..107], b"initial");
                    Ok(())
                })
                .unwrap();
                assert_eq!(all(true), base);
                for delta in [1, 5] {
                    let result = call("grow", delta).unwrap();
                    let refused = result[0].i64().or(result[0].i32().map(i64::from));
                    assert_eq!(refused, Some(-1));
                }
                let grown = a.with(|mut store, _| memory.grow(store.as_context_mut(), 1));
                assert!(matches!(grown, Err(Error::Limit { .. })));
                assert_eq!(all(true), base);
            }
        }
    }
}

#[test]
fn what_others_import_stays() {
    let keeper = r#"(module (table (export "t") 8 funcref)
        (type $f (func (result i32)))
        (func (export "call") (param i32) (result i32) (call_indirect (type $f) (local.get 0))))"#;
    let exporter = r#"(module (import "a" "t" (table 8 funcref))
        (memory (export "m") 1 1) (global (export "g") (mut i32) (i32.const 1))
        (global (export "c") i32 (i32.const 9)) (table $own (export "own") 3 3 funcref)
        (elem (table $own) (i32.const 0) func $f)
        (func $f (export "f") (result i32)
            (global.set 0 (i32.add (global.get 0) (i32.const 1)))
            (i32.store (i32.const 0) (global.get 0)) (i32.load (i32.const 0))))"#;
    // This module enters the other's code in every way: import slot, tail call, table, frozen
    // table, and an export of its own.
    let importer = r#"(module
        (import "b" "m" (memory 1 1)) (import "b" "g" (global $g (mut i32)))
        (import "b" "c" (global $c i32)) (import "b" "own" (table $own 3 3 funcref))
        (import "b" "f" (func $f (result i32))) (import "a" "t" (table $t 8 funcref))
        (type $r (func (result i32)))
        (table $frozen 2 funcref) (elem (table $frozen) (i32.const 0) func $f $mine)
        (export "passed" (func $f))
        (elem declare func $f)
        (func $mine (result i32) (i32.load (i32.const 0)))
        (func (export "import") (result i32) (call $f))
        (func (export "tail") (result i32) (return_call $f))
        (func (export "table") (result i32) (call_indirect $own (type $r) (i32.const 0)))
        (func (export "frozen") (result i32) (call_indirect $frozen (type $r) (i32.const 0)))
        (func (export "own") (result i32) (call_indirect $frozen (type $r) (i32.const 1)))
        (func (export "ref") (result i32)
            (table.set $t (i32.const 5) (ref.func $f))
            (call_indirect $t (type $r) (i32.const 5)))
        (func (export "items") (result i32)
            (global.set $g (i32.const 40))
            (i32.store (i32.const 65532) (i32.const 2))
            (table.set $own (i32.const 2) (table.get $own (i32.const 1)))
            (i32.add (i32.add (global.get $g) (i32.load (i32.const 65532)))
                (i32.add (global.get $c) (table.size $own)))))"#;
    const INTO: [&str; 6] = ["import", "tail", "table", "frozen", "ref", "passed"];
    for (first, second) in strategy_pairs() {
        if second.guards(false, 16) && !first.guards(false, 16) {
            continue;
        }
        let engine = Engine::default();
        let runtime: Runtime = Runtime::new(&engine);
        let keeper = module(&engine, keeper, first);
        let exporter = module(&engine, exporter, first);
        let importer = module(&engine, importer, second);
        let a = runtime.instantiate(&keeper, named("a")).unwrap();
        let b = runtime.instantiate(&exporter, named("b")).unwrap();
        let known = runtime.instantiate(&importer, named("c")).unwrap();
        // A second instance of the same module, which the runtime does not know of.
        let (unknown, of_b) = b
            .with(|mut store, instance| {
                let table = a.within(&store)?.get_export(&mut store, "t").unwrap();
                let mut imports = Vec::new();
                for name in ["m", "g", "c", "own", "f"] {
                    imports.push(instance.get_export(&mut store, name).unwrap());
                }
                imports.push(table);
                let unknown = precast_loader::Instance::new(&mut store, &importer, &imports)?;
                Ok((unknown, instance))
            })
            .unwrap();
        let unknown = |name: &str| {
            a.with(|mut store, _| {
                let func = unknown.get_typed_func::<(), i32>(&mut store, name)?;
                func.call(&mut store, ())
            })
        };
        let known = |name: &str| known.call_typed::<(), i32>(name, ());
        let all_work = || {
            for name in INTO {
                assert!(known(name).unwrap() > 1, "{name}");
                assert!(unknown(name).unwrap() > 1, "{name}");
            }
        };
        all_work();
        b.close_with_exit_code(4);
        // Instances that import from the closed one keep working.
        all_work();
        assert_eq!(
            (known("items").unwrap(), unknown("items").unwrap()),
            (54, 54)
        );
        runtime.instance("c").unwrap().close();
        // The runtime does not know of any importer any more: no code of the closed instance runs,
        // and its table is empty, but all other items are still there.
        let closed = "module closed with exit_code(4)";
        for _ in 0..2 {
            for name in INTO {
                let expected = match name {
                    "table" => "wasm trap: uninitialized element",
                    _ => closed,
                };
                let error = message(unknown(name));
                assert!(
                    error.starts_with(expected),
                    "{error}: {name} {first} {second}"
                );
            }
            assert_eq!(unknown("items").unwrap(), 54);
            assert_eq!(unknown("own").unwrap(), 0);
            // Handles of the closed instance, and a reference that is made only now.
            a.with(|mut store, _| {
                let func = of_b.get_typed_func::<(), i32>(&mut store, "f")?;
                assert_eq!(message(func.call(&mut store, ())), closed);
                Ok(())
            })
            .unwrap();
            // A reference that the closed importer made to a function of the closed exporter.
            assert_eq!(message(a.call("call", &[Val::I32(5)])), closed);
        }
    }
}

#[test]
fn start_functions_do_not_take_it_for_their_own_end() {
    let starter = r#"(module (import "a" "t" (table 4 funcref)) (type $f (func (param i32) (result i32)))
        (func (export "_start") (drop (call_indirect (type $f) (i32.const 0) (i32.const 0)))))"#;
    let start = starter.replace(r#"(func (export "_start")"#, "(start $s) (func $s");
    for pair in strategy_pairs() {
        let two = two(pair);
        two.callee.close();
        for text in [starter, &start] {
            let text = module(two.runtime.engine(), text, pair.1);
            let made = two.runtime.instantiate(&text, InstanceConfig::new());
            assert_eq!(message(made), "module closed with exit_code(0)");
        }
        assert_eq!(two.caller.call_typed::<(), i32>("fine", ()).unwrap(), 7);
    }
}

#[test]
fn closing_while_its_code_runs() {
    for pair in strategy_pairs() {
        let two = two(pair);
        // The callee's code calls a host function, which closes the callee.
        let error = message(two.caller.call("go", &[Val::I32(2)]));
        assert_eq!(error, "module closed with exit_code(5)");
        assert_eq!(two.callee.exit_code(), Some(5));
        assert_eq!(two.caller.exit_code(), None);
        for way in WAYS {
            let error = message(two.caller.call(way, &[Val::I32(1)]));
            assert_eq!(error, "module closed with exit_code(5)", "{way}");
        }
        assert_eq!(two.caller.call_typed::<(), i32>("fine", ()).unwrap(), 7);
    }
}

#[test]
fn a_closed_instance_is_not_reused() {
    // The module has no memory, which would forbid reuse in any case. The shared store lives until
    // the other instance is closed.
    let text = r#"(module (import "h" "n" (func $n (result i32))) (table (export "t") 1 funcref)
        (elem (i32.const 0) $f) (func $f (export "f") (result i32) (call $n)))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let runtime: Runtime = Runtime::new(&engine);
        HostModule::builder("h")
            .func("n", || 6)
            .instantiate(&runtime)
            .unwrap();
        let module = module(&engine, text, strategy);
        for _ in 0..4 {
            let config = || InstanceConfig::new().with_shared_store();
            let [a, b] = [0, 1].map(|_| runtime.instantiate(&module, config()).unwrap());
            assert_eq!(a.call_typed::<(), i32>("f", ()).unwrap(), 6);
            a.close_with_exit_code(3);
            assert_eq!(b.call_typed::<(), i32>("f", ()).unwrap(), 6);
            b.close();
        }
    }
}

/// The host can make instances in a store of a runtime, which the runtime does not know.
#[test]
fn tables_stay_as_long_as_instances_of_the_host_take_them_to_be() {
    let owner = r#"(module (type $f (func (result i32))) (table (export "fixed") 3 3 (ref null $f))
        (table (export "grown") 1 (ref null $f)) (table (export "full") 2 (ref $f) (ref.func $f))
        (func $f (type $f) (i32.const 5))
        (func (export "grow") (drop (table.grow 1 (ref.func $f) (i32.const 200000)))))"#;
    let user = r#"(module (type $f (func (result i32)))
        (import "o" "fixed" (table $fixed 3 3 (ref null $f)))
        (import "o" "grown" (table $grown 200000 (ref null $f)))
        (import "o" "full" (table $full 2 (ref $f)))
        (func (export "null") (param i32) (result i32)
            (ref.is_null (table.get $fixed (local.get 0)))
            (ref.is_null (table.get $grown (i32.add (i32.const 199997) (local.get 0))))
            (i32.add))
        (func (export "call") (result i32) (call_ref $f (table.get $full (i32.const 1)))))"#;
    for (a, b) in strategy_pairs() {
        let engine = Engine::default();
        let runtime: Runtime = Runtime::new(&engine);
        let (owner, user) = (module(&engine, owner, a), module(&engine, user, b));
        let shared = || InstanceConfig::new().with_shared_store();
        let stays = runtime.instantiate(&owner, shared()).unwrap();
        let owner = runtime.instantiate(&owner, shared()).unwrap();
        owner.call("grow", &[]).unwrap();
        let made = owner.with(|mut store, owner| {
            let tables = ["fixed", "grown", "full"]
                .map(|name| owner.get_table(&mut store, name).unwrap().into());
            precast_loader::Instance::new(store, &user, &tables)
        });
        let user = made.unwrap();
        owner.close();
        let check = stays.with(|mut store, _| {
            let null = user.get_typed_func::<i32, i32>(&mut store, "null")?;
            for i in 0..3 {
                assert_eq!(null.call(&mut store, i)?, 2);
            }
            assert!(matches!(null.call(&mut store, 3), Err(Error::Trap { .. })));
            let call = user.get_typed_func::<(), i32>(&mut store, "call")?;
            assert_eq!(
                message(call.call(&mut store, ())),
                "module closed with exit_code(0)"
            );
            Ok(())
        });
        check.unwrap();
    }
}

#[test]
fn host_functions_that_it_passed_on_stay() {
    let passes = r#"(module (import "h" "n" (func $n (param i32) (result i32)))
        (import "a" "t" (table 4 funcref)) (memory (export "m") 1) (elem (i32.const 0) $n))"#;
    for pair in strategy_pairs() {
        let engine = Engine::default();
        let runtime: Runtime = Runtime::new(&engine);
        let n = |mut caller: Caller<'_>, x: i32| -> Result<i32, Error> {
            let memory: Memory = caller.get_export("m").unwrap().into_memory().unwrap();
            memory.write(&mut caller, 65535, &[1])?;
            Ok(x + memory.data(&caller).len() as i32)
        };
        HostModule::builder("h")
            .func("n", n)
            .instantiate(&runtime)
            .unwrap();
        let caller = module(&engine, CALLER, pair.0);
        let passes = module(&engine, passes, pair.1);
        let a = runtime.instantiate(&caller, named("a")).unwrap();
        let b = runtime.instantiate(&passes, named("b")).unwrap();
        for _ in 0..2 {
            assert_eq!(a.call("go", &[Val::I32(1)]).unwrap()[0].i32(), Some(65537));
            b.close();
        }
    }
}

#[test]
fn stores_that_go_take_everything() {
    // Nothing of the closed instance is used when the store is dropped or its parts are reused.
    for pair in strategy_pairs() {
        for _ in 0..3 {
            let two = two(pair);
            two.callee.close();
            two.caller.call("go", &[Val::I32(1)]).unwrap_err();
            two.caller.close();
        }
    }
}
