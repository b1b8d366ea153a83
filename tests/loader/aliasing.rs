//! Host code sees what wasm code and host functions below it have changed in its store.
//!
//! The optimiser may take for granted that nobody else uses what an exclusive reference leads to.
//! These functions keep access to the data of a store over calls that change the data. They are
//! only a test if they are compiled with optimisation.

use precast_artifact::{Interruption, Strategy};
use precast_loader::{
    AsContext, AsContextMut, Caller, Engine, Func, Instance, InstancePre, Linker, Memory, Module,
    ResourceLimiter, Store, StoreContextMut, TypedFunc, UpdateDeadline,
};
use precast_tests::{Source, strategies};

/// What calls change: a number, and a vector that is replaced by a longer one.
#[derive(Default)]
struct Host {
    calls: u32,
    values: Vec<u64>,
    inner: Option<TypedFunc<(), ()>>,
}

impl Host {
    fn change(&mut self) {
        self.calls += 1;
        self.values = vec![u64::from(self.calls); self.values.len() + 1000];
    }

    /// The number of changes, the number of values, and their sum.
    fn seen(&self) -> (u32, usize, u64) {
        (self.calls, self.values.len(), self.values.iter().sum())
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(
        &mut self,
        _: usize,
        _: usize,
        _: Option<usize>,
    ) -> Result<bool, precast_loader::Error> {
        self.change();
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _: usize,
        _: usize,
        _: Option<usize>,
    ) -> Result<bool, precast_loader::Error> {
        Ok(true)
    }
}

const WAT: &str = r#"(module
    (import "h" "change" (func $change))
    (import "h" "outer" (func $outer (result i32)))
    (memory (export "memory") 1 100)
    (func (export "inner") (call $change))
    (func (export "grow") (drop (memory.grow (i32.const 1))))
    (func (export "wait") (loop))
    (func (export "outer") (result i32) (call $outer)))"#;

const STARTS: &str = r#"(module
    (import "h" "change" (func $change)) (memory 1) (start $change))"#;

/// Checks that `act` has changed the data once, as far as this function can see.
#[inline(always)]
fn sees(
    mut store: impl AsContextMut<Data = Host>,
    act: impl FnOnce(&mut StoreContextMut<'_, Host>),
) {
    let mut store = store.as_context_mut();
    let (calls, len, _) = store.data().seen();
    store.data_mut().calls += 7;
    act(&mut store);
    let (calls, len) = (calls + 8, len + 1000);
    let sum = len as u64 * u64::from(calls);
    assert_eq!(store.data().seen(), (calls, len, sum));
}

// Each of these gets its access by value, as host functions do.

#[inline(never)]
fn typed(store: StoreContextMut<'_, Host>, func: TypedFunc<(), ()>) {
    sees(store, |store| func.call(store, ()).unwrap());
}

#[inline(never)]
fn untyped(store: StoreContextMut<'_, Host>, func: Func) {
    sees(store, |store| func.call(store, &[], &mut []).unwrap());
}

#[inline(never)]
fn instantiated(store: StoreContextMut<'_, Host>, pre: &InstancePre<Host>) {
    sees(store, |store| {
        pre.instantiate(store).unwrap();
    });
}

#[inline(never)]
fn made(store: StoreContextMut<'_, Host>, module: &Module, change: Func) {
    sees(store, |store| {
        Instance::new(store, module, &[change.into()]).unwrap();
    });
}

#[inline(never)]
fn reset(store: StoreContextMut<'_, Host>, instance: Instance) {
    sees(store, |store| instance.reset(store).unwrap());
}

#[inline(never)]
fn grown(store: StoreContextMut<'_, Host>, memory: Memory) {
    sees(store, |store| {
        memory.grow(store, 1).unwrap();
    });
}

fn outer(mut caller: Caller<'_, Host>) -> u32 {
    let inner = caller.data().inner.unwrap();
    let (before, len, _) = caller.data().seen();
    inner.call(&mut caller, ()).unwrap();
    let (after, longer, sum) = caller.data().seen();
    assert_eq!(
        (longer, sum),
        (len + 1000, longer as u64 * u64::from(after))
    );
    after - before
}

#[test]
fn changes_below_a_call_are_seen() {
    for strategy in strategies() {
        for interruption in [Interruption::None, Interruption::Epoch] {
            changes(strategy, interruption);
        }
    }
}

fn changes(strategy: Strategy, interruption: Interruption) {
    let engine = Engine::default();
    let source = Source::new(strategy).interruption(interruption);
    let (module, starts) = (source.module(&engine, WAT), source.module(&engine, STARTS));
    let mut linker: Linker<Host> = Linker::new(&engine);
    let change = |mut caller: Caller<'_, Host>| caller.data_mut().change();
    linker.func_wrap("h", "change", change).unwrap();
    linker.func_wrap("h", "outer", outer).unwrap();
    let mut store = Store::new(&engine, Host::default());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let inner = instance.get_typed_func::<(), ()>(&mut store, "inner");
    let inner = inner.unwrap();
    store.data_mut().inner = Some(inner);
    typed(store.as_context_mut(), inner);
    untyped(store.as_context_mut(), *inner.func());
    let outer = instance.get_typed_func::<(), u32>(&mut store, "outer");
    assert_eq!(outer.unwrap().call(&mut store, ()).unwrap(), 1);
    let direct = Func::wrap(&mut store, self::outer).typed::<(), u32>(&store);
    assert_eq!(direct.unwrap().call(&mut store, ()).unwrap(), 1);

    let pre = linker.instantiate_pre(&starts).unwrap();
    // The second instance is one that was used before.
    for _ in 0..2 {
        let mut store = Store::new(&engine, Host::default());
        instantiated(store.as_context_mut(), &pre);
    }
    let change = Func::wrap(&mut store, change);
    made(store.as_context_mut(), &starts, change);
    let started = pre.instantiate(&mut store).unwrap();
    reset(store.as_context_mut(), started);

    store.limiter(|host| host);
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    grown(store.as_context_mut(), memory);
    let grow = instance.get_typed_func::<(), ()>(&mut store, "grow");
    typed(store.as_context_mut(), grow.unwrap());

    if interruption.has_epochs() {
        store.epoch_deadline_callback(|mut store| {
            store.data_mut().change();
            Ok(UpdateDeadline::Continue(1000))
        });
        store.set_epoch_deadline(0).unwrap();
        let wait = instance.get_typed_func::<(), ()>(&mut store, "wait");
        typed(store.as_context_mut(), wait.unwrap());
    }
    assert!(store.as_context().data().calls > 0);
}
