//! External references are kept while wasm code can hold them, and given back when it cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use precast_artifact::Strategy;
use precast_loader::{
    Caller, Engine, Error, Extern, ExternRef, FuncType, Global, GlobalType, Instance, Linker,
    Store, Table, TableType, Val, ValType,
};
use precast_tests::{cpu_time, module, strategies};

/// How many references of a test are alive, and the largest number that ever was.
#[derive(Debug, Default)]
struct Count {
    live: AtomicUsize,
    max: AtomicUsize,
}

/// A value that is counted. The number tells values apart.
struct Counted(Arc<Count>, usize);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Count {
    fn fresh(self: &Arc<Self>, name: usize) -> ExternRef {
        let live = self.live.fetch_add(1, Ordering::SeqCst) + 1;
        self.max.fetch_max(live, Ordering::SeqCst);
        ExternRef::new(Counted(Arc::clone(self), name))
    }

    fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    fn max(&self) -> usize {
        self.max.load(Ordering::SeqCst)
    }
}

fn name(value: &ExternRef) -> usize {
    value.data().downcast_ref::<Counted>().unwrap().1
}

/// How many references may be alive while hardly any are held. A collection begins when there are
/// 1,024, and a few more are on the stack by chance.
const FEW: usize = 1500;

/// The host function `fresh` returns a new reference, `pair` two new ones, `dynamic` one through an
/// array of values; `again` calls an export.
const WAT: &str = r#"(module
    (import "h" "fresh" (func $fresh (result externref)))
    (import "h" "pair" (func $pair (param externref) (result externref externref)))
    (import "h" "dynamic" (func $dynamic (param externref) (result externref)))
    (import "h" "again" (func $again (param externref i32) (result externref)))
    (import "h" "check" (func $check (param externref i32)))
    (table $t (export "t") 10 externref)
    (global $g (export "g") (mut externref) (ref.null extern))

    (func $burn (export "burn") (param $n i32)
        (loop $l
            (drop (call $fresh))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))

    (func (export "burn-pairs") (param $n i32) (local $r externref)
        (loop $l
            (call $pair (local.get $r)) (drop) (local.set $r)
            (local.set $r (call $dynamic (local.get $r)))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))

    ;; Twelve references and much garbage: some of the references are in registers, some in the frame,
    ;; some where the caller put them.
    (func $hold (export "hold") (param $n i32)
        (param externref externref externref externref externref externref
               externref externref externref externref externref externref)
        (call $burn (local.get $n))
        (call $check (local.get 1) (i32.const 1)) (call $check (local.get 2) (i32.const 2))
        (call $check (local.get 3) (i32.const 3)) (call $check (local.get 4) (i32.const 4))
        (call $check (local.get 5) (i32.const 5)) (call $check (local.get 6) (i32.const 6))
        (call $burn (local.get $n))
        (call $check (local.get 7) (i32.const 7)) (call $check (local.get 8) (i32.const 8))
        (call $check (local.get 9) (i32.const 9)) (call $check (local.get 10) (i32.const 10))
        (call $check (local.get 11) (i32.const 11)) (call $check (local.get 12) (i32.const 12))
        (call $check (local.get 1) (i32.const 1)))

    ;; Each level holds a reference and calls the host, which calls the next level.
    (func (export "nest") (param $r externref) (param $depth i32) (result externref)
        (local $inner externref)
        (if (local.get $depth)
            (then (local.set $inner (call $again (local.get $r)
                (i32.sub (local.get $depth) (i32.const 1)))))
            (else (call $burn (i32.const 5000))))
        (call $check (local.get $r) (local.get $depth))
        (local.get $r))

    (func (export "keep") (param $at i32) (param $r externref)
        (table.set $t (local.get $at) (local.get $r)))
    (func (export "kept") (param $at i32) (result externref) (table.get $t (local.get $at)))
    (func (export "set") (param $r externref) (global.set $g (local.get $r)))
    (func (export "get") (result externref) (global.get $g))
    (func (export "take") (param externref)))"#;

