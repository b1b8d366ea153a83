//! The modules that are measured. `prepare` (in `compilers/`) compiles them for every runtime. The
//! other benchmarks only read the artifacts, so that the measured processes contain no compiler.

use std::path::PathBuf;

use crate::Result;

/// A module, with a `.wasm` file and one artifact for each runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The name in tables and file names.
    pub name: String,
    /// The source of its text or bytes.
    pub source: Source,
}

/// The source of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The module in the text format.
    Text(String),
    /// The name of a program that `tests/programs/fetch.sh` fetches.
    Program(&'static str),
}

const TINY: &str = r#"(module
    (func (export "f") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))"#;

/// A module with a data segment. Calling `f` writes to one page.
const TINY_DATA: &str = r#"(module (memory 1) (data (i32.const 100) "some data")
    (func (export "f") (param i32) (result i32)
        (i32.store (i32.const 200) (local.get 0)) (i32.load (i32.const 100))))"#;

const CALLS: &str = r#"(module
    (import "h" "f" (func $host (param i32) (result i32)))
    (table 4 funcref) (elem (i32.const 0) func $inc $dec $inc $dec)
    (type $t (func (param i32) (result i32)))
    (func $inc (type $t) (i32.add (local.get 0) (i32.const 3)))
    (func $dec (type $t) (i32.sub (local.get 0) (i32.const 1)))
    (func (export "f") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
    (func (export "host") (param i32) (result i32) (local i32)
        (loop $l
            (local.set 1 (call $host (local.get 1)))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 1))
    (func (export "indirect") (param i32) (result i32) (local i32)
        (loop $l
            (local.set 1 (call_indirect (type $t) (local.get 1)
                (i32.and (local.get 0) (i32.const 3))))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 1)))"#;

/// The modules that are instantiated: a trivial one, one with a data segment, SQLite (about 1 MB of
/// code), and CRuby.
pub fn programs() -> Vec<Subject> {
    let mut subjects = vec![
        text("tiny", TINY.into()),
        text("tiny-data", TINY_DATA.into()),
    ];
    for (name, program) in [("1MB", "sqlite"), ("CRuby", "ruby")] {
        subjects.push(Subject {
            name: name.into(),
            source: Source::Program(program),
        });
    }
    subjects
}

/// dprint's formatter plug-ins for Markdown, JSON and TOML.
pub fn plugins() -> [Subject; 3] {
    ["dprint-markdown", "dprint-json", "dprint-toml"].map(|program| Subject {
        name: program.into(),
        source: Source::Program(program),
    })
}

/// QuickJS as a reactor, and CPython as a command.
pub fn interpreters() -> [Subject; 2] {
    [("QuickJS", "quickjs-reactor"), ("CPython", "python")].map(|(name, program)| Subject {
        name: name.into(),
        source: Source::Program(program),
    })
}

/// CPython as a reactor, which has exceptions.
pub fn reactor() -> Subject {
    Subject {
        name: "CPython 3.15".into(),
        source: Source::Program("python315-snapshot"),
    }
}

/// The module whose calls are measured.
pub fn calls() -> Subject {
    text("calls", CALLS.into())
}

/// Modules whose only item besides `f` is a memory, and its size in bytes.
pub fn memories() -> Vec<(Subject, usize)> {
    let of_mib = |mib: usize| {
        let name = format!("memory-{mib}MiB");
        (writing(&name, mib * 16, 1, 4096), mib << 20)
    };
    [1, 8, 64].map(of_mib).into()
}

/// A module with 8 MiB of memory, whose `f` writes to `n` pages in a row. `n` is one of the sizes
/// in [`sweeps`].
pub fn written_pages(n: usize) -> Subject {
    writes(n)
}

/// Modules in which one dimension grows: the name of the dimension, and a module for each of three
/// sizes.
pub fn sweeps() -> Vec<(&'static str, Vec<Subject>)> {
    let each =
        |sizes: &[usize], make: fn(usize) -> Subject| sizes.iter().copied().map(make).collect();
    vec![
        ("functions", each(&[10, 1_000, 30_000], functions)),
        ("table entries", each(&[0, 100, 10_000], table)),
        (
            "pages written",
            each(&[1, 8, 32, 33, 64, 256, 1024, 2048], writes),
        ),
        (
            "pages written, one in each 64 KiB",
            each(&[8, 32, 33, 256, 1024], sparse_writes),
        ),
        (
            "sparse image, KiB",
            each(&[64, 4 << 10, 64 << 10], |kib| image("sparse", kib, 64)),
        ),
        (
            "dense image, KiB",
            each(&[64, 4 << 10, 64 << 10], |kib| image("dense", kib, 0)),
        ),
    ]
}

