//! Decides which tables are frozen.
//!
//! The artifact holds every entry of a frozen table, but only the length of a table that is not
//! frozen. So a table is frozen only if its length is in proportion to its segments, except for a
//! few entries that all tables of a module share.

use cranelift_entity::{PrimaryMap, SecondaryMap};
use precast_artifact::ValType;
use precast_artifact::promises::Promise;

use super::{Exports, FrozenTable};
use crate::const_expr::ConstValue;
use crate::key::{GlobalIndex, TableIndex};
use crate::module::{ElementMode, Module};

/// Entries that each item of a table's segments allows. Compilers make tables that are full except
/// for the first element.
const PER_ITEM: u64 = 2;

/// Entries that all frozen tables of a module together may have in addition.
const SPARE: u64 = 4096;

/// The content of each table that is frozen, `None` for each other table.
pub(super) fn tables(
    module: &Module<'_>,
    exports: &Exports,
    known: impl Fn(GlobalIndex) -> Option<ConstValue>,
) -> PrimaryMap<TableIndex, Option<FrozenTable>> {
    let mut items = SecondaryMap::<TableIndex, u64>::new();
    for segment in module.elements.values() {
        if let ElementMode::Active { table, .. } = segment.mode {
            items[table] += segment.items.len() as u64;
        }
    }
    let mut spare = SPARE;
    let mut worth_it = |index: TableIndex, len: u64| {
        let unpaid = len.saturating_sub(items[index] * PER_ITEM);
        let worth_it = unpaid <= spare;
        if worth_it {
            spare -= unpaid;
        }
        worth_it
    };
    let mut frozen: PrimaryMap<TableIndex, Option<FrozenTable>> = module
        .tables
        .iter()
        .map(|(index, table)| {
            let freezable = Promise::FrozenElements.is_constant()
                && !module.is_imported_table(index)
                && !exports.tables.contains(index)
                && !module.facts.tables_accessed.contains(index)
                && table.element == ValType::FuncRef
                && worth_it(index, table.min);
            freezable.then(|| FrozenTable {
                elements: vec![None; table.min as usize],
                signature: None,
                has_null: true,
            })
        })
        .collect();
    for segment in module.elements.values() {
        let ElementMode::Active { table, offset } = &segment.mode else {
            continue;
        };
        let Some(target) = &mut frozen[*table] else {
            continue;
        };
        let place = offset
            .fold(&known)
            .and_then(|offset| usize::try_from(offset.as_u64()).ok())
            .and_then(|start| {
                target
                    .elements
                    .get_mut(start..start.checked_add(segment.items.len())?)
            });
        let fits = place.is_some_and(|place| {
            place
                .iter_mut()
                .zip(segment.items.iter())
                .all(|(element, item)| {
                    *element = item.as_ref_func();
                    element.is_some() || item.is_null()
                })
        });
        if !fits {
            frozen[*table] = None;
        }
    }
    for table in frozen.values_mut().flatten() {
        table.has_null = table.elements.contains(&None);
        let mut signatures = table
            .elements
            .iter()
            .flatten()
            .map(|f| module.functions[*f]);
        if let Some(first) = signatures.next() {
            table.signature = signatures.all(|other| other == first).then_some(first);
        }
    }
    frozen
}
