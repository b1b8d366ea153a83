//! Compiles modules in the process of the test.

use precast_artifact::{Interruption, Strategy};
use precast_compiler::{Compiler, Error as CompileError, Settings};

/// The artifact of a module, which is given as text or in binary form. The verifier has checked the
/// artifact.
///
/// # Errors
/// The compiler's.
///
/// # Panics
/// If the text is no module, the settings fit no machine, or the verifier finds something wrong.
pub fn compiled(module: impl AsRef<[u8]>, settings: &Settings) -> Result<Vec<u8>, CompileError> {
    let wasm = wat::parse_bytes(module.as_ref()).expect("the test's own text");
    let compiler = Compiler::new(settings.clone()).expect("settings of a test");
    let artifact = compiler.compile(&wasm)?.artifact;
    precast_compiler::verify(&artifact).expect("the compiler writes what the verifier accepts");
    Ok(artifact)
}

/// Compiles a module for a target, or for this machine.
///
/// # Errors
/// The compiler's message.
pub(crate) fn compile_for(
    wasm: &[u8],
    strategy: Strategy,
    interruption: Interruption,
    target: Option<&str>,
) -> Result<Vec<u8>, String> {
    let mut settings = Settings {
        strategy,
        interruption,
        ..Settings::default()
    };
    if let Some(target) = target {
        settings.target = Some(target.into());
    }
    let compiled = Compiler::new(settings).and_then(|compiler| compiler.compile(wasm));
    Ok(compiled.map_err(|error| error.to_string())?.artifact)
}
