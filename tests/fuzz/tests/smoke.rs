//! Runs each fuzzer for one second, from a fixed seed on.

use std::path::Path;
use std::time::Duration;

use precast_fuzz::driver::{self, Plan};

fn one_second(name: &str) {
    let target = precast_fuzz::target(name).expect("a known target");
    let plan = Plan {
        seed: 1,
        count: None,
        time: Some(Duration::from_secs(1)),
        failures: 1,
        verbose: false,
    };
    let exe = Path::new(env!("CARGO_BIN_EXE_precast-fuzz"));
    let outcome = driver::run(exe, "run.sh", target, &plan).expect("the fuzzer starts");
    assert_eq!(outcome.failed, [0; 0], "{name}: see above");
    assert!(outcome.cases > 0, "{name}: not one case in a second");
}

/// One test for each target, so that they run beside each other and are named.
macro_rules! targets {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            one_second($name);
        })*

        #[test]
        fn every_target_has_a_test() {
            let here: &[&str] = &[$($name),*];
            let all: Vec<_> = precast_fuzz::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(here, all);
        }
    };
}

targets! {
    differential: "differential",
    edges: "edges",
    everything: "everything",
    references: "references",
    artifacts: "artifacts",
    api: "api",
    wasi: "wasi",
    wasi_by_steps: "wasi-by-steps",
}

/// The driver finds a failed case, in whatever way it fails, and runs the cases after it.
#[test]
fn failures_are_found() {
    let target = precast_fuzz::target("self-test").expect("the driver's own target");
    let plan = Plan {
        seed: 0,
        count: Some(10),
        time: None,
        failures: 10,
        verbose: false,
    };
    let exe = Path::new(env!("CARGO_BIN_EXE_precast-fuzz"));
    let outcome = driver::run(exe, "run.sh", target, &plan).expect("the driver starts");
    assert_eq!((outcome.cases, &outcome.failed[..]), (10, &[3, 5, 7][..]));
    let plan = Plan {
        failures: 2,
        ..plan
    };
    let outcome = driver::run(exe, "run.sh", target, &plan).expect("the driver starts");
    assert_eq!((outcome.cases, &outcome.failed[..]), (6, &[3, 5][..]));
}
