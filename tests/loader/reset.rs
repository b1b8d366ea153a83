//! Slots are reused correctly in every state that a process can bring its pages and signals into,
//! and their cost is limited: system calls, page faults, mappings and resident bytes.
//! [`poison`](crate::poison) has the tenants.
//!
//! Tests that change the state of a process run in a process of their own.

use std::sync::atomic::{AtomicBool, Ordering};

use precast_artifact::Strategy;
use precast_loader::{
    Config, Engine, Error, InstancePre, Linker, Module, Store, StoreLimitsBuilder,
};
use precast_tests::{artifact, faults, mappings, module, strategies};

use crate::child::{case, passes_in_child};
use crate::kernel::{Call, Kernel, emulated, names, quiet_allocator};
use crate::poison::{pre, tenants};
use crate::written_pages::can_scan;

/// A module with 8 MiB of memory. The parameters of `write` are the first page to write to, the
/// number of pages, and their distance.
const WRITER: &str = r#"(module (memory (export "m") 128 256)
    (data (i32.const 1000) "somewhere") (data (i32.const 4194304) "in the middle")
    (func (export "write") (param $page i32) (param $count i32) (param $step i32)
        (loop $l
            (if (local.get $count) (then
                (i64.store offset=8 (i32.mul (local.get $page) (i32.const 4096)) (i64.const -1))
                (local.set $page (i32.add (local.get $page) (local.get $step)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br $l)))))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"#;

pub(crate) fn writer(engine: &Engine, strategy: Strategy) -> InstancePre<()> {
    let module = module(engine, WRITER, strategy);
    Linker::new(engine).instantiate_pre(&module).unwrap()
}

/// Makes an instance, writes to `count` pages, and drops the instance.
pub(crate) fn write(pre: &InstancePre<()>, first: usize, count: usize, step: usize) {
    let mut store = Store::new(pre.module().engine(), ());
    let instance = pre.instantiate(&mut store).unwrap();
    let write = instance.get_typed_func::<(i32, i32, i32), ()>(&mut store, "write");
    let args = [first, count, step].map(|n| n as i32);
    let args = (args[0], args[1], args[2]);
    write.unwrap().call(&mut store, args).unwrap();
}

#[track_caller]
pub(crate) fn assert_fresh(pre: &InstancePre<()>) {
    let mut store = Store::new(pre.module().engine(), ());
    let instance = pre.instantiate(&mut store).unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    let mut expected = vec![0; 8 << 20];
    expected[1000..1009].copy_from_slice(b"somewhere");
    expected[4 << 20..][..13].copy_from_slice(b"in the middle");
    assert!(memory.data(&store) == expected, "not as new");
}

/// In the steady state there are no page faults, and one system call: it discards what was not
/// written, or says which pages were, if these are in several places. The numbers of pages are
/// around powers of two, and some have more runs than one answer of the system holds.
#[test]
fn the_steady_state_has_no_faults() {
    const NAME: &str = "reset::the_steady_state_has_no_faults";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "steady");
        }
        return;
    }
    quiet_allocator(32 << 20);
    let engine = Engine::default();
    Kernel::with(|kernel| {
        for strategy in strategies() {
            for (count, step, max) in [
                (1, 1, 1),
                (8, 1, 1),
                (31, 1, 1),
                (32, 1, 1),
                (33, 1, 1),
                (64, 1, 1),
                (256, 1, 1),
                (1024, 1, 1),
                (2048, 1, 0),
                (3, 100, 3),
                (4, 100, 4),
                (16, 100, 16),
                (200, 10, 1),
                (1000, 2, 1),
            ] {
                let pre = writer(&engine, strategy);
                for _ in 0..20 {
                    write(&pre, 0, count, step);
                }
                let what = format!("{strategy}: {count} pages, {step} apart");
                let asks = can_scan() && step > 1 && count > 3;
                let before = faults();
                let mut more = 0;
                for _ in 0..50 {
                    let ((), calls) = kernel.watch(|| write(&pre, 0, count, step));
                    let mut calls = names(&calls);
                    let asked = calls.iter().filter(|name| *name == "ioctl").count();
                    // A thousand runs of pages are more than one answer holds.
                    more += asked / count.div_ceil(128).max(1);
                    calls.retain(|name| ["mmap", "mprotect", "madvise"].contains(&&**name));
                    let calls_for_holes = if asks { 0 } else { max };
                    assert_eq!(calls, vec!["madvise"; calls_for_holes], "{what}");
                }
                let (min_asks, max_asks) = if asks { (50, 53) } else { (0, 3) };
                assert!(
                    (min_asks..=max_asks).contains(&more),
                    "{what}: asked {more} times"
                );
                let faults = faults() - before;
                assert!(faults < 25, "{what}: {faults} faults of 50 tenants");
                assert_fresh(&pre);
                // Another slot of the same module profits from the first.
                let mut store = Store::new(&engine, ());
                let _first = pre.instantiate(&mut store).unwrap();
                for _ in 0..3 {
                    write(&pre, 0, count, step);
                }
                drop(store);
                assert_fresh(&pre);
            }
        }
    });
}

