//! An instance as new: for the next store, or in the store that it stays in.

use precast_artifact::records::IMPORTED;

use super::gather::Gathered;
use super::images::Images;
use super::instance::InstanceData;
use super::memory::MemoryEntity;
use super::table::TableEntity;
use crate::error::Error;

/// Contexts of up to this number of bytes are not counted as resident, so that threads whose
/// instances keep nothing else need no part of what the process may keep.
const SMALL_CONTEXT: usize = 64 << 10;

impl InstanceData {
    /// Whether [`InstanceData::reset`] can put everything back.
    pub(crate) fn is_resettable(&self) -> bool {
        self.closed.is_none() && self.memories.iter().all(MemoryEntity::is_resettable)
    }

    /// Maximum number of mappings that the loader has made for the instance's memories and tables.
    pub(crate) fn mappings(&self) -> usize {
        let memories = self.memories.iter().map(MemoryEntity::mappings);
        let tables = self.tables.iter().map(TableEntity::mappings);
        memories.chain(tables).sum()
    }

    /// Number of bytes that stay resident while the instance is parked.
    pub(crate) fn resident(&self) -> usize {
        self.kept() + self.large_context()
    }

    /// Number of bytes of the VM context if it is larger than [`SMALL_CONTEXT`], otherwise zero. A
    /// context cannot be given back.
    fn large_context(&self) -> usize {
        let size = self.module.artifact().header().vm.size as usize;
        if size > SMALL_CONTEXT { size } else { 0 }
    }

    /// Number of bytes of memories and tables that stay resident while the instance is parked, and
    /// can be given back.
    pub(crate) fn kept(&self) -> usize {
        let memories = self.memories.iter().map(MemoryEntity::kept);
        let tables = self.tables.iter().map(TableEntity::kept);
        memories.chain(tables).sum()
    }

    /// Gives these bytes back to the system. [`InstanceData::renew`] goes before the next use.
    ///
    /// # Errors
    /// The system's; the instance must be dropped then.
    pub(crate) fn discard_kept(&mut self) -> Result<(), Error> {
        self.tables.iter_mut().for_each(TableEntity::discard_kept);
        let mut memories = self.memories.iter_mut();
        memories.try_for_each(MemoryEntity::discard_kept)
    }

    /// Restores what was given back while the instance was parked.
    ///
    /// # Errors
    /// [`Error::Memory`]; the instance must be dropped then.
    pub(crate) fn renew(&mut self) -> Result<(), Error> {
        self.tables.iter_mut().try_for_each(TableEntity::renew)
    }

    /// Restores everything to the state after [`InstanceData::new`]. `ran` says whether code of its
    /// store ever ran.
    ///
    /// # Errors
    /// When the system refuses; the instance must be dropped or closed then. Code of others can use
    /// its memories and tables, of whose content anything may be left.
    pub(crate) fn reset(&mut self, ran: bool) -> Result<(), Error> {
        let learned = self.owner.as_ref().map_or(&[][..], |owner| owner.learned());
        for (i, memory) in self.memories.iter_mut().enumerate() {
            memory.reset(ran, learned.get(i))?;
        }
        for table in &mut self.tables {
            table.reset()?;
        }
        self.fill_globals();
        let artifact = self.module.artifact();
        let vm = &artifact.header().vm;
        // SAFETY: the parser checked that these parts are inside the context.
        unsafe {
            self.byte(vm.data_dropped)
                .write_bytes(0, artifact.data().len());
            self.byte(vm.elem_dropped)
                .write_bytes(0, artifact.elements().len());
        }
        Ok(())
    }

    /// Checks that the memories and tables may have their initial sizes again.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] if code of another instance relies on one of them to be longer.
    pub(crate) fn check_expectations(&self) -> Result<(), Error> {
        let memories = self.memories.iter().enumerate().map(|(i, memory)| {
            let beyond = memory.expected_beyond_initial();
            beyond.map(|found| ("memory", i, "pages", found))
        });
        let tables = self.tables.iter().enumerate().map(|(i, table)| {
            let beyond = table.expected_beyond_initial();
            beyond.map(|found| ("table", i, "elements", found))
        });
        let Some((kind, i, unit, (expected, initial))) = memories.chain(tables).flatten().next()
        else {
            return Ok(());
        };
        Err(Error::Unsuitable {
            action: "reset the instance",
            why: format!(
                "another instance imports its {kind} {i} with a minimum of {expected} {unit}, and \
                 the {kind} had {initial} when the instance was new"
            ),
        })
    }

    /// [`InstanceData::reset`] in the store that the instance stays in, all of whose code is idle.
    /// It is published again.
    ///
    /// # Errors
    /// When the system refuses; the instance must be closed then.
    pub(crate) fn reset_in_store(&mut self, ran: bool) -> Result<(), Error> {
        let module = self.held_module();
        let gathered = match &self.state {
            Some(_) => None,
            None => module.gathered(),
        };
        let made = match &self.state {
            Some(state) => state.images(),
            None => gathered.map(Gathered::images),
        };
        let made = made.map(Images::file);
        for (i, memory) in self.memories.iter_mut().enumerate() {
            let is_made = self.state.is_some() || gathered.is_some_and(|all| all.has_runs(i));
            let file = match is_made {
                true => made,
                false => module.mapping().image_file()?.map(|images| &images.file),
            };
            memory.come_back(file)?;
        }
        let imported = self.imported_places();
        self.reset(ran)?;
        for (at, pointer) in imported {
            // SAFETY: the same place, of which the pointer was read.
            unsafe { self.at::<*mut u8>(at).write(pointer) };
        }
        self.write_self_pointers();
        Ok(())
    }

    /// For each imported memory, table and global: the offset of its pointer in the context, and
    /// the pointer.
    fn imported_places(&self) -> Vec<(u32, *mut u8)> {
        let artifact = self.module.artifact();
        let memories = artifact.memories().iter().map(|r| (r.flags, r.vm_offset));
        let tables = artifact.tables().iter().map(|r| (r.flags, r.vm_offset));
        let globals = artifact.globals().iter().map(|r| (r.flags, r.vm_offset));
        let all = memories.chain(tables).chain(globals);
        all.filter(|(flags, _)| flags & IMPORTED != 0)
            // SAFETY: the parser checked the places; each holds a pointer.
            .map(|(_, at)| (at, unsafe { self.at::<*mut u8>(at).read() }))
            .collect()
    }

    /// Bytes of its memories, and elements of its tables.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        let bytes = self.memories.iter().map(|memory| memory.len() as u64);
        let elements = self.tables.iter().map(|table| table.len() as u64);
        (bytes.sum(), elements.sum())
    }
}
