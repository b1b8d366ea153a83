//! Stores whose calls are suspended, or on stacks of their own, and what the host does with them
//! meanwhile; and panics of what the host gives to such calls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use precast_artifact::{Interruption, Strategy};
use precast_loader::{
    AsContextMut, Caller, Config, Engine, Error, ExternRef, Func, Instance, InstancePre, Linker,
    Store, TypedFunc, UpdateDeadline, Val, WasmBacktrace,
};
use precast_tests::executor::{Pending, block_on, poll_once};
use precast_tests::{Source, strategies};

use crate::async_calls::define_references;

type Data = Option<Func>;

/// `run` holds a reference while `beneath` is called. `wait` waits once.
const WAT: &str = r#"(module
    (import "h" "wait" (func $wait))
    (import "h" "beneath" (func $beneath))
    (import "h" "fresh" (func $fresh (result externref)))
    (import "h" "check" (func $check (param externref)))
    (memory (export "memory") 1)
    (table (export "table") 1 externref)
    (global (export "global") (mut externref) (ref.null extern))
    (func (export "wait") (call $wait))
    (func (export "many") (local $i i32)
        (loop $l (drop (call $fresh))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                (i32.const 5000)))))
    (func (export "run") (local externref)
        (local.set 0 (call $fresh)) (call $beneath) (call $check (local.get 0)))
    (func (export "endless") (loop $l (br $l)))
    (func (export "write") (i32.store8 (i32.const 9) (i32.const 1)))
    (func (export "fine") (result i32) (i32.const 7)))"#;

/// `beneath` calls the function in the data of the store by `call_async`, and blocks meanwhile.
fn linked(strategy: Strategy, interruption: Interruption) -> InstancePre<Data> {
    // The epochs of the default engine are those of all tests.
    let mut config = Config::new();
    config.epoch_interruption(interruption.has_epochs());
    let engine = Engine::new(&config).unwrap();
    let source = Source::new(strategy).interruption(interruption);
    let module = source.module(&engine, WAT);
    let mut linker: Linker<Data> = Linker::new(&engine);
    linker
        .func_wrap_async("h", "wait", |_, (): ()| Box::new(Pending(1)))
        .unwrap();
    linker
        .func_wrap("h", "beneath", |mut caller: Caller<'_, Data>| {
            let func = caller.data_mut().take().unwrap();
            let func = func.typed::<(), ()>(&caller)?;
            block_on(func.call_async(&mut caller, ()))
        })
        .unwrap();
    define_references(&mut linker);
    linker.instantiate_pre(&module).unwrap()
}

fn start(pre: &InstancePre<Data>) -> (Store<Data>, Instance) {
    let mut store = Store::new(pre.module().engine(), None);
    let instance = pre.instantiate(&mut store).unwrap();
    (store, instance)
}

fn func(store: &mut Store<Data>, instance: Instance, name: &str) -> TypedFunc<(), ()> {
    instance.get_typed_func(store, name).unwrap()
}

/// Whatever the host does with a store whose call is suspended for ever, calls of wasm code are an
/// error, and all else works.
#[test]
fn a_store_with_a_leaked_call_can_be_used_for_all_but_wasm_code() {
    for strategy in strategies() {
        let pre = linked(strategy, Interruption::Epoch);
        let (mut store, instance) = start(&pre);
        let handle = store.interrupt_handle();
        let fine = instance
            .get_typed_func::<(), i32>(&mut store, "fine")
            .unwrap();
        let wait = func(&mut store, instance, "wait");
        let mut future = Box::pin(wait.call_async(&mut store, ()));
        assert!(poll_once(future.as_mut()).is_pending());
        std::mem::forget(future);

        assert!(WasmBacktrace::capture(&store).frames().is_empty());
        let host = Func::wrap(&mut store, |caller: Caller<'_, Data>| {
            WasmBacktrace::capture(&caller).frames().len() as i32
        });
        let host = host.typed::<(), i32>(&store).unwrap();
        assert_eq!(host.call(&mut store, ()).unwrap(), 0);
        let error = block_on(host.call_async(&mut store, ())).unwrap_err();
        assert!(matches!(error, Error::Suspended), "{error}");

        let value = || Val::ExternRef(Some(ExternRef::new("kept")));
        let table = instance.get_table(&mut store, "table").unwrap();
        let global = instance.get_global(&mut store, "global").unwrap();
        for _ in 0..3000 {
            table.set(&mut store, 0, value()).unwrap();
        }
        global.set(&mut store, value()).unwrap();
        table.grow(&mut store, 3, value()).unwrap();
        store.gc();
        assert!(global.get(&store).externref().flatten().is_some());
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        assert_eq!(memory.grow(&mut store, 1).unwrap(), 1);
        memory.write(&mut store, (1 << 16) + 5, b"more").unwrap();

        // A second instance needs no code to begin.
        let second = pre.instantiate(&mut store).unwrap();
        second.get_func(&mut store, "fine").unwrap();
        for instance in [instance, second] {
            let refused = [
                instance.reset(&mut store),
                instance.snapshot(&mut store).map(drop),
            ];
            for refused in refused {
                assert!(
                    matches!(refused, Err(Error::Unsuitable { .. })),
                    "{refused:?}"
                );
            }
        }
        handle.interrupt();
        handle.clear();
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(1)));
        for ticks in [0, 1, 0] {
            store.set_epoch_deadline(ticks).unwrap();
            pre.module().engine().increment_epoch();
        }
        let refused = fine.call(&mut store, ());
        assert!(matches!(refused, Err(Error::Suspended)), "{refused:?}");
        assert!(WasmBacktrace::capture(&store).frames().is_empty());
        store.into_data();
        handle.interrupt();
    }
}

