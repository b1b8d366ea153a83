//! Rounding floats to integers on CPUs without an instruction for it (x86-64 before SSE4.1).
//!
//! Cranelift calls a function on such CPUs. The artifact contains this function, because a routine
//! of the loader would need a slot of the GOT: every module that rounds would then have
//! pages to patch when it is opened.
//!
//! Floats of at least `2^52` (f32: `2^23`) are already integers. Adding that number to a smaller
//! float leaves no room for a fraction, so the sum is rounded to the nearest integer, ties to even,
//! and subtracting the number again is exact. The other roundings differ from that by at most one.
//! The result has the sign of the operand, even if it is zero. See WebAssembly, "Numerics", `fceil`
//! and others.

use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::types::{F32, F64};
use cranelift_codegen::ir::{BlockArg, InstBuilder, Type, Value};
use cranelift_frontend::FunctionBuilder;

use crate::symbol::{Float, Rounding};

impl Float {
    pub(crate) fn clif_type(self) -> Type {
        match self {
            Self::F32 => F32,
            Self::F64 => F64,
        }
    }
}

/// Rounds `x` and returns from the function.
pub(crate) fn round_and_return(b: &mut FunctionBuilder<'_>, how: Rounding, ty: Float, x: Value) {
    let constant = |b: &mut FunctionBuilder<'_>, value: f32| match ty {
        Float::F32 => b.ins().f32const(value),
        Float::F64 => b.ins().f64const(f64::from(value)),
    };
    // Powers of two up to 2^52 are exact in an f32.
    let integers_from = constant(
        b,
        match ty {
            Float::F32 => (1_u64 << 23) as f32,
            Float::F64 => (1_u64 << 52) as f32,
        },
    );
    let one = constant(b, 1.0);
    let zero = constant(b, 0.0);
    let result = b.create_block();
    b.append_block_param(result, ty.clif_type());
    let small = b.create_block();
    let integer = b.create_block();
    let magnitude = b.ins().fabs(x);
    let is_small = b.ins().fcmp(FloatCC::LessThan, magnitude, integers_from);
    b.ins().brif(is_small, small, &[], integer, &[]);
    for block in [small, integer] {
        b.seal_block(block);
    }

    b.switch_to_block(integer);
    // The multiplication makes a signalling NaN a quiet one.
    let same = b.ins().fmul(x, one);
    b.ins().jump(result, &[BlockArg::Value(same)]);

    b.switch_to_block(small);
    let sum = b.ins().fadd(magnitude, integers_from);
    let nearest = b.ins().fsub(sum, integers_from);
    let step = |b: &mut FunctionBuilder<'_>, off: Value| b.ins().select(off, one, zero);
    let rounded = match how {
        Rounding::Nearest => nearest,
        Rounding::Trunc => {
            let above = b.ins().fcmp(FloatCC::GreaterThan, nearest, magnitude);
            let step = step(b, above);
            b.ins().fsub(nearest, step)
        }
        Rounding::Floor => {
            let nearest = b.ins().fcopysign(nearest, x);
            let above = b.ins().fcmp(FloatCC::GreaterThan, nearest, x);
            let step = step(b, above);
            b.ins().fsub(nearest, step)
        }
        Rounding::Ceil => {
            let nearest = b.ins().fcopysign(nearest, x);
            let below = b.ins().fcmp(FloatCC::LessThan, nearest, x);
            let step = step(b, below);
            b.ins().fadd(nearest, step)
        }
    };
    let signed = b.ins().fcopysign(rounded, x);
    b.ins().jump(result, &[BlockArg::Value(signed)]);

    b.seal_block(result);
    b.switch_to_block(result);
    let value = b.block_params(result)[0];
    b.ins().return_(&[value]);
}
