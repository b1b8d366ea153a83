//! Instances: making them, and their exports.
//!
//! Instantiation follows the specification's order
//! (<https://webassembly.github.io/spec/core/exec/modules.html#instantiation>): globals, tables,
//! element segments, data segments, start function. What the compiler could evaluate is in the VM
//! context's template and in the memory image already. An instance whose initialisation traps stays
//! in its store, since other instances may have references to its functions by then.

use std::ptr::NonNull;
use std::sync::Arc;

use precast_artifact::vm::ValRaw;

use crate::error::Error;
use crate::func::{Func, TypedFunc};
use crate::global::Global;
use crate::imports::{Import, check_imports};
use crate::instance_pre::PreInner;
use crate::memory::Memory;
use crate::module::Module;
use crate::store::{AsContext, AsContextMut};
use crate::table::Table;
use crate::typed::{WasmParams, WasmResults};
use crate::types::ExternType;
use crate::vm::instance::InstanceData;
use crate::vm::pool;
use crate::vm::quota::{self, Demand};
use crate::vm::store::StoreCore;
use crate::vm::store_id::StoreId;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// [`Error::DifferentEngines`] and [`Error::Interruption`] for a module that the store's engine
    /// does not take, [`Error::Link`] when imports do not fit, [`Error::Memory`] and
    /// [`Error::Limit`] when there is no room, [`Error::Refused`] and any other error by the store's
    /// limiter, [`Error::Trap`] and what host functions return when initialisation or the start
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
        unsafe {
            (*core).engine().check(&module.0)?;
            check_imports(&*core, &module.0, &imports)?;
            let artifact = module.0.artifact();
            let demand = Demand::of(&artifact);
            quota::for_instance(core, &demand, &artifact)?;
            let instance = InstanceData::new(&*core, &module.0, &imports, None)?;
            Self::start(core, instance, &demand)
        }
    }

    /// Makes an instance of linked imports, or takes a parked one over.
    ///
    /// # Safety
    /// `core` is the pointer that machine code uses, of a store that is used by nobody else until
    /// this returns.
    pub(crate) unsafe fn from_pre(
        core: *mut StoreCore,
        pre: &Arc<PreInner>,
    ) -> Result<Self, Error> {
        // SAFETY: by this function's contract.
        unsafe {
            (*core).engine().check(&pre.module.0)?;
            // Host functions were checked when they were linked; items of a store can change.
            if !pre.reusable {
                check_imports(&*core, &pre.module.0, &pre.imports)?;
            }
            quota::for_instance(core, &pre.demand, &pre.module.0.artifact())?;
            let instance = match pre.reusable.then(|| pool::take(pre)).flatten() {
                Some(mut instance) => {
                    instance.enter_store(&*core);
                    instance
                }
                None => {
                    let parked_as = pre.reusable.then_some(pre);
                    InstanceData::new(&*core, &pre.module.0, &pre.imports, parked_as)?
                }
            };
            Self::start(core, instance, &pre.demand)
        }
    }

    /// Gives a fresh instance to the store, initialises it and runs its start function.
    ///
    /// # Safety
    /// As for [`Instance::from_pre`].
    unsafe fn start(
        core_ptr: *mut StoreCore,
        mut instance: Box<InstanceData>,
        demand: &Demand,
    ) -> Result<Self, Error> {
        // SAFETY: by this function's contract.
        let core = unsafe { &mut *core_ptr };
        core.usage.add(demand);
        let mut data = NonNull::from(&mut *instance);
        instance.publish();
        for memory in instance.memories.iter_mut().filter(|m| m.is_guarded()) {
            core.add_guarded(NonNull::from(memory));
        }
        if core.add_module(&instance.module) {
            for func in core.made.iter_mut().flat_map(|made| &mut made.funcs) {
                func.fill(&instance.module);
            }
        }
        let start = instance.module.artifact().start_function()?;
        core.instances.push(instance);
        let this = Self {
            store: core.id,
            data,
        };
        // SAFETY: the instance is the store's now, which is used by nobody else.
        unsafe {
            data.as_mut().initialise()?;
            // A start function takes and gives nothing. It needs no slot of its own.
            if let Some(start) = start {
                let func_ref = data.as_ref().new_func_ref(start)?;
                if let Some(func) = Func::from_raw(&*core_ptr, &func_ref) {
                    func.call_raw(core_ptr, &mut ValRaw { v128: 0 })?;
                }
            }
        }
        Ok(this)
    }

    pub(crate) fn from_data(core: &StoreCore, data: NonNull<InstanceData>) -> Self {
        let store = core.id;
        Self { store, data }
    }

    /// Closes the instance, see [`close`](crate::vm::close).
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub(crate) fn close(&self, core: &mut StoreCore, exit_code: u32) {
        let instance = self.get(core);
        // SAFETY: the store owns the instance and is borrowed exclusively.
        unsafe { core.close_instance(instance, exit_code) };
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
