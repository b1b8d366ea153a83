//! What calls cost that can be suspended, beside calls that cannot: `./run.sh --cost`.
//!
//! Each line is the median of rounds in which all cases take turns, in nanoseconds for one call, or
//! for one call of a host function.

use std::error::Error as StdError;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use precast_loader::{Engine, Error, InstancePre, Linker, Module, Store};

const ROUNDS: usize = 101;
const CALLS: u32 = 1000;

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

/// A store of its own for each call.
fn whole(pre: &InstancePre<()>, suspendable: bool) -> Result<i32, Error> {
    let mut store = Store::new(pre.module().engine(), ());
    if suspendable {
        let instance = block_on(pre.instantiate_async(&mut store))?;
        let write = instance.get_typed_func::<i32, i32>(&mut store, "write")?;
        return block_on(write.call_async(&mut store, 7));
    }
    let instance = pre.instantiate(&mut store)?;
    let write = instance.get_typed_func::<i32, i32>(&mut store, "write")?;
    write.call(&mut store, 7)
}

fn main() -> Result<(), Box<dyn StdError>> {
    let path = std::env::args().nth(1).ok_or("usage: cost COST.precast")?;
    let engine = Engine::default();
    // SAFETY: `precast compile` has written the file, and nobody changes it.
    let module = unsafe { Module::open(&engine, path)? };
    let mut linker: Linker<()> = Linker::new(&engine);
    linker.func_wrap("cost", "sync", |n: i32| n)?;
    linker.func_wrap_async("cost", "ready", |_, (n,): (i32,)| {
        Box::new(std::future::ready(n))
    })?;
    linker.func_wrap_async("cost", "pending", |_, (n,): (i32,)| {
        Box::new(async move {
            Once(false).await;
            n
        })
    })?;
    let pre = linker.instantiate_pre(&module)?;
    let mut store = Store::new(&engine, ());
    let instance = pre.instantiate(&mut store)?;
    let mut func = |name: &str| instance.get_typed_func::<i32, i32>(&mut store, name);
    let (nothing, sync) = (func("nothing")?, func("sync")?);
    let (ready, pending) = (func("ready")?, func("pending")?);
    let n = CALLS.cast_signed();

    type Case<'a> = (
        &'a str,
        Box<dyn FnMut(&mut Store<()>) -> Result<(), Error> + 'a>,
    );
    let many = |mut one: Box<dyn FnMut(&mut Store<()>) -> Result<i32, Error>>| {
        move |store: &mut Store<()>| (0..CALLS).try_for_each(|_| one(store).map(drop))
    };
    let mut cases: Vec<Case<'_>> = vec![
        (
            "call",
            Box::new(many(Box::new(move |store| nothing.call(store, 7)))),
        ),
        (
            "call_async, never suspended",
            Box::new(many(Box::new(move |store| {
                block_on(nothing.call_async(store, 7))
            }))),
        ),
        (
            "host call in call",
            Box::new(move |store| sync.call(store, n).map(drop)),
        ),
        (
            "host call in call_async",
            Box::new(move |store| block_on(sync.call_async(store, n)).map(drop)),
        ),
        (
            "host future that is ready",
            Box::new(move |store| block_on(ready.call_async(store, n)).map(drop)),
        ),
        (
            "host future that is pending once",
            Box::new(move |store| block_on(pending.call_async(store, n)).map(drop)),
        ),
        (
            "instantiate, call, drop",
            Box::new(|_| (0..CALLS).try_for_each(|_| whole(&pre, false).map(drop))),
        ),
        (
            "instantiate_async, call_async, drop",
            Box::new(|_| (0..CALLS).try_for_each(|_| whole(&pre, true).map(drop))),
        ),
    ];
    let mut times = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for ((_, case), times) in cases.iter_mut().zip(&mut times) {
            let start = Instant::now();
            case(&mut store)?;
            times.push(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
    }
    for ((name, _), times) in cases.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("{:>8.1} ns  {name}", times[ROUNDS / 2]);
    }
    Ok(())
}
