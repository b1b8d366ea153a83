//! Structured control: blocks, branches, and the values that they pass.
//!
//! Values that cross the end of a block are parameters of a Cranelift block. That block is made
//! only when the first branch needs it, because most blocks of real code are never branched out of,
//! and code just continues after them.
//!
//! Unreachable code is skipped, but its nesting is tracked.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, SourceLoc, Value};
use precast_artifact::ValType;
use std::mem::take;
use wasmparser::{BlockType, BrTable};

use super::FuncTranslator;
use super::checks::Mark;
use super::fuel::{Edge, LoopFuel, Pending};
use crate::signature::clif_type;
use crate::symbol::{SigIndex, TypeIndex};

/// An open block.
pub(crate) struct Frame {
    pub(super) kind: FrameKind,
    pub(super) ty: FrameType,
    /// Height of the operand stack below the block's parameters.
    pub(super) height: usize,
    /// The block that branches out of this block go to, once there is one. Its parameters are the
    /// results of this block.
    exit: Option<Block>,
    /// The facts about checked addresses that hold at the start of the block.
    pub(super) checks: Mark,
    /// The fuel that is pending at the start of the block, see [`Pending`].
    pending: Pending,
    /// How a loop counts fuel; `None` for other blocks and without fuel.
    fuel: Option<LoopFuel>,
    /// The edges to `exit`, or to a loop's header, if fuel is counted.
    pub(super) edges: Vec<Edge>,
    /// The block that exceptions of calls in this block go to; `None` if they go to the function's
    /// caller.
    pub(super) handler: Option<Block>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    Function,
    /// The body of an [inlined](super::inline) callee. Its parameters are locals.
    Inlined,
    Block,
    Loop {
        header: Block,
        /// Source location of the `loop`.
        position: SourceLoc,
    },
    /// An `if` before its `else`. The block's parameters are on the stack twice: the lower copy for
    /// the `else`, the upper one for the code before it.
    If {
        otherwise: Block,
    },
    /// The body of a `try_table` or `try`. Its exceptions go to the pad, whose predecessors are the
    /// calls and throws in the body.
    Try {
        pad: Block,
    },
    /// A clause of a `try`.
    Catch {
        /// The exception, as a reference.
        exnref: Value,
        /// The block for exceptions that this clause does not catch; its parameter is the address.
        /// `None` behind `catch_all`.
        next: Option<Block>,
    },
    /// A block in unreachable code. It has no Cranelift blocks.
    Dead,
}

#[derive(Clone, Copy)]
pub(super) enum FrameType {
    Empty,
    Result(ValType),
    Signature(SigIndex),
}

impl Frame {
    /// The frame of a function as a whole. Its parameters are locals.
    pub(super) fn function(signature: SigIndex) -> Self {
        let ty = FrameType::Signature(signature);
        let (checks, pending) = (Mark::START, Pending::default());
        Self::new(FrameKind::Function, ty, 0, checks, pending)
    }

    /// A frame whose exceptions go to the function's caller.
    fn new(kind: FrameKind, ty: FrameType, height: usize, checks: Mark, pending: Pending) -> Self {
        Self {
            kind,
            ty,
            height,
            exit: None,
            checks,
            pending,
            fuel: None,
            edges: Vec::new(),
            handler: None,
        }
    }

    /// The frame of an inlined callee, whose exceptions go to `handler`.
    pub(super) fn inlined(
        signature: SigIndex,
        height: usize,
        checks: Mark,
        handler: Option<Block>,
        pending: Pending,
    ) -> Self {
        let ty = FrameType::Signature(signature);
        Self {
            handler,
            ..Self::new(FrameKind::Inlined, ty, height, checks, pending)
        }
    }
}

impl FuncTranslator<'_, '_> {
    pub(super) fn block(&mut self, ty: BlockType) {
        self.open(FrameKind::Block, ty);
    }

