//! Children by `fork`: what works in them.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use precast_artifact::{Interruption, Strategy};
use precast_loader::runtime::{Context, Instance, InstanceConfig, Runtime};
use precast_loader::{Config, Engine, Error, PerProcess};
use precast_tests::{Source, child_process};

use crate::child;

/// An instance with a loop that does not end.
fn looping() -> Instance {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let source = Source::new(Strategy::Guarded).interruption(Interruption::Epoch);
    let module = source.module(
        &engine,
        r#"(module (func (export "fine")) (func (export "loop") (loop (br 0))))"#,
    );
    let runtime: Runtime = Runtime::new(&engine);
    runtime.instantiate(&module, InstanceConfig::new()).unwrap()
}

fn ends(instance: &Instance, context: &Context) -> bool {
    let result = instance.with_context(context).call("loop", &[]);
    matches!(result, Err(Error::DeadlineExceeded))
}

/// Returns whether a deadline ends a call.
fn deadline_works() -> bool {
    ends(&looping(), &Context::with_timeout(Duration::from_millis(5)))
}

#[test]
fn deadlines_pass_in_a_child() {
    if child::case().is_none() {
        return child::passes_in_child("fork::deadlines_pass_in_a_child", "fork");
    }
    assert!(deadline_works());
    assert_eq!(child_process(0, deadline_works), Some(true));
    assert!(deadline_works());
}

#[test]
fn the_deadline_of_a_context_that_the_parent_has_used_passes_in_a_child() {
    let name = "fork::the_deadline_of_a_context_that_the_parent_has_used_passes_in_a_child";
    if child::case().is_none() {
        return child::passes_in_child(name, "fork");
    }
    let in_time = |timeout| {
        let (instance, context) = (looping(), Context::with_timeout(timeout));
        let called = instance.with_context(&context).call("fine", &[]);
        called.is_ok().then_some((instance, context))
    };
    // A machine that does much else may need longer for one call.
    let (instance, context) = [300, 1500, 7500]
        .into_iter()
        .map(Duration::from_millis)
        .find_map(in_time)
        .expect("one call in 7 seconds");
    assert_eq!(child_process(0, || ends(&instance, &context)), Some(true));
    assert!(ends(&instance, &context));
}

/// A child can have the number of its parent: each is the first process of a namespace.
#[test]
fn deadlines_pass_in_a_child_with_the_number_of_its_parent() {
    let name = "fork::deadlines_pass_in_a_child_with_the_number_of_its_parent";
    if child::case().is_none() {
        return child::passes_in_child(name, "fork");
    }
    let first = || {
        let number = std::process::id();
        deadline_works()
            && child_process(libc::CLONE_NEWPID, || {
                std::process::id() == number && deadline_works()
            }) == Some(true)
    };
    match child_process(libc::CLONE_NEWUSER | libc::CLONE_NEWPID, first) {
        Some(works) => assert!(works),
        None => eprintln!("the system refuses namespaces"),
    }
}

/// A child and its own child have values of their own while a thread of the first process holds the
/// lock of its value.
#[test]
fn values_of_a_process_do_not_stay_locked_in_its_children() {
    let name = "fork::values_of_a_process_do_not_stay_locked_in_its_children";
    if child::case().is_none() {
        return child::passes_in_child(name, "fork");
    }
    static GENERATION: PerProcess<Mutex<u32>> = PerProcess::new();
    // Without a parent, or if the parent's value is locked, it is 10.
    let lock = || GENERATION.lock(|of_parent| of_parent.map_or(10, |n| n + 1));
    let generation = || *lock();
    assert_eq!(generation(), 10);
    *lock() = 1;
    assert_eq!(child_process(0, || generation() == 2), Some(true));
    let in_children = || {
        let first = generation();
        let next = child_process(0, || generation() == first + 1);
        generation() == first && next == Some(true) && first == 10
    };
    let (held, holds) = channel();
    let (end, ends) = channel::<()>();
    std::thread::scope(|scope| {
        let holder = || {
            let ends = ends;
            let _value = lock();
            held.send(()).unwrap();
            ends.recv().unwrap();
        };
        scope.spawn(holder);
        holds.recv().unwrap();
        let result = child_process(0, in_children);
        end.send(()).unwrap();
        assert_eq!(result, Some(true));
    });
    assert_eq!(generation(), 1);
}
