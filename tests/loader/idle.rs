//! What the threads of a host keep for reuse is given back when nobody uses it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use precast_artifact::Strategy;
use precast_loader::{Config, Engine, InstancePre, Linker, Store};
use precast_tests::{mappings, module};

use crate::child::{case, passes_in_child};
use crate::kernel::emulated;

const WAT: &str = r#"(module
    (import "h" "f" (func))
    (memory (export "m") 4)
    (data (i32.const 0) "content"))"#;

/// Instances that a thread keeps.
const KEPT: usize = 8;

/// A module with a host function that has `data`.
fn pre(data: &Arc<()>) -> InstancePre<()> {
    let engine = Engine::default();
    let module = module(&engine, WAT, Strategy::Guarded);
    let mut linker: Linker<()> = Linker::new(&engine);
    let data = Arc::clone(data);
    let f = move || assert!(Arc::strong_count(&data) > 0);
    linker.func_wrap("h", "f", f).unwrap();
    linker.instantiate_pre(&module).unwrap()
}

/// Uses instances of a module, and parks them.
fn park(pre: &InstancePre<()>, count: usize) {
    let mut stores: Vec<_> = (0..count)
        .map(|_| Store::new(pre.module().engine(), ()))
        .collect();
    for store in &mut stores {
        let instance = pre.instantiate(&mut *store).unwrap();
        let memory = instance.get_memory(&mut *store, "m").unwrap();
        assert_eq!(memory.data(&*store)[..8], *b"content\0");
        assert_eq!(memory.data(&*store)[100_000..100_007], [0; 7]);
        memory.write(&mut *store, 100_000, b"written").unwrap();
    }
}

/// A thread that parks instances of each module that it gets, and is idle in between.
struct Idle {
    send: Sender<(InstancePre<()>, usize)>,
    parked: Receiver<()>,
}

impl Idle {
    fn start() -> Self {
        let (send, receive) = channel::<(InstancePre<()>, usize)>();
        let (done, parked) = channel();
        std::thread::spawn(move || {
            for (pre, count) in receive {
                park(&pre, count);
                drop(pre);
                done.send(()).unwrap();
            }
        });
        Self { send, parked }
    }

    fn park(&self, pre: &InstancePre<()>, count: usize) {
        self.send.send((pre.clone(), count)).unwrap();
        self.parked.recv().unwrap();
    }
}

#[test]
fn an_idle_thread_gives_back_what_is_not_used() {
    let name = "idle::an_idle_thread_gives_back_what_is_not_used";
    if emulated(name) {
        return;
    }
    if case().is_none() {
        return passes_in_child(name, "idle");
    }
    let (thread, pre) = (Idle::start(), pre(&Arc::new(())));
    thread.park(&pre, 0);
    let none = mappings();
    // The allocator of the test needs mappings, too: a few.
    let instances = || mappings().saturating_sub(none) / 2;
    thread.park(&pre, KEPT);
    assert!(instances() >= KEPT, "each has two mappings for its memory");
    Engine::release_idle();
    assert!(instances() >= KEPT, "all were used since the call before");
    // One of them is used in each round.
    for _ in 0..3 {
        thread.park(&pre, 1);
        Engine::release_idle();
    }
    assert!((1..KEPT / 2).contains(&instances()), "{}", instances());
    Engine::release_idle();
    assert!(instances() < 2, "{}", instances());
    // The thread goes on as before.
    thread.park(&pre, KEPT);
    assert!(instances() >= KEPT);
}

#[test]
fn an_idle_thread_gives_up_the_host_functions_of_modules_that_are_gone() {
    let name = "idle::an_idle_thread_gives_up_the_host_functions_of_modules_that_are_gone";
    if case().is_none() {
        return passes_in_child(name, "idle");
    }
    let (thread, data) = (Idle::start(), Arc::new(()));
    let pre = pre(&data);
    thread.park(&pre, KEPT);
    drop(pre);
    assert_eq!(Arc::strong_count(&data), 2, "the instances have it");
    Engine::release_idle();
    assert_eq!(Arc::strong_count(&data), 1);
}

