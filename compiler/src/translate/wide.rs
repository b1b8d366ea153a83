//! Wide arithmetic: 128-bit sums and products, as two operands of 64 bits each.

use cranelift_codegen::ir::types::I128;
use cranelift_codegen::ir::{InstBuilder, Value};
use wasmparser::{FunctionBody, Operator, OperatorsReader};

use super::FuncTranslator;
use crate::Error;
use crate::middle::Half;

impl FuncTranslator<'_, '_> {
    /// Translates an operator of this family. Returns `false` for any other operator.
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
            // Cranelift turns such a product into one instruction of the CPU.
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

    /// Translates the body of the compilers' helper for 128-bit products: the product, and the
    /// stores of its halves in their order. Its other operators have no effect but their cost.
    pub(super) fn product(
        &mut self,
        body: &FunctionBody<'_>,
        halves: [Half; 2],
    ) -> Result<(), Error> {
        let mut halves = halves.into_iter();
        let mut product = None;
        let mut reader = OperatorsReader::new(body.get_binary_reader_for_operators()?);
        while !reader.eof() {
            let (operator, offset) = reader.read_with_offset()?;
            let location = self.positions.of(offset as u32);
            self.builder.set_srcloc(location);
            self.interruption_before(&operator, false);
            match operator {
                Operator::I64Store { .. } => {
                    let (low, high) = match product {
                        Some(product) => product,
                        None => *product.insert(self.product_of_parameters()),
                    };
                    self.local_get(0);
                    self.push(match halves.next() {
                        Some(Half::Low) => low,
                        Some(Half::High) => high,
                        None => unreachable!("the helper has two stores"),
                    });
                    self.operator(&operator);
                }
                Operator::End => self.operator(&operator),
                _ => {}
            }
        }
        Ok(())
    }

    /// The halves of the 128-bit product of parameters 1 and 2 by parameters 3 and 4.
    fn product_of_parameters(&mut self) -> (Value, Value) {
        let [a, a_high, b, b_high] = [1, 2, 3, 4].map(|i| self.read_home(self.locals.home(i)));
        let wide = [a, b].map(|word| self.builder.ins().uextend(I128, word));
        let product = self.builder.ins().imul(wide[0], wide[1]);
        let (low, upper) = self.builder.ins().isplit(product);
        let first = self.builder.ins().imul(a, b_high);
        let second = self.builder.ins().imul(a_high, b);
        let upper = self.builder.ins().iadd(upper, first);
        let high = self.builder.ins().iadd(upper, second);
        (low, high)
    }

    /// Pops two numbers. The low half of each was pushed before its high half.
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
