//! Imports: which items fit, which do not, and items that instances share.

use precast_loader::{
    Engine, Error, ExternType, Func, Global, GlobalType, Instance, Linker, Memory, MemoryType,
    Store, Table, TableType, Val, ValType,
};
use precast_tests::{module, store, strategies};

#[test]
fn all_imports_that_do_not_fit_are_told_at_once() {
    let wat = r#"(module
        (import "env" "missing" (func (param i32)))
        (import "env" "mistyped" (func (param i32) (result i64)))
        (import "env" "fine" (func))
        (import "env" "memory" (memory 2 3))
        (import "other" "table" (table 5 funcref)))"#;
    for strategy in strategies() {
        let mut store = store();
        let module = module(store.engine(), wat, strategy);
        let mut linker = Linker::new(store.engine());
        linker
            .func_wrap("env", "mistyped", |_: i64| -> f32 { 0. })
            .unwrap();
        linker.func_wrap("env", "fine", || {}).unwrap();
        let Err(Error::Link(errors)) = linker.instantiate(&mut store, &module) else {
            panic!("it must not link");
        };
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "import `env`.`missing`: unknown import: nothing is defined, expected \
                 func (i32) -> ()",
                "import `env`.`mistyped`: incompatible import type: found func (i64) -> (f32), \
                 expected func (i32) -> (i64)",
                "import `env`.`memory`: unknown import: nothing is defined, expected memory 2 3",
                "import `other`.`table`: unknown import: nothing is defined, expected \
                 table 5 funcref",
            ]
        );
    }
}

#[test]
fn limits_of_imports() {
    let wat = r#"(module (import "e" "m" (memory 2 4)) (import "e" "t" (table 2 4 funcref))
        (import "e" "g" (global (mut i32))))"#;
    for strategy in strategies() {
        let mut store = store();
        let importer = module(store.engine(), wat, strategy);
        let table = |min, max| TableType::new(ValType::FUNCREF, min, max);
        let link = |store: &mut Store<()>, m: MemoryType, t: TableType, g: GlobalType| {
            let memory = Memory::new(&mut *store, m).unwrap();
            let table = Table::new(&mut *store, t, Val::FuncRef(None)).unwrap();
            let global = Global::new(&mut *store, g, Val::I32(1)).unwrap();
            Instance::new(
                &mut *store,
                &importer,
                &[memory.into(), table.into(), global.into()],
            )
        };
        let global = GlobalType::new(ValType::I32, true);
        let memory = MemoryType::new;
        link(&mut store, memory(2, Some(4)), table(2, Some(4)), global).unwrap();
        link(&mut store, memory(3, Some(3)), table(4, Some(4)), global).unwrap();
        for (m, t, g, expected) in [
            (
                memory(1, Some(4)),
                table(2, Some(4)),
                global,
                "found memory 1 4, expected memory 2 4",
            ),
            (
                memory(2, None),
                table(2, Some(4)),
                global,
                "found memory 2, expected memory 2 4",
            ),
            (
                memory(2, Some(4)),
                table(2, Some(5)),
                global,
                "found table 2 5 funcref, expected table 2 4 funcref",
            ),
            (
                memory(2, Some(4)),
                table(2, Some(4)),
                GlobalType::new(ValType::I32, false),
                "found global i32, expected global (mut i32)",
            ),
        ] {
            let error = link(&mut store, m, t, g).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[test]
fn instances_share_items() {
    let exporter = r#"(module
        (memory (export "m") 1 5)
        (table (export "t") 3 8 funcref)
        (global (export "g") (mut i64) (i64.const 40))
        (func (export "bump") (result i64)
            (global.set 0 (i64.add (global.get 0) (i64.const 1))) (global.get 0))
        (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))
        (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0))))"#;
    let importer = r#"(module
        (import "a" "m" (memory 1))
        (import "a" "t" (table 3 funcref))
        (import "a" "g" (global $g (mut i64)))
        (import "a" "bump" (func $bump (result i64)))
        (elem (i32.const 1) func $seven)
        (data (i32.const 100) "x")
        (global $mine i64 (i64.const 2))
        (func $seven (result i32) (i32.const 7))
        (func (export "run") (result i64) (drop (call $bump)) (global.get $g))
        (func (export "grow") (result i32) (memory.grow (i32.const 2)))
        (func (export "poke") (i32.store8 (i32.const 150000) (i32.const 9))))"#;
    for strategy in strategies() {
        let mut store = store();
        let engine = *store.engine();
        let a = Instance::new(&mut store, &module(&engine, exporter, strategy), &[]).unwrap();
        let mut linker = Linker::new(&engine);
        linker.instance(&mut store, "a", a).unwrap();
        let b = linker
            .instantiate(&mut store, &module(&engine, importer, strategy))
            .unwrap();

        let run = b.get_typed_func::<(), i64>(&mut store, "run").unwrap();
        assert_eq!(run.call(&mut store, ()).unwrap(), 41);
        let g = a.get_global(&mut store, "g").unwrap();
        assert_eq!(g.get(&store).i64(), Some(41));
        g.set(&mut store, Val::I64(50)).unwrap();
        assert_eq!(run.call(&mut store, ()).unwrap(), 51);

        let peek = a.get_typed_func::<i32, i32>(&mut store, "peek").unwrap();
        assert_eq!(peek.call(&mut store, 100).unwrap(), i32::from(b'x'));
        let call = a.get_typed_func::<i32, i32>(&mut store, "call").unwrap();
        assert_eq!(call.call(&mut store, 1).unwrap(), 7);

        let poke = b.get_typed_func::<(), ()>(&mut store, "poke").unwrap();
        assert!(poke.call(&mut store, ()).unwrap_err().trap().is_some());
        let grow = b.get_typed_func::<(), i32>(&mut store, "grow").unwrap();
        assert_eq!(grow.call(&mut store, ()).unwrap(), 1);
        poke.call(&mut store, ()).unwrap();
        assert_eq!(peek.call(&mut store, 150_000).unwrap(), 9);
        let m = a.get_memory(&mut store, "m").unwrap();
        assert_eq!(m.size(&store), 3);
    }
}

