//! Atomic operators.
//!
//! On a shared memory they become atomic instructions, all of them sequentially consistent. Waiting
//! and waking are routines of the loader, which also check the address.
//!
//! Only one thread can reach a memory that is not shared, so a load, a computation and a store are
//! as good as one atomic instruction. The accesses are those of `memory.rs`, with their bounds
//! checks. In addition, addresses must be aligned, waking finds no thread that waits, and waiting
//! traps.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, MemFlagsData, Type, Value};
use precast_artifact::{Builtin, TrapCode};
use wasmparser::{MemArg, MemArgTarget, Operator};

use super::FuncTranslator;
use crate::symbol::MemoryIndex;

/// How an operator changes a value in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Update {
    Add,
    Sub,
    And,
    Or,
    Xor,
    Exchange,
    CompareExchange,
}

impl FuncTranslator<'_, '_> {
    /// Translates `operator` if it is an atomic one, and returns whether it was.
    pub(super) fn atomic(&mut self, operator: &Operator<'_>) -> bool {
        match *operator {
            Operator::AtomicFence { .. } => {
                if self.env.module.memories.values().any(|m| m.shared) {
                    self.builder.ins().fence();
                }
                // Without a shared memory, no other thread can see the order of accesses.
            }
            Operator::MemoryAtomicNotify { ref memarg } if self.is_shared(memarg) => {
                let count = self.pop();
                let (memory, address) = self.waiting_address(memarg);
                let args = [memory, address, count];
                let woken = self.call_builtin(Builtin::MemoryNotify, &args);
                self.push(woken.expect("a result"));
            }
            Operator::MemoryAtomicWait32 { ref memarg } if self.is_shared(memarg) => {
                self.wait(Builtin::MemoryWait32, memarg);
            }
            Operator::MemoryAtomicWait64 { ref memarg } if self.is_shared(memarg) => {
                self.wait(Builtin::MemoryWait64, memarg);
            }
            Operator::MemoryAtomicNotify { ref memarg } => {
                self.pop();
                self.check_alignment(memarg, self.peek(), 4);
                self.scalar_access(&Operator::I32Load { memarg: *memarg });
                self.pop();
                let woken = self.builder.ins().iconst(I32, 0);
                self.push(woken);
            }
            Operator::MemoryAtomicWait32 { .. } | Operator::MemoryAtomicWait64 { .. } => {
                self.pop3();
                self.trap(TrapCode::AtomicWaitNonSharedMemory);
                self.reachable = false;
            }
            _ => return self.atomic_access(operator),
        }
        true
    }

