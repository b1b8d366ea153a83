//! An instance as its store keeps it: VM context, memories, tables, import slots.

use std::alloc::Layout;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use precast_artifact::records::{ExportRecord, ExternKind, FROZEN, IMPORTED};
use precast_artifact::vm::{
    VmContextHeader, VmFuncImport, VmFuncRef, VmMemory, VmStoreContext, VmTable, VmTag,
};
use precast_artifact::{Artifact, Error as ArtifactError, HEADER_OFFSET, Interruption, Section};

use super::gather::Gathered;
use super::host::{HOST_ENTRY, HostFunc, host_func, host_import};
use super::images::Image;
use super::item::{Item, RawImport};
use super::item_types::{global_type, table_type, type_id};
use super::memory::MemoryEntity;
use super::module::MappedModule;
use super::owner::Owner;
use super::state::State;
use super::table::TableEntity;
use crate::error::Error;
use crate::types::memory_type;

/// An instance as its store keeps it.
pub(crate) struct InstanceData {
    pub(crate) module: Arc<MappedModule>,
    /// What it starts with instead of what the module says.
    pub(crate) state: Option<Arc<State>>,
    pub(crate) vmctx: NonNull<VmContextHeader>,
    layout: Layout,
    imported_memories: Box<[NonNull<MemoryEntity>]>,
    /// The imported memories that other threads use too.
    pub(crate) shared_imports: Box<[Box<MemoryEntity>]>,
    pub(crate) memories: Box<[MemoryEntity]>,
    imported_tables: Box<[NonNull<TableEntity>]>,
    pub(crate) tables: Box<[TableEntity]>,
    /// The imported functions whose type is a subtype of the import's, with their type ids.
    subtypes: Box<[(u32, u64)]>,
    /// Imported host functions, which this keeps alive.
    _hosts: Box<[Arc<HostFunc>]>,
    /// The owner of the instance, if it can be parked.
    pub(crate) owner: Option<Arc<Owner>>,
    /// Whether import slots of other instances lead to functions of this instance.
    pub(crate) has_importers: bool,
    /// Whether the instance is closed while its store goes on.
    pub(crate) closed: Option<Closed>,
}

/// What a call of a function reaches: as in the function's reference.
struct Callee {
    code: *const u8,
    ctx: *mut c_void,
    is_host: bool,
}

/// What a closed instance does instead of running its code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed {
    pub(crate) exit_code: u32,
    /// The code that is called in place of each function.
    pub(super) entry: *const u8,
    /// Whether the instance has given up the contents of its tables and globals, see
    /// [`StoreCore::empty_instance`].
    ///
    /// [`StoreCore::empty_instance`]: super::store::StoreCore::empty_instance
    pub(super) emptied: bool,
}

// SAFETY: the pointers lead to what the instance owns, or what the store that has it owns. Parked
// ones have no store, and what they share with others (modules, host functions) is `Send` and
// `Sync`.
unsafe impl Send for InstanceData {}

impl Drop for InstanceData {
    fn drop(&mut self) {
        // Only the instance uses its memories: its store is gone, or never got the instance.
        self.memories.iter_mut().for_each(MemoryEntity::retire);
        let artifact = self.module.artifact();
        if artifact.header().counters.len != 0 {
            let counters = artifact.counters().unwrap_or(None);
            self.module.counted().end(counters, self.vmctx);
        }
        // SAFETY: allocated with this layout in `new`.
        unsafe { std::alloc::dealloc(self.vmctx.as_ptr().cast(), self.layout) };
    }
}

