//! Which calls are inlined, that is, where translation puts the callee's body in the place of the
//! call.
//!
//! Callees are decided about before their callers, so the size of a callee includes everything that
//! is inlined into it. A call is inlined if one of these holds:
//!
//! - The callee is *small*: its code takes about as much space as the call. The only limit on the
//!   size of the caller is one against attacks, [`LIMIT`].
//! - The call is in a *loop*, in a *recursive* function, or passes a *constant*, and the callee is
//!   a leaf of moderate size.
//! - It is the *only call* of a function that nothing else reaches, so no code is added.
//! - It is *hot* according to a profile, and the callee is of moderate size.
//!
//! The last three apply only as long as the caller stays of moderate size, and those of loops and
//! profiles only within budgets for the whole module. A call that never ran according to a profile
//! is inlined only if the callee's code is smaller than the call. Calls inside of a circle of calls
//! are never inlined.
//!
//! A function that nothing calls afterwards is *omitted*: its only code is a trap that nothing
//! reaches.
//!
//! Inlining changes nearly nothing that can be observed: a position of the address map stands for
//! the callee and the call ([`precast_artifact::addresses`]), fuel is counted in the same way, and
//! traps come in the same order. But calls can be nested to another depth before the stack
//! overflows, and there is no check of epochs at the entry of an inlined callee.

use cranelift_entity::{PrimaryMap, SecondaryMap};
use precast_artifact::addresses::MAX_DEPTH;

use super::body::{self, Body, Call};
use super::counts::Counts;
use super::order::{self, Order};
use crate::Error;
use crate::module::Module;
use crate::plan::Plan;
use crate::settings::{Inline, OptLevel};
use crate::symbol::DefinedFuncIndex;
use crate::workers::Workers;

/// Maximum size of a body whose code takes about as much space as a call. All sizes here are
/// numbers of operators that compute something.
///
const SMALL: u32 = 14;
/// [`SMALL`] for code that is optimised for its size.
const SMALLEST: u32 = 8;
/// Maximum size of a leaf that is called in a loop or with a constant.
const MODERATE: u32 = 60;
/// Maximum size of a leaf that a recursive function calls. Such a call is made at each level.
const RECURSIVE: u32 = 120;
/// [`RECURSIVE`] for a call that passes a constant: of an allocator, only the part for that size
/// remains.
const RECURSIVE_CONSTANT: u32 = 240;
/// Maximum size of a function whose call is hot according to a profile.
const HOT: u32 = 200;
/// Maximum size of a function that has only one call.
const ONLY: u32 = 300;
/// Maximum size of a caller into which callees that are not small are inlined.
const CALLER: u32 = 3000;
/// Maximum size of any caller. It also limits the bytes that are translated for one function,
/// because a body counts at least one for each [`BYTES`](body) bytes, and therefore the positions.
const LIMIT: u32 = 20_000;
/// Maximum length of a module, in bytes, whose calls are inlined: its offsets must be positions.
const MODULE: u64 = 1 << 30;
/// Leaves that are inlined into loops and recursive functions and for constants may make the module
/// larger by its size divided by this number, plus [`CALLER`].
const BUDGET: u32 = 16;

/// Which calls are inlined, and which functions are omitted.
#[derive(Debug, Default)]
pub(crate) struct Inlining {
    /// Offsets in the module of the inlined calls, ascending.
    calls: Vec<u32>,
    omitted: SecondaryMap<DefinedFuncIndex, bool>,
}

impl Inlining {
    /// Makes the decisions for a module. `sizes` replace the sizes of functions whose code is
    /// smaller than their bodies suggest.
    pub(super) fn new(
        module: &Module<'_>,
        plan: &Plan,
        how: How<'_>,
        sizes: impl Iterator<Item = (DefinedFuncIndex, u32)>,
        workers: Workers,
    ) -> Result<Self, Error> {
        let end = module.bodies.values().map(|body| body.range().end).max();
        let is_off = match how.calls {
            Inline::Never => true,
            Inline::ByCost => how.level == OptLevel::None,
            Inline::Always => false,
        };
        if is_off || end.is_none_or(|end| end > MODULE) {
            return Ok(Self::default());
        }
        let mut bodies = body::read_all(module, plan, how.counts, workers)?;
        for (function, size) in sizes {
            bodies[function].size = size;
        }
        let reached = body::reached_from_outside(module, plan);
        let order = order::sort(&bodies);
        let mut choice = Choice::new(&bodies, &reached, &order, how);
        for function in &order.functions {
            choice.decide(*function);
        }
        let Choice { mut calls, .. } = choice;
        calls.sort_unstable();
        let mut inlining = Self {
            calls,
            omitted: SecondaryMap::new(),
        };
        inlining.omit(&bodies, &reached);
        Ok(inlining)
    }

    /// Whether the call at this offset in the module is inlined.
    pub(crate) fn is_inlined(&self, call: u32) -> bool {
        self.calls.binary_search(&call).is_ok()
    }

    /// Whether nothing calls a function.
    pub(crate) fn is_omitted(&self, function: DefinedFuncIndex) -> bool {
        self.omitted[function]
    }

