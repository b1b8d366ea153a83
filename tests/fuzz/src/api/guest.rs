//! The modules that sequences use, and what the host function does for them.

use precast_compiler::{Compiler, Interruption, Settings, Strategy};
use precast_loader::{Engine, Module};

/// The functions of a guest.
///
/// - `add(n)` adds to the count and returns it.
/// - `poke(at, byte)`, `peek(at)` and `grow(pages)` use the memory.
/// - `put(at, ref)` and `get(at)` use the table of external references.
/// - `ask(op, n)` calls the host function and returns its result.
/// - `indirect(i, n)` calls an element of the table of functions: `add`, `fail`, null, …
/// - `fail()` traps, `dive()` recurses until the stack is exhausted, and `spin(n)` loops `n` times.
const BODY: &str = r#"
  (elem declare func $add $fail)
  (func $fail (export "fail") (param i32) (result i32) unreachable)
  (func $add (export "add") (param i32) (result i32)
    (global.set $count (i32.add (global.get $count) (local.get 0)))
    (global.get $count))
  (func (export "poke") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
  (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "put") (param i32 externref) (table.set $tab (local.get 0) (local.get 1)))
  (func (export "get") (param i32) (result externref) (table.get $tab (local.get 0)))
  (func (export "ask") (param i32 i32) (result i32) (call $host (local.get 0) (local.get 1)))
  (func (export "indirect") (param i32 i32) (result i32)
    (call_indirect $funcs (param i32) (result i32) (local.get 1) (local.get 0)))
  (func $dive (export "dive") (param i32) (result i32)
    (i32.add (call $dive (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (func (export "spin") (param i32) (result i32) (local $n i32)
    (loop $again
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (local.get 0))))
    (local.get $n))
)"#;

const OWN: &str = r#"(module
  (import "env" "host" (func $host (param i32 i32) (result i32)))
  (memory (export "mem") 1 6)
  (table $tab (export "tab") 4 20 externref)
  (table $funcs (export "funcs") 6 funcref)
  (global $count (export "count") (mut i32) (i32.const 0))
  (elem (table $funcs) (i32.const 0) func $add $fail)"#;

const LINKED: &str = r#"(module
  (import "env" "host" (func $host (param i32 i32) (result i32)))
  (import "lib" "mem" (memory 1 6))
  (import "lib" "tab" (table $tab 4 20 externref))
  (import "lib" "funcs" (table $funcs 6 funcref))
  (import "lib" "count" (global $count (mut i32)))
  (export "mem" (memory 0)) (export "tab" (table $tab)) (export "funcs" (table $funcs))
  (export "count" (global $count))"#;

/// The maximal numbers of pages of a guest's memory and of elements of its table of external
/// references.
pub const MAX_PAGES: u64 = 6;
pub const MAX_ELEMENTS: u64 = 20;

/// The two modules, which are compiled in one way. `linked` imports all its items from another
/// guest.
pub struct Guests {
    pub own: Module,
    pub linked: Module,
    pub interruption: Interruption,
    pub strategy: Strategy,
}

impl Guests {
    /// The same modules for another engine.
    pub fn with_engine(&self, engine: &Engine) -> Self {
        Self {
            own: self.own.with_engine(engine),
            linked: self.linked.with_engine(engine),
            ..*self
        }
    }

    /// Whether `linked` can import the memory of a module with this strategy. Guarded code needs
    /// guard pages.
    pub fn takes_memory_of(&self, strategy: Strategy) -> bool {
        self.strategy == Strategy::Checked || strategy == Strategy::Guarded
    }
}

/// The modules, compiled in all ways that matter here.
pub fn all(engine: &Engine) -> Vec<Guests> {
    let mut all = Vec::new();
    for strategy in [Strategy::Guarded, Strategy::Checked] {
        for interruption in Interruption::ALL.iter().copied() {
            let settings = Settings {
                strategy,
                interruption,
                threads: Some(1),
                ..Settings::default()
            };
            let compiler = Compiler::new(settings).expect("supported settings");
            let module = |head: &str| {
                let wasm = wat::parse_str(format!("{head}{BODY}")).expect("well-formed text");
                let compiled = compiler.compile(&wasm).expect("a valid module");
                // SAFETY: the compiler has just written these bytes.
                let module = unsafe { Module::from_bytes(engine, &compiled.artifact) };
                module.expect("an artifact for this machine")
            };
            all.push(Guests {
                own: module(OWN),
                linked: module(LINKED),
                interruption,
                strategy,
            });
        }
    }
    all
}

/// What the host function does. Its first argument chooses one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostOp {
    /// Returns `n + 1`.
    Next,
    /// Returns an error of the host.
    Fail,
    /// Panics.
    Panic,
    /// Calls `add(n)` of the caller.
    Reenter,
    /// Grows the caller's memory by `n` pages, and returns the size before in pages, or -1.
    Grow,
    /// Calls `ask(n % 16, n / 16)` of the caller.
    Nest,
    /// Exits with code `n`.
    Exit,
    /// Raises a trap.
    Trap,
    /// Adds `n` to the sum in the store's data, and returns the sum.
    Count,
    /// Writes 7 to the caller's memory at `n`, and returns whether `n` is inside.
    Write,
}

impl HostOp {
    pub const ALL: [Self; 10] = [
        Self::Next,
        Self::Fail,
        Self::Panic,
        Self::Reenter,
        Self::Grow,
        Self::Nest,
        Self::Exit,
        Self::Trap,
        Self::Count,
        Self::Write,
    ];

    pub fn from_number(n: i32) -> Self {
        let all = Self::ALL;
        all[n.unsigned_abs() as usize % all.len()]
    }
}
