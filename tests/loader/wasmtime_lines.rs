//! Lines that users of Wasmtime 48 write, which compile here and do the same.
//!
//! The first function holds them as they are in hosts of Wasmtime, one for each part of its API
//! that is common in such hosts. Only the `use` of the crate is another one, and these four are not
//! as they were collected:
//!
//! - To compile a module is not the loader's business: `Engine::precompile_module` is
//!   `precast_compiler::Compiler::compile`.
//! - `Linker::define` got the memory in a variable, since two exclusive borrows of the store in one
//!   call never compiled.
//! - `Linker::define_unknown_imports_as_default_values` takes the store too, as it does in
//!   Wasmtime.
//! - `Engine::is_async` is left out: Wasmtime 48 has no such function any more.

use precast_loader::*;
use precast_tests::Source;

#[expect(dead_code, reason = "it is enough that this compiles")]
fn idioms(l: &mut Linker<StoreLimits>, s: &mut Store<StoreLimits>, m: &Module) {
    let _ = l.get(&mut *s, "a", "b");
    drop(l.module(&mut *s, "x", m));
    l.alias("a", "b", "c", "d").unwrap();
    s.limiter(|limits| limits);
    s.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(1)));
    s.epoch_deadline_trap();
    s.set_fuel(10).unwrap();
    s.get_fuel().unwrap();
    let _ = m.name();
    drop(m.get_export("x"));
    drop(m.get_export_index("x"));
    drop(m.serialize());
    for i in m.imports() {
        let _ = i.module();
        drop(i.ty());
        let _ = l.get_by_import(&mut *s, &i);
    }
    for e in m.exports() {
        let _ = e.name();
    }
    drop(WasmBacktrace::capture(&*s));
    drop(Val::null_exn_ref());
    let _ = Engine::new(&Config::new()).unwrap();
    let _ = MemoryType::new64(1, None);
    drop(Val::from(3i32));
    let _ = Val::I32(1).unwrap_i32();
    drop(Val::null_func_ref());
    drop(FuncType::new(&Engine::default(), [ValType::I32], []));
    drop(l.func_wrap_async("a", "b", |_, ()| Box::new(async {})));
    let memory = Memory::new(&mut *s, MemoryType::new(1, None)).unwrap();
    drop(l.define(&mut *s, "a", "b", memory));
    l.allow_unknown_exports(true);
    drop(l.define_unknown_imports_as_default_values(&mut *s, m));
    let e: Error = Error::msg("x");
    let _ = e.is::<Trap>();
    let i = Instance::new(&mut *s, m, &[]).unwrap();
    for x in i.exports(&mut *s) {
        let _ = x.name();
    }
    let _ = i.get_export(&mut *s, "x").unwrap().into_func();
    let ty = TableType::new(ValType::FUNCREF, 1, None);
    let table = Table::new(&mut *s, ty, Val::FuncRef(None)).unwrap();
    drop(table.fill(&mut *s, 0, Val::FuncRef(None), 1));
    drop(i.get_typed_func::<(i32, i32), (i32, i32)>(&mut *s, "x"));
    #[cfg(feature = "compiler")]
    drop(
        precast_compiler::Compiler::new(Default::default())
            .unwrap()
            .compile(b""),
    );
    let _weak = Engine::default().weak();
    let _ = Trap::OutOfFuel;
    let _ = i.get_shared_memory(&mut *s, "m");
    s.gc();
    let _ = Func::wrap(&mut *s, |_: Option<Func>| {});
    let _ = Func::wrap(&mut *s, |_: Option<ExternRef>| {});
    let _vector = V128::from(1u128);
}

const WAT: &str = r#"(module $calc
  (import "env" "log" (func $log (param i32)))
  (import "env" "table" (table 2 funcref))
  (import "env" "limit" (global i32))
  (memory (export "memory") 1)
  (func (export "twice") (param i32) (result i32)
    (call $log (local.get 0)) (i32.mul (local.get 0) (i32.const 2)))
  (func $div (export "div") (param i32 i32) (result i32)
    (i32.div_s (local.get 0) (local.get 1))))"#;

fn module(engine: &Engine, wat: &str) -> Module {
    Source::new(precast_artifact::Strategy::Guarded).module(engine, wat)
}

