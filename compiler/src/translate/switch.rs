//! How a `br_table` chooses its target: by a table, or by a few comparisons where these are
//! cheaper.
//!
//! A table costs a comparison, a load, an addition and an indirect jump, and Cranelift guards it
//! against speculation. Compilers make `br_table`s of few targets from state machines and classes
//! of characters. Those become
//!
//! - a *jump* if there is one target;
//! - *comparisons* with the ends of ranges of indices that have the same target, if there are few;
//! - *bit tests* if there are few targets and all indices fit into a word: one shift, then one test
//!   for each target.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Block, InstBuilder, JumpTableData, Value};

use super::FuncTranslator;

/// Maximum number of comparisons, or of bit tests, instead of a table.
const FEW: usize = 3;

/// Indices from here on, up to the next range, have the same target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range<T> {
    start: u32,
    target: T,
}

/// A way to choose a target.
#[derive(Debug, PartialEq, Eq)]
enum Choice<T> {
    /// There is only this one.
    Jump(T),
    /// This target for `count` indices from `start` on, and otherwise the default.
    Inside {
        start: u32,
        count: u32,
        target: T,
    },
    /// Ranges in order; the last one has no end.
    Ranges(Vec<Range<T>>),
    /// For each target, a mask with a bit for each of its indices; the default for all other
    /// indices.
    Bits(Vec<(T, u64)>),
    Table,
}

/// The cheapest way to choose among these targets.
fn choose<T: Copy + PartialEq>(targets: &[T], default: T) -> Choice<T> {
    // The length of a `br_table` is below 2^32.
    let indices = 0_u32..;
    let mut ranges: Vec<Range<T>> = Vec::new();
    let all = targets.iter().copied().chain([default]);
    for (start, target) in indices.clone().zip(all) {
        if ranges.last().is_none_or(|last| last.target != target) {
            ranges.push(Range { start, target });
        }
    }
    match *ranges {
        [only] => return Choice::Jump(only.target),
        [before, inside, after] if before.target == default && after.target == default => {
            return Choice::Inside {
                start: inside.start,
                count: after.start - inside.start,
                target: inside.target,
            };
        }
        _ => {}
    }
    if ranges.len() <= FEW + 1 {
        return Choice::Ranges(ranges);
    }
    if targets.len() > 64 {
        return Choice::Table;
    }
    let mut bits: Vec<(T, u64)> = Vec::new();
    for (index, target) in indices.zip(targets.iter().copied()) {
        if target == default {
            continue;
        }
        match bits.iter().position(|(other, _)| *other == target) {
            Some(known) => bits[known].1 |= 1 << index,
            None if bits.len() == FEW => return Choice::Table,
            None => bits.push((target, 1 << index)),
        }
    }
    Choice::Bits(bits)
}

impl FuncTranslator<'_, '_> {
    /// Jumps to the target with this index, or to the default. The targets have no parameters. This
    /// ends the current block.
    pub(super) fn switch(&mut self, index: Value, targets: &[Block], default: Block) {
        let choice = if self.env.switches {
            choose(targets, default)
        } else {
            Choice::Table
        };
        match choice {
            Choice::Jump(target) => {
                self.builder.ins().jump(target, &[]);
            }
            Choice::Inside {
                start,
                count,
                target,
            } => {
                let first = self.index_constant(start);
                let place = self.builder.ins().isub(index, first);
                let count = self.index_constant(count);
                let below = IntCC::UnsignedLessThan;
                let inside = self.builder.ins().icmp(below, place, count);
                self.builder.ins().brif(inside, target, &[], default, &[]);
            }
            Choice::Ranges(ranges) => self.compare(index, &ranges),
            Choice::Bits(bits) => self.test_bits(index, targets.len() as u32, &bits, default),
            Choice::Table => {
                let calls = |block: &Block| self.builder.func.dfg.block_call(*block, &[]);
                let targets: Vec<_> = targets.iter().map(calls).collect();
                let default = self.builder.func.dfg.block_call(default, &[]);
                let table = JumpTableData::new(default, &targets);
                let table = self.builder.create_jump_table(table);
                self.builder.ins().br_table(index, table);
            }
        }
    }

    fn compare(&mut self, index: Value, ranges: &[Range<Block>]) {
        for (i, pair) in ranges.windows(2).enumerate() {
            let [range, next] = *pair else {
                unreachable!("windows of two")
            };
            let end = self.index_constant(next.start);
            let below = IntCC::UnsignedLessThan;
            let is_below = self.builder.ins().icmp(below, index, end);
            if i + 2 == ranges.len() {
                let last = next.target;
                self.builder
                    .ins()
                    .brif(is_below, range.target, &[], last, &[]);
            } else {
                self.branch_or_continue(is_below, range.target);
            }
        }
    }

