//! The limits of a store, and the host's limiter, decide on memories, tables and instances.

use std::sync::Arc;

use precast_artifact::Strategy;
use precast_loader::runtime::{HostModule, InstanceConfig, Runtime};
use precast_loader::{
    AsContextMut, Engine, Error, Instance, Linker, Memory, MemoryType, Module, ResourceLimiter,
    Store, StoreLimits, StoreLimitsBuilder, Table, TableType, Trap, Val, ValType,
};
use precast_tests::{module, strategies};

const PAGE: usize = 65536;

/// A module whose memory and table can grow.
pub(crate) const GROW: &str = r#"(module
    (memory (export "m") 1 200)
    (table (export "t") 10 5000 funcref)
    (func (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "table") (param i32) (result i32)
        (table.grow (ref.null func) (local.get 0))))"#;

pub(crate) fn call<T: 'static>(
    store: &mut Store<T>,
    instance: Instance,
    name: &str,
    by: i32,
) -> Result<i32, Error> {
    let func = instance.get_typed_func::<i32, i32>(&mut *store, name);
    func.unwrap().call(store, by)
}

/// The message of an error.
pub(crate) fn message<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => error.to_string(),
    }
}

fn with_limits(engine: &Engine, limits: StoreLimitsBuilder) -> Store<()> {
    let mut store = Store::new(engine, ());
    store.set_limits(limits.build());
    store
}

#[test]
fn totals_hold_for_everything_in_a_store() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GROW, strategy);
        let limits = StoreLimitsBuilder::new()
            .total_memory_size(5 * PAGE)
            .total_table_elements(40);
        let mut store = with_limits(&engine, limits);
        // Each instance has one page and ten elements, and the host has as many.
        let one = Instance::new(&mut store, &module, &[]).unwrap();
        let two = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
        let ty = TableType::new(ValType::FUNCREF, 10, None);
        let table = Table::new(&mut store, ty, Val::FuncRef(None)).unwrap();
        // Two pages and ten elements are left, and these calls use them up.
        assert_eq!(call(&mut store, one, "memory", 1).unwrap(), 1);
        assert_eq!(memory.grow(&mut store, 1).unwrap(), 1);
        assert_eq!(call(&mut store, two, "table", 4).unwrap(), 10);
        assert_eq!(table.grow(&mut store, 6, Val::FuncRef(None)).unwrap(), 10);
        // Nothing is left for any of them. Growth by zero is still possible.
        let of_memories = "bytes of all linear memories of a store";
        let of_tables = "elements of all tables of a store";
        for by in [1, -1] {
            assert_eq!(call(&mut store, one, "memory", by).unwrap(), -1);
            assert_eq!(call(&mut store, one, "table", by).unwrap(), -1);
        }
        assert_eq!(call(&mut store, one, "memory", 0).unwrap(), 2);
        assert_eq!(call(&mut store, one, "table", 0).unwrap(), 10);
        let found = message(memory.grow(&mut store, 1));
        assert_eq!(
            found,
            format!("{of_memories}: 393216 asked for, the limit is 327680")
        );
        let found = message(table.grow(&mut store, 1, Val::FuncRef(None)));
        assert_eq!(found, format!("{of_tables}: 41 asked for, the limit is 40"));
        let found = message(Memory::new(&mut store, MemoryType::new(1, None)));
        assert!(found.starts_with(of_memories), "{found}");
        let found = message(Table::new(&mut store, ty, Val::FuncRef(None)));
        assert!(found.starts_with(of_tables), "{found}");
        let found = message(Instance::new(&mut store, &module, &[]));
        assert!(found.starts_with(of_memories), "{found}");
    }
}

#[test]
fn numbers_of_items_hold_for_everything_in_a_store() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GROW, strategy);
        let limits = StoreLimitsBuilder::new();
        let cases = [
            (limits.clone().memories(2), "linear memories of a store"),
            (limits.clone().tables(2), "tables of a store"),
            (limits.instances(2), "instances of a store"),
        ];
        for (limits, what) in cases {
            let mut store = with_limits(&engine, limits);
            Instance::new(&mut store, &module, &[]).unwrap();
            Instance::new(&mut store, &module, &[]).unwrap();
            let found = message(Instance::new(&mut store, &module, &[]));
            assert_eq!(found, format!("{what}: 3 asked for, the limit is 2"));
            // Items of the host are counted, too.
            let memory = Memory::new(&mut store, MemoryType::new(1, None));
            assert_eq!(memory.is_ok(), !what.contains("memories"));
            let ty = TableType::new(ValType::FUNCREF, 10, None);
            let table = Table::new(&mut store, ty, Val::FuncRef(None));
            assert_eq!(table.is_ok(), !what.contains("tables"));
        }
    }
}

