//! What the public handles are: the number of a store, and a pointer to an item that the store
//! owns.
//!
//! A store drops its items only when it is dropped itself. So a caller who passes the store with
//! that number keeps the item alive, and the pointer is valid for as long as the store is borrowed.

use std::fmt;
use std::ptr::NonNull;

use precast_artifact::vm::{VmFuncRef, VmTag};

use crate::vm::global::GlobalValue;
use crate::vm::instance::InstanceData;
use crate::vm::memory::MemoryEntity;
use crate::vm::store::StoreCore;
use crate::vm::store_id::StoreId;
use crate::vm::table::TableEntity;

/// A kind of items that stores own.
pub(crate) trait StoreItem {
    /// The name of such an item in messages.
    const WHAT: &'static str;
}

impl StoreItem for VmFuncRef {
    const WHAT: &'static str = "a function";
}

impl StoreItem for MemoryEntity {
    const WHAT: &'static str = "a memory";
}

impl StoreItem for TableEntity {
    const WHAT: &'static str = "a table";
}

impl StoreItem for GlobalValue {
    const WHAT: &'static str = "a global";
}

impl StoreItem for VmTag {
    const WHAT: &'static str = "a tag";
}

impl StoreItem for InstanceData {
    const WHAT: &'static str = "an instance";
}

/// A handle to an item of a store. A caller who uses the handle must pass the store.
pub(crate) struct Stored<T> {
    store: StoreId,
    item: NonNull<T>,
}

impl<T> Clone for Stored<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Stored<T> {}

impl<T> PartialEq for Stored<T> {
    fn eq(&self, other: &Self) -> bool {
        self.store == other.store && self.item == other.item
    }
}

impl<T> Eq for Stored<T> {}

impl<T> fmt::Debug for Stored<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.item, self.store)
    }
}

// SAFETY: only callers who pass the store that owns the item can follow the pointer.
unsafe impl<T> Send for Stored<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Stored<T> {}

impl<T: StoreItem> Stored<T> {
    /// A handle to an item of the store `core`.
    #[inline]
    pub(crate) fn new(core: &StoreCore, item: NonNull<T>) -> Self {
        let store = core.id;
        Self { store, item }
    }

    /// The item, which lives as long as its store.
    ///
    /// # Panics
    /// If the item belongs to another store.
    #[inline]
    pub(crate) fn get(self, core: &StoreCore) -> NonNull<T> {
        if !self.belongs_to(core) {
            used_with_another_store(T::WHAT);
        }
        self.item
    }

    /// [`Stored::get`] without the check, for callers that have called it before.
    #[inline]
    pub(crate) fn get_again(self) -> NonNull<T> {
        self.item
    }

    #[inline]
    pub(crate) fn belongs_to(self, core: &StoreCore) -> bool {
        self.store == core.id
    }

    /// The item, while its store is borrowed.
    ///
    /// # Panics
    /// If the item belongs to another store.
    #[inline]
    pub(crate) fn borrow(self, core: &StoreCore) -> &T {
        // SAFETY: the store owns the item and is borrowed, so no machine code runs, and nobody has
        // an exclusive reference to the item.
        unsafe { self.get(core).as_ref() }
    }

    /// The item, while its store is borrowed exclusively.
    ///
    /// # Panics
    /// If the item belongs to another store.
    #[inline]
    pub(crate) fn borrow_mut(self, core: &mut StoreCore) -> &mut T {
        // SAFETY: as above, exclusively; items are not part of the core's own fields.
        unsafe { self.get(core).as_mut() }
    }
}

#[cold]
#[inline(never)]
fn used_with_another_store(what: &str) -> ! {
    panic!("{what} was used with a store that does not own it")
}
