//! Artifacts in temporary files.

use std::path::{Path, PathBuf};

use precast_loader::{Engine, Module};
use tempfile::TempDir;

/// An artifact in a file of its own. Dropping it removes the file.
#[derive(Debug)]
pub struct ArtifactFile {
    _dir: TempDir,
    path: PathBuf,
}

impl ArtifactFile {
    /// Writes an artifact of the tests' own compiler to a file.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn new(artifact: &[u8]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("artifact.precast");
        std::fs::write(&path, artifact).expect("a writable directory");
        Self { _dir: dir, path }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the module in the file.
    ///
    /// # Panics
    /// If the loader refuses it.
    pub fn open(&self, engine: &Engine) -> Module {
        // SAFETY: our own compiler wrote the artifact. Tests that change the file do not run its
        // code.
        unsafe { Module::open(engine, &self.path) }.expect("an artifact of our own compiler")
    }
}
