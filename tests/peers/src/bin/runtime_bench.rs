//! Benchmark of opening, linking, instantiating, calling and dropping: `runtime-bench [--rounds N]
//! [--settings] [FILTER]`.
//!
//! In one run, precast, Wasmtime and, with the feature `wasmer`, Wasmer's headless engine take
//! turns on artifacts that their own compilers have made from the same modules. The table shows the
//! minimum, median and maximum of the rounds in nanoseconds, and the ratios of precast's median to
//! those of the others, with the ratios of the minima in parentheses. For Wasmtime it shows the
//! best of its settings, which is named at the end of the row. `--settings` prints all of them.
//! FILTER is a part of the names of rows.
//!
//! `process-bench` compares whole processes and sizes of binaries, and `memory-bench` compares
//! memory.

use std::cell::OnceCell;
use std::error::Error;
use std::hint::{black_box, spin_loop};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use precast_peers::peers::{Peer, Precast, Wasmer, Wasmtime, settings};
use precast_peers::stats::Samples;
use precast_peers::subjects::{self, Subject};
use precast_peers::table::{Row, Table};
use precast_peers::{Result, pin_to};

const COLUMNS: [&str; 4] = ["precast", "wasmtime", "wasmer", "mmap + munmap"];
const PRECAST: usize = 0;
const WASMTIME: usize = 1;
const WASMER: usize = 2;
const SYSTEM: usize = 3;

fn main() -> Result<()> {
    let mut bench = Bench::new(Table::of_args(&COLUMNS)?)?;
    bench.table.head();
    for subject in subjects::programs() {
        bench.program(&subject)?;
    }
    bench.calls(&subjects::calls())?;
    for (subject, bytes) in subjects::memories() {
        bench.memory(&subject, bytes)?;
    }
    for (dimension, subjects) in subjects::sweeps() {
        bench.sweep(dimension, &subjects)?;
    }
    Ok(())
}

/// The runtimes, and the table that is being printed.
struct Bench {
    table: Table,
    pooled: Precast,
    fresh: Precast,
    /// Wasmtime with its settings, first the one without a pool.
    wasmtimes: Vec<Wasmtime>,
    wasmer: Wasmer,
}

/// A module that is opened and linked in one runtime.
struct Side<'a, P: Peer> {
    peer: &'a P,
    artifact: PathBuf,
    module: P::Module,
    linker: P::Linker,
    linked: P::Linked,
    /// See [`Side::count_for_a_millisecond`]: without and with a call.
    counts: [OnceCell<u32>; 2],
}

impl<'a, P: Peer> Side<'a, P> {
    fn new(peer: &'a P, subject: &Subject) -> Result<Self> {
        let artifact = subject.artifact(P::EXTENSION)?;
        let module = peer.open(&subject.other_name(P::EXTENSION)?)?;
        let linker = peer.linker(&module)?;
        let linked = peer.link(&linker, &module)?;
        Ok(Self {
            peer,
            artifact,
            module,
            linker,
            linked,
            counts: Default::default(),
        })
    }

    /// Opens and links the module. `None` if `prepare` did not make the artifact.
    fn if_made(peer: &'a P, subject: &Subject) -> Result<Option<Self>> {
        if subject.file(P::EXTENSION).exists() {
            return Self::new(peer, subject).map(Some);
        }
        Ok(None)
    }

    fn opens(&self, n: u32) -> Result<Duration> {
        per(n, || {
            black_box(self.peer.open(&self.artifact)?);
            Ok(())
        })
    }

    fn links(&self, n: u32) -> Result<Duration> {
        per(n, || {
            black_box(self.peer.link(&self.linker, &self.module)?);
            Ok(())
        })
    }

    /// Opens the file, links, instantiates, and drops everything.
    fn starts(&self, n: u32) -> Result<Duration> {
        per(n, || {
            let module = self.peer.open(&self.artifact)?;
            let linked = self.peer.link(&self.linker, &module)?;
            black_box(self.peer.instantiate(&linked)?);
            Ok(())
        })
    }

    fn instances(&self, n: u32) -> Result<Duration> {
        per(n, || {
            black_box(self.peer.instantiate(&self.linked)?);
            Ok(())
        })
    }

