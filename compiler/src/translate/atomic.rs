//! Atomic operators on memories that are not shared.
//!
//! Only one thread can reach such a memory, so a load, a computation and a store are as good as one
//! atomic instruction, and the accesses are those of `memory.rs`, bounds checks and all. What remains is
//! that addresses must be aligned, that nobody can be woken, and that nobody may wait. Memories that are
//! shared are refused when a module is read, so none gets here.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use precast_artifact::TrapCode;
use wasmparser::{MemArg, Operator};

use super::FuncTranslator;

/// What becomes of a value in memory.
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
            // There is nobody whose accesses could be seen in another order.
            Operator::AtomicFence { .. } => {}
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
                self.trap(TrapCode::ExpectedSharedMemory);
                self.reachable = false;
            }
            _ => return self.atomic_access(operator),
        }
        true
    }

    fn atomic_access(&mut self, operator: &Operator<'_>) -> bool {
        macro_rules! plain {
            ($($Atomic:ident: $Plain:ident $size:literal $address:ident;)*) => {
                match *operator {
                    $(Operator::$Atomic { ref memarg } => {
                        self.check_alignment(memarg, self.$address(), $size);
                        return self.scalar_access(&Operator::$Plain { memarg: *memarg });
                    })*
                    _ => {}
                }
            };
        }
        plain! {
            I32AtomicLoad: I32Load 4 peek;
            I64AtomicLoad: I64Load 8 peek;
            I32AtomicLoad8U: I32Load8U 1 peek;
            I32AtomicLoad16U: I32Load16U 2 peek;
            I64AtomicLoad8U: I64Load8U 1 peek;
            I64AtomicLoad16U: I64Load16U 2 peek;
            I64AtomicLoad32U: I64Load32U 4 peek;
            I32AtomicStore: I32Store 4 peek_second;
            I64AtomicStore: I64Store 8 peek_second;
            I32AtomicStore8: I32Store8 1 peek_second;
            I32AtomicStore16: I32Store16 2 peek_second;
            I64AtomicStore8: I64Store8 1 peek_second;
            I64AtomicStore16: I64Store16 2 peek_second;
            I64AtomicStore32: I64Store32 4 peek_second;
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
        self.scalar_access(load);
        let old = self.pop();
        let new = match (update, expected) {
            (Update::CompareExchange, Some(expected)) => {
                // What is loaded is zero-extended, and so is what it is compared with.
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

    /// The low bytes of an integer, the others zero.
    fn low_bytes(&mut self, value: Value, size: u32) -> Value {
        let ty = self.builder.func.dfg.value_type(value);
        if size >= ty.bytes() {
            return value;
        }
        let mask = self.builder.ins().iconst(ty, (1_i64 << (8 * size)) - 1);
        self.builder.ins().band(value, mask)
    }

    /// Stops unless an access is aligned.
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
        self.trapnz(low, TrapCode::UnalignedAtomic);
    }

    /// The operand below the one on top.
    fn peek_second(&self) -> Value {
        self.stack[self.stack.len() - 2]
    }
}
