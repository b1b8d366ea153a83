//! Counting, in code that makes profiles, and what profiles say about code.

use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use precast_artifact::promises::Promise;
use wasmparser::Operator;

use super::FuncTranslator;
use super::state::Env;
use crate::symbol::DefinedFuncIndex;

/// Whether a region begins behind an operator, see [`regions`](crate::regions).
pub(super) fn begins_region(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Else
            | Operator::End
            | Operator::Delegate { .. }
            | Operator::Catch { .. }
            | Operator::CatchAll
            | Operator::BrIf { .. }
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
    )
}

impl Env<'_> {
    /// The branch hints of a function, by offset in its body. There are none if a profile knows how
    /// often its branches were taken.
    pub(super) fn hints(&self, function: DefinedFuncIndex) -> &[(u32, bool)] {
        let counts = self.middle.counts.as_ref();
        match counts.is_some_and(|counts| counts.ran(function)) {
            true => &[],
            false => self.module.hints(function),
        }
    }
}

impl FuncTranslator<'_, '_> {
    /// Counts that the code behind this place in the module ran, if the place has a counter.
    pub(super) fn count_place(&mut self, place: u32) {
        let counters = self.env.counters.filter(|_| self.reachable);
        let Some(at) = counters.and_then(|counters| counters.of_place(place)) else {
            return;
        };
        let count = self.read(Promise::Counters, self.vmctx, at);
        let count = self.builder.ins().iadd_imm_s(count, 1);
        self.write(Promise::Counters, count, self.vmctx, at);
    }

    /// Lets the indirect call that is being translated vote for the index on top of the stack.
    pub(super) fn count_target(&mut self) {
        let site = self.positions.offset(self.builder.srcloc());
        let counters = self.env.counters;
        let Some(at) = counters.and_then(|counters| counters.of_site(site)) else {
            return;
        };
        let index = self.peek();
        let index = self.widen_index(index);
        let winner = self.read(Promise::Counters, self.vmctx, at);
        let votes = self.read(Promise::Counters, self.vmctx, at + 8);
        let winner = self.builder.ins().select(votes, winner, index);
        let same = self.builder.ins().icmp(IntCC::Equal, winner, index);
        let (one, less) = (
            self.builder.ins().iconst(I64, 1),
            self.builder.ins().iconst(I64, -1),
        );
        let vote = self.builder.ins().select(same, one, less);
        let votes = self.builder.ins().iadd(votes, vote);
        self.write(Promise::Counters, winner, self.vmctx, at);
        self.write(Promise::Counters, votes, self.vmctx, at + 8);
    }

    /// Moves the block that begins behind this operator of a function out of the way of other code,
    /// if a profile says that it runs seldom.
    pub(super) fn mark_cold(&mut self, function: DefinedFuncIndex, operator: u32) {
        let Some(counts) = self.env.middle.counts.as_ref().filter(|_| self.reachable) else {
            return;
        };
        if counts.ran(function) && counts.is_cold_behind(function, operator) {
            let block = self.builder.current_block().expect("code is reachable");
            // A function starts with its entry, whatever a profile says.
            if block != self.entry {
                self.builder.set_cold_block(block);
            }
        }
    }
}
