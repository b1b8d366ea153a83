//! What a runtime knows of one instance, guest or host.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::error::Error;
use crate::instance::Extern;
use crate::module::Module;
use crate::types::GlobalType;
use crate::val::Val;
use crate::vm::host::HostFunc;
use crate::vm::store::StoreCore;

use super::context::Done;
use super::group::Group;
use super::instance::Handle;
use super::{Inner, Member, lock};

/// An instance of a runtime.
pub(super) struct Node<T: Send + 'static> {
    pub(super) runtime: Weak<Inner<T>>,
    /// Empty: anonymous.
    pub(super) name: String,
    /// Its number in the runtime, by order of instantiation.
    pub(super) seq: u64,
    closed: Closed,
    pub(super) items: Items,
    /// Where its store is; `None` for a host module that has nothing in a store.
    pub(super) group: Option<Arc<Group<T>>>,
    /// What it imports from, until nothing can reach it any more.
    uses: Mutex<Vec<Use<T>>>,
    users: Mutex<Users>,
    /// The handles that the host has.
    pub(super) handle: Mutex<Weak<Handle<T>>>,
    /// Rules of redirection that matched none of its imports.
    pub(super) unmatched: Vec<String>,
}

/// Exit code of an instance that was closed because a context's deadline has passed; wazero's.
pub const EXIT_DEADLINE_EXCEEDED: u32 = 0xefff_ffff;
/// Exit code of an instance that was closed because a context was cancelled; wazero's.
pub const EXIT_CANCELED: u32 = 0xffff_ffff;

/// How an instance is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    Exit(u32),
    Done(Done),
}

impl Closing {
    /// Not zero.
    pub(super) fn bits(self) -> u64 {
        match self {
            Self::Exit(code) => 1 << 32 | u64::from(code),
            Self::Done(Done::DeadlineExceeded) => 2 << 32,
            Self::Done(Done::Canceled) => 3 << 32,
        }
    }

    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        Some(match bits >> 32 {
            0 => return None,
            1 => Self::Exit(bits as u32),
            2 => Self::Done(Done::DeadlineExceeded),
            _ => Self::Done(Done::Canceled),
        })
    }

    pub(super) fn exit_code(self) -> u32 {
        match self {
            Self::Exit(code) => code,
            Self::Done(Done::DeadlineExceeded) => EXIT_DEADLINE_EXCEEDED,
            Self::Done(Done::Canceled) => EXIT_CANCELED,
        }
    }

    /// What uses of the closed instance get.
    pub(super) fn error(self) -> Error {
        match self {
            Self::Exit(code) => Error::module_closed(code),
            Self::Done(Done::DeadlineExceeded) => Error::DeadlineExceeded,
            Self::Done(Done::Canceled) => Error::Canceled,
        }
    }
}

/// How something was closed, if it was; the first time counts. Looked at without a lock.
#[derive(Debug, Default)]
pub(super) struct Closed(AtomicU64);

impl Closed {
    /// Whether this was the first time.
    pub(super) fn set(&self, closing: Closing) -> bool {
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        let first = self.0.compare_exchange(0, closing.bits(), set, fetch);
        first.is_ok()
    }

    pub(super) fn get(&self) -> Option<Closing> {
        Closing::from_bits(self.0.load(Ordering::SeqCst))
    }

    /// # Errors
    /// [`Error::Closed`], [`Error::DeadlineExceeded`], [`Error::Canceled`].
    pub(super) fn check(&self) -> Result<(), Error> {
        self.get().map_or(Ok(()), |closing| Err(closing.error()))
    }
}

/// Who keeps an instance from being retired.
#[derive(Debug, Default)]
struct Users {
    /// Instances that import from it and can still be reached, or are being made.
    count: usize,
    /// The instance is closed, so there will be no more of them.
    closed: bool,
    retired: bool,
}

/// What an instance has to offer.
pub(super) enum Items {
    Guest(crate::Instance, Module),
    Host(HashMap<String, HostItem>),
}

/// An item of a host module.
#[derive(Clone)]
pub(super) enum HostItem {
    /// Of no store: any instance can import it.
    Func(Arc<HostFunc>),
    /// A global that never changes is as good as its value: of no store either.
    Const(GlobalType, Val),
    /// Of the group's store.
    Stored(Extern),
}

