//! Code and host functions that wait when a deadline with a callback of the host passes, and what
//! wakes them.

use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use precast_artifact::{Interruption, Strategy};
use precast_loader::runtime::{self, HostModule, InstanceConfig, Runtime, State};
use precast_loader::{
    AsContextMut, Caller, Config, Engine, Error, Func, Linker, MemoryType, SharedMemory, Store,
    Trap, TypedFunc, UpdateDeadline, WaitResult,
};
use precast_tests::executor::{block_on, poll_once};
use precast_tests::{Source, Watchdog, strategies, trap};

/// `wait` waits for a notification, `host` calls a host function that waits for so many
/// milliseconds for the interrupt.
const WAT: &str = r#"(module
    (import "h" "m" (memory 1 1 shared))
    (import "h" "host" (func $host (param i64) (result i32)))
    (import "h" "forever" (func $forever))
    (func (export "wait") (param i64) (result i32)
        (memory.atomic.wait32 (i32.const 0) (i32.const 0) (local.get 0)))
    (func (export "wait64") (param i64) (result i32)
        (memory.atomic.wait64 (i32.const 0) (i64.const 0) (local.get 0)))
    (func (export "host") (param i64) (result i32) (call $host (local.get 0)))
    (func (export "forever") (call $forever)))"#;

struct Guest {
    engine: Engine,
    memory: SharedMemory,
    store: Store<u32>,
    wait: TypedFunc<i64, i32>,
    wait64: TypedFunc<i64, i32>,
    host: TypedFunc<i64, i32>,
    forever: TypedFunc<(), ()>,
}

/// Whether what [`precast_loader::InterruptHandle::wait`] gives can be read within this time.
fn can_be_read(caller: &mut Caller<'_, u32>, milliseconds: i32) -> bool {
    let handle = caller.as_context_mut().interrupt_handle();
    let waited = handle.wait(|interrupt| {
        let mut fd = libc::pollfd {
            fd: interrupt.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one descriptor, and an array of one.
        unsafe { libc::poll(&raw mut fd, 1, milliseconds) }
    });
    let can_be_read = waited.unwrap() == 1;
    assert_eq!(can_be_read, handle.is_interrupted());
    can_be_read
}

/// An engine with epochs of its own. Those of [`Engine::default`] are the epochs of all tests.
fn engine() -> Engine {
    Engine::new(Config::new().epoch_interruption(true)).unwrap()
}

fn guest(strategy: Strategy) -> Guest {
    guest_of(engine(), strategy)
}

fn guest_of(engine: Engine, strategy: Strategy) -> Guest {
    let source = Source::new(strategy).interruption(Interruption::Epoch);
    let module = source.module(&engine, WAT);
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 1)).unwrap();
    let mut linker: Linker<u32> = Linker::new(&engine);
    linker.shared_memory("h", "m", memory.clone()).unwrap();
    linker
        .func_wrap("h", "host", |mut caller: Caller<'_, u32>, time: i64| {
            i32::from(can_be_read(&mut caller, time as i32))
        })
        .unwrap();
    linker
        .func_wrap_async("h", "forever", |_, (): ()| {
            Box::new(std::future::pending::<()>())
        })
        .unwrap();
    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    Guest {
        wait: instance.get_typed_func(&mut store, "wait").unwrap(),
        wait64: instance.get_typed_func(&mut store, "wait64").unwrap(),
        host: instance.get_typed_func(&mut store, "host").unwrap(),
        forever: instance.get_typed_func(&mut store, "forever").unwrap(),
        engine,
        memory,
        store,
    }
}

impl Guest {
    /// Goes on as often as `times` says, and ends then.
    fn go_on(&mut self, times: u32) {
        *self.store.data_mut() = 0;
        self.store.epoch_deadline_callback(move |mut store| {
            *store.data_mut() += 1;
            match *store.data() > times {
                true => Ok(UpdateDeadline::Interrupt),
                false => Ok(UpdateDeadline::Continue(1)),
            }
        });
        self.store.set_epoch_deadline(1).unwrap();
    }

