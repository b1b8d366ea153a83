//! Calls of the host's function listener, in code that is compiled for it: at the entry of each
//! function, and where it returns or ends by a tail call. A function that ends by a trap or an
//! exception calls nothing; the loader knows that it was active.
//!
//! Parameters and results are passed in an array of [`ValRaw`] in the frame.

use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value};
use precast_artifact::Builtin;
use precast_artifact::vm::ValRaw;
use std::mem::{align_of, size_of};

use super::FuncTranslator;
use super::control::FrameType;

impl FuncTranslator<'_, '_> {
    /// Tells the listener that the function begins.
    pub(super) fn listen_at_entry(&mut self) {
        if !self.env.listeners {
            return;
        }
        let params = self.builder.block_params(self.entry)[1..].to_vec();
        self.listen(Builtin::FunctionBefore, Some(&params));
    }

    /// Tells the listener that the function returns with what is on top of the stack.
    pub(super) fn listen_at_return(&mut self, results: usize) {
        if !self.env.listeners {
            return;
        }
        let first = self.stack.len() - results;
        let results = self.stack[first..].to_vec();
        self.listen(Builtin::FunctionAfter, Some(&results));
    }

    /// Tells the listener that the function ends by a tail call.
    pub(super) fn listen_at_tail_call(&mut self) {
        if self.env.listeners {
            self.listen(Builtin::FunctionAfter, None);
        }
    }

    fn listen(&mut self, builtin: Builtin, values: Option<&[Value]>) {
        let place = match values {
            Some(values) => self.listened(values),
            None => self.builder.ins().iconst(I64, 0),
        };
        let function = self
            .builder
            .ins()
            .iconst(I32, i64::from(self.function.as_u32()));
        self.call_builtin(builtin, &[function, place]);
    }

    /// Stores values in the array for the listener, and returns its address.
    fn listened(&mut self, values: &[Value]) -> Value {
        let slot = match self.caches.listened {
            Some(slot) => slot,
            None => {
                let FrameType::Signature(signature) = self.control[0].ty else {
                    unreachable!("the frame of a function")
                };
                let signature = &self.env.module.signatures[signature];
                let values = signature.params.len().max(signature.results.len());
                let data = StackSlotData::new(
                    StackSlotKind::ExplicitSlot,
                    (values.max(1) * size_of::<ValRaw>()) as u32,
                    align_of::<ValRaw>().ilog2() as u8,
                );
                let slot = self.builder.create_sized_stack_slot(data);
                self.caches.listened = Some(slot);
                slot
            }
        };
        for (i, value) in values.iter().enumerate() {
            let at = (i * size_of::<ValRaw>()) as i32;
            self.builder.ins().stack_store(I64, *value, slot, at);
        }
        self.builder.ins().stack_addr(I64, slot, 0)
    }
}
