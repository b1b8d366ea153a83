//! Host modules: functions, memories, tables and globals of the host under one module name.

use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::sync::Arc;

use crate::error::Error;
use crate::global::Global;
use crate::host::Caller;
use crate::imports::Import;
use crate::into_func::IntoFunc;
use crate::linker::Linker;
use crate::memory::Memory;
use crate::shared_memory::SharedMemory;
use crate::store::{Invariant, StoreContextMut};
use crate::table::Table;
use crate::types::{ExternType, FuncType, GlobalType, MemoryType, TableType};
use crate::val::Val;
use crate::vm::host::HostFunc;

use super::group::State;
use super::member::{Dependencies, Exports, HostItem, Member, Retired};
use super::{Instance, Runtime};

/// A module whose items the host makes, see [`HostModule::builder`].
///
/// ```no_run
/// # use precast_loader::{Engine, Error, runtime::{HostModule, Runtime}};
/// # fn main() -> Result<(), Error> {
/// let runtime: Runtime = Runtime::new(&Engine::default());
/// HostModule::builder("env")
///     .func("log_i32", |x: i32| println!("{x}"))
///     .instantiate(&runtime)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HostModule(());

impl HostModule {
    /// Begins a host module of this name. An empty name makes an anonymous one, for
    /// [`with_import_resolver`](super::InstanceConfig::with_import_resolver).
    pub fn builder<T: Send + 'static>(name: impl Into<String>) -> HostModuleBuilder<T> {
        HostModuleBuilder {
            name: name.into(),
            items: Vec::new(),
            shared_store: false,
            data: PhantomData,
        }
    }
}

/// A host module that is being built.
///
/// ```
/// use precast_loader::runtime::{HostModule, Runtime};
/// use precast_loader::{Engine, Error, GlobalType, MemoryType, Val, ValType};
///
/// let runtime: Runtime = Runtime::new(&Engine::default());
/// let env = HostModule::builder("env")
///     .func("add", |a: i32, b: i32| a + b)
///     .global("answer", GlobalType::new(ValType::I32, false), Val::I32(42))
///     .memory("memory", MemoryType::new(1, None))
///     .instantiate(&runtime)?;
/// assert_eq!(env.name(), "env");
/// # Ok::<(), Error>(())
/// ```
pub struct HostModuleBuilder<T: Send + 'static = ()> {
    name: String,
    items: Vec<(String, Planned)>,
    shared_store: bool,
    data: Invariant<T>,
}

enum Planned {
    Func(Arc<HostFunc>),
    Const(GlobalType, Val),
    Shared(MemoryType),
    Stored(Stored),
}

/// An item that belongs to a store.
enum Stored {
    Memory(MemoryType),
    Table(TableType),
    Global(GlobalType, Val),
}

impl Stored {
    fn make<T: Send + 'static>(
        self,
        store: &mut StoreContextMut<'_, State<T>>,
    ) -> Result<HostItem, Error> {
        Ok(HostItem::Stored(match self {
            Self::Memory(ty) => Memory::new(store, ty)?.into(),
            Self::Table(ty) => Table::new(store, ty, Val::default_for(ty.element))?.into(),
            Self::Global(ty, value) => Global::new(store, ty, value)?.into(),
        }))
    }
}

impl HostItem {
    /// The type of an item that belongs to no store.
    pub(super) fn ty(&self) -> Option<ExternType> {
        match self {
            Self::Func(host) => Some(ExternType::Func(host.ty().clone())),
            Self::Const(ty, _) => Some(ExternType::Global(*ty)),
            Self::Shared(memory) => Some(ExternType::Memory(memory.ty())),
            Self::Stored(_) => None,
        }
    }
}

