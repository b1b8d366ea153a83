//! Vectors: how v128 values are passed, and operators on bits and lanes without arithmetic.
//! Arithmetic is in [`integer`] and [`float`], loads and stores are in [`memory`], relaxed
//! operators in [`relaxed`].
//!
//! Between operators every vector is an `I8X16`, whatever its lanes are: WebAssembly has one type
//! for vectors, Cranelift one for each shape. All of them use the same registers, so a cast between
//! them is a `bitcast` that costs no instruction.

mod float;
mod integer;
mod memory;
mod relaxed;

use cranelift_codegen::ir::types::{F32X4, F64X2, I8, I8X16, I16, I16X8, I32, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::Operator;

use super::FuncTranslator;
use super::numeric::Sign;

impl<'b> FuncTranslator<'_, 'b> {
    /// Translates `op` if it is a vector operator, and returns whether it was.
    pub(super) fn simd(&mut self, op: &Operator<'_>) -> bool {
        self.simd_lanes(op)
            || self.simd_integer(op)
            || self.simd_float(op)
            || self.simd_memory(op)
            || self.simd_relaxed(op)
    }

    /// Operators that move, select or test bits and lanes.
    fn simd_lanes(&mut self, op: &Operator<'_>) -> bool {
        use Operator as O;
        match *op {
            O::V128Const { value } => self.vector_constant(value.bytes()),

            O::I8x16Splat => self.splat(I8X16),
            O::I16x8Splat => self.splat(I16X8),
            O::I32x4Splat => self.splat(I32X4),
            O::I64x2Splat => self.splat(I64X2),
            O::F32x4Splat => self.splat(F32X4),
            O::F64x2Splat => self.splat(F64X2),

            O::I8x16ExtractLaneS { lane } => self.extract_narrow(I8X16, lane, Sign::Signed),
            O::I8x16ExtractLaneU { lane } => self.extract_narrow(I8X16, lane, Sign::Unsigned),
            O::I16x8ExtractLaneS { lane } => self.extract_narrow(I16X8, lane, Sign::Signed),
            O::I16x8ExtractLaneU { lane } => self.extract_narrow(I16X8, lane, Sign::Unsigned),
            O::I32x4ExtractLane { lane } => self.extract(I32X4, lane),
            O::I64x2ExtractLane { lane } => self.extract(I64X2, lane),
            O::F32x4ExtractLane { lane } => self.extract(F32X4, lane),
            O::F64x2ExtractLane { lane } => self.extract(F64X2, lane),

            O::I8x16ReplaceLane { lane } => self.replace(I8X16, lane),
            O::I16x8ReplaceLane { lane } => self.replace(I16X8, lane),
            O::I32x4ReplaceLane { lane } => self.replace(I32X4, lane),
            O::I64x2ReplaceLane { lane } => self.replace(I64X2, lane),
            O::F32x4ReplaceLane { lane } => self.replace(F32X4, lane),
            O::F64x2ReplaceLane { lane } => self.replace(F64X2, lane),

            O::I8x16Shuffle { lanes } => self.shuffle(lanes),
            O::I8x16Swizzle => self.vector_binary(I8X16, |b, x, indices| b.swizzle(x, indices)),

            O::V128Not => self.vector_unary(I8X16, |b, x| b.bnot(x)),
            O::V128And => self.vector_binary(I8X16, |b, x, y| b.band(x, y)),
            O::V128Or => self.vector_binary(I8X16, |b, x, y| b.bor(x, y)),
            O::V128Xor => self.vector_binary(I8X16, |b, x, y| b.bxor(x, y)),
            O::V128AndNot => self.and_not(),
            O::V128Bitselect => self.bit_select(),

            O::V128AnyTrue => self.vector_test(I8X16, |b, x| b.vany_true(x)),
            O::I8x16AllTrue => self.vector_test(I8X16, |b, x| b.vall_true(x)),
            O::I16x8AllTrue => self.vector_test(I16X8, |b, x| b.vall_true(x)),
            O::I32x4AllTrue => self.vector_test(I32X4, |b, x| b.vall_true(x)),
            O::I64x2AllTrue => self.vector_test(I64X2, |b, x| b.vall_true(x)),
            O::I8x16Bitmask => self.bitmask(I8X16),
            O::I16x8Bitmask => self.bitmask(I16X8),
            O::I32x4Bitmask => self.bitmask(I32X4),
            O::I64x2Bitmask => self.bitmask(I64X2),

            _ => return false,
        }
        true
    }

    /// Pops two vectors of this shape, in the order in which they were pushed.
    pub(super) fn pop_vectors(&mut self, shape: Type) -> (Value, Value) {
        let y = self.pop_vector(shape);
        (self.pop_vector(shape), y)
    }

    /// Pops a vector of the given shape, and pushes one of any shape.
    pub(super) fn vector_unary(
        &mut self,
        shape: Type,
        build: impl FnOnce(FuncInstBuilder<'_, 'b>, Value) -> Value,
    ) {
        let x = self.pop_vector(shape);
        let value = build(self.builder.ins(), x);
        self.push_vector(value);
    }

    /// Pops two vectors of the given shape, and pushes one of any shape.
    pub(super) fn vector_binary(
        &mut self,
        shape: Type,
        build: impl FnOnce(FuncInstBuilder<'_, 'b>, Value, Value) -> Value,
    ) {
        let (x, y) = self.pop_vectors(shape);
        let value = build(self.builder.ins(), x, y);
        self.push_vector(value);
    }

    /// Pops a vector, and pushes a truth value.
    fn vector_test(
        &mut self,
        shape: Type,
        build: impl FnOnce(FuncInstBuilder<'_, 'b>, Value) -> Value,
    ) {
        let x = self.pop_vector(shape);
        let truth = build(self.builder.ins(), x);
        self.push_bool(truth);
    }

    fn vector_constant(&mut self, bytes: &[u8; 16]) {
        let constant = self
            .builder
            .func
            .dfg
            .constants
            .insert(bytes.as_slice().into());
        let value = self.builder.ins().vconst(I8X16, constant);
        self.push(value);
    }

    /// A vector of zeros.
    pub(super) fn zero_vector(&mut self, shape: Type) -> Value {
        let constant = self
            .builder
            .func
            .dfg
            .constants
            .insert([0; 16].as_slice().into());
        self.builder.ins().vconst(shape, constant)
    }

    fn splat(&mut self, shape: Type) {
        let x = self.pop();
        let lane = self.narrow_to_lane(x, shape);
        let value = self.builder.ins().splat(shape, lane);
        self.push_vector(value);
    }

    /// Reduces an i32 to a lane of 8 or 16 bits; a value for a wider lane is unchanged.
    fn narrow_to_lane(&mut self, x: Value, shape: Type) -> Value {
        match shape.lane_type() {
            lane @ (I8 | I16) => self.builder.ins().ireduce(lane, x),
            _ => x,
        }
    }

    fn extract(&mut self, shape: Type, lane: u8) {
        let x = self.pop_vector(shape);
        let value = self.builder.ins().extractlane(x, lane);
        self.push(value);
    }

    fn extract_narrow(&mut self, shape: Type, lane: u8, sign: Sign) {
        let x = self.pop_vector(shape);
        let value = self.builder.ins().extractlane(x, lane);
        let value = match sign {
            Sign::Signed => self.builder.ins().sextend(I32, value),
            Sign::Unsigned => self.builder.ins().uextend(I32, value),
        };
        self.push(value);
    }

    fn replace(&mut self, shape: Type, lane: u8) {
        let x = self.pop();
        let x = self.narrow_to_lane(x, shape);
        let vector = self.pop_vector(shape);
        let value = self.builder.ins().insertlane(vector, x, lane);
        self.push_vector(value);
    }

    fn shuffle(&mut self, lanes: [u8; 16]) {
        let lanes = self
            .builder
            .func
            .dfg
            .immediates
            .push(lanes.as_slice().into());
        self.vector_binary(I8X16, |b, x, y| b.shuffle(x, y, lanes));
    }

    /// `x & !y`.
    fn and_not(&mut self) {
        let (x, y) = self.pop_vectors(I8X16);
        let not_y = self.builder.ins().bnot(y);
        let value = self.builder.ins().band(x, not_y);
        self.push_vector(value);
    }

    /// Pushes bits of `x` where the mask has ones, and of `y` where it has zeros. The operation has
    /// the mask's shape, because Cranelift blends whole lanes if it sees that a comparison made the
    /// mask.
    pub(super) fn bit_select(&mut self) {
        let mask = self.pop();
        let mask = self.before_cast(mask);
        let shape = self.builder.func.dfg.value_type(mask);
        let (x, y) = self.pop_vectors(shape);
        let value = self.builder.ins().bitselect(mask, x, y);
        self.push_vector(value);
    }

    /// Pushes the sign bits of the lanes, lane 0 in bit 0.
    fn bitmask(&mut self, shape: Type) {
        let x = self.pop_vector(shape);
        let value = self.builder.ins().vhigh_bits(I32, x);
        self.push(value);
    }
}
