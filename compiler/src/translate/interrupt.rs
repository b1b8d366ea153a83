//! Interruption: where code checks whether it should stop, and what its execution costs.
//!
//! Every loop and every recursion passes a check, with both kinds of interruption, so no code can
//! run forever without one. Code with both kinds has the checks of both.
//!
//! *Epoch* code reads one word of the store, which other threads write: at loop headers, at the
//! entry of functions, and before operators on ranges of memories and tables (unless the range is
//! constant and small). Long ranges are worked on in pieces of [`PIECE`] bytes, with a check
//! between two pieces. A function that calls nothing and is short ([`SHORT`]) has no check at its
//! entry: a caller that calls it often enough to matter has checks. Neither has a function where it
//! is compiled into its caller. So the longest stretch without a check is one piece, or one
//! function without loops, with what is compiled into it and the short functions that it calls.
//!
//! *Fuel* code counts what it executes: one for each operator, except for those that only structure
//! code (see [`Class::fuel`]); one for each entry of a function; and one for each byte, element or
//! page of a range that an operator worked on. The count is in a local variable. It is stored
//! before calls and returns and loaded again after calls, so that callees, host functions and hosts
//! see the right count. Code checks it in the same places as epoch code, and in short functions,
//! too. Costs and places are those of Wasmtime 49, so the same module with the same fuel stops at
//! the same place. For instance, an operator on a range that fails costs only one, whatever the
//! length of the range, but growth by a small constant is counted beforehand. The only difference:
//! Wasmtime fills or copies memory before it checks whether there was enough fuel for that, and
//! code here checks after the bounds check and before it writes.
//!
//! After a trap other than [`TrapCode::OutOfFuel`], the count includes everything that was executed
//! under the checked strategy, because the code that raises the trap stores it. Under the guarded
//! strategy it lacks what the innermost function executed since its last call.
//!
//! [`PIECE`]: precast_artifact::abi::PIECE

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_frontend::Variable;
use precast_artifact::promises::Promise;
use precast_artifact::vm::{VmContextHeader, VmStoreContext};
use precast_artifact::{Builtin, Interruption, TrapCode};
use std::mem::{offset_of, take};
use wasmparser::{FunctionBody, Operator, OperatorsReader};

use super::FuncTranslator;
use crate::Error;
use crate::operator::{Class, Flow, class};

/// Maximum length of a constant range, in bytes or elements, that has no check before it.
const SMALL_RANGE: i64 = 128;

/// Maximum fuel that one operator costs: far more than any store has, but too little for a count to
/// overflow.
const MAX_COST: i64 = 1 << 61;

/// Maximum number of bytes of a wasm function without calls that has no check at its entry.
const SHORT: usize = 256;

