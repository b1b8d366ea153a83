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
//! | [`dprint`] | a host of dprint's plug-ins |
//! | [`interpreters`] | a host of QuickJS and CPython |
//! | [`table`] | rounds, columns, ratios |
//! | [`child`] | runs a command and reads its time and memory from the kernel |
//! | [`stats`] | minimum, median and maximum, and how they are printed |

pub mod child;
pub mod dprint;
pub mod interpreters;
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

/// The target directory of this workspace, in which the running program is.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let found = program.ancestors().nth(2).map(Path::to_path_buf);
    found.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"))
}

/// A file that a build of this workspace makes, such as `built("small", "host-empty")`.
pub fn built(profile: &str, name: &str) -> PathBuf {
    target().join(profile).join(name)
}

/// precast's command line: what the variable `PRECAST` names, or the release build, which `cargo
/// build --release --workspace --bins` makes.
pub fn default_precast() -> PathBuf {
    let named = std::env::var_os("PRECAST").map(PathBuf::from);
    named.unwrap_or_else(|| project_root().join("target/release/precast"))
}

/// A program that `tests/programs/fetch.sh` fetches.
pub fn program(name: &str) -> PathBuf {
    let named = std::env::var_os("PRECAST_PROGRAMS").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| project_root().join("target/programs"));
    folder.join(format!("{name}.wasm"))
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

/// The pages that belong only to this process, in KiB.
///
/// # Errors
/// The system does not say.
pub fn private_kib() -> Result<u64> {
    let mut sum = 0;
    for line in std::fs::read_to_string("/proc/self/smaps_rollup")?.lines() {
        if line.starts_with("Private_") {
            let number = line.split_whitespace().nth(1).unwrap_or_default();
            sum += number.parse::<u64>()?;
        }
    }
    Ok(sum)
}

/// Keeps this thread on one of the processors that it may use. Otherwise two threads might share a
/// processor while another program has the other one, and look as if they hindered each other. A
/// failure is ignored, because the rate shows it.
pub fn pin_to(which: usize) {
    // SAFETY: a zeroed set is empty. Both calls get this thread (0), a live set and its size.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        if libc::sched_getaffinity(0, size, &mut allowed) != 0 {
            return;
        }
        let mut processors =
            (0..libc::CPU_SETSIZE as usize).filter(|&i| libc::CPU_ISSET(i, &allowed));
        if let Some(processor) = processors.nth(which) {
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(processor, &mut one);
            libc::sched_setaffinity(0, size, &one);
        }
    }
}
