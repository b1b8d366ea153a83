//! Limits that several stores share, and limits of a store on shared memories.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;

use precast_loader::{
    Engine, Error, Instance, Linker, Memory, MemoryType, Module, ResourceLimiter, SharedLimits,
    SharedMemory, Store, StoreLimitsBuilder, Table, TableType, Trap, Val, ValType,
};
use precast_tests::{module, strategies};

use crate::limiter::{GROW, call, message};

const PAGE: usize = 65536;

const TWO: &str = r#"(module
    (import "h" "a" (memory $a 1 100 shared))
    (import "h" "b" (memory $b 1 100 shared))
    (memory $own 1 100)
    (func (export "a") (param i32) (result i32) (memory.grow $a (local.get 0)))
    (func (export "b") (param i32) (result i32) (memory.grow $b (local.get 0)))
    (func (export "own") (param i32) (result i32) (memory.grow $own (local.get 0))))"#;

/// A module that defines the memory that it makes to grow.
const DEFINED: &str = r#"(module
    (memory (export "m") 2 100 shared)
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

/// Limits of two pages, 20 elements and so many instances.
fn small_limits(instances: usize) -> SharedLimits {
    shared_limits(
        StoreLimitsBuilder::new()
            .total_memory_size(2 * PAGE)
            .total_table_elements(20)
            .instances(instances),
    )
}

fn shared_limits(limits: StoreLimitsBuilder) -> SharedLimits {
    SharedLimits::new(limits.build())
}

fn sharing(engine: &Engine, limits: &SharedLimits) -> Store<()> {
    let mut store = Store::new(engine, ());
    store.share_limits(limits);
    store
}

fn memory(engine: &Engine) -> SharedMemory {
    SharedMemory::new(engine, MemoryType::shared(1, 100)).unwrap()
}

/// An instance of [`TWO`] with two shared memories.
fn two(store: &mut Store<()>, module: &Module, a: &SharedMemory, b: &SharedMemory) -> Instance {
    let mut linker = Linker::new(module.engine());
    linker.shared_memory("h", "a", a.clone()).unwrap();
    linker.shared_memory("h", "b", b.clone()).unwrap();
    linker.instantiate(store, module).unwrap()
}

#[test]
fn stores_share_totals() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GROW, strategy);
        let limits = shared_limits(
            StoreLimitsBuilder::new()
                .total_memory_size(5 * PAGE)
                .total_table_elements(40),
        );
        let mut one = sharing(&engine, &limits);
        let mut two = sharing(&engine, &limits);
        let first = Instance::new(&mut one, &module, &[]).unwrap();
        let second = Instance::new(&mut two, &module, &[]).unwrap();
        assert_eq!(call(&mut one, first, "memory", 2).unwrap(), 1);
        assert_eq!(call(&mut two, second, "memory", 2).unwrap(), -1);
        assert_eq!(call(&mut two, second, "memory", 1).unwrap(), 1);
        assert_eq!(call(&mut two, second, "table", 21).unwrap(), -1);
        assert_eq!(call(&mut two, second, "table", 20).unwrap(), 10);
        assert_eq!(call(&mut one, first, "table", 1).unwrap(), -1);
        let error = message(Instance::new(&mut one, &module, &[]));
        let expected = "bytes of all linear memories of all stores together: 393216 asked for, \
                        the limit is 327680";
        assert_eq!(error, expected);
        let error = message(Memory::new(&mut one, MemoryType::new(1, None)));
        assert_eq!(error, expected);
        let ty = TableType::new(ValType::FUNCREF, 1, None);
        let error = message(Table::new(&mut one, ty, Val::FuncRef(None)));
        let expected = "elements of all tables of all stores together: 41 asked for, the limit is \
                        40";
        assert_eq!(error, expected);
        // A store gives back what it had, all at once.
        drop(two);
        assert_eq!(call(&mut one, first, "memory", 2).unwrap(), 3);
        assert_eq!(call(&mut one, first, "memory", 1).unwrap(), -1);
        assert_eq!(call(&mut one, first, "table", 30).unwrap(), 10);
        assert_eq!(call(&mut one, first, "table", 1).unwrap(), -1);
        drop(one);
        // Nothing is left of what was refused.
        let mut store = sharing(&engine, &limits);
        Memory::new(&mut store, MemoryType::new(5, None)).unwrap();
    }
}