/// A thread that took its instances again keeps no part of what all threads may keep.
#[test]
fn an_idle_thread_that_keeps_nothing_leaves_room_for_others() {
    let name = "idle::an_idle_thread_that_keeps_nothing_leaves_room_for_others";
    if emulated(name) {
        return;
    }
    if case().is_none() {
        return passes_in_child(name, "idle");
    }
    const ALL: usize = 1 << 20;
    let mut config = Config::new();
    config
        .pool_resident_per_process(ALL)
        .pool_resident_per_thread(ALL);
    let engine = Engine::new(&config).unwrap();
    let wat = r#"(module (memory (export "m") 16))"#;
    let module = module(&engine, wat, Strategy::Guarded);
    let pre = Linker::<()>::new(&engine).instantiate_pre(&module).unwrap();
    // Writes to most pages of the memory.
    let used = || {
        let mut store = Store::new(&engine, ());
        let instance = pre.instantiate(&mut store).unwrap();
        let memory = instance.get_memory(&mut store, "m").unwrap();
        memory.data_mut(&mut store)[..ALL * 3 / 4].fill(1);
        store
    };
    // The pages of the thread's own that the system gives to the last of many calls.
    let faults = || {
        let measure = || {
            (0..10).for_each(|_| drop(used()));
            let before = precast_tests::faults();
            drop(used());
            precast_tests::faults() - before
        };
        std::thread::scope(|scope| scope.spawn(measure).join().unwrap())
    };
    let few = 24;
    assert!(faults() < few, "a thread that is alone keeps its pages");
    let (to_other, stores) = channel();
    let (end, ends) = channel::<()>();
    std::thread::scope(|scope| {
        let thread = || {
            let ends = ends;
            (0..10).for_each(|_| drop(used()));
            to_other.send(used()).unwrap();
            ends.recv().unwrap();
        };
        let other = scope.spawn(thread);
        drop(stores.recv().unwrap());
        Engine::release_idle();
        // This thread keeps the instance that it just dropped.
        Engine::release_idle();
        let after = faults();
        end.send(()).unwrap();
        other.join().unwrap();
        assert!(after < few, "{after}");
    });
}

/// Two modules whose host functions panic when they are dropped end no process, wherever the
/// instances are dropped that are the last to have them.
#[test]
fn host_data_that_panics_in_its_drop_is_caught() {
    let name = "idle::host_data_that_panics_in_its_drop_is_caught";
    if case().is_none() {
        return passes_in_child(name, "idle");
    }
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("as intended");
        }
    }
    let engine = Engine::default();
    let compiled = module(&engine, WAT, Strategy::Guarded);
    let make = || {
        let (mut linker, bad): (Linker<()>, _) = (Linker::new(&engine), Bad);
        let f = move || assert_eq!(size_of_val(&bad), 0);
        linker.func_wrap("h", "f", f).unwrap();
        linker.instantiate_pre(&compiled).unwrap()
    };
    // Parks an instance of two modules that another thread drops.
    let park_two = || {
        let both = [make(), make()];
        both.iter().for_each(|pre| park(pre, 1));
        let dropped = std::thread::spawn(|| for_each_caught(both)).join();
        dropped.unwrap();
    };
    let caught = |work: &dyn Fn()| catch_unwind(AssertUnwindSafe(work)).is_err();
    let good = pre(&Arc::new(()));
    park_two();
    assert!(caught(&|| park(&good, 1)));
    park_two();
    assert!(caught(&Engine::release_idle));
    park_two();
    assert!(caught(&|| drop(pre(&Arc::new(())))));
    // At the end of a thread, nobody can catch it.
    std::thread::scope(|scope| scope.spawn(park_two).join().unwrap());
}

/// Drops each value by itself, and catches its panic.
fn for_each_caught<V>(all: impl IntoIterator<Item = V>) {
    for one in all {
        catch_unwind(AssertUnwindSafe(|| drop(one))).ok();
    }
}

/// Threads that use instances all the time lose none that they are using, and never wait.
#[test]
fn threads_go_on_while_what_is_idle_is_released() {
    let pre = pre(&Arc::new(()));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| (0..200).for_each(|_| park(&pre, 3))))
            .collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            Engine::release_idle();
        }
    });
}
