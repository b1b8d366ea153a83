//! Compiled, recorded or replayed artifacts.

use std::path::{Path, PathBuf};

use precast_artifact::{Interruption, Strategy};
use precast_loader::{Engine, Module, Store};

/// Both memory strategies: tests run under each.
pub fn strategies() -> [Strategy; 2] {
    [Strategy::Guarded, Strategy::Checked]
}

/// Where artifacts come from, for one memory strategy and one way of being interrupted.
#[derive(Debug, Clone)]
pub struct Source {
    strategy: Strategy,
    interruption: Interruption,
}

impl Source {
    /// A source as the environment says, of code that cannot be interrupted.
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            interruption: Interruption::None,
        }
    }

    /// Code that can be interrupted.
    #[must_use]
    pub fn interruption(self, interruption: Interruption) -> Self {
        Self {
            interruption,
            ..self
        }
    }

    /// A module in text form, ready to be instantiated.
    ///
    /// # Panics
    /// If the text is wrong, does not compile, or the loader refuses it: tests give modules that
    /// do.
    pub fn module(&self, engine: &Engine, wat: &str) -> Module {
        let wasm = wat::parse_str(wat).expect("the test's own text");
        let bytes = self.artifact(&wasm).expect("the test's own module");
        // SAFETY: our own compiler just wrote it.
        unsafe { Module::from_bytes(engine, &bytes) }.expect("an artifact of our own compiler")
    }

    /// The artifact of a module.
    ///
    /// # Errors
    /// The compiler's message, present or recorded; or that nothing is recorded.
    pub fn artifact(&self, wasm: &[u8]) -> Result<Vec<u8>, String> {
        if let Some(dir) = directory("PRECAST_REPLAY") {
            return replay(&self.path(&dir, wasm));
        }
        #[cfg(feature = "compiler")]
        {
            if let Some(dir) = directory("PRECAST_RECORD") {
                let target = std::env::var("PRECAST_RECORD_TARGET")
                    .map_err(|_| "PRECAST_RECORD is set, but not PRECAST_RECORD_TARGET")?;
                let result =
                    crate::compile::compile(wasm, self.strategy, self.interruption, Some(&target));
                record(&self.path(&dir, wasm), &result).map_err(|e| e.to_string())?;
            }
            crate::compile::compile(wasm, self.strategy, self.interruption, None)
        }
        #[cfg(not(feature = "compiler"))]
        Err("built without the compiler, and PRECAST_REPLAY is not set".into())
    }

    fn path(&self, dir: &Path, wasm: &[u8]) -> PathBuf {
        let mut name = format!("{}-{}", blake3::hash(wasm).to_hex(), self.strategy);
        if self.interruption != Interruption::None {
            name += "-";
            name += self.interruption.text();
        }
        dir.join(name)
    }
}

fn directory(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

impl precast_wast::Modules for Source {
    fn artifact(&self, wasm: &[u8]) -> Result<Vec<u8>, String> {
        Self::artifact(self, wasm)
    }

    /// Whether it is rejected at all; what for is not recorded.
    fn rejects(&self, wasm: &[u8], _: precast_wast::Rejected) -> Result<(), String> {
        match Self::artifact(self, wasm) {
            Ok(_) => Err("the module compiled".into()),
            Err(message) if message.starts_with("nothing recorded") => Err(message),
            Err(_) => Ok(()),
        }
    }
}

/// A recorded file is `+` and an artifact, or `-` and a message.
fn replay(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes =
        std::fs::read(path).map_err(|e| format!("nothing recorded as {}: {e}", path.display()))?;
    match bytes.first() {
        Some(b'+') => Ok(bytes.split_off(1)),
        _ => Err(String::from_utf8_lossy(bytes.get(1..).unwrap_or_default()).into_owned()),
    }
}

#[cfg(feature = "compiler")]
fn record(path: &Path, result: &Result<Vec<u8>, String>) -> std::io::Result<()> {
    let (tag, bytes) = match result {
        Ok(artifact) => (b"+", artifact.as_slice()),
        Err(message) => (b"-", message.as_bytes()),
    };
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let temporary = path.with_extension(format!("{:?}", std::thread::current().id()));
    std::fs::write(&temporary, [tag, bytes].concat())?;
    std::fs::rename(temporary, path)
}

/// The artifact of a module in text form.
///
/// # Panics
/// If the text is wrong or does not compile: tests give modules that do.
pub fn artifact(wat: &str, strategy: Strategy) -> Vec<u8> {
    let wasm = wat::parse_str(wat).expect("the test's own text");
    Source::new(strategy)
        .artifact(&wasm)
        .expect("the test's own module")
}

/// A module in text form, ready to be instantiated.
///
/// # Panics
/// As [`artifact`], or if the loader refuses it.
pub fn module(engine: &Engine, wat: &str, strategy: Strategy) -> Module {
    Source::new(strategy).module(engine, wat)
}

/// A store without data.
pub fn store() -> Store<()> {
    Store::new(&Engine::default(), ())
}