#[test]
fn modules_say_what_they_import_and_export() {
    let module = module(&Engine::default(), WAT);
    assert_eq!(module.name(), Some("calc"));
    let imports: Vec<_> = module.imports().map(|i| (i.module(), i.name())).collect();
    assert_eq!(
        imports,
        [("env", "log"), ("env", "table"), ("env", "limit")]
    );
    let ty = module.imports().next().unwrap().ty();
    assert_eq!(ty.unwrap_func().params(), [ValType::I32]);
    let names: Vec<_> = module.exports().map(|e| e.name().to_owned()).collect();
    assert_eq!(names, ["memory", "twice", "div"]);
    assert!(module.get_export_index("none").is_none());
    // The bytes are those that were loaded.
    let again = module.serialize().unwrap();
    let again = Module::from_bytes_verified(module.engine(), &again, module.digest()).unwrap();
    assert_eq!(again.exports().len(), 3);
    assert!(!Module::same(&module, &again) && Module::same(&again, &again.clone()));
}

#[test]
fn what_is_not_defined_has_default_values() {
    let engine = Engine::default();
    let module = module(&engine, WAT);
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker
        .define_unknown_imports_as_default_values(&mut store, &module)
        .unwrap();
    let limit = linker
        .get(&mut store, "env", "limit")
        .unwrap()
        .into_global()
        .unwrap();
    assert_eq!(limit.get(&store).unwrap_i32(), 0);
    let found: Vec<_> = linker
        .iter(&mut store)
        .map(|(_, name, _)| name.to_owned())
        .collect();
    assert_eq!(found, ["limit", "log", "table"]);

    let instance = linker.instantiate(&mut store, &module).unwrap();
    let index = module.get_export_index("twice").unwrap();
    let twice = instance
        .get_module_export(&mut store, &index)
        .unwrap()
        .into_func()
        .unwrap();
    let mut results = [Val::null_extern_ref()];
    twice.call(&mut store, &[21.into()], &mut results).unwrap();
    assert_eq!(results[0].unwrap_i32(), 42);
    // The export of another module is none of this instance.
    let other = self::module(&engine, WAT)
        .get_export_index("twice")
        .unwrap();
    assert!(instance.get_module_export(&mut store, &other).is_none());
}

#[test]
fn aliases_are_the_same_item() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 0_u32);
    let mut linker: Linker<u32> = Linker::new(&engine);
    linker
        .func_wrap("a", "b", |mut caller: Caller<'_, u32>| {
            *caller.data_mut() += 1
        })
        .unwrap();
    linker.alias("a", "b", "c", "d").unwrap();
    linker.alias_module("c", "e").unwrap();
    for (module, name) in [("a", "b"), ("c", "d"), ("e", "d")] {
        let func = linker
            .get(&mut store, module, name)
            .unwrap()
            .into_func()
            .unwrap();
        func.call(&mut store, &[], &mut []).unwrap();
    }
    assert_eq!(*store.data(), 3);
    assert!(linker.alias("a", "none", "c", "f").is_err());
    assert!(linker.alias("a", "b", "c", "d").is_err(), "defined already");
    assert!(linker.get(&mut store, "a", "none").is_none());
}

