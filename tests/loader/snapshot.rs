//! Instances that are reset to their initial state in their store, and instances that start with
//! the state of another instance.

use precast_artifact::Strategy;
use precast_loader::{
    Caller, Config, Engine, Extern, ExternRef, Func, Instance, InstancePre, Linker, Memory,
    MemoryType, Store, StoreLimitsBuilder, Trap, Val,
};
use precast_tests::{call, module, strategies};

/// A module with every kind of state, with a start function that counts, and with memory that can
/// grow beyond the reservation of a checked memory.
const WAT: &str = r#"(module
    (import "h" "count" (func $count))
    (import "h" "call" (func $call))
    (memory $m (export "m") 2 200) (memory $other (export "other") 1 4)
    (data (memory $m) (i32.const 100) "initial")
    (data (memory $other) (i32.const 65000) "second")
    (data $late "passive")
    (global $n (export "n") (mut i64) (i64.const 7))
    (global $v (export "v") (mut v128) (v128.const i64x2 1 2))
    (global $f (export "f") (mut funcref) (ref.null func))
    (global $e (export "e") (mut externref) (ref.null extern))
    (table $t (export "t") 3 10 funcref) (table $x (export "x") 2 10 externref)
    (elem (table $t) (i32.const 0) func $seven)
    (elem $more func $seven $eight)
    (type $r (func (result i32)))
    (func $seven (result i32) (i32.const 7))
    (func $eight (export "eight") (result i32) (i32.wrap_i64 (global.get $n)))
    (func $start
        (i32.store8 $m (i32.const 0) (i32.add (i32.load8_u $m (i32.const 0)) (i32.const 1)))
        (call $count))
    (start $start)
    (func (export "change") (param $grow i32)
        (i32.store8 $m (i32.const 5000) (i32.const 0xaa))
        (i32.store8 $other (i32.const 0) (i32.const 0xbb))
        (drop (memory.grow $m (local.get $grow)))
        (if (local.get $grow) (then (i32.store8 $m
            (i32.sub (i32.mul (memory.size $m) (i32.const 65536)) (i32.const 1)) (i32.const 0xcc))))
        (global.set $n (i64.const 42))
        (global.set $v (v128.const i64x2 3 4))
        (global.set $f (ref.func $eight))
        (table.set $t (i32.const 0) (ref.null func))
        (drop (table.grow $t (ref.func $eight) (i32.const 2)))
        (table.init $t $more (i32.const 1) (i32.const 0) (i32.const 2))
        (memory.init $m $late (i32.const 9000) (i32.const 0) (i32.const 7))
        (data.drop $late)
        (elem.drop $more))
    (func (export "through") (param i32) (result i32)
        (call_indirect $t (type $r) (local.get 0)))
    (func (export "late") (memory.init $m $late (i32.const 9000) (i32.const 0) (i32.const 7)))
    (func (export "keep") (param externref) (global.set $e (local.get 0)))
    (func (export "keep-in-table") (param externref) (table.set $x (i32.const 1) (local.get 0)))
    (func (export "load") (param i32) (result i32) (i32.load8_u $m (local.get 0)))
    (func (export "store") (param i32) (i32.store8 $m (local.get 0) (i32.const 0xdd)))
    (func (export "call") (call $call)))"#;

