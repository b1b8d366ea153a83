//! Runtimes: instances that find each other by name, with limits, closing and exit codes.
//!
//! This is a thin layer over [`Engine`], [`Store`](crate::Store) and [`Linker`](crate::Linker) for
//! hosts that do not want to own stores. A [`Runtime`] keeps the names of its instances. A compiled
//! [`Module`] belongs to no runtime, and any number of runtimes can share it. Dropping the
//! last handle of a runtime drops everything that only the runtime held, but for what other threads
//! have [parked](crate::InstancePre), and for instances whose store a handle of another instance
//! keeps: tables of the store may hold their functions. To have them give back what they have,
//! close the runtime first.
//!
//! # Where instances live, and what closing an instance frees
//!
//! - An instance that imports only host functions and constants gets a store of its own. Closing
//!   the instance frees all of it at once, or at the end of the call that it is in. An anonymous
//!   instance is closed when its last handle is dropped, so a host can make any number of them, and
//!   only those that it holds take room. (A runtime keeps the last few modules that it linked, for
//!   later instances.)
//! - An instance that imports from another instance, or imports a memory, a table or a mutable
//!   global of a host module, joins the store of what it imports. One call at a time runs in a
//!   store. Other threads wait, until their context is done or the instance is closed. So host
//!   functions that call into other stores should do so in one direction only: two calls that call
//!   each other's stores wait until one of them is ended. And a host function must not wait for a
//!   thread that calls into the function's own store, unless that call has a context that ends. The
//!   host function itself can use what [`Instance::within`] returns.
//! - Shared memories belong to no store. Instances that import nothing else from each other or from
//!   a host module have stores of their own, so they can run at the same time.
//! - An instance cannot import from instances of two stores ([`Error::DifferentStores`]). Make such
//!   instances with [`InstanceConfig::with_shared_store`]: all of those live in one store of the
//!   runtime.
//! - In a store of several instances, closing one of them frees its name. An instance whose
//!   initialisation or start function fails is closed in the same way. As soon as all instances
//!   that import from it, directly or through others, are closed, the pages of its memories are
//!   given back, its tables are emptied, and its globals hold no values of the host any more. (A
//!   later [collection](crate::Store::gc) drops such values and exceptions. A shared memory is
//!   given back if only closed instances of the store have it then. If the host has a handle of it,
//!   or an instance of another store, it stays until the last instance of this store is closed: so
//!   close those who import a shared memory after the instance that defines it.) The address space
//!   of its memories (4 GiB and 32 MiB for each guarded one) and a few kilobytes stay until the
//!   last instance of the store is closed, because tables may hold references to its functions.
//!   Calling such a function fails with [`Error::Closed`]. A table that other instances imported
//!   stays as long as they took it to be, with null elements, or as it was if these cannot be null.
//!   So a library that stays open can have about ten thousand importers in its life. Close it now
//!   and then, and make a new one.
//!
//! # Closing
//!
//! [`Instance::close_with_exit_code`] can be called from anywhere, including host functions and
//! other threads. The first exit code counts. A call on the instance that is running, or that
//! closes the instance itself, ends with [`Error::Closed`]: within microseconds if the code was
//! compiled with [`Interruption::Epoch`], and otherwise when the active host function, or the next
//! one that is called, returns. When a guest asks to exit, the instance that the host called is
//! closed with that exit code.
//!
//! A call can have a [`Context`], which has a deadline and can be cancelled
//! ([`Instance::with_context`], [`InstanceConfig::with_context`]). When the context is done, the
//! instance is closed with [`Error::DeadlineExceeded`] or [`Error::Canceled`]. A deadline for code
//! that was not compiled for deadlines is an [`Error::Interruption`]. If every guest must be
//! stoppable, make the engine with
//! [`Config::epoch_interruption`](crate::Config::epoch_interruption), so that other code is an
//! error at once.
//!
//! Data of the host is dropped by the thread that closes the instance or made the call, and never
//! by the thread that watches deadlines.
//!
//! # What is not here
//!
//! Calls that can be suspended (`call_async`), and [`SharedLimits`](crate::SharedLimits): hosts
//! that need one of these have stores of their own.

mod closing;
mod config;
mod context;
mod gate;
mod group;
mod host_module;
mod instance;
mod making;
mod member;
mod resolve;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, Weak};

use precast_artifact::Interruption;

