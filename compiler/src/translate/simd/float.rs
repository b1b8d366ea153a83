//! Arithmetic and conversions of float vectors.
//!
//! `min` and `max` give NaN if either operand is NaN, and order the zeros, as Cranelift's do.
//! `pmin` and `pmax` are `y < x ? y : x` and `x < y ? y : x`, so a NaN in either operand gives `x`,
//! as do two zeros. Cranelift turns the pattern below into `minps` and the like.
//!
//! Conversions between f64x2 and i32x4 go through i64x2, in exactly the patterns that Cranelift's
//! backends match: x86-64 has no rules for their parts.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32X4, F64X2, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use wasmparser::Operator;

use crate::translate::FuncTranslator;
use crate::translate::numeric::Sign::{self, Signed, Unsigned};

impl FuncTranslator<'_, '_> {
    /// Translates `op` if it is an operator of float vectors, and returns whether it was.
    pub(super) fn simd_float(&mut self, op: &Operator<'_>) -> bool {
        use Operator as O;
        match *op {
            O::F32x4Eq => self.vector_fcmp(F32X4, FloatCC::Equal),
            O::F64x2Eq => self.vector_fcmp(F64X2, FloatCC::Equal),
            O::F32x4Ne => self.vector_fcmp(F32X4, FloatCC::NotEqual),
            O::F64x2Ne => self.vector_fcmp(F64X2, FloatCC::NotEqual),
            O::F32x4Lt => self.vector_fcmp(F32X4, FloatCC::LessThan),
            O::F64x2Lt => self.vector_fcmp(F64X2, FloatCC::LessThan),
            O::F32x4Gt => self.vector_fcmp(F32X4, FloatCC::GreaterThan),
            O::F64x2Gt => self.vector_fcmp(F64X2, FloatCC::GreaterThan),
            O::F32x4Le => self.vector_fcmp(F32X4, FloatCC::LessThanOrEqual),
            O::F64x2Le => self.vector_fcmp(F64X2, FloatCC::LessThanOrEqual),
            O::F32x4Ge => self.vector_fcmp(F32X4, FloatCC::GreaterThanOrEqual),
            O::F64x2Ge => self.vector_fcmp(F64X2, FloatCC::GreaterThanOrEqual),

            O::F32x4Abs => self.vector_unary(F32X4, |b, x| b.fabs(x)),
            O::F64x2Abs => self.vector_unary(F64X2, |b, x| b.fabs(x)),
            O::F32x4Neg => self.vector_unary(F32X4, |b, x| b.fneg(x)),
            O::F64x2Neg => self.vector_unary(F64X2, |b, x| b.fneg(x)),
            O::F32x4Sqrt => self.vector_unary(F32X4, |b, x| b.sqrt(x)),
            O::F64x2Sqrt => self.vector_unary(F64X2, |b, x| b.sqrt(x)),
            O::F32x4Ceil => self.vector_unary(F32X4, |b, x| b.ceil(x)),
            O::F64x2Ceil => self.vector_unary(F64X2, |b, x| b.ceil(x)),
            O::F32x4Floor => self.vector_unary(F32X4, |b, x| b.floor(x)),
            O::F64x2Floor => self.vector_unary(F64X2, |b, x| b.floor(x)),
            O::F32x4Trunc => self.vector_unary(F32X4, |b, x| b.trunc(x)),
            O::F64x2Trunc => self.vector_unary(F64X2, |b, x| b.trunc(x)),
            O::F32x4Nearest => self.vector_unary(F32X4, |b, x| b.nearest(x)),
            O::F64x2Nearest => self.vector_unary(F64X2, |b, x| b.nearest(x)),

            O::F32x4Add => self.vector_binary(F32X4, |b, x, y| b.fadd(x, y)),
            O::F64x2Add => self.vector_binary(F64X2, |b, x, y| b.fadd(x, y)),
            O::F32x4Sub => self.vector_binary(F32X4, |b, x, y| b.fsub(x, y)),
            O::F64x2Sub => self.vector_binary(F64X2, |b, x, y| b.fsub(x, y)),
            O::F32x4Mul => self.vector_binary(F32X4, |b, x, y| b.fmul(x, y)),
            O::F64x2Mul => self.vector_binary(F64X2, |b, x, y| b.fmul(x, y)),
            O::F32x4Div => self.vector_binary(F32X4, |b, x, y| b.fdiv(x, y)),
            O::F64x2Div => self.vector_binary(F64X2, |b, x, y| b.fdiv(x, y)),
            O::F32x4Min => self.vector_binary(F32X4, |b, x, y| b.fmin(x, y)),
            O::F64x2Min => self.vector_binary(F64X2, |b, x, y| b.fmin(x, y)),
            O::F32x4Max => self.vector_binary(F32X4, |b, x, y| b.fmax(x, y)),
            O::F64x2Max => self.vector_binary(F64X2, |b, x, y| b.fmax(x, y)),
            O::F32x4PMin => self.pseudo_min(F32X4),
            O::F64x2PMin => self.pseudo_min(F64X2),
            O::F32x4PMax => self.pseudo_max(F32X4),
            O::F64x2PMax => self.pseudo_max(F64X2),

            O::I32x4TruncSatF32x4S => self.vector_unary(F32X4, |b, x| b.fcvt_to_sint_sat(I32X4, x)),
            O::I32x4TruncSatF32x4U => self.vector_unary(F32X4, |b, x| b.fcvt_to_uint_sat(I32X4, x)),
            O::I32x4TruncSatF64x2SZero => self.truncate_f64x2(Signed),
            O::I32x4TruncSatF64x2UZero => self.truncate_f64x2(Unsigned),
            O::F32x4ConvertI32x4S => self.vector_unary(I32X4, |b, x| b.fcvt_from_sint(F32X4, x)),
            O::F32x4ConvertI32x4U => self.vector_unary(I32X4, |b, x| b.fcvt_from_uint(F32X4, x)),
            O::F64x2ConvertLowI32x4S => self.convert_low_i32x4(Signed),
            O::F64x2ConvertLowI32x4U => self.convert_low_i32x4(Unsigned),
            O::F32x4DemoteF64x2Zero => self.vector_unary(F64X2, |b, x| b.fvdemote(x)),
            O::F64x2PromoteLowF32x4 => self.vector_unary(F32X4, |b, x| b.fvpromote_low(x)),

            _ => return false,
        }
        true
    }