impl<T: Send + 'static> Node<T> {
    pub(super) fn new(
        (runtime, name, seq): (Weak<Inner<T>>, String, u64),
        items: Items,
        group: Option<Arc<Group<T>>>,
        uses: Vec<Use<T>>,
        unmatched: Vec<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            name,
            seq,
            closed: Closed::default(),
            items,
            group,
            uses: Mutex::new(uses),
            users: Mutex::default(),
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

    /// Closes the instance; the first time counts.
    pub(super) fn close(self: &Arc<Self>, closing: Closing) {
        drop(self.end(closing));
    }

    /// [`Node::close`], but what is freed is freed by whoever drops what this returns.
    pub(super) fn end(self: &Arc<Self>, closing: Closing) -> Leftovers<T> {
        let mut leftovers = Leftovers {
            runtime: self.runtime.upgrade(),
            member: None,
            uses: Vec::new(),
            node: None,
        };
        if !self.closed.set(closing) {
            return leftovers;
        }
        leftovers.node = Some(Arc::clone(self));
        if let Some(runtime) = &leftovers.runtime {
            leftovers.member = runtime.remove(&self.name, self.seq);
        }
        if let Some(group) = &self.group {
            group.gate.stop(self.seq, closing);
            group.leave();
        }
        let retires = {
            let mut users = lock(&self.users);
            users.closed = true;
            users.retires()
        };
        if retires {
            leftovers.uses = self.retire();
        }
        leftovers
    }

    /// Has the instance closed in its store: it is closed, and no user of it can be reached. What it used
    /// is used no more.
    fn retire(&self) -> Vec<Use<T>> {
        if let Some(group) = &self.group {
            group.retire(match &self.items {
                Items::Guest(instance, _) => {
                    Retired::Guest(*instance, self.exit_code().unwrap_or_default())
                }
                Items::Host(items) => {
                    let stored = items.values().filter_map(|item| match item {
                        HostItem::Stored(item) => Some(*item),
                        HostItem::Func(_) | HostItem::Const(..) => None,
                    });
                    Retired::Host(stored.collect())
                }
            });
        }
        std::mem::take(&mut *lock(&self.uses))
    }

    fn tidy(&self) {
        if let Some(group) = &self.group {
            group.tidy();
        }
    }
}

impl Users {
    /// Whether it is time to retire the instance, which comes once.
    fn retires(&mut self) -> bool {
        let now = self.closed && self.count == 0 && !self.retired;
        self.retired |= now;
        now
    }
}

/// What is to be freed when an instance was closed. Dropping this may drop data of the host's, which may
/// do anything: so it happens where no lock is held, and not on the thread that watches deadlines.
pub(super) struct Leftovers<T: Send + 'static> {
    runtime: Option<Arc<Inner<T>>>,
    /// What the runtime knew of the instance.
    member: Option<Member<T>>,
    uses: Vec<Use<T>>,
    node: Option<Arc<Node<T>>>,
}

impl<T: Send + 'static> Drop for Leftovers<T> {
    fn drop(&mut self) {
        self.uses.clear();
        drop((self.member.take(), self.runtime.take()));
        if let Some(node) = &self.node {
            node.tidy();
        }
    }
}

/// An instance that another one imports from: held against the release of its memories.
pub(super) struct Use<T: Send + 'static>(Arc<Node<T>>);

impl<T: Send + 'static> Use<T> {
    /// # Errors
    /// Those of [`Node::check`]: what is closed gets no new users.
    pub(super) fn new(node: Arc<Node<T>>) -> Result<Self, Error> {
        let mut users = lock(&node.users);
        if users.closed {
            drop(users);
            node.check()?;
            return Err(Error::module_closed(0));
        }
        users.count += 1;
        drop(users);
        Ok(Self(node))
    }

    pub(super) fn node(&self) -> &Arc<Node<T>> {
        &self.0
    }
}

impl<T: Send + 'static> Drop for Use<T> {
    fn drop(&mut self) {
        let retires = {
            let mut users = lock(&self.0.users);
            users.count -= 1;
            users.retires()
        };
        if retires {
            let uses = self.0.retire();
            drop(uses);
            self.0.tidy();
        }
    }
}

/// An instance that nobody needs any more, in a store that goes on.
pub(super) enum Retired {
    /// With its exit code.
    Guest(crate::Instance, u32),
    Host(Vec<Extern>),
}

impl Retired {
    /// Gives the memories' pages back to the system, and lets nobody enter the instance's code any
    /// more, to which the store may hold references.
    pub(super) fn release(&self, core: &mut StoreCore) {
        match self {
            Self::Guest(instance, exit_code) => instance.close(core, *exit_code),
            Self::Host(items) => {
                for memory in items.iter().filter_map(|item| item.memory()) {
                    memory.release(core);
                }
            }
        }
    }
}
