//! Reused instances are as new: nothing of the last tenant is left.

use precast_artifact::Strategy;
use precast_loader::{
    Config, Engine, Error, Instance, InstancePre, Linker, Store, StoreLimitsBuilder, Val,
};
use precast_tests::{call, faults, mappings, module, strategies};

use crate::child::{case, passes_in_child, passes_in_child_with};
use crate::kernel::emulated;
use crate::reset::resident;

/// A module with 8 pages of memory, data in some of them, and every kind of state that can change.
const WAT: &str = r#"(module
    (import "h" "fail" (func $fail (result i32)))
    (memory (export "m") 8 20)
    (table $t (export "t") 4 10 funcref)
    (elem (table $t) (i32.const 1) func $seven)
    (elem $passive func $seven)
    (data (i32.const 4090) "across the end of a page")
    (data (i32.const 200000) "far away")
    (data $late "passive")
    (global $g (export "g") (mut i64) (i64.const 11))
    (global (export "v") (mut v128) (v128.const i64x2 5 6))
    (func $seven (result i32) (i32.const 7))
    (func (export "poke") (param i32 i32)
        (i32.store8 (local.get 0) (i32.const 0xaa))
        (global.set $g (i64.const 99))
        (table.set $t (i32.const 3) (ref.func $seven))
        (table.set $t (i32.const 1) (ref.null func))
        (global.set 1 (v128.const i64x2 -1 -1))
        (data.drop $late)
        (elem.drop $passive)
        (drop (table.grow $t (ref.func $seven) (i32.const 2)))
        (drop (memory.grow (local.get 1)))
        (if (local.get 1) (then (i32.store8 (i32.const 524288) (i32.const 0xbb)))))
    (func (export "fill") (param i32 i32)
        (memory.fill (local.get 0) (i32.const 0xcc) (local.get 1)))
    (func (export "init") (memory.init $late (i32.const 0) (i32.const 0) (i32.const 7)))
    (func (export "trap") (i32.store8 (i32.const 77) (i32.const 1)) (unreachable))
    (func (export "fail") (i32.store8 (i32.const 78) (i32.const 1)) (drop (call $fail))))"#;

fn pre(strategy: Strategy) -> InstancePre<u32> {
    let engine = Engine::default();
    let module = module(&engine, WAT, strategy);
    let mut linker: Linker<u32> = Linker::new(&engine);
    let fail = || -> Result<i32, Error> { Err(Error::Exit(3)) };
    linker.func_wrap("h", "fail", fail).unwrap();
    linker.instantiate_pre(&module).unwrap()
}

fn assert_fresh(store: &mut Store<u32>, instance: Instance) {
    let memory = instance.get_memory(&mut *store, "m").unwrap();
    let bytes = memory.data(&*store);
    assert_eq!(bytes.len(), 8 * 65536);
    let mut expected = vec![0; 8 * 65536];
    expected[4090..4114].copy_from_slice(b"across the end of a page");
    expected[200_000..200_008].copy_from_slice(b"far away");
    let first = bytes.iter().zip(&expected).position(|(a, b)| a != b);
    assert_eq!(first, None, "first byte that is not as new");
    let table = instance.get_table(&mut *store, "t").unwrap();
    assert_eq!(table.size(&*store), 4);
    let set: Vec<_> = (0..4)
        .map(|i| table.get(&*store, i).unwrap().funcref().unwrap().is_some())
        .collect();
    assert_eq!(set, [false, true, false, false]);
    let g = instance.get_global(&mut *store, "g").unwrap();
    assert_eq!(g.get(&*store).i64(), Some(11));
    let v = instance.get_global(&mut *store, "v").unwrap();
    assert_eq!(v.get(&*store).v128().unwrap().as_u128(), (6 << 64) + 5);
    let init = instance
        .get_typed_func::<(), ()>(&mut *store, "init")
        .unwrap();
    init.call(&mut *store, ()).unwrap();
    memory.write(&mut *store, 0, &[0; 7]).unwrap();
}

fn one(pre: &InstancePre<u32>, use_it: impl FnOnce(&mut Store<u32>, Instance)) {
    let mut store = Store::new(pre.module().engine(), 0);
    let instance = pre.instantiate(&mut store).unwrap();
    assert_fresh(&mut store, instance);
    use_it(&mut store, instance);
}

fn call2(store: &mut Store<u32>, instance: Instance, name: &str, args: (i32, i32)) {
    let func = instance
        .get_typed_func::<(i32, i32), ()>(&mut *store, name)
        .unwrap();
    func.call(store, args).unwrap();
}

