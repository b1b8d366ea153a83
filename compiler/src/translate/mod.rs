//! WebAssembly operators to Cranelift IR.
//!
//! One [`FuncTranslator`] translates one function body that has been validated already: it may rely
//! on everything that validation guarantees, so its only failures are broken invariants of ours.
//! Operators are dispatched in `operators.rs` by one-line arms into a file for each family; whether
//! an access stays inside its memory is decided in `bounds.rs` alone, how code stops in `trap.rs`
//! alone, where it looks whether it should in `interrupt.rs` alone.
//!
//! Invariants:
//! - the operand stack holds the SSA values of the operands; a `v128` is always an `I8X16` there,
//!   in locals, in block parameters and in calls ([`FuncTranslator::push_vector`] and
//!   [`FuncTranslator::pop_vector`] cast);
//! - references are `I64`;
//! - family files see reachable code only.

mod accesses;
mod bounds;
mod bulk;
mod call;
mod checks;
mod control;
mod function;
mod global;
mod interrupt;
mod memory;
mod numeric;
mod operators;
mod promises;
mod reference;
mod simd;
mod stack;
mod state;
mod table;
mod trap;

pub(crate) use accesses::{is_access, place, resolve};
pub(crate) use function::{guard, translate};
pub(crate) use state::{Env, Scratch, declare_symbol, vm_offset};
pub(crate) use trap::{AFTER_NO_RETURN, artifact_code};

use state::FuncTranslator;

#[cfg(test)]
mod tests;
