//! What the benchmarks of this folder share.
//!
//! Each binary compares precast with other runtimes in one run, in alternation, because absolute times say little on a machine that
//! does other things as well: read the ratios of medians, and distrust a run whose minimum and median lie far apart.
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

/// What can go wrong in a benchmark ends it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The folder at the top of the project.
pub fn project_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// A file that this workspace's builds make: `built("small", "host-empty")`.
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

/// One line about the machine: processors, their model, and the load before the run.
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