fn tenants(pre: &InstancePre<u32>) {
    // The tenants write to from one page to more pages than the loader tracks, and some grow.
    for pages in [1, 2, 3, 5, 31, 32, 33, 60, 3, 1, 100, 2] {
        for grow in [0, 3] {
            one(pre, |store, instance| {
                for page in 0..pages {
                    call2(store, instance, "poke", (page * 4096 + 5, 0));
                }
                call2(store, instance, "poke", (8 * 65536 - 1, grow));
            });
        }
    }
    // A routine of the loader writes many pages; a call ends by a trap or by an error of the host.
    one(pre, |store, instance| {
        call2(store, instance, "fill", (4000, 20_000))
    });
    one(pre, |store, instance| {
        call2(store, instance, "fill", (0, 8 * 65536))
    });
    for name in ["trap", "fail", "trap"] {
        one(pre, |store, instance| {
            let func = instance
                .get_typed_func::<(), ()>(&mut *store, name)
                .unwrap();
            assert!(func.call(store, ()).is_err());
        });
    }
    // The host writes: in place and through slices, to pages that were written before and others.
    for _ in 0..4 {
        one(pre, |store, instance| {
            let memory = instance.get_memory(&mut *store, "m").unwrap();
            memory.write(&mut *store, 4094, &[1, 2, 3, 4]).unwrap();
            memory.write(&mut *store, 300_000, b"secret").unwrap();
            memory.grow(&mut *store, 1).unwrap();
        });
        one(pre, |store, instance| {
            let memory = instance.get_memory(&mut *store, "m").unwrap();
            memory.data_mut(&mut *store).fill(0xdd);
            let g = instance.get_global(&mut *store, "g").unwrap();
            g.set(&mut *store, Val::I64(-1)).unwrap();
        });
    }
    one(pre, |_, _| {});
}

#[test]
fn no_tenant_sees_the_last_one() {
    for strategy in strategies() {
        tenants(&pre(strategy));
    }
}

#[test]
fn nor_on_several_threads() {
    for strategy in strategies() {
        let pre = pre(strategy);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| tenants(&pre));
            }
        });
    }
}

#[test]
fn two_at_once_are_two() {
    for strategy in strategies() {
        let pre = pre(strategy);
        for _ in 0..3 {
            one(&pre, |store, instance| {
                call2(store, instance, "poke", (50_000, 0));
                let second = pre.instantiate(&mut *store).unwrap();
                assert_fresh(store, second);
                let mut other = Store::new(pre.module().engine(), 0);
                let third = pre.instantiate(&mut other).unwrap();
                assert_fresh(&mut other, third);
                let memory = instance.get_memory(&mut *store, "m").unwrap();
                assert_eq!(memory.data(&*store)[50_000], 0xaa);
            });
        }
    }
}

#[test]
fn the_kernel_may_write_for_the_host() {
    use std::io::Read;
    for strategy in strategies() {
        let pre = pre(strategy);
        for _ in 0..5 {
            one(&pre, |store, instance| {
                let memory = instance.get_memory(&mut *store, "m").unwrap();
                let bytes = &mut memory.data_mut(&mut *store)[100_000..100_064];
                std::fs::File::open("/dev/zero")
                    .unwrap()
                    .read_exact(bytes)
                    .unwrap();
                let mut urandom = std::fs::File::open("/dev/urandom").unwrap();
                urandom.read_exact(bytes).unwrap();
                assert!(bytes.iter().any(|b| *b != 0));
            });
        }
    }
}

#[test]
fn limits_of_the_new_store_count() {
    for strategy in strategies() {
        let pre = pre(strategy);
        one(&pre, |_, _| {});
        let mut store = Store::new(pre.module().engine(), 0);
        store.set_limits(StoreLimitsBuilder::new().memory_size(65536).build());
        let error = pre.instantiate(&mut store).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    }
}

#[test]
fn a_pool_of_nothing() {
    for strategy in strategies() {
        let mut config = Config::new();
        config.pool_per_thread(0);
        let engine = Engine::new(&config).unwrap();
        let module = module(&engine, WAT, strategy);
        let mut linker: Linker<u32> = Linker::new(&engine);
        linker.func_wrap("h", "fail", || 1_i32).unwrap();
        tenants(&pre(strategy));
        let pre = linker.instantiate_pre(&module).unwrap();
        one(&pre, |store, instance| {
            call2(store, instance, "poke", (0, 3))
        });
        one(&pre, |_, _| {});
    }
}

