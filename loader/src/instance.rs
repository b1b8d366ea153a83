//! Instances: instantiation and exports.
//!
//! Instantiation follows the specification's order
//! (<https://webassembly.github.io/spec/core/exec/modules.html#instantiation>): globals, tables,
//! element segments, data segments, start function. Values that the compiler could evaluate are
//! already in the template of the VM context and in the memory image. An instance whose
//! initialisation traps stays in its store, since other instances may already have references to
//! its functions.

use std::ptr::NonNull;
use std::sync::{Arc, Weak};

use precast_artifact::records::SHARED;
use precast_artifact::vm::{ValRaw, VmFuncRef};
use precast_artifact::{Artifact, Strategy, shown};

use crate::error::Error;
use crate::externs::{Export, Extern};
use crate::func::Func;
use crate::global::Global;
use crate::imports::{Import, check_imports};
use crate::interface::{ExportType, ModuleExport, exports};
use crate::memory::Memory;
use crate::module::Module;
use crate::shared_memory::SharedMemory;
use crate::snapshot::Snapshot;
use crate::store::{AsContext, AsContextMut, StoreContextMut};
use crate::stored::Stored;
use crate::table::Table;
use crate::tag::Tag;
use crate::typed::{WasmParams, WasmResults};
use crate::typed_func::TypedFunc;
use crate::vm::activation::is_active_anywhere;
use crate::vm::instance::{Closed, InstanceData};
use crate::vm::quota;
use crate::vm::shared::Shared;
use crate::vm::signal;
use crate::vm::state::State;
use crate::vm::store::StoreCore;
use crate::vm::usage::Demand;

/// An instance of a module, in a store.
///
/// ```
/// use precast_loader::{Error, Func, Instance, Module, Store};
///
/// fn run(module: &Module) -> Result<(), Error> {
///     let mut store = Store::new(module.engine(), ());
///     let log = Func::wrap(&mut store, |x: i32| println!("{x}"));
///     // One item for each import, in the module's order. A `Linker` finds them by name.
///     let instance = Instance::new(&mut store, module, &[log.into()])?;
///     let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
///     run.call(&mut store, ())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance(Stored<InstanceData>);

impl Instance {
    /// Instantiates a module with one item for each of its imports, in the module's order.
    ///
    /// # Errors
    /// [`Error::DifferentEngines`] and [`Error::Interruption`] for a module that the store's engine
    /// does not take, [`Error::Link`] if imports do not fit, [`Error::Memory`] and [`Error::Limit`]
    /// if there is no room, [`Error::Refused`] or any other error of the store's limiter, and
    /// [`Error::Trap`] or an error of a host function if initialisation or the start function
    /// fails.
    ///
    /// # Panics
    /// If an item belongs to another store.
    pub fn new(
        mut store: impl AsContextMut,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Self, Error> {
        let mut store = store.as_context_mut();
        let core = store.core_ptr();
        // SAFETY: the store is borrowed exclusively, and not used otherwise until this returns.
        unsafe { Self::begin_new(&mut store, module, imports)?.run(core) }
    }

    /// Does what [`Instance::new`] does, except that the start function is not run.
    ///
    /// # Errors
    /// As for [`Instance::new`].
    ///
    /// # Panics
    /// As for [`Instance::new`].
    pub(crate) fn begin_new<T: 'static>(
        store: &mut StoreContextMut<'_, T>,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Begun, Error> {
        let imports: Vec<_> = imports
            .iter()
            .map(|item| Import::Extern(item.clone()))
            .collect();
        store.engine().check(*module.engine(), &module.code)?;
        let core = store.core_ptr();
        // SAFETY: the store is borrowed exclusively, and not used otherwise until this returns.
        unsafe {
            (*core).check_interruption(module.interruption())?;
            check_imports(&*core, &module.code, &imports)?;
            let artifact = module.code.artifact();
            let demand = Demand::of(&artifact, None);
            quota::for_instance(core, &demand, &artifact, None)?;
            Self::prepare(&artifact);
            let mut raw = imports.iter().map(|import| import.to_raw(&*core));
            let instance = InstanceData::new(core.cast(), &module.code, &mut raw, None, None)
                .inspect_err(|_| (*core).settle())?;
            Self::begin(core, instance, &demand)
        }
    }

