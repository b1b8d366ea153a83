//! Inlined calls: the callee's body is translated in the place of the call, as
//! [`Middle`](crate::middle::Middle) decided.
//!
//! The body becomes a block of the caller whose results are those of the call. A return branches to
//! the end of that block. Parameters and locals become [locals](super::homes) of the caller; those
//! of bodies that have ended are reused, because Cranelift's front end takes memory for each
//! variable in proportion to the caller's blocks.
//!
//! Source locations are *positions* ([`precast_artifact::addresses`]), which ascend through the
//! translation of a function as offsets in the module do. Without inlined calls, positions and
//! offsets are equal.

use cranelift_codegen::ir::{SourceLoc, Type};
use precast_artifact::addresses::{Change, Location};
use wasmparser::Operator;

use super::FuncTranslator;
use super::control::Frame;
use super::homes::{Home, Stopped};
use super::interrupt::declaration_cost;
use super::locals::Assigned;
use crate::symbol::{DefinedFuncIndex, FuncIndex};

/// The positions of the code that is being translated.
#[derive(Default)]
pub(super) struct Positions {
    /// Difference, modulo 2^32, between positions and offsets in the module, in the innermost body.
    shift: u32,
    /// Where bodies start and end.
    pub(super) changes: Vec<Change>,
}

impl Positions {
    pub(super) fn clear(&mut self) {
        self.shift = 0;
        self.changes.clear();
    }

    /// The position of an offset in the innermost body.
    pub(super) fn of(&self, offset: u32) -> SourceLoc {
        SourceLoc::new(offset.wrapping_add(self.shift))
    }

    /// The offset of a position in the innermost body.
    pub(super) fn offset(&self, position: SourceLoc) -> u32 {
        position.bits().wrapping_sub(self.shift)
    }
}

/// The locals of a function and of the bodies that are inlined into it.
#[derive(Default)]
pub(super) struct Variables {
    /// The places of all open bodies' locals, innermost last.
    homes: Vec<(Home, Type)>,
    /// Index of the first local of the innermost body in `homes`.
    first: usize,
    /// Places of bodies that have ended.
    free: Vec<(Home, Type)>,
}

impl Variables {
    pub(super) fn clear(&mut self) {
        self.homes.clear();
        self.first = 0;
        self.free.clear();
    }

    /// The number of a local of the innermost body among the locals of all open bodies.
    pub(super) fn slot(&self, index: u32) -> u32 {
        self.first as u32 + index
    }

    /// The slot of the local that is made next.
    pub(super) fn next(&self) -> u32 {
        self.homes.len() as u32
    }

    /// The place of a local of the innermost body, and its type.
    pub(super) fn home(&self, index: u32) -> (Home, Type) {
        self.homes[self.first + index as usize]
    }

    pub(super) fn push(&mut self, home: Home, ty: Type) {
        self.homes.push((home, ty));
    }

    /// A place for a local of this type that no open body uses.
    pub(super) fn take_free(&mut self, ty: Type) -> Option<Home> {
        let found = self.free.iter().rposition(|(_, other)| *other == ty)?;
        Some(self.free.swap_remove(found).0)
    }
}

impl FuncTranslator<'_, '_> {
    /// The callee of an operator, if the operator is an inlined call.
    pub(super) fn inlined_callee(
        &self,
        operator: &Operator<'_>,
        offset: u32,
    ) -> Option<DefinedFuncIndex> {
        let Operator::Call { function_index } = *operator else {
            return None;
        };
        let callee = self
            .env
            .module
            .defined(FuncIndex::from_u32(function_index))?;
        let is_in = self.reachable && self.env.middle.is_inlined(offset);
        is_in.then_some(callee)
    }

    /// Translates the body of a callee in the place of the call at this offset.
    pub(super) fn call_inlined(
        &mut self,
        callee: DefinedFuncIndex,
        call: u32,
    ) -> Result<(), Stopped> {
        let env = self.env;
        let body = &env.module.bodies[callee];
        let signature = env.module.func_type(callee);
        let range = body.range();
        let bounds = (u32::try_from(range.start), u32::try_from(range.end));
        let (Ok(start), Ok(end)) = bounds else {
            unreachable!("modules are below 4 GiB")
        };

        let outer_shift = self.positions.shift;
        let entered = self.positions.of(call).bits() + 1;
        self.positions.shift = entered.wrapping_sub(start);
        self.positions.changes.push(Change {
            position: entered,
            body: Some(Location {
                function: callee.as_u32(),
                wasm: start,
            }),
        });
        self.builder.set_srcloc(self.positions.of(start));

        // The values of locals are tracked by slot. A slot may have belonged to another body
        // before, but the callee sets each of its slots here before it is read.
        let outer_assigned = self.assigned.take();
        if outer_assigned.is_some() {
            self.assigned = Some(Assigned::find(body)?);
        }
        let outer_start = std::mem::replace(&mut self.body_start, start);
        let outer_hints = std::mem::replace(&mut self.hints, env.hints(callee));
        let first = self.locals.homes.len();
        let outer_first = std::mem::replace(&mut self.locals.first, first);
        let args = self.stack.len() - env.module.signatures[signature].params.len();
        for i in args..self.stack.len() {
            let value = self.stack[i];
            let ty = self.builder.func.dfg.value_type(value);
            self.local(ty, value);
        }
        self.stack.truncate(args);
        self.declared_locals(body)?;
        // Epoch code needs no check here: inlining lengthens the stretch without a check only by
        // the callee's body, whose size is limited.
        self.charge(1 + declaration_cost(body)?);
        self.check_fuel();
        let outer_body = std::mem::replace(&mut self.body, self.control.len());
        self.control.push(Frame::inlined(
            signature,
            self.stack.len(),
            self.caches.checks.mark(),
            self.handler(),
            self.pending(),
        ));
        self.operators(callee)?;

        self.body = outer_body;
        self.assigned = outer_assigned;
        self.body_start = outer_start;
        self.hints = outer_hints;
        let ended = self.locals.homes.drain(first..);
        self.locals.free.extend(ended);
        self.locals.first = outer_first;
        let left = self.positions.of(end).bits();
        self.positions.changes.push(Change {
            position: left,
            body: None,
        });
        self.positions.shift = outer_shift.wrapping_add(left.wrapping_sub(entered));
        Ok(())
    }
}
