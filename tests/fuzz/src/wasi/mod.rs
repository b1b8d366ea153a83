//! Sequences of WASI calls on paths and descriptors, against what POSIX says and a sandbox's promise.
//!
//! | module | what |
//! |---|---|
//! | `guest` | the calls as a guest makes them |
//! | `twin` | the same calls made with the system's functions in a twin of the directory |
//! | `run` | one sequence, on both |
//! | `tree` | directories, paths, and what there is |
//! | `refuse` | the system without `openat2` |
//!
//! ```text
//!   base/  inside/    the guest's directory 3, which it may change
//!          twin/      where the model does the same
//!          readonly/  the guest's directory 4
//!          outside/   what no guest may see or change
//! ```
//! Of a call whose path leads out nothing is asked but that it fails. Of every other call: that it
//! succeeds if and only if the system's does, with the same answer; after the sequence, that both
//! directories are the same, and that nothing else has changed, times and inodes included.

mod guest;
mod refuse;
mod run;
mod tree;
mod twin;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use precast_wasi::{DirAccess, WasiCtxBuilder};

use crate::{Case, Target};
use guest::Program;
use run::Run;
use twin::Open;

/// With what the system has.
pub const WASI: Target = Target {
    name: "wasi",
    about: "sequences of WASI calls on paths and descriptors, against POSIX",
    prepare: || Box::new(Sandbox::prepare(false)),
};

/// Without `openat2`, so that paths are followed step by step.
pub const WASI_BY_STEPS: Target = Target {
    name: "wasi-by-steps",
    about: "likewise, where the system refuses `openat2`",
    prepare: || {
        refuse::openat2();
        Box::new(Sandbox::prepare(true))
    },
};

struct Sandbox {
    base: PathBuf,
    program: Program,
    before: BTreeMap<PathBuf, String>,
    /// Whether paths are followed step by step. There are no named pipes then: cap-std's
    /// `canonicalize` would wait for a writer.
    by_steps: bool,
}

impl Sandbox {
    fn prepare(by_steps: bool) -> impl FnMut(&mut Case) -> Result<(), String> {
        let mut sandbox = Self::new(by_steps).expect("a temporary directory");
        move |case| sandbox.run(case)
    }

    fn new(by_steps: bool) -> io::Result<Self> {
        // The driver deletes it with all else that this process leaves there.
        let base = fs::canonicalize(tempfile::tempdir()?.keep())?;
        let outside = base.join("outside");
        tree::fill_outside(&outside)?;
        fs::create_dir(base.join("readonly"))?;
        tree::fill(&base.join("readonly"), &outside, !by_steps)?;
        let before = Self::untouchable(&base)?;
        Ok(Self {
            base,
            program: Program::new(),
            before,
            by_steps,
        })
    }

    /// What must stay as it is.
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
            if name != Path::new("inside") && name != Path::new("twin") {
                all.entry(name).or_insert_with(|| "directory".to_owned());
            }
        }
        Ok(all)
    }

    fn run(&mut self, case: &mut Case) -> Result<(), String> {
        let (inside, twin) = (self.base.join("inside"), self.base.join("twin"));
        let fresh = |path: &Path| -> io::Result<()> {
            if path.exists() {
                fs::remove_dir_all(path)?;
            }
            fs::create_dir(path)?;
            tree::fill(path, &self.base.join("outside"), !self.by_steps)
        };
        let io = |error: io::Error| format!("the harness: {error}");
        fresh(&inside).map_err(io)?;
        fresh(&twin).map_err(io)?;
        let wasi = WasiCtxBuilder::new()
            .preopened_dir(&inside, "/", DirAccess::ReadWrite)
            .and_then(|b| b.preopened_dir(self.base.join("readonly"), "/ro", DirAccess::ReadOnly))
            .map_err(|error| error.to_string())?
            .build();
        let mut run = Run::new(
            self.program.start(wasi),
            Open::directory(&twin).map_err(io)?,
            Open::directory(&self.base.join("readonly")).map_err(io)?,
            self.by_steps,
        );
        let steps = case.rng.u32(5..25);
        let result = (0..steps).try_for_each(|_| run.step(case));
        drop(run);
        result?;
        let expected = tree::snapshot(&twin, false).map_err(io)?;
        let found = tree::snapshot(&inside, false).map_err(io)?;
        if let Some(difference) = tree::difference(&expected, &found) {
            return Err(format!("afterwards: {difference}"));
        }
        let after = Self::untouchable(&self.base).map_err(io)?;
        match tree::difference(&self.before, &after) {
            None => Ok(()),
            Some(difference) => Err(format!("outside of what may change: {difference}")),
        }
    }
}
