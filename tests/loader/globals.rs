//! Globals and constant expressions.

use precast_loader::{Global, GlobalType, Instance, V128, Val, ValType};
use precast_tests::{Guest, module, store, strategies};

#[test]
fn every_type_from_the_host() {
    let wat = r#"(module
        (global (export "i32") (mut i32) (i32.const -1))
        (global (export "i64") (mut i64) (i64.const -2))
        (global (export "f32") (mut f32) (f32.const 1.5))
        (global (export "f64") (mut f64) (f64.const 2.5))
        (global (export "v128") (mut v128) (v128.const i64x2 3 4))
        (global (export "func") (mut funcref) (ref.null func))
        (global (export "fixed") i32 (i32.const 6))
        (func (export "get") (result i32) (global.get 0))
        (func (export "vector") (result v128) (global.get 4)))"#;
    for strategy in strategies() {
        let Guest {
            mut store,
            instance,
        } = Guest::new(wat, strategy);
        let mut global = |name: &str| instance.get_global(&mut store, name).unwrap();
        let [i32, i64, f32, f64] = ["i32", "i64", "f32", "f64"].map(&mut global);
        let [v128, func, fixed] = ["v128", "func", "fixed"].map(global);
        assert_eq!(i32.get(&store).i32(), Some(-1));
        assert_eq!(i64.get(&store).i64(), Some(-2));
        assert_eq!(f32.get(&store).f32(), Some(1.5));
        assert_eq!(f64.get(&store).f64(), Some(2.5));
        assert_eq!(v128.get(&store).v128(), Some(V128::from((4 << 64) + 3)));
        assert!(matches!(func.get(&store), Val::FuncRef(None)));
        i32.set(&mut store, Val::I32(77)).unwrap();
        v128.set(&mut store, V128::from(9).into()).unwrap();
        let get = instance
            .get_typed_func::<(), i32>(&mut store, "get")
            .unwrap();
        assert_eq!(get.call(&mut store, ()).unwrap(), 77);
        let vector = instance
            .get_typed_func::<(), V128>(&mut store, "vector")
            .unwrap();
        assert_eq!(vector.call(&mut store, ()).unwrap().as_u128(), 9);
        let error = fixed.set(&mut store, Val::I32(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the global is immutable: found i32, expected (mut i32)"
        );
        let error = i32.set(&mut store, Val::I64(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "value of a global: found i64, expected i32"
        );
    }
}

#[test]
fn constant_expressions_over_imports() {
    let wat = r#"(module
        (import "h" "base" (global $base i32))
        (import "h" "wide" (global $wide i64))
        (global (export "sum") i32 (i32.add (global.get $base) (i32.const 8)))
        (global (export "wrapped") i32 (i32.mul (global.get $base) (i32.const 0x40000000)))
        (global (export "difference") i64 (i64.sub (i64.const 1) (global.get $wide)))
        (memory (export "m") 1)
        (data (i32.add (global.get $base) (i32.const 1)) "hello")
        (table (export "t") 20 funcref)
        (elem (global.get $base) func $f)
        (func $f (export "f")))"#;
    for strategy in strategies() {
        let mut store = store();
        let module = module(store.engine(), wat, strategy);
        let base = GlobalType::new(ValType::I32, false);
        let base = Global::new(&mut store, base, Val::I32(10)).unwrap();
        let wide = GlobalType::new(ValType::I64, false);
        let wide = Global::new(&mut store, wide, Val::I64(3)).unwrap();
        let instance = Instance::new(&mut store, &module, &[base.into(), wide.into()]).unwrap();
        let mut get = |name: &str| {
            let global = instance.get_global(&mut store, name).unwrap();
            global.get(&store)
        };
        assert_eq!(get("sum").i32(), Some(18));
        assert_eq!(get("wrapped").i32(), Some(i32::MIN));
        assert_eq!(get("difference").i64(), Some(-2));
        let memory = instance.get_memory(&mut store, "m").unwrap();
        assert_eq!(&memory.data(&store)[11..16], b"hello");
        let table = instance.get_table(&mut store, "t").unwrap();
        assert!(table.get(&store, 10).unwrap().funcref().unwrap().is_some());
        assert!(table.get(&store, 11).unwrap().funcref().unwrap().is_none());
        assert!(table.get(&store, 20).is_none());
    }
}