    fn uses(&self, n: u32) -> Result<Duration> {
        per(n, || {
            let mut live = self.peer.instantiate(&self.linked)?;
            let f = self.peer.func(&mut live, "f")?;
            black_box(self.peer.call(&mut live, &f, black_box(7))?);
            Ok(())
        })
    }

    /// Makes and drops eight instances at a time. Only the time of one of the phases counts.
    fn phase(&self, phase: Phase, n: u32) -> Result<Duration> {
        const AT_ONCE: u32 = 8;
        let mut time = Duration::ZERO;
        for _ in 0..n.div_ceil(AT_ONCE) {
            let mut instances = Vec::with_capacity(AT_ONCE as usize);
            for _ in 0..AT_ONCE {
                instances.push(self.peer.instantiate(&self.linked)?);
            }
            let start = Instant::now();
            for live in &mut instances {
                let f = self.peer.func(live, "f")?;
                black_box(self.peer.call(live, &f, black_box(7))?);
            }
            let called = Instant::now();
            drop(instances);
            time += match phase {
                Phase::FirstCall => called - start,
                Phase::Drop => called.elapsed(),
            };
        }
        Ok(time * n / n.next_multiple_of(AT_ONCE))
    }

    /// Two threads make and drop instances, which they may call, for about a millisecond each. The
    /// result is the time that both together take for `n`, so that twice the rate is half the time.
    fn on_two_threads(&self, n: u32, calls: bool) -> Result<Duration> {
        let (peer, linked, ready) = (self.peer, &self.linked, AtomicU32::new(0));
        let count = self.count_for_a_millisecond(calls)?;
        let instance = || {
            let one = || -> Result<P::Live> {
                let mut live = peer.instantiate(linked)?;
                if calls {
                    let f = peer.func(&mut live, "f")?;
                    black_box(peer.call(&mut live, &f, black_box(7))?);
                }
                Ok(live)
            };
            drop(black_box(one().map_err(|error| error.to_string())?));
            Ok::<_, String>(())
        };
        let run = |processor| {
            pin_to(processor);
            // Fills the pool of the thread before the clock starts.
            let first = instance();
            // The threads spin, so that both are on a processor when the clock starts, even on a
            // busy machine.
            ready.fetch_add(1, Ordering::AcqRel);
            while ready.load(Ordering::Acquire) < 2 {
                spin_loop();
            }
            first?;
            let start = Instant::now();
            (0..count).try_for_each(|_| instance())?;
            Ok::<_, String>((start, Instant::now()))
        };
        let (a, b) = std::thread::scope(|scope| {
            let (a, b) = (scope.spawn(|| run(0)), scope.spawn(|| run(1)));
            let panicked = "a thread panicked";
            Ok::<_, String>((
                a.join().map_err(|_| panicked)??,
                b.join().map_err(|_| panicked)??,
            ))
        })?;
        let time = a.1.max(b.1) - a.0.min(b.0);
        Ok(time.mul_f64(f64::from(n) / f64::from(2 * count)))
    }

    /// How many instances one thread makes in a millisecond. With two threads, disturbances would
    /// be taken for work.
    fn count_for_a_millisecond(&self, calls: bool) -> Result<u32> {
        let known = &self.counts[usize::from(calls)];
        if let Some(&count) = known.get() {
            return Ok(count);
        }
        let mut shortest = Duration::MAX;
        for _ in 0..20 {
            let time = match calls {
                false => self.instances(100)?,
                true => self.uses(100)?,
            };
            shortest = shortest.min(time);
        }
        let count = Duration::from_millis(100).div_duration_f64(shortest);
        Ok(*known.get_or_init(|| count.ceil() as u32))
    }

    /// Calls an export with the number of repetitions as the argument. The loop is in the guest.
    fn looping(&self, export: &str, n: u32) -> Result<Duration> {
        let mut live = self.peer.instantiate(&self.linked)?;
        let f = self.peer.func(&mut live, export)?;
        let start = Instant::now();
        black_box(self.peer.call(&mut live, &f, n.cast_signed())?);
        Ok(start.elapsed())
    }

    fn calling(&self, n: u32) -> Result<Duration> {
        let mut live = self.peer.instantiate(&self.linked)?;
        let f = self.peer.func(&mut live, "f")?;
        per(n, || {
            black_box(self.peer.call(&mut live, &f, black_box(7))?);
            Ok(())
        })
    }
}