#[test]
fn stores_share_counts_and_bounds_of_single_items() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GROW, strategy);
        let limits = |limits: StoreLimitsBuilder| shared_limits(limits);
        for (limits, expected) in [
            (
                limits(StoreLimitsBuilder::new().instances(3)),
                "instances of all stores together: 4 asked for, the limit is 3",
            ),
            (
                limits(StoreLimitsBuilder::new().memories(3)),
                "linear memories of all stores together: 4 asked for, the limit is 3",
            ),
            (
                limits(StoreLimitsBuilder::new().tables(3)),
                "tables of all stores together: 4 asked for, the limit is 3",
            ),
        ] {
            let mut stores: Vec<_> = (0..3).map(|_| sharing(&engine, &limits)).collect();
            for store in &mut stores {
                Instance::new(store, &module, &[]).unwrap();
            }
            let mut last = sharing(&engine, &limits);
            assert_eq!(message(Instance::new(&mut last, &module, &[])), expected);
            stores.pop();
            Instance::new(&mut last, &module, &[]).unwrap();
        }
        let limits = limits(
            StoreLimitsBuilder::new()
                .memory_size(PAGE)
                .table_elements(9),
        );
        let mut store = sharing(&engine, &limits);
        assert_eq!(
            message(Memory::new(&mut store, MemoryType::new(2, None))),
            "bytes of a linear memory: 131072 asked for, the limit is 65536"
        );
        assert_eq!(
            message(Instance::new(&mut store, &module, &[])),
            "elements of a table: 10 asked for, the limit is 9"
        );
    }
}

#[test]
fn a_shared_memory_counts_once_in_shared_limits() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, TWO, strategy);
        let limits = shared_limits(StoreLimitsBuilder::new().total_memory_size(10 * PAGE));
        let ty = MemoryType::shared(1, 100);
        let too_large = MemoryType::shared(11, 100);
        assert_eq!(
            message(SharedMemory::new_within(&engine, too_large, &limits)),
            "bytes of all linear memories of all stores together: 720896 asked for, the limit is \
             655360"
        );
        let a = SharedMemory::new_within(&engine, ty, &limits).unwrap();
        let b = SharedMemory::new_within(&engine, ty, &limits).unwrap();
        // Two pages are theirs, and two are the stores' own.
        let mut stores = [sharing(&engine, &limits), sharing(&engine, &limits)];
        let instances = stores.each_mut().map(|store| two(store, &module, &a, &b));
        for (store, instance) in stores.iter_mut().zip(instances) {
            assert_eq!(call(store, instance, "a", 1).unwrap() + 1, a.size() as i32);
            assert_eq!(call(store, instance, "b", 1).unwrap() + 1, b.size() as i32);
        }
        // Eight are taken, the host takes the ninth, and one is left.
        a.grow(1).unwrap();
        let [one, other] = &mut stores;
        assert_eq!(call(one, instances[0], "a", 2).unwrap(), -1);
        assert_eq!(call(one, instances[0], "own", 2).unwrap(), -1);
        assert_eq!(call(one, instances[0], "own", 1).unwrap(), 1);
        for name in ["a", "b", "own"] {
            assert_eq!(call(other, instances[1], name, 1).unwrap(), -1, "{name}");
        }
        let error = message(a.grow(1));
        assert!(error.contains("all stores together: 720896"), "{error}");
        assert_eq!((a.size(), b.size()), (4, 3));
        // Memories give back what they had when nobody has them any more.
        let [one, other] = stores;
        drop((one, other, a));
        assert!(b.grow(8).is_err());
        b.grow(7).unwrap();
    }
}

/// Threads that grow memories of their own and a shared one never pass the limit together.
#[test]
fn threads_do_not_pass_shared_limits() {
    const THREADS: usize = 4;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = &module(&engine, TWO, strategy);
        let limits = &shared_limits(StoreLimitsBuilder::new().total_memory_size(90 * PAGE));
        let shared = || SharedMemory::new_within(&engine, MemoryType::shared(1, 100), limits);
        let (a, b) = (&shared().unwrap(), &shared().unwrap());
        let all = &Barrier::new(THREADS);
        let own = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(move || {
                        let mut store = sharing(module.engine(), limits);
                        let instance = two(&mut store, module, a, b);
                        let mut own = 1;
                        all.wait();
                        loop {
                            let grew = ["a", "own", "b"]
                                .map(|name| call(&mut store, instance, name, 1).unwrap() >= 0);
                            own += u64::from(grew[1]);
                            if grew == [false; 3] {
                                break;
                            }
                        }
                        // A store that ends early would make room for the others.
                        all.wait();
                        own
                    })
                })
                .collect();
            let own = threads.into_iter().map(|thread| thread.join().unwrap());
            own.sum::<u64>()
        });
        assert_eq!(own + a.size() + b.size(), 90);
        a.grow(90 - a.size() - b.size()).unwrap();
        assert!(a.grow(1).is_err());
    }
}

/// A limiter that refuses all growth.
struct Never;

impl ResourceLimiter for Never {
    fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, Error> {
        Ok(false)
    }
    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, Error> {
        Ok(false)
    }
}

