//! The system refuses a call in the middle of a growth, a reset or an instantiation. Afterwards
//! machine code and the host still have the right bases and lengths of memories and tables.

use precast_artifact::Strategy;
use precast_loader::{Config, Engine, Error, InstancePre, Linker, Store, Trap};
use precast_tests::{call, module, strategies};

use crate::child::{case, passes_in_child};
use crate::kernel::{Kernel, Refusal, emulated, names};

const WASM_PAGE: usize = 65536;

/// Replaces the second page behind a memory of one page of wasm by something that cannot become
/// writable, or by what was there before.
fn obstruct(base: *mut u8, is_obstructed: bool) {
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    let (flags, fd) = match is_obstructed {
        true => (libc::MAP_SHARED, fd),
        false => (
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
        ),
    };
    // SAFETY: a page of the address space of a memory that nobody can access.
    unsafe {
        let at = base.add(WASM_PAGE + 4096).cast();
        let flags = flags | libc::MAP_FIXED;
        assert_eq!(libc::mmap(at, 4096, libc::PROT_NONE, flags, fd, 0), at);
    }
}

fn growing(strategy: Strategy, parked: usize) -> InstancePre<()> {
    let engine = Engine::new(Config::new().pool_per_thread(parked)).unwrap();
    let wat = r#"(module (memory (export "m") 1 8)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
        (func (export "store") (param i32) (i32.store8 (local.get 0) (i32.const 0xaa))))"#;
    let module = module(&engine, wat, strategy);
    Linker::new(&engine).instantiate_pre(&module).unwrap()
}

/// A memory that could not grow is not accessible beyond its end. If the system refuses to take the
/// access away again, nothing that was written there reaches the next tenant.
#[test]
fn growth_that_is_refused_half_way() {
    const NAME: &str = "partial_failures::growth_that_is_refused_half_way";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "grows");
        }
        return;
    }
    let all = strategies().into_iter();
    for (strategy, parked) in all.flat_map(|strategy| [(strategy, 0), (strategy, 1)]) {
        for is_taken_away in [true, false] {
            let pre = growing(strategy, parked);
            Kernel::with(|kernel| {
                let mut store = Store::new(pre.module().engine(), ());
                let instance = pre.instantiate(&mut store).unwrap();
                let memory = instance.get_memory(&mut store, "m").unwrap();
                let base = memory.data_ptr(&mut store);
                obstruct(base, true);
                let refusal = Refusal {
                    calls: &[libc::SYS_mprotect],
                    from: 1,
                    count: if is_taken_away { 0 } else { usize::MAX },
                };
                let (grown, calls) = kernel.refuse(refusal, || {
                    call::<i32, i32>(&mut store, instance, "grow", 1).unwrap()
                });
                assert_eq!(grown, -1);
                assert_eq!(memory.size(&store), 1);
                let end = WASM_PAGE as i32;
                if is_taken_away {
                    let error = call::<i32, i32>(&mut store, instance, "load", end).unwrap_err();
                    assert_eq!(error.trap(), Some(Trap::MemoryOutOfBounds), "{strategy}");
                } else {
                    call::<i32, ()>(&mut store, instance, "store", end).ok();
                }
                assert!(names(&calls).ends_with(&["mprotect", "mprotect"].map(String::from)));
                obstruct(base, false);
                drop(store);

                let mut store = Store::new(pre.module().engine(), ());
                let instance = pre.instantiate(&mut store).unwrap();
                let memory = instance.get_memory(&mut store, "m").unwrap();
                let error = call::<i32, i32>(&mut store, instance, "load", end).unwrap_err();
                assert_eq!(error.trap(), Some(Trap::MemoryOutOfBounds), "{strategy}");
                assert_eq!(
                    call::<i32, i32>(&mut store, instance, "grow", 2).unwrap(),
                    1
                );
                let is_zero = memory.data(&store).iter().all(|byte| *byte == 0);
                assert!(is_zero, "{strategy}, {parked} parked");
            });
        }
    }
}