type Host = (u32, Option<fn(Caller<'_, Data>)>);

#[derive(Debug, Default)]
struct Data(Host);

fn pre_of(engine: &Engine, strategy: Strategy) -> InstancePre<Data> {
    let module = module(engine, WAT, strategy);
    let mut linker: Linker<Data> = Linker::new(engine);
    let count = |mut caller: Caller<'_, Data>| caller.data_mut().0.0 += 1;
    linker.func_wrap("h", "count", count).unwrap();
    let call = |caller: Caller<'_, Data>| {
        if let Some(call) = caller.data().0.1 {
            call(caller);
        }
    };
    linker.func_wrap("h", "call", call).unwrap();
    linker.instantiate_pre(&module).unwrap()
}

fn bytes(store: &mut Store<Data>, instance: Instance, name: &str) -> Vec<u8> {
    let memory = instance.get_memory(&mut *store, name).unwrap();
    memory.data(&*store).to_vec()
}

fn global(store: &mut Store<Data>, instance: Instance, name: &str) -> Val {
    let global = instance.get_global(&mut *store, name).unwrap();
    global.get(&*store)
}

/// Checks that an instance of [`WAT`] has its initial state.
#[track_caller]
fn assert_new(store: &mut Store<Data>, instance: Instance) {
    let mut expected = vec![0; 2 * 65536];
    expected[0] = 1;
    expected[100..107].copy_from_slice(b"initial");
    assert!(bytes(store, instance, "m") == expected);
    let mut expected = vec![0; 65536];
    expected[65000..65006].copy_from_slice(b"second");
    assert!(bytes(store, instance, "other") == expected);
    assert_eq!(global(store, instance, "n").i64(), Some(7));
    let v = global(store, instance, "v").v128().unwrap().as_u128();
    assert_eq!(v, (2 << 64) + 1);
    assert!(matches!(global(store, instance, "f"), Val::FuncRef(None)));
    assert!(matches!(global(store, instance, "e"), Val::ExternRef(None)));
    let table = instance.get_table(&mut *store, "t").unwrap();
    assert_eq!(table.size(&*store), 3);
    assert_eq!(call::<_, i32>(store, instance, "through", 0).unwrap(), 7);
    for at in [1, 2] {
        let error = call::<_, i32>(store, instance, "through", at).unwrap_err();
        let code = error.trap().unwrap();
        assert_eq!(code, Trap::IndirectCallToNull);
    }
    let out = call::<_, i32>(store, instance, "load", 2 * 65536).unwrap_err();
    assert_eq!(out.trap().unwrap(), Trap::MemoryOutOfBounds);
}

/// Checks that an instance of [`WAT`] has the state after `change`.
#[track_caller]
fn assert_changed(store: &mut Store<Data>, instance: Instance, grown: usize) {
    let mut expected = vec![0; (2 + grown) * 65536];
    expected[0] = 1;
    expected[100..107].copy_from_slice(b"initial");
    expected[5000] = 0xaa;
    expected[9000..9007].copy_from_slice(b"passive");
    if grown > 0 {
        expected[(2 + grown) * 65536 - 1] = 0xcc;
    }
    assert!(bytes(store, instance, "m") == expected);
    let mut expected = vec![0; 65536];
    expected[65000..65006].copy_from_slice(b"second");
    expected[0] = 0xbb;
    assert!(bytes(store, instance, "other") == expected);
    assert_eq!(global(store, instance, "n").i64(), Some(42));
    let v = global(store, instance, "v").v128().unwrap().as_u128();
    assert_eq!(v, (4 << 64) + 3);
    let Val::FuncRef(Some(eight)) = global(store, instance, "f") else {
        panic!("a function");
    };
    let eight = eight.typed::<(), i32>(&*store).unwrap();
    assert_eq!(eight.call(&mut *store, ()).unwrap(), 42);
    let table = instance.get_table(&mut *store, "t").unwrap();
    assert_eq!(table.size(&*store), 5);
    for (at, value) in [(1, 7), (2, 42), (3, 42), (4, 42)] {
        assert_eq!(
            call::<_, i32>(store, instance, "through", at).unwrap(),
            value
        );
    }
    assert!(call::<_, i32>(store, instance, "through", 0).is_err());
    // A dropped segment is empty.
    let error = call::<_, ()>(store, instance, "late", ()).unwrap_err();
    assert_eq!(error.trap().unwrap(), Trap::MemoryOutOfBounds);
    let end = ((2 + grown) * 65536) as i32;
    let out = call::<_, i32>(store, instance, "load", end).unwrap_err();
    assert_eq!(out.trap().unwrap(), Trap::MemoryOutOfBounds);
}

#[test]
fn a_reset_instance_is_as_new() {
    for strategy in strategies() {
        let engine = Engine::default();
        let pre = pre_of(&engine, strategy);
        let mut store = Store::new(&engine, Data::default());
        // The limits would be exceeded if the growth of earlier rounds still counted.
        let limits = StoreLimitsBuilder::new().total_memory_size(70 * 65536);
        store.set_limits(limits.total_table_elements(12).build());
        let instance = pre.instantiate(&mut store).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let eight = instance.get_typed_func::<(), i32>(&mut store, "eight");
        let eight = eight.unwrap();
        // Growth by 40 pages exceeds the reservation, so that the memory moves.
        for (round, grow) in [0, 3, 40, 0, 60, 1, 40].into_iter().enumerate() {
            assert_new(&mut store, instance);
            call::<_, ()>(&mut store, instance, "late", ()).unwrap();
            call::<_, ()>(&mut store, instance, "change", grow).unwrap();
            let secret = Some(ExternRef::new(String::from("secret")));
            call::<_, ()>(&mut store, instance, "keep", secret.clone()).unwrap();
            call::<_, ()>(&mut store, instance, "keep-in-table", secret).unwrap();
            memory.write(&mut store, 70_000, b"host").unwrap();
            assert_eq!(eight.call(&mut store, ()).unwrap(), 42);
            instance.reset(&mut store).unwrap();
            assert_eq!(store.data().0.0, round as u32 + 2, "the start function ran");
            assert_eq!(memory.data_size(&store), 2 * 65536);
            assert_eq!(eight.call(&mut store, ()).unwrap(), 7);
        }
        assert_new(&mut store, instance);
        drop(store);
        // The slot can be reused like others.
        for _ in 0..3 {
            let mut store = Store::new(&engine, Data::default());
            let instance = pre.instantiate(&mut store).unwrap();
            assert_new(&mut store, instance);
            call::<_, ()>(&mut store, instance, "change", 2).unwrap();
        }
    }
}

#[test]
fn others_see_the_reset_of_what_they_import() {
    let user = r#"(module (import "a" "m" (memory 2)) (import "a" "eight" (func $eight (result i32)))
        (import "a" "n" (global $n (mut i64))) (import "a" "t" (table 3 funcref))
        (data (i32.const 200) "user") (global $own (export "own") (mut i32) (i32.const 1))
        (func (export "sum") (result i32)
            (global.set $own (i32.add (global.get $own) (i32.const 1)))
            (i32.add (call $eight) (i32.add (memory.size) (i32.load8_u (i32.const 5000)))))
        (func (export "n") (result i64) (global.get $n)))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let pre = pre_of(&engine, strategy);
        let user = module(&engine, user, strategy);
        let mut store = Store::new(&engine, Data::default());
        let owner = pre.instantiate(&mut store).unwrap();
        let mut linker: Linker<Data> = Linker::new(&engine);
        linker.instance(&mut store, "a", owner).unwrap();
        let user = linker.instantiate(&mut store, &user).unwrap();
        for _ in 0..3 {
            assert_eq!(call::<_, i32>(&mut store, user, "sum", ()).unwrap(), 7 + 2);
            call::<_, ()>(&mut store, owner, "change", 50).unwrap();
            let sum = call::<_, i32>(&mut store, user, "sum", ()).unwrap();
            assert_eq!(sum, 42 + 52 + 0xaa);
            owner.reset(&mut store).unwrap();
            assert_eq!(call::<_, i64>(&mut store, user, "n", ()).unwrap(), 7);
            // A reset restores what the instance owns, and does not change what it imports.
            call::<_, ()>(&mut store, owner, "change", 0).unwrap();
            user.reset(&mut store).unwrap();
            assert_eq!(global(&mut store, user, "own").i32(), Some(1));
            assert_eq!(&bytes(&mut store, owner, "m")[200..204], b"user");
            assert_eq!(bytes(&mut store, owner, "m")[5000], 0xaa);
            assert_eq!(call::<_, i64>(&mut store, user, "n", ()).unwrap(), 42);
            owner.reset(&mut store).unwrap();
        }
        let error = user.snapshot(&mut store).unwrap_err();
        assert!(error.to_string().contains("imports a memory"), "{error}");
    }
}

