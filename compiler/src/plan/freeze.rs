//! Decides which tables are frozen.
//!
//! The artifact holds every entry of a frozen table, but only the length of a table that is not
//! frozen. So a table is frozen only if its length is in proportion to its segments, except for a
//! few entries that all tables of a module share.

use cranelift_entity::{PrimaryMap, SecondaryMap};
use precast_artifact::promises::Promise;
use precast_artifact::{HeapType, RefType, ValType};

use super::{Exports, FrozenTable, Sure};
use crate::const_expr::ConstValue;
use crate::module::{ElementMode, Module};
use crate::symbol::{FuncIndex, GlobalIndex, TableIndex, TypeIndex};

/// Entries of a table that are allowed for each item of its segments. Compilers make tables that
/// are full except for the first element.
const PER_ITEM: u64 = 2;

/// Entries that all frozen tables of a module together may have in addition.
const SPARE: u64 = 4096;

/// The content of each table that is frozen, `None` for each other table.
pub(super) fn tables(
    module: &Module<'_>,
    exports: &Exports,
    sure: Sure,
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
                && is_of_functions(table.element)
                && !calls_open_types(module, index);
            let init = match &table.init {
                Some(init) if init.is_null() => Some(None),
                Some(init) => init
                    .as_ref_func()
                    .filter(|f| is_of_its_type(module, *f))
                    .map(Some),
                None => Some(None),
            };
            let init = init.filter(|_| freezable && worth_it(index, table.min));
            init.map(|init| FrozenTable {
                elements: vec![init; table.min as usize],
                signature: None,
                has_null: true,
            })
        })
        .collect();
    for (index, segment) in module.elements.iter() {
        let ElementMode::Active { table, offset } = &segment.mode else {
            continue;
        };
        let Some(target) = &mut frozen[*table] else {
            continue;
        };
        let place = offset
            .fold(&known)
            .filter(|_| sure.has_element(index))
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
                    match element {
                        Some(function) => is_of_its_type(module, *function),
                        None => item.is_null(),
                    }
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

fn is_of_functions(element: ValType) -> bool {
    matches!(element, ValType::Ref(RefType { heap, .. }) if heap.top() == HeapType::Func)
}

/// Whether the type of a function is known: what is imported as a type that is not final may be of
/// a subtype, which calls of the subtype accept.
fn is_of_its_type(module: &Module<'_>, function: FuncIndex) -> bool {
    module.defined(function).is_some() || module.signature(function).is_final()
}

/// Whether an indirect call through the table expects a type that can have subtypes: an entry of a
/// frozen table has its own signature only.
fn calls_open_types(module: &Module<'_>, table: TableIndex) -> bool {
    let all = (table, TypeIndex::from_u32(0))..=(table, TypeIndex::from_u32(u32::MAX - 1));
    let mut calls = module.facts.indirect_calls.range(all);
    calls.any(|(_, ty)| !module.signatures[module.types[*ty]].is_final())
}
