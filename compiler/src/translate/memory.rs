//! Linear memory: scalar loads and stores, size and growth. Vector accesses are in
//! `simd/memory.rs`, copies and fills in `bulk.rs`; all of them get their addresses from
//! `bounds.rs`.

use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::types::{F32, F64, I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value};
use cranelift_frontend::FuncInstBuilder;
use precast_artifact::Builtin;
use precast_artifact::promises::Promise;
use precast_artifact::vm::VmMemory;
use std::mem::{offset_of, size_of};
use wasmparser::{MemArg, Operator};

use super::FuncTranslator;
use crate::symbol::MemoryIndex;

impl<'b> FuncTranslator<'_, 'b> {
    /// Translates `op` if it is a scalar load or store, and returns whether it was.
    pub(super) fn scalar_access(&mut self, op: &Operator<'_>) -> bool {
        use Operator as O;
        match *op {
            O::I32Load { ref memarg } => self.load(memarg, I32),
            O::I64Load { ref memarg } => self.load(memarg, I64),
            O::F32Load { ref memarg } => self.load(memarg, F32),
            O::F64Load { ref memarg } => self.load(memarg, F64),
            O::I32Load8S { ref memarg } => {
                self.load_with(memarg, 1, |b, flags, p, o| b.sload8(I32, flags, p, o));
            }
            O::I32Load8U { ref memarg } => {
                self.load_with(memarg, 1, |b, flags, p, o| b.uload8(I32, flags, p, o));
            }
            O::I32Load16S { ref memarg } => {
                self.load_with(memarg, 2, |b, flags, p, o| b.sload16(I32, flags, p, o));
            }
            O::I32Load16U { ref memarg } => {
                self.load_with(memarg, 2, |b, flags, p, o| b.uload16(I32, flags, p, o));
            }
            O::I64Load8S { ref memarg } => {
                self.load_with(memarg, 1, |b, flags, p, o| b.sload8(I64, flags, p, o));
            }
            O::I64Load8U { ref memarg } => {
                self.load_with(memarg, 1, |b, flags, p, o| b.uload8(I64, flags, p, o));
            }
            O::I64Load16S { ref memarg } => {
                self.load_with(memarg, 2, |b, flags, p, o| b.sload16(I64, flags, p, o));
            }
            O::I64Load16U { ref memarg } => {
                self.load_with(memarg, 2, |b, flags, p, o| b.uload16(I64, flags, p, o));
            }
            O::I64Load32S { ref memarg } => {
                self.load_with(memarg, 4, |b, flags, p, o| b.sload32(flags, p, o));
            }
            O::I64Load32U { ref memarg } => {
                self.load_with(memarg, 4, |b, flags, p, o| b.uload32(flags, p, o));
            }

            O::I32Store { ref memarg } | O::F32Store { ref memarg } => self.store(memarg, 4),
            O::I64Store { ref memarg } | O::F64Store { ref memarg } => self.store(memarg, 8),
            O::I32Store8 { ref memarg } | O::I64Store8 { ref memarg } => {
                let value = self.pop();
                let (address, flags, offset) = self.memory_access(memarg, 1);
                self.builder.ins().istore8(flags, value, address, offset);
            }
            O::I32Store16 { ref memarg } | O::I64Store16 { ref memarg } => {
                let value = self.pop();
                let (address, flags, offset) = self.memory_access(memarg, 2);
                self.builder.ins().istore16(flags, value, address, offset);
            }
            O::I64Store32 { ref memarg } => {
                let value = self.pop();
                let (address, flags, offset) = self.memory_access(memarg, 4);
                self.builder.ins().istore32(flags, value, address, offset);
            }
            _ => return false,
        }
        true
    }

    fn load(&mut self, memarg: &MemArg, ty: Type) {
        self.load_with(memarg, ty.bytes(), |b, flags, p, offset| {
            b.load(ty, flags, p, offset)
        });
    }

    fn load_with(
        &mut self,
        memarg: &MemArg,
        size: u32,
        load: impl FnOnce(FuncInstBuilder<'_, 'b>, MemFlagsData, Value, Offset32) -> Value,
    ) {
        let (address, flags, offset) = self.memory_access(memarg, size);
        let value = load(self.builder.ins(), flags, address, offset);
        self.push(value);
    }

    fn store(&mut self, memarg: &MemArg, size: u32) {
        let value = self.pop();
        let (address, flags, offset) = self.memory_access(memarg, size);
        let flags = self.store_flags(flags, value);
        self.builder.ins().store(flags, value, address, offset);
    }

    /// Pushes the length of a memory in pages.
    pub(super) fn memory_size(&mut self, memory: u32) {
        let memory = MemoryIndex::from_u32(memory);
        let ty = self.env.module.memories[memory];
        let len = match ty.shared && self.fixed_memory_len(memory).is_none() {
            true => self.shared_memory_len(memory),
            false => self.memory_len(memory),
        };
        let pages = match ty.page_shift {
            0 => len,
            shift => self.builder.ins().ushr_imm_u(len, i64::from(shift)),
        };
        self.push_index(pages, ty.index64);
    }

    pub(super) fn memory_grow(&mut self, memory: u32) {
        let delta = self.pop();
        let units = self.range_begins(delta);
        let delta = self.widen_index(delta);
        let index = self.builder.ins().iconst(I32, i64::from(memory));
        let before = self.call_builtin(Builtin::MemoryGrow, &[index, delta]);
        let before = before.expect("a result");
        self.growth_ends(units, before);
        let index64 = self.env.module.memories[MemoryIndex::from_u32(memory)].index64;
        self.push_index(before, index64);
    }

    /// Pushes a 64-bit number as an index of a memory or table.
    pub(super) fn push_index(&mut self, value: Value, index64: bool) {
        let value = if index64 {
            value
        } else {
            self.builder.ins().ireduce(I32, value)
        };
        self.push(value);
    }

    /// Address of a memory's first byte.
    pub(super) fn memory_base(&mut self, memory: MemoryIndex) -> Value {
        let place = self.env.plan.memories[memory].offset as usize;
        let elsewhere = self.env.module.is_memory_elsewhere(memory);
        let is_shared = self.env.module.memories[memory].shared;
        let is_fixed = self.fixed_memory_len(memory).is_some();
        let promise = Promise::memory_base(self.is_guarded(memory), is_shared, is_fixed);
        let base = offset_of!(VmMemory, base);
        match (promise.can_move(), elsewhere) {
            (true, true) => {
                let path = [(Promise::ImportedMemory, place), (promise, base)];
                self.hoisted_memory_base(memory, &path)
            }
            (true, false) => self.hoisted_memory_base(memory, &[(promise, place + base)]),
            (false, _) => self.read_memory_head(memory, promise, base),
        }
    }

    /// Whether a memory is guarded: accesses beyond its end can fault, and its base never changes.
    pub(super) fn is_guarded(&self, memory: MemoryIndex) -> bool {
        let ty = &self.env.module.memories[memory];
        self.env.strategy.guards(ty.index64, ty.page_shift)
    }

    /// Current length of a memory in bytes.
    pub(super) fn memory_len(&mut self, memory: MemoryIndex) -> Value {
        match self.fixed_memory_len(memory) {
            Some(len) if Promise::FixedMemoryLen.is_constant() => {
                self.builder.ins().iconst(I64, len)
            }
            _ => {
                let promise = self.memory_len_promise(memory);
                self.read_memory_head(memory, promise, offset_of!(VmMemory, len))
            }
        }
    }

    /// The length of a shared memory that can grow. Code that reads a length that another thread
    /// has set also sees what that thread wrote before.
    fn shared_memory_len(&mut self, memory: MemoryIndex) -> Value {
        let (head, offset) = self.memory_head(memory, offset_of!(VmMemory, len));
        let len = self.builder.ins().iadd_imm_s(head, offset as i64);
        let flags = self.read_flags(Promise::SharedMemoryLen);
        self.builder.ins().atomic_load(I64, flags, len)
    }

    /// The promise about the length of a memory that can grow.
    fn memory_len_promise(&self, memory: MemoryIndex) -> Promise {
        match self.env.module.memories[memory].shared {
            true => Promise::SharedMemoryLen,
            false => Promise::GrowingMemoryLen,
        }
    }

    /// Length in bytes of a memory that cannot grow.
    fn fixed_memory_len(&self, memory: MemoryIndex) -> Option<i64> {
        let memory = &self.env.module.memories[memory];
        let len = memory.min.checked_mul(1 << memory.page_shift)?;
        len.try_into()
            .ok()
            .filter(|_| memory.max == Some(memory.min))
    }

    fn read_memory_head(&mut self, memory: MemoryIndex, promise: Promise, field: usize) -> Value {
        let (base, offset) = self.memory_head(memory, field);
        self.read(promise, base, offset)
    }

    /// The greatest 32-bit index at which an access that ends `end` bytes behind its index is in
    /// bounds. The memory's minimum is at least `end`, which is not zero.
    pub(super) fn last_index(&mut self, memory: MemoryIndex, end: u64) -> Value {
        if let Some(len) = self.fixed_memory_len(memory)
            && Promise::FixedMemoryLen.is_constant()
        {
            let last = (len - end.cast_signed()) & i64::from(u32::MAX);
            return self.builder.ins().iconst(I32, last);
        }
        let promise = self.memory_len_promise(memory);
        let known = VmMemory::ENDS.iter().position(|e| u64::from(*e) == end);
        if let Some(i) = known
            && promise != Promise::SharedMemoryLen
        {
            // On x86-64, the comparison has this as its operand in memory.
            let field = offset_of!(VmMemory, last) + i * size_of::<u32>();
            let (base, offset) = self.memory_head(memory, field);
            return self.read_word(promise, base, offset);
        }
        let (base, offset) = self.memory_head(memory, offset_of!(VmMemory, len));
        let len = self.read_low_apart(promise, base, offset);
        self.builder.ins().iadd_imm_s(len, -end.cast_signed())
    }

    /// The mask for the 32-bit indices of a memory.
    pub(super) fn memory_mask(&mut self, memory: MemoryIndex) -> Value {
        let (base, offset) = self.memory_head(memory, offset_of!(VmMemory, mask));
        self.read_low(Promise::MemoryMask, base, offset)
    }

    /// The address of a field of the [`VmMemory`] of a memory: base and offset.
    fn memory_head(&mut self, memory: MemoryIndex, field: usize) -> (Value, usize) {
        let place = self.env.plan.memories[memory].offset as usize;
        if self.env.module.is_memory_elsewhere(memory) {
            (self.read(Promise::ImportedMemory, self.vmctx, place), field)
        } else {
            (self.vmctx, place + field)
        }
    }

    /// Sets the flag that a segment is dropped.
    pub(super) fn set_dropped(&mut self, flags_start: u32, record: u32) {
        let one = self
            .builder
            .ins()
            .iconst(cranelift_codegen::ir::types::I8, 1);
        let place = (flags_start + record) as usize;
        self.write(Promise::DroppedFlags, one, self.vmctx, place);
    }
}