#[test]
fn instances_start_where_another_one_was() {
    for strategy in strategies() {
        for grown in [0, 3, 60] {
            let engine = Engine::default();
            let pre = pre_of(&engine, strategy);
            let mut store = Store::new(&engine, Data::default());
            let first = pre.instantiate(&mut store).unwrap();
            call::<_, ()>(&mut store, first, "change", grown).unwrap();
            let grown = grown as usize;
            assert_changed(&mut store, first, grown);
            let snapshot = first.snapshot(&mut store).unwrap();
            let ready = InstancePre::from_snapshot(&pre, &snapshot).unwrap();
            // Later changes of the first instance do not change the snapshot.
            call::<_, ()>(&mut store, first, "store", 5001).unwrap();
            drop(store);
            drop(snapshot);
            let tenants = |ready: &InstancePre<Data>| {
                for round in 0..12 {
                    let mut store = Store::new(&engine, Data::default());
                    let a = ready.instantiate(&mut store).unwrap();
                    let b = ready.instantiate(&mut store).unwrap();
                    assert_eq!(store.data().0.0, 0, "the start function does not run");
                    for instance in [a, b] {
                        assert_changed(&mut store, instance, grown);
                        for at in [0, 5002, 70_000, 9000] {
                            call::<_, ()>(&mut store, instance, "store", at + round).unwrap();
                        }
                        let n = instance.get_global(&mut store, "n").unwrap();
                        n.set(&mut store, Val::I64(1)).unwrap();
                        let t = instance.get_table(&mut store, "t").unwrap();
                        t.set(&mut store, 3, Val::FuncRef(None)).unwrap();
                        let m = instance.get_memory(&mut store, "m").unwrap();
                        m.grow(&mut store, 2).unwrap();
                        let last = (4 + grown) * 65536 - 1;
                        call::<_, ()>(&mut store, instance, "store", last as i32).unwrap();
                    }
                    a.reset(&mut store).unwrap();
                    assert_changed(&mut store, a, grown);
                    // A snapshot can be taken of an instance that started from a snapshot.
                    let again = a.snapshot(&mut store).unwrap();
                    let again = InstancePre::from_snapshot(ready, &again).unwrap();
                    let c = again.instantiate(&mut store).unwrap();
                    assert_changed(&mut store, c, grown);
                }
            };
            tenants(&ready);
            std::thread::scope(|scope| {
                scope.spawn(|| tenants(&ready));
                tenants(&ready);
            });
            // Instances of the module itself still start with the initial state.
            let mut store = Store::new(&engine, Data::default());
            let new = pre.instantiate(&mut store).unwrap();
            assert_new(&mut store, new);
        }
    }
}

