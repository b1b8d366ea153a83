//! Interruption: where code checks whether it should stop, and what its execution costs.
//!
//! With either kind of interruption, every loop and every recursion passes a check, so no code can
//! run forever without a check. Code with both kinds has the checks of both.
//!
//! *Epoch* code reads one word of the store, which other threads write: at loop headers, at the
//! entry of functions, and before operators on ranges of memories and tables (unless the range is
//! constant and small). Long ranges are worked on in pieces of [`PIECE`] bytes, with a check
//! between two pieces. A function that calls nothing and is short ([`SHORT`]) has no check at its
//! entry: a caller that calls it often enough to matter has checks. An inlined body has none at its
//! start either. So the longest stretch without a check is one piece, or one function without
//! loops, with what is inlined into it and the short functions that it calls.
//!
//! *Fuel* code counts what it executes: one for each operator, except for those that only structure
//! code (see [`Class::fuel`]); one for each entry of a function; and one for each byte, element or
//! page of a range that an operator worked on. The count is in a local variable (see `fuel.rs`). It
//! is stored before calls and returns and loaded again after calls, so that callees, host functions
//! and hosts see the right count. Code checks it in the same places as epoch code, and in short
//! functions, too. Costs and places are those of Wasmtime 49, so the same module with the same fuel
//! stops at the same place. For instance, an operator on a range that fails costs only one,
//! whatever the length of the range, but growth by a small constant is counted beforehand. There is
//! one difference: Wasmtime fills or copies memory before it checks whether there was enough fuel
//! for that. Code here checks after the bounds check and before it writes. And there is one
//! addition: a function that declares more than 16 KiB of locals costs as much as it may take to
//! make them zero, wherever they are kept ([`declaration_cost`]).
//!
//! After a trap other than [`TrapCode::OutOfFuel`], the count includes everything that was executed
//! under the checked strategy, because the code that raises the trap stores it. Under the guarded
//! strategy it lacks what the innermost function executed since its last call. Bodies that are
//! inlined into a function count as a part of the function.
//!
//! [`PIECE`]: precast_artifact::abi::PIECE

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use precast_artifact::promises::Promise;
use precast_artifact::vm::{VmContextHeader, VmStoreContext};
use precast_artifact::{Builtin, Interruption, TrapCode};
use std::mem::offset_of;
use wasmparser::{FunctionBody, Operator, OperatorsReader};

use super::FuncTranslator;
use super::function::type_of_local;
use crate::Error;
use crate::operator::{Class, Flow, class};

/// Maximum length of a constant range, in bytes or elements, that has no check before it.
const SMALL_RANGE: i64 = 128;

/// Maximum fuel that one operator costs: more than the fuel of any real store, but too little for a
/// count to overflow.
const MAX_COST: i64 = 1 << 61;

/// Maximum number of bytes of a wasm function without calls that has no check at its entry.
const SHORT: usize = 256;

/// Maximum number of bytes of locals that a function declares without a cost.
const FREE_LOCALS: i64 = 16 << 10;

/// What the declaration of a function's locals costs whenever the function is called: for more than
/// [`FREE_LOCALS`], one for each eight bytes. Whether they are in variables, which costs no time,
/// or in the frame depends on the settings, but what a call costs does not.
pub(super) fn declaration_cost(body: &FunctionBody<'_>) -> Result<i64, Error> {
    let mut bytes = 0;
    for declaration in body.get_locals_reader()? {
        let (count, ty) = declaration?;
        bytes += i64::from(count) * i64::from(type_of_local(ty).bytes());
    }
    Ok((bytes - FREE_LOCALS).max(0) / 8)
}

/// What an operator on a range costs in addition to the cost of every operator.
#[must_use]
pub(super) enum Units {
    /// Nothing, or it is already counted.
    Settled,
    /// This number of units.
    Constant(i64),
    /// The value of this index or length, see [`FuncTranslator::widen_index`].
    Dynamic(Value),
}

/// Whether a function is short and calls nothing. It may still have loops, which have checks.
fn is_short(body: &FunctionBody<'_>) -> Result<bool, Error> {
    let range = body.range();
    if range.end - range.start > SHORT as u64 {
        return Ok(false);
    }
    let mut reader = OperatorsReader::new(body.get_binary_reader_for_operators()?);
    while !reader.eof() {
        if class(&reader.read()?).flow == Flow::Calls {
            return Ok(false);
        }
    }
    Ok(true)
}

impl FuncTranslator<'_, '_> {
    /// Emits the check at the start of a function, in its entry block.
    pub(super) fn interruption_at_entry(&mut self, body: &FunctionBody<'_>) -> Result<(), Error> {
        let interruption = self.env.interruption;
        if interruption.counts_fuel() {
            self.begin_fuel();
            self.charge(declaration_cost(body)?);
        }
        if interruption.has_epochs() && !is_short(body)? {
            self.check_interrupt();
        }
        Ok(())
    }