/// The count of fuel while a function is translated.
pub(super) struct Fuel {
    /// The variable that holds what [`VmStoreContext::fuel`] would be, except for `pending`.
    count: Variable,
    /// Cost of the operators since the variable was last updated.
    pending: i64,
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
            let count = self.builder.declare_var(I64);
            self.fuel = Some(Fuel { count, pending: 1 });
            self.load_fuel();
            self.check_fuel();
        }
        if interruption.has_epochs() && !is_short(body)? {
            self.check_interrupt();
        }
        Ok(())
    }

    /// Emits what is left of the check at the entry of a function whose body is compiled in. The
    /// caller has counted and stored the fuel of the call. Epoch code needs no check here: the
    /// stretch without one ends with the caller.
    pub(super) fn interruption_at_compiled_entry(&mut self) {
        if let Some(fuel) = &mut self.fuel {
            fuel.pending += 1;
            self.check_fuel();
        }
    }

    /// Emits the check at the start of a loop, in its header.
    pub(super) fn interruption_at_loop(&mut self) {
        if self.env.interruption.counts_fuel() {
            self.check_fuel();
        }
        if self.env.interruption.has_epochs() {
            self.check_interrupt();
        }
    }

    /// Counts an operator that is about to be translated.
    pub(super) fn interruption_before(&mut self, operator: &Operator<'_>) {
        if !self.reachable {
            return;
        }
        let Some(fuel) = &mut self.fuel else {
            return;
        };
        let Class {
            flow, fuel: cost, ..
        } = class(operator);
        fuel.pending += cost;
        match flow {
            Flow::Straight | Flow::Opens => {}
            // A stretch of code that is executed as a whole ends here, so every way out of it has
            // the same count.
            Flow::OpensLoop
            | Flow::OpensConditionally
            | Flow::OpensTry
            | Flow::Divides
            | Flow::Closes
            | Flow::Branches
            | Flow::Returns => self.count_fuel(),
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
            if let Some(fuel) = &mut self.fuel {
                fuel.pending += units;
            }
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
        // Like Wasmtime, this checks only after growth that took place.
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

    /// Counts one for each unit.
    fn count_units(&mut self, units: Value) -> Value {
        let count = self.count_fuel_now();
        let count = self.builder.ins().iadd(count, units);
        let variable = self.fuel.as_ref().expect("code that counts fuel").count;
        self.builder.def_var(variable, count);
        count
    }

    /// Loads the count again after an operator that calls.
    pub(super) fn interruption_after(&mut self, operator: &Operator<'_>) {
        let calls = class(operator).flow == Flow::Calls;
        if self.fuel.is_some() && self.reachable && calls {
            self.load_fuel();
        }
    }

    /// Asks the loader whether to go on, if the store's interrupt word is raised.
    fn check_interrupt(&mut self) {
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

    /// Traps if no fuel is left.
    fn check_fuel(&mut self) {
        let &Fuel { count, pending } = self.fuel.as_ref().expect("code that counts fuel");
        let count = self.builder.use_var(count);
        // The pending cost is part of the comparison here, and added to the variable later.
        let out = self
            .builder
            .ins()
            .icmp_imm_s(IntCC::SignedGreaterThanOrEqual, count, -pending);
        self.trapnz(out, TrapCode::OutOfFuel);
    }

    fn count_fuel(&mut self) {
        if self.fuel.as_ref().is_some_and(|fuel| fuel.pending != 0) {
            self.count_fuel_now();
        }
    }

    /// Adds the pending cost to the variable.
    fn count_fuel_now(&mut self) -> Value {
        let Fuel { count, pending } = self.fuel.as_mut().expect("code that counts fuel");
        let (variable, cost) = (*count, take(pending));
        let mut count = self.builder.use_var(variable);
        if cost != 0 {
            count = self.builder.ins().iadd_imm_s(count, cost);
            self.builder.def_var(variable, count);
        }
        count
    }

    /// Stores the count, so that other code can read it.
    pub(super) fn save_fuel(&mut self) {
        if self.fuel.is_none() {
            return;
        }
        let count = self.count_fuel_now();
        self.store_fuel(count);
    }

    /// Stores the count for the case that the activation ends in the next call. The variable and
    /// the pending cost are unchanged, for code that does not pass here or continues after the
    /// call.
    pub(super) fn note_fuel(&mut self) {
        let Some(&Fuel { count, pending }) = self.fuel.as_ref() else {
            return;
        };
        let mut count = self.builder.use_var(count);
        if pending != 0 {
            count = self.builder.ins().iadd_imm_s(count, pending);
        }
        self.store_fuel(count);
    }

    /// Loads the count again after a call before which [`Self::note_fuel`] has stored it, because
    /// the host may have given fuel. The pending cost stays pending.
    fn reload_fuel(&mut self) {
        let Some(&Fuel { count, pending }) = self.fuel.as_ref() else {
            return;
        };
        self.load_fuel();
        if pending != 0 {
            let loaded = self.builder.use_var(count);
            let loaded = self.builder.ins().iadd_imm_s(loaded, -pending);
            self.builder.def_var(count, loaded);
        }
    }

    fn store_fuel(&mut self, count: Value) {
        let store = self.store_context();
        let offset = offset_of!(VmStoreContext, fuel);
        self.write(Promise::Fuel, count, store, offset);
    }

    /// Loads the count into the variable.
    pub(super) fn load_fuel(&mut self) {
        let store = self.store_context();
        let offset = offset_of!(VmStoreContext, fuel);
        let count = self.read(Promise::Fuel, store, offset);
        let variable = self.fuel.as_ref().expect("code that counts fuel").count;
        self.builder.def_var(variable, count);
    }

    fn store_context(&mut self) -> Value {
        let offset = offset_of!(VmContextHeader, store);
        self.read(Promise::StorePointer, self.vmctx, offset)
    }
}
