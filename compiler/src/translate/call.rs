//! Calls: direct, through import slots, through tables and through references.
//!
//! A direct call passes the caller's VM context. An imported function has a VM context of its own,
//! next to its code in the import slot. An element of a frozen table belongs to this module, so it
//! gets the caller's context; any other function reference has its own.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, SigRef, Value};
use precast_artifact::promises::Promise;
use precast_artifact::records::{FrozenEntry, NONE};
use precast_artifact::vm::{VmFuncImport, VmFuncRef};
use precast_artifact::{Builtin, TrapCode};
use std::mem::{offset_of, size_of, take};

use super::FuncTranslator;
use super::exception::Target;
use super::state::vm_offset;
use crate::plan::FrozenTable;
use crate::symbol::{FuncIndex, GotEntry, SigIndex, Symbol, TableIndex, TypeIndex};

/// The code and the VM context that a call through a slot or table needs.
struct Callee {
    code: Value,
    ctx: Value,
}

impl FuncTranslator<'_, '_> {
    pub(super) fn call(&mut self, index: u32) {
        let index = FuncIndex::from_u32(index);
        let params = self.env.module.signature(index).params.len();
        let signature = self.signature(self.env.module.functions[index]);
        if self.env.module.defined(index).is_some() {
            let callee = self.callee(index);
            self.take_args(self.vmctx, params);
            self.emit_call(signature, Target::Function(callee));
        } else {
            let Callee { code, ctx } = self.imported(index);
            self.take_args(ctx, params);
            self.emit_call(signature, Target::Code(code));
        }
    }

    pub(super) fn return_call(&mut self, index: u32) {
        self.listen_at_tail_call();
        let index = FuncIndex::from_u32(index);
        let params = self.env.module.signature(index).params.len();
        if self.env.module.defined(index).is_some() {
            let callee = self.callee(index);
            self.take_args(self.vmctx, params);
            self.builder.ins().return_call(callee, &self.args);
        } else {
            let Callee { code, ctx } = self.imported(index);
            let signature = self.signature(self.env.module.functions[index]);
            self.take_args(ctx, params);
            self.builder
                .ins()
                .return_call_indirect(signature, code, &self.args);
        }
        self.reachable = false;
    }

    pub(super) fn call_indirect(&mut self, table: u32, ty: u32) {
        self.count_target();
        self.call_element(table, ty);
    }

    /// Calls the function at the index on top of the stack.
    pub(super) fn call_element(&mut self, table: u32, ty: u32) {
        if let Some(function) = self.constant_element(table, ty) {
            self.pop();
            return self.call(function.as_u32());
        }
        let (signature, code) = self.prepare_indirect(table, ty);
        self.emit_call(signature, Target::Code(code));
    }

    pub(super) fn return_call_indirect(&mut self, table: u32, ty: u32) {
        if let Some(function) = self.constant_element(table, ty) {
            self.pop();
            return self.return_call(function.as_u32());
        }
        let (signature, code) = self.prepare_indirect(table, ty);
        self.emit_return_call(signature, code);
    }

    /// Ends the function by a call of this code with the arguments in `args`.
    fn emit_return_call(&mut self, signature: SigRef, code: Value) {
        let args = take(&mut self.args);
        self.listen_at_tail_call();
        self.args = args;
        self.builder
            .ins()
            .return_call_indirect(signature, code, &self.args);
        self.reachable = false;
    }

    /// The function of the module that an indirect call always calls, if the index on top of the
    /// stack is constant and the table is frozen.
    fn constant_element(&self, table: u32, ty: u32) -> Option<FuncIndex> {
        let env = self.env;
        let frozen = env.plan.tables[TableIndex::from_u32(table)]
            .frozen
            .as_ref()?;
        let index = usize::try_from(self.constant_index(self.peek())?).ok()?;
        let function = (*frozen.elements.get(index)?)?;
        let fits = env.module.functions[function] == env.module.types[TypeIndex::from_u32(ty)];
        (fits && env.module.defined(function).is_some()).then_some(function)
    }

