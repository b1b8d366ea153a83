//! Scalar numbers: constants, arithmetic, comparisons and conversions of i32, i64, f32 and f64.
//!
//! Nearly every operator is one Cranelift instruction with the same meaning, so the arms below are
//! one line each. There are two exceptions:
//!
//! - Comparisons give an i8 in Cranelift and an i32 in WebAssembly.
//! - Division and float-to-integer conversion trap. If instructions may trap by themselves,
//!   Cranelift's own instructions are used unchanged. They trap with its codes
//!   `INTEGER_DIVISION_BY_ZERO`, `INTEGER_OVERFLOW` and `BAD_CONVERSION_TO_INTEGER`, on x86-64
//!   partly as the CPU's divide error (SIGFPE). If traps are calls
//!   ([`Strategy::Checked`](precast_artifact::Strategy::Checked)), explicit checks come first,
//!   after which the instruction cannot trap.
//!
//! NaN results keep the payload that the hardware gives, because the specification leaves it open.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::types::{F32, F64, I8, I16, I32, I64};
use cranelift_codegen::ir::{
    Endianness, InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value, ValueDef,
};
use cranelift_frontend::FuncInstBuilder;
use precast_artifact::TrapCode;
use wasmparser::Operator;

use super::FuncTranslator;

/// Whether an integer operation reads its operands as signed or unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Signed,
    Unsigned,
}
use Sign::{Signed, Unsigned};

const TWO_31: f64 = 2_147_483_648.0;
const TWO_32: f64 = 4_294_967_296.0;

/// Flags of a `bitcast` between types with different lanes: WebAssembly's byte order.
fn little_endian() -> MemFlagsData {
    MemFlagsData::new().with_endianness(Endianness::Little)
}

