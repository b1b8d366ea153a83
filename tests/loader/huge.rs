//! Large memories in huge pages: what is in them, what is left of them, and what they cost.

use precast_artifact::Strategy;
use precast_loader::{
    Config, Engine, Instance, InstancePre, Linker, MemoryType, SharedMemory, Store, Trap,
};
use precast_tests::{faults, mappings, module, strategies};

use crate::child::{case, passes_in_child};
use crate::kernel::{Kernel, Refusal, emulated, names, quiet_allocator};

/// A module whose functions grow its memory, write a value to bytes of it in a distance, and read.
const WAT: &str = r#"(module (memory (export "m") 1 4096)
    (data (i32.const 1000) "somewhere")
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "fill") (param $at i32) (param $end i32) (param $step i32) (param $value i32)
        (loop $l
            (if (i32.lt_u (local.get $at) (local.get $end)) (then
                (i32.store8 (local.get $at) (local.get $value))
                (local.set $at (i32.add (local.get $at) (local.get $step)))
                (br $l)))))
    (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;

const PAGE: usize = 65536;
const MIB: usize = 1 << 20;

fn linked(engine: &Engine, strategy: Strategy) -> InstancePre<()> {
    let module = module(engine, WAT, strategy);
    Linker::new(engine).instantiate_pre(&module).unwrap()
}

/// An instance in a store of its own.
struct Tenant {
    store: Store<()>,
    instance: Instance,
}

impl Tenant {
    fn new(pre: &InstancePre<()>) -> Self {
        let mut store = Store::new(pre.module().engine(), ());
        let instance = pre.instantiate(&mut store).unwrap();
        Self { store, instance }
    }

    /// Grows the memory, and returns whether that worked.
    fn grow(&mut self, pages: usize) -> bool {
        let grow = self
            .instance
            .get_typed_func::<i32, i32>(&mut self.store, "grow");
        grow.unwrap().call(&mut self.store, pages as i32).unwrap() != -1
    }

    fn fill(&mut self, from: usize, to: usize, step: usize, value: u8) {
        let fill = self
            .instance
            .get_typed_func::<(i32, i32, i32, i32), ()>(&mut self.store, "fill");
        let args = (from as i32, to as i32, step as i32, i32::from(value));
        fill.unwrap().call(&mut self.store, args).unwrap();
    }

    fn load(&mut self, at: usize) -> Result<i32, Trap> {
        let load = self
            .instance
            .get_typed_func::<i32, i32>(&mut self.store, "load")
            .unwrap();
        let result = load.call(&mut self.store, at as i32);
        result.map_err(|error| error.trap().unwrap())
    }

    fn bytes(&mut self) -> &[u8] {
        let memory = self.instance.get_memory(&mut self.store, "m").unwrap();
        memory.data(&self.store)
    }

    fn len(&mut self) -> usize {
        self.bytes().len()
    }

    #[track_caller]
    fn assert_fresh(&mut self) {
        let mut expected = vec![0; PAGE];
        expected[1000..1009].copy_from_slice(b"somewhere");
        assert!(self.bytes() == expected, "not as new");
    }

    /// Grows by steps of so many pages to at least `to` bytes. All new bytes are zero, accesses
    /// behind them trap, and each page of 4 KiB gets a value.
    #[track_caller]
    fn grow_by(&mut self, pages: usize, to: usize, value: u8) {
        let first = self.len();
        while self.len() < to {
            let before = self.len();
            assert!(self.grow(pages));
            let len = self.len();
            assert_eq!(len, before + pages * PAGE);
            assert!(
                self.bytes()[before..].iter().all(|byte| *byte == 0),
                "{before}"
            );
            for at in [len, len + 4096, len + PAGE, len + 4 * MIB] {
                assert_eq!(self.load(at), Err(Trap::MemoryOutOfBounds), "{at} of {len}");
            }
            assert_eq!(self.load(len - 1), Ok(0));
            self.fill(before, len, 4096, value);
        }
        let len = self.len();
        let mut filled = self.bytes()[first..len].iter().step_by(4096);
        assert!(filled.all(|byte| *byte == value));
    }
}

/// Whatever the steps are, content and bounds are those of a small memory, for the first tenant and
/// for all others, and after a reset in the store.
#[test]
fn growth_in_steps() {
    for strategy in strategies() {
        let pre = linked(&Engine::default(), strategy);
        for (round, pages) in [1, 7, 31, 32, 33, 100, 500, 1].into_iter().enumerate() {
            let mut tenant = Tenant::new(&pre);
            tenant.assert_fresh();
            tenant.grow_by(pages, 20 * MIB, round as u8 + 1);
            tenant.instance.reset(&mut tenant.store).unwrap();
            tenant.assert_fresh();
            tenant.grow_by(pages + 1, 14 * MIB, round as u8 + 2);
        }
    }
}

/// A snapshot of a large memory has all of its bytes, and instances that start with it can grow.
#[test]
fn snapshots() {
    for strategy in strategies() {
        let pre = linked(&Engine::default(), strategy);
        let mut first = Tenant::new(&pre);
        first.grow_by(3, 20 * MIB, 77);
        let snapshot = first.instance.snapshot(&mut first.store).unwrap();
        let ready = InstancePre::from_snapshot(&pre, &snapshot).unwrap();
        for pages in [1, 100] {
            let mut tenant = Tenant::new(&ready);
            assert!(tenant.bytes() == first.bytes(), "{strategy}");
            tenant.grow_by(pages, 30 * MIB, 5);
        }
    }
}

/// A memory of several threads has huge pages too.
#[test]
fn shared_memories() {
    const NAME: &str = "huge::shared_memories";
    // The huge pages of a memory. The system may divide some again as soon as they are used.
    let found = || {
        let ty = MemoryType::shared(1, 1024);
        let memory = SharedMemory::new(&Engine::default(), ty).unwrap();
        for pages in [1, 126, 1, 1, 500, 33] {
            let before = memory.data_size();
            memory.grow(pages).unwrap();
            let mut bytes = vec![1; memory.data_size() - before];
            memory.read(before, &mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(7);
            memory.write(before, &bytes).unwrap();
            assert!(memory.write(memory.data_size(), &[1]).is_err());
        }
        let mut bytes = vec![0; memory.data_size()];
        memory.read(0, &mut bytes).unwrap();
        assert!(bytes[PAGE..].iter().all(|byte| *byte == 7));
        let start = memory.data().as_ptr() as usize;
        huge_bytes(start, start + memory.data_size())
    };
    let found: Vec<_> = (0..5).map(|_| found() / MIB).collect();
    let skipped = refusal().or_else(|| {
        let has_none = !has_huge_pages(40 * MIB);
        has_none.then_some("the system has no huge pages left")
    });
    match skipped {
        Some(why) => eprintln!("skipped a part of {NAME}: {why}"),
        None => assert!(found.iter().any(|mib| *mib >= 26), "{found:?}"),
    }
}

/// Nothing of a large memory stays behind in a parked instance: neither bytes, nor resident memory,
/// nor mappings.
#[test]
fn nothing_stays() {
    const NAME: &str = "huge::nothing_stays";
    if case().is_none() {
        return passes_in_child(NAME, "nothing");
    }
    quiet_allocator(32 << 20);
    const KEPT: usize = 12 * MIB;
    for strategy in strategies() {
        let mut config = Config::new();
        config.pool_resident_per_thread(KEPT);
        let pre = linked(&Engine::new(&config).unwrap(), strategy);
        let tenant = |pages, to, value| {
            let mut tenant = Tenant::new(&pre);
            tenant.assert_fresh();
            tenant.grow_by(pages, to, value);
        };
        tenant(1, MIB, 1);
        let (before, mappings_before) = (resident(), mappings());
        let is_emulated = emulated(NAME);
        for pages in [1, 50, 1024] {
            // Tenants that have more than is kept change how the next one's memory grows.
            for (round, mib) in [40, 40, 3, 10, 10, 10, 20, 9, 40, 3].iter().enumerate() {
                tenant(pages, mib * MIB + round * 3 * PAGE, round as u8 + 1);
                let kept = resident().saturating_sub(before);
                // Page tables are kept too.
                let what = format!("{strategy}: by {pages} pages, round {round}");
                assert!(kept < KEPT + 2 * MIB, "{what}: {kept} bytes");
                let more = mappings().saturating_sub(mappings_before);
                assert!(is_emulated || more <= 3, "{what}: {more} mappings");
            }
        }
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// The bytes of huge pages in a range of addresses, by what the system says.
fn huge_bytes(start: usize, end: usize) -> usize {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut inside, mut total) = (false, 0);
    for line in smaps.lines() {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let range = range.and_then(|(from, to)| {
            let number = |hex| usize::from_str_radix(hex, 16).ok();
            number(from).zip(number(to))
        });
        if let Some((from, to)) = range {
            inside = from >= start && to <= end;
        } else if let Some(size) = line.strip_prefix("AnonHugePages:").filter(|_| inside) {
            total += size
                .trim()
                .trim_end_matches(" kB")
                .parse::<usize>()
                .unwrap()
                << 10;
        }
    }
    total
}

/// Why this system gives no huge pages, if it does not.
fn refusal() -> Option<&'static str> {
    let folder = "/sys/kernel/mm/transparent_hugepage";
    let read = |name| std::fs::read_to_string(format!("{folder}/{name}")).unwrap_or_default();
    let size = read("hpage_pmd_size");
    if std::env::var_os("PRECAST_RUNNER").is_some() {
        Some("an emulator's pages are not the program's")
    } else if size.trim() != "2097152" {
        Some("the system has no huge pages of 2 MiB")
    } else if read("enabled").contains("[never]") {
        Some("the system's huge pages are turned off")
    } else {
        None
    }
}

/// Whether the system has as many huge pages left as `bytes` need: memory may be in pieces, or used
/// up by others.
fn has_huge_pages(bytes: usize) -> bool {
    let align = 2 * MIB;
    let len = bytes + align;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the mapping is new, and nobody else uses it.
    unsafe {
        let base = libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0);
        assert_ne!(base, libc::MAP_FAILED);
        libc::madvise(base, len, libc::MADV_HUGEPAGE);
        let start = base.addr().next_multiple_of(align);
        let bytes_of_it = base.cast::<u8>().with_addr(start);
        for at in (0..bytes).step_by(4096) {
            bytes_of_it.add(at).write_volatile(1);
        }
        let found = huge_bytes(base.addr(), base.addr() + len);
        libc::munmap(base, len);
        found >= bytes
    }
}

/// Large memories really are in huge pages, and take a tenth of the page faults; the first 8 MiB
/// are not, nor is a memory that has no more.
#[test]
fn huge_pages_are_used() {
    const NAME: &str = "huge::huge_pages_are_used";
    if case().is_none() {
        return passes_in_child(NAME, "used");
    }
    if let Some(why) = refusal() {
        eprintln!("skipped {NAME}: {why}");
        return;
    }
    for strategy in strategies() {
        if !has_huge_pages(96 * MIB) {
            eprintln!("skipped {NAME}: the system has no huge pages left");
            return;
        }
        let pre = linked(&Engine::default(), strategy);
        let mut tenant = Tenant::new(&pre);
        assert!(tenant.grow(8 * MIB / PAGE - 1));
        let (start, before) = (tenant.bytes().as_ptr() as usize, faults());
        tenant.fill(0, 8 * MIB, 4096, 1);
        assert_eq!(huge_bytes(start, start + 8 * MIB), 0, "{strategy}");
        assert!(faults() - before > 1500);
        assert!(tenant.grow(56 * MIB / PAGE));
        let (start, before) = (tenant.bytes().as_ptr() as usize, faults());
        tenant.fill(8 * MIB, 64 * MIB, 4096, 1);
        let taken = faults() - before;
        let found = huge_bytes(start, start + 64 * MIB);
        assert!(found >= 52 * MIB, "{strategy}: {} MiB", found / MIB);
        assert!(taken < 1400, "{strategy}: {taken} faults");

        // Growth in small steps takes as few faults.
        let mut tenant = Tenant::new(&pre);
        assert!(tenant.grow(12 * MIB / PAGE - 1));
        tenant.fill(0, 12 * MIB, 4096, 1);
        let before = faults();
        for page in 12 * MIB / PAGE..28 * MIB / PAGE {
            assert!(tenant.grow(1));
            tenant.fill(page * PAGE, (page + 1) * PAGE, 4096, 1);
        }
        let taken = faults() - before;
        assert!(
            strategy == Strategy::Checked || taken < 600,
            "{strategy}: {taken} faults"
        );
    }
}

/// A memory makes the system calls of growth and no others until it has 8 MiB, then one more, and
/// later one more for each 2 MiB.
#[test]
fn system_calls_of_growth() {
    const NAME: &str = "huge::system_calls_of_growth";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "calls");
        }
        return;
    }
    if let Some(why) = refusal() {
        eprintln!("skipped {NAME}: {why}");
        return;
    }
    quiet_allocator(32 << 20);
    let engine = Engine::new(Config::new().pool_per_thread(0)).unwrap();
    let pre = linked(&engine, Strategy::Guarded);
    // The process learns once what the system offers.
    assert!(Tenant::new(&pre).grow(200));
    let mut tenant = Tenant::new(&pre);
    Kernel::with(|kernel| {
        let mut grow = |pages| {
            let (grown, calls) = kernel.watch(|| tenant.grow(pages));
            assert!(grown);
            names(&calls)
        };
        // What a thread learns when it first runs code.
        grow(0);
        assert_eq!(grow(126), ["mprotect"]);
        assert_eq!(grow(1), ["mprotect"]);
        assert_eq!(grow(1), ["madvise", "mprotect", "mprotect"]);
        for _ in 0..31 {
            assert_eq!(grow(1), ["mprotect"]);
        }
        assert_eq!(grow(1), ["mprotect", "mprotect"]);
    });
}

