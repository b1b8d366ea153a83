//! What a runtime knows of an instance, which is a guest or a host module.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use crate::error::Error;
use crate::externs::Extern;
use crate::lock::lock;
use crate::module::Module;
use crate::shared_memory::SharedMemory;
use crate::types::GlobalType;
use crate::val::Val;
use crate::vm::host::HostFunc;
use crate::vm::shared::Shared;
use crate::vm::store::StoreCore;

use super::closing::{Closed, Closing};
use super::group::Group;
use super::instance::Handle;
use super::{Inner, Slot};

/// An instance of a runtime.
pub(super) struct Member<T: Send + 'static> {
    pub(super) runtime: Weak<Inner<T>>,
    /// Empty for an anonymous instance.
    pub(super) name: String,
    /// Its number in the runtime, in the order of instantiation.
    pub(super) seq: u64,
    closed: Closed,
    pub(super) items: Exports,
    /// The group of its store; `None` for a host module without items in a store.
    pub(super) group: Option<Arc<Group<T>>>,
    /// The instances that it imports from, until nothing can reach this one any more.
    dependencies: Mutex<Dependencies<T>>,
    dependents: Mutex<Dependents>,
    /// The handles of the host.
    pub(super) handle: Mutex<Weak<Handle<T>>>,
    /// Redirection rules that matched none of its imports.
    pub(super) unmatched: Vec<String>,
}

/// What keeps an instance from being retired.
#[derive(Debug, Default)]
struct Dependents {
    /// Number of instances that import from it and can still be reached, or are being made.
    count: usize,
    /// Whether the instance is closed, so that no more instances import from it.
    closed: bool,
    retired: bool,
}

/// What an instance exports.
pub(super) enum Exports {
    Guest(crate::Instance, Module, SharedMemories),
    Host(HashMap<String, HostItem>),
}

/// The shared memories that a guest has, with their indices. They belong to no store. A closed
/// guest does not keep them.
pub(super) type SharedMemories = Vec<(u32, Weak<Shared>)>;

/// An item that an instance imports from another one.
#[derive(Clone)]
pub(super) enum HostItem {
    /// A function that belongs to no store: every instance can import it.
    Func(Arc<HostFunc>),
    /// A global that never changes. It is only a value, so it belongs to no store either.
    Const(GlobalType, Val),
    /// A memory of several threads, which belongs to no store.
    Shared(SharedMemory),
    /// An item of the group's store.
    Stored(Extern),
}

impl<T: Send + 'static> Member<T> {
    pub(super) fn new(
        (runtime, name, seq): (Weak<Inner<T>>, String, u64),
        items: Exports,
        group: Option<Arc<Group<T>>>,
        dependencies: Dependencies<T>,
        unmatched: Vec<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            name,
            seq,
            closed: Closed::default(),
            items,
            group,
            dependencies: Mutex::new(dependencies),
            dependents: Mutex::default(),
            handle: Mutex::default(),
            unmatched,
        })
    }

    /// # Errors
    /// [`Error::Closed`], [`Error::DeadlineExceeded`], [`Error::Canceled`].
    pub(super) fn check(&self) -> Result<(), Error> {
        self.closed.check()
    }

    pub(super) fn exit_code(&self) -> Option<u32> {
        self.closed.get().map(Closing::exit_code)
    }

    /// Closes the instance. Only the first call counts.
    pub(super) fn close(self: &Arc<Self>, closing: Closing) {
        drop(self.end(closing));
    }

    /// [`Member::close`], but everything that becomes free is in the result, and is freed when that
    /// is dropped.
    pub(super) fn end(self: &Arc<Self>, closing: Closing) -> Leftovers<T> {
        let mut leftovers = Leftovers {
            runtime: self.runtime.upgrade(),
            slot: None,
            dependencies: Dependencies::none(),
            member: None,
        };
        if !self.closed.set(closing) {
            return leftovers;
        }
        leftovers.member = Some(Arc::clone(self));
        if let Some(runtime) = &leftovers.runtime {
            leftovers.slot = runtime.remove(&self.name, self.seq);
        }
        if let Some(group) = &self.group {
            group.gate.stop(self.seq, closing);
            group.leave();
        }
        let retires = {
            let mut dependents = lock(&self.dependents);
            dependents.closed = true;
            dependents.retires()
        };
        if retires {
            leftovers.dependencies = self.retire();
        }
        leftovers
    }

    /// Closes the instance in its store, when it is closed and no instance that imports from it can
    /// be reached. It does not keep its own imports any more.
    fn retire(&self) -> Dependencies<T> {
        if let Some(group) = &self.group {
            group.retire(match &self.items {
                Exports::Guest(instance, ..) => {
                    Retired::Guest(*instance, self.exit_code().unwrap_or_default())
                }
                Exports::Host(items) => Retired::host_module(items),
            });
        }
        self.take_dependencies()
    }

    fn take_dependencies(&self) -> Dependencies<T> {
        std::mem::replace(&mut *lock(&self.dependencies), Dependencies::none())
    }

    fn tidy(&self) {
        if let Some(group) = &self.group {
            group.tidy();
        }
    }
}