#[test]
fn what_fails_is_given_back_to_shared_limits() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GROW, strategy);
        let limits = small_limits(1);
        let mut store = Store::new(&engine, Never);
        store.share_limits(&limits);
        let ty = TableType::new(ValType::FUNCREF, 20, None);
        let mut other = sharing(&engine, &limits);
        // Both in the store and in the host's limiter there is room for nothing.
        store.limiter(|never| never);
        for _ in 0..3 {
            assert!(Instance::new(&mut store, &module, &[]).is_err());
            assert!(Memory::new(&mut store, MemoryType::new(2, None)).is_err());
            assert!(Table::new(&mut store, ty, Val::FuncRef(None)).is_err());
        }
        let instance = Instance::new(&mut other, &module, &[]).unwrap();
        assert_eq!(call(&mut other, instance, "memory", 1).unwrap(), 1);
        assert_eq!(call(&mut other, instance, "table", 10).unwrap(), 10);
        drop(other);
        // Growth that the host's limiter refuses, after the shared limits have allowed it.
        store.set_limits(StoreLimitsBuilder::new().build());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        store.limiter(|never| never);
        assert_eq!(call(&mut store, instance, "memory", 1).unwrap(), -1);
        assert_eq!(call(&mut store, instance, "table", 10).unwrap(), -1);
        let mut other = sharing(&engine, &limits);
        Memory::new(&mut other, MemoryType::new(1, None)).unwrap();
        let ty = TableType::new(ValType::FUNCREF, 10, None);
        Table::new(&mut other, ty, Val::FuncRef(None)).unwrap();
    }
}

#[test]
fn shared_limits_can_end_calls_and_change() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GROW, strategy);
        let small = StoreLimitsBuilder::new()
            .total_memory_size(PAGE)
            .trap_on_grow_failure(true);
        let limits = shared_limits(small);
        let mut store = sharing(&engine, &limits);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let error = message(call(&mut store, instance, "memory", 1));
        assert!(error.contains("of all stores together: 131072"), "{error}");
        assert!(call(&mut store, instance, "table", 6000).is_err());
        limits.set(StoreLimitsBuilder::new().build());
        assert_eq!(call(&mut store, instance, "memory", 1).unwrap(), 1);
        assert_eq!(call(&mut store, instance, "table", 6000).unwrap(), -1);
        // A store that shares other limits has given back what it had.
        let others = shared_limits(StoreLimitsBuilder::new());
        store.share_limits(&others);
        limits.set(
            StoreLimitsBuilder::new()
                .total_memory_size(2 * PAGE)
                .build(),
        );
        let mut next = sharing(&engine, &limits);
        Memory::new(&mut next, MemoryType::new(2, None)).unwrap();
    }
}

/// Stores that share a memory, but no limits, each judge it by its whole length.
#[test]
fn a_store_judges_the_whole_length_of_a_shared_memory() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, TWO, strategy);
        let (a, b) = (memory(&engine), memory(&engine));
        let mut stores = [(); 2].map(|()| {
            let mut store = Store::new(&engine, ());
            let limits = StoreLimitsBuilder::new().total_memory_size(10 * PAGE);
            store.set_limits(limits.build());
            store
        });
        let instances = stores.each_mut().map(|store| two(store, &module, &a, &b));
        let [one, other] = &mut stores;
        // Of ten pages one is the store's own. In turns, the stores get no further than one alone.
        for pages in 1..9 {
            let (store, instance) = match pages % 2 {
                0 => (&mut *one, instances[0]),
                _ => (&mut *other, instances[1]),
            };
            assert_eq!(call(store, instance, "a", 1).unwrap(), pages);
        }
        assert_eq!(call(one, instances[0], "a", 1).unwrap(), -1);
        assert_eq!(call(other, instances[1], "a", 1).unwrap(), -1);
        assert_eq!(a.size(), 9);
        // What another store has added to one memory counts when the next one is to grow.
        assert_eq!(call(one, instances[0], "b", 1).unwrap(), -1);
        assert_eq!(call(other, instances[1], "own", 1).unwrap(), -1);
        assert_eq!(b.size(), 1);
    }
}

#[test]
fn a_store_counts_a_shared_memory_that_it_defines() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, DEFINED, strategy);
        for shares in [false, true] {
            let limits = StoreLimitsBuilder::new()
                .total_memory_size(6 * PAGE)
                .build();
            let mut store = Store::new(&engine, ());
            match shares {
                true => store.share_limits(&SharedLimits::new(limits)),
                false => store.set_limits(limits),
            }
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let other = Instance::new(&mut store, &module, &[]).unwrap();
            assert_eq!(call(&mut store, instance, "grow", 3).unwrap(), -1);
            assert_eq!(call(&mut store, instance, "grow", 1).unwrap(), 2);
            assert_eq!(call(&mut store, instance, "grow", 1).unwrap(), 3);
            assert_eq!(call(&mut store, other, "grow", 1).unwrap(), -1);
            // The host does not ask the store, which counts what it has done.
            let memory = instance.get_shared_memory(&mut store, "m").unwrap();
            memory.grow(1).unwrap();
            assert_eq!(call(&mut store, instance, "grow", 1).unwrap(), -1);
            assert_eq!(memory.size(), 5);
        }
    }
}

