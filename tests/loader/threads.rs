//! Threads can share modules, engines and linkers.

use std::sync::atomic::{AtomicU32, Ordering};

use precast_loader::{Engine, InstancePre, Linker, Module, Store};
use precast_tests::{module, strategies};

#[test]
fn many_instances_on_many_threads() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let wat = r#"(module
        (import "h" "tick" (func $tick))
        (memory 1)
        (func (export "run") (param i32) (result i32)
            (call $tick)
            (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (local.get 0)))
            (if (i32.eq (local.get 0) (i32.const 13)) (then (unreachable)))
            (i32.load (i32.const 8))))"#;
    for strategy in strategies() {
        CALLS.store(0, Ordering::Relaxed);
        let engine = Engine::default();
        let module = module(&engine, wat, strategy);
        let mut linker: Linker<()> = Linker::new(&engine);
        let tick = || {
            CALLS.fetch_add(1, Ordering::Relaxed);
        };
        linker.func_wrap("h", "tick", tick).unwrap();
        let pre = linker.instantiate_pre(&module).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let pre = &pre;
                scope.spawn(move || {
                    for i in 0..20 {
                        let mut store = Store::new(pre.module().engine(), ());
                        let instance = pre.instantiate(&mut store).unwrap();
                        let run = instance
                            .get_typed_func::<i32, i32>(&mut store, "run")
                            .unwrap();
                        assert_eq!(run.call(&mut store, thread).unwrap(), thread);
                        assert_eq!(run.call(&mut store, i + 20).unwrap(), thread + i + 20);
                        assert!(run.call(&mut store, 13).is_err());
                    }
                });
            }
        });
        assert_eq!(CALLS.load(Ordering::Relaxed), 8 * 20 * 3);
    }
}

#[test]
fn modules_come_and_go_while_others_run() {
    for strategy in strategies() {
        let wat = "(module (func (export \"f\") (param i32) (result i32)
            (i32.div_s (i32.const 12) (local.get 0))))";
        let bytes = precast_tests::artifact(wat, strategy);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let engine = Engine::default();
                        // SAFETY: the bytes are from our own compiler.
                        let module = unsafe { Module::from_bytes(&engine, &bytes) }.unwrap();
                        let mut store = Store::new(&engine, ());
                        let linker = Linker::new(&engine);
                        let instance = linker.instantiate(&mut store, &module).unwrap();
                        let f = instance
                            .get_typed_func::<i32, i32>(&mut store, "f")
                            .unwrap();
                        assert_eq!(f.call(&mut store, 4).unwrap(), 3);
                        assert!(f.call(&mut store, 0).unwrap_err().trap().is_some());
                    }
                });
            }
        });
    }
}

#[test]
fn types_that_may_cross_threads() {
    fn check<T: Send + Sync>() {}
    check::<Engine>();
    check::<Module>();
    check::<Linker<()>>();
    check::<InstancePre<()>>();
    check::<Store<()>>();
}
