//! Translates WebAssembly operators to Cranelift IR.
//!
//! A [`FuncTranslator`] translates one function body that is already validated. It relies on
//! everything that validation guarantees, so it can only fail if this compiler breaks an invariant.
//! `operators.rs` dispatches operators by one-line arms into a file for each family. Three files
//! decide something alone: `bounds.rs` how an access stays inside its memory, `trap.rs` how code
//! stops, and `interrupt.rs` where code checks whether it should stop.
//!
//! Invariants:
//! - The operand stack holds the SSA values of the operands. There, in locals, in block parameters
//!   and in calls a `v128` is always an `I8X16` ([`FuncTranslator::push_vector`] and
//!   [`FuncTranslator::pop_vector`] cast).
//! - References are `I64`.
//! - Files of operator families only translate reachable code.
//!
//! # Adding an operator family
//! 1. Allow the proposal in `parse::features`, give it a bit in `artifacts-format/src/features.rs`
//!    that `emit.rs` finds by its name, and give each of its operators a class in `operator.rs`:
//!    its effect on the control flow, the fuel it costs, and whether it decides how something is
//!    compiled. Without a class, the module is refused. Some files look at the fields of operators
//!    beside their class: `parse/bodies.rs` (what they refer to), `features.rs` (types that they
//!    name), `regions.rs` (branches that profiles count), `middle/body.rs` (calls that can be
//!    inlined). They stop with a panic that names the operator where they need a rule for it.
//! 2. Add a file for the family here, and one-line arms for its operators in `operators.rs`.
//!    Everything that can trap goes through `trap.rs`, every access to a memory through
//!    `bounds.rs`.
//! 3. Add a row to `precast_artifact::promises` for each value that the code may keep in a register
//!    or fold. The row gives the flags of its loads, the keeper, and the test that breaks the
//!    promise.
//! 4. Add a `precast_artifact::Builtin` for each routine of the loader that the code calls, and a
//!    function in `loader/src/vm/builtins`.
//! 5. Add tests: file tests of the code (`compiler/tests/clif`), the official suite's scripts
//!    (`tests/conformance`), and modules with the proposal enabled in
//!    `tests/fuzz/src/differential`.

mod accesses;
mod atomic;
mod bounds;
mod bulk;
mod call;
mod checks;
mod control;
mod counters;
mod exception;
mod fuel;
mod function;
mod global;
mod guard;
mod homes;
mod inline;
mod interrupt;
mod listen;
mod locals;
mod memory;
mod numeric;
mod operators;
mod promises;
mod ranges;
mod reference;
mod simd;
mod stack;
mod state;
mod switch;
mod table;
mod trap;
mod wide;

pub(crate) use accesses::{is_access, place, resolve};
pub(crate) use function::{Mode, calls_nothing, guard, translate};
pub(crate) use homes::Stopped;
pub(crate) use state::{Env, Scratch, declare_symbol, vm_offset};
pub(crate) use trap::{AFTER_NO_RETURN, artifact_code};

use state::FuncTranslator;

#[cfg(test)]
mod tests;