/// Sixty memories of a megabyte, under a limit of 32 MiB.
#[test]
fn many_memories_are_one_total() {
    let memories = "(memory 16)".repeat(60);
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, &format!("(module {memories})"), strategy);
        let limits = StoreLimitsBuilder::new().total_memory_size(32 << 20);
        let mut store = with_limits(&engine, limits);
        assert_eq!(
            message(Instance::new(&mut store, &module, &[])),
            "bytes of all linear memories of a store: 62914560 asked for, the limit is 33554432"
        );
        let linker = Linker::new(&engine);
        let pre = linker.instantiate_pre(&module).unwrap();
        // An instance from the pool counts as much as a new one.
        pre.instantiate(Store::new(&engine, ()).as_context_mut())
            .unwrap();
        assert!(pre.instantiate(&mut store).is_err());
        store.set_limits(StoreLimitsBuilder::new().memories(59).build());
        assert_eq!(
            message(pre.instantiate(&mut store)),
            "linear memories of a store: 60 asked for, the limit is 59"
        );
    }
}

/// A small module can ask for much. Stores have limits even if the host sets none.
#[test]
fn stores_have_totals_by_default() {
    // The tables are exported, because a table that nothing can change does not count.
    let cases = [
        (
            r#"(table (export "x") 10000000 funcref) (table (export "y") 1 funcref)"#,
            "elements of all tables of a store: 10000001 asked for, the limit is 10000000",
        ),
        (
            "(memory 65536) (memory 65536) (memory 65536) (memory 65536) (memory 1)",
            "bytes of all linear memories of a store: 17179934720 asked for, the limit is \
             17179869184",
        ),
    ];
    for strategy in strategies() {
        for (items, expected) in cases {
            let engine = Engine::default();
            let module = module(&engine, &format!("(module {items})"), strategy);
            let mut store = Store::new(&engine, ());
            assert_eq!(message(Instance::new(&mut store, &module, &[])), expected);
        }
    }
}

/// A limiter that records the requests and answers as the test wants.
#[derive(Default)]
struct Host {
    asked: Vec<(&'static str, usize, usize, Option<usize>)>,
    failed: Vec<String>,
    refuse_above: Option<usize>,
    fail: Option<Failing>,
    fail_after_failure: bool,
    max_memories: usize,
}

enum Failing {
    Error,
    Panic,
    Trap,
}

impl Host {
    fn answer(&self, desired: usize) -> Result<bool, Error> {
        match self.fail {
            Some(Failing::Error) => Err(Error::host("the limiter says so")),
            Some(Failing::Trap) => Err(Trap::UnreachableCodeReached.into()),
            Some(Failing::Panic) => panic!("the limiter panics"),
            None => Ok(self.refuse_above.is_none_or(|max| desired <= max)),
        }
    }

