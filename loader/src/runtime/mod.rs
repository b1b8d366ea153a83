//! Runtimes: instances that find each other by name, with limits, closing and exit codes.
//!
//! A thin layer over [`Engine`], [`Store`](crate::Store) and [`Linker`](crate::Linker) for hosts that
//! would rather not own stores. A [`Runtime`] keeps the names of its instances; compiled
//! [`Module`]s are of no runtime, any number of them can share one. Dropping the last handle of a
//! runtime drops what only it held.
//!
//! # Where instances live, and what closing one frees
//!
//! - An instance that imports host functions and constants only gets a store of its own. Closing it
//!   frees all of it at once, or, if it is in a call, when that call is over. The last handle of
//!   an anonymous instance closes it, so anonymous instances without number take no more room than
//!   those that are held. (A runtime keeps the last few modules that it linked, for instances to
//!   come.)
//! - An instance that imports from another instance, or a memory or mutable global of a host
//!   module, joins that one's store. One call at a time runs in a store; another thread waits, until
//!   its context is done or the instance is closed. So host functions that call into other stores
//!   should do so in one direction only: two that call each other wait until somebody ends one.
//! - Instances of two stores cannot be linked with a third ([`Error::DifferentStores`]). Make them
//!   with [`InstanceConfig::with_shared_store`] then: they all live in one store of the runtime.
//! - In a store of several instances, closing one frees its name, and gives its memories' pages back
//!   as soon as all instances that import from it (through others too) are closed; their
//!   address space (4 GiB each when guarded) and a few kilobytes stay until the last instance of
//!   the store is closed, because tables may hold references to its functions: calling one is
//!   [`Error::Closed`] from then on. So a library that stays open can have some ten thousand
//!   importers in its life, not more: close it now and then.
//!
//! # Closing
//!
//! [`Instance::close_with_exit_code`] works from anywhere, also from inside of a host function and
//! from other threads; the first exit code counts. A call that is in flight on the instance, or
//! inside of which it is closed, ends with [`Error::Closed`]: within microseconds if the code was
//! compiled with [`Interruption::Epoch`](crate::Interruption::Epoch), else at the return of the host
//! function that is active or called next. When a guest asks to exit, the instance that the host
//! called is closed with that exit code.
//!
//! A call can be made with a [`Context`], that is a deadline and a way to cancel it
//! ([`Instance::with_context`], [`InstanceConfig::with_context`]): when that is done, the instance
//! is closed, with [`Error::DeadlineExceeded`] or [`Error::Canceled`]. A deadline for code that was not
//! compiled to know any is an [`Error::Interruption`]. Hosts whose guests must all be stoppable make the
//! engine with [`Config::epoch_interruption`](crate::Config::epoch_interruption), so that other code is
//! an error at once.
//!
//! Data of the host's is dropped by the thread that closes the instance or made the call, never by the
//! one that watches deadlines.

mod config;
mod context;
mod gate;
mod group;
mod host_module;
mod instance;
mod making;
mod node;
mod resolve;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use precast_artifact::Interruption;

pub use config::{InstanceConfig, Target};
pub use context::{Context, Done};
pub use group::State;
pub use host_module::{HostModule, HostModuleBuilder};
pub use instance::{Instance, InstanceIn};
pub use node::{EXIT_CANCELED, EXIT_DEADLINE_EXCEEDED};

use crate::engine::Engine;
use crate::error::Error;
use crate::instance_pre::InstancePre;
use crate::limits::{ResourceLimiter, StoreLimits};
use crate::module::Module;
use crate::store::StoreContextMut;
use crate::vm::interrupt;

use group::Group;
use making::{Making, Place, Room};
use node::{Closing, Items, Node};

/// What a host function of a runtime sees of its caller.
///
/// ```
/// use precast_loader::runtime::{Caller, HostModule, HostModuleBuilder};
///
/// let env: HostModuleBuilder<u32> = HostModule::builder("env")
///     .func("count", |mut caller: Caller<'_, u32>| **caller.data_mut() += 1)
///     .func("quit", |mut caller: Caller<'_, u32>| Err::<(), _>(caller.exit(3)));
/// ```
pub type Caller<'a, T = ()> = crate::Caller<'a, State<T>>;

/// Most linked modules that a runtime keeps to make further instances of.
const PREPARED: usize = 32;

/// Names, limits, and the instances that have names. Cheap to clone; clones are the same runtime.
///
/// `T` is data of the host's own that each store has one of, see [`State`].
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
    /// Modules linked with host functions only, so that their instances can be pooled. The most
    /// recently used last.
    prepared: Mutex<Vec<InstancePre<State<T>>>>,
}

struct Registry<T: Send + 'static> {
    limits: StoreLimits,
    /// `None`: all there is.
    fuel: Option<u64>,
    closed: Option<u32>,
    next: u64,
    names: HashMap<String, u64>,
    /// By order of instantiation.
    members: BTreeMap<u64, Member<T>>,
}

