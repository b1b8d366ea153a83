//! Memories that several threads use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use precast_artifact::{Interruption, Strategy};
use precast_loader::{
    Caller, Config, Engine, Error, Extern, Instance, Linker, Memory, MemoryType, Module,
    SharedMemory, Store, StoreLimitsBuilder, Trap, WaitResult,
};
use precast_tests::{
    Guest, Source, Watchdog, module, strategies, strategy_pairs, trap, wait_until_asleep,
};

/// Code for a shared memory that is imported from the host.
const GUEST: &str = r#"(module
    (import "h" "m" (memory 1 16 shared))
    (data $hello "hello")
    (func (export "add") (param i32 i32)
        (loop $again
            (drop (i32.atomic.rmw.add (local.get 0) (i32.const 1)))
            (drop (i64.atomic.rmw8.add_u offset=8 (local.get 0) (i64.const 1)))
            (drop (i32.atomic.rmw16.add_u offset=10 (local.get 0) (i32.const 1)))
            (drop (i64.atomic.rmw.add offset=16 (local.get 0) (i64.const 1)))
            (br_if $again (local.tee 1 (i32.sub (local.get 1) (i32.const 1))))))
    (func (export "lock and add") (param i32)
        (loop $again
            (loop $locked
                (br_if $locked (i32.atomic.rmw.cmpxchg (i32.const 64) (i32.const 0) (i32.const 1))))
            (i32.store (i32.const 68) (i32.add (i32.load (i32.const 68)) (i32.const 1)))
            (i32.atomic.store (i32.const 64) (i32.const 0))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "wait") (param i32 i32 i64) (result i32)
        (memory.atomic.wait32 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "wait64") (param i32 i64 i64) (result i32)
        (memory.atomic.wait64 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "wait at the end") (result i32)
        (memory.atomic.wait32 offset=0xffffffff (i32.const 5) (i32.const 0) (i64.const 0)))
    (func (export "notify") (param i32 i32) (result i32)
        (memory.atomic.notify (local.get 0) (local.get 1)))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "atomic load") (param i32) (result i32) (i32.atomic.load (local.get 0)))
    (func (export "store") (param i32 i32) (i32.atomic.store (local.get 0) (local.get 1)))
    (func (export "size") (result i32) (memory.size))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "init") (param i32)
        (memory.init $hello (local.get 0) (i32.const 0) (i32.const 5)))
    (func (export "copy") (param i32 i32 i32)
        (memory.copy (local.get 0) (local.get 1) (local.get 2))))"#;

fn memory() -> SharedMemory {
    SharedMemory::new(&Engine::default(), MemoryType::shared(1, 16)).unwrap()
}

/// An instance of [`GUEST`] in a store of its own.
fn guest(strategy: Strategy, memory: &SharedMemory) -> Guest {
    Guest::linked(GUEST, strategy, (), |linker| {
        linker.shared_memory("h", "m", memory.clone()).unwrap();
    })
}

fn read(memory: &SharedMemory, at: usize) -> u32 {
    let mut bytes = [0; 4];
    memory.read(at, &mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

#[test]
fn what_one_thread_writes_another_reads() {
    for (first, second) in strategy_pairs() {
        let memory = memory();
        let mut one = guest(first, &memory);
        let mut other = guest(second, &memory);
        std::thread::scope(|scope| {
            scope.spawn(move || one.call::<_, ()>("store", (8, 77)).unwrap());
        });
        assert_eq!(other.call::<_, i32>("load", 8).unwrap(), 77);
        assert_eq!(read(&memory, 8), 77);
        other.call::<_, ()>("init", 101).unwrap();
        other.call::<_, ()>("copy", (300, 101, 5)).unwrap();
        let mut bytes = [0; 7];
        memory.read(299, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0hello\0");
        assert_eq!(
            trap(other.call::<_, ()>("init", 65532)),
            Trap::MemoryOutOfBounds
        );
    }
}

#[test]
fn operators_are_atomic() {
    const TIMES: u32 = 20_000;
    for strategy in strategies() {
        let memory = memory();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let mut guest = guest(strategy, &memory);
                scope.spawn(move || {
                    guest.call::<_, ()>("add", (0, TIMES as i32)).unwrap();
                    guest.call::<_, ()>("lock and add", 500).unwrap();
                });
            }
        });
        let sum = 4 * TIMES;
        assert_eq!(read(&memory, 0), sum);
        assert_eq!(read(&memory, 8), sum << 16 | sum & 0xff);
        assert_eq!(read(&memory, 16), sum);
        assert_eq!(read(&memory, 68), 4 * 500, "plain accesses inside a lock");
    }
}