/// When the system refuses something, growth works or does not, and content and length are right.
#[test]
fn refusals() {
    const NAME: &str = "huge::refusals";
    if case().is_none() {
        if !emulated(NAME) {
            passes_in_child(NAME, "refusals");
        }
        return;
    }
    quiet_allocator(32 << 20);
    for strategy in strategies() {
        // Memories that are longer than this are in huge pages although they are reused.
        let mut config = Config::new();
        config.pool_resident_per_thread(4 * MIB);
        let pre = linked(&Engine::new(&config).unwrap(), strategy);
        assert!(Tenant::new(&pre).grow(200));
        Kernel::with(|kernel| {
            for (count, from) in (0..8).flat_map(|from| [(1, from), (usize::MAX, from)]) {
                let mut tenant = Tenant::new(&pre);
                tenant.grow_by(50, 6 * MIB, 9);
                let calls = &[
                    libc::SYS_mprotect,
                    libc::SYS_madvise,
                    libc::SYS_mmap,
                    libc::SYS_mremap,
                ];
                let refusal = Refusal { calls, from, count };
                let (grown, _) = kernel.refuse(refusal, || {
                    let grown = [40, 1, 1, 40].map(|pages| usize::from(tenant.grow(pages)) * pages);
                    grown.iter().sum::<usize>()
                });
                let len = (101 + grown) * PAGE;
                assert_eq!(tenant.len(), len, "{strategy}: {from}");
                let filled = tenant.bytes()[PAGE..].iter().step_by(4096);
                assert_eq!(
                    filled.filter(|byte| **byte == 9).count(),
                    100 * 16,
                    "{from}"
                );
                tenant.grow_by(1, len + 3 * MIB, 8);
                kernel.refuse(refusal, || drop(tenant));
                Tenant::new(&pre).assert_fresh();
            }
        });
    }
}

