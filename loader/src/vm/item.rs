//! An item of any kind, as handles point to it and instances import it.

use std::ptr::NonNull;
use std::sync::Arc;

use precast_artifact::vm::{VmFuncRef, VmTag};

use super::host::HostFunc;
use super::memory::MemoryEntity;
use super::shared::Shared;
use super::table::TableEntity;
use crate::types::GlobalType;

/// An item of a store, as the public handles point to it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item {
    Func(NonNull<VmFuncRef>),
    /// A memory, which may be one that other threads use too.
    Memory(NonNull<MemoryEntity>),
    Table(NonNull<TableEntity>),
    /// The place of the value.
    Global(NonNull<u8>, GlobalType),
    Tag(NonNull<VmTag>),
}

/// What an import of an instance is linked to.
pub(crate) enum RawImport<'a> {
    /// A host function of no store yet.
    Host(&'a Arc<HostFunc>),
    /// A memory of several threads.
    SharedMemory(&'a Arc<Shared>),
    /// An item of the instance's store.
    Item(Item),
}

impl RawImport<'_> {
    /// The type id of a function; 0 for anything else.
    pub(super) fn type_id(&self) -> u64 {
        match self {
            Self::Host(host) => host.type_id(),
            // SAFETY: the store that is making the instance owns the function.
            Self::Item(Item::Func(func_ref)) => unsafe { func_ref.as_ref().type_id },
            Self::Item(_) | Self::SharedMemory(_) => 0,
        }
    }
}
