//! The table of promises ([`precast_artifact::promises`]). The tests here try to break each row
//! from every side that could, in both strategies. It must hold.
//!
//! The sides are: the code itself, a callee, another instance, a host function, a host function
//! that calls back, and the host between calls; in straight code and in loops; by closing and by
//! reuse.

mod call;
mod closing;
mod global;
mod lengths;
mod memory;
mod shared;
mod store;
mod table;
mod ways;

use std::fs;
use std::path::{Path, PathBuf};

use precast_artifact::promises::Promise;

/// Collects all Rust files below a directory.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_row_has_keepers_and_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut loader = Vec::new();
    sources(&root.join("loader/src"), &mut loader);
    let loader: Vec<_> = loader
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let is_kept = |keeper: &str| {
        let (ty, function) = keeper.rsplit_once("::").unwrap_or(("", keeper));
        loader.iter().any(|text| {
            let is_of_type = ty.is_empty()
                || text.contains(&format!("impl {ty} "))
                || text.contains(&format!("> {ty}<"));
            let defines = |end| text.contains(&format!("fn {function}{end}"));
            is_of_type && (defines("(") || defines("<"))
        })
    };
    let exists = |test: &str| {
        let (path, function) = test.rsplit_once("::").unwrap();
        let (binary, module) = path.split_once("::").unwrap();
        let directory = match binary {
            "format" => root.join("artifacts-format/tests/format"),
            "loader" => root.join("tests/loader"),
            _ => return false,
        };
        let file = directory
            .join(module.replace("::", "/"))
            .with_extension("rs");
        let text = fs::read_to_string(file).unwrap_or_default();
        text.contains(&format!("#[test]\nfn {function}() {{"))
    };
    for promise in Promise::ALL {
        assert!(!promise.keepers().is_empty() && !promise.tests().is_empty());
        for keeper in promise.keepers() {
            assert!(is_kept(keeper), "{promise:?}: nothing is called {keeper}");
        }
        for test in promise.tests() {
            assert!(exists(test), "{promise:?}: there is no test {test}");
        }
    }
}
