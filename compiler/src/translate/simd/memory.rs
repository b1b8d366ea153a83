//! Loads and stores of vectors and their lanes. As for every access,
//! [`bounds`](super::super::bounds) makes the addresses.

use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::types::{I8X16, I16X8, I32X4, I64X2};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value};
use cranelift_frontend::FuncInstBuilder;
use wasmparser::{MemArg, Operator};

use crate::translate::FuncTranslator;

impl<'b> FuncTranslator<'_, 'b> {
    /// Translates `op` if it is a vector load or store, and returns whether it was.
    pub(super) fn simd_memory(&mut self, op: &Operator<'_>) -> bool {
        use Operator as O;
        match op {
            O::V128Load { memarg } => {
                self.load_vector(memarg, 16, |b, f, p, o| b.load(I8X16, f, p, o))
            }
            O::V128Load8x8S { memarg } => {
                self.load_vector(memarg, 8, |b, f, p, o| b.sload8x8(f, p, o))
            }
            O::V128Load8x8U { memarg } => {
                self.load_vector(memarg, 8, |b, f, p, o| b.uload8x8(f, p, o))
            }
            O::V128Load16x4S { memarg } => {
                self.load_vector(memarg, 8, |b, f, p, o| b.sload16x4(f, p, o))
            }
            O::V128Load16x4U { memarg } => {
                self.load_vector(memarg, 8, |b, f, p, o| b.uload16x4(f, p, o))
            }
            O::V128Load32x2S { memarg } => {
                self.load_vector(memarg, 8, |b, f, p, o| b.sload32x2(f, p, o))
            }
            O::V128Load32x2U { memarg } => {
                self.load_vector(memarg, 8, |b, f, p, o| b.uload32x2(f, p, o))
            }

            O::V128Load8Splat { memarg } => self.load_splat(memarg, I8X16),
            O::V128Load16Splat { memarg } => self.load_splat(memarg, I16X8),
            O::V128Load32Splat { memarg } => self.load_splat(memarg, I32X4),
            O::V128Load64Splat { memarg } => self.load_splat(memarg, I64X2),
            O::V128Load32Zero { memarg } => self.load_zero(memarg, I32X4),
            O::V128Load64Zero { memarg } => self.load_zero(memarg, I64X2),

            O::V128Load8Lane { memarg, lane } => self.load_lane(memarg, I8X16, *lane),
            O::V128Load16Lane { memarg, lane } => self.load_lane(memarg, I16X8, *lane),
            O::V128Load32Lane { memarg, lane } => self.load_lane(memarg, I32X4, *lane),
            O::V128Load64Lane { memarg, lane } => self.load_lane(memarg, I64X2, *lane),

            O::V128Store { memarg } => self.store_vector(memarg),
            O::V128Store8Lane { memarg, lane } => self.store_lane(memarg, I8X16, *lane),
            O::V128Store16Lane { memarg, lane } => self.store_lane(memarg, I16X8, *lane),
            O::V128Store32Lane { memarg, lane } => self.store_lane(memarg, I32X4, *lane),
            O::V128Store64Lane { memarg, lane } => self.store_lane(memarg, I64X2, *lane),

            _ => return false,
        }
        true
    }

    /// Pushes the vector, of any shape, that `build` loads from `size` bytes.
    fn load_vector(
        &mut self,
        memarg: &MemArg,
        size: u32,
        build: impl FnOnce(FuncInstBuilder<'_, 'b>, MemFlagsData, Value, Offset32) -> Value,
    ) {
        let (address, flags, offset) = self.memory_access(memarg, size);
        let value = build(self.builder.ins(), flags, address, offset);
        self.push_vector(value);
    }

    /// Loads one lane of a vector of this shape.
    fn load_one(&mut self, memarg: &MemArg, shape: Type) -> Value {
        let lane = shape.lane_type();
        let (address, flags, offset) = self.memory_access(memarg, lane.bytes());
        self.builder.ins().load(lane, flags, address, offset)
    }

    fn load_splat(&mut self, memarg: &MemArg, shape: Type) {
        let lane = self.load_one(memarg, shape);
        let value = self.builder.ins().splat(shape, lane);
        self.push_vector(value);
    }

    fn load_zero(&mut self, memarg: &MemArg, shape: Type) {
        let lane = self.load_one(memarg, shape);
        let value = self.builder.ins().scalar_to_vector(shape, lane);
        self.push_vector(value);
    }

    fn load_lane(&mut self, memarg: &MemArg, shape: Type, lane: u8) {
        let vector = self.pop_vector(shape);
        let loaded = self.load_one(memarg, shape);
        let value = self.builder.ins().insertlane(vector, loaded, lane);
        self.push_vector(value);
    }

    fn store_vector(&mut self, memarg: &MemArg) {
        let value = self.pop();
        let (address, flags, offset) = self.memory_access(memarg, 16);
        self.builder.ins().store(flags, value, address, offset);
    }

    fn store_lane(&mut self, memarg: &MemArg, shape: Type, lane: u8) {
        let vector = self.pop_vector(shape);
        let value = self.builder.ins().extractlane(vector, lane);
        let (address, flags, offset) = self.memory_access(memarg, shape.lane_type().bytes());
        self.builder.ins().store(flags, value, address, offset);
    }
}