    fn test_bits(&mut self, index: Value, len: u32, bits: &[(Block, u64)], default: Block) {
        let len = self.index_constant(len);
        let above = IntCC::UnsignedGreaterThanOrEqual;
        let outside = self.builder.ins().icmp(above, index, len);
        self.branch_or_continue(outside, default);
        let one = self.builder.ins().iconst(I64, 1);
        let index = self.builder.ins().uextend(I64, index);
        let bit = self.builder.ins().ishl(one, index);
        for (i, (target, mask)) in bits.iter().enumerate() {
            let mask = self.builder.ins().iconst(I64, mask.cast_signed());
            let found = self.builder.ins().band(bit, mask);
            if i + 1 == bits.len() {
                self.builder.ins().brif(found, *target, &[], default, &[]);
            } else {
                self.branch_or_continue(found, *target);
            }
        }
    }

    fn index_constant(&mut self, index: u32) -> Value {
        self.builder.ins().iconst(I32, i64::from(index))
    }

    /// Jumps to `target` if `condition` is not zero, and continues in a new block otherwise.
    fn branch_or_continue(&mut self, condition: Value, target: Block) {
        let next = self.builder.create_block();
        self.builder.ins().brif(condition, target, &[], next, &[]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u32, target: char) -> Range<char> {
        Range { start, target }
    }

    fn chosen(targets: &str, default: char) -> Choice<char> {
        choose(&targets.chars().collect::<Vec<_>>(), default)
    }

    #[test]
    fn few_targets_need_no_table() {
        assert_eq!(chosen("", 'd'), Choice::Jump('d'));
        assert_eq!(chosen("ddd", 'd'), Choice::Jump('d'));
        assert_eq!(
            chosen("ddaad", 'd'),
            Choice::Inside {
                start: 2,
                count: 2,
                target: 'a'
            }
        );
        let ranges = vec![range(0, 'a'), range(1, 'b'), range(2, 'd')];
        assert_eq!(chosen("ab", 'd'), Choice::Ranges(ranges));
        let ranges = vec![range(0, 'a'), range(2, 'b'), range(3, 'c'), range(5, 'd')];
        assert_eq!(chosen("aabcc", 'd'), Choice::Ranges(ranges));
        assert_eq!(
            chosen("adadbda", 'd'),
            Choice::Bits(vec![('a', 0b100_0101), ('b', 0b1_0000)])
        );
    }

    #[test]
    fn many_targets_and_indices_need_one() {
        assert_eq!(chosen("abce", 'd'), Choice::Table);
        assert_eq!(chosen("abcabceabc", 'd'), Choice::Table);
        let long = "ad".repeat(32);
        assert!(matches!(chosen(&long, 'd'), Choice::Bits(_)));
        assert_eq!(chosen(&(long + "a"), 'd'), Choice::Table);
    }

    /// The target that a choice leads to for an index.
    fn follow(choice: &Choice<char>, targets: &[char], default: char, index: u32) -> char {
        match choice {
            Choice::Jump(target) => *target,
            Choice::Inside {
                start,
                count,
                target,
            } if index.wrapping_sub(*start) < *count => *target,
            Choice::Ranges(ranges) => {
                let found = ranges.iter().rev().find(|range| range.start <= index);
                found.expect("the first starts at 0").target
            }
            Choice::Bits(bits) if index < 64 => bits
                .iter()
                .find(|(_, mask)| mask >> index & 1 == 1)
                .map_or(default, |(target, _)| *target),
            Choice::Inside { .. } | Choice::Bits(_) => default,
            Choice::Table => *targets.get(index as usize).unwrap_or(&default),
        }
    }

    #[test]
    fn every_choice_leads_to_the_right_target() {
        let mut state = 1_u32;
        for round in 0..20_000 {
            let mut next = |below: u32| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 16) % below
            };
            let letters = 1 + round % 4;
            let len = next(70);
            let targets: Vec<char> = (0..len)
                .map(|_| char::from_u32('a' as u32 + next(letters)).unwrap())
                .collect();
            let choice = choose(&targets, 'a');
            for index in (0..70).chain([u32::MAX, 1 << 31]) {
                let expected = *targets.get(index as usize).unwrap_or(&'a');
                assert_eq!(follow(&choice, &targets, 'a', index), expected);
            }
        }
    }
}
