//! Reused slots are compared with a model. Random tenants write to their instances in every way
//! there is. Before and after each tenant, the whole memory is compared byte by byte with the
//! model. Other tests end tenants in ways that the random ones do not: on other threads, by stack
//! overflows, by panics, by closing runtimes.
//!
//! `PRECAST_SEED` sets the seed, which is printed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;
use precast_artifact::Strategy;
use precast_loader::runtime::{HostModule, InstanceConfig, Runtime};
use precast_loader::{
    Caller, Engine, Error, Extern, ExternRef, Instance, InstancePre, Linker, Memory, MemoryType,
    Store, Trap, Val,
};
use precast_tests::{module, strategies};

const PAGE: usize = 65536;
const PAGES: usize = 24;
const MAX_PAGES: usize = 40;

/// Data at several places, the first and the last byte among them. Most of the image is holes.
const DATA: [(usize, &str); 5] = [
    (0, "first"),
    (4094, "over the edge"),
    (3 * PAGE + 77, "somewhere"),
    (17 * PAGE, "a page of its own"),
    (PAGES * PAGE - 4, "last"),
];

fn wat() -> String {
    let data: String = DATA
        .iter()
        .map(|(at, text)| format!("(data (i32.const {at}) \"{text}\")"))
        .collect();
    format!(
        r#"(module
    (import "h" "end" (func $end (param i32)))
    (memory $m (export "m") {PAGES} {MAX_PAGES})
    (memory $second (export "second") 1 3)
    (data (memory $second) (i32.const 500) "second")
    {data}
    (data $passive "passive")
    (table $t (export "t") 3 50 externref)
    (table $f (export "f") 3 50 funcref)
    (elem (table $f) (i32.const 0) func $over)
    (elem $elements func $over $over)
    (global (export "g") (mut i32) (i32.const -3))
    (global (export "r") (mut externref) (ref.null extern))
    (func (export "store8") (param i32 i64) (i64.store8 (local.get 0) (local.get 1)))
    (func (export "store64") (param i32 i64) (i64.store (local.get 0) (local.get 1)))
    (func (export "fill") (param i32 i32 i32)
        (memory.fill (local.get 0) (local.get 1) (local.get 2)))
    (func (export "copy") (param i32 i32 i32)
        (memory.copy (local.get 0) (local.get 1) (local.get 2)))
    (func (export "init") (param i32 i32 i32)
        (memory.init $passive (local.get 0) (local.get 1) (local.get 2)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "others") (param externref)
        (i64.store $second (i32.const 65528) (i64.const -1))
        (drop (memory.grow $second (i32.const 1)))
        (i64.store $second (i32.const 65533) (i64.const -1))
        (table.set $t (i32.const 2) (local.get 0))
        (drop (table.grow $t (local.get 0) (i32.const 20)))
        (table.fill $t (i32.const 0) (local.get 0) (i32.const 23))
        (table.init $f $elements (i32.const 1) (i32.const 0) (i32.const 2))
        (drop (table.grow $f (ref.func $over) (i32.const 4)))
        (global.set 0 (i32.const 8))
        (global.set 1 (local.get 0))
        (data.drop $passive)
        (elem.drop $elements))
    (func (export "init-elements") (table.init $f $elements (i32.const 1) (i32.const 0) (i32.const 2)))
    (func $over (export "over") (param i32) (result i32)
        (i32.store8 (local.get 0) (i32.const 0xee))
        (i32.add (call $over (i32.add (local.get 0) (i32.const 64))) (i32.const 1)))
    (func (export "end") (param i32 i32)
        (i64.store (local.get 0) (i64.const -1))
        (call $end (local.get 1))))"#
    )
}

#[derive(Debug)]
struct Ours;

impl std::fmt::Display for Ours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ours")
    }
}

impl std::error::Error for Ours {}

/// The host function `end`, which ends in different ways.
fn end(how: i32) -> Result<(), Error> {
    match how {
        0 => Err(Error::host(Ours)),
        1 => std::panic::panic_any("on purpose"),
        2 => Err(Error::Exit(4)),
        _ => Ok(()),
    }
}

pub(crate) fn pre(strategy: Strategy) -> InstancePre<()> {
    let engine = Engine::default();
    let module = module(&engine, &wat(), strategy);
    let mut linker: Linker<()> = Linker::new(&engine);
    linker.func_wrap("h", "end", end).unwrap();
    linker.instantiate_pre(&module).unwrap()
}

