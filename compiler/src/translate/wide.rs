//! Wide arithmetic: 128-bit sums and products, as two operands of 64 bits each.

use cranelift_codegen::ir::types::I128;
use cranelift_codegen::ir::{InstBuilder, Value};
use wasmparser::Operator;

use super::FuncTranslator;

impl FuncTranslator<'_, '_> {
    /// Translates an operator of this family. Whether it is one.
    pub(super) fn wide(&mut self, operator: &Operator<'_>) -> bool {
        match operator {
            Operator::I64Add128 => {
                let (a, b) = self.pop_wide_pair();
                let sum = self.builder.ins().iadd(a, b);
                self.push_wide(sum);
            }
            Operator::I64Sub128 => {
                let (a, b) = self.pop_wide_pair();
                let difference = self.builder.ins().isub(a, b);
                self.push_wide(difference);
            }
            // Cranelift knows these products as one instruction of the CPU.
            Operator::I64MulWideS => {
                let (a, b) = self.pop2();
                let [a, b] = [a, b].map(|v| self.builder.ins().sextend(I128, v));
                let product = self.builder.ins().imul(a, b);
                self.push_wide(product);
            }
            Operator::I64MulWideU => {
                let (a, b) = self.pop2();
                let [a, b] = [a, b].map(|v| self.builder.ins().uextend(I128, v));
                let product = self.builder.ins().imul(a, b);
                self.push_wide(product);
            }
            _ => return false,
        }
        true
    }

    /// Pops two numbers, the low half of each in front of its high half.
    fn pop_wide_pair(&mut self) -> (Value, Value) {
        let b = self.pop_wide();
        (self.pop_wide(), b)
    }

    fn pop_wide(&mut self) -> Value {
        let (low, high) = self.pop2();
        self.builder.ins().iconcat(low, high)
    }

    fn push_wide(&mut self, value: Value) {
        let (low, high) = self.builder.ins().isplit(value);
        self.push(low);
        self.push(high);
    }
}