pub use closing::{EXIT_CANCELED, EXIT_DEADLINE_EXCEEDED};
pub use config::{InstanceConfig, Target};
pub use context::{Context, Done};
pub use group::State;
pub use host_module::{HostModule, HostModuleBuilder};
pub use instance::{Instance, InstanceIn};

use crate::engine::Engine;
use crate::error::Error;
use crate::instance_pre::InstancePre;
use crate::limits::{ResourceLimiter, StoreLimits};
use crate::listener::{self, FunctionListener};
use crate::lock::lock;
use crate::module::Module;
use crate::store::StoreContextMut;
use crate::vm::ending::for_all;
use crate::vm::interrupt;
use crate::vm::listeners::Listeners;

use closing::Closing;
use group::Group;
use making::{Making, Reservation, Room, Unmade};
use member::{Exports, HostItem, Member, Retired};

/// The caller of a host function, in a store of a runtime.
///
/// ```
/// use precast_loader::runtime::{Caller, HostModule, HostModuleBuilder};
///
/// let env: HostModuleBuilder<u32> = HostModule::builder("env")
///     .func("count", |mut caller: Caller<'_, u32>| **caller.data_mut() += 1)
///     .func("quit", |mut caller: Caller<'_, u32>| Err::<(), _>(caller.exit(3)));
/// ```
pub type Caller<'a, T = ()> = crate::Caller<'a, State<T>>;

/// Maximum number of linked modules that a runtime keeps for further instances.
const PREPARED: usize = 32;

/// A runtime: names, limits, and the instances that have names. Clones are cheap and are the same
/// runtime.
///
/// `T` is the host's own data, of which each store has one, see [`State`].
///
/// ```
/// use precast_loader::runtime::{HostModule, InstanceConfig, Runtime};
/// use precast_loader::{Engine, Error, Module, Val};
///
/// fn run(module: &Module) -> Result<Vec<Val>, Error> {
///     let runtime: Runtime = Runtime::new(module.engine());
///     HostModule::builder("env").func("log", |x: i32| println!("{x}")).instantiate(&runtime)?;
///     let instance = runtime.instantiate(module, InstanceConfig::new().with_name("guest"))?;
///     instance.call("answer", &[Val::I32(1)])
/// }
///
/// let runtime: Runtime = Runtime::new(&Engine::default());
/// assert!(runtime.instance("guest").is_none());
/// ```
pub struct Runtime<T: Send + 'static = ()>(Arc<Inner<T>>);

pub(crate) struct Inner<T: Send + 'static> {
    engine: Engine,
    make_data: Box<dyn Fn() -> T + Send + Sync>,
    registry: Mutex<Registry<T>>,
    shared: Mutex<Weak<Group<T>>>,
    /// Modules that are linked only with host functions, so that their instances can be pooled. The
    /// most recently used one is the last.
    prepared: Mutex<Vec<InstancePre<State<T>>>>,
}

/// What later stores begin with.
#[derive(Clone, Default)]
struct Beginning {
    limits: StoreLimits,
    /// `None` stands for the largest amount that there can be.
    fuel: Option<u64>,
    make_listener: Option<Arc<dyn Fn() -> Listeners + Send + Sync>>,
}

struct Registry<T: Send + 'static> {
    beginning: Beginning,
    closed: Option<u32>,
    next: u64,
    names: HashMap<String, u64>,
    /// The instances, in the order of instantiation.
    slots: BTreeMap<u64, Slot<T>>,
}

enum Slot<T: Send + 'static> {
    /// The instance is being made.
    Making(Arc<Making>),
    Named(Arc<Member<T>>),
    /// Only its handles hold the instance.
    Anonymous(Weak<Member<T>>),
}

impl<T: Send + 'static> Clone for Runtime<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + 'static> std::fmt::Debug for Runtime<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let registry = lock(&self.0.registry);
        f.debug_struct("Runtime")
            .field("names", &registry.names.keys())
            .field("closed", &registry.closed)
            .finish_non_exhaustive()
    }
}

impl<T: Default + Send + 'static> Runtime<T> {
    /// A runtime without instances, whose stores have the default data.
    pub fn new(engine: &Engine) -> Self {
        Self::with_data(engine, T::default)
    }
}

