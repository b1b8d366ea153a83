//! Implementations of `AsContext` that do not return the same store each time, or that panic.

use std::cell::Cell;

use precast_loader::{
    AsContext, AsContextMut, Func, Global, GlobalType, Instance, Linker, Memory, MemoryType, Store,
    StoreContext, StoreContextMut, Table, TableType, Val, ValType,
};
use precast_tests::{module, store, strategies};

/// Returns the first store in the first `first` calls. In later calls it returns the second store,
/// or panics.
struct Shifting<'a> {
    stores: [&'a mut Store<()>; 2],
    first: u32,
    calls: Cell<u32>,
    panics: bool,
}

impl Shifting<'_> {
    fn next(&self) -> usize {
        let call = self.calls.replace(self.calls.get() + 1);
        let shifts = call >= self.first;
        assert!(!(shifts && self.panics), "as_context");
        usize::from(shifts)
    }
}

impl AsContext for Shifting<'_> {
    type Data = ();

    fn as_context(&self) -> StoreContext<'_, ()> {
        self.stores[self.next()].as_context()
    }
}

impl AsContextMut for Shifting<'_> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, ()> {
        let next = self.next();
        self.stores[next].as_context_mut()
    }
}

const WAT: &str = r#"(module
    (import "h" "f" (func (result i32))) (import "h" "m" (memory 1))
    (import "h" "t" (table 1 funcref)) (import "h" "g" (global (mut i32)))
    (memory (export "m") 1) (table (export "t") 1 funcref)
    (global (export "g") (mut i32) (i32.const 1))
    (func (export "f") (param i32) (result i32) (i32.add (call 0) (i32.load (local.get 0)))))"#;

/// The items that are used. They belong to the first store.
#[derive(Clone, Copy)]
struct Items {
    instance: Instance,
    host: Func,
    memory: Memory,
    table: Table,
    global: Global,
}

impl Items {
    fn of(store: &mut Store<()>, linker: &mut Linker<()>, module: &precast_loader::Module) -> Self {
        let table = TableType::new(ValType::FUNCREF, 1, None);
        let global = GlobalType::new(ValType::I32, true);
        let mut this = Self {
            host: Func::wrap(&mut *store, || 5_i32),
            memory: Memory::new(&mut *store, MemoryType::new(1, None)).unwrap(),
            table: Table::new(&mut *store, table, Val::FuncRef(None)).unwrap(),
            global: Global::new(&mut *store, global, Val::I32(1)).unwrap(),
            instance: {
                let empty = empty(store);
                Instance::new(&mut *store, &empty, &[]).unwrap()
            },
        };
        linker.allow_shadowing(true);
        linker.define(&*store, "h", "f", this.host).unwrap();
        linker.define(&*store, "h", "m", this.memory).unwrap();
        linker.define(&*store, "h", "t", this.table).unwrap();
        linker.define(&*store, "h", "g", this.global).unwrap();
        this.instance = linker.instantiate(&mut *store, module).unwrap();
        this
    }
}

fn empty(store: &Store<()>) -> precast_loader::Module {
    module(
        store.engine(),
        "(module)",
        precast_artifact::Strategy::Checked,
    )
}

/// Ignores a result, which may be anything.
fn used<R>(_: R) {}

#[test]
fn that_shift_or_panic() {
    for strategy in strategies() {
        let (mut a, mut b) = (store(), store());
        let module = module(a.engine(), WAT, strategy);
        let mut linker = Linker::new(a.engine());
        let Items {
            instance,
            host,
            memory,
            table,
            global,
        } = Items::of(&mut a, &mut linker, &module);
        let mut linked = linker.clone();
        let pre = linker.instantiate_pre(&module).unwrap();
        let func = instance.get_func(&mut a, "f").unwrap();
        let typed = func.typed::<i32, i32>(&a).unwrap();
        let exported = instance.get_memory(&mut a, "m").unwrap();
        let imports = [host.into(), memory.into(), table.into(), global.into()];

        type Use<'a> = Box<dyn FnMut(Shifting<'_>) + 'a>;
        let mut uses: Vec<Use<'_>> = vec![
            Box::new(|s| used(typed.call(s, 0))),
            Box::new(|s| used(func.call(s, &[Val::I32(0)], &mut [Val::I32(0)]))),
            Box::new(|s| used(host.call(s, &[], &mut [Val::I32(0)]))),
            Box::new(|s| used(func.ty(s))),
            Box::new(|s| used(func.typed::<i32, i32>(s).is_ok())),
            Box::new(|s| used(instance.get_typed_func::<i32, i32>(s, "f").is_ok())),
            Box::new(|s| used(instance.get_export(s, "f"))),
            Box::new(|s| used(instance.exports(s).count())),
            Box::new(|s| used(instance.module(s))),
            Box::new(|s| used(Instance::new(s, &module, &imports))),
            Box::new(|s| used(pre.instantiate(s))),
            Box::new(|s| used(linker.instantiate(s, &module))),
            Box::new(|s| used(linked.instance(s, "other", instance).is_ok())),
            Box::new(|s| used(memory.grow(s, 1))),
            Box::new(|s| used(exported.grow(s, 1))),
            Box::new(|s| used(memory.read(s, 0, &mut [0; 65536]))),
            Box::new(|s| used(memory.write(s, 65535, &[1]))),
            Box::new(|s| used(memory.data(&s).len())),
            Box::new(|mut s| memory.data_mut(&mut s).fill(1)),
            Box::new(|mut s| memory.data_and_store_mut(&mut s).0.fill(1)),
            Box::new(|s| used(table.get(s, 0))),
            Box::new(|s| used(table.set(s, 0, Val::FuncRef(Some(func))))),
            Box::new(|s| used(table.grow(s, 1, Val::FuncRef(Some(func))))),
            Box::new(|s| used(global.get(s))),
            Box::new(|s| used(global.set(s, Val::I32(3)))),
        ];
        for (i, use_it) in uses.iter_mut().enumerate() {
            for (first, panics) in [(0, false), (1, false), (2, false), (0, true), (1, true)] {
                let shifting = Shifting {
                    stores: [&mut a, &mut b],
                    first,
                    calls: Cell::new(0),
                    panics,
                };
                let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    use_it(shifting);
                }));
                // The use must panic if already its first call returns the wrong store or panics.
                assert!(first != 0 || panicked.is_err(), "use {i}, {panics}");
            }
        }
        drop(uses);
        // Both stores still work.
        memory.write(&mut a, 0, &[0; 4]).unwrap();
        assert_eq!(typed.call(&mut a, 0).unwrap(), 5);
        let again = Items::of(&mut b, &mut linked, &module).instance;
        let again = again.get_typed_func::<i32, i32>(&mut b, "f").unwrap();
        assert_eq!(again.call(&mut b, 0).unwrap(), 5);
    }
}
