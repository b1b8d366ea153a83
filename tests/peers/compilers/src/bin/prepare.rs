//! Makes the artifacts that the other benchmarks measure, each with the compiler of its runtime:
//! `prepare [FILTER]`.
//!
//! Wasmer's are left out unless its compiler was built (`wasmer-compiler/`).
//!
//! An artifact that is newer than its module and its compiler is kept. Every compiler optimises for
//! speed. By their defaults, precast and Wasmer compile for the baseline of the architecture, and
//! Wasmtime for this processor.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use precast_peers::Result;
use precast_peers::peers::{Peer, Precast, WASMER_EXTENSION, Wasmtime, compile_config};
use precast_peers::subjects::{self, Source, Subject};

fn main() -> Result<()> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    std::fs::create_dir_all(subjects::directory())?;
    let mut all = subjects::programs();
    all.push(subjects::calls());
    let of_wasmer = all.len();
    all.extend(subjects::plugins());
    all.extend(subjects::interpreters());
    all.extend(subjects::memories().into_iter().map(|(subject, _)| subject));
    all.extend(
        subjects::sweeps()
            .into_iter()
            .flat_map(|(_, subjects)| subjects),
    );
    println!(
        "{:<16} {:>12} {:>12} {:>12} {:>12}  ratio to wasmtime's",
        "bytes", "wasm", "precast", "wasmtime", "wasmer"
    );
    for (i, subject) in all.iter().enumerate() {
        if !subject.name.contains(&filter) {
            continue;
        }
        if !subject.is_there() {
            println!("{:<16} not fetched", subject.name);
            continue;
        }
        let wasm = module(subject)?;
        let ours = subject.file(Precast::EXTENSION);
        let precast = precast_peers::default_precast();
        make(&ours, &[&wasm, &precast], || {
            with_precast(&precast, &wasm, &ours)
        })?;
        let this = std::env::current_exe()?;
        let theirs = subject.file(Wasmtime::EXTENSION);
        make(&theirs, &[&wasm, &this], || with_wasmtime(&wasm, &theirs))?;
        let wasmer = subject.file(WASMER_EXTENSION);
        let compiler = precast_peers::built("release", "precast-peers-wasmer");
        if i < of_wasmer && compiler.exists() {
            make(&wasmer, &[&wasm, &compiler], || {
                with_wasmer(&compiler, &wasm, &wasmer)
            })?;
        }
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        println!(
            "{:<16} {:>12} {:>12} {:>12} {:>12}  {:.2}",
            subject.name,
            size(&wasm),
            size(&ours),
            size(&theirs),
            size(&wasmer),
            size(&ours) as f64 / size(&theirs) as f64
        );
    }
    Ok(())
}

/// Writes the module to a file, unless the file already has the same content. Returns its path.
fn module(subject: &Subject) -> Result<std::path::PathBuf> {
    let bytes = match &subject.source {
        Source::Text(text) => wat::parse_str(text)?,
        Source::Program(program) => return Ok(precast_peers::program(program)),
    };
    let path = subject.file("wasm");
    if !path.exists() || std::fs::read(&path)? != bytes {
        std::fs::write(&path, bytes)?;
    }
    Ok(path)
}

/// Makes `artifact`, unless it is newer than all files that it is made from.
fn make(artifact: &Path, from: &[&Path], make: impl FnOnce() -> Result<()>) -> Result<()> {
    let modified = |path: &Path| -> Result<SystemTime> {
        let metadata = std::fs::metadata(path);
        Ok(metadata
            .map_err(|e| format!("{}: {e}", path.display()))?
            .modified()?)
    };
    if let Ok(made) = modified(artifact) {
        let mut fresh = true;
        for source in from {
            fresh &= modified(source)? < made;
        }
        if fresh {
            return Ok(());
        }
    }
    make()
}

fn with_precast(precast: &Path, wasm: &Path, artifact: &Path) -> Result<()> {
    let status = Command::new(precast)
        .arg("compile")
        .arg(wasm)
        .arg("-o")
        .arg(artifact)
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("precast does not compile {}", wasm.display()).into())
}

fn with_wasmtime(wasm: &Path, artifact: &Path) -> Result<()> {
    let engine = wasmtime::Engine::new(&compile_config())?;
    let bytes = engine.precompile_module(&std::fs::read(wasm)?)?;
    Ok(std::fs::write(artifact, bytes)?)
}

/// Wasmer's compiler is another workspace's, because it requires an older Cranelift.
fn with_wasmer(compiler: &Path, wasm: &Path, artifact: &Path) -> Result<()> {
    let status = Command::new(compiler).arg(wasm).arg(artifact).status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!("Wasmer does not compile {}", wasm.display()).into())
}