    /// Prepares the process for the traps of an instance.
    pub(crate) fn prepare(artifact: &Artifact<'_>) {
        if artifact.strategy() == Strategy::Guarded {
            signal::install();
        }
    }

    /// Gives a new instance to the store and initialises it.
    ///
    /// # Safety
    /// `core_ptr` is the pointer that machine code uses, of a store that is used by nobody else
    /// until this returns.
    pub(crate) unsafe fn begin(
        core_ptr: *mut StoreCore,
        mut instance: Box<InstanceData>,
        demand: &Demand,
    ) -> Result<Begun, Error> {
        // SAFETY: by this function's contract.
        let core = unsafe { &mut *core_ptr };
        core.usage.add(demand);
        let mut data = NonNull::from(&mut *instance);
        instance.write_self_pointers();
        for memory in instance.memories.iter_mut().filter(|m| m.is_guarded()) {
            core.add_guarded(NonNull::from(memory));
        }
        for memory in &mut instance.shared_imports {
            core.add_guarded(NonNull::from(&mut **memory));
        }
        if core.add_module(&instance.module) {
            for func in core.made.iter_mut().flat_map(|made| &mut made.funcs) {
                func.fill(&instance.module);
            }
        }
        core.instances.push(instance);
        // SAFETY: the instance is the store's now, which is used by nobody else.
        unsafe {
            let start = match data.as_ref().state.clone() {
                Some(state) => {
                    state.restore(data.as_mut())?;
                    None
                }
                None => Self::initialise(data)?,
            };
            let instance = Self::from_data(&*core_ptr, data);
            Ok(Begun { instance, start })
        }
    }

    /// Does what is left of instantiation, and returns the start function.
    ///
    /// # Safety
    /// As for [`Instance::begin`]; the instance is one of the store's, and published.
    unsafe fn initialise(mut data: NonNull<InstanceData>) -> Result<Option<VmFuncRef>, Error> {
        // SAFETY: by this function's contract.
        unsafe {
            let start = data.as_ref().module.artifact().start_function()?;
            data.as_mut().initialise()?;
            let func_ref = start.map(|start| data.as_ref().new_func_ref(start));
            Ok(func_ref.transpose()?)
        }
    }

    /// Makes the instance what it was when it was new, without leaving the store: content and size
    /// of its memories and tables, its globals, its segments. Initialisation and the start function
    /// run again; an instance of a [`Snapshot`] starts with that again. Handles to the instance and
    /// its items stay valid, and so do references to its functions. What it imports is not its own
    /// and stays as it is, but for segments that are written there again.
    ///
    /// Costs what reuse by a pool costs, see [`InstancePre`](crate::InstancePre). What the host
    /// keeps for the instance (open files, data of the store) is the host's to reset.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] while wasm code of the store is running, that is, in a host function
    /// that it called, for an instance that has a shared memory of its own, and if another instance
    /// imports a memory or table of this one and relies on it to be longer than it was when it was
    /// new; [`Error::Closed`] for an instance of a closed one; [`Error::Memory`] when
    /// the system refuses, and the instance is closed then; [`Error::Trap`] and what host functions
    /// return when initialisation or the start function fails, as in [`Instance::new`].
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub fn reset(&self, mut store: impl AsContextMut) -> Result<(), Error> {
        let core = store.as_context_mut().core_ptr();
        // SAFETY: the store is borrowed exclusively, and not used otherwise until this returns.
        unsafe {
            let data = self.0.get(&*core);
            let instance = data.as_ptr();
            check_idle(core, &*instance, "reset the instance")?;
            (*instance).check_expectations()?;
            let (before, ran) = ((*instance).sizes(), (*core).ran());
            let state = (*instance).state.clone();
            let mut result = (*instance).reset_in_store(ran);
            if let (Ok(()), Some(state)) = (&result, &state) {
                result = state.restore(&mut *instance);
            }
            (*core).usage.resize(before, (*instance).sizes());
            (*core).settle();
            if let Err(error) = result {
                (*core).close_instance(data, 1);
                return Err(error);
            }
            if state.is_none() {
                let start = Self::initialise(data)?;
                let instance = *self;
                Begun { instance, start }.run(core)?;
            }
        }
        Ok(())
    }

