//! The middle end: decisions about several functions together, between the plan of the module and
//! the translation of each function.
//!
//! | module | what |
//! |---|---|
//! | `body` | the facts about each function's body that these decisions need |
//! | `order` | sorts callees before their callers, and finds recursive functions |
//! | `inline` | which calls are inlined |
//! | `multiply` | which functions are the compilers' helper for 128-bit products |
//!
//! The decisions depend on the module alone, so they are the same for any number of threads. They
//! are made from WebAssembly code, before translation. So an inlined callee is translated at its
//! call, and no Cranelift IR is kept or copied.

mod body;
mod inline;
mod multiply;
mod order;

pub(crate) use multiply::Half;

use inline::Inlining;

use crate::Error;
use crate::module::Module;
use crate::plan::Plan;
use crate::settings::{OptLevel, Passes};
use crate::symbol::DefinedFuncIndex;
use crate::workers::Workers;

/// Size of the code of a product, in operators.
const PRODUCT: u32 = 10;

/// All decisions.
#[derive(Debug, Default)]
pub(crate) struct Middle {
    inlining: Inlining,
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
        workers: Workers,
    ) -> Result<Self, Error> {
        let mut products = Vec::new();
        if passes.products {
            let all = module.bodies.keys();
            products.extend(all.filter_map(|f| Some((f, multiply::find(module, f)?))));
        }
        let sizes = products.iter().map(|(function, _)| (*function, PRODUCT));
        let inlining = Inlining::new(module, plan, passes.inline, level, sizes, workers)?;
        Ok(Self { inlining, products })
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
