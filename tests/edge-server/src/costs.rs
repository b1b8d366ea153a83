//! The cases that are measured: calls that can be suspended, and calls that cannot. `wasm` is
//! precast-loader, or Wasmtime in `tests/peers/edge`: the same code is compiled for both.

use std::error::Error as StdError;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::wasm::{Caller, Engine, InstancePre, Linker, Module, Store, TypedFunc};

/// How many calls each case makes.
pub const CALLS: u32 = 1000;

type Result<T> = std::result::Result<T, Box<dyn StdError>>;

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// A future that is pending once.
struct Once(bool);

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.0, true) {
            false => Poll::Pending,
            true => Poll::Ready(()),
        }
    }
}

/// A linked module with an instance.
struct Linked {
    pre: InstancePre<()>,
    store: Store<()>,
    nothing: TypedFunc<i32, i32>,
    sync: TypedFunc<i32, i32>,
    ready: TypedFunc<i32, i32>,
    pending: TypedFunc<i32, i32>,
}

/// The module linked with host functions that can be suspended, and without. Wasmtime allows only
/// calls that can be suspended for an instance with such imports.
pub struct Costs {
    can: Linked,
    cannot: Linked,
}

/// The name of a case, and what makes [`CALLS`] calls.
pub type Case = (&'static str, fn(&mut Costs) -> Result<()>);

/// What is measured.
pub const CASES: [Case; 8] = [
    ("call", |costs| {
        let Linked { nothing, store, .. } = &mut costs.cannot;
        (0..CALLS).try_for_each(|_| Ok(nothing.call(&mut *store, 7).map(drop)?))
    }),
    ("call_async, never suspended", |costs| {
        (0..CALLS).try_for_each(|_| {
            let call = costs.can.nothing.call_async(&mut costs.can.store, 7);
            Ok(block_on(call).map(drop)?)
        })
    }),
    ("host call in call", |costs| {
        let Linked { sync, store, .. } = &mut costs.cannot;
        sync.call(store, CALLS.cast_signed())?;
        Ok(())
    }),
    ("host call in call_async", |costs| {
        let n = CALLS.cast_signed();
        block_on(costs.can.sync.call_async(&mut costs.can.store, n))?;
        Ok(())
    }),
    ("host future that is ready", |costs| {
        let n = CALLS.cast_signed();
        block_on(costs.can.ready.call_async(&mut costs.can.store, n))?;
        Ok(())
    }),
    ("host future that is pending once", |costs| {
        let n = CALLS.cast_signed();
        block_on(costs.can.pending.call_async(&mut costs.can.store, n))?;
        Ok(())
    }),
    ("instantiate, call, drop", |costs| {
        (0..CALLS).try_for_each(|_| {
            let mut store = Store::new(costs.cannot.pre.module().engine(), ());
            let instance = costs.cannot.pre.instantiate(&mut store)?;
            let write = instance.get_typed_func::<i32, i32>(&mut store, "write")?;
            write.call(&mut store, 7)?;
            Ok(())
        })
    }),
    ("instantiate_async, call_async, drop", |costs| {
        (0..CALLS).try_for_each(|_| {
            let mut store = Store::new(costs.can.pre.module().engine(), ());
            let instance = block_on(costs.can.pre.instantiate_async(&mut store))?;
            let write = instance.get_typed_func::<i32, i32>(&mut store, "write")?;
            block_on(write.call_async(&mut store, 7))?;
            Ok(())
        })
    }),
];

/// Links a module with functions that are synchronous, ready at once, or pending once; if nothing
/// can be suspended, the latter are synchronous too.
fn link(engine: &Engine, module: &Module, can: bool) -> Result<InstancePre<()>> {
    let mut linker: Linker<()> = Linker::new(engine);
    linker.func_wrap("cost", "sync", |n: i32| n)?;
    if !can {
        linker.func_wrap("cost", "ready", |n: i32| n)?;
        linker.func_wrap("cost", "pending", |n: i32| n)?;
        return Ok(linker.instantiate_pre(module)?);
    }
    linker.func_wrap_async("cost", "ready", |_: Caller<'_, ()>, (n,): (i32,)| {
        Box::new(std::future::ready(n))
    })?;
    linker.func_wrap_async("cost", "pending", |_: Caller<'_, ()>, (n,): (i32,)| {
        Box::new(async move {
            Once(false).await;
            n
        })
    })?;
    Ok(linker.instantiate_pre(module)?)
}

impl Linked {
    fn new(engine: &Engine, pre: InstancePre<()>) -> Result<Self> {
        let mut store = Store::new(engine, ());
        let instance = block_on(pre.instantiate_async(&mut store))?;
        let mut func = |name: &str| instance.get_typed_func::<i32, i32>(&mut store, name);
        let (nothing, sync) = (func("nothing")?, func("sync")?);
        let (ready, pending) = (func("ready")?, func("pending")?);
        Ok(Self {
            pre,
            store,
            nothing,
            sync,
            ready,
            pending,
        })
    }
}

impl Costs {
    /// Links a module and makes instances.
    ///
    /// # Errors
    /// Those of the runtime.
    pub fn new(engine: &Engine, module: &Module) -> Result<Self> {
        Ok(Self {
            can: Linked::new(engine, link(engine, module, true)?)?,
            cannot: Linked::new(engine, link(engine, module, false)?)?,
        })
    }
}
