//! # This file is the sandbox
//!
//! The only place that turns a wasm address into a native one. A mistake here lets a guest read or
//! write the host's memory: change nothing without a second pair of eyes and the tests in
//! `compiler/tests`.
//!
//! An access of `size` bytes at `index + offset` of a memory with `len` bytes must trap when
//! `index + offset + size > len`, computed without wrapping. Every path below upholds one of:
//!
//! 1. **[Guarded](precast_artifact::Strategy::guards) memory, `offset + size <= GUARDED_OFFSET_LIMIT`**: no check. `index` is zero
//!    extended, so `index + offset + size <= 2^32 - 1 + GUARDED_OFFSET_LIMIT`, which is less than
//!    [`GUARDED_RESERVATION`](precast_artifact::abi::GUARDED_RESERVATION): the access lies in the
//!    reservation, of which exactly the first `len` bytes are accessible.
//! 2. **Everything else**: an explicit comparison with `len`, before the access. `end = index +
//!    (offset + size)` cannot wrap for a 32-bit index (the sum is below 2^34); for a 64-bit index
//!    the carry is checked as well. When Cranelift's Spectre mitigation is enabled, the address is
//!    replaced by null on the mispredicted path.
//!
//! An access that the second rule has checked cannot fault, for `len` never shrinks. It keeps the
//! trap code of the others, so that Cranelift never moves it away from its check.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData, Value};
use precast_artifact::TrapCode;
use precast_artifact::abi::GUARDED_OFFSET_LIMIT;
use wasmparser::{MemArg, MemArgTarget};

use super::FuncTranslator;
use super::state::Region;
use crate::key::MemoryIndex;

impl FuncTranslator<'_, '_> {
    /// Pops the index operand and gives what an access of `size` bytes there needs: native address,
    /// flags, and the static offset to put into the instruction. The check, if one is needed, has
    /// been emitted when this returns.
    pub(crate) fn memory_access(
        &mut self,
        memarg: &MemArg,
        size: u32,
    ) -> (Value, MemFlagsData, Offset32) {
        let MemArgTarget::Memory(memory) = memarg.target else {
            unreachable!("the validator refuses arrays")
        };
        let memory = MemoryIndex::from_u32(memory);
        let index = self.pop();
        let is_64 = self.env.module.memories[memory].index64;
        let flags = self.heap_flags(memory);

        // Cannot wrap in u128 arithmetic; a 64-bit memory allows offsets up to 2^64 - 1.
        let end_offset = u128::from(memarg.offset) + u128::from(size);

        if self.is_guarded(memory) && end_offset <= u128::from(GUARDED_OFFSET_LIMIT) {
            let base = self.memory_base(memory);
            let index = self.builder.ins().uextend(I64, index);
            let address = self.builder.ins().iadd(base, index);
            let offset = i32::try_from(memarg.offset).expect("below the limit");
            return (address, flags, offset.into());
        }

        let index = if is_64 {
            index
        } else {
            self.builder.ins().uextend(I64, index)
        };
        let len = self.memory_len(memory);
        let out = match u64::try_from(end_offset) {
            Ok(end_offset) => {
                let end_offset = self.builder.ins().iconst(I64, end_offset.cast_signed());
                if is_64 {
                    let (end, carry) = self.builder.ins().uadd_overflow(index, end_offset);
                    let beyond = self
                        .builder
                        .ins()
                        .icmp(IntCC::UnsignedGreaterThan, end, len);
                    self.builder.ins().bor(carry, beyond)
                } else {
                    let end = self.builder.ins().iadd(index, end_offset);
                    self.builder
                        .ins()
                        .icmp(IntCC::UnsignedGreaterThan, end, len)
                }
            }
            // No memory is that long.
            Err(_) => self.builder.ins().iconst(ir::types::I8, 1),
        };
        self.trapnz(out, TrapCode::MemoryOutOfBounds);

        let base = self.memory_base(memory);
        let address = self.builder.ins().iadd(base, index);
        let mitigate = self.env.isa.flags().enable_heap_access_spectre_mitigation();
        if let (false, Ok(offset)) = (mitigate, i32::try_from(memarg.offset)) {
            return (address, flags, offset.into());
        }
        let offset = self.builder.ins().iconst(I64, memarg.offset.cast_signed());
        let mut address = self.builder.ins().iadd(address, offset);
        if mitigate {
            let null = self.builder.ins().iconst(I64, 0);
            address = self.builder.ins().select_spectre_guard(out, null, address);
        }
        (address, flags, 0.into())
    }

    /// Traps unless `len` bytes from `start` lie in the memory; all three are 64 bits wide, and
    /// `start` and `len` are zero extended if the memory's indices are 32-bit. Returns the native
    /// address of `start`.
    pub(crate) fn memory_range(&mut self, memory: MemoryIndex, start: Value, len: Value) -> Value {
        let (end, carry) = self.builder.ins().uadd_overflow(start, len);
        let memory_len = self.memory_len(memory);
        let beyond = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedGreaterThan, end, memory_len);
        let out = self.builder.ins().bor(carry, beyond);
        self.trapnz(out, TrapCode::MemoryOutOfBounds);
        let base = self.memory_base(memory);
        self.builder.ins().iadd(base, start)
    }

    /// Flags of an access to a linear memory: little-endian, may fault, aligned or not.
    fn heap_flags(&mut self, memory: MemoryIndex) -> MemFlagsData {
        let region = if self.env.plan.memories[memory].private {
            Region::Memory(memory.as_u32())
        } else {
            Region::SharedMemory
        };
        let region = self.region(region);
        MemFlagsData::new()
            .with_endianness(ir::Endianness::Little)
            .with_trap_code(Some(ir::TrapCode::HEAP_OUT_OF_BOUNDS))
            .with_alias_region(Some(region))
    }

    /// A memory index as a 64-bit value.
    pub(crate) fn widen_index(&mut self, index: Value) -> Value {
        match self.builder.func.dfg.value_type(index) {
            I32 => self.builder.ins().uextend(I64, index),
            _ => index,
        }
    }
}