#[derive(Clone, Copy)]
enum Phase {
    FirstCall,
    Drop,
}

fn per(n: u32, mut f: impl FnMut() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..n {
        f()?;
    }
    Ok(start.elapsed())
}

/// A row with precast and some settings of Wasmtime, which the same code measures.
macro_rules! row {
    ($name:expr, $ours:expr, $theirs:expr, |$side:ident, $n:ident| $measure:expr) => {{
        let $side = $ours;
        let mut row = Row::new($name).with(PRECAST, "", move |$n| $measure);
        for $side in $theirs {
            row = row.with(WASMTIME, $side.peer.setting.name, move |$n| $measure);
        }
        row
    }};
}

impl Bench {
    fn new(table: Table) -> std::result::Result<Self, Box<dyn Error>> {
        Ok(Self {
            table,
            pooled: Precast::pooled(),
            fresh: Precast::fresh(),
            wasmtimes: settings()
                .into_iter()
                .map(Wasmtime::new)
                .collect::<Result<_>>()?,
            wasmer: Wasmer::default(),
        })
    }

    fn program(&mut self, subject: &Subject) -> Result<()> {
        let name = &subject.name;
        if !subject.is_there() {
            println!("without {name}: tests/programs/fetch.sh was not run for it");
            return Ok(());
        }
        if !self.table.wants_any_ending(&format!(", {name}")) {
            return Ok(());
        }
        let ours = Side::new(&self.pooled, subject)?;
        let ours_fresh = Side::new(&self.fresh, subject)?;
        let theirs = sides(&self.wasmtimes, subject)?;
        let wasmer = Side::if_made(&self.wasmer, subject)?;
        let (fresh, pooled) = theirs.split_at(1);
        let table = &mut self.table;

        table.measure(
            row!(
                format!("open + drop, {name}"),
                &ours,
                &theirs[..2],
                |s, n| s.opens(n)
            )
            .maybe(wasmer.as_ref().map(|side| (WASMER, move |n| side.opens(n)))),
        )?;
        table.measure(row!(
            format!("link, {name}"),
            &ours,
            &theirs[..2],
            |s, n| s.links(n)
        ))?;
        table.measure(
            row!(
                format!("open + link + fresh instance, {name}"),
                &ours_fresh,
                fresh,
                |s, n| { s.starts(n) }
            )
            .maybe(
                wasmer
                    .as_ref()
                    .map(|side| (WASMER, move |n| side.starts(n))),
            ),
        )?;
        table.measure(
            row!(
                format!("fresh instance + drop, {name}"),
                &ours_fresh,
                fresh,
                |s, n| { s.instances(n) }
            )
            .maybe(
                wasmer
                    .as_ref()
                    .map(|side| (WASMER, move |n| side.instances(n))),
            ),
        )?;
        let one = format!("pooled instance + drop, {name}");
        let two = format!("the same on 2 threads, {name}");
        table.measure(row!(&*one, &ours, pooled, |s, n| s.instances(n)))?;
        table.measure(
            row!(&*two, &ours, pooled, |s, n| s.on_two_threads(n, false)).floor(Duration::ZERO),
        )?;
        print_rates(table, &one, &two);
        if name.starts_with("tiny") {
            let call = format!("pooled instance + call + drop, {name}");
            table.measure(row!(call, &ours, pooled, |s, n| s.uses(n)))?;
            let first = format!("  first call, with lookup, {name}");
            table.measure(row!(first, &ours, pooled, |s, n| s.phase(Phase::FirstCall, n)))?;
            let drop = format!("  drop after it, {name}");
            table.measure(row!(drop, &ours, pooled, |s, n| s.phase(Phase::Drop, n)))?;
        }
        Ok(())
    }

    fn calls(&mut self, subject: &Subject) -> Result<()> {
        let ours = Side::new(&self.pooled, subject)?;
        let theirs = sides(&self.wasmtimes, subject)?;
        let wasmer = Side::if_made(&self.wasmer, subject)?;
        let table = &mut self.table;
        table.measure(
            row!("call host to wasm", &ours, &theirs[..2], |s, n| s
                .calling(n))
            .maybe(
                wasmer
                    .as_ref()
                    .map(|side| (WASMER, move |n| side.calling(n))),
            ),
        )?;
        for (name, export) in [
            ("call wasm to host", "host"),
            ("call_indirect, frozen table", "indirect"),
        ] {
            table.measure(
                row!(name, &ours, &theirs[..2], |s, n| s.looping(export, n)).maybe(
                    wasmer
                        .as_ref()
                        .map(|side| (WASMER, move |n| side.looping(export, n))),
                ),
            )?;
        }
        Ok(())
    }

