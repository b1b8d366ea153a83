//! Shared memories of instances of runtimes: who can use them at the same time, and when they go.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use precast_loader::runtime::{HostModule, Instance, InstanceConfig, Runtime, Target};
use precast_loader::{
    Engine, Error, ExternType, MemoryType, Module, SharedMemory, StoreLimitsBuilder,
};
use precast_tests::child;

use super::{SOON, compile, named, resident, runtime};

/// A wait at an address of a shared memory, by an instance of its own store, does not keep others
/// from the memory.
#[test]
fn shared_memories_belong_to_no_store() {
    let engine = Engine::default();
    let ways = r#"(func (export "wait") (result i32)
            (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const 60000000000)))
        (func (export "wake") (result i32) (memory.atomic.notify (i32.const 0) (i32.const 1)))"#;
    let importer = format!(r#"(module (import "env" "m" (memory 1 1 shared)) {ways})"#);
    let importer = compile(&engine, &importer);
    let exporter = format!(r#"(module (memory (export "m") 1 1 shared) {ways})"#);
    let exporter = compile(&engine, &exporter);
    for by_host in [true, false] {
        let runtime = runtime(&engine);
        let waits = if by_host {
            let ty = MemoryType::shared(1, 1);
            let env = HostModule::builder("env").memory("m", ty);
            let env = env.instantiate(&runtime).unwrap();
            assert_eq!(env.exports(), [("m".to_owned(), ExternType::Memory(ty))]);
            runtime.instantiate(&importer, InstanceConfig::new())
        } else {
            runtime.instantiate(&exporter, named("env"))
        };
        let waits = waits.unwrap();
        thread::scope(|scope| {
            let wait = scope.spawn(|| waits.call_typed::<(), i32>("wait", ()));
            let start = Instant::now();
            // This one is made while the other one is in its call, or before that.
            let wakes = runtime.instantiate(&importer, InstanceConfig::new());
            let wakes = wakes.unwrap();
            while wakes.call_typed::<(), i32>("wake", ()).unwrap() == 0 {
                assert!(start.elapsed() < SOON);
                thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(wait.join().unwrap().unwrap(), 0);
            assert!(start.elapsed() < SOON);
        });
        // The types are compared when the instance is made.
        let larger = compile(
            &engine,
            r#"(module (import "env" "m" (memory 2 2 shared)))"#,
        );
        let error = runtime.instantiate(&larger, InstanceConfig::new());
        assert!(matches!(error, Err(Error::Link(_))), "{error:?}");
    }
}

/// A runtime with an open library, which keeps its store, and room for two memories of 32 MiB.
fn with_library(engine: &Engine) -> Runtime {
    let runtime = runtime(engine);
    let limits = StoreLimitsBuilder::new().total_memory_size(80 << 20);
    runtime.set_limits(limits.build());
    let lib = compile(engine, r#"(module (func (export "f")))"#);
    runtime.instantiate(&lib, named("lib")).unwrap();
    runtime
}

/// A module with a shared memory of 32 MiB at last, whose function `fill` writes to each page.
fn filling(engine: &Engine, memory: &str, grow: &str) -> Module {
    let wat = format!(
        r#"(module (import "lib" "f" (func)) {memory}
        (func (export "fill") (param i32) {grow}
            (memory.fill (i32.const 0) (local.get 0) (i32.const 0x2000000)))
        (func (export "first") (result i32) (i32.load8_u (i32.const 0))))"#
    );
    compile(engine, &wat)
}

const OWN: &str = "(memory 512 512 shared)";
const EXPORTED: &str = r#"(memory (export "m") 512 512 shared)"#;
const IMPORTED: &str = r#"(import "own" "m" (memory 512 512 shared))"#;
const GROW: &str = "(drop (memory.grow (i32.const 511)))";

/// An instance that imports `own.m` from the exporter.
fn importing(runtime: &Runtime, module: &Module, exporter: &Instance) -> Instance {
    let exporter = exporter.clone();
    let config = InstanceConfig::new().with_import_resolver(move |_, module, name| {
        (module == "own").then(|| Target::Instance(exporter.clone(), name.to_owned()))
    });
    runtime.instantiate(module, config).unwrap()
}

#[test]
fn a_closed_instance_gives_up_its_shared_memories() {
    // The resident memory is measured, to which no other test must add.
    if child::case().is_none() {
        return child::passes_in_child(
            "runtime::shared::a_closed_instance_gives_up_its_shared_memories",
            "alone",
        );
    }
    let engine = Engine::default();
    let short = r#"(memory (export "m") 1 512 shared)"#;
    let importer = filling(&engine, IMPORTED, "");
    let before = resident();
    // The fifth of them would be beyond the limit if the others counted.
    for (memory, grow) in [(OWN, ""), (EXPORTED, ""), (short, GROW)] {
        let runtime = with_library(&engine);
        let module = filling(&engine, memory, grow);
        let mut handles = Vec::new();
        for round in 0..5 {
            let plug = runtime.instantiate(&module, InstanceConfig::new()).unwrap();
            plug.call_typed::<i32, ()>("fill", 1).unwrap();
            // Instances that import the memory are closed after the exporter, or before.
            if memory != OWN {
                let user = importing(&runtime, &importer, &plug);
                user.call_typed::<i32, ()>("fill", 2).unwrap();
                let order = if round % 2 == 0 {
                    [&plug, &user]
                } else {
                    [&user, &plug]
                };
                order.into_iter().for_each(Instance::close);
                handles.push(user);
            }
            plug.close();
            // Handles of closed instances do not keep memories.
            handles.push(plug);
        }
        let after = resident();
        assert!(after < before + (20 << 20), "{before} {after}: {memory}");
    }
}

#[test]
fn a_shared_memory_stays_for_those_who_have_it() {
    let engine = Engine::default();
    let runtime = with_library(&engine);
    let exporter = filling(&engine, EXPORTED, "");
    let importer = filling(&engine, IMPORTED, "");
    let first = |instance: &Instance| instance.call_typed::<(), i32>("first", ()).unwrap();
    // An instance in the same store has it.
    let plug = runtime
        .instantiate(&exporter, InstanceConfig::new())
        .unwrap();
    plug.call_typed::<i32, ()>("fill", 3).unwrap();
    let user = importing(&runtime, &importer, &plug);
    plug.close();
    assert_eq!(first(&user), 3);
    user.close();
    // An instance in another store has it.
    let plug = runtime
        .instantiate(&exporter, InstanceConfig::new())
        .unwrap();
    plug.call_typed::<i32, ()>("fill", 4).unwrap();
    let alone = compile(
        &engine,
        r#"(module (import "own" "m" (memory 512 512 shared))
        (func (export "first") (result i32) (i32.load8_u (i32.const 0))))"#,
    );
    let user = importing(&runtime, &alone, &plug);
    plug.close();
    assert_eq!(first(&user), 4);
    user.close();
    // The host has it.
    let plug = runtime
        .instantiate(&exporter, InstanceConfig::new())
        .unwrap();
    plug.call_typed::<i32, ()>("fill", 5).unwrap();
    let get = |store: precast_loader::StoreContextMut<'_, _>,
               instance: precast_loader::Instance| {
        let memory: Option<SharedMemory> = instance.get_shared_memory(store, "m");
        Ok(memory.unwrap())
    };
    let memory = plug.with(get).unwrap();
    plug.close();
    let mut byte = [0];
    memory.read(0x1ff_ffff, &mut byte).unwrap();
    assert_eq!(byte, [5]);
}

/// The exporter is closed while an instance that imports the memory is made, which then fails.
#[test]
fn an_instance_that_cannot_be_made_keeps_no_shared_memory() {
    let engine = Engine::default();
    let runtime = with_library(&engine);
    let exporter = filling(&engine, EXPORTED, "");
    let importer = compile(
        &engine,
        r#"(module (import "lib" "f" (func)) (import "own" "m" (memory 512 512 shared))
        (import "env" "close" (func $close))
        (func $start (call $close))
        (start $start))"#,
    );
    let open = Arc::new(Mutex::new(None::<Instance>));
    let closes = Arc::clone(&open);
    HostModule::builder("env")
        .func("close", move || {
            let exporter = closes.lock().unwrap().take();
            exporter.unwrap().close();
        })
        .instantiate(&runtime)
        .unwrap();
    // The third one would be beyond the limit if the others counted.
    for _ in 0..4 {
        let plug = runtime
            .instantiate(&exporter, InstanceConfig::new())
            .unwrap();
        *open.lock().unwrap() = Some(plug.clone());
        let config = InstanceConfig::new().with_import_resolver(move |_, module, name| {
            (module == "own").then(|| Target::Instance(plug.clone(), name.to_owned()))
        });
        let error = runtime.instantiate(&importer, config).unwrap_err();
        assert!(matches!(error, Error::Closed { .. }), "{error}");
    }
}