/// A slot that has seen some tenants also works for others that write to different pages.
#[test]
fn guests_that_change_their_ways() {
    for strategy in strategies() {
        let engine = Engine::default();
        let pre = writer(&engine, strategy);
        for (first, count, step) in [
            (0, 2048, 1),
            (5, 3, 1),
            (1000, 40, 1),
            (7, 200, 10),
            (2047, 1, 1),
            (0, 0, 1),
            (3, 500, 4),
        ] {
            for _ in 0..30 {
                write(&pre, first, count, step);
            }
            assert_fresh(&pre);
        }
    }
}

/// The pages by which a memory has grown cannot be accessed by the next tenant, and they are zero
/// when its memory grows again.
#[test]
fn grown_memories_are_zero_where_they_grow_again() {
    for strategy in strategies() {
        let pre = writer(&Engine::default(), strategy);
        for round in 0..60 {
            let mut store = Store::new(pre.module().engine(), ());
            let instance = pre.instantiate(&mut store).unwrap();
            let load = instance.get_typed_func::<i32, i32>(&mut store, "load");
            let load = load.unwrap();
            assert!(load.call(&mut store, 8 << 20).is_err());
            let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow");
            let pages = [0, 3, 16, 1, 10, 0, 5][round % 7];
            assert_eq!(grow.unwrap().call(&mut store, pages).unwrap(), 128);
            let memory = instance.get_memory(&mut store, "m").unwrap();
            let grown = &memory.data(&store)[8 << 20..];
            assert_eq!(grown.len(), pages as usize * 65536);
            assert!(grown.iter().all(|byte| *byte == 0), "round {round}");
            let write = instance.get_typed_func::<(i32, i32, i32), ()>(&mut store, "write");
            let args = (2048 - 3, 3 + 16 * pages, 1);
            write.unwrap().call(&mut store, args).unwrap();
            let end = (8 << 20) + 65536 * pages;
            assert!(load.call(&mut store, end).is_err());
        }
    }
}

