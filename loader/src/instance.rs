//! Instances: making them, and their exports.
//!
//! Instantiation follows the specification's order
//! (<https://webassembly.github.io/spec/core/exec/modules.html#instantiation>): globals, tables,
//! element segments, data segments, start function. What the compiler could evaluate is in the VM
//! context's template and in the memory image already. An instance whose initialisation traps stays
//! in its store, since other instances may have references to its functions by then.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Arc;

use precast_artifact::records::{ConstOp, ConstOpcode, ExternKind, FROZEN, IMPORTED, NONE, Run};
use precast_artifact::vm::{ValRaw, VmContextHeader, VmFuncImport, VmFuncRef, VmMemory, VmTable};
use precast_artifact::{HEADER_OFFSET, Strategy, TrapCode};

use crate::builtins::range;
use crate::error::Error;
use crate::func::{Func, TypedFunc};
use crate::global::{Global, read_global, write_global};
use crate::host::HostFunc;
use crate::link::{Import, check_imports};
use crate::memory::{Memory, MemoryEntity};
use crate::module::{Module, ModuleInner};
use crate::store::{AsContext, AsContextMut, StoreCore, StoreId};
use crate::table::{Table, TableEntity};
use crate::trap::Trap;
use crate::typed::{WasmParams, WasmResults};
use crate::types::{
    ExternType, FuncType, global_type, imported_function, memory_type, signature_index, table_type,
    type_id,
};

/// An item of an instance, or one that the host made.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A linear memory.
    Memory(Memory),
    /// A table.
    Table(Table),
    /// A global.
    Global(Global),
}

macro_rules! extern_kinds {
    ($($into:ident $Kind:ident),*) => {
        impl Extern {
            $(
                #[doc = concat!("The item, if it is a ", stringify!($into), ".")]
                pub fn $into(self) -> Option<$Kind> {
                    match self { Self::$Kind(item) => Some(item), _ => None }
                }
            )*
        }
        $(impl From<$Kind> for Extern {
            fn from(item: $Kind) -> Self {
                Self::$Kind(item)
            }
        })*
    };
}

extern_kinds!(func Func, memory Memory, table Table, global Global);

impl Extern {
    /// The type; of a memory or table, the one it was declared with.
    ///
    /// # Panics
    /// If the item belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        match self {
            Self::Func(f) => ExternType::Func(f.ty(store)),
            Self::Memory(m) => ExternType::Memory(m.ty(store)),
            Self::Table(t) => ExternType::Table(t.ty(store)),
            Self::Global(g) => ExternType::Global(g.ty()),
        }
    }
}

/// An instance of a module, in a store.
#[derive(Debug, Clone, Copy)]
pub struct Instance {
    store: StoreId,
    data: NonNull<InstanceData>,
}