#[test]
fn a_shared_memory_of_many_names_costs_an_instance_nothing() {
    // The resident memory is measured, to which no other test must add.
    if child::case().is_none() {
        return child::passes_in_child(
            "runtime::shared::a_shared_memory_of_many_names_costs_an_instance_nothing",
            "alone",
        );
    }
    const NAMES: usize = 50_000;
    let engine = Engine::default();
    let names: String = (0..NAMES)
        .map(|i| format!(r#"(export "name {i}" (memory $m))"#))
        .collect();
    let wat =
        format!(r#"(module (memory 1) (memory $m 1 1 shared) {names} (export "0" (memory 0)))"#);
    let module = compile(&engine, &wat);
    let runtime = runtime(&engine);
    let make = || runtime.instantiate(&module, InstanceConfig::new()).unwrap();
    let first = make();
    let before = resident();
    let others: Vec<_> = (0..20).map(|_| make()).collect();
    let after = resident();
    // A copy of the names would take about 80 MiB.
    assert!(after < before + (20 << 20), "{before} {after}");
    // Each name leads to the memory.
    let wat = format!(
        r#"(module (import "own" "name 0" (memory 1 1 shared))
        (import "own" "name {}" (memory $m 1 1 shared))
        (func (export "f") (result i32)
            (i32.store8 0 (i32.const 0) (i32.const 7))
            (i32.load8_u $m (i32.const 0))))"#,
        NAMES - 1
    );
    let user = importing(&runtime, &compile(&engine, &wat), &first);
    assert_eq!(user.call_typed::<(), i32>("f", ()).unwrap(), 7);
    drop(others);
}
