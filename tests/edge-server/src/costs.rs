//! What is measured of calls that can be suspended, and of calls that cannot. `wasm` is
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
pub struct Costs {
    pre: InstancePre<()>,
    store: Store<()>,
    nothing: TypedFunc<i32, i32>,
    sync: TypedFunc<i32, i32>,
    ready: TypedFunc<i32, i32>,
    pending: TypedFunc<i32, i32>,
}

/// The name of a case, and what makes [`CALLS`] calls.
pub type Case = (&'static str, fn(&mut Costs) -> Result<()>);

/// What is measured.
pub const CASES: [Case; 8] = [
    ("call", |costs| {
        (0..CALLS).try_for_each(|_| Ok(costs.nothing.call(&mut costs.store, 7).map(drop)?))
    }),
    ("call_async, never suspended", |costs| {
        (0..CALLS).try_for_each(|_| {
            let call = costs.nothing.call_async(&mut costs.store, 7);
            Ok(block_on(call).map(drop)?)
        })
    }),
    ("host call in call", |costs| {
        costs.sync.call(&mut costs.store, CALLS.cast_signed())?;
        Ok(())
    }),
    ("host call in call_async", |costs| {
        let n = CALLS.cast_signed();
        block_on(costs.sync.call_async(&mut costs.store, n))?;
        Ok(())
    }),
    ("host future that is ready", |costs| {
        let n = CALLS.cast_signed();
        block_on(costs.ready.call_async(&mut costs.store, n))?;
        Ok(())
    }),
    ("host future that is pending once", |costs| {
        let n = CALLS.cast_signed();
        block_on(costs.pending.call_async(&mut costs.store, n))?;
        Ok(())
    }),
    ("instantiate, call, drop", |costs| {
        (0..CALLS).try_for_each(|_| {
            let mut store = Store::new(costs.pre.module().engine(), ());
            let instance = costs.pre.instantiate(&mut store)?;
            let write = instance.get_typed_func::<i32, i32>(&mut store, "write")?;
            write.call(&mut store, 7)?;
            Ok(())
        })
    }),
    ("instantiate_async, call_async, drop", |costs| {
        (0..CALLS).try_for_each(|_| {
            let mut store = Store::new(costs.pre.module().engine(), ());
            let instance = block_on(costs.pre.instantiate_async(&mut store))?;
            let write = instance.get_typed_func::<i32, i32>(&mut store, "write")?;
            block_on(write.call_async(&mut store, 7))?;
            Ok(())
        })
    }),
];

/// Links a module with functions that are synchronous, ready at once, or pending once.
fn link(engine: &Engine, module: &Module) -> Result<InstancePre<()>> {
    let mut linker: Linker<()> = Linker::new(engine);
    linker.func_wrap("cost", "sync", |n: i32| n)?;
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

impl Costs {
    /// Links a module and makes an instance.
    ///
    /// # Errors
    /// Those of the runtime.
    pub fn new(engine: &Engine, module: &Module) -> Result<Self> {
        let pre = link(engine, module)?;
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
