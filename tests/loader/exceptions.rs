//! Exceptions that code and host functions throw through frames, instances and host functions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use precast_artifact::handlers::{self, Handler};
use precast_artifact::{Artifact, HEADER_OFFSET, Interruption, Strategy, TrapCode};
use precast_loader::{
    Caller, Engine, Error, ExnRef, Extern, ExternRef, Func, FuncType, Instance, Linker, Module,
    Store, Tag, V128, Val, ValType,
};
use precast_tests::{Source, artifact, module, strategies};

fn instance(store: &mut Store<()>, wat: &str, strategy: Strategy) -> Instance {
    let module = module(store.engine(), wat, strategy);
    Instance::new(store, &module, &[]).unwrap()
}

fn store() -> Store<()> {
    Store::new(&Engine::default(), ())
}

const ALL: &str = r#"(module
    (type $all (func (param i32 i64 f32 f64 v128 funcref externref)))
    (tag $t (export "t") (type $all))
    (elem declare func $f)
    (func $f)
    (func $throw (param $e externref)
        (throw $t (i32.const -7) (i64.const -8) (f32.const 1.5) (f64.const -2.5)
            (v128.const i64x2 1 2) (ref.func $f) (local.get $e)))
    (func $through (param i32 externref)
        (if (local.get 0)
            (then (call $through (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))
            (else (call $throw (local.get 1)))))
    (func (export "caught") (param i32 externref)
            (result i32 i64 f32 f64 v128 funcref externref)
        (block $h (result i32 i64 f32 f64 v128 funcref externref)
            (try_table (catch $t $h)
                (call $through (local.get 0) (local.get 1)))
            (unreachable)))
    (func (export "uncaught") (param i32 externref)
        (call $through (local.get 0) (local.get 1))))"#;

fn check_all(values: &[Val]) {
    let [i, l, f, d, v, func, external] = values else {
        panic!("{values:?}")
    };
    assert_eq!((i.i32(), l.i64()), (Some(-7), Some(-8)));
    assert_eq!((f.f32(), d.f64()), (Some(1.5), Some(-2.5)));
    assert_eq!(v.v128(), Some(V128::from((2 << 64) | 1)));
    assert!(func.funcref().unwrap().is_some());
    assert_eq!(
        external.externref().unwrap().unwrap().data().downcast_ref(),
        Some(&77)
    );
}

#[test]
fn payloads_of_all_types() {
    for strategy in strategies() {
        let mut store = store();
        let instance = instance(&mut store, ALL, strategy);
        let caught = instance.get_func(&mut store, "caught").unwrap();
        let uncaught = instance.get_func(&mut store, "uncaught").unwrap();
        for frames in [0, 1, 10, 2000] {
            let args = [Val::I32(frames), ExternRef::new(77).into()];
            let mut results = vec![Val::I32(0); 7];
            caught.call(&mut store, &args, &mut results).unwrap();
            check_all(&results);

            let error = uncaught.call(&mut store, &args, &mut []).unwrap_err();
            let exception = error.exception().unwrap().clone();
            check_all(&exception.values(&store));
            let tag = instance.get_tag(&mut store, "t").unwrap();
            assert_eq!(exception.tag(&store), tag);
            assert_eq!(tag.ty(&store).params().len(), 7);
            let frames = frames as usize;
            let found = error.backtrace().unwrap();
            assert_eq!(found.frames().len(), (frames + 3).min(64));
            assert_eq!(found.frames()[0].func_name(), Some("throw"));
            assert_eq!(found.is_truncated(), frames > 61);
            let text = error.to_string();
            assert!(
                text.starts_with("wasm exception: tag (i32 i64 f32 f64 v128 funcref externref)"),
                "{text}"
            );
        }
    }
}

