//! Shared memories: the base never changes, and the length may change at any moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use precast_artifact::Strategy;
use precast_loader::{Engine, Linker, MemoryType, SharedMemory, Store};
use precast_tests::{Guest, Watchdog, module, strategies};

/// Code that reads the base, and then uses it after others have made the memory longer.
#[test]
fn shared_memories_never_move() {
    let wat = r#"(module
        (import "h" "grow" (func $grow))
        (import "h" "m" (memory 1 1000 shared))
        (memory $own (export "own") 1 1000 shared)
        (func (export "run") (result i32)
            (i32.store (i32.const 0) (i32.const 1))
            (i32.store $own (i32.const 0) (i32.const 2))
            (call $grow)
            (drop (memory.grow $own (i32.const 500)))
            (i32.store (i32.const 4) (i32.const 3))
            (i32.store $own (i32.const 4) (i32.const 4))
            (i32.add
                (i32.add (i32.load (i32.const 0)) (i32.load (i32.const 4)))
                (i32.add (i32.load $own (i32.const 0)) (i32.load $own (i32.const 4))))))"#;
    for strategy in strategies() {
        let memory = SharedMemory::new(&Engine::default(), MemoryType::shared(1, 1000)).unwrap();
        let before = memory.data().as_ptr();
        let mut guest = Guest::linked(wat, strategy, (), |linker| {
            linker.shared_memory("h", "m", memory.clone()).unwrap();
            let memory = memory.clone();
            let grow = move || {
                memory.grow(900).unwrap();
            };
            linker.func_wrap("h", "grow", grow).unwrap();
        });
        let own = guest.instance.get_shared_memory(&mut guest.store, "own");
        let own = own.unwrap();
        let own_before = own.data().as_ptr();
        assert_eq!(guest.call::<_, i32>("run", ()).unwrap(), 1 + 3 + 2 + 4);
        assert_eq!(memory.data().as_ptr(), before);
        assert_eq!(own.data().as_ptr(), own_before);
        assert_eq!((memory.size(), own.size()), (901, 501));
    }
}

/// A loop that calls nothing and waits until another thread has made the memory longer, by asking
/// for its size and by reading behind its end where the size was known before.
#[test]
fn the_length_is_read_each_time() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let wat = r#"(module
        (import "h" "m" (memory 1 4 shared))
        (import "h" "started" (func $started))
        (func (export "spin") (param i32) (result i32)
            (i32.store (i32.const 65532) (i32.const 1))
            (drop (memory.size))
            (call $started)
            (loop $again (br_if $again (i32.lt_u (memory.size) (i32.const 3))))
            (i32.load (local.get 0))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 4)).unwrap();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<()> = Linker::new(&engine);
        linker.shared_memory("h", "m", memory.clone()).unwrap();
        static STARTED: AtomicBool = AtomicBool::new(false);
        STARTED.store(false, Ordering::SeqCst);
        let started = || STARTED.store(true, Ordering::SeqCst);
        linker.func_wrap("h", "started", started).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let spin = instance
            .get_typed_func::<i32, i32>(&mut store, "spin")
            .unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !STARTED.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                memory.grow(1).unwrap();
                std::thread::sleep(Duration::from_millis(5));
                memory.grow(1).unwrap();
            });
            assert_eq!(spin.call(&mut store, 3 * 65536 - 4).unwrap(), 0);
        });
    }
}

/// Code reads mask and length apart from each other, and threads grow the memory in between. So an
/// index that the length allows must be left alone by any mask that was there before.
#[test]
fn the_mask_is_that_of_the_maximum() {
    let wat = r#"(module (memory (export "m") 1 100 shared)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "run") (param i32 i32) (result i32)
            ;; The mask of the first access may be used for the second.
            (drop (i32.load8_u (i32.const 3)))
            (i32.store (i32.add (local.get 1) (i32.const 8)) (i32.const 1))
            (drop (memory.grow (local.get 0)))
            (i32.store (local.get 1) (i32.const 7))
            (i32.load (local.get 1))))"#;
    let mut guest = Guest::new(wat, Strategy::Checked);
    let memory = guest.instance.get_shared_memory(&mut guest.store, "m");
    let memory = memory.unwrap();
    for (more, at) in [(0, 65_500), (1, 100_000), (30, 2_000_000), (68, 6_553_500)] {
        guest.call::<_, i32>("grow", more).unwrap();
        assert_eq!(guest.call::<_, i32>("run", (0, at)).unwrap(), 7);
        let mut bytes = [0; 4];
        memory.read(at as usize, &mut bytes).unwrap();
        assert_eq!(bytes, [7, 0, 0, 0], "{at}");
    }
}
