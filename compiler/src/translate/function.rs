//! Translates a whole function: parameters, locals and body.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{self, GlobalValueData, Inst, InstBuilder, SourceLoc, Type, Value};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use precast_artifact::promises::Promise;
use precast_artifact::vm::{VmContextHeader, VmStoreContext};
use precast_artifact::{Strategy, TrapCode, ValType};
use std::mem::{offset_of, take};
use wasmparser::{Catch, FunctionBody, Operator, OperatorsReader};

use super::control::Frame;
use super::counters::begins_region;
use super::homes::{Home, Stopped, check_declared_locals};
use super::locals::Assigned;
use super::promises;
use super::state::{Env, FuncTranslator, Scratch, vm_offset};
use super::trap::AFTER_NO_RETURN;
use crate::Error;
use crate::signature::{self, clif_type};
use crate::symbol::{DefinedFuncIndex, Symbol, TagIndex};

/// How a function is translated.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mode {
    /// Conditional traps are to become [stops](crate::stops).
    pub(crate) has_stops: bool,
    /// Locals are kept in the frame, see [`Stopped::Explodes`].
    pub(crate) in_frame: bool,
}

/// Translates a validated function of the module into `func`, which is empty. After an error, the
/// content of `func` and `context` must not be used.
pub(crate) fn translate(
    env: &Env<'_>,
    index: DefinedFuncIndex,
    mode: Mode,
    func: &mut ir::Function,
    context: &mut FunctionBuilderContext,
    scratch: &mut Scratch,
) -> Result<(), Stopped> {
    let signature = env.module.signature(env.module.func_index(index));
    func.name = ir::UserFuncName::User(Symbol::Function(index).to_name());
    func.signature = signature::wasm(signature);
    if env.strategy == Strategy::Guarded {
        func.stack_limit = Some(stack_limit(func));
    }

    let mut builder = FunctionBuilder::new(func, context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.ensure_inserted_block();
    builder.seal_block(entry);
    let vmctx = builder.block_params(entry)[0];
    scratch.caches.clear();
    let mut translator = FuncTranslator {
        builder,
        env,
        stack: take(&mut scratch.stack),
        control: take(&mut scratch.control),
        reachable: true,
        locals: take(&mut scratch.locals),
        extent: take(&mut scratch.extent),
        in_frame: mode.in_frame,
        positions: take(&mut scratch.positions),
        body: 0,
        args: take(&mut scratch.args),
        block_args: take(&mut scratch.block_args),
        passed: 0,
        vmctx,
        entry,
        function: env.module.func_index(index),
        bytes: env.module.body_range(index).end - env.module.body_range(index).start,
        caches: take(&mut scratch.caches),
        fuel: None,
        assigned: None,
        accesses: take(&mut scratch.accesses),
        has_stops: mode.has_stops,
        stops: take(&mut scratch.stops),
        // The cast is right: a module is shorter than 4 GiB.
        body_start: env.module.bodies[index].range().start as u32,
        hints: env.hints(index),
    };
    translator.stack.clear();
    translator.control.clear();
    translator.accesses.clear();
    translator.stops.clear();
    translator.locals.clear();
    translator.extent.clear();
    translator.positions.clear();
    translator.function(index, signature)?;

    scratch.stack = translator.stack;
    scratch.control = translator.control;
    scratch.locals = translator.locals;
    scratch.extent = translator.extent;
    scratch.positions = translator.positions;
    scratch.args = translator.args;
    scratch.block_args = translator.block_args;
    scratch.caches = translator.caches;
    scratch.accesses = translator.accesses;
    scratch.stops = translator.stops;
    translator.builder.finalize(env.isa.frontend_config());
    Ok(())
}

/// Builds into `func`, which is empty, the code in front of a function whose frame is too large to
/// be made before the stack pointer is compared with its limit. This code makes the comparison,
/// then a tail call of the function.
pub(crate) fn guard(
    env: &Env<'_>,
    index: DefinedFuncIndex,
    frame: u32,
    func: &mut ir::Function,
    context: &mut FunctionBuilderContext,
) {
    let symbol = Symbol::Function(index).to_name();
    func.name = ir::UserFuncName::User(symbol.clone());
    func.signature = signature::wasm(env.module.signature(env.module.func_index(index)));
    let mut builder = FunctionBuilder::new(func, context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    let start = u32::try_from(env.module.bodies[index].range().start);
    builder.set_srcloc(SourceLoc::new(start.expect("modules are below 4 GiB")));
    let args = builder.block_params(entry).to_vec();
    let vmctx = args[0];

    let pointer = builder.ins().get_stack_pointer(I64);
    let mut read = |promise, base, offset| {
        let flags = promises::flags(promise);
        builder.ins().load(I64, flags, base, vm_offset(offset))
    };
    let store = offset_of!(VmContextHeader, store);
    let store = read(Promise::StorePointer, vmctx, store);
    let limit = offset_of!(VmStoreContext, stack_limit);
    let limit = read(Promise::StackLimit, store, limit);
    // The first comparison makes sure that the subtraction does not wrap.
    let below = builder.ins().icmp(IntCC::UnsignedLessThan, pointer, limit);
    let room = builder.ins().isub(pointer, limit);
    let frame = builder.ins().iconst(I64, i64::from(frame));
    let little = builder.ins().icmp(IntCC::UnsignedLessThan, room, frame);
    let stop = builder.ins().bor(below, little);
    let (out, enough) = (builder.create_block(), builder.create_block());
    builder.ins().brif(stop, out, &[], enough, &[]);
    builder.set_cold_block(out);
    builder.switch_to_block(out);
    builder.seal_block(out);
    let mut import = |symbol: Symbol, signature| {
        let name = builder
            .func
            .declare_imported_user_function(symbol.to_name());
        let signature = builder.import_signature(signature);
        builder.import_function(ir::ExtFuncData {
            name: ir::ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        })
    };
    let raise = import(Symbol::Raise(TrapCode::StackOverflow), signature::raise());
    let signature = signature::wasm(env.module.signature(env.module.func_index(index)));
    let body = import(Symbol::Function(index), signature);
    builder.ins().call(raise, &[vmctx]);
    builder.ins().trap(AFTER_NO_RETURN);
    builder.switch_to_block(enough);
    builder.seal_block(enough);
    builder.ins().return_call(body, &args);
    builder.finalize(env.isa.frontend_config());
}

/// Whether the code of a function calls nothing. Such a function needs no comparison with the stack
/// limit if its frame is at most [`UNCHECKED_FRAME`](precast_artifact::abi::UNCHECKED_FRAME) bytes
/// long, because that much is always left below the limit. Library calls that Cranelift makes do
/// not count: they go to thunks, for which there is more room below the limit.
pub(crate) fn calls_nothing(func: &ir::Function) -> bool {
    func.dfg.signatures.is_empty()
}

/// The stack limit, for the check that Cranelift puts in front of a function's frame.
fn stack_limit(func: &mut ir::Function) -> ir::GlobalValue {
    let vmctx = func.create_global_value(GlobalValueData::VMContext);
    let readonly = func
        .dfg
        .mem_flags
        .insert(promises::flags(Promise::StorePointer))
        .expect("the first flags");
    let store = func.create_global_value(GlobalValueData::Load {
        base: vmctx,
        offset: vm_offset(offset_of!(VmContextHeader, store)),
        global_type: I64,
        flags: readonly,
    });
    let mutable = func
        .dfg
        .mem_flags
        .insert(promises::flags(Promise::StackLimit))
        .expect("the second flags");
    func.create_global_value(GlobalValueData::Load {
        base: store,
        offset: vm_offset(offset_of!(VmStoreContext, stack_limit)),
        global_type: I64,
        flags: mutable,
    })
}

/// Cranelift's type of a local.
pub(super) fn type_of_local(ty: wasmparser::ValType) -> Type {
    clif_type(match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::V128 => ValType::V128,
        wasmparser::ValType::I64 | wasmparser::ValType::Ref(_) => ValType::I64,
    })
}

impl FuncTranslator<'_, '_> {
    fn function(
        &mut self,
        index: DefinedFuncIndex,
        signature: &crate::module::Signature,
    ) -> Result<(), Stopped> {
        let body = &self.env.module.bodies[index];
        let start = u32::try_from(body.range().start).expect("modules are below 4 GiB");
        self.builder.set_srcloc(SourceLoc::new(start));
        let is_checked = self.env.module.memories.keys().any(|m| !self.is_guarded(m));
        if is_checked && !self.in_frame {
            self.assigned = Some(Assigned::find(body)?);
        }
        for (i, ty) in signature.params.iter().enumerate() {
            let value = self.builder.block_params(self.entry)[1 + i];
            self.local(clif_type(*ty), value);
        }
        match self.in_frame {
            true => self.declared_locals_in_frame(body)?,
            false => {
                check_declared_locals(body)?;
                self.declared_locals(body)?;
            }
        }
        let check = (self.env.strategy == Strategy::Checked).then(|| self.check_stack());
        self.interruption_at_entry(body)?;

        self.control
            .push(Frame::function(self.env.module.func_type(index)));
        self.listen_at_entry();
        self.operators(index)?;
        if let Some(check) = check
            && calls_nothing(self.builder.func)
        {
            for inst in check.into_iter().rev() {
                self.builder.func.layout.remove_inst(inst);
            }
        }
        Ok(())
    }

    /// Makes the locals that a body declares.
    pub(super) fn declared_locals(&mut self, body: &FunctionBody<'_>) -> Result<(), Error> {
        let mut zeros = Vec::new();
        for declaration in body.get_locals_reader()? {
            let (count, ty) = declaration?;
            let ty = type_of_local(ty);
            let zero = match zeros.iter().find(|(other, _)| *other == ty) {
                Some((_, zero)) => *zero,
                None => {
                    let zero = self.zero(ty);
                    zeros.push((ty, zero));
                    zero
                }
            };
            for _ in 0..count {
                self.local(ty, zero);
            }
        }
        Ok(())
    }

    /// Makes the locals that the function itself declares, in the frame. They are zeroed together:
    /// a declaration of five bytes may make 50,000.
    fn declared_locals_in_frame(&mut self, body: &FunctionBody<'_>) -> Result<(), Error> {
        let (mut places, mut end) = (Vec::new(), 0_u32);
        for declaration in body.get_locals_reader()? {
            let (count, ty) = declaration?;
            let ty = type_of_local(ty);
            let start = end.next_multiple_of(ty.bytes());
            // A function has at most 50,000 locals.
            end = start + count * ty.bytes();
            places.extend((start..end).step_by(ty.bytes() as usize).map(|at| (at, ty)));
        }
        if end == 0 {
            return Ok(());
        }
        let slot = self.zeroed_slot(end);
        for (offset, ty) in places {
            self.locals.push(Home::Frame(slot, offset as i32), ty);
        }
        Ok(())
    }

    /// Translates the operators of a function's body, whose frame is the innermost one.
    pub(super) fn operators(&mut self, function: DefinedFuncIndex) -> Result<(), Stopped> {
        let body = &self.env.module.bodies[function];
        self.count_place(self.body_start);
        if let Some(halves) = self.env.middle.product(function) {
            return Ok(self.product(body, halves)?);
        }
        let mut reader = OperatorsReader::new(body.get_binary_reader_for_operators()?);
        let mut operators = 0;
        while !reader.eof() {
            operators += 1;
            if operators > self.env.limits.operators {
                let rest = reader.into_iter().count() as u64;
                let function = self.env.module.func_index(function).as_u32();
                let limits = self.env.limits;
                return Ok(limits.check_operators(function, operators - 1 + rest)?);
            }
            let (operator, offset) = reader.read_with_offset()?;
            self.check_values(&operator)?;
            self.check_extent()?;
            // The cast is right: a module is shorter than 4 GiB, as checked where bodies start.
            let offset = offset as u32;
            self.builder.set_srcloc(self.positions.of(offset));
            let callee = self.inlined_callee(&operator, offset);
            let guard = self.guard(function, &operator, offset);
            self.interruption_before(&operator, callee.is_some() || guard.is_some());
            if let Some(callee) = callee {
                self.call_inlined(callee, offset)?;
                continue;
            }
            if let Some(guard) = guard {
                self.call_guarded(guard, offset)?;
                continue;
            }
            self.operator(&operator);
            self.interruption_after(&operator);
            if begins_region(&operator) {
                self.mark_cold(function, offset);
                self.count_place(offset);
            }
        }
        Ok(())
    }

    /// Checks the number of values, including those that the next operator is about to make.
    fn check_values(&self, operator: &Operator<'_>) -> Result<(), Error> {
        let module = self.env.module;
        let next = match operator {
            Operator::BrTable { targets } if self.reachable => {
                let targets_once = self.control.len().min(targets.len() as usize);
                let depth = self.depth(targets.default());
                targets_once * self.arity(depth)
            }
            Operator::TryTable { try_table } if self.reachable => {
                let values = |catch: &Catch| match *catch {
                    Catch::One { tag, .. } | Catch::OneRef { tag, .. } => {
                        let signature = module.tags[TagIndex::from_u32(tag)];
                        module.signatures[signature].params.len()
                    }
                    Catch::All { .. } | Catch::AllRef { .. } => 0,
                };
                try_table.catches.iter().map(values).sum()
            }
            _ => 0,
        };
        let made = self.builder.func.dfg.num_values() + self.stack.len() + next;
        // The values are those of the whole function, with everything that is inlined into it.
        let limits = &self.env.limits;
        let made = self.passed.saturating_add(made as u64);
        limits.check_values(self.function.as_u32(), self.bytes, made)
    }

    /// Makes the next local of the innermost body, with this value.
    pub(super) fn local(&mut self, ty: Type, value: Value) {
        let free = self.locals.take_free(ty);
        let home = free.unwrap_or_else(|| self.new_home(ty));
        self.write_home(home, value);
        self.track(self.locals.next(), value);
        self.locals.push(home, ty);
    }

    /// The zero or null of a wasm value's type.
    pub(super) fn zero(&mut self, ty: Type) -> Value {
        match ty {
            ir::types::F32 => self.builder.ins().f32const(0.0),
            ir::types::F64 => self.builder.ins().f64const(0.0),
            ir::types::I8X16 => {
                let zero = self.builder.func.dfg.constants.insert([0; 16][..].into());
                self.builder.ins().vconst(ty, zero)
            }
            _ => self.builder.ins().iconst(ty, 0),
        }
    }

    /// Traps if the stack pointer is below its limit. It already includes the frame of this
    /// function, which is at most [`UNCHECKED_FRAME`](precast_artifact::abi::UNCHECKED_FRAME) long;
    /// a function with a larger frame has a [`guard`] in front.
    ///
    /// Returns the instructions of the check. A function that calls nothing needs none.
    fn check_stack(&mut self) -> Vec<Inst> {
        let pointer = self.builder.ins().get_stack_pointer(I64);
        let store = offset_of!(VmContextHeader, store);
        let store = self.read(Promise::StorePointer, self.vmctx, store);
        let limit = offset_of!(VmStoreContext, stack_limit);
        let limit = self.read(Promise::StackLimit, store, limit);
        let below = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedLessThan, pointer, limit);
        let values = [pointer, store, limit, below];
        let dfg = &self.builder.func.dfg;
        let mut check: Vec<_> = values.map(|v| dfg.value_def(v).unwrap_inst()).into();
        let block = self.builder.current_block().expect("code is in a block");
        self.trapnz(below, TrapCode::StackOverflow);
        // Without stops, the trap is a call.
        check.extend(self.builder.func.layout.last_inst(block));
        check
    }

    pub(super) fn local_get(&mut self, index: u32) {
        let value = match self.caches.checks.locals.get(self.locals.slot(index)) {
            Some(value) => value,
            None => {
                let value = self.read_home(self.locals.home(index));
                self.track(self.locals.slot(index), value);
                value
            }
        };
        self.push(value);
    }

    pub(super) fn local_set(&mut self, index: u32) {
        let value = self.pop();
        self.assign(index, value);
    }

    pub(super) fn local_tee(&mut self, index: u32) {
        let value = self.peek();
        self.assign(index, value);
    }

    fn assign(&mut self, index: u32, value: Value) {
        let (home, _) = self.locals.home(index);
        self.write_home(home, value);
        self.track(self.locals.slot(index), value);
    }

    /// Notes that a local, by its slot, has this value, if the values of locals are tracked.
    fn track(&mut self, slot: u32, value: Value) {
        if self.assigned.is_some() {
            self.caches.checks.locals.set(slot, value);
        }
    }
}