#[test]
fn bad_addresses_trap() {
    for strategy in strategies() {
        let memory = memory();
        let mut guest = guest(strategy, &memory);
        let (unaligned, out) = (Trap::HeapMisaligned, Trap::MemoryOutOfBounds);
        assert_eq!(trap(guest.call::<_, i32>("atomic load", 2)), unaligned);
        assert_eq!(trap(guest.call::<_, i32>("atomic load", 65536)), out);
        assert_eq!(trap(guest.call::<_, i32>("atomic load", -4)), out);
        assert_eq!(trap(guest.call::<_, ()>("store", (65536, 1))), out);
        assert_eq!(trap(guest.call::<_, ()>("store", (1, 1))), unaligned);
        assert_eq!(trap(guest.call::<_, ()>("add", (65536, 1))), out);
        assert_eq!(trap(guest.call::<_, i32>("wait", (2, 0, 0_i64))), unaligned);
        assert_eq!(
            trap(guest.call::<_, i32>("wait64", (4, 0_i64, 0_i64))),
            unaligned
        );
        assert_eq!(trap(guest.call::<_, i32>("wait", (65536, 0, 0_i64))), out);
        assert_eq!(
            trap(guest.call::<_, i32>("wait64", (-8, 0_i64, 0_i64))),
            out
        );
        assert_eq!(trap(guest.call::<_, i32>("wait at the end", ())), out);
        assert_eq!(trap(guest.call::<_, i32>("notify", (2, 1))), unaligned);
        assert_eq!(trap(guest.call::<_, i32>("notify", (65536, 0))), out);
        let found = memory.atomic_notify(2, 1).unwrap_err();
        assert_eq!(found, unaligned);
        let found = memory.atomic_wait64(65536, 0, None).unwrap_err();
        assert_eq!(found, out);
        let found = memory.read(65530, &mut [0; 7]).unwrap_err();
        assert!(matches!(found, Error::OutOfBounds { .. }), "{found}");
        let found = memory.write(usize::MAX, &[0; 7]).unwrap_err();
        assert!(matches!(found, Error::OutOfBounds { .. }), "{found}");
    }
}

#[test]
fn waits_end() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for strategy in strategies() {
        let memory = memory();
        let mut guest = guest(strategy, &memory);
        assert_eq!(guest.call::<_, i32>("wait", (0, 1, -1_i64)).unwrap(), 1);
        assert_eq!(guest.call::<_, i32>("wait", (0, 0, 0_i64)).unwrap(), 2);
        let start = Instant::now();
        let long = 20_000_000_i64;
        assert_eq!(guest.call::<_, i32>("wait64", (8, 0_i64, long)).unwrap(), 2);
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(guest.call::<_, i32>("notify", (0, -1)).unwrap(), 0);

        let timeout = Some(Duration::from_millis(1));
        let waited = memory.atomic_wait32(0, 0, timeout).unwrap();
        assert_eq!(waited, WaitResult::TimedOut);
        let waited = memory.atomic_wait64(0, 1, None).unwrap();
        assert_eq!(waited, WaitResult::Mismatch);

        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || guest.call::<_, i32>("wait", (0, 0, -1_i64)));
            while memory.atomic_notify(0, 1).unwrap() == 0 {
                std::thread::yield_now();
            }
            assert_eq!(waiting.join().unwrap().unwrap(), 0);
        });
    }
}