#[test]
fn host_items_and_host_functions_in_tables() {
    let wat = r#"(module
        (import "h" "t" (table 2 funcref))
        (import "h" "f" (func $f (param i32) (result i32)))
        (elem (i32.const 1) func $f)
        (func (export "call") (param i32 i32) (result i32)
            (call_indirect (param i32) (result i32) (local.get 1) (local.get 0))))"#;
    for strategy in strategies() {
        let mut store = store();
        let engine = *store.engine();
        let ty = TableType::new(ValType::FUNCREF, 2, None);
        // This function is made before there is a module whose trampolines it could use.
        let triple = Func::wrap(&mut store, |x: i32| x * 3);
        let table = Table::new(&mut store, ty, Val::FuncRef(Some(triple))).unwrap();
        let double = Func::wrap(&mut store, |x: i32| x * 2);
        let module = module(&engine, wat, strategy);
        let instance = Instance::new(&mut store, &module, &[table.into(), double.into()]).unwrap();
        let call = instance
            .get_typed_func::<(i32, i32), i32>(&mut store, "call")
            .unwrap();
        assert_eq!(call.call(&mut store, (0, 5)).unwrap(), 15);
        assert_eq!(call.call(&mut store, (1, 5)).unwrap(), 10);
        let quadruple = Func::wrap(&mut store, |x: i32| x * 4);
        table
            .set(&mut store, 0, Val::FuncRef(Some(quadruple)))
            .unwrap();
        assert_eq!(call.call(&mut store, (0, 5)).unwrap(), 20);
    }
}

#[test]
fn duplicates_and_shadowing() {
    let mut linker: Linker<()> = Linker::new(store().engine());
    linker.func_wrap("a", "f", || 1_i32).unwrap();
    let error = linker.func_wrap("a", "f", || 2_i32).unwrap_err();
    assert_eq!(error.to_string(), "`a`.`f` is defined already");
    linker
        .allow_shadowing(true)
        .func_wrap("a", "f", || 2_i32)
        .unwrap();
}

#[test]
fn start_functions_run_and_their_traps_are_errors() {
    let fine = r#"(module (global $g (export "g") (mut i32) (i32.const 0))
        (func $s (global.set $g (i32.const 5))) (start $s))"#;
    let traps = r#"(module (func $s (unreachable)) (start $s))"#;
    for strategy in strategies() {
        let mut store = store();
        let engine = *store.engine();
        let instance = Instance::new(&mut store, &module(&engine, fine, strategy), &[]).unwrap();
        let g = instance.get_global(&mut store, "g").unwrap();
        assert_eq!(g.get(&store).i32(), Some(5));
        let error = Instance::new(&mut store, &module(&engine, traps, strategy), &[]).unwrap_err();
        assert!(error.trap().is_some());
    }
}

