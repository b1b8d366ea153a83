//! The operand stack.

use cranelift_codegen::ir::types::I8X16;
use cranelift_codegen::ir::{
    Endianness, InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value, ValueDef,
};

use super::FuncTranslator;

impl FuncTranslator<'_, '_> {
    /// Pushes an operand. A vector must be an `I8X16`, see [`Self::push_vector`].
    pub(super) fn push(&mut self, value: Value) {
        debug_assert!({
            let ty = self.builder.func.dfg.value_type(value);
            !ty.is_vector() || ty == I8X16
        });
        self.stack.push(value);
    }

    /// Pops an operand.
    pub(super) fn pop(&mut self) -> Value {
        self.stack.pop().expect("validated: an operand")
    }

    /// Pops two operands, in the order in which they were pushed.
    pub(super) fn pop2(&mut self) -> (Value, Value) {
        let b = self.pop();
        (self.pop(), b)
    }

    /// Pops three operands, in the order in which they were pushed.
    pub(super) fn pop3(&mut self) -> (Value, Value, Value) {
        let c = self.pop();
        let (a, b) = self.pop2();
        (a, b, c)
    }

    /// The operand on top.
    pub(super) fn peek(&self) -> Value {
        *self.stack.last().expect("validated: an operand")
    }

    /// Pushes a `v128` of any lane type.
    pub(super) fn push_vector(&mut self, value: Value) {
        let value = self.cast_vector(value, I8X16);
        self.stack.push(value);
    }

    /// Pops a `v128` as a vector of this type.
    pub(super) fn pop_vector(&mut self, ty: Type) -> Value {
        let value = self.pop();
        self.cast_vector(value, ty)
    }

    /// The same 128 bits as another vector type. Casts between vectors cost no instruction, but
    /// hide from Cranelift's patterns what made an operand, so this never casts the result of
    /// another cast.
    pub(super) fn cast_vector(&mut self, value: Value, ty: Type) -> Value {
        let origin = self.before_cast(value);
        let type_of = |v| self.builder.func.dfg.value_type(v);
        if type_of(value) == ty {
            return value;
        }
        if type_of(origin) == ty {
            return origin;
        }
        let flags = MemFlagsData::new().with_endianness(Endianness::Little);
        self.builder.ins().bitcast(ty, flags, origin)
    }

    /// The vector that `value` is a cast of, or `value` itself.
    pub(super) fn before_cast(&self, value: Value) -> Value {
        let dfg = &self.builder.func.dfg;
        if let ValueDef::Result(inst, _) = dfg.value_def(value)
            && let InstructionData::LoadNoOffset {
                opcode: Opcode::Bitcast,
                arg,
                ..
            } = dfg.insts[inst]
            && dfg.value_type(arg).is_vector()
        {
            arg
        } else {
            value
        }
    }
}
