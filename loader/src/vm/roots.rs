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
        let artifact = self.module.artifact();
        for (i, record) in (0_u32..).zip(artifact.globals()) {
            let content = global_type(&self.module, i).map(|ty| ty.content);
            if content.is_some_and(ValType::is_kept) && record.flags & IMPORTED == 0 {
                // SAFETY: the parser checked the place; an external reference is 8 bytes.
                visit(unsafe { self.at::<u64>(record.vm_offset).read() });
            }
        }
    }
}
