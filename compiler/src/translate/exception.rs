//! Exceptions, in both encodings, translated to the handlers of [`precast_artifact::handlers`].
//!
//! Each `try_table` and `try` has one *pad*, a block whose parameter is the address of an
//! exception. Calls in the body are `try_call`s whose handler is the pad, and a throw in the body
//! itself jumps to the pad. The pad compares the exception's tag, clause by clause. If no clause
//! catches the exception, the pad passes it on to the enclosing pad, or throws it again.
//!
//! Calls outside of any `try` are plain calls, so code without exceptions costs nothing more. A
//! call inside a `try` has one more block but no instructions of its own (a test of `precast
//! objdump` counts them). A handler finds no registers but the stack and frame pointers. So values
//! that live across such a call are in the frame, and the function saves all registers that its own
//! caller expects to keep.
//!
//! The address of an exception is valid only until the next call. So its values are read at once,
//! and later code uses the reference.
//!
//! The pad of a `try_table` is filled when the `try_table` is opened, because its clauses are known
//! then, and their targets are outside of it. The pad of a `try` is filled clause by clause, as
//! they come.

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, Endianness, ExceptionTableData, ExceptionTableItem, FuncRef,
    InstBuilder, SigRef, Value,
};
use precast_artifact::Builtin;
use precast_artifact::promises::Promise;
use precast_artifact::vm::{ValRaw, VmException};
use std::mem::{offset_of, size_of};
use wasmparser::{BlockType, Catch, TryTable};

use super::FuncTranslator;
use super::control::FrameKind;
use super::state::vm_offset;
use super::trap::AFTER_NO_RETURN;
use crate::signature::clif_type;
use crate::symbol::TagIndex;

/// The callee of a call.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Function(FuncRef),
    Code(Value),
}

impl FuncTranslator<'_, '_> {
    /// The pad for exceptions that are thrown at this position; `None` if they go to the function's
    /// caller.
    pub(super) fn handler(&self) -> Option<Block> {
        self.control.last().and_then(|frame| frame.handler)
    }

    /// Calls a function of this signature with the arguments in `args`, and pushes its results.
    pub(super) fn emit_call(&mut self, signature: SigRef, target: Target) {
        let Some(pad) = self.handler() else {
            let call = match target {
                Target::Function(callee) => self.builder.ins().call(callee, &self.args),
                Target::Code(code) => {
                    let args = &self.args;
                    self.builder.ins().call_indirect(signature, code, args)
                }
            };
            self.stack
                .extend_from_slice(self.builder.inst_results(call));
            return;
        };
        self.note_way(pad);
        let next = self.builder.create_block();
        let results = self.builder.func.dfg.signatures[signature].returns.len();
        for i in 0..results {
            let ty = self.builder.func.dfg.signatures[signature].returns[i].value_type;
            self.builder.append_block_param(next, ty);
        }
        let dfg = &mut self.builder.func.dfg;
        let results = (0..results as u32).map(BlockArg::TryCallRet);
        let returned = BlockCall::new(next, results, &mut dfg.value_lists);
        let thrown = BlockCall::new(pad, [BlockArg::TryCallExn(0)], &mut dfg.value_lists);
        let handlers = [ExceptionTableItem::Default(thrown)];
        let table = ExceptionTableData::new(signature, returned, handlers);
        let table = dfg.exception_tables.push(table);
        match target {
            Target::Function(callee) => self.builder.ins().try_call(callee, &self.args, table),
            Target::Code(code) => {
                let args = &self.args;
                self.builder.ins().try_call_indirect(code, args, table)
            }
        };
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
        self.stack
            .extend_from_slice(self.builder.block_params(next));
    }

    pub(super) fn throw(&mut self, tag: u32) {
        let tag = TagIndex::from_u32(tag);
        let address = self.tag(tag);
        let exception = self.call_builtin(Builtin::ExceptionNew, &[address]);
        let exception = exception.expect("a result");
        let count = self.env.module.signatures[self.env.module.tags[tag]]
            .params
            .len();
        let first = self.stack.len() - count;
        let flags = self
            .read_flags(Promise::Exception)
            .with_endianness(Endianness::Little);
        for i in 0..count {
            let value = self.stack[first + i];
            let place = vm_offset(place_of_value(i));
            self.builder.ins().store(flags, value, exception, place);
        }
        self.stack.truncate(first);
        let handler = self.handler();
        self.pass_on(handler, exception);
    }

    pub(super) fn throw_ref(&mut self) {
        let exnref = self.pop();
        self.throw_again(exnref);
    }