impl InstanceData {
    /// Makes the memories and tables and fills the VM context, except for the pointers to the
    /// instance itself and to its parts, which [`InstanceData::write_self_pointers`] writes. The
    /// caller has installed the signal handlers if the module has guarded memories.
    ///
    /// # Errors
    /// [`Error::Memory`] and [`Error::Limit`] when there is no room.
    pub(crate) fn new(
        store: *mut VmStoreContext,
        module: &Arc<MappedModule>,
        imports: &mut dyn Iterator<Item = RawImport<'_>>,
        owner: Option<&Arc<Owner>>,
        state: Option<&Arc<State>>,
    ) -> Result<Box<Self>, Error> {
        let artifact = module.artifact();
        let mut memories = Vec::new();
        for (i, record) in (0_u32..).zip(artifact.memories()) {
            if record.flags & IMPORTED == 0 {
                let ty = memory_type(&artifact, i).ok_or(DAMAGED)?;
                let pages = state.map_or(ty.min, |state| state.pages(memories.len()));
                let guarded = ty.is_guarded_by(artifact.strategy());
                memories.push(MemoryEntity::of_instance(ty, pages, guarded)?);
            }
        }
        Self::map_images(module, &mut memories, state)?;
        let memories = memories.into_iter().map(|memory| match memory.ty().shared {
            true => MemoryEntity::of_shared(memory.share(None)),
            false => memory,
        });
        let memories: Box<[MemoryEntity]> = memories.collect();
        let mut tables = Vec::new();
        for (i, record) in (0_u32..).zip(artifact.tables()) {
            if record.flags & IMPORTED == 0 {
                let mut ty = table_type(module, i).ok_or(DAMAGED)?;
                if record.flags & FROZEN != 0 {
                    // Only machine code reads a frozen table, in the artifact itself.
                    ty.min = 0;
                }
                tables.push(TableEntity::new(ty, 0)?);
            }
        }

        let vm = &artifact.header().vm;
        let layout = Layout::from_size_align(vm.size as usize, 16).map_err(|_| DAMAGED)?;
        // SAFETY: the size is not zero (the header alone takes 16 bytes; the parser checked).
        let vmctx = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(vmctx) = NonNull::new(vmctx.cast::<VmContextHeader>()) else {
            let what = format!("allocate {} bytes for an instance", vm.size);
            return Err(Error::no_memory(what));
        };
        // SAFETY: just allocated.
        unsafe { (*vmctx.as_ptr()).store = store };
        let mut this = Self {
            module: Arc::clone(module),
            state: state.cloned(),
            vmctx,
            layout,
            imported_memories: Box::default(),
            shared_imports: Box::default(),
            memories,
            imported_tables: Box::default(),
            tables: tables.into(),
            subtypes: Box::default(),
            _hosts: Box::default(),
            owner: owner.cloned(),
            has_importers: false,
            closed: None,
        };
        if artifact.counters()?.is_some() {
            // SAFETY: the context has the size that the artifact says, and `drop` ends it.
            unsafe { module.counted().begin(vmctx) };
        }
        this.fill_globals();
        this.make_tags(&module.artifact());
        this.import(store, imports)?;
        Ok(Box::new(this))
    }

    /// Fills the tags that the module defines.
    fn make_tags(&self, artifact: &Artifact<'_>) {
        for record in artifact.tags().iter().filter(|r| r.flags & IMPORTED == 0) {
            let Some(signature) = artifact.signatures().get(record.signature as usize) else {
                continue; // checked by the parser
            };
            let tag = VmTag {
                type_id: type_id(&self.module, record.signature),
                values: signature.params.into(),
            };
            // SAFETY: the parser checked that these places are inside the context, apart from each
            // other.
            unsafe { self.at::<VmTag>(record.vm_offset).write(tag) };
        }
    }

    /// The place of a tag.
    fn tag(&self, index: u32) -> Option<NonNull<VmTag>> {
        let record = self.module.artifact().tags().get(index as usize)?;
        if record.flags & IMPORTED == 0 {
            return NonNull::new(self.at(record.vm_offset));
        }
        // SAFETY: the slot of an imported tag holds a pointer to it.
        NonNull::new(unsafe { self.at::<*mut VmTag>(record.vm_offset).read() })
    }