    /// Fresh instances with a memory, beside what the system takes for as much memory.
    fn memory(&mut self, subject: &Subject, bytes: usize) -> Result<()> {
        let name = format!("fresh instance + drop, {}", subject.name);
        if !self.table.wants(&name) {
            return Ok(());
        }
        let ours = Side::new(&self.fresh, subject)?;
        let theirs = sides(&self.wasmtimes[..1], subject)?;
        let row = row!(name, &ours, &theirs, |s, n| s.instances(n));
        self.table
            .measure(row.with(SYSTEM, "", move |n| per(n, || map_and_unmap(bytes))))
    }

    fn sweep(&mut self, dimension: &str, subjects: &[Subject]) -> Result<()> {
        let kinds = [
            "open + drop",
            "pooled instance + drop",
            "pooled instance + call + drop",
        ];
        for subject in subjects {
            let names = kinds.map(|kind| format!("{kind}, {}", subject.name));
            if !names.iter().any(|name| self.table.wants(name)) {
                continue;
            }
            let ours = Side::new(&self.pooled, subject)?;
            let theirs = sides(&self.wasmtimes, subject)?;
            let pooled = &theirs[1..];
            let table = &mut self.table;
            table.measure(row!(&*names[0], &ours, &theirs[..2], |s, n| s.opens(n)))?;
            table.measure(row!(&*names[1], &ours, pooled, |s, n| s.instances(n)))?;
            table.measure(row!(&*names[2], &ours, pooled, |s, n| s.uses(n)))?;
            if subject.name == "writes-256" {
                let two = format!("the same on 2 threads, {}", subject.name);
                let row = row!(&*two, &ours, pooled, |s, n| s.on_two_threads(n, true));
                table.measure(row.floor(Duration::ZERO))?;
                print_rates(table, &names[2], &two);
            }
        }
        for kind in kinds {
            let of = |column| {
                let name = |subject: &Subject| format!("{kind}, {}", subject.name);
                let samples = subjects
                    .iter()
                    .map(|s| self.table.samples(&name(s), column));
                let samples: Option<Vec<&Samples>> = samples.collect();
                Some(growth(&samples?))
            };
            if let (Some(ours), Some(theirs)) = (of(PRECAST), of(WASMTIME)) {
                println!("    growth with {dimension}, {kind}: precast {ours}, wasmtime {theirs}");
            }
        }
        Ok(())
    }
}

/// Prints how the rate on two threads compares with that on one, of two rows of the table.
fn print_rates(table: &Table, one: &str, two: &str) {
    for (column, runtime) in COLUMNS.iter().enumerate().take(2) {
        let samples = (table.samples(one, column), table.samples(two, column));
        if let (Some(one), Some(two)) = samples {
            println!(
                "    rate on 2 threads / on 1: {runtime} {:.2} ({:.2})",
                one.median() / two.median(),
                one.min() / two.min()
            );
        }
    }
}

/// Maps as many bytes of zeros as a program gets with `calloc`, and unmaps them untouched.
fn map_and_unmap(bytes: usize) -> Result<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address that the system chooses touches no other.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    // SAFETY: the mapping was just made, and nobody else knows it.
    if at == libc::MAP_FAILED || unsafe { libc::munmap(at, bytes) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}

/// The ratio of the largest to the smallest median, and of the largest to the smallest minimum.
fn growth(samples: &[&Samples]) -> String {
    let of = |what: fn(&Samples) -> f64| {
        let values = samples.iter().map(|samples| what(samples));
        values.clone().fold(f64::NAN, f64::max) / values.fold(f64::NAN, f64::min)
    };
    format!("{:.2} ({:.2})", of(Samples::median), of(Samples::min))
}

fn sides<'a>(peers: &'a [Wasmtime], subject: &Subject) -> Result<Vec<Side<'a, Wasmtime>>> {
    peers.iter().map(|peer| Side::new(peer, subject)).collect()
}
