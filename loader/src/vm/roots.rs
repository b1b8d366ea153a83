//! Where an instance holds external references.

use precast_artifact::ValType;
use precast_artifact::records::IMPORTED;

use super::instance::InstanceData;
use crate::types::global_type;

impl InstanceData {
    /// Gives the numbers of the external references in the instance's own tables and globals.
    pub(crate) fn visit_externrefs(&self, visit: &mut impl FnMut(u64)) {
        for table in &self.tables {
            table.visit_externrefs(visit);
        }
        let artifact = self.module.artifact();
        for (i, record) in (0_u32..).zip(artifact.globals()) {
            let content = global_type(&artifact, i).map(|ty| ty.content);
            if content == Some(ValType::ExternRef) && record.flags & IMPORTED == 0 {
                // SAFETY: the parser checked the place; an external reference is 8 bytes.
                visit(unsafe { self.at::<u64>(record.vm_offset).read() });
            }
        }
    }
}
