//! Where code looks whether it should stop, and what it costs: interruption.
//!
//! Every loop and every recursion passes a check, in both kinds, so no code runs on unnoticed.
//!
//! *Epoch* code looks at one word of the store, which other threads write: at loop headers, at the
//! entry of functions, and before operators that work on ranges of memories and tables (unless the
//! range is constant and small). Long ranges are worked on in pieces of [`PIECE`] bytes, with a look
//! between two. A function that calls nothing and is short ([`SHORT`]) has no check of its own: whoever
//! calls it often enough to matter does. The longest stretch without a check is thus one piece, or the
//! calls of one function without loops to short ones.
//!
//! *Fuel* code counts what it executes: one for each operator, but none for those that only
//! structure code (see [`Class::fuel`]); one for each function that is entered; and for each byte, element or
//! page that an operator on a range worked on. The count is in a local variable; it goes
//! to the store before calls and returns and comes back behind calls, so that callees, host
//! functions and hosts see what is right. It is looked at in the same places, but in short functions
//! too. Costs and places are those of Wasmtime 49: the same module with the same fuel comes equally
//! far. So an operator on a range that fails costs one, whatever it was asked for, but for growth by
//! a small constant, which is counted beforehand. Only where Wasmtime fills or copies memory and then
//! looks whether that was paid for, code here looks first, when the bounds have been checked.
//!
//! After a trap other than that fuel is used up, under the checked strategy, all that was executed is
//! in the count: the code that raises the trap puts it there. Under the guarded one, what the
//! innermost function did since its last call is not.
//!
//! [`PIECE`]: precast_artifact::abi::PIECE

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_frontend::Variable;
use precast_artifact::promises::Promise;
use precast_artifact::vm::{VmContextHeader, VmStoreContext};
use precast_artifact::{Interruption, TrapCode};
use std::mem::{offset_of, take};
use wasmparser::{FunctionBody, Operator, OperatorsReader};

use super::FuncTranslator;
use crate::Error;
use crate::operator::{Class, Flow, class};

/// Largest constant range, in bytes or elements, that is worked on without a check before.
const SMALL_RANGE: i64 = 128;

/// Most fuel that one operator costs: far more than anybody has, and no count overflows by it.
const MOST: i64 = 1 << 61;

/// Most bytes of a function that calls nothing for it to do without a check at its entry.
const SHORT: usize = 256;

/// The count of fuel while a function is translated.
pub(super) struct Fuel {
    /// What [`VmStoreContext::fuel`] would be, but for `pending`.
    count: Variable,
    /// Cost of the operators since the variable was last up to date.
    pending: i64,
}

/// What an operator on a range costs besides what every operator does.
#[must_use]
pub(super) enum Units {
    /// Nothing, or it is counted already.
    Settled,
    /// This.
    Constant(i64),
    /// As much as this index says, see [`FuncTranslator::widen_index`].
    Dynamic(Value),
}

/// Whether a function calls nothing and is over soon, but for its loops.
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
    /// At the start of a function, in its entry block.
    pub(super) fn interruption_at_entry(&mut self, body: &FunctionBody<'_>) -> Result<(), Error> {
        match self.env.interruption {
            Interruption::None => {}
            Interruption::Fuel => {
                let count = self.builder.declare_var(I64);
                self.fuel = Some(Fuel { count, pending: 1 });
                self.load_fuel();
                self.check_fuel();
            }
            Interruption::Epoch if is_short(body)? => {}
            Interruption::Epoch => self.check_interrupt(),
        }
        Ok(())
    }

    /// At the start of a loop, in its header.
    pub(super) fn interruption_at_loop(&mut self) {
        match self.env.interruption {
            Interruption::None => {}
            Interruption::Fuel => self.check_fuel(),
            Interruption::Epoch => self.check_interrupt(),
        }
    }

    /// Before an operator.
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
            // The end of a stretch of code that is executed as one: each way out counts the same.
            Flow::OpensLoop
            | Flow::OpensConditionally
            | Flow::Divides
            | Flow::Closes
            | Flow::Branches
            | Flow::Returns => self.count_fuel(),
            // Somebody looks at the count. A return saves it by itself.
            Flow::Calls | Flow::Traps => self.save_fuel(),
        }
    }

    /// Before an operator does what costs one for each of so many bytes, elements or pages.
    ///
    /// Epoch code looks now, unless that is constant and small. Fuel is counted when the operator
    /// has turned out to succeed, with what this gives.
    pub(super) fn range_begins(&mut self, units: Value) -> Units {
        if self.env.interruption == Interruption::None {
            return Units::Settled;
        }
        let constant = self
            .constant_index(units)
            .map(|units| units.min(MOST.cast_unsigned()).cast_signed());
        if let Some(units) = constant.filter(|units| *units <= SMALL_RANGE) {
            if let Some(fuel) = &mut self.fuel {
                fuel.pending += units;
            }
            return Units::Settled;
        }
        if self.fuel.is_none() {
            self.check_interrupt();
            return Units::Settled;
        }
        constant.map_or(Units::Dynamic(units), Units::Constant)
    }

    /// Counts what an operator on a range costs, because nothing can go wrong any more.
    pub(super) fn range_succeeds(&mut self, units: Units) {
        if let Some(units) = self.units(units) {
            self.count_units(units);
            self.check_fuel();
        }
    }

    /// Counts what growing costs if it took place, that is, if what it gave is not -1.
    pub(super) fn growth_ends(&mut self, units: Units, before: Value) {
        let Some(units) = self.units(units) else {
            return;
        };
        let failed = self.builder.ins().icmp_imm_s(IntCC::Equal, before, -1);
        let none = self.builder.ins().iconst(I64, 0);
        let units = self.builder.ins().select(failed, none, units);
        let count = self.count_units(units);
        // As Wasmtime does, this looks only behind growth that took place.
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
                        let most = self.builder.ins().iconst(I64, MOST);
                        self.builder.ins().umin(wide, most)
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

    /// Behind an operator.
    pub(super) fn interruption_after(&mut self, operator: &Operator<'_>) {
        let calls = class(operator).flow == Flow::Calls;
        if self.fuel.is_some() && self.reachable && calls {
            self.load_fuel();
        }
    }

    /// Stops if the store's word says so.
    fn check_interrupt(&mut self) {
        let store = self.store_context();
        let offset = offset_of!(VmStoreContext, interrupt);
        let word = self.read(Promise::InterruptWord, store, offset);
        // A word that means "stop" is higher than any address. This way round, x86-64 compares a
        // register with memory and needs no other.
        let stop = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedLessThan, store, word);
        self.trapnz(stop, TrapCode::Interrupt);
    }

    /// Stops if no fuel is left.
    fn check_fuel(&mut self) {
        let &Fuel { count, pending } = self.fuel.as_ref().expect("code that counts fuel");
        let count = self.builder.use_var(count);
        // What is pending is added with what follows.
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

    /// Brings the variable up to date.
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

    /// Puts the count where others look.
    pub(super) fn save_fuel(&mut self) {
        if self.fuel.is_none() {
            return;
        }
        let count = self.count_fuel_now();
        self.store_fuel(count);
    }

    /// Puts the count where others look, should the code end here; it goes on counting as if it had
    /// not.
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

    fn store_fuel(&mut self, count: Value) {
        let store = self.store_context();
        let offset = offset_of!(VmStoreContext, fuel);
        self.write(Promise::Fuel, count, store, offset);
    }

    /// Takes the count back.
    fn load_fuel(&mut self) {
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
