//! The count of fuel in a function: a variable, and what is *pending*.
//!
//! The count of a store is the fuel that is left, negated. A function keeps the count in a
//! variable. The cost of operators is not added to the variable one by one: the *pending* cost is a
//! constant that the translation knows at each position, and the true count is the variable plus
//! that constant. The pending cost is added to the variable where code checks whether fuel is left,
//! and where the count is stored for other code.
//!
//! Where paths through a block meet, all must have the same pending cost. It is the greatest
//! pending cost of all paths, and each cheaper path subtracts the difference from its variable. So
//! the most expensive path, which is often the one that does not leave the block early, needs no
//! instruction. The greatest cost is only known at the end of the block, so each path subtracts a
//! constant that is filled in then ([`Edge`]).
//!
//! A check adds the pending cost and traps if the sum is not negative any more. If the count was
//! checked since it was last loaded, the carry of the addition tells this, which takes one
//! instruction and a jump: the variable cannot have passed zero before, because nothing was added
//! since but the pending cost. A subtraction may have made the variable wrap below the least
//! number. The carry is right all the same, because only the sum matters. After a call the variable
//! can be any number, so the sign of the sum is compared.
//!
//! The header of a loop adds the greatest pending cost of the edges *back* to it, so that such an
//! edge needs no instruction of its own, and the path out of the loop needs none either. The edge
//! into the loop subtracts that cost before. This edge has a check of its own if its pending cost
//! is greater, or if the count was not checked since a call ([`LoopFuel`]).
//!
//! Between two calls without a branch the count is never needed in a register, so it is not loaded:
//! the cost is added in memory ([`Pending::loaded`]).

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::immediates::Imm64;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{Inst, InstBuilder, InstructionData, Opcode, SourceLoc, Value};
use cranelift_frontend::Variable;
use precast_artifact::TrapCode;
use precast_artifact::promises::Promise;
use precast_artifact::vm::VmStoreContext;
use std::mem::offset_of;
use target_lexicon::Architecture;

use super::FuncTranslator;
use super::trap::clif_code;

/// The count of fuel while a function is translated.
pub(super) struct Fuel {
    /// The variable that holds the value of [`VmStoreContext::fuel`], without the pending cost.
    count: Variable,
    pending: Pending,
}

/// What is known about the count at a position.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pending {
    /// The pending cost: the true count is the variable plus this number.
    cost: i64,
    /// Whether the count was checked on every path to here since it was loaded, and the variable
    /// was only made less since then.
    checked: bool,
    /// Whether the variable has the count. Otherwise the store has it, except for the cost.
    loaded: bool,
}

/// A jump to the end of a block, or back to the header of a loop.
#[derive(Debug)]
pub(super) struct Edge {
    /// The constant that this edge adds to the variable.
    constant: Inst,
    pending: Pending,
}

/// The instructions of a loop that are only completed at the loop's end.
#[derive(Debug)]
pub(super) struct LoopFuel {
    /// What is pending on the edge into the loop. This edge makes two additions.
    entry: Pending,
    /// The first addition, which may become a check, and the constant that it adds.
    first: (Inst, Inst),
    /// The constant of the second addition.
    second: Inst,
    /// The check in the header, and the constant that it adds.
    check: (Inst, Inst),
}

impl FuncTranslator<'_, '_> {
    /// Loads and checks the count at the start of a function, whose entry costs one.
    pub(super) fn begin_fuel(&mut self) {
        let count = self.builder.declare_var(I64);
        let pending = Pending::default();
        self.fuel = Some(Fuel { count, pending });
        let loaded = self.count();
        // The variable keeps the count without the cost of the entry, which stays pending until the
        // next check.
        let out = self
            .builder
            .ins()
            .icmp_imm_s(IntCC::SignedGreaterThanOrEqual, loaded, -1);
        self.trapnz(out, TrapCode::OutOfFuel);
        self.set_pending(1, true);
    }

    /// The value of the variable, into which the count is loaded now unless that was done.
    fn count(&mut self) -> Value {
        let &Fuel { count, pending } = self.fuel.as_ref().expect("code that counts fuel");
        if pending.loaded {
            return self.builder.use_var(count);
        }
        let loaded = self.loaded_fuel();
        self.builder.def_var(count, loaded);
        self.restore_pending(Pending {
            loaded: true,
            ..pending
        });
        loaded
    }

    /// Loads the count before the code branches, unless that was done.
    pub(super) fn fuel_before_fork(&mut self) {
        if self.fuel.is_some() {
            self.count();
        }
    }

    /// Adds to what is pending.
    pub(super) fn charge(&mut self, cost: i64) {
        if let Some(fuel) = &mut self.fuel {
            fuel.pending.cost += cost;
        }
    }

