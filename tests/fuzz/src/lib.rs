//! Fuzzers of precast: random inputs, each made from one number, and what must hold of them.
//!
//! | module | what |
//! |---|---|
//! | [`driver`] | runs cases of a target in a child process, and tells which case failed |
//! | [`case`](mod@case) | one case: its seed and its random numbers |
//! | `api` | sequences of operations of the loader's API |
//! | `artifacts` | artifacts whose records lie |
//! | `differential` | modules that precast and another engine run |
//! | `edges` | generates modules for it that use everything at its limits |
//! | `wasi` | sequences of WASI calls on paths and descriptors |
//!
//! A [`Target`] turns the random numbers of a case into an input and checks what must hold. Cases do
//! not depend on each other: a case that fails does so alone, too, so its seed is all that must be
//! reported. `README.md` says how to run them, and what long runs found.

mod api;
mod artifacts;
pub mod case;
mod differential;
pub mod driver;
mod edges;
mod wasi;

pub use case::Case;

/// Runs one case.
pub type Run = Box<dyn FnMut(&mut Case) -> Result<(), String>>;

/// A fuzzer.
pub struct Target {
    /// What the command line calls it.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Makes what all cases of a process share (compilers, engines), and gives the function that
    /// runs one. A case fails with a message, a panic, the death of its process, or by taking
    /// longer than [`driver::HANGS`].
    pub prepare: fn() -> Run,
}

/// All fuzzers.
pub const TARGETS: &[Target] = &[
    differential::SMITH,
    differential::EDGES,
    artifacts::ARTIFACTS,
    api::API,
    wasi::WASI,
    wasi::WASI_BY_STEPS,
];

/// A target of which the cases 3, 5 and 7 fail, each in a way of its own: to test the driver with.
const SELF_TEST: Target = Target {
    name: "self-test",
    about: "tests the driver",
    prepare: || {
        Box::new(|case| match case.seed {
            3 => Err("this case returns an error".to_owned()),
            5 => panic!("this case panics"),
            7 => std::process::abort(),
            _ => Ok(()),
        })
    },
};

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    let known = TARGETS.iter().chain([&SELF_TEST]);
    known.into_iter().find(|target| target.name == name)
}
