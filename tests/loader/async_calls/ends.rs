//! Suspended calls that are interrupted, and guests that trap while others are suspended.

use std::sync::Arc;
use std::task::Poll;

use precast_loader::{Config, Store, Trap};
use precast_tests::executor::{Pending, block_on, poll_once};
use precast_tests::{strategies, trap};

use super::{linked, nested, start};

#[test]
fn an_interrupt_ends_a_suspended_call_when_it_is_polled() {
    for strategy in strategies() {
        let pre = nested(strategy);
        let (mut store, instance) = start(&pre, "leaf");
        let handle = store.interrupt_handle();
        let leaf = instance
            .get_typed_func::<i32, i32>(&mut store, "leaf")
            .unwrap();
        let mut future = Box::pin(leaf.call_async(&mut store, 1));
        assert!(poll_once(future.as_mut()).is_pending());
        handle.interrupt();
        let Poll::Ready(result) = poll_once(future.as_mut()) else {
            panic!("it was interrupted");
        };
        assert_eq!(trap(result), Trap::Interrupt);
        drop(future);
        handle.clear();
        assert_eq!(block_on(leaf.call_async(&mut store, 2)).unwrap(), 2);
    }
}

/// While one guest is suspended, another one traps by a signal on the same thread, and the
/// suspended one on another thread.
#[test]
fn traps_find_their_own_guest() {
    let wat = r#"(module
        (import "h" "wait" (func $wait))
        (memory 1)
        (func (export "run") (param i32) (result i32)
            (call $wait) (drop (i32.load (local.get 0))) (call $wait)
            (i32.div_u (i32.const 6) (local.get 0))))"#;
    for strategy in strategies() {
        let pre = linked::<()>(&Config::new(), strategy, wat, |linker| {
            linker
                .func_wrap_async("h", "wait", |_, (): ()| Box::new(Pending(1)))
                .unwrap();
        });
        let pre = Arc::new(pre);
        let begin = |n: i32| {
            let pre = Arc::clone(&pre);
            Box::pin(async move {
                let mut store = Store::new(pre.module().engine(), ());
                let instance = pre.instantiate_async(&mut store).await.unwrap();
                let run = instance
                    .get_typed_func::<i32, i32>(&mut store, "run")
                    .unwrap();
                run.call_async(&mut store, n).await
            })
        };
        let (mut a, mut b, mut c) = (begin(0), begin(-1), begin(3));
        for future in [&mut a, &mut b, &mut c] {
            assert!(poll_once(future.as_mut()).is_pending());
        }
        // Out of bounds here, while two others are suspended.
        let Poll::Ready(result) = poll_once(b.as_mut()) else {
            panic!("it traps")
        };
        assert_eq!(trap(result), Trap::MemoryOutOfBounds);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(poll_once(a.as_mut()).is_pending());
                let Poll::Ready(result) = poll_once(a.as_mut()) else {
                    panic!("it traps")
                };
                assert_eq!(trap(result), Trap::IntegerDivisionByZero);
            });
        });
        assert!(poll_once(c.as_mut()).is_pending());
        let Poll::Ready(result) = poll_once(c.as_mut()) else {
            panic!("it is done")
        };
        assert_eq!(result.unwrap(), 2);
    }
}