    pub(super) fn loop_(&mut self, ty: BlockType) {
        let params = self.param_count(self.frame_type(ty));
        let header = self.builder.create_block();
        let first = self.stack.len() - params;
        for i in first..self.stack.len() {
            let ty = self.builder.func.dfg.value_type(self.stack[i]);
            self.builder.append_block_param(header, ty);
        }
        let fuel = self.fuel_into_loop(|this| {
            this.jump(header, params);
            this.builder.switch_to_block(header);
        });
        if let Some(assigned) = &self.assigned {
            let offset = self.positions.offset(self.builder.srcloc());
            let (first, assigned) = (self.locals.slot(0), assigned.by(offset));
            self.caches.checks.locals.enter_loop(first, assigned);
        }
        self.stack.truncate(first);
        // Variables may have become parameters behind those of the loop.
        let params = &self.builder.block_params(header)[..params];
        self.stack.extend_from_slice(params);
        let position = self.builder.srcloc();
        self.open(FrameKind::Loop { header, position }, ty);
        self.extent.loops += 1;
        self.control.last_mut().expect("just opened").fuel = fuel;
        self.interruption_at_loop();
    }

    pub(super) fn if_(&mut self, ty: BlockType) {
        let condition = self.pop();
        let (then, otherwise) = (self.builder.create_block(), self.builder.create_block());
        match self.hint() {
            Some(true) => self.builder.set_cold_block(otherwise),
            Some(false) => self.builder.set_cold_block(then),
            None => {}
        }
        self.builder
            .ins()
            .brif(condition, then, &[], otherwise, &[]);
        self.builder.seal_block(then);
        self.builder.switch_to_block(then);
        self.open(FrameKind::If { otherwise }, ty);
        let params = self.param_count(self.frame_type(ty));
        self.stack.extend_from_within(self.stack.len() - params..);
    }

    pub(super) fn else_(&mut self) {
        let depth = self.control.len() - 1;
        let FrameKind::If { otherwise } = self.control[depth].kind else {
            return; // The whole `if` is unreachable.
        };
        if self.reachable {
            self.jump_to_exit(depth);
        }
        let frame = &mut self.control[depth];
        frame.kind = FrameKind::Block;
        let (height, ty, checks) = (frame.height, frame.ty, frame.checks);
        let pending = frame.pending;
        self.restore_pending(pending);
        self.caches.checks.forget(checks);
        self.stack.truncate(height + self.param_count(ty));
        self.builder.seal_block(otherwise);
        self.builder.switch_to_block(otherwise);
        self.reachable = true;
    }

    pub(super) fn end(&mut self) {
        let depth = self.control.len() - 1;
        match self.control[depth].kind {
            FrameKind::Dead => {
                self.control.pop();
                return;
            }
            FrameKind::Loop { header, .. } => {
                self.extent.loops -= 1;
                let params = self.builder.block_params(header).len();
                self.extent.end_loop(params);
                self.builder.seal_block(header);
                if let Some(fuel) = self.control[depth].fuel.take() {
                    let edges = take(&mut self.control[depth].edges);
                    self.end_fuel_of_loop(&fuel, &edges);
                }
            }
            FrameKind::If { otherwise } => {
                // Without an `else`, the parameters are the results.
                let Frame {
                    height,
                    ty,
                    exit,
                    checks,
                    pending,
                    ..
                } = self.control[depth];
                let params = self.param_count(ty);
                if self.reachable {
                    // With fuel, both paths may have to change the count before they meet.
                    if params == 0 && exit.is_none() && self.fuel.is_none() {
                        self.jump(otherwise, 0);
                    } else {
                        self.jump_to_exit(depth);
                    }
                }
                self.restore_pending(pending);
                self.caches.checks.forget(checks);
                self.stack.truncate(height + params);
                self.builder.seal_block(otherwise);
                self.builder.switch_to_block(otherwise);
                self.reachable = true;
            }
            FrameKind::Try { pad } => self.end_try(depth, pad),
            FrameKind::Catch { next, .. } => self.end_catch(depth, next),
            FrameKind::Function | FrameKind::Inlined | FrameKind::Block => {}
        }

        let Frame {
            height,
            exit,
            kind,
            checks,
            ..
        } = self.control[depth];
        if let Some(exit) = exit {
            if self.reachable {
                self.jump_to_exit(depth);
            }
            self.caches.checks.forget(checks);
            self.builder.seal_block(exit);
            self.builder.switch_to_block(exit);
            self.stack.truncate(height);
            self.stack
                .extend_from_slice(self.builder.block_params(exit));
            self.reachable = true;
            let edges = take(&mut self.control[depth].edges);
            self.join_fuel(&edges);
        } else if !self.reachable {
            self.stack.truncate(height);
        }
        if kind == FrameKind::Function && self.reachable {
            self.return_();
        }
        self.control.pop();
    }