    /// Maps the initial content of the memories that the instance has of its own.
    fn map_images(
        module: &MappedModule,
        memories: &mut [MemoryEntity],
        state: Option<&Arc<State>>,
    ) -> Result<(), Error> {
        let gathered = match state {
            Some(_) => None,
            None => module.gathered(),
        };
        let images = match state {
            Some(state) => state.images(),
            None => gathered.map(Gathered::images),
        };
        if let Some(images) = images {
            for (memory, image) in images.iter() {
                let memory = memories.get_mut(memory).ok_or(DAMAGED)?;
                memory.map_image(images.file(), image)?;
            }
        }
        if state.is_some() || gathered.is_some_and(|gathered| !gathered.leaves_runs()) {
            return Ok(());
        }
        let artifact = module.artifact();
        let first_defined = artifact.memories().len() - memories.len();
        for run in artifact.image_runs() {
            let run = run?;
            let memory = (run.memory as usize).checked_sub(first_defined);
            if memory.is_some_and(|i| gathered.is_some_and(|gathered| gathered.has_runs(i))) {
                continue;
            }
            let memory = memory.and_then(|i| memories.get_mut(i)).ok_or(DAMAGED)?;
            let from = module.mapping().image_file()?.ok_or(DAMAGED)?;
            let offset = artifact.header().image.start + run.offset;
            let bytes = Section {
                start: offset,
                len: run.len,
            };
            let image = Image {
                guest: run.guest as usize,
                bytes: NonNull::from(artifact.section(bytes)),
                offset: from.shift.wrapping_add(HEADER_OFFSET as u64 + offset),
            };
            memory.map_image(&from.file, image)?;
        }
        Ok(())
    }