/// Random tenants run before, during and after each change of the state of a process. Each change
/// is made in a process of its own.
#[test]
fn tenants_in_every_state_of_a_process() {
    const NAME: &str = "reset::tenants_in_every_state_of_a_process";
    let Some(state) = case() else {
        if !emulated(NAME) {
            for state in [
                "locked",
                "locked meanwhile",
                "huge",
                "paged out",
                "forked",
                "no ioctl",
                "no scan",
                "no proc",
                "unknown",
                "no memory",
                "another thread",
                "blocked",
                "default",
                "foreign",
                "raised",
            ] {
                passes_in_child(NAME, state);
            }
        }
        return;
    };
    for strategy in strategies() {
        let pre = pre(strategy);
        tenants(&pre, 3, 10);
        match &*state {
            "locked" => {
                // SAFETY: the call locks current and future pages and changes no byte.
                let locked = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) };
                if locked != 0 {
                    eprintln!("skipped {state}: {}", std::io::Error::last_os_error());
                    return;
                }
                tenants(&pre, 4, 40);
                tenants(&self::pre(strategy), 5, 40);
                // SAFETY: the call unlocks pages and changes no byte.
                unsafe { libc::munlockall() };
            }
            "locked meanwhile" => while_another(&pre, || {
                // SAFETY: the calls change no byte. Locking makes every page private to the
                // process.
                unsafe {
                    libc::mlockall(libc::MCL_CURRENT);
                    libc::munlockall();
                }
            }),
            "huge" => {
                in_memory(&pre, libc::MADV_HUGEPAGE);
                tenants(&pre, 6, 20);
                while_another(&pre, || {
                    // MADV_COLLAPSE makes huge pages at once.
                    advise_mappings(25);
                });
            }
            "paged out" => while_another(&pre, || advise_mappings(libc::MADV_PAGEOUT)),
            "forked" => {
                // SAFETY: the child only runs tenants, and no other thread of this process holds a
                // lock that the child needs.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    tenants(&pre, 7, 30);
                    // SAFETY: the call ends the child at once.
                    unsafe { libc::_exit(9) };
                }
                tenants(&pre, 8, 30);
                let mut status = 0;
                // SAFETY: the call only writes to a local variable.
                assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                assert_eq!(libc::WEXITSTATUS(status), 9);
            }
            "no ioctl" => with_answers(&pre, |call| {
                (call.number == libc::SYS_ioctl).then_some(-i64::from(libc::ENOSYS))
            }),
            "no scan" => with_answers(&pre, |call| {
                (call.number == libc::SYS_ioctl).then_some(-i64::from(libc::EPERM))
            }),
            // The loader can ask for written pages in neither of its ways.
            "no proc" => with_answers(&pre, |call| {
                let asks = [libc::SYS_ioctl, libc::SYS_pread64, libc::SYS_openat];
                asks.contains(&call.number)
                    .then_some(-i64::from(libc::ENOENT))
            }),
            // An unknown kernel always answers that no page was written.
            "unknown" => with_answers(&pre, |call| (call.number == libc::SYS_ioctl).then_some(0)),
            "no memory" => with_answers(&pre, |call| {
                (call.number == libc::SYS_madvise).then_some(-i64::from(libc::ENOMEM))
            }),
            "another thread" => {
                for round in 0..20 {
                    let mut store = Store::new(pre.module().engine(), ());
                    let instance = pre.instantiate(&mut store).unwrap();
                    let memory = instance.get_memory(&mut store, "m").unwrap();
                    let bytes = memory.data_mut(&mut store);
                    std::thread::scope(|scope| {
                        scope.spawn(|| bytes[round * 5000..][..100_000].fill(0xee));
                    });
                    drop(store);
                    tenants(&pre, 9, 1);
                }
            }
            "blocked" => {
                // SAFETY: the set may be zeroed, and the calls only read and write it.
                unsafe {
                    let mut all = std::mem::zeroed();
                    libc::sigfillset(&mut all);
                    assert_eq!(
                        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut()),
                        0
                    );
                }
                write_and_write(strategy);
            }
            "default" => {
                // SAFETY: the call sets the default action for a valid signal.
                unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
                write_and_write(strategy);
            }
            "foreign" => {
                extern "C" fn leave(_: libc::c_int) {
                    // SAFETY: the call ends the process at once.
                    unsafe { libc::_exit(77) };
                }
                let leave: extern "C" fn(libc::c_int) = leave;
                // SAFETY: the handler has the right type, and the signal is valid.
                unsafe { libc::signal(libc::SIGSEGV, leave as *const () as usize) };
                write_and_write(strategy);
            }
            "raised" => {
                // SAFETY: modules were opened above, so the loader's handler handles the signal, or
                // no handler does.
                unsafe { libc::raise(libc::SIGSEGV) };
                write_and_write(strategy);
                return;
            }
            other => panic!("{other}"),
        }
        if matches!(&*state, "blocked" | "default" | "foreign") {
            return;
        }
        tenants(&pre, 10, 10);
    }
}