    /// What is pending here.
    pub(super) fn pending(&self) -> Pending {
        self.fuel
            .as_ref()
            .map_or(Pending::default(), |fuel| fuel.pending)
    }

    /// Continues at a position where this was pending.
    pub(super) fn restore_pending(&mut self, pending: Pending) {
        if let Some(fuel) = &mut self.fuel {
            fuel.pending = pending;
        }
    }

    fn set_pending(&mut self, cost: i64, checked: bool) {
        self.restore_pending(Pending {
            cost,
            checked,
            loaded: true,
        });
    }

    /// Adds what is pending to the variable, and traps if no fuel is left.
    pub(super) fn check_fuel(&mut self) {
        let Some(&Fuel { count, pending }) = self.fuel.as_ref() else {
            return;
        };
        let Pending { cost, checked, .. } = pending;
        if checked && cost == 0 {
            return;
        }
        let before = self.count();
        let cost = self.builder.ins().iconst(I64, cost);
        let by_carry = checked && self.has_carry_traps();
        let sum = self.checked_sum(before, cost, by_carry);
        self.builder.def_var(count, sum);
        self.set_pending(0, true);
    }

    /// The sum of a count and a cost. Traps if the sum shows that no fuel is left. With `by_carry`,
    /// the count was checked since it was loaded, so only the carry matters.
    fn checked_sum(&mut self, a: Value, b: Value, by_carry: bool) -> Value {
        if by_carry {
            let code = clif_code(TrapCode::OutOfFuel);
            return self.builder.ins().uadd_overflow_trap(a, b, code);
        }
        let sum = self.builder.ins().iadd(a, b);
        let compare = IntCC::SignedGreaterThanOrEqual;
        let out = self.builder.ins().icmp_imm_s(compare, sum, 0);
        self.trapnz(out, TrapCode::OutOfFuel);
        sum
    }

    /// Whether an addition that carries can trap by itself.
    fn has_carry_traps(&self) -> bool {
        self.traps_by_signal()
            && matches!(
                self.env.isa.triple().architecture,
                Architecture::X86_64 | Architecture::Aarch64(_)
            )
    }

    /// Prepares the jump into a loop, and the loop's header, to which `enter` makes that jump.
    pub(super) fn fuel_into_loop(&mut self, enter: impl FnOnce(&mut Self)) -> Option<LoopFuel> {
        let Some(&Fuel { count, pending }) = self.fuel.as_ref() else {
            enter(self);
            return None;
        };
        let by_carry = self.has_carry_traps();
        if by_carry && !pending.checked {
            self.check_fuel();
        }
        let before = self.count();
        let entry = self.pending();
        let (cost, first) = self.constant_to_come();
        let sum = self.builder.ins().iadd(before, cost);
        let first = (self.inst(sum), first);
        let (rest, second) = self.constant_to_come();
        let sum = self.builder.ins().iadd(sum, rest);
        self.builder.def_var(count, sum);
        enter(self);
        let before = self.builder.use_var(count);
        let (cost, constant) = self.constant_to_come();
        let sum = self.checked_sum(before, cost, by_carry);
        self.builder.def_var(count, sum);
        self.set_pending(0, true);
        Some(LoopFuel {
            entry,
            first,
            second,
            check: (self.inst(sum), constant),
        })
    }

    /// Prepares a jump back to the header of the loop at this depth and this position.
    pub(super) fn fuel_to_header(&mut self, depth: usize, position: SourceLoc) {
        if self.fuel.is_some() && self.has_carry_traps() && !self.pending().checked {
            let here = self.builder.srcloc();
            self.builder.set_srcloc(position);
            self.check_fuel();
            self.builder.set_srcloc(here);
        }
        self.fuel_to_exit(depth);
    }

    /// Called at the end of a loop: settles how much fuel the header of the loop and the edges to
    /// it add.
    pub(super) fn end_fuel_of_loop(&mut self, fuel: &LoopFuel, edges: &[Edge]) {
        let LoopFuel {
            entry,
            first,
            second,
            check,
        } = *fuel;
        let back = edges.iter().map(|edge| edge.pending.cost).max();
        let cost = back.unwrap_or(entry.cost);
        for edge in edges {
            self.set_constant(edge.constant, edge.pending.cost - cost);
        }
        let by_carry = self.has_carry_traps();
        self.set_constant(check.1, cost);
        let insts = &mut self.builder.func.dfg.insts;
        let args = |inst: &InstructionData| match *inst {
            InstructionData::Binary { args, .. } | InstructionData::IntAddTrap { args, .. } => args,
            _ => unreachable!("an addition"),
        };
        if by_carry && cost == 0 {
            // The header adds nothing, and every way to it has a check of its own.
            insts[check.0] = InstructionData::Binary {
                opcode: Opcode::Iadd,
                args: args(&insts[check.0]),
            };
        }
        if by_carry && entry.cost > cost {
            // The check in the header covers only `cost`, and more is pending on the way into the
            // loop. So that way has a check of its own.
            insts[first.0] = InstructionData::IntAddTrap {
                opcode: Opcode::UaddOverflowTrap,
                args: args(&insts[first.0]),
                code: clif_code(TrapCode::OutOfFuel),
            };
            self.set_constant(first.1, entry.cost);
            self.set_constant(second, -cost);
        } else {
            self.set_constant(second, entry.cost - cost);
        }
    }