fn initial() -> Vec<u8> {
    let mut bytes = vec![0; PAGES * PAGE];
    for (at, text) in DATA {
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    bytes
}

#[track_caller]
fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: size");
    if found != expected {
        let at = found
            .iter()
            .zip(expected)
            .position(|(a, b)| a != b)
            .unwrap();
        panic!(
            "{what}: byte {at} of {} is {:#x}, expected {:#x}",
            found.len(),
            found[at],
            expected[at]
        );
    }
}

/// An instance that was checked to be as new.
struct Tenant {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
}

impl Tenant {
    fn new(pre: &InstancePre<()>) -> Self {
        let mut store = Store::new(pre.module().engine(), ());
        let instance = pre.instantiate(&mut store).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        assert_same(memory.data(&store), &initial(), "new");
        let second = instance.get_memory(&mut store, "second").unwrap();
        let mut expected = vec![0; PAGE];
        expected[500..506].copy_from_slice(b"second");
        assert_same(second.data(&store), &expected, "new, second memory");

        let table = instance.get_table(&mut store, "t").unwrap();
        assert_eq!(table.size(&store), 3);
        for i in 0..3 {
            let element = table.get(&store, i);
            assert!(matches!(element, Some(Val::ExternRef(None))), "{element:?}");
        }
        let table = instance.get_table(&mut store, "f").unwrap();
        assert_eq!(table.size(&store), 3);
        let set = [0, 1, 2].map(|i| {
            let element = table.get(&store, i).unwrap();
            element.funcref().unwrap().is_some()
        });
        assert_eq!(set, [true, false, false]);
        let g = instance.get_global(&mut store, "g").unwrap();
        assert_eq!(g.get(&store).i32(), Some(-3));
        let r = instance.get_global(&mut store, "r").unwrap();
        assert!(matches!(r.get(&store), Val::ExternRef(None)));
        Self {
            store,
            instance,
            memory,
        }
    }

    fn call(&mut self, name: &str, args: &[Val]) -> Result<Option<i32>, Error> {
        let func = self.instance.get_func(&mut self.store, name).unwrap();
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        func.call(&mut self.store, args, &mut results)?;
        Ok(results.first().and_then(Val::i32))
    }

    /// Changes the tables, the globals, the flags of segments and the second memory.
    fn spoil_the_rest(&mut self) {
        let value = Val::ExternRef(Some(ExternRef::new(String::from("secret"))));
        self.call("init-elements", &[]).unwrap();
        self.call("others", std::slice::from_ref(&value)).unwrap();
        assert!(self.call("init-elements", &[]).is_err(), "dropped");
        let table = self.instance.get_table(&mut self.store, "t").unwrap();
        table.grow(&mut self.store, 5, value.clone()).unwrap();
        table.set(&mut self.store, 0, value).unwrap();
    }
}

/// An address for `len` bytes: often at the start or the end of the memory, or at the start of a
/// page.
fn address(random: &mut Rng, size: usize, len: usize) -> usize {
    let last = size - len;
    match random.u32(..5) {
        0 => random.usize(..300).min(last),
        1 => last,
        2 => last - random.usize(..5000).min(last),
        3 => (random.usize(..size / 4096) * 4096).min(last),
        _ => random.usize(..=last),
    }
}

fn seed() -> u64 {
    let given = std::env::var("PRECAST_SEED").ok();
    let seed = given.map_or(20_260_000, |text| text.parse().expect("a number"));
    eprintln!("PRECAST_SEED={seed}");
    seed
}

