//! Compiles modules in the process of the test.

use precast_artifact::{Interruption, Strategy};
use precast_compiler::{Compiler, Settings};

/// Compiles a module for a target, or for this machine.
///
/// # Errors
/// The compiler's message.
pub(crate) fn compile(
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
