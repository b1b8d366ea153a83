//! Benchmark of CPython as a reactor, which evaluates ten lines for each request: `reactor-bench
//! [--rounds N] [--settings] [FILTER]`. `interpreters::measure` says what the rows are.
//!
//! CPython uses exceptions. Wasmtime's are objects of its garbage collection, which is built into
//! this program and collects nothing here, as the fastest of its collectors.

use std::path::Path;
use std::process::Command;

use precast_peers::Result;
use precast_peers::interpreters::{measure, python_reactor};
use precast_peers::peers::{Peer, Precast, Wasmtime, compile_config, settings};
use precast_peers::subjects;
use precast_peers::table::Table;
use wasmtime::{Collector, Config, WasmFeatures};

fn main() -> Result<()> {
    let mut table = Table::of_args(&["precast", "wasmtime"])?;
    let case = python_reactor();
    if !case.subject.is_there() {
        return Err("run `../programs/fetch.sh python315-snapshot` first".into());
    }
    let wasmtimes: Vec<Wasmtime> = settings()
        .into_iter()
        .map(|setting| Wasmtime::with_config(setting, config()))
        .collect::<Result<_>>()?;
    std::fs::create_dir_all(subjects::directory())?;
    let wasm = precast_peers::program("python315-snapshot");
    let ours = case.subject.file(Precast::EXTENSION);
    if !ours.exists() {
        compile(&wasm, &ours)?;
    }
    let theirs = case.subject.file(Wasmtime::EXTENSION);
    if let (false, Some(wasmtime)) = (theirs.exists(), wasmtimes.first()) {
        let artifact = wasmtime.engine().precompile_module(&std::fs::read(wasm)?)?;
        std::fs::write(&theirs, artifact)?;
    }
    table.head();
    let (pooled, fresh) = (Precast::pooled(), Precast::fresh());
    measure(&mut table, &case, &pooled, &fresh, &wasmtimes)
}

/// The configuration of the other interpreters, with exceptions.
fn config() -> Config {
    let mut config = compile_config();
    config.wasm_features(
        WasmFeatures::EXCEPTIONS | WasmFeatures::GC_TYPES | WasmFeatures::FUNCTION_REFERENCES,
        true,
    );
    config.collector(Collector::Null);
    config
}

fn compile(wasm: &Path, artifact: &Path) -> Result<()> {
    let mut precast = Command::new(precast_peers::default_precast());
    let status = precast
        .arg("compile")
        .arg(wasm)
        .arg("-o")
        .arg(artifact)
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("precast does not compile {}", wasm.display()).into()),
    }
}