    fn atomic_access(&mut self, operator: &Operator<'_>) -> bool {
        macro_rules! plain {
            ($($Atomic:ident: $Plain:ident $ty:ident $size:literal $address:ident $shared:ident;)*) => {
                match *operator {
                    $(Operator::$Atomic { ref memarg } => {
                        self.check_alignment(memarg, self.$address(), $size);
                        if self.is_shared(memarg) {
                            self.$shared(memarg, $ty, $size);
                            return true;
                        }
                        return self.scalar_access(&Operator::$Plain { memarg: *memarg });
                    })*
                    _ => {}
                }
            };
        }
        plain! {
            I32AtomicLoad: I32Load I32 4 peek load_shared;
            I64AtomicLoad: I64Load I64 8 peek load_shared;
            I32AtomicLoad8U: I32Load8U I32 1 peek load_shared;
            I32AtomicLoad16U: I32Load16U I32 2 peek load_shared;
            I64AtomicLoad8U: I64Load8U I64 1 peek load_shared;
            I64AtomicLoad16U: I64Load16U I64 2 peek load_shared;
            I64AtomicLoad32U: I64Load32U I64 4 peek load_shared;
            I32AtomicStore: I32Store I32 4 peek_second store_shared;
            I64AtomicStore: I64Store I64 8 peek_second store_shared;
            I32AtomicStore8: I32Store8 I32 1 peek_second store_shared;
            I32AtomicStore16: I32Store16 I32 2 peek_second store_shared;
            I64AtomicStore8: I64Store8 I64 1 peek_second store_shared;
            I64AtomicStore16: I64Store16 I64 2 peek_second store_shared;
            I64AtomicStore32: I64Store32 I64 4 peek_second store_shared;
        }
        macro_rules! updates {
            ($($Atomic:ident: $Load:ident $Store:ident $size:literal $update:expr;)*) => {
                match *operator {
                    $(Operator::$Atomic { ref memarg } => {
                        let load = Operator::$Load { memarg: *memarg };
                        let store = Operator::$Store { memarg: *memarg };
                        self.update(memarg, $size, $update, &load, &store);
                        return true;
                    })*
                    _ => {}
                }
            };
        }
        updates! {
            I32AtomicRmwAdd: I32Load I32Store 4 Update::Add;
            I32AtomicRmwSub: I32Load I32Store 4 Update::Sub;
            I32AtomicRmwAnd: I32Load I32Store 4 Update::And;
            I32AtomicRmwOr: I32Load I32Store 4 Update::Or;
            I32AtomicRmwXor: I32Load I32Store 4 Update::Xor;
            I32AtomicRmwXchg: I32Load I32Store 4 Update::Exchange;
            I64AtomicRmwAdd: I64Load I64Store 8 Update::Add;
            I64AtomicRmwSub: I64Load I64Store 8 Update::Sub;
            I64AtomicRmwAnd: I64Load I64Store 8 Update::And;
            I64AtomicRmwOr: I64Load I64Store 8 Update::Or;
            I64AtomicRmwXor: I64Load I64Store 8 Update::Xor;
            I64AtomicRmwXchg: I64Load I64Store 8 Update::Exchange;
            I32AtomicRmw8AddU: I32Load8U I32Store8 1 Update::Add;
            I32AtomicRmw8SubU: I32Load8U I32Store8 1 Update::Sub;
            I32AtomicRmw8AndU: I32Load8U I32Store8 1 Update::And;
            I32AtomicRmw8OrU: I32Load8U I32Store8 1 Update::Or;
            I32AtomicRmw8XorU: I32Load8U I32Store8 1 Update::Xor;
            I32AtomicRmw8XchgU: I32Load8U I32Store8 1 Update::Exchange;
            I32AtomicRmw16AddU: I32Load16U I32Store16 2 Update::Add;
            I32AtomicRmw16SubU: I32Load16U I32Store16 2 Update::Sub;
            I32AtomicRmw16AndU: I32Load16U I32Store16 2 Update::And;
            I32AtomicRmw16OrU: I32Load16U I32Store16 2 Update::Or;
            I32AtomicRmw16XorU: I32Load16U I32Store16 2 Update::Xor;
            I32AtomicRmw16XchgU: I32Load16U I32Store16 2 Update::Exchange;
            I64AtomicRmw8AddU: I64Load8U I64Store8 1 Update::Add;
            I64AtomicRmw8SubU: I64Load8U I64Store8 1 Update::Sub;
            I64AtomicRmw8AndU: I64Load8U I64Store8 1 Update::And;
            I64AtomicRmw8OrU: I64Load8U I64Store8 1 Update::Or;
            I64AtomicRmw8XorU: I64Load8U I64Store8 1 Update::Xor;
            I64AtomicRmw8XchgU: I64Load8U I64Store8 1 Update::Exchange;
            I64AtomicRmw16AddU: I64Load16U I64Store16 2 Update::Add;
            I64AtomicRmw16SubU: I64Load16U I64Store16 2 Update::Sub;
            I64AtomicRmw16AndU: I64Load16U I64Store16 2 Update::And;
            I64AtomicRmw16OrU: I64Load16U I64Store16 2 Update::Or;
            I64AtomicRmw16XorU: I64Load16U I64Store16 2 Update::Xor;
            I64AtomicRmw16XchgU: I64Load16U I64Store16 2 Update::Exchange;
            I64AtomicRmw32AddU: I64Load32U I64Store32 4 Update::Add;
            I64AtomicRmw32SubU: I64Load32U I64Store32 4 Update::Sub;
            I64AtomicRmw32AndU: I64Load32U I64Store32 4 Update::And;
            I64AtomicRmw32OrU: I64Load32U I64Store32 4 Update::Or;
            I64AtomicRmw32XorU: I64Load32U I64Store32 4 Update::Xor;
            I64AtomicRmw32XchgU: I64Load32U I64Store32 4 Update::Exchange;
            I32AtomicRmwCmpxchg: I32Load I32Store 4 Update::CompareExchange;
            I64AtomicRmwCmpxchg: I64Load I64Store 8 Update::CompareExchange;
            I32AtomicRmw8CmpxchgU: I32Load8U I32Store8 1 Update::CompareExchange;
            I32AtomicRmw16CmpxchgU: I32Load16U I32Store16 2 Update::CompareExchange;
            I64AtomicRmw8CmpxchgU: I64Load8U I64Store8 1 Update::CompareExchange;
            I64AtomicRmw16CmpxchgU: I64Load16U I64Store16 2 Update::CompareExchange;
            I64AtomicRmw32CmpxchgU: I64Load32U I64Store32 4 Update::CompareExchange;
        }
        false
    }