enum Member<T: Send + 'static> {
    /// Being made.
    Making(Arc<Making>),
    Named(Arc<Node<T>>),
    /// Its handles hold it.
    Anonymous(Weak<Node<T>>),
}

/// Locks a mutex whose content is right at all times, even if a thread panicked with it.
fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// A runtime without instances, whose stores have default data.
    pub fn new(engine: &Engine) -> Self {
        Self::with_data(engine, T::default)
    }
}

impl<T: Send + 'static> Runtime<T> {
    /// A runtime without instances, whose stores get data from `make`.
    pub fn with_data(engine: &Engine, make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let registry = Registry {
            limits: StoreLimits::default(),
            fuel: None,
            closed: None,
            next: 0,
            names: HashMap::new(),
            members: BTreeMap::new(),
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

    /// Sets limits for what is instantiated from now on: they hold for each store of the runtime, but
    /// that of [instances](crate::StoreLimitsBuilder::instances), host modules included, which is
    /// for how many may be open at a time in the whole runtime.
    pub fn set_limits(&self, limits: StoreLimits) {
        lock(&self.0.registry).limits = limits;
    }

    /// Sets the fuel that stores which are made from now on begin with, for code compiled with
    /// [`Interruption::Fuel`](crate::Interruption::Fuel); all there is if not set. Other modules are
    /// an [`Error::Interruption`] when they are instantiated, unless this is [`u64::MAX`].
    pub fn set_fuel(&self, fuel: u64) {
        lock(&self.0.registry).fuel = Some(fuel);
    }

    /// The open instance of this name, guest or host module.
    pub fn instance(&self, name: &str) -> Option<Instance<T>> {
        self.0.node(name).ok().map(Instance::new)
    }

    /// The exit code, if the runtime is closed.
    pub fn exit_code(&self) -> Option<u32> {
        lock(&self.0.registry).closed
    }

    /// [`Runtime::close_with_exit_code`] with 0.
    pub fn close(&self) {
        self.close_with_exit_code(0);
    }

    /// Closes all instances, the last made first. Nothing can be instantiated any more. Does
    /// nothing if the runtime is closed already.
    pub fn close_with_exit_code(&self, exit_code: u32) {
        let mut registry = lock(&self.0.registry);
        if registry.closed.is_some() {
            return;
        }
        registry.closed = Some(exit_code);
        registry.names.clear();
        let members = std::mem::take(&mut registry.members);
        drop(registry);
        for member in members.into_values().rev() {
            match member {
                Member::Named(node) => node.close(Closing::Exit(exit_code)),
                Member::Anonymous(node) => {
                    if let Some(node) = node.upgrade() {
                        node.close(Closing::Exit(exit_code));
                    }
                }
                Member::Making(making) => making.stop(Closing::Exit(exit_code)),
            }
        }
        let prepared = std::mem::take(&mut *lock(&self.0.prepared));
        drop(prepared);
    }

    /// Instantiates a module: resolves its imports, makes the instance, and calls the start
    /// functions that it has. A start function that exits with code 0 is a success; the instance is
    /// closed then.
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
        let place = self.0.reserve(&config.name)?;
        let context = config.context.clone();
        let watch = context.as_ref().map(|context| {
            let making = Arc::clone(&place.making);
            context.watch(move |done| making.stop(Closing::Done(done)))
        });
        let watch = watch.transpose()?;
        let node = self.make(module, &mut config, &place);
        drop(watch);
        let node = node.map_err(|error| match (self.exit_code(), error) {
            // It was closed meanwhile, and the instance with it.
            (Some(exit_code), Error::Closed { .. }) => Error::runtime_closed(exit_code),
            (_, error) => error,
        })?;
        let this = Instance::new(Arc::clone(&node));
        place.fill(&node)?;
        // A start function that fails or panics leaves no instance, nor its name taken.
        let unstarted = Unstarted(&node);
        this.start(&config.start_functions, context.as_ref())?;
        std::mem::forget(unstarted);
        Ok(this)
    }

    /// Makes the instance, but calls no start function.
    fn make(
        &self,
        module: &Module,
        config: &mut InstanceConfig<T>,
        place: &Place<T>,
    ) -> Result<Arc<Node<T>>, Error> {
        let making = &place.making;
        let is_wanted = || making.closed.check();
        let imports = resolve::resolve(&self.0, module, config, &is_wanted)?;
        let unmatched = config.redirections.unmatched(module);
        let room = self.0.group_for(&imports, config)?;
        making.is_in(&room.group().gate);
        let context = config.context.as_ref();
        let make = |mut store: StoreContextMut<'_, State<T>>| {
            // The registry counts; those of a store may be closed already.
            store.core().limits = lock(&self.0.registry).limits.clone().of_any_instances();
            if context.is_some_and(|context| context.deadline().is_some()) {
                let (epoch, context) = (Interruption::Epoch, interrupt::CONTEXT);
                store.core().require_of_all(epoch, context)?;
                interrupt::require(module.interruption(), epoch, context)?;
            }
            let pre = self.0.prepare(module, &mut store, &imports)?;
            pre.instantiate(&mut store)
        };
        let made = room.group().enter(place.seq, context, is_wanted, make)?;
        let instance = made.into_result().map_err(|error| match error {
            Error::Exit(code) => Error::module_closed(code.cast_unsigned()),
            error => imports.explain(error),
        })?;
        let identity = (Arc::downgrade(&self.0), config.name.clone(), place.seq);
        let items = Items::Guest(instance, module.clone());
        let group = room.keep();
        let node = Node::new(
            identity,
            items,
            Some(Arc::clone(&group)),
            imports.uses,
            unmatched,
        );
        group.add(instance, Arc::downgrade(&node));
        Ok(node)
    }
}