    /// Calls the function while epochs pass.
    fn call(&mut self, func: TypedFunc<i64, i32>, timeout: i64) -> Result<i32, Error> {
        let (engine, over) = (self.engine, AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(2));
                    engine.increment_epoch();
                }
            });
            let result = func.call(&mut self.store, timeout);
            over.store(true, Ordering::SeqCst);
            result
        })
    }

    fn nobody_waits(&self) {
        assert_eq!(self.memory.atomic_notify(0, u32::MAX).unwrap(), 0);
    }
}

#[test]
fn code_that_waits_goes_on_for_as_long_as_the_host_says() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for strategy in strategies() {
        let mut guest = guest(strategy);
        for func in [guest.wait, guest.wait64] {
            // The code waits until its timeout is over. The thread by which epochs pass may be
            // late.
            let went_on = [50_000_000, 500_000_000, 5_000_000_000].iter().any(|time| {
                guest.go_on(u32::MAX);
                assert_eq!(guest.call(func, *time).unwrap(), 2);
                *guest.store.data() > 0
            });
            assert!(went_on);
            // The code waits until the host ends it.
            guest.go_on(2);
            assert_eq!(trap(guest.call(func, -1)), Trap::Interrupt);
            assert_eq!(*guest.store.data(), 3);
            guest.nobody_waits();
            // The code waits until it is notified.
            guest.go_on(u32::MAX);
            let memory = guest.memory.clone();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(10));
                    while memory.atomic_notify(0, 1).unwrap() == 0 {
                        std::thread::yield_now();
                    }
                });
                assert_eq!(guest.call(func, -1).unwrap(), 0);
            });
            // Other reasons end it, and so does a deadline about which nobody decides.
            let handle = guest.store.interrupt_handle();
            handle.interrupt();
            assert_eq!(trap(guest.call(func, -1)), Trap::Interrupt);
            handle.clear();
            guest.store.epoch_deadline_trap();
            guest.store.set_epoch_deadline(1).unwrap();
            assert_eq!(trap(guest.call(func, -1)), Trap::Interrupt);
            guest.nobody_waits();
        }
    }
}

#[test]
fn code_that_waits_ends_with_what_the_callback_fails_with() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for strategy in strategies() {
        let mut guest = guest(strategy);
        guest.store.set_epoch_deadline(0).unwrap();
        guest
            .store
            .epoch_deadline_callback(|_| Err(Error::host("enough")));
        let error = guest.wait.call(&mut guest.store, -1).unwrap_err();
        assert_eq!(error.to_string(), "enough");
        guest.nobody_waits();
        guest
            .store
            .epoch_deadline_callback(|_| panic!("in a callback"));
        let call = AssertUnwindSafe(|| guest.wait.call(&mut guest.store, -1));
        let panic = catch_unwind(call).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"in a callback"));
        guest.nobody_waits();
        // Code that the callback itself calls ends at the deadline.
        let wait = guest.wait;
        guest.store.epoch_deadline_callback(move |mut store| {
            assert_eq!(trap(wait.call(&mut store, -1)), Trap::Interrupt);
            Ok(UpdateDeadline::Interrupt)
        });
        assert_eq!(trap(wait.call(&mut guest.store, -1)), Trap::Interrupt);
        guest.nobody_waits();
    }
}

/// A call whose future is leaked while it waits takes no notification from others when its store is
/// gone.
#[test]
fn nobody_notifies_a_leaked_call_of_a_store_that_was_dropped() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for into_data in [false, true] {
        let mut guest = guest(Strategy::Guarded);
        let (wait, memory) = (guest.wait, guest.memory.clone());
        guest.store.epoch_deadline_async_yield_and_update(0);
        guest.store.set_epoch_deadline(0).unwrap();
        let mut future = Box::pin(wait.call_async(&mut guest.store, -1));
        assert!(poll_once(future.as_mut()).is_pending());
        std::mem::forget(future);
        match into_data {
            true => drop(guest.store.into_data()),
            false => drop(guest.store),
        }
        let waiter = memory.clone();
        let waits = std::thread::spawn(move || waiter.atomic_wait32(0, 0, None).unwrap());
        while memory.atomic_notify(0, 1).unwrap() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(waits.join().unwrap(), WaitResult::Ok);
    }
}