#[test]
fn types_of_imports_and_exports() {
    let wat = r#"(module
        (import "m" "f" (func (param i32 externref) (result f64)))
        (memory (export "mem") 1 2)
        (global (export "glob") (mut f32) (f32.const 1))
        (export "again" (func 0)))"#;
    for strategy in strategies() {
        let engine = precast_loader::Engine::default();
        let module = module(&engine, wat, strategy);
        let imports: Vec<_> = module
            .imports()
            .map(|i| format!("{}.{}: {}", i.module(), i.name(), i.ty()))
            .collect();
        assert_eq!(imports, ["m.f: func (i32 externref) -> (f64)"]);
        let exports: Vec<_> = module
            .exports()
            .map(|e| format!("{}: {}", e.name(), e.ty()))
            .collect();
        assert_eq!(
            exports,
            [
                "mem: memory 1 2",
                "glob: global (mut f32)",
                "again: func (i32 externref) -> (f64)"
            ]
        );
        assert!(matches!(
            module.get_export("mem"),
            Some(ExternType::Memory(_))
        ));
        assert!(module.get_export("absent").is_none());
    }
}

/// Imported items belong to others.
#[test]
fn a_module_tells_what_its_instances_need() {
    let wat = r#"(module
        (import "m" "memory" (memory 9)) (import "m" "table" (table 90 funcref))
        (memory 2 8) (memory (export "mem") 3)
        (table 5 funcref) (table (export "tab") 4 externref))"#;
    for strategy in strategies() {
        let engine = precast_loader::Engine::default();
        let required = module(&engine, wat, strategy).resources_required();
        assert_eq!((required.num_memories, required.num_tables), (2, 2));
        assert_eq!(required.max_initial_memory_size, Some(3));
        assert_eq!(required.max_initial_table_size, Some(5));
        let required = module(&engine, "(module)", strategy).resources_required();
        assert_eq!((required.num_memories, required.num_tables), (0, 0));
        assert_eq!(required.max_initial_memory_size, None);
        assert_eq!(required.max_initial_table_size, None);
    }
}

#[test]
fn imports_that_nothing_is_defined_for_can_be_made_to_fail_when_they_are_called() {
    let wat = r#"(module (import "a" "known" (func $known (result i32)))
        (import "a" "unknown" (func $unknown (param i64))) (import "b" "other" (func))
        (func (export "fine") (result i32) call $known)
        (func (export "fails") i64.const 1 call $unknown))"#;
    for strategy in strategies() {
        let mut store = store();
        let module = module(store.engine(), wat, strategy);
        let mut linker = Linker::new(store.engine());
        linker.func_wrap("a", "known", || 7).unwrap();
        linker.define_unknown_imports_as_traps(&module).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let fine = instance.get_typed_func::<(), i32>(&mut store, "fine");
        assert_eq!(fine.unwrap().call(&mut store, ()).unwrap(), 7);
        let fails = instance.get_typed_func::<(), ()>(&mut store, "fails");
        let error = fails.unwrap().call(&mut store, ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nothing is defined for `a`.`unknown`, which was called"
        );
        assert_eq!(error.backtrace().unwrap().frames().len(), 1);
    }
}

#[test]
fn exports_that_are_imports() {
    let wat = r#"(module
        (import "a" "g" (global i32))
        (import "a" "f1" (func))
        (import "a" "t" (table 1 funcref))
        (import "a" "m" (memory 1))
        (import "a" "e" (tag))
        (import "a" "f2" (func (param i32)))
        (func) (global i32 (i32.const 1)) (table 1 funcref) (memory 1) (tag)
        (export "f1" (func 0)) (export "f2" (func 1)) (export "f" (func 2))
        (export "g" (global 0)) (export "own g" (global 1))
        (export "t" (table 0)) (export "own t" (table 1))
        (export "m" (memory 0)) (export "own m" (memory 1))
        (export "e" (tag 0)) (export "own e" (tag 1)))"#;
    for strategy in strategies() {
        let module = module(&Engine::default(), wat, strategy);
        let imported = ["f1", "f2", "g", "t", "m", "e"];
        for export in module.exports() {
            let name = export.name();
            let expected = imported.contains(&name).then_some(name);
            assert_eq!(export.import().map(|import| import.name()), expected);
            assert_eq!(export.is_imported(), expected.is_some(), "{name}");
        }
        assert_eq!(module.exports().len(), 11);
    }
}