#[test]
fn limits_count_what_a_snapshot_starts_with() {
    for strategy in strategies() {
        let engine = Engine::default();
        let pre = pre_of(&engine, strategy);
        let mut store = Store::new(&engine, Data::default());
        let first = pre.instantiate(&mut store).unwrap();
        call::<_, ()>(&mut store, first, "change", 8).unwrap();
        let snapshot = first.snapshot(&mut store).unwrap();
        let ready = InstancePre::from_snapshot(&pre, &snapshot).unwrap();
        for (limits, fits) in [
            (StoreLimitsBuilder::new().memory_size(9 * 65536), false),
            (StoreLimitsBuilder::new().memory_size(10 * 65536), true),
            (
                StoreLimitsBuilder::new().total_memory_size(10 * 65536),
                false,
            ),
            (
                StoreLimitsBuilder::new().total_memory_size(11 * 65536),
                true,
            ),
            (StoreLimitsBuilder::new().table_elements(4), false),
            (StoreLimitsBuilder::new().table_elements(5), true),
        ] {
            for by_limiter in [false, true] {
                let mut store = Store::new(&engine, Data::default());
                let limits = limits.clone().build();
                if by_limiter {
                    let mut store = Store::new(&engine, limits);
                    let mut linker = Linker::new(&engine);
                    linker.func_wrap("h", "count", || ()).unwrap();
                    linker.func_wrap("h", "call", || ()).unwrap();
                    store.limiter(|limits| limits);
                    let pre = linker.instantiate_pre(pre.module()).unwrap();
                    let ready = InstancePre::from_snapshot(&pre, &snapshot).unwrap();
                    assert_eq!(ready.instantiate(&mut store).is_ok(), fits);
                    continue;
                }
                store.set_limits(limits);
                assert_eq!(ready.instantiate(&mut store).is_ok(), fits);
            }
        }
    }
}

