//! The kernel refuses memory at every point where it can. The result is an error or a trap, nothing
//! is left behind, and the next instance works.
//!
//! Each scenario runs repeatedly. Each time one more of its system calls succeeds before one fails
//! with `ENOMEM`, until none fails. In one series only that call fails, in another one all later
//! calls fail, too. See [`kernel`](crate::kernel) for how this works. Afterwards the address space
//! has the same size as before, to the byte. Only a refused `munmap` leaves its own range behind,
//! which cannot be helped.

use std::path::Path;

use precast_artifact::Strategy;
use precast_loader::{
    Config, Engine, Error, ExternRef, InstancePre, Linker, Memory, MemoryType, Module, Store, Trap,
    Val,
};
use precast_tests::{ArtifactFile, artifact, strategies};

use crate::child::{case, passes_in_child};
use crate::kernel::{Kernel, Refusal, emulated, names, quiet_allocator};

/// The system calls by which the loader requests and returns memory.
const MEMORY: &[libc::c_long] = &[
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_memfd_create,
];

/// The system calls by which the allocator requests memory for a large table.
const ALLOCATOR: &[libc::c_long] = &[libc::SYS_mmap, libc::SYS_mremap, libc::SYS_brk];

/// A module with more pages of memory than the loader tracks, data in two places, and a signature
/// that is so long that the artifact has a GOT.
const WAT: &str = r#"(module
    (import "h" "f" (func $h (param i32) (result i32)))
    (memory (export "m") 4 64)
    (table (export "t") 2 externref)
    (table $f (export "f") 2 funcref)
    (type $long (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32
        i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (func (export "long") (call_indirect $f (type $long)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
    (data (i32.const 100) "near")
    (data (i32.const 200000) "far")
    (data $passive "passive")
    (global $g (export "g") (mut i32) (i32.const 1))
    (func (export "poke") (param i32)
        (i32.store8 (local.get 0) (i32.const 0xaa))
        (global.set $g (i32.const 2)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "grow-table") (param i32) (result i32)
        (table.grow (ref.null extern) (local.get 0)))
    (func (export "init") (param i32)
        (memory.init $passive (local.get 0) (i32.const 0) (i32.const 7)))
    (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;

/// How many bytes the allocator has in reserve. The tables here need more.
const ROOM: i32 = 8 << 20;

const BYTES: usize = 4 * 65536;

/// Runs a scenario in a process of its own. This process makes the artifacts, because the threads
/// of a compiler could map stacks at any time. They are in the directory that is the name of the
/// case.
fn run(test: &str, scenario: fn(&Kernel, Strategy, &[u8])) {
    let name = format!("refusals::{test}");
    let path = |dir: &Path, strategy: Strategy| dir.join(strategy.text());
    if let Some(dir) = case() {
        quiet_allocator(ROOM);
        return Kernel::with(|kernel| {
            for strategy in strategies() {
                let path = path(Path::new(&dir), strategy);
                let bytes = std::fs::read(path).unwrap();
                // What the process has once for all, to learn which pages were written.
                assert_fresh(&pre(&module(&Engine::default(), &bytes)));
                scenario(kernel, strategy, &bytes);
            }
        });
    }
    if !emulated(&name) {
        let dir = tempfile::tempdir().unwrap();
        for strategy in strategies() {
            let path = path(dir.path(), strategy);
            std::fs::write(path, artifact(WAT, strategy)).unwrap();
        }
        passes_in_child(&name, dir.path().to_str().unwrap());
    }
}

/// Runs `once` repeatedly, with one of its calls refused after the other, until none is. `once`
/// returns its system calls. Returns how many calls were refused.
fn each_refused(
    kernel: &Kernel,
    calls: &'static [libc::c_long],
    what: &str,
    mut once: impl FnMut(&Kernel, Refusal) -> Vec<crate::kernel::Call>,
) -> usize {
    let mut total = 0;
    for count in [1, usize::MAX] {
        for from in 0.. {
            assert!(from < 500, "{what}: no end");
            give_back(kernel);
            let before = maps();
            let refusal = Refusal { calls, from, count };
            let seen = once(kernel, refusal);
            let refused: Vec<_> = seen.iter().filter(|call| call.refused).copied().collect();
            let left: u64 = refused
                .iter()
                .filter(|call| call.number == libc::SYS_munmap)
                .map(|call| call.args[1].next_multiple_of(4096))
                .sum();
            give_back(kernel);
            let after = maps();
            assert_eq!(
                bytes(&after) - bytes(&before),
                left as i64,
                "{what}: bytes of address space that are left, of {:?} refused {:?}\n{before}\n{after}",
                names(&seen),
                names(&refused),
            );
            total += refused.len();
            if refused.is_empty() {
                break;
            }
        }
    }
    total
}

/// Makes the thread give back the address space that it keeps: the system refuses some for a memory
/// of the host once.
fn give_back(kernel: &Kernel) {
    let mut store = Store::new(&Engine::default(), ());
    let refusal = Refusal {
        calls: &[libc::SYS_mmap],
        from: 0,
        count: 1,
    };
    // There may be nothing to give back. Then the memory is refused.
    kernel.refuse(refusal, || {
        Memory::new(&mut store, MemoryType::new(1, None)).ok()
    });
}

fn maps() -> String {
    std::fs::read_to_string("/proc/self/maps").unwrap()
}

/// The size of the address space in bytes, without the heap.
fn bytes(maps: &str) -> i64 {
    maps.lines()
        .filter(|line| {
            let apart = ["[heap]", "[stack]", "[vsyscall]"];
            !apart.iter().any(|name| line.ends_with(name))
        })
        .map(|line| {
            let (start, rest) = line.split_once('-').unwrap();
            let end = rest.split(' ').next().unwrap();
            let number = |hex: &str| i64::from_str_radix(hex, 16).unwrap();
            number(end) - number(start)
        })
        .sum()
}

fn is_refusal(error: &Error) -> bool {
    use std::error::Error as _;
    let source = error
        .source()
        .and_then(|e| e.downcast_ref::<std::io::Error>());
    match error {
        Error::Memory { .. } | Error::File { .. } => {
            source.and_then(std::io::Error::raw_os_error) == Some(libc::ENOMEM)
        }
        _ => false,
    }
}

fn pre(module: &Module) -> InstancePre<u32> {
    let mut linker: Linker<u32> = Linker::new(module.engine());
    linker.func_wrap("h", "f", |x: i32| x + 1).unwrap();
    linker.instantiate_pre(module).unwrap()
}

fn module(engine: &Engine, bytes: &[u8]) -> Module {
    // SAFETY: the bytes are from our own compiler.
    unsafe { Module::from_bytes(engine, bytes) }.unwrap()
}

/// Checks that a new instance has every byte as new, and works.
fn assert_fresh(pre: &InstancePre<u32>) {
    let mut store = Store::new(pre.module().engine(), 0);
    let instance = pre.instantiate(&mut store).unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    let mut expected = vec![0; BYTES];
    expected[100..104].copy_from_slice(b"near");
    expected[200_000..200_003].copy_from_slice(b"far");
    assert!(memory.data(&store) == expected, "memory is not as new");
    let table = instance.get_table(&mut store, "t").unwrap();
    assert_eq!(table.size(&store), 2);
    let global = instance.get_global(&mut store, "g").unwrap();
    assert_eq!(global.get(&store).i32(), Some(1));
    let poke = instance.get_typed_func::<i32, ()>(&mut store, "poke");
    let poke = poke.unwrap();
    for page in [0, 3, 40, 63] {
        poke.call(&mut store, page * 4096).unwrap();
    }
    let load = instance
        .get_typed_func::<i32, i32>(&mut store, "load")
        .unwrap();
    let code = load.call(&mut store, BYTES as i32).unwrap_err();
    assert_eq!(code.trap().unwrap(), Trap::MemoryOutOfBounds);
}

#[test]
fn opening() {
    run("opening", |kernel, _, bytes| {
        let file = ArtifactFile::new(bytes);
        let path = file.path();
        let engine = Engine::default();
        let refused = each_refused(kernel, MEMORY, "open a file", |kernel, refusal| {
            let (result, mut calls) = kernel.refuse(refusal, || {
                // SAFETY: the file is from our own compiler, and nobody writes to it.
                unsafe { Module::open(&engine, path) }
            });
            match result {
                Ok(module) => {
                    assert_fresh(&pre(&module));
                    // The next run would find these pages still mapped.
                    let ((), more) = kernel.watch(|| drop(module));
                    calls.extend(more);
                }
                Err(error) => assert!(is_refusal(&error), "{error:?}"),
            }
            calls
        });
        assert!(refused >= 8, "{refused}");
        let refused = each_refused(kernel, MEMORY, "open bytes", |kernel, refusal| {
            let (result, calls) = kernel.refuse(refusal, || {
                // SAFETY: the bytes are from our own compiler.
                unsafe { Module::from_bytes(&engine, bytes) }
            });
            match result {
                Ok(module) => assert_fresh(&pre(&module)),
                Err(error) => assert!(is_refusal(&error), "{error:?}"),
            }
            calls
        });
        assert!(refused >= 5, "{refused}");
    });
}

#[test]
fn an_instance_without_a_pool() {
    run("an_instance_without_a_pool", |kernel, _, bytes| {
        let engine = Engine::new(Config::new().pool_per_thread(0)).unwrap();
        let module = module(&engine, bytes);
        let refused = each_refused(kernel, MEMORY, "fresh", |kernel, refusal| {
            let pre = pre(&module);
            let ((), calls) = kernel.refuse(refusal, || {
                let mut store = Store::new(&engine, 0);
                match pre.instantiate(&mut store) {
                    Ok(instance) => {
                        let poke = instance.get_typed_func::<i32, ()>(&mut store, "poke");
                        poke.unwrap().call(&mut store, 70_000).unwrap();
                    }
                    Err(error) => assert!(is_refusal(&error), "{error:?}"),
                }
            });
            assert_fresh(&pre);
            calls
        });
        assert!(refused >= 4, "{refused}");
    });
}

/// From the first instance to the fourth tenant, with many pages written.
#[test]
fn tenants_of_a_pool() {
    run("tenants_of_a_pool", |kernel, strategy, bytes| {
        let engine = Engine::default();
        let module = module(&engine, bytes);
        let refused = each_refused(kernel, MEMORY, "pool", |kernel, refusal| {
            let pre = pre(&module);
            let ((), calls) = kernel.refuse(refusal, || {
                for pages in [2, 5, 40, 3] {
                    let mut store = Store::new(&engine, 0);
                    match pre.instantiate(&mut store) {
                        Ok(instance) => use_it(&mut store, instance, pages),
                        Err(error) => assert!(is_refusal(&error), "{error:?}"),
                    }
                }
            });
            for _ in 0..3 {
                assert_fresh(&pre);
            }
            calls
        });
        let least = 8;
        assert!(refused >= least, "{strategy}: {refused}");
    });
}

/// Writes as the guest and as the host. A page that cannot be made writable is a trap or an error,
/// and the bytes of a refused write do not change.
fn use_it(store: &mut Store<u32>, instance: precast_loader::Instance, pages: i32) {
    let poke = instance
        .get_typed_func::<i32, ()>(&mut *store, "poke")
        .unwrap();
    let memory = instance.get_memory(&mut *store, "m").unwrap();
    for page in 0..pages {
        let at = page * 4096 + 50;
        let written = match poke.call(&mut *store, at) {
            Ok(()) => 0xaa,
            Err(error) => {
                let code = error.trap().unwrap();
                assert_eq!(code, Trap::MemoryOutOfBounds);
                0
            }
        };
        assert_eq!(memory.data(&*store)[at as usize], written);
    }
    let at = (pages as usize + 2) * 4096 - 2;
    let written = match memory.write(&mut *store, at, b"host") {
        Ok(()) => b"host",
        Err(error) => {
            assert!(is_refusal(&error), "{error:?}");
            b"\0\0\0\0"
        }
    };
    assert_eq!(&memory.data(&*store)[at..at + 4], written);
    let init = instance
        .get_typed_func::<i32, ()>(&mut *store, "init")
        .unwrap();
    let at = at + 3 * 4096;
    let written = match init.call(&mut *store, at as i32) {
        Ok(()) => b"passive",
        Err(error) => {
            let code = error.trap().unwrap();
            assert_eq!(code, Trap::MemoryOutOfBounds);
            b"\0\0\0\0\0\0\0"
        }
    };
    assert_eq!(&memory.data(&*store)[at..at + 7], written);
}

#[test]
fn memories_that_grow() {
    run("memories_that_grow", |kernel, _, bytes| {
        let engine = Engine::default();
        let module = module(&engine, bytes);
        let refused = each_refused(kernel, MEMORY, "memory.grow", |kernel, refusal| {
            let pre = pre(&module);
            let mut store = Store::new(&engine, 0);
            let instance = pre.instantiate(&mut store).unwrap();
            let grow = instance
                .get_typed_func::<i32, i32>(&mut store, "grow")
                .unwrap();
            let memory = instance.get_memory(&mut store, "m").unwrap();
            memory.write(&mut store, BYTES - 4, b"last").unwrap();
            let ((), calls) = kernel.refuse(refusal, || {
                // A checked memory moves while it grows.
                for delta in [1, 10, 30] {
                    let before = memory.size(&store);
                    let found = grow.call(&mut store, delta).unwrap();
                    let after = memory.size(&store);
                    if found == -1 {
                        assert_eq!(after, before);
                    } else {
                        assert_eq!((found as u64, after), (before, before + delta as u64));
                        let bytes = memory.data_mut(&mut store);
                        let (old, new) = bytes.split_at_mut(before as usize * 65536);
                        assert_eq!(&old[BYTES - 4..BYTES], b"last");
                        assert!(new.iter().all(|byte| *byte == 0));
                        new.fill(0x77);
                    }
                }
                if let Err(error) = memory.grow(&mut store, 1) {
                    assert!(is_refusal(&error), "{error:?}");
                }
                // Beyond the end nothing can be read, whatever was refused.
                let load = instance.get_typed_func::<i32, i32>(&mut store, "load");
                let load = load.unwrap();
                let end = memory.data_size(&store) as i32;
                assert!(load.call(&mut store, end).unwrap_err().trap().is_some());
                drop(store);
            });
            for _ in 0..2 {
                assert_fresh(&pre);
            }
            calls
        });
        assert!(refused >= 5, "{refused}");
    });
}

#[test]
fn tables_that_grow() {
    run("tables_that_grow", |kernel, _, bytes| {
        let engine = Engine::default();
        let module = module(&engine, bytes);
        let refused = each_refused(kernel, ALLOCATOR, "table.grow", |kernel, refusal| {
            let pre = pre(&module);
            let mut store = Store::new(&engine, 0);
            let instance = pre.instantiate(&mut store).unwrap();
            let grow = instance
                .get_typed_func::<i32, i32>(&mut store, "grow-table")
                .unwrap();
            let table = instance.get_table(&mut store, "t").unwrap();
            let value = Val::ExternRef(Some(ExternRef::new(5)));
            table.set(&mut store, 1, value.clone()).unwrap();
            let (grown, calls) = kernel.refuse(refusal, || {
                let first = grow.call(&mut store, 2_000_000).unwrap();
                let size = table.size(&store);
                let second = table.grow(&mut store, 3_000_000, value.clone());
                (first, size, second)
            });
            match grown {
                (-1, size, _) => assert_eq!(size, 2),
                (first, size, _) => assert_eq!((first, size), (2, 2_000_002)),
            }
            match grown.2 {
                Ok(before) => {
                    assert_eq!(before, grown.1);
                    let last = table.get(&store, before + 2_999_999);
                    assert!(matches!(last, Some(Val::ExternRef(Some(_)))));
                }
                Err(error) => {
                    assert!(is_refusal(&error), "{error:?}");
                    assert_eq!(table.size(&store), grown.1);
                }
            }
            let one = table.get(&store, 1);
            assert!(matches!(one, Some(Val::ExternRef(Some(_)))));
            drop(store);
            assert_fresh(&pre);
            calls
        });
        assert!(refused >= 3, "{refused}");
    });
}
