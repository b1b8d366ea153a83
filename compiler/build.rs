//! Hashes the sources that decide about the bytes of artifacts, for
//! `precast_compiler::Compiler::identity`. During development the compiler's version stays the same
//! while its sources change, and what an earlier state wrote must not be taken for what the current
//! one would write.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let mut hasher = DefaultHasher::new();
    // The format's crate is beside this one in the repository. If both come from a registry it is
    // somewhere else, but there sources do not change without a new version.
    for part in ["src", "../artifacts-format/src"] {
        let directory = root.join(part);
        if directory.is_dir() {
            println!("cargo::rerun-if-changed={}", directory.display());
            hash(&directory, &directory, &mut hasher);
        }
    }
    println!(
        "cargo::rustc-env=PRECAST_COMPILER_SOURCES={:016x}",
        hasher.finish()
    );
}

/// Hashes names and contents of all files below `directory`, sorted by name.
fn hash(root: &Path, directory: &Path, hasher: &mut DefaultHasher) {
    let entries = fs::read_dir(directory).expect("sources can be listed");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("sources can be listed").path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            hash(root, &path, hasher);
        } else {
            path.strip_prefix(root).unwrap_or(&path).hash(hasher);
            fs::read(&path).expect("sources can be read").hash(hasher);
        }
    }
}