#[test]
fn what_belongs_to_the_store_is_in_no_snapshot() {
    for strategy in strategies() {
        let engine = Engine::default();
        let pre = pre_of(&engine, strategy);
        let mut store = Store::new(&engine, Data::default());
        let instance = pre.instantiate(&mut store).unwrap();
        let other = pre.instantiate(&mut store).unwrap();
        let snapshot = |store: &mut Store<Data>| instance.snapshot(store).map(drop);
        let message = |store: &mut Store<Data>| snapshot(store).unwrap_err().to_string();

        let value = || Some(ExternRef::new(5_i32));
        call::<_, ()>(&mut store, instance, "keep", value()).unwrap();
        let said = message(&mut store);
        assert!(
            said.contains("its global 3 refers to a value of the host"),
            "{said}"
        );
        call::<_, ()>(&mut store, instance, "keep", None::<ExternRef>).unwrap();
        snapshot(&mut store).unwrap();
        call::<_, ()>(&mut store, instance, "keep-in-table", value()).unwrap();
        let said = message(&mut store);
        assert!(
            said.contains("element 1 of its table 1 refers to a value"),
            "{said}"
        );
        call::<_, ()>(&mut store, instance, "keep-in-table", None::<ExternRef>).unwrap();
        snapshot(&mut store).unwrap();

        let foreign = [
            Func::wrap(&mut store, || 1_i32),
            other.get_func(&mut store, "eight").unwrap(),
        ];
        for func in foreign {
            let f = instance.get_global(&mut store, "f").unwrap();
            f.set(&mut store, Val::FuncRef(Some(func))).unwrap();
            let said = message(&mut store);
            assert!(
                said.contains("its global 2 refers to a function of the host"),
                "{said}"
            );
            f.set(&mut store, Val::FuncRef(None)).unwrap();
            let t = instance.get_table(&mut store, "t").unwrap();
            t.set(&mut store, 2, Val::FuncRef(Some(func))).unwrap();
            let said = message(&mut store);
            assert!(
                said.contains("element 2 of its table 0 refers to a function"),
                "{said}"
            );
            t.set(&mut store, 2, Val::FuncRef(None)).unwrap();
            snapshot(&mut store).unwrap();
        }
        // The instance's own functions can be in a snapshot, whether they are exported or not.
        let own = instance.get_func(&mut store, "eight").unwrap();
        let t = instance.get_table(&mut store, "t").unwrap();
        t.set(&mut store, 2, Val::FuncRef(Some(own))).unwrap();
        let taken = instance.snapshot(&mut store).unwrap();
        let ready = InstancePre::from_snapshot(&pre, &taken).unwrap();
        let new = ready.instantiate(&mut store).unwrap();
        let n = new.get_global(&mut store, "n").unwrap();
        n.set(&mut store, Val::I64(99)).unwrap();
        assert_eq!(call::<_, i32>(&mut store, new, "through", 2).unwrap(), 99);

        // The snapshot is of another module.
        let wat = "(module (func (export \"f\")))";
        let linker: Linker<Data> = Linker::new(&engine);
        let wrong = linker
            .instantiate_pre(&module(&engine, wat, strategy))
            .unwrap();
        let error = InstancePre::from_snapshot(&wrong, &taken).unwrap_err();
        assert!(error.to_string().contains("of another module"), "{error}");
    }
}