    pub(super) fn rethrow(&mut self, relative_depth: u32) {
        let depth = self.depth(relative_depth);
        let FrameKind::Catch { exnref, .. } = self.control[depth].kind else {
            unreachable!("validated: a clause")
        };
        self.throw_again(exnref);
    }

    fn throw_again(&mut self, exnref: Value) {
        let exception = self.call_builtin(Builtin::ExceptionGet, &[exnref]);
        let handler = self.handler();
        self.pass_on(handler, exception.expect("a result"));
    }

    /// Counts a branch to a pad. The branch has one argument for each local that the pad needs.
    fn note_way(&mut self, pad: Block) {
        let params = self.builder.block_params(pad).len();
        self.extent.branch(pad, params);
    }

    /// Passes an exception on to this handler. Code after it is unreachable.
    fn pass_on(&mut self, handler: Option<Block>, exception: Value) {
        match handler {
            Some(pad) => {
                // Pads load the count of fuel from the store.
                self.save_fuel();
                self.note_way(pad);
                let exception = [BlockArg::Value(exception)];
                self.builder.ins().jump(pad, &exception);
            }
            None => {
                self.call_builtin(Builtin::ExceptionThrow, &[exception]);
                self.builder.ins().trap(AFTER_NO_RETURN);
            }
        }
        self.reachable = false;
    }

    pub(super) fn try_table(&mut self, table: &TryTable) {
        let (pad, body) = (self.new_pad(), self.builder.create_block());
        self.builder.ins().jump(body, &[]);
        self.builder.seal_block(body);
        let pending = self.pending();

        // The labels of clauses count from outside of the `try_table`.
        let exception = self.enter_pad(pad);
        let mut catches_all = false;
        for catch in &table.catches {
            let (tag, label, with_ref) = match *catch {
                Catch::One { tag, label } => (Some(tag), label, false),
                Catch::OneRef { tag, label } => (Some(tag), label, true),
                Catch::All { label } => (None, label, false),
                Catch::AllRef { label } => (None, label, true),
            };
            let next = tag.map(|tag| self.unless_tag(exception, tag));
            let height = self.stack.len();
            if let Some(tag) = tag {
                self.push_values(exception, tag);
            }
            if with_ref {
                let exnref = self.reference(exception);
                self.push(exnref);
            }
            self.br(label);
            self.stack.truncate(height);
            match next {
                Some(next) => {
                    self.builder.switch_to_block(next);
                    self.forget_fuel();
                }
                None => {
                    catches_all = true;
                    break;
                }
            }
        }
        if !catches_all {
            let outside = self.handler();
            self.pass_on(outside, exception);
        }
        self.reachable = true;
        self.builder.switch_to_block(body);
        self.restore_pending(pending);
        self.open(FrameKind::Try { pad }, table.ty);
    }

    pub(super) fn try_(&mut self, ty: BlockType) {
        let pad = self.new_pad();
        self.open(FrameKind::Try { pad }, ty);
    }

    /// Opens a clause for exceptions with this tag, or for all.
    pub(super) fn catch(&mut self, tag: Option<u32>) {
        let depth = self.control.len() - 1;
        let kind = self.control[depth].kind;
        if kind == FrameKind::Dead {
            return;
        }
        if self.reachable {
            self.jump_to_exit(depth);
        }
        let exception = match kind {
            FrameKind::Try { pad } => {
                self.builder.seal_block(pad);
                self.enter_pad(pad)
            }
            FrameKind::Catch {
                next: Some(next), ..
            } => {
                self.builder.switch_to_block(next);
                self.forget_fuel();
                self.builder.block_params(next)[0]
            }
            _ => unreachable!("validated: a clause of a `try`"),
        };
        let frame = &self.control[depth];
        let (height, checks) = (frame.height, frame.checks);
        self.caches.checks.forget(checks);
        self.stack.truncate(height);
        self.reachable = true;
        let next = tag.map(|tag| {
            // The address is a parameter of `next`, because this clause's code comes before that
            // block.
            let next = self.builder.create_block();
            self.builder.set_cold_block(next);
            self.builder.append_block_param(next, I64);
            let matches = self.has_tag(exception, tag);
            let clause = self.builder.create_block();
            let pass = [BlockArg::Value(exception)];
            self.builder.ins().brif(matches, clause, &[], next, &pass);
            self.builder.seal_block(clause);
            self.builder.seal_block(next);
            self.builder.switch_to_block(clause);
            next
        });
        if let Some(tag) = tag {
            self.push_values(exception, tag);
        }
        let exnref = self.reference(exception);
        let outside = self.handler_outside(depth);
        let frame = &mut self.control[depth];
        frame.kind = FrameKind::Catch { exnref, next };
        frame.handler = outside;
    }