    pub(super) fn br(&mut self, relative_depth: u32) {
        let depth = self.depth(relative_depth);
        if self.control[depth].kind == FrameKind::Function {
            return self.return_();
        }
        self.branch(depth);
        self.reachable = false;
    }

    /// Jumps to the block that a branch to this frame goes to.
    fn branch(&mut self, depth: usize) {
        match self.control[depth].kind {
            FrameKind::Loop { position, .. } => self.fuel_to_header(depth, position),
            _ => self.fuel_to_exit(depth),
        }
        let (target, count) = self.target(depth);
        self.jump(target, count);
    }

    /// Fills a block that is reached from here by a branch to this frame.
    fn bridge(&mut self, block: Block, depth: usize) {
        self.builder.seal_block(block);
        self.builder.switch_to_block(block);
        let pending = self.pending();
        self.branch(depth);
        self.restore_pending(pending);
    }

    pub(super) fn br_if(&mut self, relative_depth: u32) {
        let condition = self.pop();
        let depth = self.depth(relative_depth);
        let next = self.builder.create_block();
        let hint = self.hint();
        self.branch_if(condition, true, depth, next, hint == Some(false));
        if hint == Some(true) {
            self.builder.set_cold_block(next);
        }
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }

    /// Branches to a frame if `condition` is not zero, or, with `wanted` false, if it is zero.
    /// Otherwise, the code continues in `next`.
    fn branch_if(
        &mut self,
        condition: Value,
        wanted: bool,
        depth: usize,
        next: Block,
        is_cold: bool,
    ) {
        // Other, frequent branches may reach the target, so the target itself must not be cold: a
        // cold block in between leads there. With fuel, such a block changes the count for this
        // edge only.
        let bridge = (is_cold || self.fuel.is_some()).then(|| self.builder.create_block());
        let target = match bridge {
            Some(bridge) => {
                self.block_args.clear();
                bridge
            }
            None => {
                let (target, count) = self.target(depth);
                self.fill_block_args(count);
                target
            }
        };
        let (args, ins) = (&self.block_args, self.builder.ins());
        match wanted {
            true => ins.brif(condition, target, args, next, &[]),
            false => ins.brif(condition, next, &[], target, args),
        };
        if let Some(bridge) = bridge {
            if is_cold {
                self.builder.set_cold_block(bridge);
            }
            self.bridge(bridge, depth);
        }
    }

    /// The module's hint for the branch that is being translated: whether it is likely taken.
    fn hint(&self) -> Option<bool> {
        let offset = self.positions.offset(self.builder.srcloc());
        let at = offset.checked_sub(self.body_start)?;
        let i = self.hints.binary_search_by_key(&at, |hint| hint.0).ok()?;
        Some(self.hints[i].1)
    }

    /// Branches if the reference on top is null. Otherwise, the reference stays on the stack.
    pub(super) fn br_on_null(&mut self, relative_depth: u32) {
        let reference = self.pop();
        let depth = self.depth(relative_depth);
        let next = self.builder.create_block();
        self.branch_if(reference, false, depth, next, false);
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
        self.push(reference);
    }