impl<T: Send + 'static> std::fmt::Debug for HostModuleBuilder<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let items: Vec<_> = self.items.iter().map(|(name, _)| name).collect();
        f.debug_struct("HostModuleBuilder")
            .field("name", &self.name)
            .field("items", &items)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static> HostModuleBuilder<T> {
    fn item(mut self, name: &str, item: Planned) -> Self {
        self.items.push((name.to_owned(), item));
        self
    }

    /// Adds a function from a closure over wasm's own types, see [`IntoFunc`].
    pub fn func<Params, Results>(
        self,
        name: &str,
        func: impl IntoFunc<State<T>, Params, Results>,
    ) -> Self {
        let host = Arc::new(func.into_host());
        self.item(name, Planned::Func(host))
    }

    /// Adds a function whose type is known only at run time, see [`Func::new`](crate::Func::new).
    pub fn func_new(
        self,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, State<T>>, &[Val], &mut [Val]) -> Result<(), Error>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let host = Arc::new(HostFunc::new(ty, func));
        self.item(name, Planned::Func(host))
    }

    /// Adds the host functions that a linker has under the module name `module`, for example those
    /// of WASI.
    pub fn funcs_of(mut self, linker: &Linker<State<T>>, module: &str) -> Self {
        for (name, item) in linker.items(module) {
            if let Import::Host(host) = item {
                let host = Planned::Func(Arc::clone(host));
                self.items.push((name.to_owned(), host));
            }
        }
        self
    }

    /// Adds a memory. Instances that import it share a store with it, unless it is a
    /// [shared](MemoryType::shared) one.
    pub fn memory(self, name: &str, ty: MemoryType) -> Self {
        let planned = match ty.shared {
            true => Planned::Shared(ty),
            false => Planned::Stored(Stored::Memory(ty)),
        };
        self.item(name, planned)
    }

    /// Adds a table of null references. Instances that import it share a store with it.
    pub fn table(self, name: &str, ty: TableType) -> Self {
        self.item(name, Planned::Stored(Stored::Table(ty)))
    }

    /// Adds a global. Instances that import a mutable global share a store with it.
    pub fn global(self, name: &str, ty: GlobalType, value: Val) -> Self {
        let planned = match ty.mutable || ty.content.is_kept() {
            true => Planned::Stored(Stored::Global(ty, value)),
            false => Planned::Const(ty, value),
        };
        self.item(name, planned)
    }

    /// Puts memories, tables and globals into the shared store, as
    /// [`InstanceConfig::with_shared_store`](super::InstanceConfig::with_shared_store) does for an
    /// instance.
    pub fn with_shared_store(mut self) -> Self {
        self.shared_store = true;
        self
    }

    /// Makes the instance.
    ///
    /// # Errors
    /// [`Error::AlreadyInstantiated`], [`Error::Duplicate`], [`Error::Type`] for a global's value,
    /// [`Error::Limit`], [`Error::Memory`], [`Error::Closed`].
    pub fn instantiate(self, runtime: &Runtime<T>) -> Result<Instance<T>, Error> {
        let inner = &runtime.0;
        let reservation = inner.reserve(&self.name)?;
        let mut names = HashSet::new();
        for (name, planned) in &self.items {
            check(planned)?;
            if !names.insert(name) {
                let (module, name) = (self.name.clone(), name.clone());
                return Err(Error::Duplicate { module, name });
            }
        }
        let (mut items, mut stored) = (HashMap::new(), Vec::new());
        for (name, planned) in self.items {
            let item = match planned {
                Planned::Func(host) => HostItem::Func(host),
                Planned::Const(ty, value) => HostItem::Const(ty, value),
                Planned::Shared(ty) => HostItem::Shared(SharedMemory::new(runtime.engine(), ty)?),
                Planned::Stored(item) => {
                    stored.push((name, item));
                    continue;
                }
            };
            items.insert(name, item);
        }
        let mut group = None;
        if !stored.is_empty() {
            let room = if self.shared_store {
                inner.shared_group(&mut None).0
            } else {
                inner.new_group(None)
            };
            let make = |mut store: StoreContextMut<'_, State<T>>| {
                for (name, item) in stored {
                    items.insert(name, item.make(&mut store)?);
                }
                Ok(())
            };
            let making = &reservation.making;
            making.is_in(&room.group().gate);
            let is_wanted = || making.closed.check();
            let made = room.group().enter(reservation.seq, None, is_wanted, make)?;
            // Another instance may keep the store for long, and nobody has what was made.
            made.into_result()
                .inspect_err(|_| room.retire(Retired::host_module(&items)))?;
            group = Some(room.keep());
        }
        let identity = (Arc::downgrade(inner), self.name, reservation.seq);
        let member = Member::new(
            identity,
            Exports::Host(items),
            group,
            Dependencies::none(),
            Vec::new(),
        );
        let this = Instance::new(Arc::clone(&member));
        reservation.fill(&member)?;
        Ok(this)
    }
}

fn check(planned: &Planned) -> Result<(), Error> {
    match planned {
        Planned::Const(ty, value) | Planned::Stored(Stored::Global(ty, value)) => match value {
            Val::FuncRef(Some(_)) => Err(Error::WrongStore {
                what: "the function that a host module's global is to hold",
            }),
            Val::ExnRef(Some(_)) => Err(Error::WrongStore {
                what: "the exception that a host module's global is to hold",
            }),
            _ => value.check_of_no_store("value of a global", ty.content),
        },
        _ => Ok(()),
    }
}
