//! Interpreters that evaluate a script for each request, on precast and on Wasmtime.
//!
//! - **QuickJS** (`../programs/fetch.sh quickjs-reactor`) is a reactor: an instance makes a context
//!   and evaluates a script for each call of `qjs_init_argv`, and drops it for `qjs_destroy`.
//! - **CPython** (`../programs/fetch.sh python`) is a command, with its standard library inside: an
//!   instance evaluates one script.
//! - **CPython 3.15** (`../programs/fetch.sh python315-snapshot`) is a reactor whose memory has
//!   what was there after its start. An instance evaluates what standard input has, once. It uses
//!   exceptions, which Wasmtime has only together with its garbage collection, so it is measured
//!   by a program of its own (`features/`).
//!
//! `interpreters/host.rs` has the host. It is compiled twice, with precast-loader as `wasm` and
//! with Wasmtime, without any difference. Its functions of WASI are the same few lines for both:
//! they know no files, a clock that stands still, and random numbers that are always the same. So
//! the scripts of both sides do exactly the same.

mod bench;
mod on_precast;
mod on_wasmtime;

use crate::Result;
use crate::subjects::{Subject, interpreters, reactor};

pub use bench::measure;

/// A runtime that can run interpreters.
pub trait Runtime {
    /// An interpreter that has been opened and linked.
    type Linked: Linked;

    /// Opens and links the artifact of this runtime, which stays open.
    ///
    /// # Errors
    /// Those of the runtime, or there is no artifact.
    fn open_interpreter(&self, subject: &Subject) -> Result<Self::Linked>;
}

/// An interpreter that has been opened and linked.
pub trait Linked {
    /// An instance.
    type Interpreter: Interpreter;

    /// Makes an instance.
    ///
    /// # Errors
    /// Those of the runtime.
    fn start(&self) -> Result<Self::Interpreter>;
}

/// An instance of an interpreter.
pub trait Interpreter {
    /// Evaluates a script, and returns what it printed. An interpreter that is a command does this
    /// once.
    ///
    /// # Errors
    /// Those of the runtime, and the script's own.
    fn evaluate(&mut self, script: &str) -> Result<String>;
}

/// An interpreter, and a script of ten lines for it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The interpreter.
    pub subject: Subject,
    /// The script.
    pub script: &'static str,
    /// What the script prints.
    pub prints: &'static str,
    /// Whether an instance evaluates any number of scripts.
    pub is_reactor: bool,
}

const JAVASCRIPT: &str = r#"const words = "the quick brown fox jumps over the lazy dog".split(" ");
const count = new Map();
for (const word of words) for (const c of word) count.set(c, (count.get(c) ?? 0) + 1);
const most = [...count].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 3);
class Shape { constructor(name, side) { Object.assign(this, { name, side }); } area() { return this.side ** 2; } }
const shapes = Array.from({ length: 20 }, (_, i) => new Shape(`s${i}`, i));
const total = shapes.reduce((sum, shape) => sum + shape.area(), 0);
const text = JSON.stringify({ most, total, shapes: shapes.filter(s => s.side % 7 == 0) });
const back = JSON.parse(text.replace(/s(\d+)/g, (_, n) => `shape ${n}`));
console.log(back.most.join(" "), back.total, back.shapes.map(s => s.name).join());"#;

const PYTHON: &str = r#"words = "the quick brown fox jumps over the lazy dog".split()
count = {}
for c in "".join(words): count[c] = count.get(c, 0) + 1
most = sorted(count.items(), key=lambda item: (-item[1], item[0]))[:3]
class Shape:
    def __init__(self, name, side): self.name, self.side = name, side
    def area(self): return self.side ** 2
shapes = [Shape(f"shape {i}", i) for i in range(20)]
total = sum(shape.area() for shape in shapes)
print(most, total, [s.name for s in shapes if s.side % 7 == 0])"#;

const PYTHON_PRINTS: &str =
    "[('o', 4), ('e', 3), ('h', 2)] 2470 ['shape 0', 'shape 7', 'shape 14']\n";

/// CPython as a reactor.
pub fn python_reactor() -> Case {
    Case {
        subject: reactor(),
        script: PYTHON,
        prints: PYTHON_PRINTS,
        is_reactor: false,
    }
}

/// The interpreters that need no exceptions.
pub fn cases() -> [Case; 2] {
    let [quickjs, python] = interpreters();
    [
        Case {
            subject: quickjs,
            script: JAVASCRIPT,
            prints: "o,4 e,3 h,2 2470 shape 0,shape 7,shape 14\n",
            is_reactor: true,
        },
        Case {
            subject: python,
            script: PYTHON,
            prints: PYTHON_PRINTS,
            is_reactor: false,
        },
    ]
}
