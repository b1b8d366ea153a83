//! Guests that sleep in children by `fork`, which do not have the thread that wakes the guests of
//! their parent.

use precast_artifact::Strategy;
use precast_loader::Error;
use precast_tests::executor::{block_on, poll_once};
use precast_tests::{child, child_process};
use precast_wasi::WasiCtxBuilder;

use crate::suspend::{guest, sleep};

async fn sleeping(milliseconds: i32) -> Result<i32, Error> {
    sleep(
        guest(Strategy::Checked, WasiCtxBuilder::new()),
        milliseconds,
    )
    .await
}

/// Whether guests sleep and wake in this process and in a child of it with these flags: one that
/// already slept before, and a new one.
fn sleep_in_both(flags: libc::c_int) -> Option<bool> {
    let mut slept = Box::pin(sleeping(50));
    assert!(poll_once(slept.as_mut()).is_pending());
    let wake = |slept| matches!(block_on(slept), Ok(0)) && matches!(block_on(sleeping(20)), Ok(0));
    let mut slept = Some(slept);
    let in_child = child_process(flags, || slept.take().is_some_and(wake))?;
    Some(in_child && slept.is_some_and(wake))
}

#[test]
fn guests_sleep_in_a_child() {
    if child::case().is_none() {
        return child::passes_in_child("fork::guests_sleep_in_a_child", "fork");
    }
    assert_eq!(sleep_in_both(0), Some(true));
}

/// Each is the first process of a namespace.
#[test]
fn guests_sleep_in_a_child_with_the_number_of_its_parent() {
    let name = "fork::guests_sleep_in_a_child_with_the_number_of_its_parent";
    if child::case().is_none() {
        return child::passes_in_child(name, "fork");
    }
    let first = || std::process::id() == 1 && sleep_in_both(libc::CLONE_NEWPID) == Some(true);
    match child_process(libc::CLONE_NEWUSER | libc::CLONE_NEWPID, first) {
        Some(slept) => assert!(slept),
        None => eprintln!("the system refuses namespaces"),
    }
}