/// Calls of host functions on stacks of their own, one in the other, above wasm code that holds a
/// reference: `depth` of them, and the innermost one does `work`.
fn beneath(
    store: &mut Store<Data>,
    depth: u32,
    work: impl Fn(&mut Caller<'_, Data>) + Send + Sync + 'static,
) -> Func {
    let mut func = Func::wrap_async(&mut *store, move |mut caller: Caller<'_, Data>, (): ()| {
        work(&mut caller);
        Box::new(async {})
    });
    for _ in 1..depth {
        let inner = func.typed::<(), ()>(&*store).unwrap();
        func = Func::wrap_async(&mut *store, move |mut caller: Caller<'_, Data>, (): ()| {
            Box::new(async move { inner.call_async(&mut caller, ()).await })
        });
    }
    func
}

#[test]
fn references_of_wasm_code_beneath_several_stacks_are_kept() {
    for strategy in strategies() {
        let pre = linked(strategy, Interruption::None);
        for depth in 1..=4 {
            let (mut store, instance) = start(&pre);
            let run = func(&mut store, instance, "run");
            let collect = beneath(&mut store, depth, |caller| {
                caller.as_context_mut().gc();
            });
            *store.data_mut() = Some(collect);
            run.call(&mut store, ()).unwrap();
            // The same with wasm code on top, which makes many.
            let many = func(&mut store, instance, "many");
            let collect = beneath(&mut store, depth, move |caller| {
                many.call(caller, ()).unwrap();
            });
            *store.data_mut() = Some(collect);
            run.call(&mut store, ()).unwrap();
            // The outermost code is on a stack of its own, too.
            let collect = beneath(&mut store, depth, |caller| {
                caller.as_context_mut().gc();
            });
            *store.data_mut() = Some(collect);
            block_on(run.call_async(&mut store, ())).unwrap();
        }
    }
}

#[test]
fn an_instance_is_not_reset_while_its_code_is_beneath_other_stacks() {
    for strategy in strategies() {
        let pre = linked(strategy, Interruption::None);
        for depth in 1..=3 {
            let (mut store, instance) = start(&pre);
            let run = func(&mut store, instance, "run");
            let try_to_reset = beneath(&mut store, depth, move |caller| {
                let refused = [
                    instance.reset(&mut *caller),
                    instance.snapshot(&mut *caller).map(drop),
                ];
                for refused in refused {
                    assert!(
                        matches!(refused, Err(Error::Unsuitable { .. })),
                        "{refused:?}"
                    );
                }
            });
            *store.data_mut() = Some(try_to_reset);
            run.call(&mut store, ()).unwrap();
            // When no call is beneath, nothing is refused, and what code of the store wrote before,
            // on another stack, is gone.
            func(&mut store, instance, "write")
                .call(&mut store, ())
                .unwrap();
            let reset = beneath(&mut store, depth, move |caller| {
                instance.reset(&mut *caller).unwrap();
            });
            let reset = reset.typed::<(), ()>(&store).unwrap();
            block_on(reset.call_async(&mut store, ())).unwrap();
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            assert_eq!(memory.data(&store)[9], 0);
            instance.reset(&mut store).unwrap();
        }
    }
}

/// Panics when it is woken.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("in a waker");
    }
}

/// A future of the host that code is suspended for at a deadline, and the waker of its task, are
/// the host's own code, like host functions.
#[test]
fn panics_of_what_waits_at_a_deadline_reach_the_poller() {
    let of_future = || UpdateDeadline::YieldCustom(0, Box::pin(async { panic!("in a future") }));
    let of_later = || {
        let later = async {
            Pending(1).await;
            panic!("in a future")
        };
        UpdateDeadline::YieldCustom(0, Box::pin(later))
    };
    struct Dropped;
    impl Drop for Dropped {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }
    let of_drop = || {
        let dropped = Dropped;
        let ready = async move {
            let _dropped = &dropped;
        };
        UpdateDeadline::YieldCustom(0, Box::pin(ready))
    };
    type Update = fn() -> UpdateDeadline;
    let cases: [(Update, &str, bool); 4] = [
        (of_future, "in a future", false),
        (of_later, "in a future", false),
        (of_drop, "in a drop", false),
        (|| UpdateDeadline::Yield(0), "in a waker", true),
    ];
    let panicking = Waker::from(Arc::new(Panics));
    for strategy in strategies() {
        let pre = linked(strategy, Interruption::Epoch);
        for (update, message, with_waker) in cases {
            let (mut store, instance) = start(&pre);
            let endless = func(&mut store, instance, "endless");
            store.epoch_deadline_callback(move |_| Ok(update()));
            store.set_epoch_deadline(0).unwrap();
            for _ in 0..2 {
                let mut future = Box::pin(endless.call_async(&mut store, ()));
                let waker = if with_waker {
                    &panicking
                } else {
                    Waker::noop()
                };
                let mut context = Context::from_waker(waker);
                let call =
                    AssertUnwindSafe(|| while future.as_mut().poll(&mut context).is_pending() {});
                let panic = catch_unwind(call).unwrap_err();
                assert_eq!(panic.downcast_ref(), Some(&message));
            }
            store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Interrupt));
            assert!(endless.call(&mut store, ()).is_err());
        }
        // A call that cannot be suspended drops the future.
        let (mut store, instance) = start(&pre);
        let endless = func(&mut store, instance, "endless");
        store.epoch_deadline_callback(move |_| Ok(of_drop()));
        store.set_epoch_deadline(0).unwrap();
        let call = AssertUnwindSafe(|| endless.call(&mut store, ()));
        let panic = catch_unwind(call).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"in a drop"));
    }
}