#[test]
fn tags_are_told_apart_by_identity() {
    // The module has an odd number of tags, followed by a v128.
    const DEFINES: &str = r#"(module
        (tag (export "a")) (tag (export "b")) (tag (export "c") (param v128))
        (global (export "v") (mut v128) (v128.const i64x2 3 4)))"#;
    const USES: &str = r#"(module
        (import "d1" "a" (tag $a1)) (import "d2" "a" (tag $a2)) (import "d1" "b" (tag $b1))
        (tag $own)
        (func $throw (param i32)
            (if (i32.eq (local.get 0) (i32.const 0)) (then (throw $a1)))
            (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $a2)))
            (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $b1)))
            (throw $own))
        (func (export "which") (param i32) (result i32)
            (block $a1
                (block $a2
                    (block $b1
                        (block $rest
                            (try_table (catch $a1 $a1) (catch $a2 $a2) (catch $b1 $b1)
                                    (catch_all $rest)
                                (call $throw (local.get 0)))
                            (unreachable))
                        (return (i32.const 3)))
                    (return (i32.const 2)))
                (return (i32.const 1)))
            (i32.const 0)))"#;
    for strategy in strategies() {
        let mut store = store();
        let defines = module(store.engine(), DEFINES, strategy);
        let uses = module(store.engine(), USES, strategy);
        let mut linker = Linker::new(store.engine());
        for name in ["d1", "d2"] {
            let instance = linker.instantiate(&mut store, &defines).unwrap();
            linker.instance(&mut store, name, instance).unwrap();
            let v = instance.get_global(&mut store, "v").unwrap().get(&store);
            assert_eq!(v.v128(), Some(V128::from((4 << 64) | 3)));
        }
        let instance = linker.instantiate(&mut store, &uses).unwrap();
        let which = instance
            .get_typed_func::<i32, i32>(&mut store, "which")
            .unwrap();
        for n in 0..4 {
            assert_eq!(which.call(&mut store, n).unwrap(), n);
        }
        // The tag has another type, or is missing.
        let mut other = Linker::new(store.engine());
        let tag = Tag::new(
            &mut store,
            FuncType::new(&Engine::default(), [ValType::I32], []),
        )
        .unwrap();
        other.define(&store, "d1", "a", tag).unwrap();
        let Err(Error::InvalidType { .. }) = Tag::new(
            &mut store,
            FuncType::new(&Engine::default(), [], [ValType::I32]),
        )
        .map(drop) else {
            panic!("a tag with a result")
        };
        let error = other
            .instantiate(&mut store, &uses)
            .unwrap_err()
            .to_string();
        assert!(error.contains("`d2`.`a`: unknown import"), "{error}");
        let own = Tag::new(&mut store, FuncType::new(&Engine::default(), [], [])).unwrap();
        other.define(&store, "d2", "a", own).unwrap();
        other.define(&store, "d1", "b", own).unwrap();
        let error = other
            .instantiate(&mut store, &uses)
            .unwrap_err()
            .to_string();
        let expected = "`d1`.`a`: incompatible import type: found tag (i32), expected tag ()";
        assert!(error.contains(expected), "{error}");
    }
}

/// A module that imports `throw`, which throws an exception of the host, and `middle`, which calls
/// back.
const HOST: &str = r#"(module
    (import "h" "throw" (func $throw (param i32)))
    (import "h" "middle" (func $middle (param i32) (result i32)))
    (import "h" "tag" (tag $tag (param i32)))
    (func (export "caught") (param i32) (result i32)
        (block $h (result i32)
            (try_table (catch $tag $h) (call $throw (local.get 0)))
            (i32.const -1)))
    (func (export "inner") (param i32)
        (throw $tag (local.get 0)))
    (func (export "outer") (param i32) (result i32)
        (block $h (result i32)
            (try_table (result i32) (catch $tag $h)
                (i32.add (call $middle (local.get 0)) (i32.const 1000))))))"#;

