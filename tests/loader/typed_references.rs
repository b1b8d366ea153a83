//! References to functions of one type: calls through them, types that mean the same in every
//! module, and what hosts do with them.

use precast_artifact::Interruption;
use precast_loader::{
    Engine, Error, Extern, ExternType, Func, FuncType, Global, GlobalType, HeapType, Instance,
    Linker, Module, RefType, Store, Table, TableType, Trap, Val, ValType,
};
use precast_tests::{Guest, Source, module, store, strategies, strategy_pairs, trap};

/// The type `(ref $t)` or `(ref null $t)` where `$t` is `(func (param i32) (result i32))`.
fn unary(nullable: bool) -> ValType {
    let ty = FuncType::new(&Engine::default(), [ValType::I32], [ValType::I32]);
    RefType::new(nullable, HeapType::from(&ty)).into()
}

#[test]
fn calls_through_references() {
    let wat = r#"(module
        (type $t (func (param i32) (result i32)))
        (import "h" "f" (func $h (type $t)))
        (elem declare func $h $double)
        (func $double (type $t) (i32.mul (local.get 0) (i32.const 2)))
        (func (export "double") (result (ref $t)) (ref.func $double))
        (func (export "host") (result (ref null $t)) (ref.func $h))
        (func (export "none") (result (ref null $t)) (ref.null $t))
        (func (export "call") (param (ref null $t) i32) (result i32)
            (call_ref $t (local.get 1) (local.get 0)))
        (func (export "tail") (param (ref null $t) i32) (result i32)
            (return_call_ref $t (local.get 1) (local.get 0)))
        (func (export "known") (param (ref $t) i32) (result i32)
            (call_ref $t (local.get 1) (local.get 0)))
        (func (export "is") (param (ref null $t)) (result i32)
            (block $null (drop (br_on_null $null (local.get 0))) (return (i32.const 1)))
            (i32.const 0))
        (func (export "must") (param (ref null $t)) (result (ref $t))
            (ref.as_non_null (local.get 0))))"#;
    for strategy in strategies() {
        let mut guest = Guest::linked(wat, strategy, (), |linker| {
            linker.func_wrap("h", "f", |x: i32| x + 100).unwrap();
        });
        let host = Func::wrap(&mut guest.store, |x: i32| x + 1000);
        let other = Func::wrap(&mut guest.store, |x: i64| x);
        let none = Val::FuncRef(None);
        let get = |guest: &mut Guest, name: &str| guest.call_untyped(name, &[]).unwrap().remove(0);
        let double = get(&mut guest, "double");
        let imported = get(&mut guest, "host");
        assert_eq!(
            get(&mut guest, "none").funcref().map(|f| f.is_none()),
            Some(true)
        );
        for (callee, expected) in [(&double, 14), (&imported, 107), (&host.into(), 1007)] {
            for name in ["call", "tail", "known"] {
                let result = guest
                    .call_untyped(name, &[callee.clone(), Val::I32(7)])
                    .unwrap();
                assert_eq!(result[0].i32(), Some(expected), "{name} {strategy}");
            }
            let is = guest
                .call_untyped("is", std::slice::from_ref(callee))
                .unwrap();
            assert_eq!(is[0].i32(), Some(1));
            let same = guest
                .call_untyped("must", std::slice::from_ref(callee))
                .unwrap();
            assert!(same[0].unwrap_funcref().is_some());
        }
        for name in ["call", "tail"] {
            let result = guest.call_untyped(name, &[none.clone(), Val::I32(7)]);
            assert_eq!(trap(result), Trap::NullFunctionReference, "{strategy}");
        }
        let is = guest
            .call_untyped("is", std::slice::from_ref(&none))
            .unwrap();
        assert_eq!(is[0].i32(), Some(0));
        let must = guest.call_untyped("must", std::slice::from_ref(&none));
        assert_eq!(trap(must), Trap::NullReference);

        // Null where there is none, and functions of another type.
        let known = guest
            .call_untyped("known", &[none, Val::I32(7)])
            .unwrap_err();
        assert_eq!(
            known.to_string(),
            "arguments of a function: found (a null funcref i32), expected \
             ((ref (func (i32) -> (i32))) i32)"
        );
        for name in ["call", "tail", "known"] {
            let result = guest.call_untyped(name, &[other.into(), Val::I32(7)]);
            assert!(matches!(result, Err(Error::Type { .. })), "{result:?}");
        }
        // Functions of another store.
        let elsewhere = Func::wrap(&mut store(), |x: i32| x);
        let result = guest.call_untyped("known", &[elsewhere.into(), Val::I32(7)]);
        assert!(
            matches!(result, Err(Error::WrongStore { .. })),
            "{result:?}"
        );
    }
}

