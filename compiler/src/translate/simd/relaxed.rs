//! Relaxed SIMD, lowered according to the specification's [deterministic profile], so that an
//! artifact gives the same bits on every CPU:
//!
//! | relaxed | here |
//! |---|---|
//! | `swizzle` | `i8x16.swizzle` |
//! | `trunc_*` | `trunc_sat_*` |
//! | `madd`, `nmadd` | not fused: the product is rounded, then the sum |
//! | `laneselect` | `v128.bitselect` |
//! | `min`, `max` | `min`, `max` |
//! | `q15mulr_s` | `q15mulr_sat_s` |
//! | `dot_i8x16_i7x16` | both operands signed; the sum of two products saturates |
//!
//! This costs an instruction or two compared with the best code for each CPU.
//!
//! [deterministic profile]: https://webassembly.github.io/spec/core/appendix/profiles.html

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32X4, F64X2, I8X16, I16, I16X8, I32X4};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use wasmparser::Operator;

use crate::translate::FuncTranslator;
use crate::translate::numeric::Sign::{Signed, Unsigned};

impl FuncTranslator<'_, '_> {
    /// Translates `op` if it is a relaxed vector operator, and returns whether it was.
    pub(super) fn simd_relaxed(&mut self, op: &Operator<'_>) -> bool {
        use Operator as O;
        match *op {
            O::I8x16RelaxedSwizzle => {
                self.vector_binary(I8X16, |b, x, indices| b.swizzle(x, indices))
            }
            O::I32x4RelaxedTruncF32x4S => {
                self.vector_unary(F32X4, |b, x| b.fcvt_to_sint_sat(I32X4, x))
            }
            O::I32x4RelaxedTruncF32x4U => {
                self.vector_unary(F32X4, |b, x| b.fcvt_to_uint_sat(I32X4, x))
            }
            O::I32x4RelaxedTruncF64x2SZero => self.truncate_f64x2(Signed),
            O::I32x4RelaxedTruncF64x2UZero => self.truncate_f64x2(Unsigned),

            O::F32x4RelaxedMadd => self.multiply_add(F32X4),
            O::F64x2RelaxedMadd => self.multiply_add(F64X2),
            O::F32x4RelaxedNmadd => self.negated_multiply_add(F32X4),
            O::F64x2RelaxedNmadd => self.negated_multiply_add(F64X2),

            O::I8x16RelaxedLaneselect
            | O::I16x8RelaxedLaneselect
            | O::I32x4RelaxedLaneselect
            | O::I64x2RelaxedLaneselect => self.bit_select(),

            O::F32x4RelaxedMin => self.vector_binary(F32X4, |b, x, y| b.fmin(x, y)),
            O::F64x2RelaxedMin => self.vector_binary(F64X2, |b, x, y| b.fmin(x, y)),
            O::F32x4RelaxedMax => self.vector_binary(F32X4, |b, x, y| b.fmax(x, y)),
            O::F64x2RelaxedMax => self.vector_binary(F64X2, |b, x, y| b.fmax(x, y)),
            O::I16x8RelaxedQ15mulrS => self.vector_binary(I16X8, |b, x, y| b.sqmul_round_sat(x, y)),

            O::I16x8RelaxedDotI8x16I7x16S => {
                let (x, y) = self.pop_vectors(I8X16);
                let value = self.saturating_dot(x, y);
                self.push_vector(value);
            }
            O::I32x4RelaxedDotI8x16I7x16AddS => {
                let addend = self.pop_vector(I32X4);
                let (x, y) = self.pop_vectors(I8X16);
                let products = self.saturating_dot(x, y);
                let sums = self.sum_of_neighbours(products, Signed);
                let value = self.builder.ins().iadd(sums, addend);
                self.push_vector(value);
            }

            _ => return false,
        }
        true
    }

    /// The dot product of bytes: 16-bit products, whose neighbours are added with saturation. Only
    /// the sum of twice -128 * -128 = 2^15 does not fit. It wraps to -2^15, which is no other sum's
    /// value.
    fn saturating_dot(&mut self, x: Value, y: Value) -> Value {
        let sums = self.dot(x, y);
        let least = self.builder.ins().iconst(I16, i64::from(i16::MIN as u16));
        let least = self.builder.ins().splat(I16X8, least);
        let wrapped = self.builder.ins().icmp(IntCC::Equal, sums, least);
        self.builder.ins().bxor(sums, wrapped)
    }

    fn multiply_add(&mut self, shape: Type) {
        let z = self.pop_vector(shape);
        let (x, y) = self.pop_vectors(shape);
        let product = self.builder.ins().fmul(x, y);
        let value = self.builder.ins().fadd(product, z);
        self.push_vector(value);
    }

    /// Pushes `-(x * y) + z`. Negation is exact, so negating a factor gives the same as negating
    /// the product.
    fn negated_multiply_add(&mut self, shape: Type) {
        let z = self.pop_vector(shape);
        let (x, y) = self.pop_vectors(shape);
        let x = self.builder.ins().fneg(x);
        let product = self.builder.ins().fmul(x, y);
        let value = self.builder.ins().fadd(product, z);
        self.push_vector(value);
    }
}