#[test]
fn commands_run_in_an_instance_of_their_own_and_reactors_in_one() {
    let engine = Engine::default();
    let body = r#"(global $g (mut i32) (i32.const 0))
        (func (export "next") (result i32)
          (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g))"#;
    let reactor =
        format!(r#"(module {body} (func (export "_initialize") (global.set $g (i32.const 10))))"#);
    let command =
        format!(r#"(module {body} (memory (export "memory") 1) (func (export "_start")))"#);
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker
        .module(&mut store, "reactor", &module(&engine, &reactor))
        .unwrap();
    linker
        .module(&mut store, "command", &module(&engine, &command))
        .unwrap();
    for (name, expected) in [("reactor", [11, 12]), ("command", [1, 1])] {
        let next = linker
            .get(&mut store, name, "next")
            .unwrap()
            .into_func()
            .unwrap();
        let next = next.typed::<(), i32>(&store).unwrap();
        assert_eq!(
            expected.map(|_| next.call(&mut store, ()).unwrap()),
            expected,
            "{name}"
        );
    }
    let start = linker.get_default(&mut store, "command").unwrap();
    start.call(&mut store, &[], &mut []).unwrap();
    assert!(linker.get_default(&mut store, "reactor").is_err());

    let exports_a_global =
        r#"(module (global (export "g") i32 (i32.const 1)) (func (export "_start")))"#;
    let module = module(&engine, exports_a_global);
    let error = linker.module(&mut store, "other", &module).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("it exports `g`, which is a global i32"),
        "{error}"
    );
    linker
        .allow_unknown_exports(true)
        .module(&mut store, "other", &module)
        .unwrap();
}

#[test]
fn traps_are_errors_that_can_be_matched_and_taken_out() {
    let engine = Engine::default();
    let module = module(&engine, WAT);
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker
        .define_unknown_imports_as_default_values(&mut store, &module)
        .unwrap();
    linker
        .allow_shadowing(true)
        .func_wrap("env", "log", |x: i32| match x {
            0 => Err(Trap::Interrupt),
            _ => Ok(()),
        })
        .unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let div = instance
        .get_typed_func::<(i32, i32), i32>(&mut store, "div")
        .unwrap();
    let error = div.call(&mut store, (1, 0)).unwrap_err();
    assert!(error.is::<Trap>() && !error.is::<std::io::Error>());
    assert_eq!(error.downcast_ref(), Some(&Trap::IntegerDivisionByZero));
    assert!(error.to_string().contains("calc!div"), "{error}");
    let frame = &error.backtrace().unwrap().frames()[0];
    assert_eq!((frame.func_name(), frame.func_index()), (Some("div"), 2));
    assert!(Module::same(&frame.module(&engine), &module));
    let error = error.downcast::<std::io::Error>().unwrap_err();
    assert_eq!(
        error.downcast::<Trap>().unwrap(),
        Trap::IntegerDivisionByZero
    );

    // A trap that a host function returns as it is.
    let twice = instance
        .get_typed_func::<i32, i32>(&mut store, "twice")
        .unwrap();
    let error = twice.call(&mut store, 0).unwrap_err();
    assert_eq!(
        (error.trap(), error.backtrace().unwrap().frames().len()),
        (Some(Trap::Interrupt), 1)
    );

    let error = Error::host(std::io::Error::from_raw_os_error(2));
    assert_eq!(
        error.downcast::<std::io::Error>().unwrap().raw_os_error(),
        Some(2)
    );
    assert_eq!(Error::msg("no").to_string(), "no");
}

#[test]
fn a_backtrace_has_the_frames_of_all_active_calls() {
    let engine = Engine::default();
    let wat = r#"(module $m (import "env" "again" (func $again (param i32)))
        (func $f (export "f") (param i32) (call $again (local.get 0)))
        (func $fail (export "fail") (param i32) unreachable))"#;
    let module = module(&engine, wat);
    let mut store = Store::new(&engine, Vec::new());
    let mut linker: Linker<Vec<String>> = Linker::new(&engine);
    let again = |mut caller: Caller<'_, Vec<String>>, left: i32| -> Result<(), Error> {
        let next = if left == 0 { "fail" } else { "f" };
        let trace = WasmBacktrace::capture(&caller).to_string();
        caller.data_mut().push(trace);
        let next = caller.get_export(next).and_then(Extern::into_func);
        let next = next.ok_or_else(|| Error::msg("no such function"))?;
        next.typed::<i32, ()>(&caller)?.call(&mut caller, left - 1)
    };
    linker.func_wrap("env", "again", again).unwrap();
    assert!(WasmBacktrace::capture(&store).frames().is_empty());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
    let error = f.call(&mut store, 1).unwrap_err();
    let frames = error.backtrace().unwrap().frames();
    let found: Vec<_> = frames
        .iter()
        .map(|f| (f.func_name().unwrap(), f.is_called_by_host()))
        .collect();
    assert_eq!(found, [("fail", true), ("f", true), ("f", true)]);
    let lines = |trace: &String| trace.matches("m!f").count();
    assert_eq!(store.data().iter().map(lines).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(store.data()[1].matches("(host)").count(), 1);
    assert!(
        WasmBacktrace::capture(&store).frames().is_empty(),
        "nothing is active"
    );

    // No more frames than there is room for, however many calls are active.
    let error = f.call(&mut store, 100).unwrap_err();
    let trace = error.backtrace().unwrap();
    assert_eq!((trace.frames().len(), trace.is_truncated()), (64, true));
}