/// A trap leaves what is counted as it was.
#[test]
fn a_start_that_fails_counts_until_its_store_is_gone() {
    let wat = "(module (memory 3) (func $start unreachable) (start $start))";
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let limits = shared_limits(StoreLimitsBuilder::new().total_memory_size(4 * PAGE));
        for _ in 0..3 {
            let mut store = sharing(&engine, &limits);
            let error = Instance::new(&mut store, &module, &[]).unwrap_err();
            assert_eq!(error.trap().unwrap(), Trap::UnreachableCodeReached);
            let mut other = sharing(&engine, &limits);
            assert!(Memory::new(&mut other, MemoryType::new(2, None)).is_err());
            Memory::new(&mut other, MemoryType::new(1, None)).unwrap();
        }
    }
}

/// What other threads have added to a memory counts when a store makes an item, too.
#[test]
fn growth_by_others_counts_when_items_are_made() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, TWO, strategy);
        for shares in [false, true] {
            let (a, b) = (memory(&engine), memory(&engine));
            let limits = StoreLimitsBuilder::new().total_memory_size(10 * PAGE);
            let mut store = Store::new(&engine, ());
            match shares {
                true => store.share_limits(&shared_limits(limits)),
                false => store.set_limits(limits.build()),
            }
            let instance = two(&mut store, &module, &a, &b);
            // The store has a page, and counts two of the shared memory.
            assert_eq!(call(&mut store, instance, "a", 1).unwrap(), 1);
            a.grow(7).unwrap();
            let error = message(Memory::new(&mut store, MemoryType::new(1, None)));
            assert!(error.contains("720896 asked for"), "{error}");
            let mut linker = Linker::new(&engine);
            linker.shared_memory("h", "a", a.clone()).unwrap();
            linker.shared_memory("h", "b", b.clone()).unwrap();
            let error = message(linker.instantiate(&mut store, &module));
            assert!(error.contains("720896 asked for"), "{error}");
        }
    }
}

/// Whatever denies growth: the shared limits, those of the store, or its limiter.
#[test]
fn shared_limits_end_calls_after_every_failure() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GROW, strategy);
        for ends in [false, true] {
            let limits = shared_limits(StoreLimitsBuilder::new().trap_on_grow_failure(ends));
            let small = StoreLimitsBuilder::new()
                .memory_size(PAGE)
                .table_elements(10);
            let total = StoreLimitsBuilder::new()
                .total_memory_size(PAGE)
                .total_table_elements(10);
            for own in [small, total] {
                let mut store = sharing(&engine, &limits);
                store.set_limits(own.build());
                let instance = Instance::new(&mut store, &module, &[]).unwrap();
                for name in ["memory", "table"] {
                    assert_eq!(call(&mut store, instance, name, 1).is_err(), ends, "{name}");
                }
            }
            let mut store = Store::new(&engine, Never);
            store.share_limits(&limits);
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            store.limiter(|never| never);
            for name in ["memory", "table"] {
                assert_eq!(call(&mut store, instance, name, 1).is_err(), ends, "{name}");
            }
        }
    }
}

#[test]
fn a_limiter_that_panics_leaves_nothing_counted() {
    struct Panics;
    impl ResourceLimiter for Panics {
        fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, Error> {
            panic!("no memory")
        }
        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, Error> {
            panic!("no table")
        }
    }
    fn panics<R>(run: impl FnOnce() -> R) {
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    }
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, GROW, strategy);
        let limits = small_limits(2);
        let mut store = Store::new(&engine, Panics);
        store.share_limits(&limits);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        store.limiter(|panics| panics);
        let ty = TableType::new(ValType::FUNCREF, 10, None);
        // After each of these, all that is left is there for another store.
        for what in 0..5 {
            match what {
                0 => panics(|| Instance::new(&mut store, &module, &[])),
                1 => panics(|| Memory::new(&mut store, MemoryType::new(1, None))),
                2 => panics(|| Table::new(&mut store, ty, Val::FuncRef(None))),
                3 => panics(|| call(&mut store, instance, "memory", 1)),
                _ => panics(|| call(&mut store, instance, "table", 10)),
            }
            let mut other = sharing(&engine, &limits);
            Instance::new(&mut other, &module, &[]).unwrap();
        }
    }
}