#[test]
fn start_functions_that_fail_leave_nothing() {
    let wat = r#"(module
        (import "h" "fails" (func $fails (result i32)))
        (memory (export "m") 1) (global $n (export "n") (mut i32) (i32.const 0))
        (func $start
            (i32.store (i32.const 60000) (i32.const -1))
            (global.set $n (i32.const 1))
            (if (call $fails) (then (unreachable))))
        (start $start)
        (func (export "sum") (result i32) (i32.load (i32.const 60000))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<i32> = Linker::new(&engine);
        let fails = |caller: precast_loader::Caller<'_, i32>| *caller.data();
        linker.func_wrap("h", "fails", fails).unwrap();
        let pre = linker.instantiate_pre(&module).unwrap();
        for round in 0..6 {
            let mut store = Store::new(&engine, round % 2);
            let instance = pre.instantiate(&mut store);
            if round % 2 == 1 {
                assert!(instance.unwrap_err().trap().is_some());
            } else {
                let instance = instance.unwrap();
                let memory = instance.get_memory(&mut store, "m").unwrap();
                assert_eq!(
                    memory.data(&store)[59_990..60_010]
                        .iter()
                        .map(|b| u32::from(*b))
                        .sum::<u32>(),
                    4 * 255
                );
            }
        }
    }
}

/// Tables of parked instances count in the bounds, with what the loader keeps of them. When they
/// were given back, the next instance has tables like any other.
#[test]
fn parked_tables_keep_to_their_bounds() {
    const NAME: &str = "pool::parked_tables_keep_to_their_bounds";
    let Some(bound) = case() else {
        for bound in ["thread", "process"] {
            // Tables have mappings of their own, so that the system gets back what is freed.
            passes_in_child_with(NAME, bound, |child| {
                child.env("MALLOC_MMAP_THRESHOLD_", "131072");
            });
        }
        return;
    };
    const LEN: usize = 1 << 17;
    let tables: String = (0..8)
        .map(|i| format!("(table (export \"{i}\") {LEN} funcref)"))
        .collect();
    let wat = format!(
        "(module {tables} (func $f) (elem (table 7) (i32.const {}) func $f))",
        LEN - 1
    );
    for strategy in strategies() {
        for max in [0, 20 << 20] {
            let mut config = Config::new();
            match &*bound {
                "thread" => config.pool_resident_per_thread(max),
                _ => config.pool_resident_per_process(max),
            };
            let engine = Engine::new(&config).unwrap();
            let module = module(&engine, &wat, strategy);
            let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
            let before = resident();
            for _ in 0..3 {
                let mut stores: Vec<_> = (0..6).map(|_| Store::new(&engine, ())).collect();
                for store in &mut stores {
                    let instance = pre.instantiate(&mut *store).unwrap();
                    let all: Vec<_> = (0..8)
                        .map(|i| instance.get_table(&mut *store, &i.to_string()).unwrap())
                        .collect();
                    assert!(all.iter().all(|table| table.size(&*store) == LEN as u64));
                    let is_set = |table: usize, i: usize| {
                        let value = all[table].get(&*store, i as u64);
                        value.unwrap().funcref().unwrap().is_some()
                    };
                    assert!(is_set(7, LEN - 1) && !is_set(7, 0) && !is_set(0, 5));
                    let function = all[7].get(&*store, LEN as u64 - 1).unwrap();
                    all[0].set(&mut *store, 5, function).unwrap();
                }
            }
            let kept = resident().saturating_sub(before);
            assert!(kept <= max + (2 << 20), "{strategy}: {kept} of {max}");
            // An instance takes 8 MiB.
            assert!(kept + (8 << 20) > max, "{strategy}: {kept} of {max}");
        }
    }
}

