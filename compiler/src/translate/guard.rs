//! Indirect calls that are compared with a known index first, as
//! [`Middle`](crate::middle::Middle) decided. They are translated as if the module said
//! `if (index != known) (call_indirect) else (call)`.

use cranelift_codegen::ir::InstBuilder;
use cranelift_codegen::ir::condcodes::IntCC;
use wasmparser::{BlockType, Operator};

use super::FuncTranslator;
use super::homes::Stopped;
use crate::middle::Guard;
use crate::symbol::DefinedFuncIndex;

impl FuncTranslator<'_, '_> {
    /// The guard of an operator, if it is an indirect call with one.
    pub(super) fn guard(
        &self,
        function: DefinedFuncIndex,
        operator: &Operator<'_>,
        offset: u32,
    ) -> Option<Guard> {
        let Operator::CallIndirect {
            type_index,
            table_index,
        } = *operator
        else {
            return None;
        };
        if !self.reachable || self.constant_index(self.peek()).is_some() {
            return None;
        }
        let env = self.env;
        let call = (offset, table_index, type_index);
        env.middle.guard(env.module, env.plan, function, call)
    }

    /// Translates an indirect call with a guard. The fuel that it costs is pending.
    pub(super) fn call_guarded(&mut self, guard: Guard, offset: u32) -> Result<(), Stopped> {
        self.count_target();
        self.fuel_before_fork();
        let index = self.pop();
        // The cast is right for both types of indices: the table has that index.
        let known = guard.index.cast_signed();
        let other = self.builder.ins().icmp_imm_u(IntCC::NotEqual, index, known);
        self.push(other);
        self.if_(BlockType::FuncType(guard.ty));
        if guard.is_likely {
            let block = self.builder.current_block().expect("just begun");
            self.builder.set_cold_block(block);
        }
        self.push(index);
        self.save_fuel();
        self.call_element(guard.table, guard.ty);
        self.forget_fuel();
        self.else_();
        if self.env.middle.is_inlined(offset) {
            self.call_inlined(guard.callee, offset)?;
        } else {
            self.save_fuel();
            let callee = self.env.module.func_index(guard.callee);
            self.call(callee.as_u32());
            self.forget_fuel();
        }
        self.end();
        Ok(())
    }
}