#[test]
fn host_functions_throw_catch_and_inspect() {
    for strategy in strategies() {
        let mut store = store();
        let tag = Tag::new(
            &mut store,
            FuncType::new(&Engine::default(), [ValType::I32], []),
        )
        .unwrap();
        let another = Tag::new(
            &mut store,
            FuncType::new(&Engine::default(), [ValType::I32], []),
        )
        .unwrap();
        let module = module(store.engine(), HOST, strategy);
        let mut linker = Linker::<()>::new(store.engine());
        linker.define(&store, "h", "tag", tag).unwrap();
        let throw = move |mut caller: Caller<'_, ()>, n: i32| -> Result<(), Error> {
            match n {
                0 => Ok(()),
                1 => Err(ExnRef::new(&mut caller, another, &[Val::I32(n)])?.into()),
                2 => Err(Error::host("no exception")),
                3 => panic!("no exception either"),
                _ => Err(ExnRef::new(&mut caller, tag, &[Val::I32(n)])?.into()),
            }
        };
        linker.func_wrap("h", "throw", throw).unwrap();
        // The host function catches odd values and passes even values on.
        let middle = move |mut caller: Caller<'_, ()>, n: i32| -> Result<i32, Error> {
            let inner = caller
                .get_export("inner")
                .and_then(Extern::into_func)
                .unwrap();
            let inner = inner.typed::<i32, ()>(&caller).unwrap();
            let error = inner.call(&mut caller, n).unwrap_err();
            let exception = error.exception().unwrap();
            assert_eq!(exception.tag(&caller), tag);
            match exception.values(&caller)[0].i32() {
                Some(11) => panic!("the host cannot go on after this exception"),
                Some(n) if n % 2 == 1 => Ok(n),
                _ => Err(error),
            }
        };
        linker.func_wrap("h", "middle", middle).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let caught = instance
            .get_typed_func::<i32, i32>(&mut store, "caught")
            .unwrap();
        assert_eq!(caught.call(&mut store, 0).unwrap(), -1);
        for n in 4..2000 {
            assert_eq!(caught.call(&mut store, n).unwrap(), n);
        }
        let error = caught.call(&mut store, 1).unwrap_err();
        assert_eq!(error.exception().unwrap().tag(&store), another);
        assert_eq!(error.backtrace().unwrap().frames().len(), 1);
        assert!(matches!(caught.call(&mut store, 2), Err(Error::Host(_))));
        let panics = std::panic::AssertUnwindSafe(|| caught.call(&mut store, 3));
        assert!(std::panic::catch_unwind(panics).is_err());
        let outer = instance
            .get_typed_func::<i32, i32>(&mut store, "outer")
            .unwrap();
        assert_eq!(outer.call(&mut store, 7).unwrap(), 1007);
        assert_eq!(outer.call(&mut store, 8).unwrap(), 8);
        // An exception whose host function panics is lost, and no handler catches the panic.
        let panics = std::panic::AssertUnwindSafe(|| outer.call(&mut store, 11));
        let payload = std::panic::catch_unwind(panics).unwrap_err();
        assert_eq!(
            payload.downcast_ref(),
            Some(&"the host cannot go on after this exception")
        );
        assert_eq!(outer.call(&mut store, 10).unwrap(), 10);

        // The host throws the exception itself.
        let error = ExnRef::new(&mut store, tag, &[Val::I64(1)])
            .unwrap_err()
            .to_string();
        assert_eq!(error, "values of an exception: found (i64), expected (i32)");
        let exception = ExnRef::new(&mut store, tag, &[Val::I32(5)]).unwrap();
        let same = exception.clone();
        assert!(same.ptr_eq(&exception));
        let ty = FuncType::new(&Engine::default(), [], [ValType::EXNREF]);
        let func = Func::new(&mut store, ty, move |_, _, results| {
            results[0] = same.clone().into();
            Ok(())
        });
        let func = func.typed::<(), Option<ExnRef>>(&store).unwrap();
        assert!(
            func.call(&mut store, ())
                .unwrap()
                .unwrap()
                .ptr_eq(&exception)
        );
    }
}

