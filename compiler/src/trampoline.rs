//! Code between the host and wasm: entries, exits and thunks.
//!
//! The calling conventions of this code are those of [`precast_artifact::vm`]. An entry records
//! where its frame is, so that a trap in frames below the entry can resume at its landing pad. An
//! exit, and the thunk of a builtin, records where the wasm frames above it end, so that the host
//! can walk them.

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    self, Block, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem, InstBuilder,
    MemFlagsData, SigRef, StackSlotData, StackSlotKind, Type, Value,
};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use precast_artifact::vm::{ValRaw, VmContextHeader, VmFuncImport, VmStoreContext};
use precast_artifact::{Builtin, LibCall, TrapCode};
use std::mem::{offset_of, size_of};

use crate::module::Signature;
use crate::rounding;
use crate::signature::{self, clif_type};
use crate::symbol::{FuncIndex, GotEntry, Symbol};
use crate::translate::{AFTER_NO_RETURN, Env, declare_symbol, vm_offset};

/// Builds into `func`, which is empty, the code of a symbol that is not a function of the module.
pub(crate) fn build(
    env: &Env<'_>,
    symbol: Symbol,
    func: &mut ir::Function,
    context: &mut FunctionBuilderContext,
) {
    func.name = ir::UserFuncName::User(symbol.to_name());
    let of = |index| &env.module.signatures[index];
    func.signature = match symbol {
        Symbol::NativeEntry(index) => signature::native(env.isa, 2, of(index)),
        Symbol::ArrayEntry(_) => signature::pointers(env.isa, 3),
        Symbol::NativeExit(index) | Symbol::ArrayExit(index) => signature::wasm(of(index)),
        Symbol::ImportThunk(index) => signature::wasm(env.module.signature(index)),
        Symbol::BuiltinThunk(builtin) => signature::builtin_thunk(builtin),
        Symbol::Raise(_) => signature::raise(),
        Symbol::LibCallThunk(libcall) => signature::libcall(env.isa, libcall),
        Symbol::Round(_, ty) => signature::called_by_cranelift(env.isa, ty.clif_type(), 1),
        Symbol::Function(_)
        | Symbol::GotSlot(_)
        | Symbol::FrozenTable(_)
        | Symbol::TextStart
        | Symbol::Stop => {
            unreachable!("{symbol:?} is no trampoline")
        }
    };
    let mut builder = FunctionBuilder::new(func, context);
    let block = builder.create_block();
    builder.append_block_params_for_function_params(block);
    builder.switch_to_block(block);
    builder.ensure_inserted_block();
    builder.seal_block(block);
    let params = builder.block_params(block).to_vec();
    let mut trampoline = Trampoline {
        builder,
        isa: env.isa,
        params,
    };
    match symbol {
        Symbol::NativeEntry(index) => trampoline.native_entry(of(index)),
        Symbol::ArrayEntry(index) => trampoline.array_entry(of(index)),
        Symbol::NativeExit(index) => trampoline.native_exit(of(index)),
        Symbol::ArrayExit(index) => trampoline.array_exit(of(index)),
        Symbol::ImportThunk(index) => trampoline.import_thunk(env, index),
        Symbol::BuiltinThunk(builtin) => trampoline.builtin_thunk(builtin),
        Symbol::Raise(code) => trampoline.raise(code),
        Symbol::LibCallThunk(libcall) => trampoline.libcall_thunk(libcall),
        Symbol::Round(how, ty) => {
            rounding::round_and_return(&mut trampoline.builder, how, ty, trampoline.params[0]);
        }
        Symbol::Function(_)
        | Symbol::GotSlot(_)
        | Symbol::FrozenTable(_)
        | Symbol::TextStart
        | Symbol::Stop => {}
    }
    trampoline.builder.finalize(env.isa.frontend_config());
}

struct Trampoline<'a, 'b> {
    builder: FunctionBuilder<'b>,
    isa: &'a dyn TargetIsa,
    params: Vec<Value>,
}

impl Trampoline<'_, '_> {
    /// `(vmctx, code, P…) -> R`: calls `code(vmctx, P…) -> R`.
    fn native_entry(&mut self, signature: &Signature) {
        let mut args = vec![self.params[0]];
        args.extend_from_slice(&self.params[2..]);
        let results = self.call_wasm(signature, &args, |this| {
            signature
                .results
                .iter()
                .map(|ty| this.zero(clif_type(*ty)))
                .collect()
        });
        self.builder.ins().return_(&results);
    }