#[test]
fn code_that_waits_can_be_suspended() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for strategy in strategies() {
        let mut guest = guest(strategy);
        let (wait, memory) = (guest.wait, guest.memory.clone());
        guest.store.epoch_deadline_async_yield_and_update(0);
        guest.store.set_epoch_deadline(0).unwrap();
        for polls in 1..5 {
            let mut future = Box::pin(wait.call_async(&mut guest.store, -1));
            for _ in 0..polls {
                // Each poll is on another thread.
                std::thread::scope(|scope| {
                    let poll = scope.spawn(|| poll_once(future.as_mut()).is_pending());
                    assert!(poll.join().unwrap());
                });
            }
            if polls % 2 == 0 {
                // It is notified while it is suspended.
                assert_eq!(memory.atomic_notify(0, 1).unwrap(), 1);
                assert_eq!(block_on(future).unwrap(), 0);
            } else {
                drop(future);
            }
            assert_eq!(memory.atomic_notify(0, 1).unwrap(), 0);
        }
        let time = 5_000_000;
        assert_eq!(
            block_on(wait.call_async(&mut guest.store, time)).unwrap(),
            2
        );
        // A synchronous call cannot be suspended.
        let error = wait.call(&mut guest.store, -1).unwrap_err();
        assert!(matches!(error, Error::NotAsync), "{error}");
        guest.nobody_waits();
    }
}

#[test]
fn host_functions_that_wait_are_not_told_to_end_if_the_host_decides() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for strategy in strategies() {
        let mut guest = guest(strategy);
        let host = guest.host;
        guest.go_on(u32::MAX);
        assert_eq!(guest.call(host, 30).unwrap(), 0);
        // On a slow machine an epoch passes before the code has come to its host function, and
        // about fifteen pass in the host function.
        assert!(
            *guest.store.data() <= 1,
            "host functions are not asked about"
        );
        // A deadline of 0 has passed already.
        guest.store.set_epoch_deadline(0).unwrap();
        assert_eq!(guest.call(host, 5).unwrap(), 0);
        guest.store.interrupt_handle().interrupt();
        assert_eq!(trap(guest.call(host, 30_000)), Trap::Interrupt);
        guest.store.interrupt_handle().clear();
        guest.store.epoch_deadline_trap();
        guest.store.set_epoch_deadline(1).unwrap();
        assert_eq!(trap(guest.call(host, 30_000)), Trap::Interrupt);
    }
}

/// A thread that waits for the descriptor of a handle is woken when the callback is removed.
#[test]
fn a_waiting_thread_is_told_when_nobody_decides_any_more() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let mut guest = guest(Strategy::Guarded);
    guest.go_on(u32::MAX);
    guest.store.set_epoch_deadline(0).unwrap();
    let handle = guest.store.interrupt_handle();
    let begun = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            handle.wait(|interrupt| {
                begun.store(1, Ordering::SeqCst);
                let mut fd = libc::pollfd {
                    fd: interrupt.as_raw_fd(),
                    events: libc::POLLIN,
                    revents: 0,
                };
                // SAFETY: one descriptor, and an array of one.
                unsafe { libc::poll(&raw mut fd, 1, -1) }
            })
        });
        while begun.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        assert!(!handle.is_interrupted());
        guest.store.epoch_deadline_trap();
        assert!(handle.is_interrupted());
        assert_eq!(waiting.join().unwrap().unwrap(), 1);
    });
}

/// What the task of a suspended call does when it is woken, and when its waker is dropped.
struct Task<W: Fn(), D: Fn()>(W, D);

impl<W: Fn() + Send + Sync + 'static, D: Fn() + Send + Sync + 'static> Wake for Task<W, D> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

impl<W: Fn(), D: Fn()> Drop for Task<W, D> {
    fn drop(&mut self) {
        (self.1)();
    }
}

/// Suspends a call for ever, for a task that only the store knows.
fn suspend(guest: &mut Guest, task: impl Wake + Send + Sync + 'static) {
    let mut future = Box::pin(guest.forever.call_async(&mut guest.store, ()));
    let waker = Waker::from(Arc::new(task));
    let mut context = Context::from_waker(&waker);
    assert!(future.as_mut().poll(&mut context).is_pending());
    std::mem::forget(future);
}

