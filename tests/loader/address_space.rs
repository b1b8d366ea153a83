//! Memories take over the address space of earlier ones of any module, and find nothing of them.

use std::os::fd::AsRawFd;

use precast_artifact::Strategy;
use precast_loader::{Config, Engine, InstancePre, Linker, Store, Trap};
use precast_tests::{mappings, module, strategies};

use crate::child::{case, passes_in_child};
use crate::kernel::{Kernel, Refusal, emulated, names, quiet_allocator};

/// A module of another kind for each number of pages: with data or without. No instance is parked.
fn pre(strategy: Strategy, pages: usize, data: bool) -> InstancePre<()> {
    pre_with_pool(0, strategy, pages, data)
}

/// Like [`pre`], but up to this number of instances are parked on the thread.
fn pre_with_pool(
    instances: usize,
    strategy: Strategy,
    pages: usize,
    data: bool,
) -> InstancePre<()> {
    let engine = Engine::new(Config::new().pool_per_thread(instances)).unwrap();
    let data = if data {
        "(data (i32.const 5000) \"data\")"
    } else {
        ""
    };
    let wat = format!(
        "(module (memory (export \"m\") {pages}) {data}
            (func (export \"load\") (param i32) (result i32) (i32.load8_u (local.get 0)))
            (func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0))))"
    );
    let module = module(&engine, &wat, strategy);
    Linker::new(&engine).instantiate_pre(&module).unwrap()
}

/// Checks that a new instance has exactly its memory, and if it `writes`, grows it and writes
/// everywhere.
fn tenant(pre: &InstancePre<()>, pages: usize, data: bool, delta: usize, writes: bool) {
    let mut store = Store::new(pre.module().engine(), ());
    let instance = pre.instantiate(&mut store).unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    let mut expected = vec![0; pages * 65536];
    if data {
        expected[5000..5004].copy_from_slice(b"data");
    }
    assert!(memory.data(&store) == expected, "{pages} pages, {data}");
    let load = instance.get_typed_func::<i32, i32>(&mut store, "load");
    let load = load.unwrap();
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow");
    let grow = grow.unwrap();
    for len in [pages, pages + delta] {
        for beyond in [0, 1, 4095, 65536, 1 << 20, 1 << 30] {
            let error = load.call(&mut store, (len * 65536 + beyond) as i32);
            let trap = error.unwrap_err().trap();
            assert_eq!(trap, Some(Trap::MemoryOutOfBounds), "{len} + {beyond}");
        }
        if !writes {
            return;
        }
        memory.data_mut(&mut store).fill(0xaa);
        assert_eq!(grow.call(&mut store, delta as i32).unwrap(), len as i32);
        let grown = &memory.data(&store)[len * 65536..];
        assert!(grown.iter().all(|byte| *byte == 0));
    }
}

/// Nothing is left of a memory that was dropped as its tenant left it, nor of one that was reset,
/// parked, and then made room for another.
#[test]
fn nothing_of_a_memory_is_left_for_another_module() {
    for (strategy, instances) in strategies()
        .into_iter()
        .flat_map(|strategy| [0, 1, 2].map(|instances| (strategy, instances)))
    {
        let kinds = [(1, true), (1, false), (3, true), (20, false), (2, true)];
        let pres = kinds.map(|(pages, data)| {
            let pre = || pre_with_pool(instances, strategy, pages, data);
            (pre(), pre(), pages, data)
        });
        for round in 0..60 {
            let (writer, reader, pages, data) = &pres[round * 7 % 13 % pres.len()];
            tenant(writer, *pages, *data, [0, 1, 5, 40][round % 4], true);
            let (_, reader_too, pages_too, data_too) = &pres[round * 5 % 11 % pres.len()];
            tenant(reader_too, *pages_too, *data_too, 0, false);
            tenant(reader, *pages, *data, 0, false);
        }
    }
}

/// Files and protections that the host has put into a memory go with it.
#[test]
fn what_the_host_mapped_goes_too() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(65536).unwrap();
    for strategy in strategies() {
        let (first, second) = (pre(strategy, 2, false), pre(strategy, 2, true));
        for _ in 0..3 {
            let mut store = Store::new(first.module().engine(), ());
            let instance = first.instantiate(&mut store).unwrap();
            let memory = instance.get_memory(&mut store, "m").unwrap();
            let base = memory.data_ptr(&mut store);
            // SAFETY: whole pages of a memory that nobody else uses.
            unsafe {
                let access = libc::PROT_READ | libc::PROT_WRITE;
                let flags = libc::MAP_SHARED | libc::MAP_FIXED;
                let at = libc::mmap(base.cast(), 65536, access, flags, file.as_raw_fd(), 0);
                assert_eq!(at, base.cast());
                base.write_bytes(0x11, 65536);
                let last = base.add(65536).cast();
                assert_eq!(libc::mprotect(last, 65536, libc::PROT_READ), 0);
            }
            drop(store);
            tenant(&second, 2, true, 1, true);
        }
        let mut bytes = vec![0; 65536];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0x11), "{strategy}");
    }
}

/// A fresh instance with a memory makes one system call, and the thread keeps two memories' address
/// space until the system is short of any.
#[test]
fn address_space_is_kept_until_there_is_a_shortage() {
    const NAME: &str = "address_space::address_space_is_kept_until_there_is_a_shortage";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "kept");
        }
        return;
    }
    quiet_allocator(32 << 20);
    for strategy in strategies() {
        let pre = pre(strategy, 4, false);
        let made = |count: usize| {
            let mut stores: Vec<_> = (0..count)
                .map(|_| Store::new(pre.module().engine(), ()))
                .collect();
            for store in &mut stores {
                pre.instantiate(store).unwrap();
            }
        };
        let at_start = mappings();
        Kernel::with(|kernel| {
            made(1);
            let ((), calls) = kernel.watch(|| made(1));
            assert_eq!(names(&calls), ["mmap"], "{strategy}");
            made(10);
            let ((), calls) = kernel.watch(|| made(2));
            assert_eq!(names(&calls), ["mmap"; 2], "{strategy}");
            // The third one is new, and makes room in the end.
            let ((), calls) = kernel.watch(|| made(3));
            let third = ["mmap", "mprotect", "mmap", "mmap", "mmap", "munmap"];
            assert_eq!(names(&calls), third, "{strategy}");

            // The thread meets a shortage with what it keeps.
            let refusal = Refusal {
                calls: &[libc::SYS_mmap],
                from: 0,
                count: 1,
            };
            let before = mappings();
            let ((), calls) = kernel.refuse(refusal, || {
                let mut store = Store::new(pre.module().engine(), ());
                let ty = precast_loader::MemoryType::new(1, None);
                precast_loader::Memory::new(&mut store, ty).unwrap();
            });
            let relieved = ["mmap", "munmap", "munmap", "mmap", "mprotect", "munmap"];
            assert_eq!(names(&calls), relieved, "{strategy}");
            assert!(mappings() < before);
            // What cannot be emptied is not kept.
            let refusal = Refusal {
                calls: &[libc::SYS_mmap],
                from: 1,
                count: 1,
            };
            let ((), calls) = kernel.refuse(refusal, || made(1));
            assert_eq!(names(&calls), ["mmap", "mprotect", "mmap", "munmap"]);
            made(3);
        });
        // The thread has ended.
        assert!(mappings() <= at_start + 2, "{strategy}");
    }
}
