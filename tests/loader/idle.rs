//! What the threads of a host keep for reuse is given back when nobody uses it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use precast_artifact::Strategy;
use precast_loader::{Engine, InstancePre, Linker, Store};
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