impl<T: Send + 'static> Runtime<T> {
    /// A runtime without instances, whose stores get their data from `make`.
    pub fn with_data(engine: &Engine, make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let registry = Registry {
            beginning: Beginning::default(),
            closed: None,
            next: 0,
            names: HashMap::new(),
            slots: BTreeMap::new(),
        };
        Self(Arc::new(Inner {
            engine: *engine,
            make_data: Box::new(make),
            registry: Mutex::new(registry),
            shared: Mutex::default(),
            prepared: Mutex::default(),
        }))
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Sets limits for later instances. They hold for each store of the runtime, except for the
    /// limit on [instances](crate::StoreLimitsBuilder::instances): it bounds how many instances,
    /// host modules included, are open at a time in the whole runtime.
    pub fn set_limits(&self, limits: StoreLimits) {
        lock(&self.0.registry).beginning.limits = limits;
    }

    /// Sets the fuel that later stores begin with, for code compiled with [`Interruption::Fuel`].
    /// The default is the largest amount that there can be. Instantiating a module that was
    /// compiled otherwise fails with [`Error::Interruption`], unless the amount is [`u64::MAX`].
    pub fn set_fuel(&self, fuel: u64) {
        lock(&self.0.registry).beginning.fuel = Some(fuel);
    }

    /// Sets what makes the function listener of each later store, which sees the functions of all
    /// instances in that store whose modules are compiled for listeners, see
    /// [`Store::set_function_listener`](crate::Store::set_function_listener).
    ///
    /// ```
    /// use precast_loader::runtime::Runtime;
    /// use precast_loader::{Engine, FunctionCall, FunctionListener, Val};
    ///
    /// struct Trace;
    ///
    /// impl FunctionListener for Trace {
    ///     fn before(&mut self, call: &FunctionCall<'_>, params: &[Val]) {
    ///         eprintln!("{} {params:?}", call.func_name().unwrap_or_default());
    ///     }
    /// }
    ///
    /// let runtime: Runtime = Runtime::new(&Engine::default());
    /// runtime.set_function_listeners(|| Trace);
    /// ```
    pub fn set_function_listeners<L: FunctionListener + 'static>(
        &self,
        make: impl Fn() -> L + Send + Sync + 'static,
    ) {
        let make = move || listener::listeners(make());
        let mut registry = lock(&self.0.registry);
        let before = registry.beginning.make_listener.replace(Arc::new(make));
        // What the host's closure drops may use the runtime.
        drop(registry);
        drop(before);
    }

    /// The open instance of this name, guest or host module.
    pub fn instance(&self, name: &str) -> Option<Instance<T>> {
        self.0.member(name).ok().map(Instance::new)
    }

    /// The exit code if the runtime is closed.
    pub fn exit_code(&self) -> Option<u32> {
        lock(&self.0.registry).closed
    }

    /// [`Runtime::close_with_exit_code`] with 0.
    pub fn close(&self) {
        self.close_with_exit_code(0);
    }

    /// Closes all instances, the latest first. Nothing can be instantiated afterwards. Does nothing
    /// if the runtime is closed already.
    pub fn close_with_exit_code(&self, exit_code: u32) {
        let mut registry = lock(&self.0.registry);
        if registry.closed.is_some() {
            return;
        }
        registry.closed = Some(exit_code);
        registry.names.clear();
        let slots = std::mem::take(&mut registry.slots);
        drop(registry);
        // All instances are closed before anything is freed: dropping data of the host may panic.
        let mut leftovers = Vec::new();
        for slot in slots.into_values().rev() {
            match slot {
                Slot::Named(member) => leftovers.push(member.end(Closing::Exit(exit_code))),
                Slot::Anonymous(member) => {
                    if let Some(member) = member.upgrade() {
                        leftovers.push(member.end(Closing::Exit(exit_code)));
                    }
                }
                Slot::Making(making) => making.stop(Closing::Exit(exit_code)),
            }
        }
        let prepared = std::mem::take(&mut *lock(&self.0.prepared));
        for_all(leftovers, drop);
        drop(prepared);
    }

    /// Instantiates a module: resolves its imports, makes the instance, and calls its start
    /// functions. A start function that exits with code 0 is a success, and closes the instance.
    ///
    /// # Errors
    /// [`Error::AlreadyInstantiated`], [`Error::NotInstantiated`] and [`Error::Link`] for names and
    /// imports, [`Error::DifferentStores`], [`Error::InUse`] when an import comes from the
    /// instance whose call this thread is in, [`Error::DifferentEngines`] and
    /// [`Error::Interruption`], [`Error::Limit`], [`Error::Closed`], and what the
    /// module's initialisation or a start function ended with; [`Error::DeadlineExceeded`] and
    /// [`Error::Canceled`] for the context of the configuration.
    pub fn instantiate(
        &self,
        module: &Module,
        mut config: InstanceConfig<T>,
    ) -> Result<Instance<T>, Error> {
        let reservation = self.0.reserve(&config.name)?;
        let context = config.context.clone();
        let watch = context.as_ref().map(|context| {
            let making = Arc::clone(&reservation.making);
            context.watch(move |done| making.stop(Closing::Done(done)))
        });
        let watch = watch.transpose()?;
        let member = self.make(module, &mut config, &reservation);
        drop(watch);
        let member = member.map_err(|error| match (self.exit_code(), error) {
            // The runtime was closed meanwhile, and the instance with it.
            (Some(exit_code), Error::Closed { .. }) => Error::runtime_closed(exit_code),
            (_, error) => error,
        })?;
        let this = Instance::new(Arc::clone(&member));
        reservation.fill(&member)?;
        // If a start function fails or panics, the instance is closed and its name is free.
        let unstarted = Unstarted(&member);
        this.start(&config.start_functions, context.as_ref())?;
        // Dropping what the host gave may panic, and then nobody gets the instance.
        drop(config);
        std::mem::forget(unstarted);
        Ok(this)
    }

    /// Makes the instance, and calls no start function.
    fn make(
        &self,
        module: &Module,
        config: &mut InstanceConfig<T>,
        reservation: &Reservation<T>,
    ) -> Result<Arc<Member<T>>, Error> {
        let making = &reservation.making;
        let mut imports = resolve::resolve(&self.0, module, config, making)?;
        let unmatched = config.redirections.unmatched(module);
        let room = self.0.group_for(&imports, config)?;
        making.is_in(&room.group().gate);
        let is_wanted = || making.closed.check();
        let context = config.context.as_ref();
        // They are gone when instances of the store that were closed meanwhile give up what they
        // have, so they keep no shared memory.
        let items = std::mem::take(&mut imports.items);
        let make = |mut store: StoreContextMut<'_, State<T>>| {
            // The registry counts the open instances. Some of those in a store may be closed.
            let limits = lock(&self.0.registry).beginning.limits.clone();
            store.core().limits = limits.of_any_instances();
            if context.is_some_and(|context| context.deadline().is_some()) {
                let (epoch, context) = (Interruption::Epoch, interrupt::CONTEXT);
                store.core().require_of_all(epoch, context)?;
                interrupt::require(module.interruption(), epoch, context)?;
            }
            let pre = self.0.prepare(module, &mut store, items)?;
            let mut unmade = Unmade::new(room.group(), store);
            let instance = pre.instantiate(&mut unmade.store)?;
            let shared = instance.shared_memories(unmade.store.core());
            unmade.keep();
            Ok((instance, shared))
        };
        let made = room
            .group()
            .enter(reservation.seq, context, is_wanted, make)?;
        if let (Ok((instance, _)), Some(closing)) = (&made.result, made.stopped) {
            room.retire(Retired::Guest(*instance, closing.exit_code()));
        }
        let (instance, shared) = made.into_result().map_err(|error| match error {
            Error::Exit(code) => Error::module_closed(code.cast_unsigned()),
            error => imports.explain(error),
        })?;
        let identity = (
            Arc::downgrade(&self.0),
            config.name.clone(),
            reservation.seq,
        );
        let items = Exports::Guest(instance, module.clone(), shared);
        let group = room.keep();
        let member = Member::new(
            identity,
            items,
            Some(Arc::clone(&group)),
            imports.dependencies,
            unmatched,
        );
        group.add(instance, Arc::downgrade(&member));
        Ok(member)
    }
}

