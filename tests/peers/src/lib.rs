//! Code that the benchmarks in this folder share.
//!
//! Each binary compares precast with other runtimes in alternation in one run, because absolute
//! times say little on a machine that does other things as well. Read the ratios of the medians,
//! and distrust a run whose minimum and median are far apart.
//!
//! | module | what |
//! |---|---|
//! | [`subjects`] | the modules that are measured, and where their artifacts are |
//! | [`peers`] | precast, Wasmtime and Wasmer behind one trait |
//! | [`table`] | rounds, columns, ratios |
//! | [`child`] | runs a command and reads its time and memory from the kernel |
//! | [`stats`] | minimum, median and maximum, and how they are printed |

pub mod child;
pub mod peers;
pub mod stats;
pub mod subjects;
pub mod table;

use std::path::{Path, PathBuf};

/// The result of a step of a benchmark. An error ends the benchmark.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The top folder of the project.
pub fn project_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// A file that a build of this workspace makes, such as `built("small", "host-empty")`.
pub fn built(profile: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target")
        .join(profile)
        .join(name)
}

/// The release build of precast's command line, which `cargo build --release -p precast` makes.
pub fn default_precast() -> PathBuf {
    project_root().join("target/release/precast")
}

/// A program that `tests/programs/fetch.sh` fetches.
pub fn program(name: &str) -> PathBuf {
    project_root()
        .join("target/programs")
        .join(format!("{name}.wasm"))
}

/// One line about the machine: the number and model of its processors, and the load before the run.
pub fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")
                .and_then(|rest| rest.split_once(": "))
        })
        .map_or("unknown processor", |(_, model)| model);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
    format!("{cores} cores, {model}, load {load}")
}