    fn failed(&mut self, error: Error) -> Result<(), Error> {
        self.failed.push(error.to_string());
        if self.fail_after_failure {
            return Err(error);
        }
        Ok(())
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, Error> {
        self.asked.push(("memory", current, desired, maximum));
        self.answer(desired)
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<(), Error> {
        self.failed(error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, Error> {
        self.asked.push(("table", current, desired, maximum));
        self.answer(desired)
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<(), Error> {
        self.failed(error)
    }

    fn memories(&self) -> usize {
        if self.max_memories == 0 {
            10
        } else {
            self.max_memories
        }
    }
}

fn limited(engine: &Engine, host: Host) -> Store<Host> {
    let mut store = Store::new(engine, host);
    store.limiter(|host| host);
    store
}

#[test]
fn a_limiter_is_asked_about_everything() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GROW, strategy);
        let mut store = limited(&engine, Host::default());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let max = Some(200 * PAGE);
        let mut expected = vec![("memory", 0, PAGE, max), ("table", 0, 10, Some(5000))];
        assert_eq!(store.data().asked, expected);
        call(&mut store, instance, "memory", 2).unwrap();
        call(&mut store, instance, "memory", 0).unwrap();
        call(&mut store, instance, "table", 7).unwrap();
        expected.push(("memory", PAGE, 3 * PAGE, max));
        expected.push(("table", 10, 17, Some(5000)));
        let memory = instance.get_memory(&mut store, "m").unwrap();
        memory.grow(&mut store, 1).unwrap();
        expected.push(("memory", 3 * PAGE, 4 * PAGE, max));
        let table = instance.get_table(&mut store, "t").unwrap();
        table.grow(&mut store, 1, Val::FuncRef(None)).unwrap();
        expected.push(("table", 17, 18, Some(5000)));
        Memory::new(&mut store, MemoryType::new(2, Some(3))).unwrap();
        expected.push(("memory", 0, 2 * PAGE, Some(3 * PAGE)));
        let ty = TableType::new(ValType::FUNCREF, 3, None);
        Table::new(&mut store, ty, Val::FuncRef(None)).unwrap();
        expected.push(("table", 0, 3, None));
        assert_eq!(store.data().asked, expected);
        assert!(store.data().failed.is_empty());
        // Beyond the maximum of the type the limiter is not asked, but told of the failure.
        assert_eq!(call(&mut store, instance, "memory", 197).unwrap(), -1);
        assert_eq!(call(&mut store, instance, "table", -1).unwrap(), -1);
        assert_eq!(store.data().asked, expected);
        assert_eq!(
            store.data().failed,
            [
                "pages of a linear memory: 201 asked for, the limit is 200",
                "elements of a table: 4294967313 asked for, the limit is 5000",
            ]
        );
    }
}

#[test]
fn a_limiter_can_refuse() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GROW, strategy);
        let host = Host {
            refuse_above: Some(PAGE),
            ..Host::default()
        };
        let mut store = limited(&engine, host);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        assert_eq!(call(&mut store, instance, "memory", 1).unwrap(), -1);
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let refused =
            "bytes of a linear memory: 131072 asked for, which the store's limiter does not allow";
        assert_eq!(message(memory.grow(&mut store, 1)), refused);
        let two = MemoryType::new(2, None);
        assert_eq!(message(Memory::new(&mut store, two)), refused);
        store.data_mut().refuse_above = Some(11);
        assert_eq!(call(&mut store, instance, "table", 2).unwrap(), -1);
        let refused =
            "bytes of a linear memory: 65536 asked for, which the store's limiter does not allow";
        assert_eq!(message(Instance::new(&mut store, &module, &[])), refused);
        // It can refuse an instance from the pool, too.
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        for _ in 0..2 {
            pre.instantiate(&mut limited(&engine, Host::default()))
                .unwrap();
            assert_eq!(message(pre.instantiate(&mut store)), refused);
        }
        // The numbers of the limiter count, not those that the store had before.
        store.data_mut().refuse_above = None;
        store.data_mut().max_memories = 2;
        pre.instantiate(&mut store).unwrap();
        assert_eq!(
            message(pre.instantiate(&mut store)),
            "linear memories of a store: 3 asked for, the limit is 2"
        );
        // Setting limits replaces the limiter.
        store.set_limits(StoreLimits::default());
        pre.instantiate(&mut store).unwrap();
    }
}

#[test]
fn a_limiter_can_end_the_call() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GROW, strategy);
        let mut store = limited(&engine, Host::default());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for name in ["memory", "table"] {
            store.data_mut().fail = Some(Failing::Error);
            let error = call(&mut store, instance, name, 1).unwrap_err();
            assert_eq!(error.to_string(), "the limiter says so");
            let frames = error.backtrace().unwrap().frames();
            assert_eq!(frames.len(), 1, "{frames:?}");
            store.data_mut().fail = Some(Failing::Trap);
            let error = call(&mut store, instance, name, 1).unwrap_err();
            assert_eq!(error.trap().unwrap(), Trap::UnreachableCodeReached);
            store.data_mut().fail = Some(Failing::Panic);
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                call(&mut store, instance, name, 1)
            }));
            let panic = panicked.unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&"the limiter panics"));
            // The instance still works.
            store.data_mut().fail = None;
            let size = call(&mut store, instance, name, 0).unwrap();
            assert_eq!(call(&mut store, instance, name, 1).unwrap(), size);
            // Failed growth is not an error of the call, unless the limiter says so.
            assert_eq!(call(&mut store, instance, name, 1_000_000).unwrap(), -1);
            store.data_mut().fail_after_failure = true;
            let error = call(&mut store, instance, name, 1_000_000).unwrap_err();
            assert!(matches!(error, Error::Limit { .. }), "{error}");
            store.data_mut().fail_after_failure = false;
        }
        for fail in [Failing::Error, Failing::Trap] {
            store.data_mut().fail = Some(fail);
            assert!(Instance::new(&mut store, &module, &[]).is_err());
            assert!(Memory::new(&mut store, MemoryType::new(1, None)).is_err());
        }
    }
}