/// A type that the host names is the one of a module, so that both can be compared.
#[test]
fn host_and_modules_name_the_same_types() {
    let wat = r#"(module
        (type $t (func (param i32) (result i32)))
        (type $u (func (param (ref $t)) (result (ref null $t) funcref)))
        (global (export "g") (mut (ref null $t)) (ref.null $t))
        (func (export "f") (type $u) (local.get 0) (local.get 0))
        (func $id (export "id") (type $t) (local.get 0))
        (table (export "t") 2 5 (ref $t) (ref.func $id)))"#;
    for strategy in strategies() {
        let module = module(&Engine::default(), wat, strategy);
        let function = FuncType::new(
            &Engine::default(),
            [unary(false)],
            [unary(true), ValType::FUNCREF],
        );
        assert_eq!(
            module.get_export("f").unwrap().to_string(),
            "func ((ref (func (i32) -> (i32)))) -> ((ref null (func (i32) -> (i32))) funcref)"
        );
        assert_eq!(module.get_export("f"), Some(ExternType::Func(function)));
        let global = GlobalType::new(unary(true), true);
        assert_eq!(module.get_export("g"), Some(ExternType::Global(global)));
        let table = TableType::new(unary(false), 2, Some(5));
        assert_eq!(module.get_export("t"), Some(ExternType::Table(table)));
    }
    let t = unary(false);
    assert!(t.matches(unary(true)) && t.matches(ValType::FUNCREF));
    assert!(!unary(true).matches(t) && !ValType::FUNCREF.matches(t));
    let bottom = ValType::from(RefType::new(true, HeapType::NoFunc));
    assert!(bottom.matches(unary(true)) && !bottom.matches(t));
    assert!(!bottom.matches(ValType::EXTERNREF));
}

#[test]
fn tables_and_globals_hold_only_values_of_their_type() {
    let wat = r#"(module
        (type $t (func (param i32) (result i32)))
        (func $one (type $t) (i32.const 1))
        (global $g (export "g") (mut (ref $t)) (ref.func $one))
        (table $t (export "t") 3 9 (ref $t) (ref.func $one))
        (func (export "call") (param i32) (result i32)
            (call_indirect $t (type $t) (i32.const 0) (local.get 0)))
        (func (export "global") (result i32) (call_ref $t (i32.const 0) (global.get $g))))"#;
    for strategy in strategies() {
        let mut guest = Guest::new(wat, strategy);
        let store = &mut guest.store;
        let table = guest.instance.get_table(&mut *store, "t").unwrap();
        let global = guest.instance.get_global(&mut *store, "g").unwrap();
        let two: Val = Func::wrap(&mut *store, |_: i32| 2).into();
        let wrong: Val = Func::wrap(&mut *store, || {}).into();
        let ty = table.ty(&*store);
        for bad in [wrong, Val::FuncRef(None), Val::ExternRef(None)] {
            let is_type = |r: Result<(), Error>| matches!(r, Err(Error::Type { .. }));
            assert!(is_type(table.set(&mut *store, 0, bad.clone())));
            assert!(is_type(table.grow(&mut *store, 1, bad.clone()).map(drop)));
            assert!(is_type(global.set(&mut *store, bad.clone())));
            assert!(is_type(Table::new(&mut *store, ty, bad.clone()).map(drop)));
            assert!(is_type(
                Global::new(&mut *store, global.ty(), bad).map(drop)
            ));
        }
        table.set(&mut *store, 1, two.clone()).unwrap();
        assert_eq!(table.grow(&mut *store, 2, two.clone()).unwrap(), 3);
        global.set(&mut *store, two).unwrap();
        for (i, expected) in [(0, 1), (1, 2), (2, 1), (3, 2), (4, 2)] {
            assert_eq!(guest.call::<i32, i32>("call", i).unwrap(), expected);
        }
        assert_eq!(guest.call::<(), i32>("global", ()).unwrap(), 2);
        assert_eq!(
            trap(guest.call::<i32, i32>("call", 5)),
            Trap::UndefinedElement
        );
    }
}

