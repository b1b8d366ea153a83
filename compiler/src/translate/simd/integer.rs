//! Arithmetic of integer vectors: one arm for each operator and shape.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::Operator;

use crate::translate::FuncTranslator;
use crate::translate::numeric::Sign::{self, Signed, Unsigned};

/// Half of a vector's lanes.
#[derive(Debug, Clone, Copy)]
enum Half {
    Low,
    High,
}
use Half::{High, Low};

impl<'b> FuncTranslator<'_, 'b> {
    /// Translates `op` if it is arithmetic of integer vectors, and returns whether it was.
    pub(super) fn simd_integer(&mut self, op: &Operator<'_>) -> bool {
        self.simd_compare(op) || self.simd_lane_wise(op) || self.simd_widening(op)
    }

    fn simd_compare(&mut self, op: &Operator<'_>) -> bool {
        use IntCC::{
            Equal, NotEqual, SignedGreaterThan, SignedGreaterThanOrEqual, SignedLessThan,
            SignedLessThanOrEqual, UnsignedGreaterThan, UnsignedGreaterThanOrEqual,
            UnsignedLessThan, UnsignedLessThanOrEqual,
        };
        use Operator as O;
        let (shape, condition) = match *op {
            O::I8x16Eq => (I8X16, Equal),
            O::I8x16Ne => (I8X16, NotEqual),
            O::I8x16LtS => (I8X16, SignedLessThan),
            O::I8x16LtU => (I8X16, UnsignedLessThan),
            O::I8x16GtS => (I8X16, SignedGreaterThan),
            O::I8x16GtU => (I8X16, UnsignedGreaterThan),
            O::I8x16LeS => (I8X16, SignedLessThanOrEqual),
            O::I8x16LeU => (I8X16, UnsignedLessThanOrEqual),
            O::I8x16GeS => (I8X16, SignedGreaterThanOrEqual),
            O::I8x16GeU => (I8X16, UnsignedGreaterThanOrEqual),
            O::I16x8Eq => (I16X8, Equal),
            O::I16x8Ne => (I16X8, NotEqual),
            O::I16x8LtS => (I16X8, SignedLessThan),
            O::I16x8LtU => (I16X8, UnsignedLessThan),
            O::I16x8GtS => (I16X8, SignedGreaterThan),
            O::I16x8GtU => (I16X8, UnsignedGreaterThan),
            O::I16x8LeS => (I16X8, SignedLessThanOrEqual),
            O::I16x8LeU => (I16X8, UnsignedLessThanOrEqual),
            O::I16x8GeS => (I16X8, SignedGreaterThanOrEqual),
            O::I16x8GeU => (I16X8, UnsignedGreaterThanOrEqual),
            O::I32x4Eq => (I32X4, Equal),
            O::I32x4Ne => (I32X4, NotEqual),
            O::I32x4LtS => (I32X4, SignedLessThan),
            O::I32x4LtU => (I32X4, UnsignedLessThan),
            O::I32x4GtS => (I32X4, SignedGreaterThan),
            O::I32x4GtU => (I32X4, UnsignedGreaterThan),
            O::I32x4LeS => (I32X4, SignedLessThanOrEqual),
            O::I32x4LeU => (I32X4, UnsignedLessThanOrEqual),
            O::I32x4GeS => (I32X4, SignedGreaterThanOrEqual),
            O::I32x4GeU => (I32X4, UnsignedGreaterThanOrEqual),
            O::I64x2Eq => (I64X2, Equal),
            O::I64x2Ne => (I64X2, NotEqual),
            O::I64x2LtS => (I64X2, SignedLessThan),
            O::I64x2GtS => (I64X2, SignedGreaterThan),
            O::I64x2LeS => (I64X2, SignedLessThanOrEqual),
            O::I64x2GeS => (I64X2, SignedGreaterThanOrEqual),
            _ => return false,
        };
        self.vector_binary(shape, |b, x, y| b.icmp(condition, x, y));
        true
    }

    /// Operators whose result lanes are as wide as the operands'.
    fn simd_lane_wise(&mut self, op: &Operator<'_>) -> bool {
        use Operator as O;
        match *op {
            O::I8x16Abs => self.vector_unary(I8X16, |b, x| b.iabs(x)),
            O::I16x8Abs => self.vector_unary(I16X8, |b, x| b.iabs(x)),
            O::I32x4Abs => self.vector_unary(I32X4, |b, x| b.iabs(x)),
            O::I64x2Abs => self.vector_unary(I64X2, |b, x| b.iabs(x)),
            O::I8x16Neg => self.vector_unary(I8X16, |b, x| b.ineg(x)),
            O::I16x8Neg => self.vector_unary(I16X8, |b, x| b.ineg(x)),
            O::I32x4Neg => self.vector_unary(I32X4, |b, x| b.ineg(x)),
            O::I64x2Neg => self.vector_unary(I64X2, |b, x| b.ineg(x)),
            O::I8x16Popcnt => self.vector_unary(I8X16, |b, x| b.popcnt(x)),

            O::I8x16Shl => self.shift(I8X16, |b, x, n| b.ishl(x, n)),
            O::I16x8Shl => self.shift(I16X8, |b, x, n| b.ishl(x, n)),
            O::I32x4Shl => self.shift(I32X4, |b, x, n| b.ishl(x, n)),
            O::I64x2Shl => self.shift(I64X2, |b, x, n| b.ishl(x, n)),
            O::I8x16ShrS => self.shift(I8X16, |b, x, n| b.sshr(x, n)),
            O::I16x8ShrS => self.shift(I16X8, |b, x, n| b.sshr(x, n)),
            O::I32x4ShrS => self.shift(I32X4, |b, x, n| b.sshr(x, n)),
            O::I64x2ShrS => self.shift(I64X2, |b, x, n| b.sshr(x, n)),
            O::I8x16ShrU => self.shift(I8X16, |b, x, n| b.ushr(x, n)),
            O::I16x8ShrU => self.shift(I16X8, |b, x, n| b.ushr(x, n)),
            O::I32x4ShrU => self.shift(I32X4, |b, x, n| b.ushr(x, n)),
            O::I64x2ShrU => self.shift(I64X2, |b, x, n| b.ushr(x, n)),

            O::I8x16Add => self.vector_binary(I8X16, |b, x, y| b.iadd(x, y)),
            O::I16x8Add => self.vector_binary(I16X8, |b, x, y| b.iadd(x, y)),
            O::I32x4Add => self.vector_binary(I32X4, |b, x, y| b.iadd(x, y)),
            O::I64x2Add => self.vector_binary(I64X2, |b, x, y| b.iadd(x, y)),
            O::I8x16Sub => self.vector_binary(I8X16, |b, x, y| b.isub(x, y)),
            O::I16x8Sub => self.vector_binary(I16X8, |b, x, y| b.isub(x, y)),
            O::I32x4Sub => self.vector_binary(I32X4, |b, x, y| b.isub(x, y)),
            O::I64x2Sub => self.vector_binary(I64X2, |b, x, y| b.isub(x, y)),
            O::I16x8Mul => self.vector_binary(I16X8, |b, x, y| b.imul(x, y)),
            O::I32x4Mul => self.vector_binary(I32X4, |b, x, y| b.imul(x, y)),
            O::I64x2Mul => self.vector_binary(I64X2, |b, x, y| b.imul(x, y)),

            O::I8x16AddSatS => self.vector_binary(I8X16, |b, x, y| b.sadd_sat(x, y)),
            O::I16x8AddSatS => self.vector_binary(I16X8, |b, x, y| b.sadd_sat(x, y)),
            O::I8x16AddSatU => self.vector_binary(I8X16, |b, x, y| b.uadd_sat(x, y)),
            O::I16x8AddSatU => self.vector_binary(I16X8, |b, x, y| b.uadd_sat(x, y)),
            O::I8x16SubSatS => self.vector_binary(I8X16, |b, x, y| b.ssub_sat(x, y)),
            O::I16x8SubSatS => self.vector_binary(I16X8, |b, x, y| b.ssub_sat(x, y)),
            O::I8x16SubSatU => self.vector_binary(I8X16, |b, x, y| b.usub_sat(x, y)),
            O::I16x8SubSatU => self.vector_binary(I16X8, |b, x, y| b.usub_sat(x, y)),
            O::I16x8Q15MulrSatS => self.vector_binary(I16X8, |b, x, y| b.sqmul_round_sat(x, y)),

            O::I8x16MinS => self.vector_binary(I8X16, |b, x, y| b.smin(x, y)),
            O::I16x8MinS => self.vector_binary(I16X8, |b, x, y| b.smin(x, y)),
            O::I32x4MinS => self.vector_binary(I32X4, |b, x, y| b.smin(x, y)),
            O::I8x16MinU => self.vector_binary(I8X16, |b, x, y| b.umin(x, y)),
            O::I16x8MinU => self.vector_binary(I16X8, |b, x, y| b.umin(x, y)),
            O::I32x4MinU => self.vector_binary(I32X4, |b, x, y| b.umin(x, y)),
            O::I8x16MaxS => self.vector_binary(I8X16, |b, x, y| b.smax(x, y)),
            O::I16x8MaxS => self.vector_binary(I16X8, |b, x, y| b.smax(x, y)),
            O::I32x4MaxS => self.vector_binary(I32X4, |b, x, y| b.smax(x, y)),
            O::I8x16MaxU => self.vector_binary(I8X16, |b, x, y| b.umax(x, y)),
            O::I16x8MaxU => self.vector_binary(I16X8, |b, x, y| b.umax(x, y)),
            O::I32x4MaxU => self.vector_binary(I32X4, |b, x, y| b.umax(x, y)),
            O::I8x16AvgrU => self.vector_binary(I8X16, |b, x, y| b.avg_round(x, y)),
            O::I16x8AvgrU => self.vector_binary(I16X8, |b, x, y| b.avg_round(x, y)),

            _ => return false,
        }
        true
    }

    /// Operators whose result lanes are twice or half as wide as the operands'.
    fn simd_widening(&mut self, op: &Operator<'_>) -> bool {
        use Operator as O;
        match *op {
            O::I8x16NarrowI16x8S => self.vector_binary(I16X8, |b, x, y| b.snarrow(x, y)),
            O::I8x16NarrowI16x8U => self.vector_binary(I16X8, |b, x, y| b.unarrow(x, y)),
            O::I16x8NarrowI32x4S => self.vector_binary(I32X4, |b, x, y| b.snarrow(x, y)),
            O::I16x8NarrowI32x4U => self.vector_binary(I32X4, |b, x, y| b.unarrow(x, y)),

            O::I16x8ExtendLowI8x16S => self.extend(I8X16, Low, Signed),
            O::I16x8ExtendHighI8x16S => self.extend(I8X16, High, Signed),
            O::I16x8ExtendLowI8x16U => self.extend(I8X16, Low, Unsigned),
            O::I16x8ExtendHighI8x16U => self.extend(I8X16, High, Unsigned),
            O::I32x4ExtendLowI16x8S => self.extend(I16X8, Low, Signed),
            O::I32x4ExtendHighI16x8S => self.extend(I16X8, High, Signed),
            O::I32x4ExtendLowI16x8U => self.extend(I16X8, Low, Unsigned),
            O::I32x4ExtendHighI16x8U => self.extend(I16X8, High, Unsigned),
            O::I64x2ExtendLowI32x4S => self.extend(I32X4, Low, Signed),
            O::I64x2ExtendHighI32x4S => self.extend(I32X4, High, Signed),
            O::I64x2ExtendLowI32x4U => self.extend(I32X4, Low, Unsigned),
            O::I64x2ExtendHighI32x4U => self.extend(I32X4, High, Unsigned),

            O::I16x8ExtMulLowI8x16S => self.extended_multiply(I8X16, Low, Signed),
            O::I16x8ExtMulHighI8x16S => self.extended_multiply(I8X16, High, Signed),
            O::I16x8ExtMulLowI8x16U => self.extended_multiply(I8X16, Low, Unsigned),
            O::I16x8ExtMulHighI8x16U => self.extended_multiply(I8X16, High, Unsigned),
            O::I32x4ExtMulLowI16x8S => self.extended_multiply(I16X8, Low, Signed),
            O::I32x4ExtMulHighI16x8S => self.extended_multiply(I16X8, High, Signed),
            O::I32x4ExtMulLowI16x8U => self.extended_multiply(I16X8, Low, Unsigned),
            O::I32x4ExtMulHighI16x8U => self.extended_multiply(I16X8, High, Unsigned),
            O::I64x2ExtMulLowI32x4S => self.extended_multiply(I32X4, Low, Signed),
            O::I64x2ExtMulHighI32x4S => self.extended_multiply(I32X4, High, Signed),
            O::I64x2ExtMulLowI32x4U => self.extended_multiply(I32X4, Low, Unsigned),
            O::I64x2ExtMulHighI32x4U => self.extended_multiply(I32X4, High, Unsigned),

            O::I16x8ExtAddPairwiseI8x16S => self.add_neighbours(I8X16, Signed),
            O::I16x8ExtAddPairwiseI8x16U => self.add_neighbours(I8X16, Unsigned),
            O::I32x4ExtAddPairwiseI16x8S => self.add_neighbours(I16X8, Signed),
            O::I32x4ExtAddPairwiseI16x8U => self.add_neighbours(I16X8, Unsigned),

            O::I32x4DotI16x8S => {
                let (x, y) = self.pop_vectors(I16X8);
                let value = self.dot(x, y);
                self.push_vector(value);
            }

            _ => return false,
        }
        true
    }

    /// Shifts all lanes by one i32, modulo the lane's width both in WebAssembly and in Cranelift.
    fn shift(
        &mut self,
        shape: Type,
        build: impl FnOnce(FuncInstBuilder<'_, 'b>, Value, Value) -> Value,
    ) {
        let count = self.pop();
        let x = self.pop_vector(shape);
        let value = build(self.builder.ins(), x, count);
        self.push_vector(value);
    }

    fn extend(&mut self, from: Type, half: Half, sign: Sign) {
        let x = self.pop_vector(from);
        let value = self.widen(x, half, sign);
        self.push_vector(value);
    }

    fn extended_multiply(&mut self, from: Type, half: Half, sign: Sign) {
        let (x, y) = self.pop_vectors(from);
        let x = self.widen(x, half, sign);
        let y = self.widen(y, half, sign);
        let value = self.builder.ins().imul(x, y);
        self.push_vector(value);
    }

    fn add_neighbours(&mut self, from: Type, sign: Sign) {
        let x = self.pop_vector(from);
        let value = self.sum_of_neighbours(x, sign);
        self.push_vector(value);
    }

    /// Sums of lanes 2i and 2i+1, in lanes twice as wide.
    pub(super) fn sum_of_neighbours(&mut self, x: Value, sign: Sign) -> Value {
        let low = self.widen(x, Low, sign);
        let high = self.widen(x, High, sign);
        self.builder.ins().iadd_pairwise(low, high)
    }

    /// Sums of the products of lanes 2i and 2i+1, signed, in lanes twice as wide.
    pub(super) fn dot(&mut self, x: Value, y: Value) -> Value {
        let [low, high] = [Low, High].map(|half| {
            let x = self.widen(x, half, Signed);
            let y = self.widen(y, half, Signed);
            self.builder.ins().imul(x, y)
        });
        self.builder.ins().iadd_pairwise(low, high)
    }

    fn widen(&mut self, x: Value, half: Half, sign: Sign) -> Value {
        let ins = self.builder.ins();
        match (half, sign) {
            (Low, Signed) => ins.swiden_low(x),
            (High, Signed) => ins.swiden_high(x),
            (Low, Unsigned) => ins.uwiden_low(x),
            (High, Unsigned) => ins.uwiden_high(x),
        }
    }
}