#[test]
fn growth_that_fails_can_be_an_error() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GROW, strategy);
        let limits = StoreLimitsBuilder::new()
            .memory_size(2 * PAGE)
            .total_table_elements(12)
            .trap_on_grow_failure(true)
            .build();
        let cases = [
            (
                "memory",
                "bytes of a linear memory: 196608 asked for, the limit is 131072",
            ),
            (
                "table",
                "elements of all tables of a store: 13 asked for, the limit is 12",
            ),
        ];
        // The same limits work as the store's own limits and as a limiter.
        let mut own = Store::new(&engine, limits.clone());
        own.set_limits(limits.clone());
        let mut limiter = Store::new(&engine, limits);
        limiter.limiter(|limits| limits);
        for mut store in [own, limiter] {
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            for (name, expected) in cases {
                call(&mut store, instance, name, 1).unwrap();
                call(&mut store, instance, name, 0).unwrap();
                let found = message(call(
                    &mut store,
                    instance,
                    name,
                    if name == "memory" { 1 } else { 2 },
                ));
                assert_eq!(found, expected);
            }
            assert!(call(&mut store, instance, "memory", 1000).is_err());
        }
    }
}

/// In the middle of a call, the limiter calls into another store.
#[test]
fn a_limiter_may_run_wasm_of_another_store() {
    struct Nested {
        module: Module,
        depth: usize,
        seen: Arc<std::sync::Mutex<Vec<i32>>>,
    }
    impl ResourceLimiter for Nested {
        fn memory_growing(
            &mut self,
            current: usize,
            _: usize,
            _: Option<usize>,
        ) -> Result<bool, Error> {
            if current == 0 || self.depth == 3 {
                return Ok(true);
            }
            let nested = Self {
                module: self.module.clone(),
                depth: self.depth + 1,
                seen: Arc::clone(&self.seen),
            };
            let mut store = Store::new(self.module.engine(), nested);
            store.limiter(|nested| nested);
            let instance = Instance::new(&mut store, &self.module, &[])?;
            let grown = call(&mut store, instance, "memory", 1)?;
            self.seen.lock().unwrap().push(grown);
            // A trap in the other store does not affect the outer call.
            let out = call(&mut store, instance, "trap", 1).unwrap_err();
            assert_eq!(out.trap().unwrap(), Trap::UnreachableCodeReached);
            Ok(true)
        }

        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, Error> {
            Ok(true)
        }
    }
    let wat = r#"(module (memory 1)
        (func (export "memory") (param i32) (result i32)
            (i32.add (memory.grow (local.get 0)) (i32.const 41)))
        (func (export "trap") (param i32) (result i32) (unreachable)))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let seen = Arc::default();
        let nested = Nested {
            module: module(&engine, wat, strategy),
            depth: 0,
            seen: Arc::clone(&seen),
        };
        let outer = nested.module.clone();
        let mut store = Store::new(&engine, nested);
        store.limiter(|nested| nested);
        let instance = Instance::new(&mut store, &outer, &[]).unwrap();
        assert_eq!(call(&mut store, instance, "memory", 1).unwrap(), 42);
        assert_eq!(*seen.lock().unwrap(), [42, 42, 42]);
    }
}

#[test]
fn wasm_that_calls_the_host_that_grows() {
    let wat = r#"(module (import "h" "grow" (func $grow (result i32)))
        (memory (export "m") 1)
        (func (export "f") (result i32) (call $grow)))"#;
    for strategy in [Strategy::Guarded, Strategy::Checked] {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<Host> = Linker::new(&engine);
        let grow = |mut caller: precast_loader::Caller<'_, Host>| -> Result<i32, Error> {
            let memory = caller.get_export("m").unwrap().into_memory().unwrap();
            memory.grow(&mut caller, 1)?;
            memory.grow(&mut caller, 100).map(|_| 0)
        };
        linker.func_wrap("h", "grow", grow).unwrap();
        let host = Host {
            refuse_above: Some(10 * PAGE),
            ..Host::default()
        };
        let mut store = limited(&engine, host);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
        let error = f.call(&mut store, ()).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert_eq!(
            instance.get_memory(&mut store, "m").unwrap().size(&store),
            2
        );
    }
}

#[test]
fn closed_instances_do_not_count() {
    let host = "(module (import \"m\" \"memory\" (memory 0)) (memory 2))";
    for strategy in strategies() {
        let engine = Engine::default();
        let runtime = Runtime::<()>::new(&engine);
        runtime.set_limits(
            StoreLimitsBuilder::new()
                .total_memory_size(4 * PAGE)
                .build(),
        );
        let host_module = HostModule::builder("m").memory("memory", MemoryType::new(1, None));
        host_module.instantiate(&runtime).unwrap();
        let module = module(&engine, host, strategy);
        for _ in 0..5 {
            // With one page of the host and two of an instance there is no room for another
            // instance.
            let open = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
            let found = message(runtime.instantiate(&module, InstanceConfig::new()));
            assert!(found.starts_with("bytes of all linear memories"), "{found}");
            open.close();
        }
    }
}
