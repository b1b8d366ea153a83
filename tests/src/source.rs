//! Compiled, recorded or replayed artifacts.

use std::path::{Path, PathBuf};

use precast_artifact::{Interruption, Strategy};
use precast_loader::{Engine, Module, Store};

/// Both memory strategies. Tests run under each.
pub fn strategies() -> [Strategy; 2] {
    [Strategy::Guarded, Strategy::Checked]
}

/// All pairs of memory strategies, for tests with two modules.
pub fn strategy_pairs() -> impl Iterator<Item = (Strategy, Strategy)> {
    let both = strategies();
    both.into_iter().flat_map(move |a| both.map(|b| (a, b)))
}

/// A source of artifacts with one memory strategy and one kind of interruption.
#[derive(Debug, Clone)]
pub struct Source {
    strategy: Strategy,
    interruption: Interruption,
}

impl Source {
    /// A source of artifacts that cannot be interrupted. The environment decides whether they are
    /// compiled, recorded or replayed.
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            interruption: Interruption::None,
        }
    }

    /// The same source, with this kind of interruption.
    #[must_use]
    pub fn interruption(self, interruption: Interruption) -> Self {
        Self {
            interruption,
            ..self
        }
    }

    /// Opens a module that is given in the text format.
    ///
    /// # Panics
    /// If the text is not a valid module, or the module does not compile or load.
    pub fn module(&self, engine: &Engine, wat: &str) -> Module {
        let wasm = wat::parse_str(wat).expect("the test's own text");
        let bytes = self.artifact(&wasm).expect("the test's own module");
        // SAFETY: our own compiler has just written these bytes.
        unsafe { Module::from_bytes(engine, &bytes) }.expect("an artifact of our own compiler")
    }

    /// Returns the artifact of a module.
    ///
    /// # Errors
    /// The compiler's message, now or when it was recorded; or that nothing was recorded.
    pub fn artifact(&self, wasm: &[u8]) -> Result<Vec<u8>, String> {
        if let Some(dir) = directory("PRECAST_REPLAY") {
            return replay(&self.path(&dir, wasm));
        }
        #[cfg(feature = "compiler")]
        {
            if let Some(dir) = directory("PRECAST_RECORD") {
                let target = std::env::var("PRECAST_RECORD_TARGET")
                    .map_err(|_| "PRECAST_RECORD is set, but not PRECAST_RECORD_TARGET")?;
                let result = crate::compile::compile_for(
                    wasm,
                    self.strategy,
                    self.interruption,
                    Some(&target),
                );
                record(&self.path(&dir, wasm), &result).map_err(|e| e.to_string())?;
            }
            crate::compile::compile_for(wasm, self.strategy, self.interruption, None)
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

    /// Checks that the module does not compile. The reason is not compared, because it is not
    /// recorded.
    fn rejects(&self, wasm: &[u8], _: precast_wast::Rejected, _: &str) -> Result<(), String> {
        match Self::artifact(self, wasm) {
            Ok(_) => Err("the module compiled".into()),
            Err(message) if message.starts_with("nothing recorded") => Err(message),
            Err(_) => Ok(()),
        }
    }
}

/// Reads a recorded file, which is `+` and an artifact, or `-` and a message.
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
    // Other threads and other processes may record the same module.
    let thread = std::thread::current().id();
    let temporary = path.with_extension(format!("{}-{thread:?}", std::process::id()));
    std::fs::write(&temporary, [tag, bytes].concat())?;
    std::fs::rename(temporary, path)
}

/// Returns the artifact of a module that is given in the text format.
///
/// # Panics
/// If the text is not a valid module, or the module does not compile.
pub fn artifact(wat: &str, strategy: Strategy) -> Vec<u8> {
    let wasm = wat::parse_str(wat).expect("the test's own text");
    Source::new(strategy)
        .artifact(&wasm)
        .expect("the test's own module")
}

/// Opens a module that is given in the text format.
///
/// # Panics
/// If the text is not a valid module, or the module does not compile or load.
pub fn module(engine: &Engine, wat: &str, strategy: Strategy) -> Module {
    Source::new(strategy).module(engine, wat)
}

/// A store without data.
pub fn store() -> Store<()> {
    Store::new(&Engine::default(), ())
}
