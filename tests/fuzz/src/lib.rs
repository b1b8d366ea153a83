//! Fuzzers of precast. Each makes random inputs from seeds and checks what must hold for them.
//!
//! | module | what |
//! |---|---|
//! | [`driver`] | runs the cases of a target in a child process, and reports which case failed |
//! | [`cli`] | the command line |
//! | [`case`](mod@case) | one case: its seed and its random numbers |
//! | `api` | sequences of operations of the loader's API |
//! | `artifacts` | artifacts with wrong values in their records |
//! | [`differential`] | modules that precast and another engine run |
//! | `edges` | modules for `differential` that use memories, tables and frames at their limits |
//! | `references` | modules for `differential` with typed references and exceptions |
//! | `wasi` | sequences of WASI calls on paths and descriptors |
//!
//! A [`Target`] turns the random numbers of a case into an input and checks what must hold. Cases
//! do not depend on each other. A case that fails in a long run also fails alone, so its seed is
//! enough to repeat it. `README.md` says how to run the fuzzers, and what long runs have found.

mod api;
mod artifacts;
pub mod case;
pub mod cli;
pub mod differential;
pub mod driver;
mod edges;
mod references;
mod wasi;

pub use case::Case;

/// Runs one case.
pub type Run = Box<dyn FnMut(&mut Case) -> Result<(), String>>;

/// A fuzzer.
pub struct Target {
    /// The name on the command line.
    pub name: &'static str,
    /// A description in one line.
    pub about: &'static str,
    /// Makes what all cases of a process share, such as compilers and engines, and returns the
    /// function that runs a case. A case fails with a message, with a panic, by the end of its
    /// process, or by taking longer than [`driver::HANGS`].
    pub prepare: fn() -> Run,
}

/// All fuzzers.
pub const TARGETS: &[Target] = &[
    differential::SMITH,
    differential::EDGES,
    differential::EVERYTHING,
    differential::REFERENCES,
    artifacts::ARTIFACTS,
    api::API,
    wasi::WASI,
    wasi::WASI_BY_STEPS,
];

/// The command line of all fuzzers in this crate.
pub const PROGRAM: cli::Program = cli::Program {
    command: "tests/fuzz/run.sh",
    targets: TARGETS,
};

/// A target for tests of the driver. Its cases 3, 5 and 7 fail, each in a different way.
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

/// The target with this name.
pub fn target(name: &str) -> Option<&'static Target> {
    PROGRAM.target(name)
}