/// An instance that is used again starts with the initial values, not with null.
#[test]
fn reused_instances_have_their_initial_values() {
    let wat = r#"(module
        (type $t (func (result i32)))
        (elem declare func $two)
        (func $one (type $t) (i32.const 1))
        (func $two (type $t) (i32.const 2))
        (global $g (mut (ref $t)) (ref.func $one))
        (table $t (export "t") 3 (ref $t) (ref.func $one))
        (func (export "change")
            (table.set $t (i32.const 2) (ref.func $two)) (global.set $g (ref.func $two)))
        (func (export "sum") (result i32)
            (i32.add (call_indirect $t (type $t) (i32.const 2)) (call_ref $t (global.get $g)))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let pre = Linker::<()>::new(&engine).instantiate_pre(&module).unwrap();
        for _ in 0..4 {
            let mut store = Store::new(&engine, ());
            let instance = pre.instantiate(&mut store).unwrap();
            let call = |store: &mut Store<()>, name| {
                let func = instance.get_func(&mut *store, name).unwrap();
                let mut results = vec![Val::I32(0); func.ty(&*store).results().len()];
                func.call(&mut *store, &[], &mut results).unwrap();
                results.first().and_then(Val::i32)
            };
            assert_eq!(call(&mut store, "sum"), Some(2));
            call(&mut store, "change");
            assert_eq!(call(&mut store, "sum"), Some(4));
        }
    }
}

const SUBTYPES: &str = r#"(module
    (rec (type $open (sub (func (result funcref)))) (type $pair (func (param (ref null $open)))))
    (type $below (sub $open (func (result (ref null $open)))))
    (type $last (sub final $below (func (result (ref $open)))))"#;

