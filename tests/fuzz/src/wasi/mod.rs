//! Sequences of WASI calls on paths and descriptors, compared with POSIX and with the promises of
//! the sandbox.
//!
//! | module | what |
//! |---|---|
//! | `guest` | makes the calls as a guest |
//! | `model` | makes the same calls with the system's functions in a copy of the directory |
//! | `run` | one sequence of calls on both sides |
//! | `paths`, `files` | the calls of a sequence: on paths, on open files |
//! | `pair` | a file or directory that is open on both sides |
//! | `agree` | whether the two results of a call agree |
//! | `tree` | the content of directories, and random paths |
//!
//! ```text
//!   base/  inside/    the guest's directory 3, which it may change
//!          copy/      where the model makes the same calls
//!          readonly/  the guest's directory 4
//!          outside/   files that no guest may see or change
//! ```
//!
//! A call whose path leads out of its directory must fail. Every other call must succeed if and
//! only if the system's own call does, with the same result. After the sequence both directories
//! must be the same, and nothing else may have changed, including times and inodes.

mod agree;
mod files;
mod guest;
mod model;
mod pair;
mod paths;
mod run;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use precast_wasi::{DirAccess, WasiCtxBuilder};

use crate::{Case, Target};
use guest::Program;
use model::Open;
use run::Run;

/// The calls, on the system as it is.
pub const WASI: Target = Target {
    name: "wasi",
    about: "sequences of WASI calls on paths and descriptors, compared with POSIX",
    prepare: || Box::new(Sandbox::prepare()),
};

/// The calls, on a system that refuses `openat2`, so that cap-std resolves paths step by step.
pub const WASI_BY_STEPS: Target = Target {
    name: "wasi-by-steps",
    about: "like wasi, while the system refuses `openat2`",
    prepare: || {
        precast_tests::refuse(&[libc::SYS_openat2], libc::ENOSYS);
        Box::new(Sandbox::prepare())
    },
};

struct Sandbox {
    base: PathBuf,
    program: Program,
    /// The content of the directories that must not change.
    before: BTreeMap<PathBuf, String>,
}

impl Sandbox {
    fn prepare() -> impl FnMut(&mut Case) -> Result<(), String> {
        let mut sandbox = Self::new().expect("a temporary directory");
        move |case| sandbox.run(case)
    }

    fn new() -> io::Result<Self> {
        // The driver deletes this directory with all others that this process leaves behind.
        let base = fs::canonicalize(tempfile::tempdir()?.keep())?;
        let outside = base.join("outside");
        tree::fill_outside(&outside)?;
        fs::create_dir(base.join("readonly"))?;
        tree::fill(&base.join("readonly"), &outside)?;
        let before = Self::untouchable(&base)?;
        Ok(Self {
            base,
            program: Program::new(),
            before,
        })
    }

    /// The content of the directories that must not change.
    fn untouchable(base: &Path) -> io::Result<BTreeMap<PathBuf, String>> {
        let mut all = BTreeMap::new();
        for directory in ["outside", "readonly"] {
            let entries = tree::snapshot(&base.join(directory), true)?;
            all.extend(
                entries
                    .into_iter()
                    .map(|(p, t)| (Path::new(directory).join(p), t)),
            );
        }
        for entry in fs::read_dir(base)? {
            let name = PathBuf::from(entry?.file_name());
            if name != Path::new("inside") && name != Path::new("copy") {
                all.entry(name).or_insert_with(|| "directory".to_owned());
            }
        }
        Ok(all)
    }

    fn run(&mut self, case: &mut Case) -> Result<(), String> {
        let (inside, copy) = (self.base.join("inside"), self.base.join("copy"));
        let fresh = |path: &Path| -> io::Result<()> {
            if path.exists() {
                fs::remove_dir_all(path)?;
            }
            fs::create_dir(path)?;
            tree::fill(path, &self.base.join("outside"))
        };
        let io = |error: io::Error| format!("the harness: {error}");
        fresh(&inside).map_err(io)?;
        fresh(&copy).map_err(io)?;
        let wasi = WasiCtxBuilder::new()
            .preopened_dir(&inside, "/", DirAccess::ReadWrite)
            .and_then(|b| b.preopened_dir(self.base.join("readonly"), "/ro", DirAccess::ReadOnly))
            .map_err(|error| error.to_string())?
            .build();
        let mut run = Run::new(
            self.program.start(wasi),
            Open::directory(&copy).map_err(io)?,
            Open::directory(&self.base.join("readonly")).map_err(io)?,
        );
        let steps = case.rng.u32(5..25);
        let result = (0..steps).try_for_each(|_| run.step(case));
        drop(run);
        result?;
        let expected = tree::snapshot(&copy, false).map_err(io)?;
        let found = tree::snapshot(&inside, false).map_err(io)?;
        if let Some(difference) = tree::difference(&expected, &found) {
            return Err(format!("afterwards: {difference}"));
        }
        let after = Self::untouchable(&self.base).map_err(io)?;
        match tree::difference(&self.before, &after) {
            None => Ok(()),
            Some(difference) => Err(format!("outside of the guest's directory: {difference}")),
        }
    }
}