    /// Replaces the value at an address and pushes the old one.
    fn update(
        &mut self,
        memarg: &MemArg,
        size: u32,
        update: Update,
        load: &Operator<'_>,
        store: &Operator<'_>,
    ) {
        let value = self.pop();
        let expected = (update == Update::CompareExchange).then(|| self.pop());
        let address = self.peek();
        self.check_alignment(memarg, address, size);
        if self.is_shared(memarg) {
            return self.update_shared(memarg, size, update, expected, value);
        }
        self.scalar_access(load);
        let old = self.pop();
        let new = match (update, expected) {
            (Update::CompareExchange, Some(expected)) => {
                // The loaded value is zero-extended, so the expected value must be too.
                let expected = self.low_bytes(expected, size);
                let equal = self.builder.ins().icmp(IntCC::Equal, old, expected);
                self.builder.ins().select(equal, value, old)
            }
            (Update::Add, _) => self.builder.ins().iadd(old, value),
            (Update::Sub, _) => self.builder.ins().isub(old, value),
            (Update::And, _) => self.builder.ins().band(old, value),
            (Update::Or, _) => self.builder.ins().bor(old, value),
            (Update::Xor, _) => self.builder.ins().bxor(old, value),
            (Update::Exchange | Update::CompareExchange, _) => value,
        };
        self.push(address);
        self.push(new);
        self.scalar_access(store);
        self.push(old);
    }

    /// Replaces the value at an address of a shared memory and pushes the old one.
    fn update_shared(
        &mut self,
        memarg: &MemArg,
        size: u32,
        update: Update,
        expected: Option<Value>,
        value: Value,
    ) {
        let ty = self.builder.func.dfg.value_type(value);
        let (address, flags) = self.shared_access(memarg, size);
        let value = self.narrow(value, size);
        let operation = match update {
            Update::Add => AtomicRmwOp::Add,
            Update::Sub => AtomicRmwOp::Sub,
            Update::And => AtomicRmwOp::And,
            Update::Or => AtomicRmwOp::Or,
            Update::Xor => AtomicRmwOp::Xor,
            Update::Exchange | Update::CompareExchange => AtomicRmwOp::Xchg,
        };
        let old = match expected {
            Some(expected) => {
                let expected = self.narrow(expected, size);
                let ins = self.builder.ins();
                ins.atomic_cas(flags, address, expected, value)
            }
            None => {
                let ty = narrow_type(size);
                let ins = self.builder.ins();
                ins.atomic_rmw(ty, flags, operation, address, value)
            }
        };
        let old = self.zero_extend(old, ty);
        self.push(old);
    }

    fn load_shared(&mut self, memarg: &MemArg, ty: Type, size: u32) {
        let (address, flags) = self.shared_access(memarg, size);
        let narrow = narrow_type(size);
        let value = self.builder.ins().atomic_load(narrow, flags, address);
        let value = self.zero_extend(value, ty);
        self.push(value);
    }