    /// `(vmctx, code, values)`: calls `code` with arguments from `values`, and stores the results
    /// there.
    fn array_entry(&mut self, signature: &Signature) {
        let values = self.params[2];
        let mut args = vec![self.params[0]];
        for (i, ty) in signature.params.iter().enumerate() {
            args.push(self.load_value(clif_type(*ty), values, i));
        }
        let results = self.call_wasm(signature, &args, |_| Vec::new());
        for (i, result) in results.into_iter().enumerate() {
            self.store_value(result, values, i);
        }
        self.builder.ins().return_(&[]);
    }

    /// Records this frame in the store and calls `code`; the builder continues where the call
    /// returns. At the landing pad, where a trap resumes, the trampoline returns at once with the
    /// values that `meaningless` makes.
    fn call_wasm(
        &mut self,
        signature: &Signature,
        args: &[Value],
        meaningless: impl FnOnce(&mut Self) -> Vec<Value>,
    ) -> Vec<Value> {
        let (vmctx, code) = (self.params[0], self.params[1]);
        let store = self.load(I64, vmctx, offset_of!(VmContextHeader, store));
        // The instruction that gets the landing pad's address names the block with the call.
        let call = self.builder.create_block();
        let returned = self.builder.create_block();
        let landing_pad = self.builder.create_block();
        self.builder.ins().jump(call, &[]);
        self.builder.seal_block(call);
        self.builder.switch_to_block(call);
        let fp = self.builder.ins().get_frame_pointer(I64);
        self.store(fp, store, offset_of!(VmStoreContext, entry_fp));
        let sp = self.builder.ins().get_stack_pointer(I64);
        self.store(sp, store, offset_of!(VmStoreContext, entry_sp));
        let handler = self
            .builder
            .ins()
            .get_exception_handler_address(I64, call, 0);
        self.store(handler, store, offset_of!(VmStoreContext, entry_handler));

        let clif = signature::wasm(signature);
        let results: Vec<Value> = clif
            .returns
            .iter()
            .map(|result| self.builder.append_block_param(returned, result.value_type))
            .collect();
        let sig = self.builder.import_signature(clif);
        let table = self.exception_table(sig, returned, results.len(), landing_pad);
        self.builder.ins().try_call_indirect(code, args, table);
        self.builder.seal_block(returned);
        self.builder.seal_block(landing_pad);
        self.builder.set_cold_block(landing_pad);

        self.builder.switch_to_block(landing_pad);
        let values = meaningless(self);
        self.builder.ins().return_(&values);
        self.builder.switch_to_block(returned);
        results
    }

    fn exception_table(
        &mut self,
        sig: SigRef,
        returned: Block,
        results: usize,
        landing_pad: Block,
    ) -> ir::ExceptionTable {
        let dfg = &mut self.builder.func.dfg;
        let results = (0..results as u32).map(BlockArg::TryCallRet);
        let returned = BlockCall::new(returned, results, &mut dfg.value_lists);
        let landing_pad = BlockCall::new(landing_pad, [], &mut dfg.value_lists);
        let handlers = [ExceptionTableItem::Default(landing_pad)];
        dfg.exception_tables
            .push(ExceptionTableData::new(sig, returned, handlers))
    }

    /// `(import, P…) -> R`: calls `shim(import, P…) -> R`.
    fn native_exit(&mut self, signature: &Signature) {
        let import = self.params[0];
        let store = self.load(I64, import, offset_of!(VmFuncImport, store));
        self.record_exit(store);
        let shim = self.load(I64, import, offset_of!(VmFuncImport, shim));
        let sig = signature::native(self.isa, 1, signature);
        let args = self.params.clone();
        let results = self.call_indirect(sig, shim, &args);
        self.builder.ins().return_(&results);
    }

    /// `(import, P…) -> R…`: calls `shim(import, values)`.
    fn array_exit(&mut self, signature: &Signature) {
        let import = self.params[0];
        let store = self.load(I64, import, offset_of!(VmFuncImport, store));
        self.record_exit(store);
        let count = signature.params.len().max(signature.results.len());
        let slot = self.builder.create_sized_stack_slot(StackSlotData::new(
            StackSlotKind::ExplicitSlot,
            (count * size_of::<ValRaw>()) as u32,
            align_of::<ValRaw>().ilog2() as u8,
        ));
        let values = self.builder.ins().stack_addr(I64, slot, 0);
        for i in 0..signature.params.len() {
            self.store_value(self.params[1 + i], values, i);
        }
        let shim = self.load(I64, import, offset_of!(VmFuncImport, shim));
        self.call_indirect(signature::pointers(self.isa, 2), shim, &[import, values]);
        let results: Vec<Value> = signature
            .results
            .iter()
            .enumerate()
            .map(|(i, ty)| self.load_value(clif_type(*ty), values, i))
            .collect();
        self.builder.ins().return_(&results);
    }