    /// The state of the instance as it is now, to start others with.
    ///
    /// # Errors
    /// [`Error::Unsuitable`] while wasm code of the store is running, for an instance that imports
    /// memories, tables or globals, that has a shared memory, and for one whose globals or tables
    /// refer to values of the host, or to functions of the host or of other instances: they belong
    /// to this store. [`Error::Closed`] for a closed instance, [`Error::Memory`] when the system
    /// refuses memory files.
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub fn snapshot(&self, mut store: impl AsContextMut) -> Result<Snapshot, Error> {
        let module = self.module(&store);
        let core = store.as_context_mut().core_ptr();
        // SAFETY: the store is borrowed exclusively.
        let state = unsafe {
            let instance = self.0.get(&*core).as_ref();
            check_idle(core, instance, "take a snapshot of the instance")?;
            State::of(instance)?
        };
        let state = Arc::new(state);
        Ok(Snapshot { module, state })
    }

    pub(crate) fn from_data(core: &StoreCore, data: NonNull<InstanceData>) -> Self {
        Self(Stored::new(core, data))
    }

    /// Closes the instance, from which no open instance imports, see [`close`](crate::vm::close).
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub(crate) fn close(&self, core: &mut StoreCore, exit_code: u32) {
        let instance = self.0.get(core);
        // SAFETY: the store owns the instance and is borrowed exclusively. If no code is running,
        // code of the instance will never run: no code of a closed instance is entered.
        unsafe {
            core.close_instance(instance, exit_code);
            if !is_active_anywhere(core) {
                core.empty_instance(instance);
            }
        }
    }

    /// The shared memories of the instance, imported ones included, with their indices.
    ///
    /// # Panics
    /// If the instance belongs to another store.
    pub(crate) fn shared_memories(&self, core: &mut StoreCore) -> Vec<(u32, Weak<Shared>)> {
        let instance = self.0.borrow_mut(core);
        let module = Arc::clone(&instance.module);
        let records = (0..).zip(module.artifact().memories());
        let shared = records.filter(|(_, record)| record.flags & SHARED != 0);
        let memories = shared.filter_map(|(index, _)| {
            // SAFETY: the store has the memory and is borrowed.
            let memory = unsafe { instance.memory(index).as_ref() };
            Some((index, Arc::downgrade(memory.shared()?)))
        });
        memories.collect()
    }

    /// The export of this name.
    ///
    /// # Panics
    /// All methods panic if the instance belongs to another store.
    pub fn get_export(&self, mut store: impl AsContextMut, name: &str) -> Option<Extern> {
        let mut store = store.as_context_mut();
        let core = store.core();
        let item = self.0.borrow_mut(core).export(name)?;
        Some(Extern::from_item(core, item))
    }

    /// The exported function of this name.
    pub fn get_func(&self, store: impl AsContextMut, name: &str) -> Option<Func> {
        self.get_export(store, name)?.into_func()
    }

    /// The exported memory of this name that several threads can use.
    pub fn get_shared_memory(&self, store: impl AsContextMut, name: &str) -> Option<SharedMemory> {
        self.get_export(store, name)?.into_shared_memory()
    }

    /// The exported memory of this name, if it is not a [`SharedMemory`].
    pub fn get_memory(&self, store: impl AsContextMut, name: &str) -> Option<Memory> {
        self.get_export(store, name)?.into_memory()
    }