// SAFETY: the pointer is only followed by who shows the store that owns what it points to.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// Instantiates a module with one item for each of its imports, in their order.
    ///
    /// # Errors
    /// [`Error::Link`] when imports do not fit, [`Error::Memory`] and [`Error::Limit`] when there
    /// is no room, [`Error::Trap`] and what host functions return when initialisation or the start
    /// function fails.
    ///
    /// # Panics
    /// If an item belongs to another store.
    pub fn new(
        mut store: impl AsContextMut,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Self, Error> {
        let imports: Vec<_> = imports.iter().map(|item| Import::Extern(*item)).collect();
        let core = store.as_context_mut().core_ptr();
        // SAFETY: the store is borrowed exclusively, and not used otherwise until this returns.
        unsafe { Self::instantiate(core, module, &imports) }
    }

    /// Checks the imports, then makes the instance and runs its start function.
    ///
    /// # Safety
    /// `core` is used by nobody else until this returns; it is the pointer that machine code uses.
    pub(crate) unsafe fn instantiate(
        core_ptr: *mut StoreCore,
        module: &Module,
        imports: &[Import<'_>],
    ) -> Result<Self, Error> {
        // SAFETY: by this function's contract.
        let core = unsafe { &mut *core_ptr };
        check_imports(core, &module.0, imports)?;
        let most = core.limits.instances;
        if core.instances.len() >= most {
            let wanted = core.instances.len() as u64 + 1;
            return Err(Error::Limit {
                what: "instances of a store",
                wanted,
                limit: most as u64,
            });
        }
        let instance = InstanceData::new(core, &module.0, imports)?;
        let mut instance = Box::new(instance);
        let mut data = NonNull::from(&mut *instance);
        instance.publish();
        for memory in instance.memories.iter_mut().filter(|m| m.is_guarded()) {
            let reservation = memory.reservation();
            core.add_guarded(reservation.base().as_ptr() as usize, reservation.len());
        }
        if core.add_module(&module.0) {
            for func in &mut core.funcs {
                func.fill(&module.0);
            }
        }
        core.instances.push(instance);
        let this = Self {
            store: core.id,
            data,
        };
        // SAFETY: the instance is the store's now, which is used by nobody else.
        unsafe {
            data.as_mut()
                .initialise(&mut *core_ptr)
                .map_err(Trap::from)?;
            let start = module.0.artifact().header().start_function;
            if start != NONE {
                let func = data.as_mut().func_ref(start);
                let func = func.and_then(|f| Func::from_raw(&*core_ptr, f.as_ptr()));
                // A start function takes and gives nothing.
                if let Some(func) = func {
                    func.call_raw(core_ptr, &mut ValRaw { v128: 0 })?;
                }
            }
        }
        Ok(this)
    }

    /// # Panics
    /// If the instance belongs to another store.
    fn get(&self, core: &StoreCore) -> NonNull<InstanceData> {
        assert!(
            self.store == core.id,
            "an instance was used with a store that does not own it"
        );
        self.data
    }

    /// The export of this name.
    ///
    /// # Panics
    /// As do all methods, if the instance belongs to another store.
    pub fn get_export(&self, mut store: impl AsContextMut, name: &str) -> Option<Extern> {
        let mut store = store.as_context_mut();
        let core = store.core();
        // SAFETY: the store owns the instance and is borrowed exclusively.
        unsafe { self.get(core).as_mut().export(core, name) }
    }

    /// The exported function of this name.
    pub fn get_func(&self, store: impl AsContextMut, name: &str) -> Option<Func> {
        self.get_export(store, name)?.func()
    }

    /// The exported memory of this name.
    pub fn get_memory(&self, store: impl AsContextMut, name: &str) -> Option<Memory> {
        self.get_export(store, name)?.memory()
    }

    /// The exported table of this name.
    pub fn get_table(&self, store: impl AsContextMut, name: &str) -> Option<Table> {
        self.get_export(store, name)?.table()
    }

    /// The exported global of this name.
    pub fn get_global(&self, store: impl AsContextMut, name: &str) -> Option<Global> {
        self.get_export(store, name)?.global()
    }

    /// The exported function of this name and type.
    ///
    /// # Errors
    /// [`Error::NoExport`], [`Error::Type`].
    pub fn get_typed_func<P: WasmParams, R: WasmResults>(
        &self,
        mut store: impl AsContextMut,
        name: &str,
    ) -> Result<TypedFunc<P, R>, Error> {
        let func = self.get_func(store.as_context_mut(), name);
        func.ok_or_else(|| Error::NoExport {
            kind: "function",
            name: name.into(),
        })?
        .typed(store)
    }

    /// All exports, in the module's order.
    pub fn exports(&self, mut store: impl AsContextMut) -> Vec<(String, Extern)> {
        let mut store = store.as_context_mut();
        let core = store.core();
        // SAFETY: the store owns the instance and is borrowed exclusively.
        let instance = unsafe { self.get(core).as_mut() };
        let module = instance.module();
        let names: Vec<String> = module.exports().map(|(name, _)| name.to_string()).collect();
        let find = |name: String| Some((name.clone(), instance.export(core, &name)?));
        names.into_iter().filter_map(find).collect()
    }

    /// The module.
    pub fn module(&self, store: impl AsContext) -> Module {
        // SAFETY: the store owns the instance and is borrowed.
        unsafe { self.get(&store.as_context().0.core).as_ref().module() }
    }
}

/// An instance as its store keeps it.
pub(crate) struct InstanceData {
    module: Arc<ModuleInner>,
    vmctx: NonNull<VmContextHeader>,
    layout: Layout,
    imported_memories: Box<[NonNull<MemoryEntity>]>,
    memories: Box<[MemoryEntity]>,
    imported_tables: Box<[NonNull<TableEntity>]>,
    tables: Box<[TableEntity]>,
    /// Keeps imported host functions alive.
    _hosts: Box<[Arc<HostFunc>]>,
}

impl Drop for InstanceData {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`.
        unsafe { std::alloc::dealloc(self.vmctx.as_ptr().cast(), self.layout) };
    }
}

impl InstanceData {
    /// Makes memories and tables and fills the VM context, all but the pointers to the instance
    /// itself and to what is in it, which follow in [`InstanceData::publish`].
    fn new(
        core: &mut StoreCore,
        module: &Arc<ModuleInner>,
        imports: &[Import<'_>],
    ) -> Result<Self, Error> {
        let artifact = module.artifact();
        let guarded = artifact.strategy() == Strategy::Guarded;
        let mut memories = Vec::new();
        for (i, record) in (0_u32..).zip(artifact.memories()) {
            if record.flags & IMPORTED == 0 {
                let ty = memory_type(&artifact, i).ok_or(DAMAGED)?;
                let limit = core.limits.memory_bytes;
                memories.push(MemoryEntity::new(ty, guarded && !ty.memory64, limit)?);
            }
        }
        let first_defined = artifact.memories().len() - memories.len();
        for run in artifact.images() {
            let memory = (run.memory as usize).checked_sub(first_defined);
            let memory = memory.and_then(|i| memories.get_mut(i)).ok_or(DAMAGED)?;
            let file = module.mapping().file().ok_or(DAMAGED)?;
            let offset = HEADER_OFFSET as u64 + artifact.header().image.start + run.offset;
            let (guest, len) = (run.guest as usize, run.len as usize);
            memory.reservation().map_file(guest, len, file, offset)?;
        }
        let mut tables = Vec::new();
        for (i, record) in (0_u32..).zip(artifact.tables()) {
            if record.flags & IMPORTED == 0 {
                let mut ty = table_type(&artifact, i).ok_or(DAMAGED)?;
                if record.flags & FROZEN != 0 {
                    // Only machine code sees it, in the artifact itself.
                    ty.min = 0;
                }
                tables.push(TableEntity::new(ty, 0, core.limits.table_elements)?);
            }
        }

        let vm = &artifact.header().vm;
        let layout = Layout::from_size_align(vm.size as usize, 16).map_err(|_| DAMAGED)?;
        // SAFETY: the size is not zero (the header alone takes 16 bytes; the parser checked).
        let vmctx = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(vmctx) = NonNull::new(vmctx.cast::<VmContextHeader>()) else {
            std::alloc::handle_alloc_error(layout)
        };
        let template = artifact.section(artifact.header().template);
        // SAFETY: the parser checked that the template is no longer than the context.
        unsafe {
            let to = vmctx.as_ptr().cast::<u8>();
            std::ptr::copy_nonoverlapping(template.as_ptr(), to, template.len());
            (*vmctx.as_ptr()).store = core.this.cast();
        }
        let mut this = Self {
            module: Arc::clone(module),
            vmctx,
            layout,
            imported_memories: Box::default(),
            memories: memories.into(),
            imported_tables: Box::default(),
            tables: tables.into(),
            _hosts: Box::default(),
        };
        this.import(core, imports);
        Ok(this)
    }

    /// Fills the import slots. The imports have been checked.
    fn import(&mut self, core: &mut StoreCore, imports: &[Import<'_>]) {
        let module = Arc::clone(&self.module);
        let artifact = module.artifact();
        let (mut memories, mut tables, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
        for (record, import) in artifact.imports().iter().zip(imports) {
            let index = record.index as usize;
            // SAFETY: the parser checked that these places are inside the context; each pointer
            // that is written belongs to the store.
            unsafe {
                match import {
                    Import::Host(host) => {
                        hosts.push(Arc::clone(host));
                        self.import_host(core, record.index, record.signature, host);
                    }
                    Import::Extern(Extern::Func(func)) => match func.host(core) {
                        // The store holds the function.
                        Some(host) => {
                            self.import_host(core, record.index, record.signature, host);
                        }
                        None => {
                            let (code, ctx) = func.code(core);
                            let slot = self.func_import(record.index);
                            ((*slot).code, (*slot).ctx) = (code, ctx);
                        }
                    },
                    Import::Extern(Extern::Memory(memory)) => {
                        let entity = memory.entity(core);
                        let at = artifact.memories()[index].vm_offset;
                        self.at::<*mut VmMemory>(at).write(entity.as_ref().vm());
                        memories.push(entity);
                    }
                    Import::Extern(Extern::Table(table)) => {
                        let entity = table.entity(core);
                        let at = artifact.tables()[index].vm_offset;
                        self.at::<*mut VmTable>(at).write(entity.as_ref().vm());
                        tables.push(entity);
                    }
                    Import::Extern(Extern::Global(global)) => {
                        let at = artifact.globals()[index].vm_offset;
                        self.at::<*mut u8>(at).write(global.value(core).as_ptr());
                    }
                }
            }
        }
        self.imported_memories = memories.into();
        self.imported_tables = tables.into();
        self._hosts = hosts.into();
    }

    /// # Safety
    /// `function` is an imported function of the module, of signature `signature`.
    unsafe fn import_host(
        &self,
        core: &StoreCore,
        function: u32,
        signature: u32,
        host: &Arc<HostFunc>,
    ) {
        let artifact = self.module.artifact();
        let record = &artifact.signatures()[signature as usize];
        let native = self.module.code(record.native_exit);
        let (code, shim) = host.exit(native, self.module.code(record.array_exit));
        let slot = self.func_import(function);
        let import = VmFuncImport {
            code,
            ctx: slot.cast(),
            shim,
            data: host.data(),
            owner: self.vmctx.as_ptr(),
            store: core.this.cast(),
        };
        // SAFETY: the parser checked that the slots are inside the context.
        unsafe { slot.write(import) };
    }

    /// Fills what points into the instance itself, which does not move any more.
    fn publish(&mut self) {
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
                memory.publish(NonNull::new(at.cast()));
            }
            for (table, record) in self.tables.iter_mut().zip(tables) {
                let at = (record.flags & FROZEN == 0).then(|| {
                    self.vmctx
                        .as_ptr()
                        .cast::<u8>()
                        .add(record.vm_offset as usize)
                        .cast()
                });
                table.publish(at.and_then(NonNull::new));
            }
        }
    }

    /// Globals, tables and segments that are known at instantiation only.
    ///
    /// # Safety
    /// The store is used by nobody else.
    unsafe fn initialise(&mut self, core: &mut StoreCore) -> Result<(), TrapCode> {
        let module = Arc::clone(&self.module);
        let artifact = module.artifact();
        for (i, record) in (0_u32..).zip(artifact.globals()) {
            if record.init != NONE && record.flags & IMPORTED == 0 {
                let run = Run {
                    first: record.init,
                    count: record.init_len,
                };
                let value = self.evaluate(run)?;
                let ty = global_type(&artifact, i).ok_or(TrapCode::Unreachable)?;
                // SAFETY: the parser checked the place.
                unsafe { write_global(self.byte(record.vm_offset), ty, value) };
            }
        }
        for init in artifact.table_inits() {
            // SAFETY: the value of an expression of a reference type.
            let value = unsafe { self.evaluate(init.value)?.externref };
            // SAFETY: a table of this instance.
            unsafe { self.table(init.table).as_mut().elements().fill(value) };
        }
        for (i, record) in (0_u32..).zip(artifact.elements()) {
            if record.table != NONE {
                // SAFETY: offsets are integers; those of 32-bit tables are zero-extended.
                let offset = unsafe { self.evaluate(record.offset)?.i64 as u64 };
                let len = u64::from(record.items.count);
                self.table_init(core, record.table, record.segment, offset, 0, len)?;
                self.drop_element(i);
            }
        }
        for (i, record) in (0_u32..).zip(artifact.data()) {
            if record.memory != NONE {
                // SAFETY: as above.
                let offset = unsafe { self.evaluate(record.offset)?.i64 as u64 };
                self.memory_init(record.memory, record.segment, offset, 0, record.len)?;
                self.drop_data(i);
            }
        }
        Ok(())
    }

    /// Evaluates a constant expression. The compiler wrote only valid ones, so what cannot be is
    /// damage.
    fn evaluate(&mut self, run: Run) -> Result<ValRaw, TrapCode> {
        let module = Arc::clone(&self.module);
        let ops = module.artifact().const_ops();
        let ops = &ops[run.first as usize..(run.first + run.count) as usize];
        let mut stack = Vec::with_capacity(2);
        for op in ops {
            self.step(op, &mut stack).ok_or(TrapCode::Unreachable)?;
        }
        stack.pop().ok_or(TrapCode::Unreachable)
    }

    fn step(&mut self, op: &ConstOp, stack: &mut Vec<ValRaw>) -> Option<()> {
        use ConstOpcode as Op;
        let opcode = Op::from_number(op.op)?;
        let value = match opcode {
            Op::Const => ValRaw {
                i64: op.bits as i64,
            },
            Op::RefNull => ValRaw { externref: 0 },
            Op::RefFunc => ValRaw {
                funcref: self.func_ref(op.index)?.as_ptr(),
            },
            Op::GlobalGet => {
                let ty = global_type(&self.module.artifact(), op.index)?;
                // SAFETY: a global of this instance.
                unsafe { read_global(self.global(op.index)?, ty) }
            }
            _ => {
                // SAFETY: operands of integer arithmetic are integers; 32-bit ones have defined
                // upper halves, see `Val::to_raw` and the wrapping below.
                let (b, a) = unsafe { (stack.pop()?.i64, stack.pop()?.i64) };
                let wrap = |v: i64| i64::from(v as u32);
                ValRaw {
                    i64: match opcode {
                        Op::I32Add => wrap(a.wrapping_add(b)),
                        Op::I32Sub => wrap(a.wrapping_sub(b)),
                        Op::I32Mul => wrap(a.wrapping_mul(b)),
                        Op::I64Add => a.wrapping_add(b),
                        Op::I64Sub => a.wrapping_sub(b),
                        _ => a.wrapping_mul(b),
                    },
                }
            }
        };
        stack.push(value);
        Some(())
    }

    fn module(&self) -> Module {
        Module(Arc::clone(&self.module))
    }

    fn at<V>(&self, offset: u32) -> *mut V {
        self.byte(offset).as_ptr().cast()
    }

    fn byte(&self, offset: u32) -> NonNull<u8> {
        // SAFETY: offsets come from records that the parser checked against the context's size.
        unsafe { self.vmctx.cast::<u8>().add(offset as usize) }
    }

    fn func_import(&self, function: u32) -> *mut VmFuncImport {
        self.at::<VmFuncImport>(self.module.artifact().header().vm.func_imports)
            .wrapping_add(function as usize)
    }

    /// The place of a global's value.
    fn global(&self, index: u32) -> Option<NonNull<u8>> {
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

    /// The reference of a function, whose slot is filled if it is not yet. `None` if the compiler
    /// made no slot, because the reference cannot escape.
    pub(crate) fn func_ref(&mut self, function: u32) -> Option<NonNull<VmFuncRef>> {
        let artifact = self.module.artifact();
        let vm = &artifact.header().vm;
        let defined = function.checked_sub(vm.func_import_count);
        let slot = match defined {
            Some(defined) => artifact.functions().get(defined as usize)?.funcref,
            None => imported_function(&artifact, function)?.funcref,
        };
        if slot >= vm.funcref_count {
            return None;
        }
        let slot = self
            .at::<VmFuncRef>(vm.funcrefs)
            .wrapping_add(slot as usize);
        // SAFETY: the parser checked that the slots are inside the context.
        if unsafe { !(*slot).code.is_null() } {
            return NonNull::new(slot);
        }
        let (code, ctx) = match defined {
            Some(defined) => {
                let code = artifact.functions().get(defined as usize)?.text_offset;
                (self.module.code(code), self.vmctx.as_ptr().cast())
            }
            None => {
                // SAFETY: an imported function's slot, filled when the instance was made.
                let import = unsafe { &*self.func_import(function) };
                (import.code, import.ctx)
            }
        };
        let index = signature_index(&artifact, function)?;
        let record = artifact.signatures().get(index as usize)?;
        let type_id = match record.type_id {
            0 => type_id(artifact.signature(index)?),
            id => id,
        };
        let func_ref = VmFuncRef {
            code,
            ctx,
            type_id,
            array_entry: self.module.code(record.array_entry),
            native_entry: self.module.code(record.native_entry),
        };
        // SAFETY: as above.
        unsafe { slot.write(func_ref) };
        NonNull::new(slot)
    }

    /// The export of this name.
    pub(crate) fn export(&mut self, core: &StoreCore, name: &str) -> Option<Extern> {
        let artifact = self.module.artifact();
        let export = artifact.export(name)?;
        let index = export.index;
        Some(match ExternKind::from_number(export.kind)? {
            ExternKind::Func => {
                let func_ref = self.func_ref(index)?;
                // SAFETY: a filled slot of an instance of this store.
                Extern::Func(unsafe { Func::from_raw(core, func_ref.as_ptr())? })
            }
            ExternKind::Memory if (index as usize) < artifact.memories().len() => {
                Extern::Memory(Memory::from_entity(core, self.memory(index)))
            }
            ExternKind::Table if (index as usize) < artifact.tables().len() => {
                Extern::Table(Table::from_entity(core, self.table(index)))
            }
            ExternKind::Global => {
                let ty = global_type(&artifact, index)?;
                Extern::Global(Global::from_raw(core, self.global(index)?, ty))
            }
            _ => return None,
        })
    }

    /// `memory.init`, and active data segments.
    pub(crate) fn memory_init(
        &mut self,
        memory: u32,
        segment: u32,
        dst: u64,
        src: u64,
        len: u64,
    ) -> Result<(), TrapCode> {
        let module = Arc::clone(&self.module);
        let artifact = module.artifact();
        let i = artifact.data().partition_point(|r| r.segment < segment);
        let record = artifact.data().get(i).filter(|r| r.segment == segment);
        let bytes = match record {
            Some(r) if !self.is_dropped(artifact.header().vm.data_dropped, i) => {
                let segments = artifact.section(artifact.header().segments);
                segments
                    .get(r.bytes as usize..(r.bytes + r.len) as usize)
                    .unwrap_or(&[])
            }
            _ => &[],
        };
        let out = TrapCode::MemoryOutOfBounds;
        let from = range(src, len, bytes.len()).map_err(|_| out)?;
        // SAFETY: a memory of this instance.
        let memory = unsafe { self.memory(memory).as_ref() };
        let to = range(dst, len, memory.len()).map_err(|_| out)?;
        // SAFETY: both ranges are in bounds; the artifact is not part of any linear memory.
        unsafe {
            let to = memory.base().add(to.start);
            std::ptr::copy_nonoverlapping(bytes[from].as_ptr(), to, len as usize);
        }
        Ok(())
    }

    /// `table.init`, and active element segments.
    pub(crate) fn table_init(
        &mut self,
        _: &mut StoreCore,
        table: u32,
        segment: u32,
        dst: u64,
        src: u64,
        len: u64,
    ) -> Result<(), TrapCode> {
        let module = Arc::clone(&self.module);
        let artifact = module.artifact();
        let i = artifact.elements().partition_point(|r| r.segment < segment);
        let record = artifact.elements().get(i).filter(|r| r.segment == segment);
        let items = match record {
            Some(r) if !self.is_dropped(artifact.header().vm.elem_dropped, i) => {
                let end = (r.items.first + r.items.count) as usize;
                artifact
                    .element_items()
                    .get(r.items.first as usize..end)
                    .unwrap_or(&[])
            }
            _ => &[],
        };
        let from = range(src, len, items.len())?;
        let mut table = self.table(table);
        // SAFETY: a table of this instance.
        let to = range(dst, len, unsafe { table.as_mut().elements().len() })?;
        let mut stack = Vec::with_capacity(1);
        for (item, at) in items[from].iter().zip(to) {
            self.step(item, &mut stack).ok_or(TrapCode::Unreachable)?;
            let value = stack.pop().ok_or(TrapCode::Unreachable)?;
            // SAFETY: items are references, 8 bytes.
            unsafe { table.as_mut().elements()[at] = value.externref };
        }
        Ok(())
    }

    fn is_dropped(&self, flags: u32, i: usize) -> bool {
        // SAFETY: the parser checked that there is a flag for each record inside the context.
        unsafe { *self.at::<u8>(flags).add(i) != 0 }
    }

    fn drop_data(&mut self, i: u32) {
        let flags = self.module.artifact().header().vm.data_dropped;
        // SAFETY: as for `is_dropped`.
        unsafe { self.at::<u8>(flags).add(i as usize).write(1) };
    }

    fn drop_element(&mut self, i: u32) {
        let flags = self.module.artifact().header().vm.elem_dropped;
        // SAFETY: as for `is_dropped`.
        unsafe { self.at::<u8>(flags).add(i as usize).write(1) };
    }
}

/// Records that contradict each other although the checksum is right.
const DAMAGED: Error = Error::Artifact(precast_artifact::Error::Damaged {
    offset: HEADER_OFFSET as u64,
    what: "records of memories, tables or images contradict each other",
});

/// The type of a function of an artifact, for messages.
pub(crate) fn import_func_type(module: &ModuleInner, signature: u32) -> FuncType {
    let artifact = module.artifact();
    artifact
        .signature(signature)
        .map_or(FuncType::new([], []), FuncType::from_signature)
}
