//! Benchmark of what features cost: `feature-bench [--rounds N] [--settings] [FILTER]`.
//!
//! precast and Wasmtime take turns on the same module, which both compile for this processor. The
//! loops are in the guest, so that a row shows the time of one operation in nanoseconds: minimum,
//! median and maximum of the rounds, and the ratio of the medians. Wasmtime has one setting for
//! each of its garbage collectors, because its exceptions are objects of the collector. Each sample
//! has a new store.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use precast_compiler::{Compiler, Settings};
use precast_peers::table::{Row, Table};
use precast_peers::{Result, pin_to};
use wasmtime::Collector;

const PRECAST: usize = 0;
const WASMTIME: usize = 1;

/// The rows, and the export that each measures.
const LOOPS: &[(&str, &str)] = &[
    ("call in a try_table, nothing thrown", "returns"),
    ("throw + catch across 1 frame", "throw-1"),
    ("throw + catch across 10 frames", "throw-10"),
    ("throw + catch_ref across 1 frame", "throw-ref"),
    ("call_ref of a local that is not null", "call-ref"),
    ("call_ref of a global that may be null", "call-ref-null"),
    ("i32.atomic.rmw.add", "add"),
    ("i64.atomic.rmw.cmpxchg", "exchange"),
    ("memory.atomic.notify, nobody waits", "notify"),
];