/// Notifications go to those who wait at that very address, the first one first.
#[test]
fn who_came_first_is_woken_first() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let memory = memory();
    let order = AtomicUsize::new(0);
    let arrived = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for i in 0..5 {
            let (memory, order, arrived) = (&memory, &order, &arrived);
            scope.spawn(move || {
                let mut guest = guest(Strategy::Guarded, memory);
                while arrived.load(Ordering::SeqCst) != i {
                    std::thread::yield_now();
                }
                // SAFETY: takes nothing.
                let this = unsafe { libc::gettid() };
                // The next thread comes when this one waits.
                scope.spawn(move || {
                    wait_until_asleep(this);
                    arrived.fetch_add(1, Ordering::SeqCst);
                });
                assert_eq!(guest.call::<_, i32>("wait", (4, 0, -1_i64)).unwrap(), 0);
                assert_eq!(order.fetch_add(1, Ordering::SeqCst), i);
            });
        }
        while arrived.load(Ordering::SeqCst) < 5 {
            std::thread::yield_now();
        }
        assert_eq!(memory.atomic_notify(0, u32::MAX).unwrap(), 0);
        assert_eq!(memory.atomic_notify(4, 0).unwrap(), 0);
        for woken in 1..=5 {
            assert_eq!(memory.atomic_notify(4, 1).unwrap(), 1);
            while order.load(Ordering::SeqCst) < woken {
                std::thread::yield_now();
            }
        }
        assert_eq!(memory.atomic_notify(4, 1).unwrap(), 0);
    });
}

#[test]
fn waits_end_with_handles_and_deadlines() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for strategy in strategies() {
        let memory = memory();
        let mut guest = guest(strategy, &memory);
        let handle = guest.store.interrupt_handle();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                handle.interrupt();
            });
            let ended = guest.call::<_, i32>("wait", (0, 0, -1_i64));
            assert_eq!(trap(ended), Trap::Interrupt);
            // It is still raised: another wait ends at once, one that need not wait does not.
            let ended = guest.call::<_, i32>("wait", (0, 0, -1_i64));
            assert_eq!(trap(ended), Trap::Interrupt);
        });
        handle.clear();
        assert_eq!(guest.call::<_, i32>("wait", (0, 0, 1_i64)).unwrap(), 2);

        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let source = Source::new(strategy).interruption(Interruption::Epoch);
        let module = source.module(&engine, GUEST);
        let mut linker = Linker::new(&engine);
        linker.shared_memory("h", "m", memory.clone()).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let wait = instance.get_typed_func::<(i32, i32, i64), i32>(&mut store, "wait");
        let wait = wait.unwrap();
        store.set_epoch_deadline(1).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                engine.increment_epoch();
            });
            assert_eq!(trap(wait.call(&mut store, (0, 0, -1))), Trap::Interrupt);
        });
        // Nobody is left in the list of those who wait.
        assert_eq!(memory.atomic_notify(0, u32::MAX).unwrap(), 0);
    }
}

#[test]
fn growth_while_others_run() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for strategy in strategies() {
        let memory = memory();
        let base = memory.data().as_ptr();
        let done = AtomicBool::new(false);
        let grown = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let mut guest = guest(strategy, &memory);
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let pages = guest.call::<_, i32>("size", ()).unwrap();
                        let last = pages * 65536 - 4;
                        assert_eq!(guest.call::<_, i32>("load", last).unwrap(), 0);
                    }
                });
            }
            let growing: Vec<_> = (0..2)
                .map(|_| {
                    let mut guest = guest(strategy, &memory);
                    let grown = &grown;
                    scope.spawn(move || {
                        while guest.call::<_, i32>("grow", 1).unwrap() >= 0 {
                            grown.fetch_add(1, Ordering::Relaxed);
                            std::thread::yield_now();
                        }
                    })
                })
                .collect();
            for thread in growing {
                thread.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(
            grown.load(Ordering::Relaxed),
            15,
            "no growth is lost or counted twice"
        );
        assert_eq!(memory.size(), 16);
        assert_eq!(memory.data().as_ptr(), base);
        assert_eq!(memory.data().len(), 16 << 16);
        assert_eq!(memory.grow(0).unwrap(), 16);
        let error = memory.grow(1).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Limit {
                    wanted: 17,
                    limit: 16,
                    ..
                }
            ),
            "{error}"
        );
        assert!(memory.grow(u64::MAX).is_err());
    }
}

#[test]
fn limits_of_a_store_hold_for_its_code() {
    for strategy in strategies() {
        let memory = memory();
        let mut guest = guest(strategy, &memory);
        let limits = StoreLimitsBuilder::new().memory_size(3 << 16).build();
        guest.store.set_limits(limits);
        assert_eq!(guest.call::<_, i32>("grow", 2).unwrap(), 1);
        assert_eq!(guest.call::<_, i32>("grow", 1).unwrap(), -1);
        assert_eq!(memory.grow(1).unwrap(), 3, "the host's own growth");
        assert_eq!(guest.call::<_, i32>("size", ()).unwrap(), 4);
    }
}

