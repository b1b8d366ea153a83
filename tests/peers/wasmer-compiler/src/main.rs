//! `precast-peers-wasmer WASM ARTIFACT`: compiles a module with Wasmer's Cranelift compiler.

use std::error::Error;
use std::path::PathBuf;

use wasmer::sys::{CompilerConfig, Cranelift, EngineBuilder};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [wasm, artifact] = &files[..] else {
        return Err("expected a module and the artifact to write".into());
    };
    let compiler: Box<dyn CompilerConfig> = Box::new(Cranelift::new());
    let engine = wasmer::Engine::from(EngineBuilder::new(compiler).engine());
    let module = wasmer::Module::new(&engine, std::fs::read(wasm)?)?;
    Ok(module.serialize_to_file(artifact)?)
}