/// The waker of a task is dropped where it may use the engine, and may panic.
#[test]
fn a_waker_may_use_the_engine_when_it_is_dropped() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    for deadline in [false, true] {
        let mut guest = guest(Strategy::Guarded);
        let engine = guest.engine;
        let dropped = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&dropped);
        let task = Task(
            || {},
            move || {
                engine.increment_epoch();
                if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    panic!("in a drop");
                }
            },
        );
        suspend(&mut guest, task);
        let panic = catch_unwind(AssertUnwindSafe(|| match deadline {
            true => guest.store.set_epoch_deadline(0).unwrap(),
            false => guest.store.interrupt_handle().interrupt(),
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"in a drop"));
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
        engine.increment_epoch();
    }
}

/// The epoch wakes the tasks of all stores that are due, even if one panics.
#[test]
fn a_waker_that_panics_does_not_keep_others_from_being_woken() {
    let woken = Arc::new(AtomicU32::new(0));
    let engine = engine();
    let mut guests = Vec::new();
    for i in 0..6 {
        let mut guest = guest_of(engine, Strategy::Guarded);
        let woken = Arc::clone(&woken);
        let wake = move || {
            woken.fetch_add(1, Ordering::SeqCst);
            assert!(i % 2 == 1, "in waker {i}");
        };
        suspend(&mut guest, Task(wake, || {}));
        guest.store.set_epoch_deadline(1).unwrap();
        guests.push(guest);
    }
    let panic = catch_unwind(|| engine.increment_epoch()).unwrap_err();
    assert_eq!(
        panic.downcast_ref::<String>().map(String::as_str),
        Some("in waker 0")
    );
    assert_eq!(woken.load(Ordering::SeqCst), 6);
    engine.increment_epoch();
}

/// Leaves a call in the store suspended for ever, whose task panics when it is woken. Returns when
/// the code of the store is to end.
fn leave_a_panicking_task(mut caller: Caller<'_, State>) -> Result<(), Error> {
    let handle = caller.as_context_mut().interrupt_handle();
    let forever = Func::wrap_async(&mut caller, |_, (): ()| {
        Box::new(std::future::pending::<()>())
    });
    let forever = forever.typed::<(), ()>(&caller)?;
    let mut future = Box::pin(forever.call_async(&mut caller, ()));
    // On a slow machine, the code may have to end already while the call is polled.
    let is_left = Arc::new(AtomicBool::new(false));
    let panics = Arc::clone(&is_left);
    let wake = move || assert!(!panics.load(Ordering::SeqCst), "in a waker");
    let waker = Waker::from(Arc::new(Task(wake, || {})));
    let mut context = Context::from_waker(&waker);
    assert!(future.as_mut().poll(&mut context).is_pending());
    is_left.store(true, Ordering::SeqCst);
    std::mem::forget(future);
    while !handle.is_interrupted() {
        std::thread::yield_now();
    }
    Ok(())
}

/// The thread that watches deadlines goes on when it has woken a task that panics, and so do those
/// that close instances.
#[test]
fn a_waker_that_panics_does_not_keep_instances_from_being_closed() {
    let _watchdog = Watchdog::new(Duration::from_secs(300));
    let wat = r#"(module (import "h" "leave" (func $leave)) (export "leave" (func $leave))
        (func (export "run") (call $leave)) (func (export "fine")))"#;
    let engine = engine();
    let source = Source::new(Strategy::Guarded).interruption(Interruption::Epoch);
    let module = source.module(&engine, wat);
    let runtime: Runtime = Runtime::new(&engine);
    let host = HostModule::builder("h").func("leave", leave_a_panicking_task);
    host.instantiate(&runtime).unwrap();
    let new = || runtime.instantiate(&module, InstanceConfig::new()).unwrap();
    // One after the other, with the same thread that watches.
    for _ in 0..3 {
        let soon = runtime::Context::with_timeout(Duration::from_millis(10));
        let ended = new().with_context(&soon).call("run", &[]);
        assert!(matches!(ended, Err(Error::DeadlineExceeded)), "{ended:?}");
    }
    // Two at the same time, which one thread closes.
    let (first, second) = (new(), new());
    std::thread::scope(|scope| {
        let calls = [&first, &second].map(|instance| scope.spawn(|| instance.call("run", &[])));
        std::thread::sleep(Duration::from_millis(20));
        runtime.close_with_exit_code(5);
        for call in calls {
            let ended = call.join().unwrap();
            assert!(matches!(ended, Err(Error::Closed { .. })), "{ended:?}");
        }
    });
}