/// An instance whose start functions have not succeeded yet.
struct Unstarted<'a, T: Send + 'static>(&'a Arc<Node<T>>);

impl<T: Send + 'static> Drop for Unstarted<'_, T> {
    fn drop(&mut self) {
        self.0.close(Closing::Exit(0));
    }
}

impl<T: Send + 'static> Inner<T> {
    /// The open instance of a name.
    fn node(&self, name: &str) -> Result<Arc<Node<T>>, Error> {
        let registry = lock(&self.registry);
        let seq = registry.names.get(name);
        match seq.and_then(|seq| registry.members.get(seq)) {
            Some(Member::Named(node)) => Ok(Arc::clone(node)),
            _ => Err(Error::NotInstantiated { name: name.into() }),
        }
    }

    /// Takes a name and a place in the order.
    fn reserve(self: &Arc<Self>, name: &str) -> Result<Place<T>, Error> {
        let mut registry = lock(&self.registry);
        if let Some(exit_code) = registry.closed {
            return Err(Error::runtime_closed(exit_code));
        }
        if registry.names.contains_key(name) {
            return Err(Error::AlreadyInstantiated { name: name.into() });
        }
        let (open, limit) = (registry.members.len(), registry.limits.instances());
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
            .members
            .insert(seq, Member::Making(Arc::clone(&making)));
        if !name.is_empty() {
            registry.names.insert(name.to_owned(), seq);
        }
        let (runtime, name) = (Arc::clone(self), name.to_owned());
        Ok(Place {
            runtime,
            name,
            seq,
            making,
        })
    }

    /// Frees a name and a place. Who gets the member drops it without a lock: a store may go with it.
    #[must_use]
    fn remove(&self, name: &str, seq: u64) -> Option<Member<T>> {
        let mut registry = lock(&self.registry);
        if registry.names.get(name) == Some(&seq) {
            registry.names.remove(name);
        }
        registry.members.remove(&seq)
    }

    /// A new store for an instance.
    fn new_group(self: &Arc<Self>, data: Option<T>) -> Room<T> {
        let registry = lock(&self.registry);
        let (limits, fuel) = (registry.limits.clone(), registry.fuel);
        drop(registry);
        let data = data.unwrap_or_else(|| (self.make_data)());
        let runtime = Arc::downgrade(self);
        Room::new(Group::new(&self.engine, (limits, fuel), data, runtime))
    }

    /// The store that an instance goes to, with room for it.
    fn group_for(
        self: &Arc<Self>,
        imports: &resolve::Imports<T>,
        config: &mut InstanceConfig<T>,
    ) -> Result<Room<T>, Error> {
        let has_data = config.data.is_some();
        let (room, joined) = match imports.uses.first() {
            None if config.shared_store => self.shared_group(&mut config.data),
            None => (self.new_group(config.data.take()), false),
            Some(used) => {
                let node = used.node();
                let room = node.group.as_ref().and_then(Room::join);
                let Some(room) = room else {
                    node.check()?;
                    return Err(Error::module_closed(0));
                };
                let shared = lock(&self.shared).upgrade();
                if config.shared_store && !shared.is_some_and(|s| Arc::ptr_eq(&s, room.group())) {
                    return Err(Error::DifferentStores {
                        first: Instance::label(node),
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

    /// The runtime's shared store, and whether others live there; else it takes the data.
    fn shared_group(self: &Arc<Self>, data: &mut Option<T>) -> (Room<T>, bool) {
        let there = |shared: &Weak<Group<T>>| shared.upgrade().as_ref().and_then(Room::join);
        if let Some(room) = there(&lock(&self.shared)) {
            return (room, true);
        }
        // Without the lock: to make the data may take long, and use the runtime.
        let new = self.new_group(data.take());
        let mut shared = lock(&self.shared);
        match there(&shared) {
            // Somebody else was faster. `new` goes when the lock is given back.
            Some(room) => {
                drop(shared);
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
        imports: &resolve::Imports<T>,
    ) -> Result<InstancePre<State<T>>, Error> {
        let imports = imports.of_store(store)?;
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
