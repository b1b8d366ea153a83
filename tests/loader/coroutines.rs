//! Stores whose calls take turns on one thread, each on a stack of its own that the program made.
//! Whichever host code a call was suspended in, a trap afterwards is that call's.

mod ends;

use std::cell::Cell;
use std::ptr;

use corosensei::{Coroutine, CoroutineResult, Yielder};
use precast_artifact::{Interruption, Strategy};
use precast_loader::{
    Caller, Engine, Error, ExnRef, FuncType, FunctionCall, FunctionListener, Linker, Module,
    ResourceLimiter, Store, Tag, Trap, UpdateDeadline, Val,
};
use precast_tests::{Source, strategies, trap};

thread_local! {
    static YIELDER: Cell<*const Yielder<(), ()>> = const { Cell::new(ptr::null()) };
}

/// Suspends the coroutine that runs.
fn suspend() {
    let yielder = YIELDER.get();
    // SAFETY: set by the coroutine that runs, which lives on.
    unsafe { (*yielder).suspend(()) };
    YIELDER.set(yielder);
}

struct Host;

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, before: usize, _: usize, _: Option<usize>) -> Result<bool, Error> {
        if before > 0 {
            suspend();
        }
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, Error> {
        Ok(true)
    }
}

struct Listener;

impl FunctionListener for Listener {
    fn before(&mut self, _: &FunctionCall<'_>, _: &[Val]) {
        suspend();
    }

    fn after(&mut self, _: &FunctionCall<'_>, _: Option<&[Val]>) {}

    fn abort(&mut self, _: &FunctionCall<'_>, _: Option<&Error>) {}
}

/// Each export is suspended in another way, then traps at an access beyond the memory.
const WAT: &str = r#"(module
    (import "h" "typed" (func $typed))
    (import "h" "untyped" (func $untyped))
    (import "h" "throw" (func $throw))
    (memory 1 100)
    (func $trap (drop (i32.load (i32.const 0x7fff0000))))
    (func (export "typed") (call $typed) (call $trap))
    (func (export "untyped") (call $untyped) (call $trap))
    (func (export "thrown") (block $caught (try_table (catch_all $caught) (call $throw)))
        (call $trap))
    (func (export "grown") (drop (memory.grow (i32.const 1))) (call $trap))
    (func (export "asked") (loop) (call $trap)))"#;

fn module(engine: &Engine, strategy: Strategy, interruption: Interruption) -> Module {
    let source = Source::new(strategy).interruption(interruption);
    source.module(engine, WAT)
}

/// Calls an export in a store of its own.
fn call(engine: &Engine, module: &Module, export: &str) -> Trap {
    let mut linker: Linker<Host> = Linker::new(engine);
    linker.func_wrap("h", "typed", suspend).unwrap();
    let untyped = |_: Caller<'_, Host>, _: &[Val], _: &mut [Val]| {
        suspend();
        Ok(())
    };
    let ty = FuncType::new(engine, [], []);
    linker
        .func_new("h", "untyped", ty.clone(), untyped)
        .unwrap();
    let throw = move |mut caller: Caller<'_, Host>| -> Result<(), Error> {
        suspend();
        let tag = Tag::new(&mut caller, ty.clone())?;
        Err(ExnRef::new(&mut caller, tag, &[])?.into())
    };
    linker.func_wrap("h", "throw", throw).unwrap();
    let mut store = Store::new(engine, Host);
    let instance = linker.instantiate(&mut store, module).unwrap();
    store.limiter(|host| host);
    if module.interruption().has_epochs() {
        store.set_epoch_deadline(1000).unwrap();
    }
    match export {
        "asked" => {
            store.epoch_deadline_callback(|_| {
                suspend();
                Ok(UpdateDeadline::Continue(1000))
            });
            store.set_epoch_deadline(0).unwrap();
        }
        "told" => store.set_function_listener(Listener),
        _ => {}
    }
    let export = if export == "told" { "typed" } else { export };
    let func = instance.get_typed_func::<(), ()>(&mut store, export);
    trap(func.unwrap().call(&mut store, ()))
}

