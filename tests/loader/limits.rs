//! Growth of memories and tables, and its limits.

use precast_loader::{Engine, Error, Instance, Store, StoreLimitsBuilder, Val};
use precast_tests::{Guest, module, store, strategies};

const WAT: &str = r#"(module
    (memory (export "m") 1 100)
    (table (export "t") 2 10 externref)
    (data (i32.const 65530) "edge")
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "size") (result i32) (memory.size))
    (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
    (func (export "grow-table") (param i32) (result i32)
        (table.grow (ref.null extern) (local.get 0))))"#;

#[test]
fn memories_grow_up_to_their_maximum() {
    for strategy in strategies() {
        let mut guest = Guest::new(WAT, strategy);
        // A checked memory moves several times on the way. Old bytes stay, new ones are zero.
        for pages in 1..100 {
            let last = pages * 65536 - 1;
            let mut call = |name, at: i32| guest.call::<i32, i32>(name, at);
            assert_eq!(call("load", last).unwrap(), 0);
            assert!(call("load", last + 1).is_err());
            guest
                .call::<(i32, i32), ()>("store", (last, pages))
                .unwrap();
            let mut call = |name, at: i32| guest.call::<i32, i32>(name, at);
            assert_eq!(call("grow", 1).unwrap(), pages);
            assert_eq!(call("load", last).unwrap(), pages);
            assert_eq!(call("load", 65530).unwrap(), i32::from(b'e'));
        }
        assert_eq!(guest.call::<(), i32>("size", ()).unwrap(), 100);
        for (by, expected) in [(0, 100), (1, -1), (-1, -1)] {
            assert_eq!(guest.call::<i32, i32>("grow", by).unwrap(), expected);
        }
        let memory = guest.instance.get_memory(&mut guest.store, "m").unwrap();
        let error = memory.grow(&mut guest.store, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "pages of a linear memory: 101 asked for, the limit is 100"
        );
    }
}

#[test]
fn limits_of_the_store() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, WAT, strategy);
        let mut store = Store::new(&engine, ());
        let limits = StoreLimitsBuilder::new();
        let limits = limits.memory_size(3 * 65536).table_elements(4).instances(1);
        store.set_limits(limits.build());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let grow = instance
            .get_typed_func::<i32, i32>(&mut store, "grow")
            .unwrap();
        assert_eq!(grow.call(&mut store, 2).unwrap(), 1);
        assert_eq!(grow.call(&mut store, 1).unwrap(), -1);
        let grow = instance
            .get_typed_func::<i32, i32>(&mut store, "grow-table")
            .unwrap();
        assert_eq!(grow.call(&mut store, 2).unwrap(), 2);
        assert_eq!(grow.call(&mut store, 1).unwrap(), -1);
        let table = instance.get_table(&mut store, "t").unwrap();
        let error = table.grow(&mut store, 1, Val::ExternRef(None)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "elements of a table: 5 asked for, the limit is 4"
        );
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "instances of a store: 2 asked for, the limit is 1"
        );

        let mut store = Store::new(&engine, ());
        store.set_limits(StoreLimitsBuilder::new().memory_size(10).build());
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Limit {
                    wanted: 65536,
                    limit: 10,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn reads_and_writes_of_the_host() {
    for strategy in strategies() {
        let Guest {
            mut store,
            instance,
        } = Guest::new(WAT, strategy);
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let mut bytes = [0; 4];
        memory.read(&store, 65530, &mut bytes).unwrap();
        assert_eq!(&bytes, b"edge");
        memory.write(&mut store, 65532, &[1, 2, 3, 4]).unwrap();
        let error = memory.write(&mut store, 65533, &[9; 4]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bytes of a linear memory: 4 from 65533 on are out of bounds, there are 65536"
        );
        assert!(memory.read(&store, usize::MAX, &mut bytes).is_err());
        assert_eq!(memory.data(&store)[65535], 4);
    }
}

#[test]
fn memories_that_no_machine_has_are_refused_when_they_are_made() {
    for pages in ["0x8000_0001", "0x1_0000_0000_0000"] {
        let wat = format!("(module (memory i64 {pages}) (data (i64.const 70000) \"x\"))");
        for strategy in strategies() {
            let mut store = store();
            let module = module(store.engine(), &wat, strategy);
            let error = Instance::new(&mut store, &module, &[]).unwrap_err();
            assert!(matches!(error, Error::Limit { .. }), "{error}");
        }
    }
}