impl<'b> FuncTranslator<'_, 'b> {
    /// Translates `op` if it is a scalar numeric operator, and returns whether it was.
    pub(super) fn numeric(&mut self, op: &Operator<'_>) -> bool {
        use Operator as O;
        match *op {
            O::I32Const { value } => self.nullary(|b| b.iconst(I32, i64::from(value))),
            O::I64Const { value } => self.nullary(|b| b.iconst(I64, value)),
            O::F32Const { value } => self.nullary(|b| b.f32const(Ieee32::with_bits(value.bits()))),
            O::F64Const { value } => self.nullary(|b| b.f64const(Ieee64::with_bits(value.bits()))),

            O::I32Eqz | O::I64Eqz => self.eqz(),
            O::I32Eq | O::I64Eq => self.icmp(IntCC::Equal),
            O::I32Ne | O::I64Ne => self.icmp(IntCC::NotEqual),
            O::I32LtS | O::I64LtS => self.icmp(IntCC::SignedLessThan),
            O::I32LtU | O::I64LtU => self.icmp(IntCC::UnsignedLessThan),
            O::I32GtS | O::I64GtS => self.icmp(IntCC::SignedGreaterThan),
            O::I32GtU | O::I64GtU => self.icmp(IntCC::UnsignedGreaterThan),
            O::I32LeS | O::I64LeS => self.icmp(IntCC::SignedLessThanOrEqual),
            O::I32LeU | O::I64LeU => self.icmp(IntCC::UnsignedLessThanOrEqual),
            O::I32GeS | O::I64GeS => self.icmp(IntCC::SignedGreaterThanOrEqual),
            O::I32GeU | O::I64GeU => self.icmp(IntCC::UnsignedGreaterThanOrEqual),

            O::F32Eq | O::F64Eq => self.fcmp(FloatCC::Equal),
            O::F32Ne | O::F64Ne => self.fcmp(FloatCC::NotEqual),
            O::F32Lt | O::F64Lt => self.fcmp(FloatCC::LessThan),
            O::F32Gt | O::F64Gt => self.fcmp(FloatCC::GreaterThan),
            O::F32Le | O::F64Le => self.fcmp(FloatCC::LessThanOrEqual),
            O::F32Ge | O::F64Ge => self.fcmp(FloatCC::GreaterThanOrEqual),

            O::I32Clz | O::I64Clz => self.unary(|b, x| b.clz(x)),
            O::I32Ctz | O::I64Ctz => self.unary(|b, x| b.ctz(x)),
            O::I32Popcnt | O::I64Popcnt => self.unary(|b, x| b.popcnt(x)),
            O::I32Add | O::I64Add => self.binary(|b, x, y| b.iadd(x, y)),
            O::I32Sub | O::I64Sub => self.binary(|b, x, y| b.isub(x, y)),
            O::I32Mul | O::I64Mul => self.binary(|b, x, y| b.imul(x, y)),
            O::I32DivS | O::I64DivS => self.divide(Signed),
            O::I32DivU | O::I64DivU => self.divide(Unsigned),
            O::I32RemS | O::I64RemS => self.remainder(Signed),
            O::I32RemU | O::I64RemU => self.remainder(Unsigned),
            O::I32And | O::I64And => self.binary(|b, x, y| b.band(x, y)),
            O::I32Or | O::I64Or => self.binary(|b, x, y| b.bor(x, y)),
            O::I32Xor | O::I64Xor => self.binary(|b, x, y| b.bxor(x, y)),
            O::I32Shl | O::I64Shl => self.binary(|b, x, y| b.ishl(x, y)),
            O::I32ShrS | O::I64ShrS => self.binary(|b, x, y| b.sshr(x, y)),
            O::I32ShrU | O::I64ShrU => self.binary(|b, x, y| b.ushr(x, y)),
            O::I32Rotl | O::I64Rotl => self.binary(|b, x, y| b.rotl(x, y)),
            O::I32Rotr | O::I64Rotr => self.binary(|b, x, y| b.rotr(x, y)),

            O::F32Abs | O::F64Abs => self.unary(|b, x| b.fabs(x)),
            O::F32Neg | O::F64Neg => self.unary(|b, x| b.fneg(x)),
            O::F32Ceil | O::F64Ceil => self.unary(|b, x| b.ceil(x)),
            O::F32Floor | O::F64Floor => self.unary(|b, x| b.floor(x)),
            O::F32Trunc | O::F64Trunc => self.unary(|b, x| b.trunc(x)),
            O::F32Nearest | O::F64Nearest => self.unary(|b, x| b.nearest(x)),
            O::F32Sqrt | O::F64Sqrt => self.unary(|b, x| b.sqrt(x)),
            O::F32Add | O::F64Add => self.binary(|b, x, y| b.fadd(x, y)),
            O::F32Sub | O::F64Sub => self.binary(|b, x, y| b.fsub(x, y)),
            O::F32Mul | O::F64Mul => self.binary(|b, x, y| b.fmul(x, y)),
            O::F32Div | O::F64Div => self.binary(|b, x, y| b.fdiv(x, y)),
            O::F32Min | O::F64Min => self.binary(|b, x, y| b.fmin(x, y)),
            O::F32Max | O::F64Max => self.binary(|b, x, y| b.fmax(x, y)),
            O::F32Copysign | O::F64Copysign => self.binary(|b, x, y| b.fcopysign(x, y)),

            O::I32WrapI64 => self.unary(|b, x| b.ireduce(I32, x)),
            O::I64ExtendI32S => self.unary(|b, x| b.sextend(I64, x)),
            O::I64ExtendI32U => self.unary(|b, x| b.uextend(I64, x)),
            O::I32Extend8S => self.sign_extend(I8, I32),
            O::I32Extend16S => self.sign_extend(I16, I32),
            O::I64Extend8S => self.sign_extend(I8, I64),
            O::I64Extend16S => self.sign_extend(I16, I64),
            O::I64Extend32S => self.sign_extend(I32, I64),

            O::I32TruncF32S | O::I32TruncF64S => self.truncate(I32, Signed),
            O::I32TruncF32U | O::I32TruncF64U => self.truncate(I32, Unsigned),
            O::I64TruncF32S | O::I64TruncF64S => self.truncate(I64, Signed),
            O::I64TruncF32U | O::I64TruncF64U => self.truncate(I64, Unsigned),
            O::I32TruncSatF32S | O::I32TruncSatF64S => {
                self.unary(|b, x| b.fcvt_to_sint_sat(I32, x))
            }
            O::I32TruncSatF32U | O::I32TruncSatF64U => {
                self.unary(|b, x| b.fcvt_to_uint_sat(I32, x))
            }
            O::I64TruncSatF32S | O::I64TruncSatF64S => {
                self.unary(|b, x| b.fcvt_to_sint_sat(I64, x))
            }
            O::I64TruncSatF32U | O::I64TruncSatF64U => {
                self.unary(|b, x| b.fcvt_to_uint_sat(I64, x))
            }

            O::F32ConvertI32S | O::F32ConvertI64S => self.unary(|b, x| b.fcvt_from_sint(F32, x)),
            O::F32ConvertI32U | O::F32ConvertI64U => self.unary(|b, x| b.fcvt_from_uint(F32, x)),
            O::F64ConvertI32S | O::F64ConvertI64S => self.unary(|b, x| b.fcvt_from_sint(F64, x)),
            O::F64ConvertI32U | O::F64ConvertI64U => self.unary(|b, x| b.fcvt_from_uint(F64, x)),
            O::F32DemoteF64 => self.unary(|b, x| b.fdemote(F32, x)),
            O::F64PromoteF32 => self.unary(|b, x| b.fpromote(F64, x)),

            O::I32ReinterpretF32 => self.unary(|b, x| b.bitcast(I32, little_endian(), x)),
            O::I64ReinterpretF64 => self.unary(|b, x| b.bitcast(I64, little_endian(), x)),
            O::F32ReinterpretI32 => self.unary(|b, x| b.bitcast(F32, little_endian(), x)),
            O::F64ReinterpretI64 => self.unary(|b, x| b.bitcast(F64, little_endian(), x)),

            _ => return false,
        }
        true
    }

    fn nullary(&mut self, build: impl FnOnce(FuncInstBuilder<'_, 'b>) -> Value) {
        let value = build(self.builder.ins());
        self.push(value);
    }

    fn unary(&mut self, build: impl FnOnce(FuncInstBuilder<'_, 'b>, Value) -> Value) {
        let x = self.pop();
        let value = build(self.builder.ins(), x);
        self.push(value);
    }

    fn binary(&mut self, build: impl FnOnce(FuncInstBuilder<'_, 'b>, Value, Value) -> Value) {
        let (x, y) = self.pop2();
        let value = build(self.builder.ins(), x, y);
        self.push(value);
    }

    /// Pushes an i8 truth value as the i32 that WebAssembly specifies.
    pub(super) fn push_bool(&mut self, truth: Value) {
        let value = self.builder.ins().uextend(I32, truth);
        self.push(value);
    }

    fn eqz(&mut self) {
        let x = self.pop();
        let truth = self.builder.ins().icmp_imm_u(IntCC::Equal, x, 0);
        self.push_bool(truth);
    }

    fn icmp(&mut self, condition: IntCC) {
        let (x, y) = self.pop2();
        let truth = self.builder.ins().icmp(condition, x, y);
        self.push_bool(truth);
    }

    fn fcmp(&mut self, condition: FloatCC) {
        let (x, y) = self.pop2();
        let truth = self.builder.ins().fcmp(condition, x, y);
        self.push_bool(truth);
    }

    /// Sign-extends the low bits of `from` inside a value of type `ty`.
    fn sign_extend(&mut self, from: Type, ty: Type) {
        let x = self.pop();
        let low = self.builder.ins().ireduce(from, x);
        let value = self.builder.ins().sextend(ty, low);
        self.push(value);
    }

    fn divide(&mut self, sign: Sign) {
        let (x, y) = self.pop2();
        self.check_divisor(y);
        if sign == Signed {
            self.check_quotient(x, y);
        }
        let value = match sign {
            Signed => self.builder.ins().sdiv(x, y),
            Unsigned => self.builder.ins().udiv(x, y),
        };
        self.push(value);
    }

    /// Pushes the remainder. That of the least integer and -1 is 0, in WebAssembly as in Cranelift.
    fn remainder(&mut self, sign: Sign) {
        let (x, y) = self.pop2();
        self.check_divisor(y);
        let value = match sign {
            Signed => self.builder.ins().srem(x, y),
            Unsigned => self.builder.ins().urem(x, y),
        };
        self.push(value);
    }

    /// Checks that `divisor` is not zero, if traps are calls and it may be zero.
    fn check_divisor(&mut self, divisor: Value) {
        if self.traps_by_signal() || self.constant(divisor).is_some_and(|n| n != 0) {
            return;
        }
        self.trapz(divisor, TrapCode::IntegerDivisionByZero);
    }

    /// Checks that the quotient is not 2^31 or 2^63, if traps are calls and it may be. Only the
    /// least integer divided by -1 gives this quotient.
    fn check_quotient(&mut self, dividend: Value, divisor: Value) {
        if self.traps_by_signal() || self.constant(divisor).is_some_and(|n| n != -1) {
            return;
        }
        let min = match self.builder.func.dfg.value_type(dividend) {
            I32 => i64::from(i32::MIN),
            _ => i64::MIN,
        };
        let smallest = self.builder.ins().icmp_imm_s(IntCC::Equal, dividend, min);
        let minus_one = self.builder.ins().icmp_imm_s(IntCC::Equal, divisor, -1);
        let overflow = self.builder.ins().band(smallest, minus_one);
        self.trapnz(overflow, TrapCode::IntegerOverflow);
    }

    /// The number of a value that is an `iconst`.
    pub(super) fn constant(&self, value: Value) -> Option<i64> {
        let dfg = &self.builder.func.dfg;
        let ValueDef::Result(inst, _) = dfg.value_def(value) else {
            return None;
        };
        let InstructionData::UnaryImm {
            opcode: Opcode::Iconst,
            imm,
        } = dfg.insts[inst]
        else {
            return None;
        };
        Some(match dfg.value_type(value) {
            I32 => i64::from(imm.bits() as i32),
            _ => imm.bits(),
        })
    }

    /// Converts a float to an integer; traps if the result does not fit.
    fn truncate(&mut self, to: Type, sign: Sign) {
        let x = self.pop();
        let cannot_trap = self.is_whole_number(x, to, sign);
        let value = match (self.traps_by_signal(), sign, to) {
            (false, Signed, _) if cannot_trap => self.builder.ins().fcvt_to_sint_sat(to, x),
            (false, Unsigned, _) if cannot_trap => self.builder.ins().fcvt_to_uint_sat(to, x),
            (true, Signed, _) => self.builder.ins().fcvt_to_sint(to, x),
            (true, Unsigned, _) => self.builder.ins().fcvt_to_uint(to, x),
            (false, _, I32) => self.truncate_through_64(x, sign),
            // After the checks these give the same result, and they do not trap.
            (false, Signed, _) => {
                self.check_truncation(x, sign);
                self.builder.ins().fcvt_to_sint_sat(to, x)
            }
            (false, Unsigned, _) => {
                self.check_truncation(x, sign);
                self.builder.ins().fcvt_to_uint_sat(to, x)
            }
        };
        self.push(value);
    }

    /// Whether `x` was converted from an integer of 32 bits, and fits in `to`.
    fn is_whole_number(&self, x: Value, to: Type, sign: Sign) -> bool {
        let dfg = &self.builder.func.dfg;
        let Some(inst) = dfg.value_def(x).inst() else {
            return false;
        };
        let InstructionData::Unary { opcode, arg } = dfg.insts[inst] else {
            return false;
        };
        // An f32 may have been rounded up to 2^31 or 2^32, which still fits in an i64.
        let is_exact = dfg.value_type(x) == F64 || to == I64;
        let fits = match (opcode, sign) {
            (Opcode::FcvtFromSint, Signed) | (Opcode::FcvtFromUint, Unsigned) => true,
            (Opcode::FcvtFromUint, Signed) => to == I64,
            _ => false,
        };
        fits && is_exact && dfg.value_type(arg) == I32
    }

    /// Converts a float to an integer of 64 bits, and that integer to an i32. Traps unless both are
    /// the same number. A float that does not fit into 64 bits becomes the least or greatest 64-bit
    /// integer, which does not fit into 32 bits either.
    fn truncate_through_64(&mut self, x: Value, sign: Sign) -> Value {
        self.check_number(x);
        let wide = self.builder.ins().fcvt_to_sint_sat(I64, x);
        let value = self.builder.ins().ireduce(I32, wide);
        let same = match sign {
            Signed => self.builder.ins().sextend(I64, value),
            Unsigned => self.builder.ins().uextend(I64, value),
        };
        let overflow = self.builder.ins().icmp(IntCC::NotEqual, same, wide);
        self.trapnz(overflow, TrapCode::IntegerOverflow);
        value
    }

    /// Traps if `x` is not a number.
    fn check_number(&mut self, x: Value) {
        let nan = self.builder.ins().fcmp(FloatCC::Unordered, x, x);
        self.trapnz(nan, TrapCode::BadConversionToInteger);
    }

    /// Traps unless `x`, rounded towards zero, is in the range of an i64.
    fn check_truncation(&mut self, x: Value, sign: Sign) {
        self.check_number(x);
        // One more than the greatest integer is a power of two, so it is exact. One less than the
        // least signed integer is not exact, but no float is between it and the least integer, so
        // the comparison is with the least integer itself.
        let (below, low, high) = match sign {
            Unsigned => (FloatCC::LessThanOrEqual, -1.0, TWO_32 * TWO_32),
            Signed => (FloatCC::LessThan, -TWO_31 * TWO_32, TWO_31 * TWO_32),
        };
        let from = self.builder.func.dfg.value_type(x);
        let low = self.float_constant(from, low);
        let high = self.float_constant(from, high);
        let under = self.builder.ins().fcmp(below, x, low);
        let over = self
            .builder
            .ins()
            .fcmp(FloatCC::GreaterThanOrEqual, x, high);
        let overflow = self.builder.ins().bor(under, over);
        self.trapnz(overflow, TrapCode::IntegerOverflow);
    }

    /// A constant of type f32 or f64; `number` is exact in both.
    fn float_constant(&mut self, ty: Type, number: f64) -> Value {
        match ty {
            F32 => self.builder.ins().f32const(number as f32),
            _ => self.builder.ins().f64const(number),
        }
    }
}
