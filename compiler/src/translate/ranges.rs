//! The greatest number that a value can be, as far as its definition shows.
//!
//! An access whose greatest index is below the memory's minimum needs no check: a table that is
//! indexed by a byte, for instance. The result relies only on the arithmetic of the value itself,
//! and not on any branch, so it also holds while the CPU speculates.

use cranelift_codegen::ir::types::{I8, I16, I32};
use cranelift_codegen::ir::{DataFlowGraph, InstructionData, Opcode, Value};

/// Maximum depth of operands of operands that are examined. Each has at most two operands, so this
/// also limits the time.
const DEPTH: u32 = 5;

/// The greatest number that an integer of up to 64 bits can be, zero extended.
pub(super) fn greatest(dfg: &DataFlowGraph, value: Value) -> u64 {
    Ranges { dfg }.greatest(value, DEPTH)
}

struct Ranges<'a> {
    dfg: &'a DataFlowGraph,
}

impl Ranges<'_> {
    fn greatest(&self, value: Value, depth: u32) -> u64 {
        let max = self.max(value);
        self.by_definition(value, depth)
            .map_or(max, |found| found.min(max))
    }

    /// The greatest number of the value's type.
    fn max(&self, value: Value) -> u64 {
        match self.dfg.value_type(value) {
            I8 => u64::from(u8::MAX),
            I16 => u64::from(u16::MAX),
            I32 => u64::from(u32::MAX),
            _ => u64::MAX,
        }
    }

    /// The greatest number that the value's instruction can give, if that is known. It may be
    /// greater than the type's maximum only for instructions that do not wrap.
    fn by_definition(&self, value: Value, depth: u32) -> Option<u64> {
        let depth = depth.checked_sub(1)?;
        let max = self.max(value);
        let of = |value| self.greatest(value, depth);
        let unwrapped = |sum: Option<u64>| sum.filter(|sum| *sum <= max);
        let value = self.dfg.resolve_aliases(value);
        let inst = self.dfg.value_def(value).inst()?;
        match self.dfg.insts[inst] {
            InstructionData::UnaryImm {
                opcode: Opcode::Iconst,
                imm,
            } => Some(imm.bits().cast_unsigned() & max),
            InstructionData::Load { opcode, .. } => match opcode {
                Opcode::Uload8 => Some(u64::from(u8::MAX)),
                Opcode::Uload16 => Some(u64::from(u16::MAX)),
                Opcode::Uload32 => Some(u64::from(u32::MAX)),
                _ => None,
            },
            InstructionData::Unary { opcode, arg } => match opcode {
                Opcode::Uextend => Some(of(arg)),
                // The low bits are the number itself if no other bits are set.
                Opcode::Ireduce => unwrapped(Some(of(arg))),
                Opcode::Clz | Opcode::Ctz | Opcode::Popcnt => Some(64),
                _ => None,
            },
            InstructionData::Binary {
                opcode,
                args: [a, b],
            } => match opcode {
                Opcode::Band => Some(of(a).min(of(b))),
                Opcode::Bor | Opcode::Bxor => {
                    let bits = of(a).max(of(b)).leading_zeros();
                    Some(u64::MAX.checked_shr(bits).unwrap_or(0))
                }
                Opcode::Iadd => unwrapped(of(a).checked_add(of(b))),
                Opcode::Imul => unwrapped(of(a).checked_mul(of(b))),
                Opcode::Ishl => {
                    let factor = 1_u64 << self.shift(b, max)?;
                    unwrapped(of(a).checked_mul(factor))
                }
                Opcode::Ushr => Some(of(a) >> self.shift(b, max)?),
                Opcode::Udiv => Some(of(a)),
                // The divisor is not zero, or there is no result.
                Opcode::Urem => Some(of(a).min(of(b).saturating_sub(1))),
                _ => None,
            },
            InstructionData::Ternary {
                opcode: Opcode::Select,
                args: [_, a, b],
            } => Some(of(a).max(of(b))),
            InstructionData::IntCompare { .. } | InstructionData::FloatCompare { .. } => Some(1),
            _ => None,
        }
    }

    /// The constant number of bits of a shift, modulo the bits of the type whose greatest number is
    /// `max`.
    fn shift(&self, value: Value, max: u64) -> Option<u32> {
        let value = self.dfg.resolve_aliases(value);
        let inst = self.dfg.value_def(value).inst()?;
        let InstructionData::UnaryImm {
            opcode: Opcode::Iconst,
            imm,
        } = self.dfg.insts[inst]
        else {
            return None;
        };
        Some(imm.bits() as u32 & (max.count_ones() - 1))
    }
}

#[cfg(test)]
mod tests {
    use cranelift_codegen::cursor::{Cursor, FuncCursor};
    use cranelift_codegen::ir::condcodes::IntCC;
    use cranelift_codegen::ir::types::I64;
    use cranelift_codegen::ir::{Function, InstBuilder, MemFlagsData, Type};

    use super::*;

    const I32_MAX: u64 = u32::MAX as u64;