/// Code of other instances still uses the memories and tables of an instance that was closed
/// because a step of its reset was refused.
#[test]
fn a_reset_that_is_refused_half_way() {
    const NAME: &str = "partial_failures::a_reset_that_is_refused_half_way";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "is reset");
        }
        return;
    }
    let owner = r#"(module (memory (export "m") 1 8) (memory $n 1)
        (table $t (export "t") 1 funcref) (table 200000 funcref)
        (func (export "grow")
            (drop (memory.grow (i32.const 3)))
            (drop (table.grow $t (ref.null func) (i32.const 50000)))
            (i32.store $n (i32.const 0) (i32.const 1))))"#;
    let user = r#"(module (import "a" "m" (memory 1)) (import "a" "t" (table 1 funcref))
        (func (export "size") (result i32) memory.size)
        (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
        (func (export "elements") (result i32) table.size)
        (func (export "is-null") (param i32) (result i32)
            (ref.is_null (table.get (local.get 0)))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let [owner, user] = [owner, user].map(|wat| module(&engine, wat, strategy));
        Kernel::with(|kernel| {
            for from in 0.. {
                let mut store = Store::new(&engine, ());
                let mut linker = Linker::new(&engine);
                let owner = linker.instantiate(&mut store, &owner).unwrap();
                linker.instance(&mut store, "a", owner).unwrap();
                let user = linker.instantiate(&mut store, &user).unwrap();
                call::<(), ()>(&mut store, owner, "grow", ()).unwrap();
                let memory = owner.get_memory(&mut store, "m").unwrap();
                let table = owner.get_table(&mut store, "t").unwrap();
                let refusal = Refusal {
                    calls: &[libc::SYS_madvise],
                    from,
                    count: usize::MAX,
                };
                let (result, _) = kernel.refuse(refusal, || owner.reset(&mut store));

                let size = call::<(), i32>(&mut store, user, "size", ()).unwrap();
                assert_eq!(size as u64, memory.size(&store));
                let end = size * WASM_PAGE as i32;
                call::<i32, i32>(&mut store, user, "load", end - 1).unwrap();
                let error = call::<i32, i32>(&mut store, user, "load", end).unwrap_err();
                assert_eq!(error.trap(), Some(Trap::MemoryOutOfBounds), "{strategy}");
                assert_eq!(memory.data(&store).last(), Some(&0));
                let elements = call::<(), i32>(&mut store, user, "elements", ()).unwrap();
                assert_eq!(elements as u64, table.size(&store), "{strategy}, {from}");
                let is_null = call::<i32, i32>(&mut store, user, "is-null", elements - 1);
                assert_eq!(is_null.unwrap(), 1);
                let called = call::<(), ()>(&mut store, owner, "grow", ());
                match result {
                    Ok(()) => {
                        assert!(called.is_ok() && size == 1 && elements == 1);
                        assert!(from >= 3, "{from}");
                        break;
                    }
                    Err(error) => {
                        assert!(matches!(error, Error::Memory { .. }), "{error}");
                        assert!(matches!(called, Err(Error::Closed { .. })), "{called:?}");
                    }
                }
            }
        });
    }
}

/// An instance of a snapshot whose tables cannot get the length of the snapshot again is closed.
#[test]
fn a_snapshot_that_cannot_be_restored() {
    const NAME: &str = "partial_failures::a_snapshot_that_cannot_be_restored";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "is restored");
        }
        return;
    }
    let wat = r#"(module (table 1 funcref)
        (func (export "grow") (param i32) (result i32)
            (table.grow (ref.null func) (local.get 0))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut store = Store::new(&engine, ());
        let linker = Linker::new(&engine);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        call::<i32, i32>(&mut store, instance, "grow", 200_000).unwrap();
        let snapshot = instance.snapshot(&mut store).unwrap();
        let pre = linker.instantiate_pre(&module).unwrap();
        let pre = InstancePre::from_snapshot(&pre, &snapshot).unwrap();
        Kernel::with(|kernel| {
            let mut store = Store::new(&engine, ());
            let instance = pre.instantiate(&mut store).unwrap();
            let refusal = Refusal {
                calls: &[libc::SYS_mmap],
                from: 0,
                count: usize::MAX,
            };
            let (result, _) = kernel.refuse(refusal, || instance.reset(&mut store));
            assert!(matches!(result, Err(Error::Memory { .. })), "{result:?}");
            let called = call::<i32, i32>(&mut store, instance, "grow", 1);
            assert!(matches!(called, Err(Error::Closed { .. })), "{called:?}");
        });
    }
}
