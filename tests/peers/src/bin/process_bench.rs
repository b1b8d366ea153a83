//! Benchmark of whole processes and of the sizes of their binaries: `process-bench [--runs N]`.
//!
//! There are three hosts, which are built to be small (`hosts/`, profile `small`). One does
//! nothing. The other two, with `precast-loader` and with Wasmtime's runtime without compiler and
//! pool, open a trivial artifact, call it and exit. They are started in turn with `posix_spawn`.
//! The output shows the wall time from before the start until the exit is noticed, and the
//! difference to the empty host.

use std::path::PathBuf;
use std::process::Command;

use precast_peers::child;
use precast_peers::peers::{Peer, Precast, Wasmtime};
use precast_peers::stats::Samples;
use precast_peers::{Result, subjects};

struct Host {
    name: &'static str,
    binary: PathBuf,
    artifact: PathBuf,
    /// Wall times in microseconds.
    wall: Samples,
    /// CPU times in microseconds.
    cpu: Samples,
}

impl Host {
    fn new(name: &'static str, artifact: PathBuf) -> Result<Self> {
        let binary = precast_peers::built("small", &format!("host-{name}"));
        if !binary.exists() {
            let make = "cargo build --profile small -p host-empty -p host-precast -p host-wasmtime";
            return Err(format!("{} is not there; `{make}` makes it", binary.display()).into());
        }
        Ok(Self {
            name,
            binary,
            artifact,
            wall: Samples::default(),
            cpu: Samples::default(),
        })
    }

    fn run(&mut self) -> Result<()> {
        let cost = child::measure(Command::new(&self.binary).arg(&self.artifact).env_clear())?;
        self.wall.push(cost.wall.as_secs_f64() * 1e6);
        self.cpu.push(cost.cpu.as_secs_f64() * 1e6);
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.binary)?.len())
    }
}

fn main() -> Result<()> {
    let mut runs = 300;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--runs" => runs = args.next().ok_or("--runs needs a number")?.parse()?,
            _ => return Err(format!("unknown argument {arg}; there is --runs N").into()),
        }
    }
    println!(
        "{}, {runs} runs each; min / median / max",
        precast_peers::machine()
    );
    let tiny = &subjects::programs()[0];
    let ours = tiny.artifact(Precast::EXTENSION)?;
    let theirs = tiny.artifact(Wasmtime::EXTENSION)?;
    let mut hosts = [
        Host::new("empty", ours.clone())?,
        Host::new("precast", ours)?,
        Host::new("wasmtime", theirs)?,
    ];
    for round in 0..runs + 5 {
        for turn in 0..hosts.len() {
            let host = &mut hosts[(round + turn) % 3];
            host.run()?;
        }
        if round == 4 {
            // The first runs only filled the page cache.
            for host in &mut hosts {
                (host.wall, host.cpu) = (Samples::default(), Samples::default());
            }
        }
    }
    let [empty, precast, wasmtime] = &hosts;
    println!(
        "{:<10} {:>30} {:>26} {:>30} {:>12} {:>12}",
        "", "wall, us", "extra of medians (minima)", "cpu, us", "binary, B", "extra, B"
    );
    let above = |host: &Host, of: fn(&Host) -> f64| of(host) - of(empty);
    let extra_size =
        |host: &Host| Ok::<_, Box<dyn std::error::Error>>(host.size()? - empty.size()?);
    for host in &hosts {
        let (median, minimum) = (
            above(host, |h| h.wall.median()),
            above(host, |h| h.wall.min()),
        );
        println!(
            "{:<10} {:>30.0} {:>26} {:>30.0} {:>12} {:>12}",
            host.name,
            host.wall,
            format!("{median:.0} ({minimum:.0})"),
            host.cpu,
            host.size()?,
            extra_size(host)?
        );
    }
    let ratio = |of: fn(&Host) -> f64| above(precast, of) / above(wasmtime, of);
    println!(
        "precast / wasmtime: extra wall {:.3} (minima: {:.3}), extra processor time {:.3}, extra binary {:.3}",
        ratio(|host| host.wall.median()),
        ratio(|host| host.wall.min()),
        ratio(|host| host.cpu.median()),
        extra_size(precast)? as f64 / extra_size(wasmtime)? as f64
    );
    Ok(())
}
