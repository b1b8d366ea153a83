//! Memories with pages of one byte: their length is no multiple of the system's page size, so code
//! checks every access to them.

use precast_loader::{
    Engine, Error, InstancePre, Linker, Memory, MemoryType, Store, StoreLimitsBuilder, Trap,
};
use precast_tests::{Guest, module, strategies, trap};

const GUEST: &str = r#"(module
    (memory (export "m") 10 100000 (pagesize 1))
    (data (i32.const 7) "abc")
    (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func (export "load4") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "load far") (param i32) (result i32) (i32.load8_u offset=50 (local.get 0)))
    (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
    (func (export "fill") (param i32 i32) (memory.fill (local.get 0) (i32.const 7) (local.get 1)))
    (func (export "size") (result i32) (memory.size))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

#[test]
fn the_end_is_exact() {
    for strategy in strategies() {
        let mut guest = Guest::new(GUEST, strategy);
        let out = Trap::MemoryOutOfBounds;
        for len in [10, 11, 100, 4095, 4096, 4097, 70_000] {
            let size = guest.call::<_, i32>("size", ()).unwrap();
            assert_eq!(guest.call::<_, i32>("grow", len - size).unwrap(), size);
            assert_eq!(guest.call::<_, i32>("size", ()).unwrap(), len);
            assert_eq!(guest.call::<_, i32>("load", 9).unwrap(), i32::from(b'c'));
            guest.call::<_, ()>("store", (len - 1, 0)).unwrap();
            assert_eq!(guest.call::<_, i32>("load", len - 1).unwrap(), 0);
            guest.call::<_, ()>("store", (9, i32::from(b'c'))).unwrap();
            assert_eq!(trap(guest.call::<_, i32>("load", len)), out, "{len}");
            assert_eq!(trap(guest.call::<_, ()>("store", (len, 1))), out);
            assert_eq!(trap(guest.call::<_, i32>("load4", len - 3)), out);
            assert_eq!(trap(guest.call::<_, i32>("load4", -1)), out);
            assert_eq!(trap(guest.call::<_, i32>("load far", len - 50)), out);
            assert_eq!(trap(guest.call::<_, ()>("fill", (0, len + 1))), out);
            guest.call::<_, i32>("load4", len - 4).unwrap();
        }
        // What was behind the end is zero when the memory reaches it.
        guest.call::<_, ()>("fill", (10, 69_990)).unwrap();
        assert_eq!(guest.call::<_, i32>("grow", 10).unwrap(), 70_000);
        assert_eq!(guest.call::<_, i32>("load4", 70_000).unwrap(), 0);
        assert_eq!(
            guest.call::<_, i32>("grow", 29_991).unwrap(),
            -1,
            "past the maximum"
        );
        assert_eq!(guest.call::<_, i32>("grow", -1).unwrap(), -1);
    }
}

#[test]
fn the_host_counts_bytes() {
    for strategy in strategies() {
        let mut guest = Guest::new(GUEST, strategy);
        let memory = guest.instance.get_memory(&mut guest.store, "m").unwrap();
        assert_eq!(
            memory.ty(&guest.store).to_string(),
            "memory 10 100000 (pagesize 1)"
        );
        assert_eq!(memory.data(&guest.store), b"\0\0\0\0\0\0\0abc");
        assert_eq!(memory.grow(&mut guest.store, 1).unwrap(), 10);
        assert_eq!(
            (memory.size(&guest.store), memory.data_size(&guest.store)),
            (11, 11)
        );
        assert!(memory.write(&mut guest.store, 11, &[1]).is_err());
        let limits = StoreLimitsBuilder::new().memory_size(20).build();
        guest.store.set_limits(limits);
        assert_eq!(guest.call::<_, i32>("grow", 9).unwrap(), 11);
        assert_eq!(guest.call::<_, i32>("grow", 1).unwrap(), -1);
    }
}

#[test]
fn growth_byte_by_byte_stays_cheap() {
    for strategy in strategies() {
        let mut guest = Guest::new(GUEST, strategy);
        for len in 10..100_000 {
            assert_eq!(guest.call::<_, i32>("grow", 1).unwrap(), len);
        }
        assert_eq!(guest.call::<_, i32>("load", 8).unwrap(), i32::from(b'b'));
        assert_eq!(guest.call::<_, i32>("grow", 1).unwrap(), -1);
    }
}

#[test]
fn reset_pools_and_snapshots() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GUEST, strategy);
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        let check = |pre: &InstancePre<()>, len: i32, first: i32| {
            let mut store = Store::new(&engine, ());
            let instance = pre.instantiate(&mut store).unwrap();
            let mut call = |name: &str, at: i32| {
                let func = instance
                    .get_typed_func::<i32, i32>(&mut store, name)
                    .unwrap();
                func.call(&mut store, at)
            };
            assert_eq!(call("grow", 0).unwrap(), len);
            assert_eq!(call("load", 0).unwrap(), first);
            assert_eq!(call("load", 9).unwrap(), i32::from(b'c'));
            assert_eq!(trap(call("load", len)), Trap::MemoryOutOfBounds);
            assert_eq!(call("grow", 5000).unwrap(), len);
            assert_eq!(call("load", len).unwrap(), 0);
            let memory = instance.get_memory(&mut store, "m").unwrap();
            memory.data_mut(&mut store).fill(7);
            instance.reset(&mut store).unwrap();
            assert_eq!(memory.size(&store), len as u64);
            memory.grow(&mut store, 3).unwrap();
            memory.write(&mut store, 0, &[77]).unwrap();
            memory.write(&mut store, len as usize + 2, &[78]).unwrap();
            (instance.snapshot(&mut store).unwrap(), len + 3)
        };
        check(&pre, 10, 0);
        let (snapshot, len) = check(&pre, 10, 0);
        let again = InstancePre::from_snapshot(&pre, &snapshot).unwrap();
        check(&again, len, 77);
        let (snapshot, len) = check(&again, len, 77);
        check(
            &InstancePre::from_snapshot(&pre, &snapshot).unwrap(),
            len,
            77,
        );
    }
}

#[test]
fn page_sizes_are_part_of_the_type() {
    let engine = Engine::default();
    let bytes = MemoryType {
        page_size_log2: 0,
        ..MemoryType::new(10, Some(20))
    };
    for strategy in strategies() {
        let wat = r#"(module (import "h" "m" (memory 10 (pagesize 1)))
            (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;
        let module = module(&engine, wat, strategy);
        for (ty, fits) in [(bytes, true), (MemoryType::new(10, Some(20)), false)] {
            let mut store = Store::new(&engine, ());
            let memory = Memory::new(&mut store, ty).unwrap();
            let mut linker = Linker::new(&engine);
            linker.define(&store, "h", "m", memory).unwrap();
            let made = linker.instantiate(&mut store, &module);
            assert_eq!(made.is_ok(), fits, "{made:?}");
            if let Ok(instance) = made {
                let load = instance
                    .get_typed_func::<i32, i32>(&mut store, "load")
                    .unwrap();
                assert_eq!(load.call(&mut store, 9).unwrap(), 0);
                assert_eq!(trap(load.call(&mut store, 10)), Trap::MemoryOutOfBounds);
            }
        }
    }
    let mut store = Store::new(&engine, ());
    for page_size_log2 in [1, 12, 15, 17, 200] {
        let ty = MemoryType {
            page_size_log2,
            ..bytes
        };
        let error = Memory::new(&mut store, ty).unwrap_err();
        assert!(matches!(error, Error::InvalidType { .. }), "{error}");
    }
}