/// What is learned of a memory of 4 TiB, of which nobody writes more than a page, takes little
/// memory.
#[test]
fn long_memories_take_no_memory_of_the_host() {
    const NAME: &str = "reset::long_memories_take_no_memory_of_the_host";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "long");
        }
        return;
    }
    let wat = r#"(module (memory i64 0x4000000)
        (func (export "write") (param i64) (i64.store (local.get 0) (i64.const -1)))
        (func (export "load") (param i64) (result i64) (i64.load (local.get 0))))"#;
    let last = (4_i64 << 40) - 8;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        for at in [0, last, 4096, last, 0, 1 << 40] {
            let mut store = Store::new(&engine, ());
            let limits = StoreLimitsBuilder::new().total_memory_size(usize::MAX);
            store.set_limits(limits.build());
            let instance = match pre.instantiate(&mut store) {
                Ok(instance) => instance,
                // A system that counts what is reserved, or with little address space.
                Err(error @ Error::Memory { .. }) => {
                    eprintln!("skipped {NAME}: {error}");
                    return;
                }
                Err(error) => panic!("{error}"),
            };
            let load = instance.get_typed_func::<i64, i64>(&mut store, "load");
            let load = load.unwrap();
            for at in [0, last, 4096, 1 << 40] {
                assert_eq!(load.call(&mut store, at).unwrap(), 0, "{strategy}");
            }
            let write = instance.get_typed_func::<i64, ()>(&mut store, "write");
            write.unwrap().call(&mut store, at).unwrap();
        }
    }
    // `getrusage` would count what the parent had when it started this process.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    let peak: u64 = peak.unwrap().parse().unwrap();
    assert!(peak < 400 << 10, "{peak} KiB");
}

/// Runs tenants that do not trap in new slots and in reused slots.
fn write_and_write(strategy: Strategy) {
    for pre in [0, 1].map(|_| writer(&Engine::default(), strategy)) {
        for count in [1, 2, 5, 33, 40, 2000, 3] {
            for _ in 0..3 {
                write(&pre, 1, count, 1);
            }
            assert_fresh(&pre);
        }
    }
}

/// Runs random tenants while another thread repeats `work`.
fn while_another(pre: &InstancePre<()>, work: impl Fn() + Sync) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                work();
                std::thread::yield_now();
            }
        });
        tenants(pre, 11, 60);
        done.store(true, Ordering::Relaxed);
    });
}

/// Runs random tenants on a thread for some of whose system calls `answer` returns the results.
fn with_answers(pre: &InstancePre<()>, answer: fn(&Call) -> Option<i64>) {
    Kernel::with(|kernel| {
        let ((), calls) = kernel.answer(answer, || {
            for round in 0..6 {
                tenants(pre, 12 + round, 3);
            }
        });
        assert!(
            calls.iter().any(|call| answer(call).is_some()),
            "{:?}",
            names(&calls)
        );
    });
}

/// Gives the kernel advice about the memory of a tenant.
fn in_memory(pre: &InstancePre<()>, advice: libc::c_int) {
    let mut store = Store::new(pre.module().engine(), ());
    let instance = pre.instantiate(&mut store).unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    let bytes = memory.data_mut(&mut store);
    // SAFETY: the advice changes no byte, and the memory belongs to this test.
    unsafe { libc::madvise(bytes.as_mut_ptr().cast(), bytes.len(), advice) };
}

/// Gives the kernel advice about every writable private mapping. Some mappings do not accept it.
fn advise_mappings(advice: libc::c_int) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).unwrap());
        // SAFETY: the advice changes no byte.
        unsafe { libc::madvise(start as *mut _, end - start, advice) };
    }
}