/// A module that has a shared memory of its own, with content.
const OWNER: &str = r#"(module
    (memory (export "m") 1 3 shared)
    (data (i32.const 100) "content")
    (memory $other 1)
    (data (memory $other) (i32.const 5) "other")
    (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func (export "other") (param i32) (result i32) (i32.load8_u $other (local.get 0)))
    (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

#[test]
fn an_own_shared_memory_outlives_its_store() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, OWNER, strategy);
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        let mut kept = Vec::new();
        for round in 0..3 {
            let mut store = Store::new(&engine, ());
            let instance = pre.instantiate(&mut store).unwrap();
            assert!(instance.get_memory(&mut store, "m").is_none());
            let memory = instance.get_shared_memory(&mut store, "m").unwrap();
            let mut content = [0; 7];
            memory.read(100, &mut content).unwrap();
            assert_eq!(&content, b"content");
            let func = instance.get_func(&mut store, "other").unwrap();
            let other = func.typed::<i32, i32>(&store).unwrap();
            assert_eq!(other.call(&mut store, 6).unwrap(), i32::from(b't'));
            memory.write(100, &[round]).unwrap();
            let load = instance
                .get_typed_func::<i32, i32>(&mut store, "load")
                .unwrap();
            assert_eq!(load.call(&mut store, 100).unwrap(), i32::from(round));
            let grow = instance
                .get_typed_func::<i32, i32>(&mut store, "grow")
                .unwrap();
            assert_eq!(grow.call(&mut store, 2).unwrap(), 1);
            assert_eq!(grow.call(&mut store, 1).unwrap(), -1);
            kept.push(memory);
        }
        // Each instance had a memory of its own, which nobody has reset since.
        for (round, memory) in (0..).zip(&kept) {
            let mut content = [0; 7];
            memory.read(100, &mut content).unwrap();
            assert_eq!(content, [round, b'o', b'n', b't', b'e', b'n', b't']);
            assert_eq!(memory.size(), 3);
        }
    }
}

#[test]
fn what_cannot_be_done_with_an_own_shared_memory() {
    for strategy in strategies() {
        let mut guest = Guest::new(OWNER, strategy);
        let error = guest.instance.reset(&mut guest.store).unwrap_err();
        assert!(error.to_string().contains("shared memory"), "{error}");
        let error = guest.instance.snapshot(&mut guest.store).unwrap_err();
        assert!(error.to_string().contains("shared memory"), "{error}");
        assert_eq!(guest.call::<_, i32>("load", 100).unwrap(), i32::from(b'c'));
    }
    // What an instance imports is not its own.
    for strategy in strategies() {
        let memory = memory();
        let mut guest = guest(strategy, &memory);
        guest.call::<_, ()>("store", (0, 5)).unwrap();
        guest.instance.reset(&mut guest.store).unwrap();
        assert_eq!(guest.call::<_, i32>("load", 0).unwrap(), 5);
    }
}

#[test]
fn types_are_checked() {
    let engine = Engine::default();
    let error = SharedMemory::new(&engine, MemoryType::new(1, Some(2))).unwrap_err();
    assert!(matches!(error, Error::InvalidType { .. }), "{error}");
    let error = SharedMemory::new(&engine, MemoryType::shared(3, 2)).unwrap_err();
    assert!(matches!(error, Error::InvalidType { .. }), "{error}");
    let no_maximum = MemoryType {
        max: None,
        ..MemoryType::shared(1, 2)
    };
    let error = SharedMemory::new(&engine, no_maximum).unwrap_err();
    assert!(error.to_string().contains("maximum"), "{error}");
    let too_large = MemoryType {
        max: Some(1 << 40),
        memory64: true,
        ..MemoryType::shared(1, 2)
    };
    let error = SharedMemory::new(&engine, too_large).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
    let mut store = Store::new(&engine, ());
    let error = Memory::new(&mut store, MemoryType::shared(1, 2)).unwrap_err();
    assert!(error.to_string().contains("SharedMemory::new"), "{error}");

    for strategy in strategies() {
        let shared = module(&engine, GUEST, strategy);
        let unshared = module(
            &engine,
            r#"(module (import "h" "m" (memory 1 16)))"#,
            strategy,
        );
        let mut link = |item: Extern, module: &Module| {
            let mut linker = Linker::new(&engine);
            linker.define(&store, "h", "m", item).unwrap();
            linker.instantiate(&mut store, module).map(drop)
        };
        link(memory().into(), &shared).unwrap();
        let error = link(memory().into(), &unshared).unwrap_err();
        assert!(error.to_string().contains("memory 1 16 shared"), "{error}");
        let large = SharedMemory::new(&engine, MemoryType::shared(1, 17)).unwrap();
        assert!(link(large.into(), &shared).is_err());
        let mut other = Store::new(&engine, ());
        let plain = Memory::new(&mut other, MemoryType::new(1, Some(16))).unwrap();
        let mut linker = Linker::new(&engine);
        linker.define(&other, "h", "m", plain).unwrap();
        assert!(linker.instantiate(&mut other, &shared).is_err());
    }
}

