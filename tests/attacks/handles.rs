//! Handles that are used with another store, or after their store has been dropped. Each such use
//! panics, and none accesses memory.

use precast_loader::{
    Error, Extern, Func, Global, GlobalType, Instance, InstancePre, Linker, Memory, MemoryType,
    Store, Table, TableType, TypedFunc, Val, ValType,
};
use precast_tests::{module, store, strategies};

use crate::panic_of;

const WAT: &str = r#"(module
    (memory (export "m") 1) (table (export "t") 1 funcref)
    (global (export "g") (mut i32) (i32.const 1))
    (func (export "f") (param i32) (result i32) (i32.load (local.get 0))))"#;

/// One handle of each kind.
#[derive(Clone, Copy)]
struct Handles {
    instance: Instance,
    func: Func,
    typed: TypedFunc<i32, i32>,
    memory: Memory,
    table: Table,
    global: Global,
}

impl Handles {
    fn of(store: &mut Store<()>, pre: &InstancePre<()>) -> Self {
        let instance = pre.instantiate(&mut *store).unwrap();
        let func = instance.get_func(&mut *store, "f").unwrap();
        Self {
            instance,
            func,
            typed: func.typed(&*store).unwrap(),
            memory: instance.get_memory(&mut *store, "m").unwrap(),
            table: instance.get_table(&mut *store, "t").unwrap(),
            global: instance.get_global(&mut *store, "g").unwrap(),
        }
    }

    fn made_by_the_host(store: &mut Store<()>, pre: &InstancePre<()>) -> Self {
        let func = Func::wrap(&mut *store, |x: i32| x);
        let table = TableType::new(ValType::FUNCREF, 1, None);
        let global = GlobalType::new(ValType::I32, true);
        Self {
            func,
            typed: func.typed(&*store).unwrap(),
            memory: Memory::new(&mut *store, MemoryType::new(1, None)).unwrap(),
            table: Table::new(&mut *store, table, Val::FuncRef(None)).unwrap(),
            global: Global::new(&mut *store, global, Val::I32(1)).unwrap(),
            ..Self::of(store, pre)
        }
    }

    /// Checks that each use panics with the right message.
    fn are_refused(self, theirs: Option<&Store<()>>, store: &mut Store<()>) {
        let Self {
            instance,
            func,
            typed,
            memory,
            table,
            global,
        } = self;
        macro_rules! refused {
            ($what:literal: $($e:expr),* $(,)?) => {
                $(assert_eq!(
                    panic_of(|| $e),
                    concat!($what, " was used with a store that does not own it"),
                    stringify!($e)
                );)*
            };
        }
        refused!("an instance":
            instance.get_export(&mut *store, "f"), instance.get_func(&mut *store, "none"),
            instance.exports(&mut *store).count(), instance.module(&*store),
            instance.get_typed_func::<i32, i32>(&mut *store, "f").is_ok());
        refused!("a function":
            func.ty(&*store), func.call(&mut *store, &[Val::I32(0)], &mut [Val::I32(0)]),
            func.typed::<i32, i32>(&*store).is_ok(), typed.call(&mut *store, 0),
            Extern::Func(func).ty(&*store));
        refused!("a memory":
            memory.ty(&*store), memory.size(&*store), memory.data(&*store).len(),
            memory.data_mut(&mut *store).len(), memory.data_ptr(&mut *store),
            memory.data_and_store_mut(&mut *store).0.len(), memory.grow(&mut *store, 1),
            memory.read(&*store, 0, &mut [0]), memory.write(&mut *store, 0, &[1]));
        refused!("a table":
            table.ty(&*store), table.size(&*store), table.get(&*store, 0),
            table.set(&mut *store, 0, Val::FuncRef(None)),
            table.grow(&mut *store, 1, Val::FuncRef(None)));
        refused!("a global": global.get(&*store), global.set(&mut *store, Val::I32(2)));
        // Handles as imports.
        let import = |store: &mut Store<()>, ty: &str, item: Extern| {
            let wat = format!(r#"(module (import "h" "i" ({ty})))"#);
            let module = module(store.engine(), &wat, precast_artifact::Strategy::Guarded);
            panic_of(|| Instance::new(&mut *store, &module, std::slice::from_ref(&item)));
            let mut linker = Linker::new(store.engine());
            let error = linker.define(&*store, "h", "i", item.clone()).unwrap_err();
            assert!(matches!(error, Error::WrongStore { .. }), "{error}");
            if let Some(theirs) = theirs {
                linker.define(theirs, "h", "i", item).unwrap();
                panic_of(|| linker.instantiate(&mut *store, &module));
            }
        };
        import(store, "func (param i32) (result i32)", func.into());
        import(store, "memory 1", memory.into());
        import(store, "table 1 funcref", table.into());
        import(store, "global (mut i32)", global.into());
    }
}

fn pre(strategy: precast_artifact::Strategy) -> InstancePre<()> {
    let store = store();
    let module = module(store.engine(), WAT, strategy);
    Linker::new(store.engine())
        .instantiate_pre(&module)
        .unwrap()
}

#[test]
fn of_another_store() {
    for strategy in strategies() {
        let pre = pre(strategy);
        let (mut a, mut b) = (store(), store());
        for handles in [
            Handles::of(&mut a, &pre),
            Handles::made_by_the_host(&mut a, &pre),
        ] {
            handles.are_refused(Some(&a), &mut b);
            // The other store still works.
            let fine = Handles::of(&mut b, &pre);
            assert_eq!(fine.typed.call(&mut b, 0).unwrap(), 0);
        }
    }
}

/// The next store is at the same address, and the same instance is reused from the pool.
#[test]
fn of_a_store_that_is_gone() {
    for strategy in strategies() {
        let pre = pre(strategy);
        for make in [Handles::of, Handles::made_by_the_host] {
            let mut old = store();
            let handles = make(&mut old, &pre);
            drop(old);
            let mut new = store();
            let successors = make(&mut new, &pre);
            handles.are_refused(None, &mut new);
            assert_eq!(successors.typed.call(&mut new, 0).unwrap(), 0);
            new.into_data();
            successors.are_refused(None, &mut store());
        }
    }
}

/// Handles stay valid when their store is moved.
#[test]
fn of_a_store_that_moved() {
    for strategy in strategies() {
        let pre = pre(strategy);
        let (mut a, mut b) = (store(), store());
        let in_a = Handles::of(&mut a, &pre);
        let in_b = Handles::of(&mut b, &pre);
        in_a.memory.write(&mut a, 0, &[7]).unwrap();
        std::mem::swap(&mut a, &mut b);
        assert_eq!(in_a.typed.call(&mut b, 0).unwrap(), 7);
        assert_eq!(in_b.typed.call(&mut a, 0).unwrap(), 0);
        in_a.are_refused(None, &mut a);
        let mut moved = Box::new(std::mem::replace(&mut b, store()));
        assert_eq!(in_a.typed.call(&mut *moved, 0).unwrap(), 7);
        in_a.are_refused(None, &mut b);
        let thread = std::thread::spawn(move || in_a.typed.call(&mut *moved, 0).unwrap());
        assert_eq!(thread.join().unwrap(), 7);
    }
}