const REFERENCES: &str = r#"(module
    (tag $t (export "t") (param externref exnref))
    (tag $burn (param i32 i32 i32 i32 i32))
    (table $table (export "table") 4 exnref)
    (global $g (export "g") (mut exnref) (ref.null exn))
    (func $catch (param externref exnref) (result exnref)
        (block $h (result externref exnref exnref)
            (try_table (catch_ref $t $h) (throw $t (local.get 0) (local.get 1)))
            (unreachable))
        (local.set 1) (drop) (drop) (local.get 1))
    (func (export "keep") (param externref)
        (global.set $g (call $catch (local.get 0) (ref.null exn)))
        (table.set $table (i32.const 2) (call $catch (local.get 0) (global.get $g))))
    (func $burn (export "burn") (param i32)
        (loop $l
            (block $h
                (try_table (catch_all $h)
                    (throw $burn (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4)
                        (i32.const 5))))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "kept") (param i32) (result externref)
        (block $h (result externref exnref)
            (try_table (catch $t $h) (throw_ref (table.get $table (i32.const 2))))
            (unreachable))
        (if (param exnref) (local.get 0) (then (throw_ref)) (else (drop))))
    (func (export "null") (throw_ref (ref.null exn)))
    (func (export "on-stack") (param externref) (result externref) (local $e exnref)
        (local.set $e (call $catch (local.get 0) (ref.null exn)))
        (call $burn (i32.const 5000))
        (block $h (result externref exnref)
            (try_table (catch $t $h) (throw_ref (local.get $e)))
            (unreachable))
        (drop)))"#;

/// A value that counts when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn references_keep_exceptions_and_what_they_hold() {
    for strategy in strategies() {
        let mut store = store();
        let gone = Arc::new(AtomicUsize::new(0));
        let instance = instance(&mut store, REFERENCES, strategy);
        let value = ExternRef::new(Counted(Arc::clone(&gone)));
        let keep = instance
            .get_typed_func::<Option<ExternRef>, ()>(&mut store, "keep")
            .unwrap();
        let burn = instance
            .get_typed_func::<i32, ()>(&mut store, "burn")
            .unwrap();
        let kept = instance
            .get_typed_func::<i32, Option<ExternRef>>(&mut store, "kept")
            .unwrap();
        keep.call(&mut store, Some(value.clone())).unwrap();
        burn.call(&mut store, 50_000).unwrap();
        let found = kept.call(&mut store, 0).unwrap();
        assert!(found.unwrap().ptr_eq(&value));
        // The exception is not caught, and then only the host holds it.
        let error = kept.call(&mut store, 1).unwrap_err();
        let inner = error.exception().unwrap().clone();
        drop(error);
        let table = instance.get_table(&mut store, "table").unwrap();
        table.set(&mut store, 2, Val::ExnRef(None)).unwrap();
        let global = instance.get_global(&mut store, "g").unwrap();
        assert!(global.get(&store).exnref().unwrap().unwrap().ptr_eq(&inner));
        global.set(&mut store, Val::ExnRef(None)).unwrap();
        drop(value);
        burn.call(&mut store, 50_000).unwrap();
        assert_eq!(gone.load(Ordering::SeqCst), 0);
        let values = inner.values(&store);
        assert!(values[0].externref().unwrap().is_some() && values[1].exnref().unwrap().is_none());
        drop(values);
        drop(inner);
        for _ in 0..100 {
            let value = ExternRef::new(Counted(Arc::clone(&gone)));
            keep.call(&mut store, Some(value)).unwrap();
        }
        table.set(&mut store, 2, Val::ExnRef(None)).unwrap();
        global.set(&mut store, Val::ExnRef(None)).unwrap();
        burn.call(&mut store, 50_000).unwrap();
        // A few references may be kept alive by numbers on the stack that look like them.
        assert!(gone.load(Ordering::SeqCst) > 95);

        let on_stack = instance
            .get_typed_func::<Option<ExternRef>, Option<ExternRef>>(&mut store, "on-stack")
            .unwrap();
        let value = ExternRef::new(1);
        let found = on_stack.call(&mut store, Some(value.clone())).unwrap();
        assert!(found.unwrap().ptr_eq(&value));
        let null = instance
            .get_typed_func::<(), ()>(&mut store, "null")
            .unwrap();
        let error = null.call(&mut store, ()).unwrap_err();
        assert_eq!(error.trap().unwrap(), TrapCode::NullReference);

        // Uses an exception of a store that is gone, and one of another store.
        keep.call(&mut store, Some(value)).unwrap();
        let error = kept.call(&mut store, 1).unwrap_err();
        drop(store);
        assert!(
            error
                .to_string()
                .starts_with("wasm exception: tag (externref exnref)")
        );
        let exception = error.exception().unwrap().clone();
        let mut another = self::store();
        let instance = self::instance(&mut another, REFERENCES, strategy);
        let table = instance.get_table(&mut another, "table").unwrap();
        let refused = table
            .set(&mut another, 0, exception.clone().into())
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the exception belongs to another store; expected one of the same store, or a null reference"
        );
        let values = std::panic::AssertUnwindSafe(|| exception.values(&another));
        assert!(std::panic::catch_unwind(values).is_err());
    }
}

