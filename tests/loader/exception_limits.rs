//! Limits on the memory of exceptions, and the cost of collecting exceptions that nothing holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use precast_artifact::Strategy;
use precast_loader::{
    Engine, Error, ExternRef, Instance, Linker, Module, SharedLimits, Store, StoreLimitsBuilder,
};
use precast_tests::{module, strategies};

fn instance(store: &mut Store<()>, wat: &str, strategy: Strategy) -> Instance {
    let module = module(store.engine(), wat, strategy);
    Instance::new(store, &module, &[]).unwrap()
}

/// A tag whose exceptions have 100 vectors and a reference to another exception.
const LARGE: &str = r#"
    (type $large (func (param exnref VECTORS)))
    (tag $t (type $large))
    (global $last (mut exnref) (ref.null exn))
    (func $throw (param exnref) (throw $t (local.get 0) ZEROS))
    (func (export "drop") (global.set $last (ref.null exn)))
    (func (export "chain") (param i32)
        (loop $again
            (global.set $last (block $h (result exnref)
                (try_table (catch_all_ref $h) (call $throw (global.get $last)))
                (unreachable)))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func $deep (export "deep") (param $depth i32) (param $times i32)
        (if (local.get $depth)
            (then (call $deep (i32.sub (local.get $depth) (i32.const 1)) (local.get $times)))
            (else (loop $again
                (block $h (try_table (catch_all $h) (call $throw (ref.null exn))))
                (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))))"#;

/// A module with these items and others.
fn large(others: &str) -> String {
    let zeros = "(v128.const i64x2 0 0) ".repeat(100);
    let items = LARGE
        .replace("VECTORS", &"v128 ".repeat(100))
        .replace("ZEROS", &zeros);
    format!("(module {others} {items})")
}

/// A store whose exceptions take no more than a MiB.
fn store() -> Store<()> {
    let mut store = Store::new(&Engine::default(), ());
    store.set_limits(StoreLimitsBuilder::new().total_memory_size(1 << 20).build());
    store
}

#[test]
fn exceptions_are_within_the_limits_of_their_store() {
    let wat = large("");
    for strategy in strategies() {
        let mut store = store();
        let instance = instance(&mut store, &wat, strategy);
        let chain = instance
            .get_typed_func::<i32, ()>(&mut store, "chain")
            .unwrap();
        let drop = instance
            .get_typed_func::<(), ()>(&mut store, "drop")
            .unwrap();
        let deep = instance
            .get_typed_func::<(i32, i32), ()>(&mut store, "deep")
            .unwrap();
        // Exceptions that nothing holds do not count.
        deep.call(&mut store, (1000, 10_000)).unwrap();
        for _ in 0..3 {
            chain.call(&mut store, 400).unwrap();
            let error = chain.call(&mut store, 400).unwrap_err();
            let is_limit = matches!(
                error,
                Error::Limit { what: "bytes of all exceptions of a store", limit, .. }
                    if limit == 1 << 20
            );
            assert!(is_limit, "{error}");
            drop.call(&mut store, ()).unwrap();
            store.gc();
        }
    }
}

/// Throws exceptions that hold a value of the host each and are forgotten.
const SMALL: &str = r#"
    (import "h" "new" (func $new (result externref)))
    (tag $small (param externref))
    (func $one (throw $small (call $new)))
    (func (export "small") (param i32)
        (loop $again
            (block $h (try_table (catch_all $h) (call $one)))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))"#;

/// A value that counts when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Holds so many large exceptions, and throws a thousand small ones. Returns how that ended, and
/// the number of collections that dropped some of them.
fn small_ones(module: &Module, chain: i32) -> (Result<(), Error>, usize) {
    let collections = Arc::new(AtomicUsize::new(0));
    let (found, dropped) = (Arc::clone(&collections), Arc::new(AtomicUsize::new(0)));
    let seen = AtomicUsize::new(0);
    let mut linker = Linker::new(module.engine());
    let new = move || {
        let now = dropped.load(Ordering::SeqCst);
        if seen.swap(now, Ordering::SeqCst) != now {
            found.fetch_add(1, Ordering::SeqCst);
        }
        Some(ExternRef::new(Counted(Arc::clone(&dropped))))
    };
    linker.func_wrap("h", "new", new).unwrap();
    let mut store = store();
    let instance = linker.instantiate(&mut store, module).unwrap();
    let [fill, small] = ["chain", "small"].map(|name| {
        instance
            .get_typed_func::<i32, ()>(&mut store, name)
            .unwrap()
    });
    fill.call(&mut store, chain).unwrap();
    let ended = small.call(&mut store, 1000);
    drop(store);
    (ended, collections.load(Ordering::SeqCst))
}

/// A store that holds nearly all that it may does not look at all of it for each throw.
#[test]
fn throws_near_the_limit_do_not_each_cost_a_collection() {
    for strategy in strategies() {
        let module = module(&Engine::default(), &large(SMALL), strategy);
        // So many large exceptions fit.
        let full = (1 << 20) / (256 + 101 * 16);
        // With a part of 32 left, which is more than a collection costs: of 272 bytes each, at
        // least 60 small exceptions are worth one.
        let (ended, collections) = small_ones(&module, full - full / 32 - 1);
        ended.unwrap();
        assert!((1..=1000 / 60).contains(&collections), "{collections}");
        // Less is left than that.
        let (ended, collections) = small_ones(&module, full);
        let error = ended.unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
        assert!(collections <= 1, "{collections}");
    }
}

#[test]
fn stores_share_the_limit_of_exceptions() {
    for strategy in strategies() {
        let engine = Engine::default();
        let module = module(&engine, &large(""), strategy);
        let limits = StoreLimitsBuilder::new().total_memory_size(1 << 20);
        let limits = SharedLimits::new(limits.build());
        let make = || {
            let mut store = Store::new(&engine, ());
            store.share_limits(&limits);
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            (store, instance)
        };
        let chain = |(store, instance): &mut (Store<()>, Instance), length: i32| {
            let chain = instance.get_typed_func::<i32, ()>(&mut *store, "chain");
            chain.unwrap().call(store, length)
        };
        let is_limit = |ended: Result<(), Error>| {
            let error = ended.unwrap_err();
            let expected = "bytes of all exceptions of all stores together";
            assert!(error.to_string().contains(expected), "{error}");
        };
        // Of 1872 bytes each, 560 take a MiB.
        let (mut one, mut two) = (make(), make());
        chain(&mut one, 400).unwrap();
        is_limit(chain(&mut two, 400));
        is_limit(chain(&mut one, 400));
        // What nothing holds gives way: the store of the call drops it, however full the limit is.
        let mut three = make();
        let deep = three
            .1
            .get_typed_func::<(i32, i32), ()>(&mut three.0, "deep");
        deep.unwrap().call(&mut three.0, (100, 2000)).unwrap();
        // A store gives back what a collection drops.
        let forget = one.1.get_typed_func::<(), ()>(&mut one.0, "drop");
        forget.unwrap().call(&mut one.0, ()).unwrap();
        one.0.gc();
        two.0.gc();
        chain(&mut two, 100).unwrap();
        // It gives everything back when it is dropped, or when it shares other limits.
        drop(two);
        chain(&mut three, 400).unwrap();
        is_limit(chain(&mut one, 400));
        three.0.share_limits(&SharedLimits::default());
        let mut four = make();
        drop(one);
        chain(&mut four, 500).unwrap();
        // What a store has counts in limits that it shares later.
        three.0.share_limits(&limits);
        is_limit(chain(&mut four, 100));
    }
}