/// Imports take subtypes, but the function keeps its own type on its way through other instances.
#[test]
fn imports_take_subtypes() {
    for (of_exporter, of_importer) in strategy_pairs() {
        let exporter = format!(
            r#"{SUBTYPES}
            (elem declare func $open)
            (func $open (export "open") (type $open) (ref.null func))
            (func (export "below") (type $below) (ref.null $open))
            (func $last (export "last") (type $last) (ref.func $open))
            (global (export "g") (ref $last) (ref.func $last)))"#
        );
        // The functions are imported as supertypes, and called as what they are.
        let importer = format!(
            r#"{SUBTYPES}
            (import "e" "last" (func $f (type $open)))
            (import "e" "g" (global $g (ref null $below)))
            (table $t (export "t") 1 funcref)
            (table $hidden 1 funcref)
            (elem (i32.const 0) $f)
            (elem (table $hidden) (i32.const 0) func $f)
            (func (export "hidden") (result funcref)
                (call_indirect $hidden (type $last) (i32.const 0)))
            (export "again" (func $f))
            (func (export "as open") (result funcref)
                (call_indirect $t (type $open) (i32.const 0)))
            (func (export "as below") (result funcref)
                (call_indirect $t (type $below) (i32.const 0)))
            (func (export "as last") (result funcref)
                (call_indirect $t (type $last) (i32.const 0)))
            (func (export "global") (result funcref)
                (call_ref $below (global.get $g))))"#
        );
        let engine = Engine::default();
        let mut store = Store::new(&engine, ());
        let linker = Linker::new(&engine);
        let exporter = linker.instantiate(&mut store, &module(&engine, &exporter, of_exporter));
        let exporter = exporter.unwrap();
        let item = |store: &mut Store<()>, name| exporter.get_export(&mut *store, name).unwrap();
        let importer = module(&engine, &importer, of_importer);
        let items = [item(&mut store, "last"), item(&mut store, "g")];
        let instance = Instance::new(&mut store, &importer, &items).unwrap();
        for name in ["as open", "as below", "as last", "hidden", "global"] {
            let func = instance.get_func(&mut store, name).unwrap();
            let mut results = [Val::FuncRef(None)];
            func.call(&mut store, &[], &mut results).unwrap();
            assert!(results[0].unwrap_funcref().is_some(), "{name}");
        }
        // An instance that passes a function on does not change the function's type.
        let again = instance.get_func(&mut store, "again").unwrap();
        let last = exporter.get_func(&mut store, "last").unwrap();
        assert_eq!(again.ty(&store), last.ty(&store));
        let below = item(&mut store, "below");
        let table = instance.get_table(&mut store, "t").unwrap();
        let Extern::Func(below) = below else {
            panic!("a function")
        };
        table.set(&mut store, 0, below.into()).unwrap();
        for (name, fits) in [("as open", true), ("as below", true), ("as last", false)] {
            let func = instance.get_func(&mut store, name).unwrap();
            let result = func.call(&mut store, &[], &mut [Val::FuncRef(None)]);
            match fits {
                true => result.unwrap(),
                false => assert_eq!(trap(result), Trap::BadSignature),
            }
        }
        // Supertypes, and types with the same parameters and results that are not declared.
        let other = Func::wrap(&mut store, || Option::<Func>::None);
        for bad in [
            item(&mut store, "open"),
            item(&mut store, "below"),
            other.into(),
        ] {
            let wat = format!(r#"{SUBTYPES} (import "e" "f" (func (type $last))))"#);
            let module = module(&engine, &wat, of_importer);
            let error = Instance::new(&mut store, &module, &[bad]).map(drop);
            assert!(matches!(error, Err(Error::Link(_))), "{error:?}");
        }
    }
}

/// A mutable global must have exactly the type of the import. An immutable one may have a subtype.
#[test]
fn globals_of_subtypes() {
    let cases = [
        ("(global funcref)", false, true),
        ("(global (ref func))", false, true),
        ("(global (ref null $t))", false, true),
        ("(global (ref $t))", false, true),
        ("(global (mut (ref $t)))", true, true),
        ("(global (mut (ref null $t)))", true, false),
        ("(global (mut funcref))", true, false),
        ("(global (ref $t))", true, false),
        ("(global externref)", false, false),
        ("(global (ref $u))", false, false),
    ];
    for strategy in strategies() {
        let engine = Engine::default();
        for (import, mutable, fits) in cases {
            let mut store = Store::new(&engine, ());
            let func = Func::wrap(&mut store, |x: i32| x);
            let ty = GlobalType::new(unary(false), mutable);
            let global = Global::new(&mut store, ty, func.into()).unwrap();
            let wat = format!(
                r#"(module (type $t (func (param i32) (result i32))) (type $u (func))
                    (import "e" "g" {import}))"#
            );
            let module = module(&engine, &wat, strategy);
            let linked = Instance::new(&mut store, &module, &[global.into()]);
            assert_eq!(linked.is_ok(), fits, "{import} {strategy}");
        }
    }
}