impl<T: Send + 'static> Drop for Member<T> {
    /// An instance that nobody has closed is dropped when its runtime is gone and nobody else has
    /// it. It is open no more.
    fn drop(&mut self) {
        if let (None, Some(group)) = (self.closed.get(), &self.group) {
            group.leave();
            group.tidy();
        }
    }
}

impl Dependents {
    /// Returns whether the instance must be retired now. This is true once.
    fn retires(&mut self) -> bool {
        let now = self.closed && self.count == 0 && !self.retired;
        self.retired |= now;
        now
    }
}

/// Everything that becomes free when an instance is closed. Dropping this may drop data of the
/// host, which runs code of the host. So it is dropped where no lock is held, and not on the thread
/// that watches deadlines.
pub(super) struct Leftovers<T: Send + 'static> {
    runtime: Option<Arc<Inner<T>>>,
    /// The entry of the instance in the runtime.
    slot: Option<Slot<T>>,
    dependencies: Dependencies<T>,
    member: Option<Arc<Member<T>>>,
}

impl<T: Send + 'static> Drop for Leftovers<T> {
    fn drop(&mut self) {
        self.dependencies.clear();
        drop((self.slot.take(), self.runtime.take()));
        if let Some(member) = &self.member {
            member.tidy();
        }
    }
}

/// Instances of one group that another one imports from. They are not retired while they are in
/// here.
pub(super) struct Dependencies<T: Send + 'static>(Vec<Arc<Member<T>>>);

impl<T: Send + 'static> Dependencies<T> {
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// # Errors
    /// The errors of [`Member::check`], since nothing can import from a closed instance.
    pub(super) fn one(member: Arc<Member<T>>) -> Result<Self, Error> {
        let mut dependents = lock(&member.dependents);
        if dependents.closed {
            drop(dependents);
            member.check()?;
            return Err(Error::module_closed(0));
        }
        dependents.count += 1;
        drop(dependents);
        Ok(Self(vec![member]))
    }

    pub(super) fn first(&self) -> Option<&Arc<Member<T>>> {
        self.0.first()
    }

    pub(super) fn contain(&self, member: &Arc<Member<T>>) -> bool {
        self.0.iter().any(|known| Arc::ptr_eq(known, member))
    }

    pub(super) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Lets go of all of them. A chain of instances can be longer than the stack, so the drop of
    /// one does not drop the next, whether the next one becomes free because this one is closed or
    /// because nobody has this one any more.
    fn clear(&mut self) {
        let group = self.first().and_then(|member| member.group.clone());
        while let Some(member) = self.0.pop() {
            let retires = {
                let mut dependents = lock(&member.dependents);
                dependents.count -= 1;
                dependents.retires()
            };
            if retires {
                self.append(member.retire());
            }
            if let Some(last) = Arc::into_inner(member) {
                self.append(last.take_dependencies());
            }
        }
        // All of them were in one store.
        if let Some(group) = group {
            group.tidy();
        }
    }
}

impl<T: Send + 'static> Drop for Dependencies<T> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A closed instance that nothing can reach, in a store that is still in use.
pub(super) enum Retired {
    /// A guest and its exit code.
    Guest(crate::Instance, u32),
    Host(Vec<Extern>),
}

impl Retired {
    /// The items of a host module.
    pub(super) fn host_module(items: &HashMap<String, HostItem>) -> Self {
        let stored = items.values().filter_map(|item| match item {
            HostItem::Stored(item) => Some(item.clone()),
            HostItem::Func(_) | HostItem::Const(..) | HostItem::Shared(_) => None,
        });
        Self::Host(stored.collect())
    }

    /// Gives back what memories, tables and globals hold. Afterwards the code of the instance is
    /// not entered any more, although the store may hold references to its functions.
    pub(super) fn release(&self, core: &mut StoreCore) {
        match self {
            Self::Guest(instance, exit_code) => instance.close(core, *exit_code),
            Self::Host(items) => {
                for item in items {
                    match item {
                        Extern::Memory(memory) => memory.release(core),
                        Extern::Table(table) => table.release(core),
                        Extern::Global(global) => global.release(core),
                        Extern::Func(_) | Extern::SharedMemory(_) | Extern::Tag(_) => {}
                    }
                }
            }
        }
    }
}