#[test]
fn a_module_with_guards_takes_no_checked_shared_memory() {
    for (owner, user) in strategy_pairs() {
        let engine = Engine::default();
        let owner_module = module(&engine, OWNER, owner);
        let user_wat = r#"(module (import "h" "m" (memory 1 3 shared))
            (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;
        let user_module = module(&engine, user_wat, user);
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &owner_module, &[]).unwrap();
        let memory = instance.get_shared_memory(&mut store, "m").unwrap();
        // Another store, after the first one is gone.
        drop(store);
        let mut store = Store::new(&engine, ());
        let made = Instance::new(&mut store, &user_module, &[memory.into()]);
        if user == Strategy::Guarded && owner == Strategy::Checked {
            let error = made.unwrap_err();
            assert!(error.to_string().contains("checked"), "{error}");
            continue;
        }
        let load = made.unwrap().get_typed_func::<i32, i32>(&mut store, "load");
        let load = load.unwrap();
        assert_eq!(load.call(&mut store, 100).unwrap(), i32::from(b'c'));
        assert_eq!(trap(load.call(&mut store, 65536)), Trap::MemoryOutOfBounds);
    }
}

#[test]
fn waiting_needs_a_shared_memory() {
    let wat = r#"(module (memory 1)
        (func (export "wait") (result i32)
            (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const 0)))
        (func (export "notify") (result i32) (memory.atomic.notify (i32.const 0) (i32.const 1))))"#;
    for strategy in strategies() {
        let mut guest = Guest::new(wat, strategy);
        let ended = guest.call::<_, i32>("wait", ());
        assert_eq!(trap(ended), Trap::AtomicWaitNonSharedMemory);
        assert_eq!(guest.call::<_, i32>("notify", ()).unwrap(), 0);
    }
}

/// A host function finds the memory of its caller, and may use it while other threads do.
#[test]
fn host_functions_reach_the_memory_of_their_caller() {
    let wat = r#"(module
        (import "h" "touch" (func $touch))
        (memory (export "memory") 1 1 shared)
        (func (export "run") (call $touch)))"#;
    for strategy in strategies() {
        let mut guest = Guest::linked(wat, strategy, (), |linker| {
            let touch = |mut caller: Caller<'_, ()>| {
                let memory = caller
                    .get_export("memory")
                    .and_then(Extern::into_shared_memory);
                memory.unwrap().write(3, &[9]).unwrap();
            };
            linker.func_wrap("h", "touch", touch).unwrap();
        });
        guest.call::<_, ()>("run", ()).unwrap();
        let memory = guest
            .instance
            .get_shared_memory(&mut guest.store, "memory")
            .unwrap();
        let cell = memory.data()[3].get();
        // SAFETY: the handle exists, and everybody accesses the byte atomically.
        let byte = unsafe { AtomicU8::from_ptr(cell) };
        assert_eq!(byte.load(Ordering::Relaxed), 9);
    }
}

#[test]
fn handles_cross_threads() {
    fn check<T: Send + Sync + Clone>(_: &T) {}
    let memory = memory();
    check(&memory);
    let weak = Arc::new(memory.clone());
    drop(memory);
    assert_eq!(weak.size(), 1);
}