/// An instance whose start functions have not succeeded yet.
struct Unstarted<'a, T: Send + 'static>(&'a Arc<Member<T>>);

impl<T: Send + 'static> Drop for Unstarted<'_, T> {
    fn drop(&mut self) {
        self.0.close(Closing::Exit(0));
    }
}

impl<T: Send + 'static> Inner<T> {
    /// The open instance of a name.
    fn member(&self, name: &str) -> Result<Arc<Member<T>>, Error> {
        let registry = lock(&self.registry);
        let seq = registry.names.get(name);
        match seq.and_then(|seq| registry.slots.get(seq)) {
            Some(Slot::Named(member)) => Ok(Arc::clone(member)),
            _ => Err(Error::NotInstantiated { name: name.into() }),
        }
    }

    /// Takes a name and a number.
    fn reserve(self: &Arc<Self>, name: &str) -> Result<Reservation<T>, Error> {
        let mut registry = lock(&self.registry);
        if let Some(exit_code) = registry.closed {
            return Err(Error::runtime_closed(exit_code));
        }
        if registry.names.contains_key(name) {
            return Err(Error::AlreadyInstantiated { name: name.into() });
        }
        let (open, limit) = (registry.slots.len(), registry.beginning.limits.instances());
        if open >= limit {
            return Err(Error::Limit {
                what: "instances of a runtime",
                wanted: open as u64 + 1,
                limit: limit as u64,
            });
        }
        let seq = registry.next;
        registry.next += 1;
        let making = Arc::new(Making::new(seq));
        registry
            .slots
            .insert(seq, Slot::Making(Arc::clone(&making)));
        if !name.is_empty() {
            registry.names.insert(name.to_owned(), seq);
        }
        let (runtime, name) = (Arc::clone(self), name.to_owned());
        Ok(Reservation {
            runtime,
            name,
            seq,
            making,
        })
    }

    /// Frees a name and a number. The caller drops the result without holding a lock, since that
    /// may drop a store.
    #[must_use]
    fn remove(&self, name: &str, seq: u64) -> Option<Slot<T>> {
        let mut registry = lock(&self.registry);
        if registry.names.get(name) == Some(&seq) {
            registry.names.remove(name);
        }
        registry.slots.remove(&seq)
    }

    /// A new store for an instance.
    fn new_group(self: &Arc<Self>, data: Option<T>) -> Room<T> {
        let beginning = lock(&self.registry).beginning.clone();
        let data = data.unwrap_or_else(|| (self.make_data)());
        let runtime = Arc::downgrade(self);
        Room::new(Group::new(&self.engine, beginning, data, runtime))
    }

    /// The store for an instance, which counts it as open from now on.
    fn group_for(
        self: &Arc<Self>,
        imports: &resolve::Imports<T>,
        config: &mut InstanceConfig<T>,
    ) -> Result<Room<T>, Error> {
        let has_data = config.data.is_some();
        let (room, joined) = match imports.dependencies.first() {
            None if config.shared_store => self.shared_group(&mut config.data),
            None => (self.new_group(config.data.take()), false),
            Some(member) => {
                let room = member.group.as_ref().and_then(Room::join);
                let Some(room) = room else {
                    member.check()?;
                    return Err(Error::module_closed(0));
                };
                let shared = lock(&self.shared).upgrade();
                if config.shared_store && !shared.is_some_and(|s| Arc::ptr_eq(&s, room.group())) {
                    return Err(Error::DifferentStores {
                        first: Instance::label(member),
                        second: "the runtime's shared store".into(),
                    });
                }
                (room, true)
            }
        };
        if joined && has_data {
            return Err(Error::UnwantedData);
        }
        Ok(room)
    }

    /// The runtime's shared store, and whether it existed before. A new store takes the data.
    fn shared_group(self: &Arc<Self>, data: &mut Option<T>) -> (Room<T>, bool) {
        let there = |shared: &Weak<Group<T>>| shared.upgrade().as_ref().and_then(Room::join);
        if let Some(room) = there(&lock(&self.shared)) {
            return (room, true);
        }
        // No lock is held here, since the host's closure may take long and may use the runtime.
        let new = self.new_group(data.take());
        let mut shared = lock(&self.shared);
        match there(&shared) {
            // Another thread was faster. `new` is dropped when the lock is free, and before the
            // room is given to the caller: a result is lost if a drop panics after it is made.
            Some(room) => {
                drop(shared);
                drop(new);
                (room, true)
            }
            None => {
                *shared = Arc::downgrade(new.group());
                (new, false)
            }
        }
    }

    /// The module linked with its imports.
    fn prepare(
        &self,
        module: &Module,
        store: &mut crate::StoreContextMut<'_, State<T>>,
        items: Vec<HostItem>,
    ) -> Result<InstancePre<State<T>>, Error> {
        let imports = resolve::of_store(items, store)?;
        let mut prepared = lock(&self.prepared);
        if let Some(i) = prepared.iter().position(|pre| pre.is_of(module, &imports)) {
            let pre = prepared.remove(i);
            prepared.push(pre.clone());
            return Ok(pre);
        }
        let pre = InstancePre::new(module.clone(), imports);
        let mut old = None;
        if pre.is_reusable() {
            old = (prepared.len() >= PREPARED).then(|| prepared.remove(0));
            prepared.push(pre.clone());
        }
        drop(prepared);
        drop(old);
        Ok(pre)
    }
}
