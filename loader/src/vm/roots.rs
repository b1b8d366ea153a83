//! Where an instance holds external and exception references.

use precast_artifact::records::IMPORTED;

use super::instance::InstanceData;
use super::item_types::global_type;
use crate::types::ValType;

impl InstanceData {
    /// Gives the numbers of the external and exception references in the instance's own tables and
    /// globals.
    pub(crate) fn visit_externrefs(&self, visit: &mut impl FnMut(u64)) {
        for table in &self.tables {
            table.visit_externrefs(visit);
        }
        // SAFETY: the place is valid.
        self.for_each_kept_global(|place, _| visit(unsafe { place.read() }));
    }

    /// Makes the external and exception references in the instance's own globals null, unless they
    /// must not be.
    pub(super) fn forget_kept_globals(&mut self) {
        self.for_each_kept_global(|place, content| {
            if content.is_nullable() {
                // SAFETY: the place is valid, and zero is null.
                unsafe { place.write(0) };
            }
        });
    }

    /// Calls `work` with the places and types of the instance's own globals that hold external or
    /// exception references. The places are valid for reads and writes.
    fn for_each_kept_global(&self, mut work: impl FnMut(*mut u64, ValType)) {
        let globals = self.module.artifact().globals();
        for (i, record) in (0_u32..).zip(globals) {
            let content = global_type(&self.module, i).map(|ty| ty.content);
            // The parser checked the place; such a reference is 8 bytes.
            if let Some(content) = content.filter(|content| content.is_kept())
                && record.flags & IMPORTED == 0
            {
                work(self.at(record.vm_offset), content);
            }
        }
    }
}