fn text(name: &str, text: String) -> Subject {
    Subject {
        name: name.into(),
        source: Source::Text(text),
    }
}

fn module(name: &str, pages: usize, body: &str) -> Subject {
    let f = r#"(func (export "f") (param i32) (result i32) (i32.store (i32.const 200) (local.get 0)) (i32.load (i32.const 100)))"#;
    text(name, format!("(module (memory {pages}) {body} {f})"))
}

fn functions(n: usize) -> Subject {
    let one =
        |i| format!("(func (param i32) (result i32) (i32.mul (local.get 0) (i32.const {i})))");
    let bodies: String = (0..n).map(one).collect();
    module(&format!("functions-{n}"), 1, &bodies)
}

fn table(n: usize) -> Subject {
    let bodies: String = (0..100).map(|i| format!("(func $f{i})")).collect();
    let entries: String = (0..n).map(|i| format!("$f{} ", i % 100)).collect();
    let body = format!("{bodies} (table {n} funcref) (elem (i32.const 0) func {entries})");
    module(&format!("table-{n}"), 1, &body)
}

/// A module with 8 MiB of memory, whose `f` writes to `n` pages in a row.
fn writes(n: usize) -> Subject {
    writing(&format!("writes-{n}"), 128, n, 4096)
}

/// A module whose `f` writes to one page in each 64 KiB of its memory.
fn sparse_writes(n: usize) -> Subject {
    writing(&format!("sparse-writes-{n}"), n, n, 64 << 10)
}

/// A module whose `f` writes `n` times, `step` bytes apart.
fn writing(name: &str, memory: usize, n: usize, step: usize) -> Subject {
    let text = format!(
        r#"(module (memory {memory}) (func (export "f") (param i32) (result i32) (local $at i32)
            (loop $l
                (i32.store offset=200 (local.get $at) (local.get 0))
                (br_if $l (i32.lt_u
                    (local.tee $at (i32.add (local.get $at) (i32.const {step})))
                    (i32.const {}))))
            (i32.load (i32.const 200))))"#,
        n * step
    );
    self::text(name, text)
}

/// A module with data of `kib` KiB: bytes everywhere if `every` is 0, or else sixteen bytes in each
/// `every` KiB.
fn image(kind: &str, kib: usize, every: usize) -> Subject {
    const SIXTEEN: &str = "sixteen  bytes, ";
    let body = if every == 0 {
        format!("(data (i32.const 0) \"{}\")", SIXTEEN.repeat(kib * 64))
    } else {
        let one = |at: usize| format!("(data (i32.const {}) \"{SIXTEEN}\")", at * 1024);
        (0..kib).step_by(every).map(one).collect()
    };
    module(&format!("{kind}-{kib}"), kib / 64, &body)
}

impl Subject {
    /// The path of the module or of an artifact, such as `file("wasm")` and `file("precast")`.
    pub fn file(&self, extension: &str) -> PathBuf {
        directory().join(format!("{}.{extension}", self.name))
    }

    /// Whether the module is available. Programs must have been fetched.
    pub fn is_there(&self) -> bool {
        match self.source {
            Source::Text(_) => true,
            Source::Program(program) => crate::program(program).exists(),
        }
    }

    /// The path of an artifact that `prepare` has made.
    ///
    /// # Errors
    /// When there is no such artifact.
    pub fn artifact(&self, extension: &str) -> Result<PathBuf> {
        let path = self.file(extension);
        if path.exists() {
            return Ok(path);
        }
        let make = "cargo run --release -p precast-peers-compilers --bin prepare";
        Err(format!("{} is not there; `{make}` makes it", path.display()).into())
    }

    /// Another path to the same artifact, for the module that stays open while rows measure what
    /// opening costs. precast does not open a file a second time while a module that was opened by
    /// the same path lives.
    ///
    /// # Errors
    /// When there is no such artifact, and the system's.
    pub fn other_name(&self, extension: &str) -> Result<PathBuf> {
        let other = self.file(&format!("open.{extension}"));
        std::fs::remove_file(&other).ok();
        std::os::unix::fs::symlink(self.artifact(extension)?.canonicalize()?, &other)?;
        Ok(other)
    }
}

/// The directory of the modules and artifacts that `prepare` makes.
pub fn directory() -> PathBuf {
    crate::target().join("artifacts")
}