/// Contexts of instances with very many globals count in the bound, and are not kept beyond it.
#[test]
fn large_contexts_keep_to_the_bound() {
    const NAME: &str = "pool::large_contexts_keep_to_the_bound";
    if case().is_none() {
        return passes_in_child(NAME, "contexts");
    }
    /// Gives what is free to the system. The allocator keeps it otherwise.
    fn trim() {
        // SAFETY: the call changes nothing that is allocated.
        unsafe { libc::malloc_trim(0) };
    }
    let global = |i| format!("(global (export \"{i}\") (mut v128) (v128.const i64x2 1 2))");
    let wat = format!("(module {})", (0..100_000).map(global).collect::<String>());
    // In the first round, the allocator has memory of its own left from compiling.
    let given = [0, 0, 8 << 20, 64 << 20].map(|max| {
        let mut config = Config::new();
        config.pool_resident_per_thread(max);
        let engine = Engine::new(&config).unwrap();
        let module = module(&engine, &wat, Strategy::Guarded);
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        trim();
        let mut stores: Vec<_> = (0..16).map(|_| Store::new(&engine, ())).collect();
        for store in &mut stores {
            pre.instantiate(&mut *store).unwrap();
        }
        let all = resident();
        drop(stores);
        trim();
        all.saturating_sub(resident())
    });
    // What the system gets back: everything, all but 8 MiB, nothing.
    let context = 1_600_000;
    let expected = [16 * context, 11 * context, 0];
    for (found, expected) in given[1..].iter().zip(expected) {
        assert!(found.abs_diff(expected) < 1 << 20, "{given:?}, {expected}");
    }
}

/// Idle instances with large contexts make room for others, and one that can never be kept takes
/// nothing from others.
#[test]
fn large_contexts_take_nothing_from_others_for_long() {
    const NAME: &str = "pool::large_contexts_take_nothing_from_others_for_long";
    if case().is_none() {
        return passes_in_child(NAME, "contexts");
    }
    let mut config = Config::new();
    config.pool_resident_per_thread(4 << 20);
    let engine = Engine::new(&config).unwrap();
    let linked = |wat: &str| {
        let module = module(&engine, wat, Strategy::Guarded);
        Linker::new(&engine).instantiate_pre(&module).unwrap()
    };
    let global = |i| format!("(global (export \"{i}\") (mut v128) (v128.const i64x2 1 2))");
    let context = |globals| {
        let globals = (0..globals).map(global).collect::<String>();
        linked(&format!("(module {globals})"))
    };
    // 1.6 MB, of which the bound allows two, and 4.8 MB.
    let (large, largest) = (context(100_000), context(300_000));
    let writes = linked(
        "(module (memory 16 16) (func (export \"fill\")
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x100000))))",
    );
    let at_once = |pre: &InstancePre<()>, count: usize| {
        let mut stores: Vec<_> = (0..count).map(|_| Store::new(&engine, ())).collect();
        for store in &mut stores {
            pre.instantiate(&mut *store).unwrap();
        }
    };
    let faults_of_writes = || {
        let before = faults();
        let mut store = Store::new(&engine, ());
        let instance = writes.instantiate(&mut store).unwrap();
        call::<_, ()>(&mut store, instance, "fill", ()).unwrap();
        faults() - before
    };
    at_once(&large, 2);
    // The pages are learned, and one of the large instances makes room.
    for _ in 0..5 {
        faults_of_writes();
    }
    assert!(faults_of_writes() < 100);
    at_once(&largest, 1);
    assert!(faults_of_writes() < 100);
}

/// A module with this many memories, each with one piece of content.
fn memories(count: usize) -> String {
    let one =
        |i| format!("(memory $m{i} 2) (data (memory $m{i}) (i32.const 9000) \"content of {i}\")");
    let all: String = (0..count).map(one).collect();
    format!(
        "(module {all} (func (export \"load\") (result i32) (i32.load8_u $m0 (i32.const 9000))))"
    )
}

/// Makes instances, all of which exist at once, and drops them.
fn all_at_once(pre: &InstancePre<()>, count: usize) {
    let mut stores: Vec<_> = (0..count)
        .map(|_| Store::new(pre.module().engine(), ()))
        .collect();
    for store in &mut stores {
        let instance = pre.instantiate(&mut *store).unwrap();
        let load = call::<_, i32>(store, instance, "load", ()).unwrap();
        assert_eq!(load, i32::from(b'c'));
    }
}

