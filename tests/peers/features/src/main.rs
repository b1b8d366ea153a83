//! Compares precast with Wasmtime on the modules of precast's own fuzzers: `oracle TARGET [--count
//! N
//! | --seconds N] [--seed S] [--failures N] [--verbose]`.
//!
//! The generators, the ways in which precast compiles, and the comparison are those of
//! `tests/fuzz`. There the other engine is wasmi, which has no exceptions, atomic operators and
//! wide arithmetic. Wasmtime has them, but it shares the code generator with precast, so that an
//! error in that remains unseen. Wasmtime compiles without optimisation, so that a difference shows
//! an error in what optimises.

mod wasmtime;

use precast_fuzz::Target;
use precast_fuzz::cli::Program;
use precast_fuzz::differential::{against, core, edges, everything, references};

use self::wasmtime::Wasmtime;

const TARGETS: &[Target] = &[
    Target {
        name: "everything",
        about: "modules of wasm-smith with everything that both engines have",
        prepare: || against(Wasmtime::new(), everything),
    },
    Target {
        name: "references",
        about: "modules with typed references and exceptions that pass between modules",
        prepare: || against(Wasmtime::new(), references),
    },
    Target {
        name: "differential",
        about: "the modules that are also compared with wasmi",
        prepare: || against(Wasmtime::new(), core),
    },
    Target {
        name: "edges",
        about: "modules that use memories, tables and frames at their limits",
        prepare: || against(Wasmtime::new(), edges),
    },
];

fn main() -> std::process::ExitCode {
    let program = Program {
        command: "tests/peers/oracle.sh",
        targets: TARGETS,
    };
    program.main()
}