#[test]
fn an_exception_of_another_store_is_not_caught() {
    let mut theirs = store();
    let tag = Tag::new(&mut theirs, FuncType::new(&Engine::default(), [], [])).unwrap();
    let exception = ExnRef::new(&mut theirs, tag, &[]).unwrap();
    for strategy in strategies() {
        let mut store = store();
        let wat = r#"(module (import "h" "f" (func $f))
            (func (export "f") (block $h (try_table (catch_all $h) (call $f)))))"#;
        let module = module(store.engine(), wat, strategy);
        let mut linker = Linker::<()>::new(store.engine());
        let thrown = exception.clone();
        let f = move || -> Result<(), Error> { Err(thrown.clone().into()) };
        linker.func_wrap("h", "f", f).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        let error = f.call(&mut store, ()).unwrap_err();
        assert!(error.exception().unwrap().ptr_eq(&exception));
    }
}

#[test]
fn cleanup_keeps_the_backtrace_of_the_throw() {
    const WAT: &str = r#"(module
        (tag $t)
        (func $deep (throw $t))
        (func $cleans_up (block $h (result exnref)
            (try_table (catch_all_ref $h) (call $deep)) (unreachable)) (throw_ref))
        (func $old (export "old") try call $cleans_up catch_all rethrow 0 end)
        (func (export "local") (block $h (result exnref)
            (try_table (catch_all_ref $h) (throw $t)) (unreachable)) (throw_ref)))"#;
    for strategy in strategies() {
        let mut store = store();
        let instance = instance(&mut store, WAT, strategy);
        for (name, expected) in [
            ("old", &["deep", "cleans_up", "old"][..]),
            ("local", &["local"]),
        ] {
            let func = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
            let error = func.call(&mut store, ()).unwrap_err();
            let frames = error.backtrace().unwrap().frames();
            let found: Vec<_> = frames
                .iter()
                .map(|frame| frame.func_name().unwrap())
                .collect();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn fuel_and_epochs_across_handlers() {
    const WAT: &str = r#"(module
        (tag $t)
        (func $spend (param i32)
            (loop $l
                (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (throw $t))
        (func (export "f") (param i32)
            (block $h (try_table (catch $t $h) (call $spend (local.get 0)))))
        (func (export "old") (param i32)
            try local.get 0 call $spend catch $t nop end)
        (func (export "for-ever")
            (loop $l
                (block $h (try_table (catch $t $h) (throw $t)))
                (br $l))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = Source::new(strategy)
            .interruption(Interruption::Fuel)
            .module(&engine, WAT);
        for name in ["f", "old"] {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let f = instance
                .get_typed_func::<i32, ()>(&mut store, name)
                .unwrap();
            let mut spent = |n: i32| {
                store.set_fuel(1_000_000).unwrap();
                f.call(&mut store, n).unwrap();
                1_000_000 - store.get_fuel().unwrap()
            };
            // Each iteration of the loop takes five units of fuel.
            let (one, more) = (spent(1), spent(1001));
            assert_eq!(more - one, 5000, "{name}");
            store.set_fuel(2).unwrap();
            let error = f.call(&mut store, 1).unwrap_err();
            assert_eq!(error.trap().unwrap(), TrapCode::OutOfFuel);
        }
        for interruption in [Interruption::Fuel, Interruption::Epoch] {
            let module = Source::new(strategy)
                .interruption(interruption)
                .module(&engine, WAT);
            let mut store = Store::new(&engine, ());
            if interruption == Interruption::Fuel {
                store.set_fuel(100_000).unwrap();
            }
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let f = instance
                .get_typed_func::<(), ()>(&mut store, "for-ever")
                .unwrap();
            let handle = store.interrupt_handle();
            let stop = std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(30));
                handle.interrupt();
            });
            let error = f.call(&mut store, ()).unwrap_err();
            let code = error.trap().unwrap();
            match interruption {
                Interruption::Fuel => assert_eq!(code, TrapCode::OutOfFuel),
                _ => assert_eq!(code, TrapCode::Interrupt),
            }
            stop.join().unwrap();
        }
    }
}

#[test]
fn traps_and_stack_overflows_are_not_caught() {
    const WAT: &str = r#"(module
        (tag $t)
        (func $down (call $down))
        (func (export "overflow") (block $h (try_table (catch_all $h) (call $down))))
        (func (export "trap") (block $h (try_table (catch_all $h) (unreachable))))
        (func $deep (param i32)
            (if (local.get 0)
                (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
                (else (throw $t))))
        (func (export "deep") (param i32)
            (block $h (try_table (catch $t $h) (call $deep (local.get 0))))))"#;
    for strategy in strategies() {
        let mut store = store();
        let instance = instance(&mut store, WAT, strategy);
        for (name, code) in [
            ("overflow", TrapCode::StackOverflow),
            ("trap", TrapCode::UnreachableCodeReached),
        ] {
            let f = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
            let error = f.call(&mut store, ()).unwrap_err();
            assert_eq!(error.trap().unwrap(), code);
        }
        let deep = instance
            .get_typed_func::<i32, ()>(&mut store, "deep")
            .unwrap();
        for _ in 0..3 {
            deep.call(&mut store, 10_000).unwrap();
        }
    }
}

#[test]
fn damaged_tables_of_handlers_are_harmless() {
    const WAT: &str = r#"(module
        (tag $t)
        ;; Calls of a function with a `try_table` are not inlined.
        (func $throw (param i32) (try_table) (throw $t))
        (func (export "f") (param i32) (result i32)
            (block $h (try_table (catch $t $h) (call $throw (local.get 0))) (return (i32.const 1)))
            (i32.const 2)))"#;
    for strategy in strategies() {
        let bytes = artifact(WAT, strategy);
        let header = *Artifact::parse(&bytes, None).unwrap().header();
        let start = HEADER_OFFSET + header.handlers.start as usize;
        let len = header.handlers.len as usize;
        let entries: Vec<_> = handlers::entries(&bytes[start..start + len]).collect();
        let [(call, Handler { code, frame })] = entries[..] else {
            panic!("{entries:?}")
        };
        let open = |table: &[u8]| {
            let mut bytes = bytes.clone();
            bytes[start..start + len].copy_from_slice(table);
            // SAFETY: our own compiler has written the code.
            unsafe { Module::from_bytes(&Engine::default(), &bytes).unwrap() }
        };
        let run = |table: &[u8]| {
            let mut store = store();
            let instance = Instance::new(&mut store, &open(table), &[]).unwrap();
            let f = instance
                .get_typed_func::<i32, i32>(&mut store, "f")
                .unwrap();
            f.call(&mut store, 1)
        };
        let table = |call: u32, code, frame| handlers::encode(&[(call, Handler { code, frame })]);
        assert_eq!(run(&table(call, code, frame)).unwrap(), 2);
        for damaged in [
            table(call, u32::MAX, frame),
            table(call, header.text.len as u32, frame),
            table(call, code, u32::MAX),
            table(call, code, 1 << 20),
            table(call, code, frame + 1),
            table(call + 1, code, frame),
            table(u32::MAX, code, frame),
            vec![0xff; len],
        ] {
            let error = run(&damaged).unwrap_err();
            assert!(error.exception().is_some(), "{error}");
        }
    }
}