/// Parked instances of all threads together leave most of a process's mappings to the host, those
/// of one thread leave some to other threads, and one with many mappings is not parked.
#[test]
fn parked_instances_leave_mappings_to_the_host() {
    const NAME: &str = "pool::parked_instances_leave_mappings_to_the_host";
    if case().is_none() {
        // QEMU's own mappings are among those of the process.
        if !emulated(NAME) {
            passes_in_child(NAME, "mappings");
        }
        return;
    }
    const MAX: usize = 16_384;
    const MAX_OF_THREAD: usize = 256;
    /// Stacks and heaps of threads are mappings, too.
    const OF_THREAD: usize = 6;
    for strategy in strategies() {
        let mut config = Config::new();
        config.pool_per_thread(10_000);
        let engine = Engine::new(&config).unwrap();
        let linked = |wat: &str| {
            let module = module(&engine, wat, strategy);
            Linker::new(&engine).instantiate_pre(&module).unwrap()
        };
        // 48 and 4 mappings.
        let (pre, small) = (linked(&memories(12)), linked(&memories(1)));
        // Fewer threads than can take all mappings, and more.
        for threads in [60, 80] {
            let before = mappings();
            let parked = std::sync::Barrier::new(threads + 1);
            let (kept, own) = std::thread::scope(|scope| {
                let park = || {
                    all_at_once(&pre, 8);
                    parked.wait();
                    parked.wait();
                };
                let started: Vec<_> = (0..threads).map(|_| scope.spawn(park)).collect();
                parked.wait();
                let kept = mappings() - before;
                // Those that were used first make room for those that were used last.
                all_at_once(&pre, 8);
                all_at_once(&small, 100);
                let own = mappings().saturating_sub(before + kept);
                parked.wait();
                // The end of the scope would not wait until the threads have dropped their pools.
                for thread in started {
                    thread.join().unwrap();
                }
                (kept, own)
            });
            let max = MAX.min(threads * MAX_OF_THREAD) + threads * OF_THREAD;
            assert!((MAX / 2..max).contains(&kept), "{strategy}: {kept}");
            let least = if threads == 60 { MAX_OF_THREAD / 2 } else { 0 };
            let range = least..MAX_OF_THREAD + 20;
            assert!(range.contains(&own), "{strategy}: {own}");
        }
        drop((pre, small));
        let before = mappings();
        let pre = linked(&memories(40));
        all_at_once(&pre, 3);
        // The thread keeps the address space of two memories.
        assert!(
            mappings() < before + 20,
            "{strategy}: {}",
            mappings() - before
        );
    }
}

/// Where all pages are locked in memory, a long table is discarded like memories.
#[test]
fn long_tables_that_are_locked() {
    const NAME: &str = "pool::long_tables_that_are_locked";
    if case().is_none() {
        // QEMU claims to have discarded pages that are locked.
        if !emulated(NAME) {
            passes_in_child(NAME, "locked");
        }
        return;
    }
    // SAFETY: the call locks current and future pages and changes no byte.
    if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } != 0 {
        eprintln!("skipped: {}", std::io::Error::last_os_error());
        return;
    }
    let wat = r#"(module (table $t (export "t") 150000 funcref) (func $f (export "f"))
        (elem declare func $f)
        (func (export "set") (param i32) (table.set $t (local.get 0) (ref.func $f)))
        (func (export "is-set") (param i32) (result i32)
            (i32.eqz (ref.is_null (table.get $t (local.get 0))))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        for _ in 0..3 {
            let mut store = Store::new(&engine, ());
            let instance = pre.instantiate(&mut store).unwrap();
            for _ in 0..2 {
                for at in [0, 77_777, 149_999] {
                    let is_set = call::<_, i32>(&mut store, instance, "is-set", at).unwrap();
                    assert_eq!(is_set, 0, "{strategy}");
                    call::<_, ()>(&mut store, instance, "set", at).unwrap();
                }
                instance.reset(&mut store).unwrap();
            }
        }
    }
}

/// Tables that calls have made long have mappings, and have none when they are parked.
#[test]
fn tables_that_grew_take_no_part_in_the_bound_of_mappings() {
    const NAME: &str = "pool::tables_that_grew_take_no_part_in_the_bound_of_mappings";
    if case().is_none() {
        return passes_in_child(NAME, "grown");
    }
    const TABLES: usize = 50;
    let grow = |i| format!("(drop (table.grow {i} (ref.null func) (i32.const 140000)))");
    let wat = format!(
        "(module {} (func (export \"grow\") {}))",
        "(table 10 funcref)".repeat(TABLES),
        (0..TABLES).map(grow).collect::<String>()
    );
    let engine = Engine::default();
    let linked = |wat: &str| {
        let module = module(&engine, wat, Strategy::Guarded);
        Linker::new(&engine).instantiate_pre(&module).unwrap()
    };
    let grown = linked(&wat);
    // More than all threads may have together.
    for _ in 0..16_384 / TABLES + 100 {
        let mut store = Store::new(&engine, ());
        let instance = grown.instantiate(&mut store).unwrap();
        let grow = instance.get_typed_func::<(), ()>(&mut store, "grow");
        grow.unwrap().call(&mut store, ()).unwrap();
    }
    let small = linked(&memories(1));
    let before = mappings();
    all_at_once(&small, 8);
    assert!(mappings() >= before + 8 * 2, "{}", mappings() - before);
}
