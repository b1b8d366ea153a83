//! Values of the host that panic or use other stores when they are dropped, or that are never
//! dropped.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use precast_loader::{
    Config, Engine, Error, ExternRef, Func, InstancePre, Interruption, Linker, Store, Trap, Val,
};
use precast_tests::{Source, module, strategies};

use crate::panic_of;

/// Counts its drops, and panics in them.
struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

/// Makes a closure capture a value.
fn hold<C>(_: &C) {}

const WAT: &str = r#"(module (import "h" "f" (func))
    (table (export "t") 4 externref) (memory 1)
    (func (export "f") (call 0) (i32.store (i32.const 0) (i32.const 1)))
    (func (export "keep") (param externref) (table.set 0 (i32.const 0) (local.get 0))))"#;

fn linked(strategy: precast_artifact::Strategy, count: &Arc<AtomicUsize>) -> InstancePre<Bomb> {
    let engine = Engine::default();
    let module = module(&engine, WAT, strategy);
    let mut linker = Linker::new(&engine);
    let bomb = Bomb(Arc::clone(count));
    linker.func_wrap("h", "f", move || hold(&bomb)).unwrap();
    linker.instantiate_pre(&module).unwrap()
}

/// The data of a store, external references, and host functions of the store and of its instances
/// are each dropped once, on the thread that drops their owner.
#[test]
fn that_panic() {
    for strategy in strategies() {
        let count = Arc::new(AtomicUsize::new(0));
        let bomb = || Bomb(Arc::clone(&count));
        let pre = linked(strategy, &count);
        for round in 0..3 {
            let mut store = Store::new(pre.module().engine(), bomb());
            let instance = pre.instantiate(&mut store).unwrap();
            let keep = instance
                .get_typed_func::<Option<ExternRef>, ()>(&mut store, "keep")
                .unwrap();
            keep.call(&mut store, Some(ExternRef::new(bomb()))).unwrap();
            let own = bomb();
            Func::wrap(&mut store, move || hold(&own));
            let before = count.load(Ordering::SeqCst);
            assert_eq!(panic_of(|| drop(store)), "dropped");
            assert_eq!(count.load(Ordering::SeqCst), before + 3, "round {round}");
        }
        // The parked instances hold the host function.
        let before = count.load(Ordering::SeqCst);
        assert_eq!(panic_of(|| drop(pre)), "dropped");
        assert_eq!(count.load(Ordering::SeqCst), before + 1);
    }
}

/// The caller drops the error of a host function. A panic of a host function continues in the
/// caller.
#[test]
fn of_errors_and_panics() {
    #[derive(Debug)]
    struct Failure(#[expect(dead_code, reason = "dropped")] Arc<()>);
    impl std::fmt::Display for Failure {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("failure")
        }
    }
    impl std::error::Error for Failure {}
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, WAT, strategy);
        let held = Arc::new(());
        for panics in [false, true] {
            let mut linker: Linker<()> = Linker::new(&engine);
            let given = Arc::clone(&held);
            linker
                .func_wrap("h", "f", move || -> Result<(), Error> {
                    let own = Arc::clone(&given);
                    if panics {
                        std::panic::panic_any(Failure(own));
                    }
                    Err(Error::host(Failure(own)))
                })
                .unwrap();
            let mut store = Store::new(&engine, ());
            let instance = linker.instantiate(&mut store, &module).unwrap();
            let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
            for _ in 0..3 {
                if panics {
                    assert_eq!(panic_of(|| f.call(&mut store, ())), "not a text");
                } else {
                    assert!(f.call(&mut store, ()).is_err());
                }
                // One reference is in the closure, and one is `held`.
                assert_eq!(Arc::strong_count(&held), 2);
            }
            drop((linker, store));
        }
        assert_eq!(Arc::strong_count(&held), 1);
    }
}