    /// Checks the callee of an indirect call, and takes the arguments from the stack.
    fn prepare_indirect(&mut self, table: u32, ty: u32) -> (SigRef, Value) {
        let index = self.pop();
        let expected = self.env.module.types[TypeIndex::from_u32(ty)];
        let params = self.env.module.signatures[expected].params.len();
        let table = TableIndex::from_u32(table);
        let env = self.env;
        let Callee { code, ctx } = match &env.plan.tables[table].frozen {
            Some(frozen) => self.frozen_element(table, frozen, index, expected),
            None => self.table_function(table, index, expected),
        };
        let signature = self.signature(expected);
        self.take_args(ctx, params);
        (signature, code)
    }

    pub(super) fn call_ref(&mut self, ty: u32) {
        let (signature, code) = self.prepare_ref(ty);
        self.emit_call(signature, Target::Code(code));
    }

    pub(super) fn return_call_ref(&mut self, ty: u32) {
        let (signature, code) = self.prepare_ref(ty);
        self.emit_return_call(signature, code);
    }

    /// Checks the reference of a call, unless its type has no null reference, and takes the
    /// arguments from the stack. Validation guarantees the type of the function.
    fn prepare_ref(&mut self, ty: u32) -> (SigRef, Value) {
        let funcref = self.pop();
        let expected = self.env.module.types[TypeIndex::from_u32(ty)];
        let params = self.env.module.signatures[expected].params.len();
        let here = self.positions.offset(self.builder.srcloc());
        if !self.env.module.facts.non_null_calls.contains(&here) {
            self.trapz(funcref, TrapCode::NullFunctionReference);
        }
        let Callee { code, ctx } = self.of_reference(funcref);
        let signature = self.signature(expected);
        self.take_args(ctx, params);
        (signature, code)
    }

    /// Code and VM context of the function that a reference refers to.
    fn of_reference(&mut self, funcref: Value) -> Callee {
        Callee {
            code: self.read(Promise::FuncRefCode, funcref, offset_of!(VmFuncRef, code)),
            ctx: self.read(Promise::FuncRefContext, funcref, offset_of!(VmFuncRef, ctx)),
        }
    }

    /// Code and VM context of an imported function, from its import slot.
    fn imported(&mut self, index: FuncIndex) -> Callee {
        let slot = self.env.plan.func_import(index) as usize;
        Callee {
            code: self.read(
                Promise::ImportCode,
                self.vmctx,
                slot + offset_of!(VmFuncImport, code),
            ),
            ctx: self.read(
                Promise::ImportContext,
                self.vmctx,
                slot + offset_of!(VmFuncImport, ctx),
            ),
        }
    }

    /// The element of a frozen table, if it has the expected signature.
    ///
    /// The last element is followed by a null entry. An index out of bounds is replaced by the
    /// index of that entry, without a branch, so the check of the signature is a check of the
    /// bounds as well, and speculation has no check to get past. A cold block finds out which of
    /// the two was wrong.
    ///
    /// If all elements have the expected signature and none is null, the bounds are checked
    /// instead, and the signature is not even loaded.
    fn frozen_element(
        &mut self,
        table: TableIndex,
        frozen: &FrozenTable,
        index: Value,
        expected: SigIndex,
    ) -> Callee {
        let len = self.builder.ins().iconst(I64, frozen.elements.len() as i64);
        let index = self.widen_index(index);
        let inside = self.builder.ins().icmp(IntCC::UnsignedLessThan, index, len);
        let all_fit = frozen.signature == Some(expected) && !frozen.has_null;
        if all_fit {
            self.trapz(inside, TrapCode::UndefinedElement);
        }
        let place = self.builder.ins().select_spectre_guard(inside, index, len);
        let entries = self.symbol(Symbol::FrozenTable(table));
        let offset = self
            .builder
            .ins()
            .ishl_imm_u(place, i64::from(size_of::<FrozenEntry>().ilog2()));
        let entry = self.builder.ins().iadd(entries, offset);
        let flags = self
            .read_flags(Promise::FrozenElements)
            .with_endianness(Endianness::Little);
        if !all_fit {
            self.check_frozen(frozen, inside, entry, flags, expected);
        }
        let code =
            self.builder
                .ins()
                .uload32(flags, entry, vm_offset(offset_of!(FrozenEntry, code)));
        let text = self.symbol(Symbol::TextStart);
        Callee {
            code: self.builder.ins().iadd(text, code),
            ctx: self.vmctx,
        }
    }