/// Runs a call for each of the exports. In each round, the coroutines that are left have a turn, in
/// the order that `reverse` says.
fn take_turns(engine: &Engine, module: &Module, exports: &[&'static str], reverse: bool) {
    let start = |export: &&'static str| {
        let (engine, module, export) = (*engine, module.clone(), *export);
        let run = move |yielder: &Yielder<(), ()>, ()| {
            YIELDER.set(yielder);
            call(&engine, &module, export)
        };
        Coroutine::new(run)
    };
    let mut left: Vec<Coroutine<(), (), Trap>> = exports.iter().map(start).collect();
    let mut rounds = 0;
    while !left.is_empty() {
        if reverse {
            left.reverse();
        }
        left.retain_mut(|coroutine| match coroutine.resume(()) {
            CoroutineResult::Yield(()) => true,
            CoroutineResult::Return(trap) => {
                assert_eq!(trap, Trap::MemoryOutOfBounds);
                false
            }
        });
        rounds += 1;
    }
    assert!(rounds > 1, "nothing was suspended");
}

/// Lets calls of the exports take turns with each other and with other calls.
fn all_orders(engine: &Engine, module: &Module, exports: &[&'static str]) {
    for &export in exports {
        for reverse in [false, true] {
            take_turns(engine, module, &[export, export], reverse);
            take_turns(engine, module, &["typed", export, "untyped"], reverse);
        }
    }
    take_turns(engine, module, exports, true);
}

#[test]
fn calls_that_take_turns_trap_each_for_itself() {
    let engine = Engine::default();
    for strategy in strategies() {
        for interruption in [Interruption::None, Interruption::Epoch] {
            let module = module(&engine, strategy, interruption);
            let mut exports = vec!["typed", "untyped", "thrown", "grown"];
            if interruption.has_epochs() {
                exports.push("asked");
            }
            all_orders(&engine, &module, &exports);
        }
    }
}

#[cfg(feature = "compiler")]
#[test]
fn listeners_that_take_turns() {
    use precast_compiler::Settings;

    let engine = Engine::default();
    for strategy in strategies() {
        let settings = Settings {
            strategy,
            listeners: true,
            ..Settings::default()
        };
        let artifact = precast_tests::compiled(WAT, &settings).unwrap();
        // SAFETY: our own compiler has just written these bytes.
        let module = unsafe { Module::from_bytes(&engine, &artifact) }.unwrap();
        all_orders(&engine, &module, &["typed", "grown", "told"]);
    }
}

/// A host function may call another store, whose call is over when its own goes on.
#[test]
fn a_call_of_another_store_leaves_nothing_behind() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, strategy, Interruption::None);
        let inner = module.clone();
        let mut linker: Linker<()> = Linker::new(&engine);
        let call_other = move || {
            let engine = Engine::default();
            let mut linker: Linker<()> = Linker::new(&engine);
            for name in ["typed", "untyped", "throw"] {
                linker.func_wrap("h", name, || ()).unwrap();
            }
            let mut store = Store::new(&engine, ());
            let instance = linker.instantiate(&mut store, &inner).unwrap();
            let func = instance.get_typed_func::<(), ()>(&mut store, "typed");
            assert_eq!(
                trap(func.unwrap().call(&mut store, ())),
                Trap::MemoryOutOfBounds
            );
        };
        linker.func_wrap("h", "typed", call_other).unwrap();
        for name in ["untyped", "throw"] {
            linker.func_wrap("h", name, || ()).unwrap();
        }
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let func = instance.get_typed_func::<(), ()>(&mut store, "typed");
        assert_eq!(
            trap(func.unwrap().call(&mut store, ())),
            Trap::MemoryOutOfBounds
        );
    }
}