/// Makes instances while an instance of the same linked module is dropped. They come from the same
/// pool.
#[test]
fn that_use_the_pool() {
    struct Remake(Option<InstancePre<()>>, Arc<AtomicUsize>);
    impl Drop for Remake {
        fn drop(&mut self) {
            if let Some(pre) = &self.0 {
                let mut store = Store::new(pre.module().engine(), ());
                let instance = pre.instantiate(&mut store).unwrap();
                let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
                f.call(&mut store, ()).unwrap();
                self.1.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, WAT, strategy);
        let count = Arc::new(AtomicUsize::new(0));
        let mut linker: Linker<()> = Linker::new(&engine);
        linker.func_wrap("h", "f", || {}).unwrap();
        let inner = linker.instantiate_pre(&module).unwrap();
        let remake = || Remake(Some(inner.clone()), Arc::clone(&count));
        for round in 1..=20 {
            let mut linker: Linker<Remake> = Linker::new(&engine);
            let of_function = remake();
            linker
                .func_wrap("h", "f", move || hold(&of_function))
                .unwrap();
            let mut store = Store::new(&engine, remake());
            let instance = linker.instantiate(&mut store, &module).unwrap();
            let table = instance.get_table(&mut store, "t").unwrap();
            let reference = Val::from(ExternRef::new(remake()));
            table.set(&mut store, 1, reference).unwrap();
            drop(linker);
            drop(store);
            assert_eq!(count.load(Ordering::SeqCst), 3 * round);
        }
    }
}

/// A store and a handle that are never dropped stay usable. The engine, other threads and the pool
/// do not refer to anything that is gone.
#[test]
fn that_never_happen() {
    for strategy in strategies() {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let source = Source::new(strategy).interruption(Interruption::Epoch);
        let module = source.module(&engine, WAT);
        let mut linker: Linker<()> = Linker::new(&engine);
        linker.func_wrap("h", "f", || {}).unwrap();
        let pre = linker.instantiate_pre(&module).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1).unwrap();
        let handle = store.interrupt_handle();
        let instance = pre.instantiate(&mut store).unwrap();
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        let store = Box::leak(Box::new(store));
        engine.increment_epoch();
        handle.interrupt();
        assert!(f.call(&mut *store, ()).is_err());
        handle.clear();
        std::mem::forget(handle);
        std::mem::forget(linker);
        drop(pre);
        store.clear_epoch_deadline();
        f.call(&mut *store, ()).unwrap();
    }
}

/// Runs a guest when it is dropped.
struct Last(InstancePre<()>, Arc<AtomicUsize>);

impl Last {
    fn run(&self) {
        let mut store = Store::new(self.0.module().engine(), ());
        let instance = self.0.instantiate(&mut store).unwrap();
        for (name, expected) in [
            ("outside", Trap::MemoryOutOfBounds),
            ("deep", Trap::StackOverflow),
        ] {
            let f = instance.get_typed_func::<(), ()>(&mut store, name);
            let error = f.unwrap().call(&mut store, ()).unwrap_err();
            assert_eq!(error.trap(), Some(expected));
        }
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        self.run();
    }
}

thread_local! {
    static BEFORE: RefCell<Option<Last>> = const { RefCell::new(None) };
    static AFTER: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// A guest runs, traps and is parked while its thread drops what is local to it, whether what the
/// loader keeps for the thread is dropped before or afterwards.
#[test]
fn of_threads_that_end() {
    for strategy in strategies() {
        let engine = Engine::default();
        let wat = r#"(module (memory 1)
            (func (export "outside") (drop (i32.load (i32.const -1))))
            (func $deep (export "deep") (call $deep)))"#;
        let module = module(&engine, wat, strategy);
        let pre = Linker::new(&engine).instantiate_pre(&module).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let last = || Last(pre.clone(), Arc::clone(&count));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                BEFORE.set(Some(last()));
                last().run();
                AFTER.set(Some(last()));
            });
            thread.join().unwrap();
        });
        // One by hand, one by the drop of the same value, and one for each thread-local.
        assert_eq!(count.load(Ordering::SeqCst), 4, "{strategy}");
    }
}