/// Types are kept when the modules that brought them are gone.
#[test]
fn recursive_types_outlive_their_modules() {
    let wat = r#"(module
        (rec (type $a (func (param (ref null $b)) (result i32)))
             (type $b (sub (func (param (ref null $a)) (result (ref null $b))))))
        (func (export "a") (type $a) (i32.const 5))
        (func (export "b") (type $b) (ref.null $b)))"#;
    for strategy in strategies() {
        let types = |module: &Module| {
            let of = |name| match module.get_export(name) {
                Some(ExternType::Func(ty)) => ty,
                other => panic!("{other:?}"),
            };
            (of("a"), of("b"))
        };
        let first = types(&module(&Engine::default(), wat, strategy));
        // A host function of a type whose module is gone.
        let mut store = store();
        let func = Func::new(&mut store, first.0.clone(), |_, _, results| {
            results[0] = Val::I32(6);
            Ok(())
        });
        let again = module(store.engine(), wat, strategy);
        assert_eq!(types(&again), first);
        let user = wat.replace(
            r#"(func (export "a")"#,
            r#"(import "h" "f" (func $f (type $a))) (elem declare func $f)
               (func (export "call") (result i32) (call_ref $a (ref.null $b) (ref.func $f)))
               (func (export "a")"#,
        );
        let user = module(store.engine(), &user, strategy);
        let user = Instance::new(&mut store, &user, &[func.into()]).unwrap();
        let call = user.get_typed_func::<(), i32>(&mut store, "call").unwrap();
        assert_eq!(call.call(&mut store, ()).unwrap(), 6);
        // Another group with the same parts is another type.
        let other = module(
            store.engine(),
            &wat.replace("(sub (func", "(sub final (func"),
            strategy,
        );
        let other = types(&other);
        assert!(other.0 != first.0 && other.1 != first.1 && !other.0.matches(&first.0));
    }
}

#[test]
fn typed_functions_of_the_host() {
    let wat = r#"(module
        (type $t (func (result i32)))
        (elem declare func $seven)
        (func $seven (type $t) (i32.const 7))
        (func (export "give") (result (ref $t)) (ref.func $seven))
        (func (export "take") (param (ref func)) (result i32) (ref.is_null (local.get 0)))
        (func (export "strict") (param (ref $t))))"#;
    for strategy in strategies() {
        let mut guest = Guest::new(wat, strategy);
        let give = guest.call::<(), Option<Func>>("give", ()).unwrap();
        assert!(give.is_some());
        let give = guest.call::<(), Func>("give", ()).unwrap();
        let seven = give.typed::<(), i32>(&guest.store).unwrap();
        assert_eq!(seven.call(&mut guest.store, ()).unwrap(), 7);
        assert_eq!(guest.call::<Func, i32>("take", give).unwrap(), 0);
        // Null is no value of the parameter, and not every function is.
        let instance = guest.instance;
        let taken = instance.get_typed_func::<Option<Func>, i32>(&mut guest.store, "take");
        assert!(matches!(taken, Err(Error::Type { .. })));
        let taken = instance.get_typed_func::<Func, ()>(&mut guest.store, "strict");
        assert!(matches!(taken, Err(Error::Type { .. })));
    }
    // A host function that gives null where there is none.
    let ty = FuncType::new(
        &Engine::default(),
        [],
        [RefType::new(false, HeapType::Func).into()],
    );
    let mut store = store();
    let nothing = Func::new(&mut store, ty, |_, _, _| Ok(()));
    let error = nothing
        .call(&mut store, &[], &mut [Val::FuncRef(None)])
        .unwrap_err();
    assert!(matches!(error, Error::Type { .. }), "{error}");
}

/// Fuel is counted on both sides of a call through a reference.
#[test]
fn fuel_is_counted_across_references() {
    let wat = |call: &str| {
        format!(
            r#"(module (type $t (func)) (elem declare func $f)
            (func $f (type $t) (drop (i32.const 1)))
            (func (export "run") (local $i i32) (local $f (ref null $t))
                (local.set $f (ref.func $f))
                (local.set $i (i32.const 10))
                (loop $l {call}
                    (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))))"#
        )
    };
    for strategy in strategies() {
        let used = |call| {
            let engine = Engine::default();
            let source = Source::new(strategy).interruption(Interruption::Fuel);
            let module = source.module(&engine, &wat(call));
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            store.set_fuel(10_000).unwrap();
            let run = instance
                .get_typed_func::<(), ()>(&mut store, "run")
                .unwrap();
            run.call(&mut store, ()).unwrap();
            let used = 10_000 - store.get_fuel().unwrap();
            // Fuel is checked where functions and loops begin.
            store.set_fuel(used / 2).unwrap();
            assert_eq!(trap(run.call(&mut store, ())), Trap::OutOfFuel);
            used
        };
        // `local.get` costs one more each time.
        assert_eq!(used("(call_ref $t (local.get $f))"), used("(call $f)") + 10);
    }
}