/// What large memories cost, fresh and reused, for those who want to know.
#[test]
#[ignore = "measures, and asserts nothing"]
fn cost_of_large_memories() {
    for strategy in strategies() {
        for (what, mib, pages, step) in [
            ("small", 4, 63, 4096),
            ("dense, at once", 32, 512, 4096),
            ("dense, in steps", 32, 1, 4096),
            ("dense, at once", 128, 2048, 4096),
            ("dense, in steps", 128, 1, 4096),
            ("sparse, at once", 32, 512, MIB),
            ("sparse, in steps", 32, 1, MIB),
        ] {
            for pool in [0, 1] {
                let engine = Engine::new(Config::new().pool_per_thread(pool)).unwrap();
                let pre = linked(&engine, strategy);
                let mut times: Vec<_> = (0..60)
                    .map(|_| {
                        let start = std::time::Instant::now();
                        let mut tenant = Tenant::new(&pre);
                        for _ in 0..mib * MIB / PAGE / pages {
                            assert!(tenant.grow(pages));
                        }
                        let len = tenant.len();
                        tenant.fill(PAGE, len, step, 1);
                        drop(tenant);
                        start.elapsed().as_secs_f64() * 1e6
                    })
                    .collect();
                // The first tenants teach the pool.
                let times = &mut times[20..];
                times.sort_by(f64::total_cmp);
                let kind = if pool == 0 { "fresh" } else { "reused" };
                let (median, least) = (times[20], times[0]);
                eprintln!(
                    "{strategy}: {what}, {mib} MiB, {kind}: {median:.1} µs (least {least:.1})"
                );
            }
        }
    }
}