    /// Branches if the reference on top is not null, and passes it. Otherwise, the reference is
    /// dropped.
    pub(super) fn br_on_non_null(&mut self, relative_depth: u32) {
        let depth = self.depth(relative_depth);
        let reference = self.peek();
        let next = self.builder.create_block();
        self.branch_if(reference, true, depth, next, false);
        self.pop();
        self.builder.seal_block(next);
        self.builder.switch_to_block(next);
    }

    pub(super) fn br_table(&mut self, table: &BrTable<'_>) {
        let index = self.pop();
        // The index is always 32-bit, because `br_table` takes an i32.
        let depths = table
            .targets()
            .map(|t| t.expect("validated: a branch table"));
        let depths: Vec<usize> = depths
            .chain([table.default()])
            .map(|relative| self.depth(relative))
            .collect();
        let arity = self.target(depths[depths.len() - 1]).1;

        // A switch passes no arguments. If there are values to pass, or fuel is counted, each
        // target gets a bridge, a block of its own that does this.
        let mut bridges: Vec<(usize, Block)> = Vec::new();
        let mut known: HashMap<usize, Block> = HashMap::new();
        let mut destinations = Vec::with_capacity(depths.len());
        for depth in depths {
            destinations.push(match arity {
                0 if self.fuel.is_none() => self.target(depth).0,
                _ => *known.entry(depth).or_insert_with(|| {
                    let block = self.builder.create_block();
                    bridges.push((depth, block));
                    block
                }),
            });
        }
        let default = destinations.pop().expect("the default target");
        self.switch(index, &destinations, default);
        for (depth, block) in bridges {
            self.bridge(block, depth);
        }
        self.reachable = false;
    }

    pub(super) fn return_(&mut self) {
        if self.body != 0 {
            self.jump_to_exit(self.body);
            self.reachable = false;
            return;
        }
        let FrameType::Signature(signature) = self.control[0].ty else {
            unreachable!("the frame of a function")
        };
        let results = self.env.module.signatures[signature].results.len();
        self.listen_at_return(results);
        self.save_fuel();
        self.passed += results as u64;
        let first = self.stack.len() - results;
        self.builder.ins().return_(&self.stack[first..]);
        self.reachable = false;
    }

    pub(super) fn select(&mut self) {
        let (a, b, condition) = self.pop3();
        let value = self.builder.ins().select(condition, a, b);
        self.push(value);
    }

    /// Tracks the nesting of a block that is never reached.
    pub(super) fn open_dead(&mut self) {
        let (checks, pending) = (self.caches.checks.mark(), self.pending());
        let (kind, ty, height) = (FrameKind::Dead, FrameType::Empty, self.stack.len());
        let frame = Frame::new(kind, ty, height, checks, pending);
        self.control.push(frame);
    }

    /// Opens a block whose parameters are on the operand stack.
    pub(super) fn open(&mut self, kind: FrameKind, ty: BlockType) {
        let ty = self.frame_type(ty);
        let height = self.stack.len() - self.param_count(ty);
        let handler = match kind {
            FrameKind::Try { pad } => Some(pad),
            _ => self.handler(),
        };
        let (checks, pending) = (self.caches.checks.mark(), self.pending());
        self.control.push(Frame {
            handler,
            ..Frame::new(kind, ty, height, checks, pending)
        });
    }

    fn frame_type(&self, ty: BlockType) -> FrameType {
        match ty {
            BlockType::Empty => FrameType::Empty,
            BlockType::Type(ty) => FrameType::Result(match ty {
                wasmparser::ValType::I32 => ValType::I32,
                wasmparser::ValType::F32 => ValType::F32,
                wasmparser::ValType::F64 => ValType::F64,
                wasmparser::ValType::V128 => ValType::V128,
                // References have the Cranelift type of an i64.
                wasmparser::ValType::I64 | wasmparser::ValType::Ref(_) => ValType::I64,
            }),
            BlockType::FuncType(index) => {
                FrameType::Signature(self.env.module.types[TypeIndex::from_u32(index)])
            }
        }
    }