/// Bytes of the process that are resident.
pub(crate) fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Parked instances take few mappings and not more resident memory than the limits allow, whatever
/// tenants did.
#[test]
fn parked_instances_keep_to_their_bounds() {
    const NAME: &str = "reset::parked_instances_keep_to_their_bounds";
    if case().is_none() {
        return passes_in_child(NAME, "bounds");
    }
    quiet_allocator(32 << 20);
    for strategy in strategies() {
        for (thread, process) in [
            (4 << 20, usize::MAX),
            (usize::MAX, 4 << 20),
            (0, usize::MAX),
        ] {
            let mut config = Config::new();
            config.pool_per_thread(40);
            config.pool_resident_per_thread(thread);
            config.pool_resident_per_process(process);
            let pre = writer(&Engine::new(&config).unwrap(), strategy);
            // All instances, with 1 MiB each, exist at the same time, so that each has its own
            // slot.
            let all_at_once = || {
                let mut stores: Vec<_> = (0..40)
                    .map(|_| Store::new(pre.module().engine(), ()))
                    .collect();
                for store in &mut stores {
                    let instance = pre.instantiate(&mut *store).unwrap();
                    let write =
                        instance.get_typed_func::<(i32, i32, i32), ()>(&mut *store, "write");
                    write.unwrap().call(&mut *store, (0, 256, 1)).unwrap();
                }
            };
            let (mappings_before, before) = (mappings(), resident());
            for _ in 0..5 {
                all_at_once();
            }
            let kept = resident().saturating_sub(before);
            let max = thread.min(process);
            // The limits do not include page tables and pages of the image.
            assert!(kept <= max + (3 << 20), "{strategy}: {kept} of {max}");
            assert!(kept + (1 << 20) >= max, "{strategy}: {kept} of {max}");
            // A slot has mappings before the first image, in it, between the two images, in the
            // second, after it, and without access.
            let mappings = mappings() - mappings_before;
            assert!(mappings <= 40 * 6 + 8, "{strategy}: {mappings}");
            assert_fresh(&pre);
            drop(pre);
        }
    }
}

/// When mappings run out, the instances that other threads have parked are dropped, and everything
/// continues.
#[test]
fn a_shortage_is_met_with_what_is_parked() {
    const NAME: &str = "reset::a_shortage_is_met_with_what_is_parked";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "shortage");
        }
        return;
    }
    for strategy in strategies() {
        let bytes = artifact(WRITER, strategy);
        let engine = Engine::default();
        // SAFETY: our own compiler has just made the artifact.
        let module = unsafe { Module::from_bytes(&engine, &bytes) }.unwrap();
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        let parked = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut stores: Vec<_> = (0..10).map(|_| Store::new(&engine, ())).collect();
                for store in &mut stores {
                    pre.instantiate(store).unwrap();
                }
                drop(stores);
                parked.wait();
                parked.wait();
                // This thread continues without its parked instances.
                write(&pre, 0, 50, 1);
                assert_fresh(&pre);
            });
            parked.wait();
            let mut refused = false;
            Kernel::with(|kernel| {
                let before = mappings();
                let refusal = crate::kernel::Refusal {
                    calls: &[libc::SYS_mmap],
                    from: 0,
                    count: 1,
                };
                let ((), calls) = kernel.refuse(refusal, || write(&pre, 0, 50, 1));
                refused = calls.iter().any(|call| call.refused);
                assert!(mappings() + 20 < before, "{} of {before}", mappings());
                assert_fresh(&pre);
            });
            assert!(refused);
            parked.wait();
        });
    }
}

/// What reuse costs, for those who want to know: `cargo test … -- --ignored --nocapture`. 200
/// samples of half a millisecond each; the median and the least.
#[test]
#[ignore = "measures, and asserts nothing"]
fn cost_of_reuse() {
    for strategy in strategies() {
        for (count, step) in [
            (0, 1),
            (1, 1),
            (8, 1),
            (32, 1),
            (33, 1),
            (64, 1),
            (256, 1),
            (1024, 1),
            (2048, 1),
            (64, 32),
            (200, 10),
        ] {
            let pre = writer(&Engine::default(), strategy);
            for _ in 0..1500 {
                write(&pre, 0, count, step);
            }
            let mut samples: Vec<f64> = (0..200)
                .map(|_| {
                    let (start, mut uses) = (std::time::Instant::now(), 0.0);
                    while start.elapsed().as_micros() < 500 {
                        write(&pre, 0, count, step);
                        uses += 1.0;
                    }
                    start.elapsed().as_secs_f64() * 1e6 / uses
                })
                .collect();
            samples.sort_by(f64::total_cmp);
            eprintln!(
                "{strategy}: {count:4} pages, {step:2} apart: {:8.2} µs (least {:.2})",
                samples[100], samples[0]
            );
        }
    }
}
