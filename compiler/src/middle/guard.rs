//! Which indirect calls are compared with a known index first.
//!
//! If a profile says that a hot indirect call nearly always uses one index of a frozen table, the
//! code compares the index with that one, and calls the function there directly, or has it inlined.
//! Every other index goes the ordinary way. A frozen table never changes, and all its functions
//! have the caller's VM context. So both ways do the same, and the first has nothing to check.

use crate::module::Module;
use crate::plan::Plan;
use crate::symbol::{DefinedFuncIndex, TableIndex, TypeIndex};

use super::Counts;

/// The index must have at least one more vote for each of this number of calls: two thirds of the
/// calls have it then.
const CALLS: u64 = 3;

/// An index that an indirect call is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guard {
    /// The table and the type that the call names.
    pub(crate) table: u32,
    pub(crate) ty: u32,
    pub(crate) index: u64,
    /// The function at that index, which has the type that the call expects.
    pub(crate) callee: DefinedFuncIndex,
    /// Whether other indices are rare.
    pub(crate) is_likely: bool,
}

/// The guard of the indirect call at this offset of a function.
pub(super) fn find(
    module: &Module<'_>,
    plan: &Plan,
    counts: &Counts,
    function: DefinedFuncIndex,
    (offset, table, ty): (u32, u32, u32),
) -> Option<Guard> {
    let target = counts.target(offset)?;
    let calls = counts.at(function, offset);
    if !counts.is_hot(calls) || target.votes < calls / CALLS {
        return None;
    }
    let frozen = plan.tables[TableIndex::from_u32(table)].frozen.as_ref()?;
    let element = frozen.elements.get(usize::try_from(target.index).ok()?)?;
    let callee = (*element)?;
    let fits = module.functions[callee] == module.types[TypeIndex::from_u32(ty)];
    let callee = module.defined(callee).filter(|_| fits)?;
    Some(Guard {
        table,
        ty,
        index: target.index,
        callee,
        is_likely: target.votes > calls - calls / 8,
    })
}