#[test]
fn not_while_code_is_running() {
    for strategy in strategies() {
        let engine = Engine::default();
        let pre = pre_of(&engine, strategy);
        let tries: fn(Caller<'_, Data>) = |mut caller| {
            let memory = caller
                .get_export("m")
                .and_then(Extern::into_memory)
                .unwrap();
            memory.write(&mut caller, 300, b"in the call").unwrap();
            let pre: InstancePre<Data> = pre_of(&Engine::default(), Strategy::Checked);
            let fresh = pre.instantiate(&mut caller).unwrap();
            // No instance of the store can be reset or taken a snapshot of.
            let error = fresh.reset(&mut caller).unwrap_err();
            let said = "cannot reset the instance: wasm code of its store is running";
            assert!(error.to_string().starts_with(said), "{error}");
            assert!(fresh.snapshot(&mut caller).is_err());
        };
        let mut store = Store::new(&engine, Data((0, Some(tries))));
        let instance = pre.instantiate(&mut store).unwrap();
        call::<_, ()>(&mut store, instance, "call", ()).unwrap();
        assert_eq!(&bytes(&mut store, instance, "m")[300..311], b"in the call");
        instance.reset(&mut store).unwrap();
        assert_new(&mut store, instance);
    }
}

#[test]
fn without_a_pool_and_without_an_owner() {
    let wat = r#"(module (memory (export "m") 1 90) (data (i32.const 3) "x")
        (func (export "f") (i32.store (i32.const 0) (i32.const -1))
            (drop (memory.grow (i32.const 70)))))"#;
    for strategy in strategies() {
        let engine = Engine::new(Config::new().pool_per_thread(0)).unwrap();
        let module = module(&engine, wat, strategy);
        let mut store = Store::new(&engine, ());
        // This instance was made without a linker.
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        for _ in 0..3 {
            f.call(&mut store, ()).unwrap();
            assert_eq!(memory.size(&store), 71);
            instance.reset(&mut store).unwrap();
            assert_eq!(memory.size(&store), 1);
            assert_eq!(&memory.data(&store)[..5], b"\0\0\0x\0");
        }
        f.call(&mut store, ()).unwrap();
        let snapshot = instance.snapshot(&mut store).unwrap();
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        let ready = InstancePre::from_snapshot(&pre, &snapshot).unwrap();
        let again = ready.instantiate(&mut store).unwrap();
        let memory = again.get_memory(&mut store, "m").unwrap();
        assert_eq!(memory.size(&store), 71);
        assert_eq!(&memory.data(&store)[..5], b"\xff\xff\xff\xff\0");
        // Neither operation changes a memory of the host.
        let ty = MemoryType::new(1, None);
        Memory::new(&mut store, ty).unwrap();
        again.reset(&mut store).unwrap();
    }
}

/// If the start function fails in a reset, that is an error, and the instance is in the same state
/// as one whose start function failed when it was made.
#[test]
fn a_reset_that_fails_to_start() {
    let wat = r#"(module (import "h" "may" (func $may (result i32)))
        (memory (export "m") 1) (global $n (export "n") (mut i32) (i32.const 1))
        (func $start (i32.store (i32.const 8) (i32.const 5))
            (if (i32.eqz (call $may)) (then (unreachable))))
        (start $start)
        (func (export "f") (result i32) (i32.load (i32.const 8))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<i32> = Linker::new(&engine);
        let may = |caller: Caller<'_, i32>| *caller.data();
        linker.func_wrap("h", "may", may).unwrap();
        let mut store = Store::new(&engine, 1);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        *store.data_mut() = 0;
        assert!(instance.reset(&mut store).unwrap_err().trap().is_some());
        let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
        assert_eq!(f.call(&mut store, ()).unwrap(), 5);
        *store.data_mut() = 1;
        instance.reset(&mut store).unwrap();
    }
}
