//! Hashes the sources of what decides about the bytes of artifacts, for
//! `precast_compiler::Compiler::identity`: while the compiler is being worked on its version stays
//! the same, but what it wrote before must not be taken for what it would write now.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let mut hasher = DefaultHasher::new();
    // The format's crate lies beside this one in the repository, and elsewhere when both come from
    // a registry; there, versions do not change without a release.
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

/// Names and contents of all files below `directory`, in the order of their names.
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