/// Makes one random write to the memory and to the model.
fn write(tenant: &mut Tenant, model: &mut Vec<u8>, random: &mut Rng) {
    let size = model.len();
    let value = random.u64(..);
    let i32 = |v: usize| Val::I32(v as i32);
    match random.u32(..10) {
        0..=2 => {
            let at = address(random, size, 8);
            tenant
                .call("store64", &[i32(at), Val::I64(value as i64)])
                .unwrap();
            model[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        3 => {
            let at = address(random, size, 1);
            tenant
                .call("store8", &[i32(at), Val::I64(value as i64)])
                .unwrap();
            model[at] = value as u8;
        }
        4 => {
            let len = random.usize(..9000);
            let at = address(random, size, len);
            let byte = value as u8;
            let args = [i32(at), i32(byte.into()), i32(len)];
            tenant.call("fill", &args).unwrap();
            model[at..at + len].fill(byte);
        }
        5 => {
            let len = random.usize(..9000);
            let (to, from) = (address(random, size, len), address(random, size, len));
            tenant
                .call("copy", &[i32(to), i32(from), i32(len)])
                .unwrap();
            model.copy_within(from..from + len, to);
        }
        6 => {
            let at = address(random, size, 7);
            tenant.call("init", &[i32(at), i32(0), i32(7)]).unwrap();
            model[at..at + 7].copy_from_slice(b"passive");
        }
        7 => {
            let bytes = value.to_le_bytes().repeat(random.usize(..700));
            let at = address(random, size, bytes.len());
            tenant.memory.write(&mut tenant.store, at, &bytes).unwrap();
            model[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        8 => {
            let delta = random.usize(..6);
            let fits = size + delta * PAGE <= MAX_PAGES * PAGE;
            let before = tenant.call("grow", &[i32(delta)]).unwrap().unwrap();
            assert_eq!(before, if fits { (size / PAGE) as i32 } else { -1 });
            if fits {
                model.resize(size + delta * PAGE, 0);
            }
            // The last byte can be written, and the one after it cannot.
            let last = model.len() - 1;
            tenant.call("store8", &[i32(last), Val::I64(0x5a)]).unwrap();
            model[last] = 0x5a;
            let error = tenant.call("store8", &[i32(last + 1), Val::I64(1)]);
            let error = error.unwrap_err();
            assert_eq!(error.trap().unwrap(), Trap::MemoryOutOfBounds);
        }
        _ if random.u32(..8) == 0 => {
            // The host keeps a pointer while the guest runs.
            let pointer = tenant.memory.data_ptr(&mut tenant.store);
            let at = address(random, size, 8);
            tenant.call("store8", &[i32(at), Val::I64(3)]).unwrap();
            model[at] = 3;
            let at = address(random, size, 8);
            // SAFETY: the address is in bounds, and the memory has not grown since.
            unsafe { pointer.add(at).cast::<u64>().write_unaligned(value) };
            model[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
        _ => {
            // A fill that is out of bounds changes nothing.
            let at = address(random, size, 1);
            let error = tenant.call("fill", &[i32(at), i32(1), i32(size)]);
            assert_eq!(error.is_err(), at > 0);
            if error.is_ok() {
                model.fill(1);
            }
        }
    }
}

pub(crate) fn tenants(pre: &InstancePre<()>, seed: u64, count: usize) {
    let mut random = Rng::with_seed(seed);
    for _ in 0..count {
        let mut tenant = Tenant::new(pre);
        let mut model = initial();
        // The writes touch from none to far more pages than the loader tracks one by one.
        let writes = match random.u32(..6) {
            0 => 0,
            5 => 60,
            _ => random.usize(..12),
        };
        for _ in 0..writes {
            write(&mut tenant, &mut model, &mut random);
        }
        if random.u32(..3) == 0 {
            tenant.spoil_the_rest();
        }
        assert_same(tenant.memory.data(&tenant.store), &model, "after writing");
    }
}

#[test]
fn random_tenants() {
    for strategy in strategies() {
        let pre = pre(strategy);
        for round in 0..6 {
            // A new handle has new slots.
            let pre = if round == 0 {
                &pre
            } else {
                &self::pre(strategy)
            };
            tenants(pre, seed() + round, 60);
        }
    }
}

#[test]
fn random_tenants_on_two_threads() {
    for strategy in strategies() {
        let pre = pre(strategy);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let pre = &pre;
                scope.spawn(move || tenants(pre, seed() + 100 + thread, 100));
            }
        });
    }
}

#[test]
fn dropped_on_another_thread_than_made() {
    for strategy in strategies() {
        let pre = pre(strategy);
        let (to, from) = std::sync::mpsc::channel::<Tenant>();
        std::thread::scope(|scope| {
            let pre = &pre;
            scope.spawn(move || {
                for mut tenant in from {
                    // The tenant can be used on this thread, to which its slot belongs afterwards.
                    let args = [Val::I32(70_000), Val::I64(-1)];
                    tenant.call("store64", &args).unwrap();
                    drop(tenant);
                    tenants(pre, 5, 2);
                }
            });
            for i in 0..30 {
                let mut tenant = Tenant::new(pre);
                let at = Val::I32(i * 4096 * 3 + 9);
                tenant.call("store64", &[at, Val::I64(-1)]).unwrap();
                tenant.spoil_the_rest();
                to.send(tenant).unwrap();
                drop(Tenant::new(pre));
            }
            drop(to);
        });
    }
}

#[test]
fn every_way_to_end() {
    for strategy in strategies() {
        let pre = pre(strategy);
        for round in 0..3 {
            for how in 0..6 {
                let mut tenant = Tenant::new(&pre);
                tenant.spoil_the_rest();
                let at = Val::I32(5 * 4096 + round);
                match how {
                    // The host function returns an error, panics, exits, or returns.
                    0..=3 => {
                        let args = [at, Val::I32(how)];
                        let result = catch_unwind(AssertUnwindSafe(|| tenant.call("end", &args)));
                        assert_eq!(result.is_err(), how == 1);
                        if let Ok(result) = result {
                            assert_eq!(result.is_err(), how != 3);
                        }
                    }
                    // Each frame writes to the memory.
                    4 => {
                        let error = tenant.call("over", &[at]).unwrap_err();
                        let code = error.trap().unwrap();
                        let ends = [Trap::StackOverflow, Trap::MemoryOutOfBounds];
                        assert!(ends.contains(&code), "{code:?}");
                    }
                    // The tenant is dropped while a panic unwinds.
                    _ => {
                        tenant.call("store64", &[at, Val::I64(-1)]).unwrap();
                        let panic = catch_unwind(AssertUnwindSafe(move || {
                            let _tenant = tenant;
                            std::panic::panic_any("on purpose");
                        }));
                        assert!(panic.is_err());
                    }
                }
            }
        }
    }
}

#[test]
fn imported_memories_are_their_owners() {
    let wat = r#"(module (import "h" "m" (memory 1 4))
        (data (i32.const 10) "guest")
        (func (export "store") (param i32) (i32.store8 (local.get 0) (i32.const 0xaa)))
        (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        for round in 0..5 {
            let mut store = Store::new(&engine, ());
            let ty = MemoryType::new(1, Some(4));
            let memory = Memory::new(&mut store, ty).unwrap();
            assert!(memory.data(&store).iter().all(|byte| *byte == 0));
            let mut linker = Linker::new(&engine);
            linker.define(&store, "h", "m", memory).unwrap();
            let pre = linker.instantiate_pre(&module).unwrap();
            for tenant in 0..3 {
                let instance = pre.instantiate(&mut store).unwrap();
                assert_eq!(&memory.data(&store)[10..15], b"guest");
                let at = 4096 * tenant + round;
                let poke = instance.get_typed_func::<i32, ()>(&mut store, "store");
                poke.unwrap().call(&mut store, at).unwrap();
                let grow = instance.get_typed_func::<(), i32>(&mut store, "grow");
                assert_eq!(grow.unwrap().call(&mut store, ()).unwrap(), tenant + 1);
                // The memory does not belong to the instance, so its content stays.
                for earlier in 0..=tenant {
                    let at = (4096 * earlier + round) as usize;
                    assert_eq!(memory.data(&store)[at], 0xaa);
                }
            }
        }
    }
}

#[test]
fn closed_and_interrupted_instances_of_runtimes() {
    let wat = r#"(module (import "env" "f" (func $f (param i32)))
        (memory (export "m") 3) (data (i32.const 8) "fresh")
        (global $n (export "n") (mut i32) (i32.const 0))
        (func (export "run") (param i32)
            (memory.fill (i32.const 20) (i32.const 0xaa) (i32.const 150000))
            (global.set $n (i32.const 1))
            (drop (memory.grow (i32.const 1)))
            (call $f (local.get 0))
            (memory.fill (i32.const 0) (i32.const 0xbb) (i32.const 4000))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let guest = module(&engine, wat, strategy);
        let runtime = Runtime::new(&engine);
        let close = |mut caller: precast_loader::runtime::Caller<'_>, how: i32| {
            match how {
                0 => caller.calling_instance().unwrap().close_with_exit_code(3),
                1 => return Err(caller.exit(3)),
                2 => std::panic::panic_any("on purpose"),
                _ => {}
            }
            Ok(())
        };
        HostModule::builder("env")
            .func("f", close)
            .instantiate(&runtime)
            .unwrap();
        for round in 0..16 {
            let config = InstanceConfig::new().with_name("guest");
            let instance = runtime.instantiate(&guest, config).unwrap();
            let fresh = instance.with(|mut store, instance| {
                let memory = instance.get_memory(&mut store, "m").unwrap();
                let n = instance.get_global(&mut store, "n").unwrap();
                let bytes = memory.data(&store);
                let as_new = bytes.len() == 3 * PAGE
                    && &bytes[8..13] == b"fresh"
                    && bytes.iter().filter(|byte| **byte != 0).count() == 5;
                Ok(as_new && n.get(&store).i32() == Some(0))
            });
            assert!(fresh.unwrap(), "round {round}");
            let call = AssertUnwindSafe(|| instance.call("run", &[Val::I32(round % 4)]));
            let result = catch_unwind(call);
            assert_eq!(result.is_err(), round % 4 == 2);
            instance.close();
        }
    }
}

/// A handle from one store is refused by another store, even if the instance has the same slot.
#[test]
fn handles_of_the_last_tenant_are_refused() {
    for strategy in strategies() {
        let pre = pre(strategy);
        let old = Tenant::new(&pre);
        let (memory, instance) = (old.memory, old.instance);
        drop(old);
        let mut new = Tenant::new(&pre);
        let panic = catch_unwind(AssertUnwindSafe(|| memory.data(&new.store).len()));
        assert!(panic.is_err());
        let panic = catch_unwind(AssertUnwindSafe(|| {
            instance.get_memory(&mut new.store, "m").is_some()
        }));
        assert!(panic.is_err());
        drop(Tenant::new(&pre));
    }
}

/// A host function makes stores whose instances reuse slots while its caller is still running.
#[test]
fn a_store_inside_of_a_host_function() {
    let wat = r#"(module (import "h" "down" (func $down (param i32)))
        (memory (export "m") 2)
        (func (export "run") (param i32)
            (i32.store (i32.mul (local.get 0) (i32.const 4096)) (i32.const -1))
            (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1)))))
            (i32.store offset=8 (i32.mul (local.get 0) (i32.const 4096)) (i32.const -1))))"#;
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<Option<InstancePre<()>>> = Linker::new(&engine);
        let mut inner: Linker<()> = Linker::new(&engine);
        inner.func_wrap("h", "down", |_: i32| {}).unwrap();
        let inner = inner.instantiate_pre(&module).unwrap();
        let run = |store: &mut Store<()>, instance: Instance, n: i32| {
            let memory = instance.get_memory(&mut *store, "m").unwrap();
            assert!(memory.data(&*store).iter().all(|byte| *byte == 0));
            let run = instance.get_typed_func::<i32, ()>(&mut *store, "run");
            run.unwrap().call(store, n).unwrap();
        };
        let down = move |mut caller: Caller<'_, Option<InstancePre<()>>>, n: i32| {
            let pre = caller.data().clone().unwrap();
            for _ in 0..3 {
                let mut store = Store::new(pre.module().engine(), ());
                let instance = pre.instantiate(&mut store).unwrap();
                run(&mut store, instance, n);
            }
            let memory = caller
                .get_export("m")
                .and_then(Extern::into_memory)
                .unwrap();
            memory.write(&mut caller, 70_000, b"host").unwrap();
        };
        linker.func_wrap("h", "down", down).unwrap();
        let pre = linker.instantiate_pre(&module).unwrap();
        for _ in 0..4 {
            let mut store = Store::new(&engine, Some(inner.clone()));
            let instance = pre.instantiate(&mut store).unwrap();
            let memory = instance.get_memory(&mut store, "m").unwrap();
            assert!(memory.data(&store).iter().all(|byte| *byte == 0));
            let run = instance.get_typed_func::<i32, ()>(&mut store, "run");
            run.unwrap().call(&mut store, 9).unwrap();
            assert_eq!(&memory.data(&store)[70_000..70_004], b"host");
            assert_eq!(memory.data(&store)[9 * 4096 + 8], 0xff);
        }
    }
}
