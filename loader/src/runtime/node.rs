//! What a runtime knows of one instance, guest or host.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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
use super::{Inner, lock};

/// An instance of a runtime.
pub(super) struct Node<T: Send + 'static> {
    pub(super) runtime: Weak<Inner<T>>,
    /// Empty: anonymous.
    pub(super) name: String,
    /// Its number in the runtime, by order of instantiation.
    pub(super) seq: u64,
    /// 0 while it is open, then how it was closed, see [`Closing::bits`].
    closing: AtomicU64,
    pub(super) items: Items,
    /// Where its store is; `None` for a host module that has nothing in a store.
    pub(super) group: Option<Arc<Group<T>>>,
    /// What it imports from, until nothing can reach it any more.
    uses: Mutex<Option<Uses<T>>>,
    /// Instances that import from it and can still be reached.
    users: AtomicUsize,
    retired: AtomicBool,
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
    fn bits(self) -> u64 {
        match self {
            Self::Exit(code) => 1 << 32 | u64::from(code),
            Self::Done(Done::DeadlineExceeded) => 2 << 32,
            Self::Done(Done::Canceled) => 3 << 32,
        }
    }

    fn from_bits(bits: u64) -> Option<Self> {
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
        uses: Uses<T>,
        unmatched: Vec<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            name,
            seq,
            closing: AtomicU64::new(0),
            items,
            group,
            uses: Mutex::new(Some(uses)),
            users: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            handle: Mutex::default(),
            unmatched,
        })
    }

    /// # Errors
    /// [`Error::Closed`], [`Error::DeadlineExceeded`], [`Error::Canceled`].
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.closing() {
            Some(closing) => Err(closing.error()),
            None => Ok(()),
        }
    }

    fn closing(&self) -> Option<Closing> {
        Closing::from_bits(self.closing.load(Ordering::SeqCst))
    }

    pub(super) fn exit_code(&self) -> Option<u32> {
        self.closing().map(Closing::exit_code)
    }

    /// Closes the instance; the first time counts.
    pub(super) fn close(&self, closing: Closing) {
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        let first = self.closing.compare_exchange(0, closing.bits(), set, fetch);
        if first.is_err() {
            return;
        }
        if let Some(runtime) = self.runtime.upgrade() {
            runtime.remove(&self.name, self.seq);
        }
        if let Some(group) = &self.group {
            group.stop(self.seq, closing);
            group.leave();
        }
        self.retire();
    }

    /// Closes the instance in its store if it is closed and no user of it can be reached.
    fn retire(&self) {
        let used = self.users.load(Ordering::SeqCst) != 0;
        if used || self.closing().is_none() || self.retired.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(group) = &self.group {
            group.retire(match &self.items {
                Items::Guest(instance, _) => {
                    Retired::Guest(*instance, self.exit_code().unwrap_or_default())
                }
                Items::Host(items) => {
                    let stored = items.values().filter_map(|item| match item {
                        HostItem::Stored(item) => Some(*item),
                        _ => None,
                    });
                    Retired::Host(stored.collect())
                }
            });
        }
        let uses = lock(&self.uses).take();
        drop(uses);
    }
}

/// What an instance imports from: held against the release of its memories.
pub(super) struct Uses<T: Send + 'static>(Vec<Arc<Node<T>>>);

impl<T: Send + 'static> Uses<T> {
    pub(super) fn new(nodes: Vec<Arc<Node<T>>>) -> Self {
        for node in &nodes {
            node.users.fetch_add(1, Ordering::SeqCst);
        }
        Self(nodes)
    }
}

impl<T: Send + 'static> Drop for Uses<T> {
    fn drop(&mut self) {
        for node in &self.0 {
            node.users.fetch_sub(1, Ordering::SeqCst);
            node.retire();
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
