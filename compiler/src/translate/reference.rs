//! References. The null reference is zero; a function reference is the address of a
//! [`VmFuncRef`].

use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use precast_artifact::promises::Promise;
use precast_artifact::vm::VmFuncRef;
use precast_artifact::{Builtin, TrapCode};
use std::mem::offset_of;

use super::FuncTranslator;
use crate::symbol::FuncIndex;

impl FuncTranslator<'_, '_> {
    pub(super) fn ref_null(&mut self) {
        let null = self.builder.ins().iconst(I64, 0);
        self.push(null);
    }

    pub(super) fn ref_is_null(&mut self) {
        let value = self.pop();
        let is_null = self.builder.ins().icmp_imm_s(IntCC::Equal, value, 0);
        let is_null = self.builder.ins().uextend(I32, is_null);
        self.push(is_null);
    }

    pub(super) fn ref_as_non_null(&mut self) {
        let value = self.peek();
        self.trapz(value, TrapCode::NullReference);
    }

    /// Pushes the address of the function's slot in the VM context, which the loader fills at the
    /// first use.
    pub(super) fn ref_func(&mut self, index: u32) {
        let slot = self.env.plan.funcref(FuncIndex::from_u32(index));
        let offset = self.builder.ins().iconst(I64, i64::from(slot));
        let slot = self.builder.ins().iadd(self.vmctx, offset);
        let code = self.read(Promise::FuncRefSlot, slot, offset_of!(VmFuncRef, code));
        let (cold, next) = self.unless_cold(code);
        self.builder.switch_to_block(cold);
        let function = self.builder.ins().iconst(I32, i64::from(index));
        self.call_builtin(Builtin::RefFunc, &[function]);
        self.builder.ins().jump(next, &[]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
        self.push(slot);
    }
}