fn instantiate(strategy: Strategy, count: &Arc<Count>) -> (Store<Arc<Count>>, Instance) {
    let engine = Engine::default();
    let module = module(&engine, WAT, strategy);
    let mut linker: Linker<Arc<Count>> = Linker::new(&engine);
    let fresh = |caller: Caller<'_, Arc<Count>>| Some(caller.data().fresh(0));
    linker.func_wrap("h", "fresh", fresh).unwrap();
    let pair = |caller: Caller<'_, Arc<Count>>, given: Option<ExternRef>| {
        (
            given.or_else(|| Some(caller.data().fresh(1))),
            Some(caller.data().fresh(2)),
        )
    };
    linker.func_wrap("h", "pair", pair).unwrap();
    let ty = FuncType::new(
        &Engine::default(),
        [ValType::EXTERNREF],
        [ValType::EXTERNREF],
    );
    let dynamic = |caller: Caller<'_, Arc<Count>>, params: &[Val], results: &mut [Val]| {
        assert!(matches!(params[0], Val::ExternRef(Some(_))));
        results[0] = caller.data().fresh(3).into();
        Ok(())
    };
    linker.func_new("h", "dynamic", ty, dynamic).unwrap();
    let again = |mut caller: Caller<'_, Arc<Count>>, given: Option<ExternRef>, depth: i32| {
        let outer = name(&given.unwrap());
        assert_eq!(outer, depth as usize + 1);
        let nest = caller
            .get_export("nest")
            .and_then(Extern::into_func)
            .unwrap();
        let nest = nest.typed::<(Option<ExternRef>, i32), Option<ExternRef>>(&caller)?;
        let inner = caller.data().fresh(depth as usize);
        let inner = nest.call(&mut caller, (Some(inner), depth))?;
        Ok::<_, Error>(inner)
    };
    linker.func_wrap("h", "again", again).unwrap();
    let check = |given: Option<ExternRef>, expected: i32| {
        assert_eq!(name(&given.expect("it is held")), expected as usize);
    };
    linker.func_wrap("h", "check", check).unwrap();
    let mut store = Store::new(&engine, Arc::clone(count));
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

#[test]
fn a_guest_can_drop_any_number_of_references() {
    for strategy in strategies() {
        let count = Arc::default();
        let (mut store, instance) = instantiate(strategy, &count);
        let burn = |store: &mut _, name, n| {
            let burn = instance
                .get_typed_func::<i32, ()>(&mut *store, name)
                .unwrap();
            burn.call(&mut *store, n).unwrap();
        };
        burn(&mut store, "burn", 1_000_000);
        assert!(count.max() < FEW, "{}", count.max());
        burn(&mut store, "burn-pairs", 100_000);
        assert!(count.max() < FEW, "{}", count.max());
        drop(store);
        assert_eq!(count.live(), 0);
    }
}

/// A way to pass a reference to a store.
type Way<'a> = dyn Fn(&mut Store<Arc<Count>>, ExternRef) -> Result<(), Error> + 'a;

#[test]
fn a_host_can_drop_any_number_of_references() {
    for strategy in strategies() {
        let count = Arc::<Count>::default();
        let (mut store, instance) = instantiate(strategy, &count);
        let store = &mut store;
        let take = instance.get_func(&mut *store, "take").unwrap();
        let typed = take.typed::<Option<ExternRef>, ()>(&*store).unwrap();
        let ty = TableType::new(ValType::EXTERNREF, 1, None);
        let table = Table::new(&mut *store, ty, Val::ExternRef(None)).unwrap();
        let ty = GlobalType::new(ValType::EXTERNREF, true);
        let global = Global::new(&mut *store, ty, Val::ExternRef(None)).unwrap();
        let ways: [&Way<'_>; 4] = [
            &|store, r| typed.call(store, Some(r)),
            &|store, r| take.call(store, &[r.into()], &mut []),
            &|store, r| table.set(store, 0, r.into()),
            &|store, r| global.set(store, r.into()),
        ];
        for way in ways {
            for i in 0..20_000 {
                way(store, count.fresh(i)).unwrap();
            }
            assert!(count.max() < FEW, "{}", count.max());
        }
        // Passing the same reference again and again counts once.
        let same = count.fresh(7);
        let before = count.live();
        for _ in 0..20_000 {
            typed.call(&mut *store, Some(same.clone())).unwrap();
        }
        assert_eq!(count.live(), before);
    }
}