#[test]
fn tables_are_filled_and_copied() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = TableType::new(ValType::EXTERNREF, 4, None);
    let a = Table::new(&mut store, ty, Val::null_extern_ref()).unwrap();
    let b = Table::new(&mut store, ty, ExternRef::new(0_u32).into()).unwrap();
    let number = |store: &Store<()>, table: Table, i| {
        let value = table.get(store, i).unwrap();
        value
            .externref()
            .flatten()
            .and_then(|x| x.data().downcast_ref::<u32>().copied())
    };
    for i in 0..4 {
        a.set(&mut store, i, ExternRef::new(i as u32 + 1).into())
            .unwrap();
    }
    a.copy(&mut store, 1, &a, 0, 3).unwrap();
    assert_eq!(
        [0, 1, 2, 3].map(|i| number(&store, a, i)),
        [1, 1, 2, 3].map(Some)
    );
    b.copy(&mut store, 2, &a, 2, 2).unwrap();
    assert_eq!(
        [0, 1, 2, 3].map(|i| number(&store, b, i)),
        [0, 0, 2, 3].map(Some)
    );
    b.fill(&mut store, 1, Val::null_extern_ref(), 3).unwrap();
    assert_eq!([0, 1].map(|i| number(&store, b, i)), [Some(0), None]);
    let func = Table::new(
        &mut store,
        TableType::new(ValType::FUNCREF, 1, None),
        Val::null_func_ref(),
    );
    let func = func.unwrap();
    for refused in [
        a.copy(&mut store, 2, &b, 0, 3),
        a.copy(&mut store, 0, &b, 2, 3),
        a.copy(&mut store, u64::MAX, &b, 0, 2),
        a.fill(&mut store, 4, Val::null_extern_ref(), 1),
        a.fill(&mut store, 0, Val::null_func_ref(), 1),
        a.copy(&mut store, 0, &func, 0, 1),
    ] {
        refused.unwrap_err();
    }
    a.fill(&mut store, 4, Val::null_extern_ref(), 0).unwrap();
    store.gc();
    assert_eq!(
        number(&store, a, 3),
        Some(3),
        "the store keeps what tables hold"
    );
}

#[test]
fn memories_hold_numbers_slices_and_texts() {
    let mut store = Store::new(&Engine::default(), ());
    let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
    memory
        .write_number(&mut store, 65_528, f64::NAN.to_bits())
        .unwrap();
    assert!(
        memory
            .read_number::<f64, _>(&store, 65_528)
            .unwrap()
            .is_nan()
    );
    memory.write_number(&mut store, 1, -2_i128).unwrap();
    assert_eq!(memory.read_number::<i8, _>(&store, 16).unwrap(), -1);
    for at in [65_529, 65_536, usize::MAX] {
        memory.read_number::<u64, _>(&store, at).unwrap_err();
        memory.write_number(&mut store, at, 1_u64).unwrap_err();
        memory.slice(&store, at, 8).unwrap_err();
        memory.slice_mut(&mut store, at, 8).unwrap_err();
    }
    memory.slice(&store, 0, usize::MAX).unwrap_err();
    assert_eq!(memory.slice(&store, 65_536, 0).unwrap(), b"");
    memory
        .write(&mut store, 10, "grün\0\u{ff}".as_bytes())
        .unwrap();
    assert_eq!(memory.c_str(&store, 10).unwrap(), "grün".as_bytes());
    let error = memory.str(&store, 10, 3).unwrap_err();
    assert!(error.to_string().contains("not UTF-8 from 12"), "{error}");
    memory
        .slice_mut(&mut store, 60_000, 5_536)
        .unwrap()
        .fill(b'x');
    memory.c_str(&store, 60_000).unwrap_err();
    memory.c_str(&store, 70_000).unwrap_err();
}

#[test]
fn settings_that_let_no_code_run_are_an_error() {
    let error = Engine::new(Config::new().max_wasm_stack(0)).unwrap_err();
    assert!(error.to_string().contains("stack"), "{error}");
    let engine = Engine::default();
    assert!(Engine::same(&engine, &engine.weak().upgrade().unwrap()));
    assert!(!Engine::same(
        &engine,
        &Engine::new(Config::new().consume_fuel(true)).unwrap()
    ));
}

#[test]
fn fuel_is_told_only_by_stores_that_count_it() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    store.set_fuel(u64::MAX).unwrap();
    Instance::new(&mut store, &module(&engine, "(module (func))"), &[]).unwrap();
    let error = store.get_fuel().unwrap_err();
    assert!(matches!(error, Error::Interruption { .. }), "{error}");
}