    /// Traps unless an entry of a frozen table has the expected signature.
    fn check_frozen(
        &mut self,
        frozen: &FrozenTable,
        inside: Value,
        entry: Value,
        flags: MemFlagsData,
        expected: SigIndex,
    ) {
        let signature = self.builder.ins().load(
            I32,
            flags,
            entry,
            vm_offset(offset_of!(FrozenEntry, signature)),
        );
        let fits = if frozen.signature == Some(expected) {
            self.builder
                .ins()
                .icmp_imm_u(IntCC::NotEqual, signature, i64::from(NONE))
        } else {
            self.builder
                .ins()
                .icmp_imm_u(IntCC::Equal, signature, i64::from(expected.as_u32()))
        };
        let (wrong, next) = self.unless_cold(fits);
        self.builder.seal_block(next);
        self.builder.switch_to_block(wrong);
        self.trapz(inside, TrapCode::UndefinedElement);
        let null = self
            .builder
            .ins()
            .icmp_imm_u(IntCC::Equal, signature, i64::from(NONE));
        self.trapnz(null, TrapCode::IndirectCallToNull);
        self.trap(TrapCode::BadSignature);
        self.builder.switch_to_block(next);
    }

    /// The function that an element of a table refers to, if it has the expected signature.
    fn table_function(&mut self, table: TableIndex, index: Value, expected: SigIndex) -> Callee {
        let element = self.table_element(table, index, TrapCode::UndefinedElement);
        let funcref = self.read(Promise::TableElements, element, 0);
        let module = self.env.module;
        let ty = module.tables[table].element;
        if ty.is_defaultable() {
            self.trapz(funcref, TrapCode::IndirectCallToNull);
        }
        let is_of = |index| module.is_subtype(SigIndex::from_u32(index), expected);
        if !ty.concrete().is_some_and(is_of) {
            self.check_type(funcref, expected);
        }
        self.of_reference(funcref)
    }

    /// Traps unless the function that a reference refers to is of the expected type.
    fn check_type(&mut self, funcref: Value, expected: SigIndex) {
        let found = self.read(
            Promise::FuncRefType,
            funcref,
            offset_of!(VmFuncRef, type_id),
        );
        let type_id = self.type_id(expected);
        let same = self.equal(found, type_id);
        if self.env.module.signatures[expected].is_final() {
            return self.trapz(same, TrapCode::BadSignature);
        }
        let (cold, next) = self.unless_cold(same);
        self.builder.switch_to_block(cold);
        let fits = self.call_builtin(Builtin::IsSubtype, &[found, type_id]);
        self.trapz(fits.expect("a result"), TrapCode::BadSignature);
        self.builder.ins().jump(next, &[]);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }

    /// The type id of a signature, which is the same in all modules.
    fn type_id(&mut self, signature: SigIndex) -> Value {
        match self.env.module.signatures[signature].type_id() {
            Some(id) => self.builder.ins().iconst(I64, id.cast_signed()),
            None => {
                let slot = self.symbol(Symbol::GotSlot(GotEntry::TypeId(signature)));
                self.read(Promise::GotSlots, slot, 0)
            }
        }
    }

    /// Moves operands from the stack to the arguments of a call.
    fn take_args(&mut self, ctx: Value, count: usize) {
        let first = self.stack.len() - count;
        self.passed += count as u64;
        self.args.clear();
        self.args.push(ctx);
        self.args.extend(self.stack.drain(first..));
    }
}
