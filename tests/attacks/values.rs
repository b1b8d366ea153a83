//! Functions of one store as values in another. Everything that takes a value returns an error.

use precast_loader::{
    Caller, Engine, Error, Extern, Func, FuncType, Global, GlobalType, Linker, Store, Table,
    TableType, Val, ValType,
};
use precast_tests::{module, store, strategies};

fn foreign<R: std::fmt::Debug>(result: Result<R, Error>) {
    assert_eq!(
        result.unwrap_err().to_string(),
        "the function belongs to another store; expected one of the same store, or a null reference"
    );
}

const WAT: &str = r#"(module
    (import "h" "get" (func $get (result funcref)))
    (import "h" "dynamic" (func $dynamic (result i32 funcref)))
    (table $t (export "t") 2 funcref)
    (func (export "take") (param funcref) (table.set $t (i32.const 0) (local.get 0)))
    (func (export "take-two") (param i32 funcref v128)
        (table.set $t (i32.const 0) (local.get 1)))
    (func (export "get") (table.set $t (i32.const 1) (call $get)))
    (func (export "dynamic") (table.set $t (i32.const 1) (call $dynamic)) (drop)))"#;

#[test]
fn are_refused_wherever_they_are_given() {
    let mut other = store();
    let theirs = Func::wrap(&mut other, || 1_i32);
    let value = || Val::FuncRef(Some(theirs));
    for strategy in strategies() {
        let mut store: Store<Option<Func>> = Store::new(other.engine(), Some(theirs));
        let store = &mut store;
        let module = module(store.engine(), WAT, strategy);
        let mut linker = Linker::new(store.engine());
        let of_data = |caller: Caller<'_, Option<Func>>| *caller.data();
        linker.func_wrap("h", "get", of_data).unwrap();
        let ty = FuncType::new(&Engine::default(), [], [ValType::I32, ValType::FUNCREF]);
        let dynamic = move |caller: Caller<'_, Option<Func>>, _: &[Val], results: &mut [Val]| {
            results[1] = Val::FuncRef(*caller.data());
            Ok(())
        };
        linker
            .func_new("h", "dynamic", ty.clone(), dynamic)
            .unwrap();
        let instance = linker.instantiate(&mut *store, &module).unwrap();

        // Arguments.
        let take = instance.get_func(&mut *store, "take").unwrap();
        foreign(take.call(&mut *store, &[value()], &mut []));
        let typed = take.typed::<Option<Func>, ()>(&*store).unwrap();
        foreign(typed.call(&mut *store, Some(theirs)));
        let two = instance.get_func(&mut *store, "take-two").unwrap();
        let vector = Val::V128(1.into());
        foreign(two.call(&mut *store, &[Val::I32(1), value(), vector], &mut []));
        let typed = two.typed::<(i32, Option<Func>, precast_loader::V128), ()>(&*store);
        foreign(
            typed
                .unwrap()
                .call(&mut *store, (1, Some(theirs), 1.into())),
        );

        // Results of host functions that are called by wasm code and by the host.
        for name in ["get", "dynamic"] {
            let get = instance
                .get_typed_func::<(), ()>(&mut *store, name)
                .unwrap();
            foreign(get.call(&mut *store, ()));
        }
        let direct = Func::wrap(&mut *store, of_data);
        foreign(direct.call(&mut *store, &[], &mut [Val::I32(0)]));
        let direct = Func::new(&mut *store, ty, dynamic);
        foreign(direct.call(&mut *store, &[], &mut [Val::I32(0), Val::I32(0)]));

        // Tables and globals.
        let ty = TableType::new(ValType::FUNCREF, 1, None);
        foreign(Table::new(&mut *store, ty, value()));
        let own = Table::new(&mut *store, ty, Val::FuncRef(None)).unwrap();
        let exported = instance.get_table(&mut *store, "t").unwrap();
        for table in [own, exported] {
            foreign(table.set(&mut *store, 0, value()));
            foreign(table.grow(&mut *store, 1, value()));
            for i in 0..table.size(&*store) {
                let element = table.get(&*store, i);
                assert!(matches!(element, Some(Val::FuncRef(None))), "{element:?}");
            }
        }
        let ty = GlobalType::new(ValType::FUNCREF, true);
        foreign(Global::new(&mut *store, ty, value()));
        let global = Global::new(&mut *store, ty, Val::FuncRef(None)).unwrap();
        foreign(global.set(&mut *store, value()));
        assert!(matches!(global.get(&*store), Val::FuncRef(None)));

        // The store accepts its own functions.
        let own = instance
            .get_export(&mut *store, "get")
            .and_then(Extern::into_func);
        *store.data_mut() = own;
        let get = instance
            .get_typed_func::<(), ()>(&mut *store, "get")
            .unwrap();
        get.call(&mut *store, ()).unwrap();
        let element = exported.get(&*store, 1);
        assert!(
            matches!(element, Some(Val::FuncRef(Some(_)))),
            "{element:?}"
        );
    }
}
