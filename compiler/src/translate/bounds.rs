//! # This file is the sandbox
//!
//! This is the only place that turns a wasm address into a native one. A mistake here lets a guest
//! read or write the host's memory. So every change needs a second reviewer, and must pass the
//! tests in `compiler/tests` and `tests/`.
//!
//! An access of `size` bytes at `index + offset` in a memory of `len` bytes must trap if `index +
//! offset + size > len`, computed without wrapping. Every path below upholds one of these rules:
//!
//! 1. **[Guarded](precast_artifact::Strategy::guards) memory, `offset + size <=
//!    GUARDED_OFFSET_LIMIT`**: no check. `index` is zero extended, so `index + offset + size <=
//!    2^32 - 1 + GUARDED_OFFSET_LIMIT`, which is less than
//!    [`GUARDED_RESERVATION`](precast_artifact::abi::GUARDED_RESERVATION). So the access lies in
//!    the reservation, of which exactly the first `len` bytes are accessible.
//! 2. **`greatest + offset + size <= min`**, where `greatest` is the greatest number that `index`
//!    can be by its [definition](super::ranges), often a constant, and `min` is the memory's
//!    minimum in bytes: no check, and the access cannot fault, because `len` is never less than
//!    `min`.
//! 3. **`offset + size <= min`**: before the access, an explicit comparison of `index` with `len -
//!    (offset + size)`, which cannot wrap. An earlier comparison of the same index will do if its
//!    end is not smaller and every way to the access passes it ([`Checks`](super::checks)).
//! 4. **Everything else**: before the access, an explicit comparison of `end = index + (offset +
//!    size)` with `len`. `end` cannot wrap for a 32-bit index (the sum is below 2^34); for a 64-bit
//!    index the carry is checked as well.
//!
//! Speculation: after a mispredicted check, execution continues with an index or address that is in
//! the memory's own address space. Rules 1 and 2 need nothing for that. After a check by rule 3:
//!
//! - A 32-bit index is masked ([`VmMemory::mask`](precast_artifact::vm::VmMemory::mask)), where the
//!   end is at most [`MASKED_OFFSET_LIMIT`]. That is one instruction, `and` with an operand in
//!   memory, 3 or 4 bytes on x86-64; if the index has passed the check, the mask does not change
//!   it. A conditional move on the same comparison would take three instructions and 10 bytes,
//!   because flags do not outlive the branch.
//! - Other indices become the greatest that passes the check, by a conditional move.
//!
//! After a check by rule 4, the address is null, by a conditional move. Later accesses use the
//! masked index.
//!
//! An access that rule 3 or 4 has checked cannot fault, because `len` never shrinks. It keeps the
//! trap code of other accesses all the same, so that Cranelift never moves it away from its check.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{self, InstBuilder, InstructionData, MemFlagsData, Opcode, Value};
use precast_artifact::TrapCode;
use precast_artifact::abi::{GUARDED_OFFSET_LIMIT, MASKED_OFFSET_LIMIT};
use precast_artifact::promises::Promise;
use wasmparser::{MemArg, MemArgTarget};

use super::FuncTranslator;
use super::checks::Checked;
use super::ranges;
use super::state::Region;
use crate::symbol::MemoryIndex;

impl FuncTranslator<'_, '_> {
    /// Pops the index operand, and returns what an access of `size` bytes at that index needs:
    /// native address, flags, and the static offset for the instruction. The check, if one is
    /// needed, is emitted before this returns.
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
        let mut flags = self.heap_flags(memory);