    fn vector_fcmp(&mut self, shape: Type, condition: FloatCC) {
        self.vector_binary(shape, |b, x, y| b.fcmp(condition, x, y));
    }

    fn pseudo_min(&mut self, shape: Type) {
        let (x, y) = self.pop_vectors(shape);
        let less = self.builder.ins().fcmp(FloatCC::LessThan, y, x);
        self.select_lanes(less, y, x);
    }

    fn pseudo_max(&mut self, shape: Type) {
        let (x, y) = self.pop_vectors(shape);
        let less = self.builder.ins().fcmp(FloatCC::LessThan, x, y);
        self.select_lanes(less, y, x);
    }

    /// Pushes lanes of `x` where `mask` has ones, and of `y` where it has zeros.
    fn select_lanes(&mut self, mask: Value, x: Value, y: Value) {
        let shape = self.builder.func.dfg.value_type(x);
        let mask = self.cast_vector(mask, shape);
        let value = self.builder.ins().bitselect(mask, x, y);
        self.push_vector(value);
    }

    /// Pushes the f64 lanes as saturated i32 lanes 0 and 1; lanes 2 and 3 are zero.
    pub(super) fn truncate_f64x2(&mut self, sign: Sign) {
        let x = self.pop_vector(F64X2);
        let zero = self.zero_vector(I64X2);
        let ins = self.builder.ins();
        let value = match sign {
            Signed => {
                let wide = ins.fcvt_to_sint_sat(I64X2, x);
                self.builder.ins().snarrow(wide, zero)
            }
            Unsigned => {
                let wide = ins.fcvt_to_uint_sat(I64X2, x);
                self.builder.ins().uunarrow(wide, zero)
            }
        };
        self.push_vector(value);
    }

    fn convert_low_i32x4(&mut self, sign: Sign) {
        let x = self.pop_vector(I32X4);
        let value = match sign {
            Signed => {
                let wide = self.builder.ins().swiden_low(x);
                self.builder.ins().fcvt_from_sint(F64X2, wide)
            }
            Unsigned => {
                let wide = self.builder.ins().uwiden_low(x);
                self.builder.ins().fcvt_from_uint(F64X2, wide)
            }
        };
        self.push_vector(value);
    }
}
