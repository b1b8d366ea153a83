//! The middle end: decisions about several functions together, between the plan of the module and
//! the translation of each function.
//!
//! | module | what |
//! |---|---|
//! | `body` | the facts about each function's body that these decisions need |
//! | `counts` | how often code ran, according to a profile |
//! | `order` | sorts callees before their callers, and finds recursive functions |
//! | `guard` | which indirect calls are compared with a known index first |
//! | `inline` | which calls are inlined |
//! | `multiply` | which functions are the compilers' helper for 128-bit products |
//!
//! The decisions depend on the module and the profile alone, so they are the same for any number of
//! threads. They are made from WebAssembly code, before translation. So an inlined callee is
//! translated at its call, and no Cranelift IR is kept or copied.

mod body;
mod counts;
mod guard;
mod inline;
mod multiply;
mod order;

pub(crate) use counts::{Counts, Heat};
pub(crate) use guard::Guard;
pub(crate) use multiply::Half;

use inline::{How, Inlining};
use precast_artifact::Profile;

use crate::Error;
use crate::module::Module;
use crate::plan::Plan;
use crate::settings::{OptLevel, Passes};
use crate::symbol::{DefinedFuncIndex, Symbol};
use crate::workers::Workers;

/// Size of the code of a product, in operators.
const PRODUCT: u32 = 10;

/// All decisions.
#[derive(Debug, Default)]
pub(crate) struct Middle {
    inlining: Inlining,
    /// How often code ran, if there is a profile.
    pub(crate) counts: Option<Counts>,
    /// The helpers for 128-bit products, ascending, each with what it stores.
    products: Vec<(DefinedFuncIndex, [Half; 2])>,
}

impl Middle {
    /// Makes all decisions for a module.
    pub(crate) fn new(
        module: &Module<'_>,
        plan: &Plan,
        passes: Passes,
        level: OptLevel,
        profile: Option<&Profile>,
        workers: Workers,
    ) -> Result<Self, Error> {
        let mut products = Vec::new();
        if passes.products {
            let all = module.bodies.keys();
            products.extend(all.filter_map(|f| Some((f, multiply::find(module, f)?))));
        }
        let counts = match profile {
            Some(profile) => Some(Counts::new(module, profile, workers)?),
            None => None,
        };
        let sizes = products.iter().map(|(function, _)| (*function, PRODUCT));
        let how = How {
            calls: passes.inline,
            level,
            counts: counts.as_ref(),
        };
        let inlining = Inlining::new(module, plan, how, sizes, workers)?;
        Ok(Self {
            inlining,
            counts,
            products,
        })
    }

    /// The guard of an indirect call of this function, given by its offset in the module, its table
    /// and its type.
    pub(crate) fn guard(
        &self,
        module: &Module<'_>,
        plan: &Plan,
        function: DefinedFuncIndex,
        call: (u32, u32, u32),
    ) -> Option<Guard> {
        let counts = self.counts.as_ref()?;
        guard::find(module, plan, counts, function, call)
    }

    /// How hot the code of a symbol is. Without a profile, all code is equal.
    pub(crate) fn heat(&self, symbol: Symbol) -> Heat {
        match (&self.counts, symbol) {
            (Some(_), Symbol::Function(function)) if self.is_omitted(function) => Heat::Cold,
            (Some(counts), Symbol::Function(function)) => counts.heat(function),
            _ => Heat::Warm,
        }
    }

    /// Whether the call at this offset in the module is inlined.
    pub(crate) fn is_inlined(&self, call: u32) -> bool {
        self.inlining.is_inlined(call)
    }

    /// Whether nothing calls a function.
    pub(crate) fn is_omitted(&self, function: DefinedFuncIndex) -> bool {
        self.inlining.is_omitted(function)
    }

    /// The halves of a 128-bit product that a function stores, if it is the helper for that.
    pub(crate) fn product(&self, function: DefinedFuncIndex) -> Option<[Half; 2]> {
        let found = self.products.binary_search_by_key(&function, |(f, _)| *f);
        found.ok().map(|i| self.products[i].1)
    }
}

#[cfg(test)]
mod tests;