/// Every export has the number of repetitions as its parameter.
const MODULE: &str = r#"(module
    (memory (import "h" "memory") 1 1 shared)
    (tag $e (param i32))
    ;; The handlers that guard nothing keep precast from compiling these functions into their callers.
    (func $raise (param $frames i32) (result i32)
        (block $out (try_table (catch_all $out)))
        (if (i32.eqz (local.get $frames)) (then (throw $e (i32.const 1))))
        (i32.add (call $raise (i32.sub (local.get $frames) (i32.const 1))) (i32.const 1)))
    (func $down (param $frames i32) (result i32)
        (block $out (try_table (catch_all $out)))
        (if (i32.eqz (local.get $frames)) (then (return (i32.const 1))))
        (i32.add (call $down (i32.sub (local.get $frames) (i32.const 1))) (i32.const 1)))

    (func $throw (param $n i32) (param $frames i32) (result i32) (local $sum i32)
        (loop $again
            (local.set $sum (i32.add (local.get $sum)
                (block $caught (result i32)
                    (try_table (result i32) (catch $e $caught) (call $raise (local.get $frames))))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "throw-1") (param i32) (result i32) (call $throw (local.get 0) (i32.const 0)))
    (func (export "throw-10") (param i32) (result i32) (call $throw (local.get 0) (i32.const 9)))
    (func (export "throw-ref") (param $n i32) (result i32) (local $sum i32)
        (loop $again
            (block $caught (result i32 exnref)
                (br $again (local.set $sum (try_table (result i32) (catch_ref $e $caught) (call $raise (i32.const 0))))))
            (drop)
            (local.set $sum (i32.add (local.get $sum)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "returns") (param $n i32) (result i32) (local $sum i32)
        (loop $again
            (local.set $sum (i32.add (local.get $sum)
                (block $caught (result i32)
                    (try_table (result i32) (catch $e $caught) (call $down (i32.const 0))))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))

    (type $step (func (param i32) (result i32)))
    (func $step (export "step") (type $step)
        (block $out (try_table (catch_all $out)))
        (i32.add (local.get 0) (i32.const 3)))
    (global $callee (export "callee") (mut (ref null $step)) (ref.func $step))
    (func (export "call-ref") (param $n i32) (result i32) (local $sum i32) (local $f (ref $step))
        (local.set $f (ref.as_non_null (global.get $callee)))
        (loop $again
            (local.set $sum (call_ref $step (local.get $sum) (local.get $f)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "call-ref-null") (param $n i32) (result i32) (local $sum i32)
        (loop $again
            (local.set $sum (call_ref $step (local.get $sum) (global.get $callee)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))

    (func (export "add") (param $n i32) (result i32)
        (loop $again
            (drop (i32.atomic.rmw.add (i32.const 64) (local.get $n)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.load (i32.const 64)))
    (func (export "exchange") (param $n i32) (result i32) (local $old i64)
        (loop $again
            (local.set $old (i64.atomic.rmw.cmpxchg (i32.const 64) (local.get $old)
                (i64.extend_i32_u (local.get $n))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.load (i32.const 64)))
    (func (export "notify") (param $n i32) (result i32) (local $woken i32)
        (loop $again
            (local.set $woken (i32.add (local.get $woken)
                (memory.atomic.notify (i32.const 64) (i32.const 1))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $woken))

    ;; Two threads take turns: the word at 0 says whose turn it is.
    (func $turns (param $n i32) (param $me i32) (param $other i32) (result i32)
        (loop $again
            (block $mine
                (loop $wait
                    (br_if $mine (i32.eq (i32.atomic.load (i32.const 0)) (local.get $me)))
                    (drop (memory.atomic.wait32 (i32.const 0) (local.get $other) (i64.const -1)))
                    (br $wait)))
            (i32.atomic.store (i32.const 0) (local.get $other))
            (drop (memory.atomic.notify (i32.const 0) (i32.const 1)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.const 0))
    (func (export "ping") (param i32) (result i32)
        (call $turns (local.get 0) (i32.const 0) (i32.const 1)))
    (func (export "pong") (param i32) (result i32)
        (call $turns (local.get 0) (i32.const 1) (i32.const 0))))"#;

fn main() -> Result<()> {
    let mut table = Table::of_args(&["precast", "wasmtime"])?;
    let wasm = wat::parse_str(MODULE)?;
    let ours = Ours::new(&wasm)?;
    let collectors = [
        (
            "deferred reference counting",
            Collector::DeferredReferenceCounting,
        ),
        ("copying", Collector::Copying),
        ("no collection", Collector::Null),
    ];
    let mut theirs = Vec::new();
    for (name, collector) in collectors {
        theirs.push((name, Theirs::new(&wasm, collector)?));
    }
    table.head();
    for &(name, export) in LOOPS {
        let mut row = Row::new(name).with(PRECAST, "", |n| ours.repeats(export, n));
        for (setting, side) in &theirs {
            row = row.with(WASMTIME, setting, move |n| side.repeats(export, n));
        }
        table.measure(row)?;
    }
    let both = |side: &dyn Side, n| two_threads(side, n);
    let mut row =
        Row::new("wait + notify, there and back, 2 threads").with(PRECAST, "", |n| both(&ours, n));
    for (setting, side) in &theirs[..1] {
        row = row.with(WASMTIME, setting, move |n| both(side, n));
    }
    table.measure(row)
}

/// One of the engines with the compiled module.
trait Side: Sync {
    /// Makes a store with an instance, whose memory two threads can share, and returns the call of
    /// an export with an argument.
    fn instance(
        &self,
        export: &str,
        shared: bool,
    ) -> Result<Box<dyn FnMut(i32) -> Result<i32> + '_>>;

    /// Gives the turn to the thread of `ping`.
    fn start_turns(&self) -> Result<()>;

    /// Calls an export, which repeats an operation.
    fn repeats(&self, export: &str, n: u32) -> Result<Duration> {
        let mut call = self.instance(export, false)?;
        let start = Instant::now();
        black_box(call(n.cast_signed())?);
        Ok(start.elapsed())
    }
}

/// Two threads, each on a processor of its own, wake each other `n` times.
fn two_threads(side: &dyn Side, n: u32) -> Result<Duration> {
    side.start_turns()?;
    let ready = AtomicU32::new(0);
    let run = |processor, export| {
        pin_to(processor);
        let mut call = side
            .instance(export, true)
            .map_err(|error| error.to_string())?;
        ready.fetch_add(1, Ordering::AcqRel);
        while ready.load(Ordering::Acquire) < 2 {
            spin_loop();
        }
        let start = Instant::now();
        call(n.cast_signed()).map_err(|error| error.to_string())?;
        Ok::<_, String>((start, Instant::now()))
    };
    let (a, b) = std::thread::scope(|scope| {
        let (a, b) = (
            scope.spawn(|| run(0, "ping")),
            scope.spawn(|| run(1, "pong")),
        );
        let panicked = "a thread panicked";
        Ok::<_, String>((
            a.join().map_err(|_| panicked)??,
            b.join().map_err(|_| panicked)??,
        ))
    })?;
    Ok(a.1.max(b.1) - a.0.min(b.0))
}

struct Ours {
    engine: precast_loader::Engine,
    module: precast_loader::Module,
    memory: precast_loader::SharedMemory,
}

impl Ours {
    fn new(wasm: &[u8]) -> Result<Self> {
        let settings = Settings {
            cpu: "native".parse()?,
            ..Settings::default()
        };
        let compiled = Compiler::new(settings)?.compile(wasm)?;
        let engine = precast_loader::Engine::default();
        // SAFETY: the compiler has just written these bytes.
        let module = unsafe { precast_loader::Module::from_bytes(&engine, &compiled.artifact)? };
        let memory = Self::memory(&engine)?;
        Ok(Self {
            engine,
            module,
            memory,
        })
    }

    fn memory(engine: &precast_loader::Engine) -> Result<precast_loader::SharedMemory> {
        let ty = precast_loader::MemoryType::shared(1, 1);
        Ok(precast_loader::SharedMemory::new(engine, ty)?)
    }
}

impl Side for Ours {
    fn instance(
        &self,
        export: &str,
        shared: bool,
    ) -> Result<Box<dyn FnMut(i32) -> Result<i32> + '_>> {
        let memory = match shared {
            true => self.memory.clone(),
            false => Self::memory(&self.engine)?,
        };
        let mut store = precast_loader::Store::new(&self.engine, ());
        let imports = [precast_loader::Extern::SharedMemory(memory)];
        let instance = precast_loader::Instance::new(&mut store, &self.module, &imports)?;
        let f = instance.get_typed_func::<i32, i32>(&mut store, export)?;
        Ok(Box::new(move |n| Ok(f.call(&mut store, n)?)))
    }

    fn start_turns(&self) -> Result<()> {
        Ok(self.memory.write(0, &[0; 4])?)
    }
}

struct Theirs {
    engine: wasmtime::Engine,
    module: wasmtime::Module,
    memory: wasmtime::SharedMemory,
}

impl Theirs {
    fn new(wasm: &[u8], collector: Collector) -> Result<Self> {
        let mut config = wasmtime::Config::new();
        config.collector(collector).shared_memory(true);
        let engine = wasmtime::Engine::new(&config)?;
        let module = wasmtime::Module::new(&engine, wasm)?;
        let memory = Self::memory(&engine)?;
        Ok(Self {
            engine,
            module,
            memory,
        })
    }

    fn memory(engine: &wasmtime::Engine) -> Result<wasmtime::SharedMemory> {
        let ty = wasmtime::MemoryType::shared(1, 1);
        Ok(wasmtime::SharedMemory::new(engine, ty)?)
    }
}

impl Side for Theirs {
    fn instance(
        &self,
        export: &str,
        shared: bool,
    ) -> Result<Box<dyn FnMut(i32) -> Result<i32> + '_>> {
        let memory = match shared {
            true => self.memory.clone(),
            false => Self::memory(&self.engine)?,
        };
        let mut store = wasmtime::Store::new(&self.engine, ());
        let imports = [wasmtime::Extern::SharedMemory(memory)];
        let instance = wasmtime::Instance::new(&mut store, &self.module, &imports)?;
        let f = instance.get_typed_func::<i32, i32>(&mut store, export)?;
        Ok(Box::new(move |n| Ok(f.call(&mut store, n)?)))
    }

    fn start_turns(&self) -> Result<()> {
        for byte in &self.memory.data()[..4] {
            // SAFETY: no thread of the guest runs, and the byte is one of the memory.
            unsafe { byte.get().write(0) };
        }
        Ok(())
    }
}