    /// The greatest number of the value that `build` makes of two parameters of this type.
    fn found(ty: Type, build: impl FnOnce(&mut FuncCursor<'_>, Value, Value) -> Value) -> u64 {
        let mut func = Function::new();
        let block = func.dfg.make_block();
        let a = func.dfg.append_block_param(block, ty);
        let b = func.dfg.append_block_param(block, ty);
        func.layout.append_block(block);
        let mut cursor = FuncCursor::new(&mut func).at_bottom(block);
        let value = build(&mut cursor, a, b);
        greatest(&func.dfg, value)
    }

    #[test]
    fn numbers_without_a_limit() {
        assert_eq!(found(I32, |_, a, _| a), I32_MAX);
        assert_eq!(found(I64, |_, a, _| a), u64::MAX);
        assert_eq!(found(I32, |c, a, b| c.ins().iadd(a, b)), I32_MAX);
        assert_eq!(found(I32, |c, a, b| c.ins().isub(a, b)), I32_MAX);
        assert_eq!(found(I32, |c, a, b| c.ins().imul(a, b)), I32_MAX);
        assert_eq!(found(I32, |c, a, b| c.ins().ishl(a, b)), I32_MAX);
        assert_eq!(found(I32, |c, a, b| c.ins().bxor(a, b)), I32_MAX);
        assert_eq!(found(I32, |c, a, b| c.ins().urem(a, b)), I32_MAX - 1);
        assert_eq!(found(I64, |c, a, b| c.ins().iadd(a, b)), u64::MAX);
        assert_eq!(found(I8, |c, a, _| c.ins().sextend(I32, a)), I32_MAX);
    }

    #[test]
    fn limits() {
        let and = |c: &mut FuncCursor<'_>, a, mask: i64| {
            let ty = c.func.dfg.value_type(a);
            let mask = c.ins().iconst(ty, mask);
            c.ins().band(a, mask)
        };
        assert_eq!(found(I8, |c, a, _| c.ins().uextend(I32, a)), 255);
        assert_eq!(found(I32, |c, a, _| c.ins().uextend(I64, a)), I32_MAX);
        assert_eq!(found(I32, |c, a, _| and(c, a, 0x1f0)), 0x1f0);
        assert_eq!(found(I32, |c, a, _| and(c, a, -1)), I32_MAX);
        assert_eq!(
            found(I32, |c, _, _| c.ins().iconst(I32, -2 & 0xffff_ffff)),
            I32_MAX - 1
        );
        let flags = MemFlagsData::new();
        assert_eq!(found(I64, |c, a, _| c.ins().uload8(I32, flags, a, 0)), 255);
        assert_eq!(
            found(I64, |c, a, _| c.ins().uload16(I64, flags, a, 0)),
            65535
        );
        assert_eq!(
            found(I64, |c, a, _| c.ins().sload8(I32, flags, a, 0)),
            I32_MAX
        );
        assert_eq!(
            found(I64, |c, a, _| c.ins().load(I32, flags, a, 0)),
            I32_MAX
        );
        assert_eq!(found(I32, |c, a, b| c.ins().icmp(IntCC::Equal, a, b)), 1);
        assert_eq!(found(I32, |c, a, _| c.ins().popcnt(a)), 64);

        let both = |build: fn(&mut FuncCursor<'_>, Value, Value) -> Value| {
            found(I32, |c, a, b| {
                let (a, b) = (and(c, a, 0x12), and(c, b, 0x21));
                build(c, a, b)
            })
        };
        assert_eq!(both(|c, a, b| c.ins().iadd(a, b)), 0x33);
        assert_eq!(both(|c, a, b| c.ins().imul(a, b)), 0x12 * 0x21);
        assert_eq!(both(|c, a, b| c.ins().bor(a, b)), 0x3f);
        assert_eq!(both(|c, a, b| c.ins().bxor(a, b)), 0x3f);
        assert_eq!(both(|c, a, b| c.ins().band(a, b)), 0x12);
        assert_eq!(both(|c, a, b| c.ins().urem(a, b)), 0x12);
        assert_eq!(both(|c, a, b| c.ins().urem(b, a)), 0x11);
        assert_eq!(both(|c, a, b| c.ins().udiv(a, b)), 0x12);
        assert_eq!(both(|c, a, b| c.ins().select(a, a, b)), 0x21);
        assert_eq!(both(|c, a, b| c.ins().isub(a, b)), I32_MAX);
    }

    #[test]
    fn shifts_are_modulo_the_type() {
        let shifted = |ty: Type, by: i64| {
            found(ty, |c, a, _| {
                let mask = c.ins().iconst(ty, 0xff);
                let by = c.ins().iconst(ty, by);
                let low = c.ins().band(a, mask);
                c.ins().ishl(low, by)
            })
        };
        assert_eq!(shifted(I32, 4), 0xff0);
        assert_eq!(shifted(I32, 24), 0xff00_0000);
        assert_eq!(shifted(I32, 25), I32_MAX);
        assert_eq!(shifted(I32, 32), 0xff);
        assert_eq!(shifted(I32, 36), 0xff0);
        assert_eq!(shifted(I64, 36), 0xff0_0000_0000);
        assert_eq!(shifted(I64, 57), u64::MAX);
        let right = |by: i64| {
            found(I32, |c, a, _| {
                let by = c.ins().iconst(I32, by);
                c.ins().ushr(a, by)
            })
        };
        assert_eq!(
            (right(20), right(32), right(33)),
            (0xfff, I32_MAX, I32_MAX >> 1)
        );
    }

    #[test]
    fn sums_that_wrap_have_no_limit() {
        let sum = |more: i64| {
            found(I32, |c, a, _| {
                let mask = c.ins().iconst(I32, 0xff);
                let low = c.ins().band(a, mask);
                let more = c.ins().iconst(I32, more & 0xffff_ffff);
                c.ins().iadd(low, more)
            })
        };
        assert_eq!(sum(0x1000), 0x10ff);
        assert_eq!(sum(-1), I32_MAX);
        assert_eq!(sum(-0x100), I32_MAX);
        assert_eq!(sum(-0x101), I32_MAX - 1);
    }

    #[test]
    fn the_search_ends() {
        let deep = found(I32, |c, a, _| {
            let mask = c.ins().iconst(I32, 1);
            let mut sum = c.ins().band(a, mask);
            for _ in 0..100 {
                sum = c.ins().iadd(sum, sum);
            }
            sum
        });
        assert_eq!(deep, I32_MAX);
    }
}
