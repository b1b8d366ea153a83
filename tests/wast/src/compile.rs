//! Runs scripts whose modules are compiled when they are needed.

use precast_compiler::{Compiler, Error as CompileError, Settings};

use crate::{Error, Modules, Rejected, Report, run_with};

/// Runs the script `text`. Its modules are compiled with `settings`, and every artifact is
/// verified.
///
/// # Errors
/// When the script cannot be parsed, or nothing can be compiled with these settings.
pub fn run(text: &str, settings: &Settings) -> Result<Report, Error> {
    run_with(text, &Compiled(Compiler::new(settings.clone())?))
}

struct Compiled(Compiler);

impl Modules for Compiled {
    fn artifact(&self, wasm: &[u8]) -> Result<Vec<u8>, String> {
        let compiled = self.0.compile(wasm).map_err(|error| error.to_string())?;
        precast_compiler::verify(&compiled.artifact).map_err(|error| error.to_string())?;
        Ok(compiled.artifact)
    }

    fn rejects(&self, wasm: &[u8], kind: Rejected, expected: &str) -> Result<(), String> {
        use CompileError as E;
        match (self.0.compile(wasm), kind) {
            (Ok(_), _) => Err("the module compiled".to_owned()),
            (Err(E::Invalid { .. } | E::NotAModule { .. } | E::TooLarge { .. }), _) => Ok(()),
            // The module has bits that are defined only in later versions.
            (Err(E::Unsupported { .. }), Rejected::Malformed) => Ok(()),
            // The rule is one that only an unsupported proposal lifts.
            (Err(E::Unsupported { message, .. }), _)
                if !expected.is_empty() && message.contains(expected) =>
            {
                Ok(())
            }
            // The settings forbid a proposal that is newer than the script.
            (Err(E::Forbidden { .. }), _) => Ok(()),
            (Err(other), _) => Err(format!("found \"{other}\"")),
        }
    }
}