    /// A constant of 64 bits that is [set](Self::set_constant) later.
    fn constant_to_come(&mut self) -> (Value, Inst) {
        let value = self.builder.ins().iconst(I64, 0);
        (value, self.inst(value))
    }

    fn set_constant(&mut self, constant: Inst, number: i64) {
        self.builder.func.dfg.insts[constant] = InstructionData::UnaryImm {
            opcode: Opcode::Iconst,
            imm: Imm64::new(number),
        };
    }

    /// The instruction that has just made a value.
    fn inst(&self, value: Value) -> Inst {
        self.builder.func.dfg.value_def(value).unwrap_inst()
    }

    /// Prepares a jump to the end of the frame at this depth.
    pub(super) fn fuel_to_exit(&mut self, depth: usize) {
        if self.fuel.is_none() {
            return;
        }
        let before = self.count();
        let (difference, constant) = self.constant_to_come();
        let after = self.builder.ins().iadd(before, difference);
        let &Fuel { count, pending } = self.fuel.as_ref().expect("seen above");
        self.builder.def_var(count, after);
        self.control[depth].edges.push(Edge { constant, pending });
    }

    /// Continues where these edges meet.
    pub(super) fn join_fuel(&mut self, edges: &[Edge]) {
        let costs = edges.iter().map(|edge| edge.pending.cost);
        let Some(cost) = costs.max() else {
            return;
        };
        for edge in edges {
            self.set_constant(edge.constant, edge.pending.cost - cost);
        }
        let checked = edges.iter().all(|edge| edge.pending.checked);
        self.set_pending(cost, checked);
    }

    /// Counts one for each unit, without a check.
    pub(super) fn count_units(&mut self, units: Value) -> Value {
        let before = self.count();
        let &Fuel { count, pending } = self.fuel.as_ref().expect("code that counts fuel");
        let sum = self.builder.ins().iadd(before, units);
        let sum = self.builder.ins().iadd_imm_s(sum, pending.cost);
        self.builder.def_var(count, sum);
        self.set_pending(0, false);
        sum
    }

    /// Stores the count, so that other code can read it.
    pub(super) fn save_fuel(&mut self) {
        self.save_fuel_aside();
        if let Some(fuel) = &mut self.fuel
            && !fuel.pending.loaded
        {
            fuel.pending.cost = 0;
        }
    }

    /// Stores the count on a path that does not come back, so that the state here does not change.
    pub(super) fn save_fuel_aside(&mut self) {
        let Some(&Fuel { count, pending }) = self.fuel.as_ref() else {
            return;
        };
        let mut sum = match pending.loaded {
            true => self.builder.use_var(count),
            false if pending.cost == 0 => return,
            false => self.loaded_fuel(),
        };
        if pending.cost != 0 {
            sum = self.builder.ins().iadd_imm_s(sum, pending.cost);
        }
        let store = self.store_context();
        let offset = offset_of!(VmStoreContext, fuel);
        self.write(Promise::Fuel, sum, store, offset);
    }

    /// Forgets the variable after a call that may have changed the count. Before the call, the
    /// count was [stored](Self::save_fuel).
    pub(super) fn forget_fuel(&mut self) {
        self.restore_pending(Pending::default());
    }

    /// Loads the count on one of two paths that meet soon, after a call before which the count was
    /// stored. What is pending stays pending.
    pub(super) fn reload_fuel(&mut self) {
        let Some(&Fuel { count, pending }) = self.fuel.as_ref() else {
            return;
        };
        let loaded = self.loaded_fuel();
        let loaded = self.builder.ins().iadd_imm_s(loaded, -pending.cost);
        self.builder.def_var(count, loaded);
        self.set_pending(pending.cost, false);
    }

    fn loaded_fuel(&mut self) -> Value {
        let store = self.store_context();
        let offset = offset_of!(VmStoreContext, fuel);
        self.read(Promise::Fuel, store, offset)
    }
}