    /// Emits the check of epochs at the start of a loop, in its header. Fuel is checked by
    /// `fuel_into_loop`.
    pub(super) fn interruption_at_loop(&mut self) {
        if self.env.interruption.has_epochs() {
            self.check_interrupt();
        }
    }

    /// Counts an operator that is about to be translated. `is_inlined` says that the operator is an
    /// inlined call.
    pub(super) fn interruption_before(&mut self, operator: &Operator<'_>, is_inlined: bool) {
        if !self.reachable || self.fuel.is_none() {
            return;
        }
        let Class { flow, fuel, .. } = class(operator);
        self.charge(fuel);
        match flow {
            // Both paths continue with the same pending cost.
            Flow::OpensConditionally | Flow::Branches => self.fuel_before_fork(),
            Flow::Straight
            | Flow::Opens
            | Flow::OpensLoop
            | Flow::OpensTry
            | Flow::Divides
            | Flow::Closes
            | Flow::Returns => {}
            Flow::Calls if is_inlined => {}
            // Other code will read the count. A return stores it by itself.
            Flow::Calls | Flow::Traps | Flow::Throws => self.save_fuel(),
        }
    }

    /// Starts an operator on a range, which costs one for each of `units` bytes, elements or pages.
    ///
    /// Epoch code checks now, unless the range is constant and small. Fuel code counts once the
    /// operator is known to succeed: pass the result to [`Self::range_succeeds`] or
    /// [`Self::growth_ends`].
    pub(super) fn range_begins(&mut self, units: Value) -> Units {
        if self.env.interruption == Interruption::None {
            return Units::Settled;
        }
        let constant = self
            .constant_index(units)
            .map(|units| units.min(MAX_COST.cast_unsigned()).cast_signed());
        if let Some(units) = constant.filter(|units| *units <= SMALL_RANGE) {
            self.charge(units);
            return Units::Settled;
        }
        if self.env.interruption.has_epochs() {
            self.check_interrupt();
        }
        if self.fuel.is_none() {
            return Units::Settled;
        }
        constant.map_or(Units::Dynamic(units), Units::Constant)
    }

    /// Counts the cost of an operator on a range that can no longer fail.
    pub(super) fn range_succeeds(&mut self, units: Units) {
        if let Some(units) = self.units(units) {
            self.count_units(units);
            self.check_fuel();
        }
    }

    /// Counts the cost of growth if it took place, that is, if its result `before` is not -1.
    pub(super) fn growth_ends(&mut self, units: Units, before: Value) {
        let Some(units) = self.units(units) else {
            return;
        };
        let failed = self.builder.ins().icmp_imm_s(IntCC::Equal, before, -1);
        let none = self.builder.ins().iconst(I64, 0);
        let units = self.builder.ins().select(failed, none, units);
        let count = self.count_units(units);
        // Like Wasmtime's code, this code checks only after growth that took place.
        let full = self.builder.ins().iconst(I64, i64::MIN);
        let count = self.builder.ins().select(failed, full, count);
        let out = self
            .builder
            .ins()
            .icmp_imm_s(IntCC::SignedGreaterThanOrEqual, count, 0);
        self.trapnz(out, TrapCode::OutOfFuel);
    }

    fn units(&mut self, units: Units) -> Option<Value> {
        match units {
            Units::Settled => None,
            Units::Constant(units) => Some(self.builder.ins().iconst(I64, units)),
            Units::Dynamic(units) => {
                let wide = self.widen_index(units);
                Some(match self.builder.func.dfg.value_type(units) {
                    I64 => {
                        let max = self.builder.ins().iconst(I64, MAX_COST);
                        self.builder.ins().umin(wide, max)
                    }
                    _ => wide,
                })
            }
        }
    }

    /// Loads the count again after an operator that calls.
    pub(super) fn interruption_after(&mut self, operator: &Operator<'_>) {
        let calls = class(operator).flow == Flow::Calls;
        if self.fuel.is_some() && self.reachable && calls {
            self.forget_fuel();
        }
    }

    /// Asks the loader whether to go on, if the store's interrupt word is raised.
    fn check_interrupt(&mut self) {
        self.fuel_before_fork();
        let store = self.store_context();
        let offset = offset_of!(VmStoreContext, interrupt);
        let word = self.read(Promise::InterruptWord, store, offset);
        // A word that means "stop" is higher than any address. With the operands in this order,
        // x86-64 compares a register with memory and needs no other register.
        let stop = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedLessThan, store, word);
        let (ask, next) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(stop, ask, &[], next, &[]);
        self.builder.seal_block(ask);
        self.builder.set_cold_block(ask);
        self.builder.switch_to_block(ask);
        self.call_builtin(Builtin::Interrupted, &[]);
        self.reload_fuel();
        self.builder.ins().jump(next, &[]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }

    pub(super) fn store_context(&mut self) -> Value {
        let offset = offset_of!(VmContextHeader, store);
        self.read(Promise::StorePointer, self.vmctx, offset)
    }
}