    /// The exported table of this name.
    pub fn get_table(&self, store: impl AsContextMut, name: &str) -> Option<Table> {
        self.get_export(store, name)?.into_table()
    }

    /// The exported global of this name.
    pub fn get_global(&self, store: impl AsContextMut, name: &str) -> Option<Global> {
        self.get_export(store, name)?.into_global()
    }

    /// The exported tag of this name.
    pub fn get_tag(&self, store: impl AsContextMut, name: &str) -> Option<Tag> {
        self.get_export(store, name)?.into_tag()
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
        let func = func.ok_or_else(|| Error::NoExport {
            kind: "function",
            name: name.into(),
        })?;
        func.typed(store).map_err(|error| match error {
            Error::Type {
                found, expected, ..
            } => Error::Type {
                what: format!("the exported function `{}`", shown(name)),
                found,
                expected,
            },
            other => other,
        })
    }

    /// The export at a place in the module, see [`Module::get_export_index`]. `None` if the
    /// instance is of another module.
    pub fn get_module_export(
        &self,
        mut store: impl AsContextMut,
        export: &ModuleExport,
    ) -> Option<Extern> {
        let mut store = store.as_context_mut();
        let core = store.core();
        let module = Arc::clone(&self.0.borrow(core).module);
        let record = export.of(&module)?;
        let item = self.0.borrow_mut(core).export_at(record)?;
        Some(Extern::from_item(core, item))
    }

    /// All exports, in the module's order.
    pub fn exports(&self, mut store: impl AsContextMut) -> std::vec::IntoIter<Export> {
        let mut store = store.as_context_mut();
        let core = store.core();
        let module = Arc::clone(&self.0.borrow(core).module);
        let find = |export: ExportType<'_>| {
            let item = self.0.borrow_mut(core).export_at(export.record)?;
            Some(Export::new(export.name(), Extern::from_item(core, item)))
        };
        let found: Vec<_> = exports(&module).filter_map(find).collect();
        found.into_iter()
    }

    /// The module.
    pub fn module(&self, store: impl AsContext) -> Module {
        let store = store.as_context();
        let code = &self.0.borrow(&store.0.core).module;
        Module::of_code(Arc::clone(code), store.0.engine)
    }
}

/// An instance that is initialised, but for its start function.
pub(crate) struct Begun {
    pub(crate) instance: Instance,
    pub(crate) start: Option<VmFuncRef>,
}

impl Begun {
    /// Runs the start function.
    ///
    /// # Errors
    /// The error that ended it early.
    ///
    /// # Safety
    /// `core` is the instance's store, which nobody else uses until this returns.
    #[inline]
    pub(crate) unsafe fn run(self, core: *mut StoreCore) -> Result<Instance, Error> {
        // A start function has no parameters and no results. Its reference needs no slot.
        if let Some(start) = &self.start {
            // SAFETY: by this function's contract; the reference is read before the call begins.
            unsafe {
                if let Some(func) = Func::from_raw(&*core, start) {
                    func.call_raw(core, &mut ValRaw { v128: 0 })?;
                }
            }
        }
        Ok(self.instance)
    }
}

/// # Errors
/// [`Error::Closed`], or [`Error::Unsuitable`] if code of the store is running.
///
/// # Safety
/// `core` is valid.
unsafe fn check_idle(
    core: *const StoreCore,
    instance: &InstanceData,
    action: &'static str,
) -> Result<(), Error> {
    if let Some(Closed { exit_code, .. }) = instance.closed {
        return Err(Error::module_closed(exit_code));
    }
    if instance.memories.iter().any(|m| m.shared().is_some()) {
        return Err(Error::Unsuitable {
            action,
            why: "it has a shared memory, which other threads may be using".into(),
        });
    }
    // SAFETY: by this function's contract.
    if unsafe { is_active_anywhere(core) } {
        return Err(Error::Unsuitable {
            action,
            why: "wasm code of its store is running; do it when all calls are over".into(),
        });
    }
    Ok(())
}