        // This cannot wrap in u128 arithmetic; a 64-bit memory allows offsets up to 2^64 - 1.
        let end = u128::from(memarg.offset) + u128::from(size);
        let min = self.min_memory_len(memory);
        let greatest = ranges::greatest(&self.builder.func.dfg, index);
        let within = u128::from(greatest) + end <= min;
        let (index, offset) = if within {
            flags = flags.with_trap_code(None);
            (self.widen_index(index), memarg.offset)
        } else if self.is_guarded(memory) && end <= u128::from(GUARDED_OFFSET_LIMIT) {
            (self.widen_index(index), memarg.offset)
        } else if end <= min {
            let (index, more) = self.checked_index(memory, index, end as u64);
            (index, memarg.offset + more)
        } else {
            let address = self.checked_address(memory, index, memarg.offset, end);
            return (address, flags, 0.into());
        };
        let base = self.memory_base(memory);
        let mut address = self.builder.ins().iadd(base, index);
        let offset = i32::try_from(offset).unwrap_or_else(|_| {
            let offset = self.builder.ins().iconst(I64, offset.cast_signed());
            address = self.builder.ins().iadd(address, offset);
            0
        });
        (address, flags, offset.into())
    }

    /// Traps unless `index + end` is at most the memory's length, whose minimum is at least `end`.
    /// Returns a 64-bit index and a number to add to it. The sum does not wrap, and keeps
    /// speculation that gets past the check in the memory's address space.
    fn checked_index(&mut self, memory: MemoryIndex, index: Value, end: u64) -> (Value, u64) {
        let index = self.builder.func.dfg.resolve_aliases(index);
        let known = self.caches.checks.get(memory, index);
        if let Some(known) = known.filter(|known| known.end >= end) {
            return (known.index, 0);
        }
        if let Some((origin, more)) = self.plus_constant(index)
            && let Some(known) = self.caches.checks.get(memory, origin)
            && known.end >= end.saturating_add(more)
        {
            // `origin + more` is below the length, so it has not wrapped.
            return (known.index, more);
        }
        let checked = match self.builder.func.dfg.value_type(index) {
            I32 if end <= MASKED_OFFSET_LIMIT => self.checked_masked(memory, index, known, end),
            _ => self.checked_clamped(memory, index, end),
        };
        self.caches.checks.insert(memory, index, checked);
        (checked.index, 0)
    }

    /// The check of a 32-bit index, in 32 bits: the length is between `end` and 2^32, and `end` is
    /// not zero, so the difference of both fits.
    fn checked_masked(
        &mut self,
        memory: MemoryIndex,
        index: Value,
        known: Option<Checked>,
        end: u64,
    ) -> Checked {
        let last = self.last_index(memory, end);
        // An index that is masked already needs no second mask.
        let masked = known.and_then(|known| Some((known.index, known.narrow?)));
        let compared = masked.map_or(index, |(_, narrow)| narrow);
        let out = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedGreaterThan, compared, last);
        self.trapnz(out, TrapCode::MemoryOutOfBounds);
        let (index, narrow) = masked.unwrap_or_else(|| {
            let mut narrow = index;
            if self.env.isa.flags().enable_heap_access_spectre_mitigation() {
                let mask = self.memory_mask(memory);
                narrow = self.builder.ins().band(index, mask);
            }
            (self.widen_index(narrow), narrow)
        });
        Checked {
            end,
            index,
            narrow: Some(narrow),
        }
    }

    /// The check of any index, after which a conditional move keeps speculation in bounds.
    fn checked_clamped(&mut self, memory: MemoryIndex, index: Value, end: u64) -> Checked {
        let wide = self.widen_index(index);
        let len = self.memory_len(memory);
        let last = self.builder.ins().iadd_imm_s(len, -end.cast_signed());
        let out = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedGreaterThan, wide, last);
        self.trapnz(out, TrapCode::MemoryOutOfBounds);
        let mut index = wide;
        if self.env.isa.flags().enable_heap_access_spectre_mitigation() {
            index = self.builder.ins().select_spectre_guard(out, last, wide);
        }
        Checked {
            end,
            index,
            narrow: None,
        }
    }

    /// If a value is the sum of another value and a constant: that value and the constant, zero
    /// extended.
    fn plus_constant(&self, value: Value) -> Option<(Value, u64)> {
        let dfg = &self.builder.func.dfg;
        let inst = dfg.value_def(value).inst()?;
        let InstructionData::Binary {
            opcode: Opcode::Iadd,
            args: [a, b],
        } = dfg.insts[inst]
        else {
            return None;
        };
        let (origin, constant) = match (self.constant_index(a), self.constant_index(b)) {
            (None, Some(constant)) => (a, constant),
            (Some(constant), None) => (b, constant),
            _ => return None,
        };
        Some((dfg.resolve_aliases(origin), constant))
    }

    /// Traps unless `index + end` is at most the memory's length. Returns the address of `index +
    /// offset`, or null if speculation gets past the check.
    fn checked_address(
        &mut self,
        memory: MemoryIndex,
        index: Value,
        offset: u64,
        end: u128,
    ) -> Value {
        let is_64 = self.env.module.memories[memory].index64;
        let index = self.widen_index(index);
        let len = self.memory_len(memory);
        let out = match u64::try_from(end) {
            Ok(end) => {
                let end = self.builder.ins().iconst(I64, end.cast_signed());
                if is_64 {
                    let (end, carry) = self.builder.ins().uadd_overflow(index, end);
                    let beyond = self
                        .builder
                        .ins()
                        .icmp(IntCC::UnsignedGreaterThan, end, len);
                    self.builder.ins().bor(carry, beyond)
                } else {
                    let end = self.builder.ins().iadd(index, end);
                    self.builder
                        .ins()
                        .icmp(IntCC::UnsignedGreaterThan, end, len)
                }
            }
            // No memory is that long, so the access always traps.
            Err(_) => self.builder.ins().iconst(ir::types::I8, 1),
        };
        self.trapnz(out, TrapCode::MemoryOutOfBounds);

        let base = self.memory_base(memory);
        let address = self.builder.ins().iadd(base, index);
        let offset = self.builder.ins().iconst(I64, offset.cast_signed());
        let address = self.builder.ins().iadd(address, offset);
        if !self.env.isa.flags().enable_heap_access_spectre_mitigation() {
            return address;
        }
        let null = self.builder.ins().iconst(I64, 0);
        self.builder.ins().select_spectre_guard(out, null, address)
    }

    /// Minimum length of a memory in bytes, limited to the range of an `i64`.
    fn min_memory_len(&self, memory: MemoryIndex) -> u128 {
        if !Promise::MemoryMinimum.is_constant() {
            return 0;
        }
        let min = self.env.module.memories[memory].min_bytes();
        u128::from(min).min(i64::MAX as u128)
    }

    /// The value of an index or length, zero extended, if it is a constant.
    pub(super) fn constant_index(&self, index: Value) -> Option<u64> {
        let constant = self.constant(index)?;
        Some(match self.builder.func.dfg.value_type(index) {
            I32 => u64::from(constant as u32),
            _ => constant.cast_unsigned(),
        })
    }

    /// Traps unless `len` bytes from `start` lie in the memory, and returns the native address of
    /// `start`. `start` and `len` are 64-bit values, zero extended if the memory's indices are
    /// 32-bit.
    pub(crate) fn memory_range(&mut self, memory: MemoryIndex, start: Value, len: Value) -> Value {
        self.checked_range(memory, start, len).0
    }

    /// Like [`FuncTranslator::memory_range`], for a range of constant length, at most
    /// [`MASKED_OFFSET_LIMIT`] bytes, which code accesses itself. Speculation that gets past the
    /// check stays in the memory's address space, or at null.
    pub(super) fn short_memory_range(
        &mut self,
        memory: MemoryIndex,
        start: Value,
        len: Value,
    ) -> (Value, MemFlagsData) {
        let (mut address, out) = self.checked_range(memory, start, len);
        let flags = self.env.isa.flags();
        if !self.is_guarded(memory) && flags.enable_heap_access_spectre_mitigation() {
            let null = self.builder.ins().iconst(I64, 0);
            address = self.builder.ins().select_spectre_guard(out, null, address);
        }
        (address, self.heap_flags(memory))
    }

    /// The address of a range, and whether it is out of bounds, in which case this traps.
    fn checked_range(&mut self, memory: MemoryIndex, start: Value, len: Value) -> (Value, Value) {
        let above = IntCC::UnsignedGreaterThan;
        let out = if self.env.module.memories[memory].index64 {
            let (end, carry) = self.builder.ins().uadd_overflow(start, len);
            let memory_len = self.memory_len(memory);
            let beyond = self.builder.ins().icmp(above, end, memory_len);
            self.builder.ins().bor(carry, beyond)
        } else {
            // Both are below 2^32.
            let end = self.builder.ins().iadd(start, len);
            let memory_len = self.memory_len(memory);
            self.builder.ins().icmp(above, end, memory_len)
        };
        self.trapnz(out, TrapCode::MemoryOutOfBounds);
        let base = self.memory_base(memory);
        (self.builder.ins().iadd(base, start), out)
    }

    /// Flags of an access to a linear memory: little-endian, may fault, may be unaligned.
    fn heap_flags(&mut self, memory: MemoryIndex) -> MemFlagsData {
        let region = if self.env.plan.memories[memory].private {
            Region::Memory(memory.as_u32())
        } else {
            Region::SharedMemory
        };
        let region = self.region(region);
        let code = self.access_code();
        MemFlagsData::new()
            .with_endianness(ir::Endianness::Little)
            .with_trap_code(Some(code))
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