#[test]
fn held_references_keep_their_values() {
    for strategy in strategies() {
        let count = Arc::<Count>::default();
        let (mut store, instance) = instantiate(strategy, &count);
        let store = &mut store;
        let func = |store: &mut Store<_>, name| instance.get_func(store, name).unwrap();
        let (burn, keep, kept) = (
            func(store, "burn"),
            func(store, "keep"),
            func(store, "kept"),
        );
        let (set, get) = (func(store, "set"), func(store, "get"));
        let burn = |store: &mut Store<_>| burn.call(store, &[Val::I32(5000)], &mut []).unwrap();
        // References in tables and globals, of the instance and of the host.
        for i in 0..10 {
            let value = count.fresh(100 + i).into();
            keep.call(&mut *store, &[Val::I32(i as i32), value], &mut [])
                .unwrap();
        }
        set.call(&mut *store, &[count.fresh(200).into()], &mut [])
            .unwrap();
        let ty = TableType::new(ValType::EXTERNREF, 5, None);
        let table = Table::new(&mut *store, ty, count.fresh(300).into()).unwrap();
        let grown = table.grow(&mut *store, 5, count.fresh(301).into()).unwrap();
        assert_eq!(grown, 5);
        let ty = GlobalType::new(ValType::EXTERNREF, false);
        let global = Global::new(&mut *store, ty, count.fresh(400).into()).unwrap();
        for _ in 0..3 {
            burn(store);
            let mut one = [Val::I32(0)];
            for i in 0..10 {
                kept.call(&mut *store, &[Val::I32(i as i32)], &mut one)
                    .unwrap();
                assert_eq!(name(one[0].externref().flatten().unwrap()), 100 + i);
                let element = table.get(&*store, i as u64).unwrap();
                assert_eq!(name(element.externref().flatten().unwrap()), 300 + i / 5);
            }
            get.call(&mut *store, &[], &mut one).unwrap();
            assert_eq!(name(one[0].externref().flatten().unwrap()), 200);
            assert_eq!(
                name(global.get(&*store).externref().flatten().unwrap()),
                400
            );
        }
        // References in frames of wasm code.
        let hold = func(store, "hold");
        let mut arguments = vec![Val::I32(5000)];
        arguments.extend((1..=12).map(|i| Val::from(count.fresh(i))));
        for _ in 0..3 {
            hold.call(&mut *store, &arguments, &mut []).unwrap();
        }
        // References in frames of several activations, with the host in between.
        let nest = instance
            .get_typed_func::<(Option<ExternRef>, i32), Option<ExternRef>>(&mut *store, "nest")
            .unwrap();
        for depth in [0, 1, 2, 20] {
            let given = count.fresh(depth);
            let back = nest.call(&mut *store, (Some(given), depth as i32)).unwrap();
            assert_eq!(name(&back.unwrap()), depth);
        }
        assert!(count.max() < FEW + 100, "{}", count.max());
    }
}

/// A new reference costs the same however many there are already.
#[test]
fn time_is_in_proportion() {
    let count = Arc::<Count>::default();
    let (mut store, _) = instantiate(Strategy::Checked, &count);
    let ty = TableType::new(ValType::EXTERNREF, 640_000, None);
    let table = Table::new(&mut store, ty, Val::ExternRef(None)).unwrap();
    let mut fill = |range: std::ops::Range<u64>| {
        let start = cpu_time();
        for i in range {
            table
                .set(&mut store, i, count.fresh(i as usize).into())
                .unwrap();
        }
        cpu_time() - start
    };
    let few = fill(0..80_000);
    let many = fill(80_000..640_000);
    // These are seven times as many. Quadratic time would be sixty times as long.
    assert!(many < few * 25, "{few:?}, then {many:?}");
    assert_eq!(count.live(), 640_000);
}

/// Values whose drop panics: all are dropped, and the first panic reaches the host.
#[test]
fn panics_of_dropped_values_reach_the_host() {
    struct Panics(Arc<AtomicUsize>);
    impl Drop for Panics {
        fn drop(&mut self) {
            let before = self.0.fetch_add(1, Ordering::SeqCst);
            panic!("drop {before}");
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut store = precast_tests::store();
    let null = Val::null_extern_ref();
    let ty = TableType::new(ValType::EXTERNREF, 1, None);
    let table = Table::new(&mut store, ty, null.clone()).unwrap();
    for _ in 0..4 {
        let value = ExternRef::new(Panics(Arc::clone(&dropped)));
        table.set(&mut store, 0, value.into()).unwrap();
    }
    for (before, after) in [(0, 3), (3, 4)] {
        let collect = std::panic::AssertUnwindSafe(|| store.gc());
        let panic = std::panic::catch_unwind(collect).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&format!("drop {before}")));
        assert_eq!(dropped.load(Ordering::SeqCst), after);
        table.set(&mut store, 0, null.clone()).unwrap();
    }
    store.gc();
}