    /// `(vmctx, P…) -> R…`: makes a tail call of an imported function.
    fn import_thunk(&mut self, env: &Env<'_>, index: FuncIndex) {
        let slot = env.plan.func_import(index) as usize;
        let vmctx = self.params[0];
        let code = self.load(I64, vmctx, slot + offset_of!(VmFuncImport, code));
        let mut args = self.params.clone();
        args[0] = self.load(I64, vmctx, slot + offset_of!(VmFuncImport, ctx));
        let sig = signature::wasm(env.module.signature(index));
        let sig = self.builder.import_signature(sig);
        self.builder.ins().return_call_indirect(sig, code, &args);
    }

    /// `(vmctx, …) -> …`: calls a routine of the loader with the same arguments.
    fn builtin_thunk(&mut self, builtin: Builtin) {
        let args = self.params.clone();
        let results = self.call_builtin(builtin, &args);
        self.builder.ins().return_(&results);
    }

    /// `(vmctx)`: ends the activation with a trap of its caller.
    fn raise(&mut self, code: TrapCode) {
        let number = self
            .builder
            .ins()
            .iconst(ir::types::I32, i64::from(code as u32));
        self.call_builtin(Builtin::RaiseTrap, &[self.params[0], number]);
        self.builder.ins().trap(AFTER_NO_RETURN);
    }

    /// Records the edge of the wasm frames, and calls a routine of the loader whose first argument
    /// is the VM context.
    fn call_builtin(&mut self, builtin: Builtin, args: &[Value]) -> Vec<Value> {
        let store = self.load(I64, args[0], offset_of!(VmContextHeader, store));
        self.record_exit(store);
        let builtins = self.load(I64, store, offset_of!(VmStoreContext, builtins));
        let code = self.load(I64, builtins, builtin.position() * size_of::<usize>());
        self.call_indirect(signature::builtin(self.isa, builtin), code, args)
    }

    /// Calls a library routine of the loader with the same arguments and convention.
    fn libcall_thunk(&mut self, libcall: LibCall) {
        let code = self.load_got_slot(GotEntry::LibCall(libcall));
        let args = self.params.clone();
        let results = self.call_indirect(signature::libcall(self.isa, libcall), code, &args);
        self.builder.ins().return_(&results);
    }

    /// Records for the host that the wasm frames end with the caller of this trampoline.
    fn record_exit(&mut self, store: Value) {
        // A frame starts with the caller's frame pointer and the return address.
        let fp = self.builder.ins().get_frame_pointer(I64);
        let caller = self.load(I64, fp, 0);
        self.store(caller, store, offset_of!(VmStoreContext, exit_fp));
        let sp = self.builder.ins().iadd_imm_u(fp, size_of::<usize>() as i64);
        self.store(sp, store, offset_of!(VmStoreContext, exit_sp));
    }

    fn call_indirect(&mut self, sig: ir::Signature, code: Value, args: &[Value]) -> Vec<Value> {
        let sig = self.builder.import_signature(sig);
        let call = self.builder.ins().call_indirect(sig, code, args);
        self.builder.inst_results(call).to_vec()
    }

    fn load_got_slot(&mut self, entry: GotEntry) -> Value {
        let slot = declare_symbol(self.builder.func, Symbol::GotSlot(entry));
        let slot = self.builder.ins().symbol_value(I64, slot);
        self.load(I64, slot, 0)
    }

    fn load(&mut self, ty: Type, base: Value, offset: usize) -> Value {
        self.builder
            .ins()
            .load(ty, MemFlagsData::trusted(), base, vm_offset(offset))
    }

    fn store(&mut self, value: Value, base: Value, offset: usize) {
        self.builder
            .ins()
            .store(MemFlagsData::trusted(), value, base, vm_offset(offset));
    }

    /// The value at this position of an array of [`ValRaw`], which is little-endian.
    fn load_value(&mut self, ty: Type, values: Value, position: usize) -> Value {
        let offset = vm_offset(position * size_of::<ValRaw>());
        self.builder.ins().load(ty, value_flags(), values, offset)
    }

    fn store_value(&mut self, value: Value, values: Value, position: usize) {
        let offset = vm_offset(position * size_of::<ValRaw>());
        self.builder
            .ins()
            .store(value_flags(), value, values, offset);
    }

    fn zero(&mut self, ty: Type) -> Value {
        match ty {
            ir::types::F32 => self.builder.ins().f32const(0.0),
            ir::types::F64 => self.builder.ins().f64const(0.0),
            _ => self.builder.ins().iconst(ty, 0),
        }
    }
}

fn value_flags() -> MemFlagsData {
    MemFlagsData::trusted().with_endianness(ir::Endianness::Little)
}