    fn store_shared(&mut self, memarg: &MemArg, _: Type, size: u32) {
        let value = self.pop();
        let (address, flags) = self.shared_access(memarg, size);
        let value = self.narrow(value, size);
        self.builder.ins().atomic_store(flags, value, address);
    }

    fn wait(&mut self, builtin: Builtin, memarg: &MemArg) {
        let timeout = self.pop();
        let expected = self.pop();
        let (memory, address) = self.waiting_address(memarg);
        let args = [memory, address, expected, timeout];
        let ended = self.call_builtin(builtin, &args);
        self.push(ended.expect("a result"));
    }

    /// Pops an index, and returns the number of the memory and the address in it, with the static
    /// offset, for a routine of the loader that checks it.
    fn waiting_address(&mut self, memarg: &MemArg) -> (Value, Value) {
        let index = self.pop();
        let mut address = self.widen_index(index);
        if memarg.offset != 0 {
            let offset = self.builder.ins().iconst(I64, memarg.offset.cast_signed());
            let (sum, carry) = self.builder.ins().uadd_overflow(address, offset);
            if self.env.module.memories[memory_of(memarg)].index64 {
                self.trapnz(carry, TrapCode::MemoryOutOfBounds);
            }
            address = sum;
        }
        let memory = self.index(memory_of(memarg).as_u32());
        (memory, address)
    }

    /// Pops an index, and returns the native address of an access to a shared memory, which has
    /// been found aligned, and its flags.
    fn shared_access(&mut self, memarg: &MemArg, size: u32) -> (Value, MemFlagsData) {
        let (address, flags, offset) = self.memory_access(memarg, size);
        let offset = i64::from(i32::from(offset));
        let address = match offset {
            0 => address,
            _ => self.builder.ins().iadd_imm_s(address, offset),
        };
        (address, flags)
    }

    fn is_shared(&self, memarg: &MemArg) -> bool {
        self.env.module.memories[memory_of(memarg)].shared
    }

    /// The low bytes of an integer.
    fn narrow(&mut self, value: Value, size: u32) -> Value {
        let ty = self.builder.func.dfg.value_type(value);
        if size >= ty.bytes() {
            return value;
        }
        self.builder.ins().ireduce(narrow_type(size), value)
    }

    /// An integer as one of a type that is not smaller.
    fn zero_extend(&mut self, value: Value, ty: Type) -> Value {
        if self.builder.func.dfg.value_type(value) == ty {
            return value;
        }
        self.builder.ins().uextend(ty, value)
    }

    /// The low bytes of an integer, the others zero.
    fn low_bytes(&mut self, value: Value, size: u32) -> Value {
        let ty = self.builder.func.dfg.value_type(value);
        if size >= ty.bytes() {
            return value;
        }
        let mask = self.builder.ins().iconst(ty, (1_i64 << (8 * size)) - 1);
        self.builder.ins().band(value, mask)
    }

    /// Traps unless an access is aligned.
    fn check_alignment(&mut self, memarg: &MemArg, address: Value, size: u32) {
        let mask = i64::from(size) - 1;
        if mask == 0 {
            return;
        }
        let ty = self.builder.func.dfg.value_type(address);
        debug_assert!(ty == I32 || ty == I64);
        let offset = memarg.offset.cast_signed() & mask;
        let mut low = address;
        if offset != 0 {
            let offset = self.builder.ins().iconst(ty, offset);
            low = self.builder.ins().iadd(low, offset);
        }
        let mask = self.builder.ins().iconst(ty, mask);
        let low = self.builder.ins().band(low, mask);
        self.trapnz(low, TrapCode::HeapMisaligned);
    }

    /// The operand below the one on top.
    fn peek_second(&self) -> Value {
        self.stack[self.stack.len() - 2]
    }
}

fn memory_of(memarg: &MemArg) -> MemoryIndex {
    let MemArgTarget::Memory(memory) = memarg.target else {
        unreachable!("the validator refuses arrays")
    };
    MemoryIndex::from_u32(memory)
}

/// The type of integers of this many bytes.
fn narrow_type(size: u32) -> Type {
    match size {
        1 => I8,
        2 => I16,
        4 => I32,
        _ => I64,
    }
}