    /// Fills the import slots. The imports have been checked.
    fn import(
        &mut self,
        store: *mut VmStoreContext,
        imports: &mut dyn Iterator<Item = RawImport<'_>>,
    ) -> Result<(), ArtifactError> {
        let module = Arc::clone(&self.module);
        let artifact = module.artifact();
        let (mut memories, mut tables, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
        let mut shared_imports = Vec::new();
        let mut subtypes = Vec::new();
        for (record, import) in artifact.imports().iter().zip(imports) {
            let index = record.index as usize;
            if record.kind == ExternKind::Func as u32
                && artifact.type_record(record.signature).is_some()
            {
                let found = import.type_id();
                if found != type_id(&module, record.signature) {
                    subtypes.push((record.index, found));
                }
            }
            // SAFETY: the parser checked that these places are inside the context, apart from each
            // other; each pointer that is written belongs to the store.
            unsafe {
                match import {
                    RawImport::Host(host) => {
                        hosts.push(Arc::clone(host));
                        self.import_host(store, record.index, record.signature, host)?;
                    }
                    RawImport::Item(Item::Func(func_ref)) => match host_func(func_ref.as_ref()) {
                        // The store holds the host function.
                        Some(host) => {
                            self.import_host(store, record.index, record.signature, host)?;
                        }
                        None => {
                            let func_ref = func_ref.as_ref();
                            let (code, ctx) = (func_ref.code, func_ref.ctx);
                            let slot = self.func_import(record.index);
                            if let Some(import) = host_import(func_ref) {
                                // Another instance passes a host function on. The function is to
                                // work on the memory of this instance, which calls it. The code is
                                // an exit of the other instance's module, which the store keeps.
                                slot.write(VmFuncImport {
                                    code,
                                    ctx: slot.cast(),
                                    owner: self.vmctx.as_ptr(),
                                    store,
                                    ..*import
                                });
                            } else {
                                ((*slot).code, (*slot).ctx) = (code, ctx);
                                Self::note_importer(ctx.cast());
                            }
                        }
                    },
                    RawImport::SharedMemory(shared) => {
                        let at = artifact.memories()[index].vm_offset;
                        self.at::<*mut VmMemory>(at).write(shared.head());
                        let entity = MemoryEntity::of_shared(Arc::clone(shared));
                        let mut entity = Box::new(entity);
                        memories.push(NonNull::from(&mut *entity));
                        shared_imports.push(entity);
                    }
                    RawImport::Item(Item::Memory(mut entity)) => {
                        entity.as_mut().expect(artifact.memories()[index].min);
                        let at = artifact.memories()[index].vm_offset;
                        self.at::<*mut VmMemory>(at).write(entity.as_ref().vm());
                        memories.push(entity);
                    }
                    RawImport::Item(Item::Table(mut entity)) => {
                        entity.as_mut().expect(artifact.tables()[index].min);
                        let at = artifact.tables()[index].vm_offset;
                        self.at::<*mut VmTable>(at).write(entity.as_ref().vm());
                        tables.push(entity);
                    }
                    RawImport::Item(Item::Tag(tag)) => {
                        let at = artifact.tags()[index].vm_offset;
                        self.at::<*mut VmTag>(at).write(tag.as_ptr());
                    }
                    RawImport::Item(Item::Global(value, _)) => {
                        let at = artifact.globals()[index].vm_offset;
                        self.at::<*mut u8>(at).write(value.as_ptr());
                    }
                }
            }
        }
        self.imported_memories = memories.into();
        self.shared_imports = shared_imports.into();
        self.imported_tables = tables.into();
        self.subtypes = subtypes.into();
        self._hosts = hosts.into();
        Ok(())
    }

    /// # Safety
    /// `function` is an imported function of the module, of signature `signature`.
    unsafe fn import_host(
        &self,
        store: *mut VmStoreContext,
        function: u32,
        signature: u32,
        host: &Arc<HostFunc>,
    ) -> Result<(), ArtifactError> {
        let artifact = self.module.artifact();
        let record = artifact.signature_with_exit(signature)?;
        let native = self.module.code(record.native_exit);
        let (code, shim) = host.exit(native, self.module.code(record.array_exit));
        let slot = self.func_import(function);
        let import = VmFuncImport {
            code,
            ctx: slot.cast(),
            shim,
            data: host.data(),
            owner: self.vmctx.as_ptr(),
            store,
        };
        // SAFETY: the parser checked that the slots are inside the context.
        unsafe { slot.write(import) };
        Ok(())
    }

    /// How the code of the instance can be stopped.
    pub(crate) fn interruption(&self) -> Interruption {
        self.module.artifact().interruption()
    }

    /// The module, with a lifetime that is longer than a borrow of the instance.
    pub(crate) fn held_module<'a>(&self) -> &'a MappedModule {
        // SAFETY: the instance holds the module. All callers are methods of the instance, and none
        // lets the reference out.
        unsafe { &*Arc::as_ptr(&self.module) }
    }

    /// Moves the instance into another store.
    pub(crate) fn enter_store(&mut self, store: *mut VmStoreContext) {
        let imports = self.module.artifact().header().vm.func_import_count;
        // SAFETY: the context and its import slots, which the parser checked; all of them are host
        // functions.
        unsafe {
            (*self.vmctx.as_ptr()).store = store;
            for i in 0..imports {
                (*self.func_import(i)).store = store;
            }
        }
    }

    /// Fills the part of the context that machine code changes, between its header and the import
    /// slots, but not the flags of dropped segments. Slots and references stay valid for as long as
    /// the instance exists.
    pub(super) fn fill_globals(&mut self) {
        let module = self.held_module();
        let (header, size) = (module.artifact().header(), size_of::<VmContextHeader>());
        let template = module.artifact().section(header.template);
        let initial = match &self.state {
            Some(state) => state.globals(),
            None => template.get(size..).unwrap_or(&[]),
        };
        let len = header.vm.func_imports as usize - size;
        let initial = &initial[..initial.len().min(len)];
        // SAFETY: the parser checked that this part is inside the context, and that the template is
        // zero where pointers go.
        unsafe {
            let to = self.vmctx.add(1).cast::<u8>();
            to.copy_from_nonoverlapping(NonNull::from(initial).cast(), initial.len());
            to.add(initial.len()).write_bytes(0, len - initial.len());
        }
    }

    /// Records in the instance of `ctx` that other instances import its functions.
    ///
    /// # Safety
    /// `ctx` is the context of an instance of a store, and no reference to the instance is held.
    unsafe fn note_importer(ctx: *mut VmContextHeader) {
        // SAFETY: by this function's contract.
        unsafe { (*(*ctx).instance.cast::<Self>()).has_importers = true };
    }

    /// Writes the pointers that lead to the instance itself, which must not move any more.
    pub(crate) fn write_self_pointers(&mut self) {
        let this: *mut Self = self;
        let artifact = self.module.artifact();
        let defined = |flags: u32| flags & IMPORTED == 0;
        let memories = artifact.memories().iter().filter(|r| defined(r.flags));
        let tables = artifact.tables().iter().filter(|r| defined(r.flags));
        // SAFETY: the parser checked the places; the instance is in its final place.
        unsafe {
            (*self.vmctx.as_ptr()).instance = this.cast();
            for (memory, record) in self.memories.iter_mut().zip(memories) {
                let at = self
                    .vmctx
                    .as_ptr()
                    .cast::<u8>()
                    .add(record.vm_offset as usize);
                if memory.shared().is_some() {
                    at.cast::<*mut VmMemory>().write(memory.vm());
                } else {
                    memory.set_vm(NonNull::new(at.cast()));
                }
            }
            for (table, record) in self.tables.iter_mut().zip(tables) {
                let at = (record.flags & FROZEN == 0).then(|| {
                    self.vmctx
                        .as_ptr()
                        .cast::<u8>()
                        .add(record.vm_offset as usize)
                        .cast()
                });
                table.set_vm(at.and_then(NonNull::new));
            }
        }
    }

    pub(crate) fn at<V>(&self, offset: u32) -> *mut V {
        self.byte(offset).as_ptr().cast()
    }

    pub(crate) fn byte(&self, offset: u32) -> NonNull<u8> {
        // SAFETY: offsets come from records that the parser checked against the context's size.
        unsafe { self.vmctx.cast::<u8>().add(offset as usize) }
    }

    fn func_import(&self, function: u32) -> *mut VmFuncImport {
        self.at::<VmFuncImport>(self.module.artifact().header().vm.func_imports)
            .wrapping_add(function as usize)
    }

    /// The place of a global's value.
    pub(crate) fn global(&self, index: u32) -> Option<NonNull<u8>> {
        let record = self.module.artifact().globals().get(index as usize)?;
        if record.flags & IMPORTED == 0 {
            return Some(self.byte(record.vm_offset));
        }
        // SAFETY: the slot of an imported global holds a pointer to it.
        NonNull::new(unsafe { self.at::<*mut u8>(record.vm_offset).read() })
    }

    /// A memory, by its index.
    ///
    /// # Panics
    /// If there is none: indices come from machine code and checked records.
    pub(crate) fn memory(&mut self, index: u32) -> NonNull<MemoryEntity> {
        let imported = self.imported_memories.len();
        match (index as usize).checked_sub(imported) {
            Some(defined) => NonNull::from(&mut self.memories[defined]),
            None => self.imported_memories[index as usize],
        }
    }

    /// A table, by its index.
    ///
    /// # Panics
    /// If there is none: indices come from machine code and checked records.
    pub(crate) fn table(&mut self, index: u32) -> NonNull<TableEntity> {
        let imported = self.imported_tables.len();
        match (index as usize).checked_sub(imported) {
            Some(defined) => NonNull::from(&mut self.tables[defined]),
            None => self.imported_tables[index as usize],
        }
    }

    /// The reference of a function. Its slot is filled by the first call.
    ///
    /// # Errors
    /// An error if the records of the function are damaged, or if the compiler made no slot because
    /// no reference to it can escape.
    pub(crate) fn func_ref(&mut self, function: u32) -> Result<NonNull<VmFuncRef>, ArtifactError> {
        let artifact = self.module.artifact();
        let slot = artifact.funcref_slot(function)? as usize * size_of::<VmFuncRef>();
        let slots = artifact.header().vm.funcrefs as usize;
        // SAFETY: the parser checked that the slots are inside the context, and `funcref_slot` that
        // there is a slot of this number.
        let slot = unsafe {
            self.vmctx
                .cast::<u8>()
                .add(slots + slot)
                .cast::<VmFuncRef>()
        };
        // SAFETY: as above.
        let found = unsafe { slot.as_ref() };
        if found.code.is_null() {
            let func_ref = self.new_func_ref(function)?;
            // SAFETY: as above.
            unsafe { slot.write(func_ref) };
            return Ok(slot);
        }
        // Compiled code does not check a slot that is filled.
        let callee = self.callee(function)?;
        if (found.code, found.ctx) != (callee.code, callee.ctx) {
            return Err(ArtifactError::Damaged {
                offset: HEADER_OFFSET as u64 + artifact.header().functions.start,
                what: "two functions have the same slot for their references",
            });
        }
        Ok(slot)
    }

    /// What a call of a function reaches.
    ///
    /// # Errors
    /// When its records are damaged.
    fn callee(&self, function: u32) -> Result<Callee, ArtifactError> {
        let artifact = self.module.artifact();
        let Some(defined) = function.checked_sub(artifact.header().vm.func_import_count) else {
            // SAFETY: an imported function's slot, filled when the instance was made.
            let import = unsafe { &*self.func_import(function) };
            return Ok(Callee {
                code: import.code,
                ctx: import.ctx,
                is_host: !import.shim.is_null(),
            });
        };
        let code = self.module.code(artifact.function(defined)?.text_offset);
        Ok(Callee {
            code: self.closed.map_or(code, |closed| closed.entry),
            ctx: self.vmctx.as_ptr().cast(),
            is_host: false,
        })
    }

    /// Makes the reference of a function, whether or not it has a slot.
    ///
    /// # Errors
    /// When its records are damaged.
    pub(crate) fn new_func_ref(&self, function: u32) -> Result<VmFuncRef, ArtifactError> {
        let artifact = self.module.artifact();
        let Callee { code, ctx, is_host } = self.callee(function)?;
        let index = artifact.function_signature(function)?;
        // A host function has no entries: they are for functions whose context is a VM context.
        let (array_entry, native_entry) = if is_host {
            (&raw const HOST_ENTRY, std::ptr::null())
        } else {
            let record = artifact.signature_with_entry(index)?;
            let entry = |offset| self.module.code(offset);
            let (array, native) = (record.array_entry, record.native_entry);
            (entry(array), entry(native))
        };
        let type_id = match self.subtypes.iter().find(|(import, _)| *import == function) {
            Some((_, found)) => *found,
            None => type_id(&self.module, index),
        };
        Ok(VmFuncRef {
            code,
            ctx,
            type_id,
            array_entry,
            native_entry,
        })
    }

    /// The export of this name.
    pub(crate) fn export(&mut self, name: &str) -> Option<Item> {
        let export = self.held_module().artifact().export(name)?;
        self.export_at(export)
    }

    /// The export of this record of the module.
    pub(crate) fn export_at(&mut self, export: &ExportRecord) -> Option<Item> {
        let artifact = self.module.artifact();
        let index = export.index;
        Some(match ExternKind::from_number(export.kind)? {
            ExternKind::Func => Item::Func(self.func_ref(index).ok()?),
            ExternKind::Memory if (index as usize) < artifact.memories().len() => {
                Item::Memory(self.memory(index))
            }
            ExternKind::Table if (index as usize) < artifact.tables().len() => {
                Item::Table(self.table(index))
            }
            ExternKind::Tag => Item::Tag(self.tag(index)?),
            ExternKind::Global => {
                Item::Global(self.global(index)?, global_type(&self.module, index)?)
            }
            _ => return None,
        })
    }
}

/// Records that contradict each other although the checksum is right.
const DAMAGED: Error = Error::Artifact(ArtifactError::Damaged {
    offset: HEADER_OFFSET as u64,
    what: "records of memories, tables or images contradict each other",
});