    /// Ends a `try` whose exceptions go to the pad of the block at this depth.
    pub(super) fn delegate(&mut self, relative_depth: u32) {
        let depth = self.control.len() - 1;
        if let FrameKind::Try { pad } = self.control[depth].kind {
            // The label counts from outside of the `try`.
            let target = depth - 1 - relative_depth as usize;
            let handler = self.control[target].handler;
            self.end_pad(depth, pad, handler);
        }
        self.end();
    }

    /// Ends a `try_table`, or a `try` without clauses. Execution falls through to the exit.
    pub(super) fn end_try(&mut self, depth: usize, pad: Block) {
        if self.is_filled(pad) {
            self.builder.seal_block(pad);
        } else {
            let outside = self.handler_outside(depth);
            self.end_pad(depth, pad, outside);
        }
    }

    /// Ends the last clause of a `try`: exceptions that no clause catches are passed on.
    pub(super) fn end_catch(&mut self, depth: usize, next: Option<Block>) {
        let Some(next) = next else {
            return;
        };
        if self.reachable {
            self.jump_to_exit(depth);
        }
        self.builder.switch_to_block(next);
        self.forget_fuel();
        let exception = self.builder.block_params(next)[0];
        let outside = self.handler_outside(depth);
        self.pass_on(outside, exception);
    }

    /// Fills a pad that passes every exception on to `handler`.
    fn end_pad(&mut self, depth: usize, pad: Block, handler: Option<Block>) {
        if self.reachable {
            self.jump_to_exit(depth);
        }
        self.builder.seal_block(pad);
        let exception = self.enter_pad(pad);
        self.pass_on(handler, exception);
        self.control[depth].kind = FrameKind::Block;
    }

    fn handler_outside(&self, depth: usize) -> Option<Block> {
        self.control[..depth].last().and_then(|frame| frame.handler)
    }

    fn is_filled(&self, block: Block) -> bool {
        self.builder.func.layout.first_inst(block).is_some()
    }

    fn new_pad(&mut self) -> Block {
        let pad = self.builder.create_block();
        self.builder.set_cold_block(pad);
        self.builder.append_block_param(pad, I64);
        pad
    }

    /// Continues in a pad, and returns the address of the exception.
    fn enter_pad(&mut self, pad: Block) -> Value {
        self.builder.switch_to_block(pad);
        // Callees have counted fuel in the store.
        self.forget_fuel();
        self.builder.block_params(pad)[0]
    }

    /// Continues in a new block if an exception has this tag, and returns the block for the other
    /// case.
    fn unless_tag(&mut self, exception: Value, tag: u32) -> Block {
        let matches = self.has_tag(exception, tag);
        let (caught, next) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(matches, caught, &[], next, &[]);
        self.builder.seal_block(caught);
        self.builder.seal_block(next);
        self.builder.set_cold_block(caught);
        self.builder.set_cold_block(next);
        self.builder.switch_to_block(caught);
        next
    }

    fn has_tag(&mut self, exception: Value, tag: u32) -> Value {
        let found = self.read(Promise::Exception, exception, offset_of!(VmException, tag));
        let expected = self.tag(TagIndex::from_u32(tag));
        self.equal(found, expected)
    }

    fn reference(&mut self, exception: Value) -> Value {
        let place = offset_of!(VmException, reference);
        self.read(Promise::Exception, exception, place)
    }

    /// Pushes the values of an exception that has this tag.
    fn push_values(&mut self, exception: Value, tag: u32) {
        let env = self.env;
        let signature = env.module.tags[TagIndex::from_u32(tag)];
        let flags = self
            .read_flags(Promise::Exception)
            .with_endianness(Endianness::Little);
        for (i, ty) in env.module.signatures[signature].params.iter().enumerate() {
            let place = vm_offset(place_of_value(i));
            let ty = clif_type(*ty);
            let value = self.builder.ins().load(ty, flags, exception, place);
            self.push(value);
        }
    }

    /// The address of a tag, which is its identity.
    fn tag(&mut self, tag: TagIndex) -> Value {
        let offset = self.env.plan.tags[tag];
        if self.env.module.is_imported_tag(tag) {
            return self.read(Promise::ImportedTag, self.vmctx, offset as usize);
        }
        let offset = self.builder.ins().iconst(I64, i64::from(offset));
        self.builder.ins().iadd(self.vmctx, offset)
    }
}

/// Where value `i` of an exception is, from its address.
fn place_of_value(i: usize) -> usize {
    size_of::<VmException>() + i * size_of::<ValRaw>()
}