    /// Finds the functions that nothing calls.
    fn omit(
        &mut self,
        bodies: &PrimaryMap<DefinedFuncIndex, Body>,
        reached: &PrimaryMap<DefinedFuncIndex, bool>,
    ) {
        let mut seen: SecondaryMap<DefinedFuncIndex, bool> = SecondaryMap::new();
        let mut called = seen.clone();
        let mut open: Vec<_> = reached
            .iter()
            .filter_map(|(function, reached)| reached.then_some(function))
            .collect();
        for function in &open {
            (seen[*function], called[*function]) = (true, true);
        }
        while let Some(function) = open.pop() {
            let body = &bodies[function];
            let mut visit = |callee: DefinedFuncIndex, is_called: bool| {
                called[callee] |= is_called;
                if !seen[callee] {
                    seen[callee] = true;
                    open.push(callee);
                }
            };
            for call in &body.calls {
                visit(call.callee, !self.is_inlined(call.offset));
            }
            body.tail_calls
                .iter()
                .for_each(|callee| visit(*callee, true));
        }
        self.omitted.resize(bodies.len());
        for function in bodies.keys() {
            self.omitted[function] = !called[function];
        }
    }
}

/// What the decisions depend on besides the module.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    pub(super) calls: Inline,
    pub(super) level: OptLevel,
    pub(super) counts: Option<&'a Counts>,
}

/// A function with everything that is inlined into it.
#[derive(Debug, Clone, Copy, Default)]
struct Grown {
    size: u32,
    depth: usize,
    is_leaf: bool,
}

struct Choice<'a> {
    bodies: &'a PrimaryMap<DefinedFuncIndex, Body>,
    order: &'a Order,
    how: How<'a>,
    small: u32,
    /// Whether a function has one call and is not reached otherwise.
    only: SecondaryMap<DefinedFuncIndex, bool>,
    grown: SecondaryMap<DefinedFuncIndex, Grown>,
    budget: u32,
    /// The budget for hot calls.
    hot_budget: u32,
    calls: Vec<u32>,
}

impl<'a> Choice<'a> {
    fn new(
        bodies: &'a PrimaryMap<DefinedFuncIndex, Body>,
        reached: &PrimaryMap<DefinedFuncIndex, bool>,
        order: &'a Order,
        how: How<'a>,
    ) -> Self {
        let mut counts: SecondaryMap<DefinedFuncIndex, u32> = SecondaryMap::new();
        let mut total = 0_u32;
        for body in bodies.values() {
            total = total.saturating_add(body.size);
            body.calls.iter().for_each(|call| counts[call.callee] += 1);
            body.tail_calls
                .iter()
                .for_each(|callee| counts[*callee] += 2);
        }
        let mut only = SecondaryMap::with_capacity(bodies.len());
        for (function, reached) in reached.iter() {
            only[function] = counts[function] == 1 && !reached;
        }
        let (small, budget) = match how.level {
            OptLevel::None | OptLevel::Size => (SMALLEST, 0),
            OptLevel::Speed => (SMALL, total / BUDGET + CALLER),
        };
        Self {
            bodies,
            order,
            how,
            small,
            only,
            grown: SecondaryMap::with_capacity(bodies.len()),
            budget,
            hot_budget: 2 * budget,
            calls: Vec::new(),
        }
    }

    /// Decides about the calls in a function.
    fn decide(&mut self, function: DefinedFuncIndex) {
        let body = &self.bodies[function];
        let mut grown = Grown {
            size: body.size,
            depth: 1,
            is_leaf: body.is_leaf(),
        };
        let mut are_all_in = !body.calls_out && body.tail_calls.is_empty();
        for call in &body.calls {
            let callee = self.grown[call.callee];
            if !self.is_possible(function, call, grown) || !self.is_worth(function, call, grown) {
                are_all_in = false;
                continue;
            }
            self.calls.push(call.offset);
            grown.size += callee.size;
            grown.depth = grown.depth.max(callee.depth + 1);
            are_all_in &= callee.is_leaf;
        }
        grown.is_leaf = are_all_in;
        self.grown[function] = grown;
    }

    /// Whether translation can inline a call without unlimited growth.
    fn is_possible(&self, function: DefinedFuncIndex, call: &Call, caller: Grown) -> bool {
        let callee = self.grown[call.callee];
        self.bodies[call.callee].fits
            && !self.order.same_component(function, call.callee)
            && callee.depth < MAX_DEPTH
            && caller.size + callee.size <= LIMIT
    }

    fn is_worth(&mut self, function: DefinedFuncIndex, call: &Call, caller: Grown) -> bool {
        let callee = self.grown[call.callee];
        if self.how.calls == Inline::Always || callee.size <= SMALLEST {
            return true;
        }
        let counts = self.how.counts;
        let count = counts.map(|counts| (counts, counts.at(function, call.offset)));
        if count.is_some_and(|(_, count)| count == 0) {
            return false;
        }
        if callee.size <= self.small {
            return true;
        }
        if caller.size + callee.size > CALLER {
            return false;
        }
        // The callee would make the frame larger at each level of the recursion.
        let is_deep = self.order.is_recursive(function) && callee.size > MODERATE;
        if self.only[call.callee] && callee.size <= ONLY && !is_deep {
            return true;
        }
        if count.is_some_and(|(counts, count)| counts.is_hot(count)) {
            let limit = match self.order.is_recursive(function) {
                true => RECURSIVE,
                false => HOT,
            };
            if callee.size <= limit && callee.size <= self.hot_budget {
                self.hot_budget -= callee.size;
                return true;
            }
        }
        let is_hot = call.in_loop || call.constant;
        let limit = match self.order.is_recursive(function) {
            true if call.constant => RECURSIVE_CONSTANT,
            true => RECURSIVE,
            false if is_hot => MODERATE,
            false => 0,
        };
        if callee.is_leaf && callee.size <= limit && callee.size <= self.budget {
            self.budget -= callee.size;
            return true;
        }
        false
    }
}