    pub(super) fn param_count(&self, ty: FrameType) -> usize {
        match ty {
            FrameType::Empty | FrameType::Result(_) => 0,
            FrameType::Signature(index) => self.env.module.signatures[index].params.len(),
        }
    }

    pub(super) fn depth(&self, relative: u32) -> usize {
        self.control.len() - 1 - relative as usize
    }

    /// The block that a branch to this frame goes to, and the number of values that it passes.
    pub(super) fn target(&mut self, depth: usize) -> (Block, usize) {
        let FrameKind::Loop { header, .. } = self.control[depth].kind else {
            return self.way_to_exit(depth);
        };
        let params = self.builder.block_params(header).len();
        self.extent.branch(header, params);
        (header, self.param_count(self.control[depth].ty))
    }

    /// The exit of a frame, and the number of values that a jump there passes.
    fn way_to_exit(&mut self, depth: usize) -> (Block, usize) {
        let exit = self.exit(depth);
        let params = self.builder.block_params(exit).len();
        self.extent.branch(exit, params);
        (exit, params)
    }

    /// The number of values that a branch to this frame passes.
    pub(super) fn arity(&self, depth: usize) -> usize {
        let frame = &self.control[depth];
        match (frame.kind, frame.ty) {
            (FrameKind::Loop { .. }, ty) => self.param_count(ty),
            (_, FrameType::Empty) => 0,
            (_, FrameType::Result(_)) => 1,
            (_, FrameType::Signature(index)) => self.env.module.signatures[index].results.len(),
        }
    }

    /// The block after the end of a frame. It is made when it is first needed.
    fn exit(&mut self, depth: usize) -> Block {
        if let Some(exit) = self.control[depth].exit {
            return exit;
        }
        let exit = self.builder.create_block();
        match self.control[depth].ty {
            FrameType::Empty => {}
            FrameType::Result(ty) => {
                self.builder.append_block_param(exit, clif_type(ty));
            }
            FrameType::Signature(index) => {
                for ty in &self.env.module.signatures[index].results {
                    self.builder.append_block_param(exit, clif_type(*ty));
                }
            }
        }
        self.control[depth].exit = Some(exit);
        exit
    }

    pub(super) fn jump_to_exit(&mut self, depth: usize) {
        self.fuel_to_exit(depth);
        let (exit, count) = self.way_to_exit(depth);
        self.jump(exit, count);
    }

    /// Jumps with the topmost operands as arguments. They stay on the stack.
    pub(super) fn jump(&mut self, target: Block, count: usize) {
        self.fill_block_args(count);
        self.builder.ins().jump(target, &self.block_args);
    }

    fn fill_block_args(&mut self, count: usize) {
        self.passed += count as u64;
        self.block_args.clear();
        let first = self.stack.len() - count;
        self.block_args.extend(
            self.stack[first..]
                .iter()
                .map(|value| BlockArg::Value(*value)),
        );
    }

    /// Branches to `next` if `condition` is not zero, else to `cold`, and returns `(cold, next)`.
    /// The caller fills and ends the cold block, then seals `next` and continues there.
    pub(super) fn unless_cold(&mut self, condition: Value) -> (Block, Block) {
        // The count of fuel must be loaded on both paths, not only by a call in the cold block.
        self.fuel_before_fork();
        let (cold, next) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(condition, next, &[], cold, &[]);
        self.builder.seal_block(cold);
        self.builder.set_cold_block(cold);
        (cold, next)
    }

    /// Whether two integers are equal.
    pub(super) fn equal(&mut self, a: Value, b: Value) -> Value {
        self.builder.ins().icmp(IntCC::Equal, a, b)
    }
}
