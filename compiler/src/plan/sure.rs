//! Which segments apply in every instance whose functions anybody can call, even if instantiation
//! fails.
//!
//! Active segments apply [in the module's order][spec], those of elements first. The first that is
//! out of bounds ends instantiation. Its instance is lost, except for functions that an earlier
//! segment has put into an imported table: they see the effects of the segments in front of the
//! one that failed, and of no other. So once a segment goes into an imported table, whatever comes
//! behind the first one that can fail has to wait until instantiation gets there.
//!
//! One thing is left out: a declared element segment should be dropped when instantiation gets to
//! it, and has length zero from the beginning, also if instantiation does not get there.
//!
//! The loader has the same rule for the content that it gathers (`loader/src/vm/gather.rs`).
//!
//! [spec]: https://webassembly.github.io/spec/core/exec/modules.html#instantiation

use cranelift_entity::EntityRef;

use crate::const_expr::{ConstExpr, ConstValue};
use crate::module::{Data, ElementMode, Module};
use crate::symbol::{DataIndex, ElemIndex, GlobalIndex};

/// The segments in front of the first one whose failure somebody can see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sure {
    elements: usize,
    data: usize,
}

impl Sure {
    pub(super) fn new(
        module: &Module<'_>,
        known: impl Fn(GlobalIndex) -> Option<ConstValue>,
    ) -> Self {
        // A table or memory that is imported has at least its declared size.
        let fits = |offset: &ConstExpr, len: usize, size: u64| {
            let end = offset
                .fold(&known)
                .and_then(|start| start.as_u64().checked_add(len as u64));
            end.is_some_and(|end| end <= size)
        };
        let mut escapes = false;
        for (index, segment) in module.elements.iter() {
            if let ElementMode::Active { table, offset } = &segment.mode {
                if escapes && !fits(offset, segment.items.len(), module.tables[*table].min) {
                    return Self {
                        elements: index.index(),
                        data: 0,
                    };
                }
                escapes |= module.is_imported_table(*table);
            }
        }
        let fails = |(_, segment): &(DataIndex, &Data<'_>)| {
            let target = segment.active.as_ref();
            target.is_some_and(|(memory, offset)| {
                let size = module.memories[*memory].min_bytes();
                !fits(offset, segment.bytes.len(), size)
            })
        };
        let failing = module.data.iter().find(fails).filter(|_| escapes);
        Self {
            elements: module.elements.len(),
            data: failing.map_or(module.data.len(), |(index, _)| index.index()),
        }
    }

    pub(super) fn has_element(self, index: ElemIndex) -> bool {
        index.index() < self.elements
    }

    pub(super) fn has_data(self, index: DataIndex) -> bool {
        index.index() < self.data
    }
}
