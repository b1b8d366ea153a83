//! Reports of a store to the limits that it shares, and to what it counts
//! [together](super::together) with others: its usage after something was given back, and the
//! growth of a shared memory.

use std::sync::Arc;

use super::memory::MemoryEntity;
use super::shared::Shared;
use super::store::StoreCore;
use crate::shared_limits::SharedLimits;

impl StoreCore {
    /// Shares limits with others from now on.
    pub(crate) fn share_limits(&mut self, limits: &SharedLimits) {
        let exceptions = self.exception_bytes() as u64;
        let together = self.made_mut().together.get_or_insert_default();
        together.share_limits(limits, exceptions);
        self.settle();
    }

    /// Reports the store's usage to the limits that it shares, after an item was given back, or an
    /// allowed item was not made.
    #[inline]
    pub(crate) fn settle(&mut self) {
        let taken = (self.instances.len(), self.usage);
        let made = self.made.as_mut();
        if let Some(together) = made.and_then(|made| made.together.as_mut()) {
            together.settle(taken);
        }
    }

    /// About how many bytes the exceptions take that the store keeps.
    pub(super) fn exception_bytes(&self) -> usize {
        let refs = self.externrefs.as_ref();
        refs.map_or(0, |refs| refs.exception_bytes())
    }

    /// Tells the limits that the store shares which exceptions a collection has left.
    pub(super) fn settle_exceptions(&mut self) {
        let exceptions = self.exception_bytes() as u64;
        let made = self.made.as_mut();
        if let Some(together) = made.and_then(|made| made.together.as_mut())
            && together.forget_exceptions(exceptions)
        {
            self.settle();
        }
    }

    /// Number of bytes that the usage of this store counts for a shared memory.
    pub(super) fn counted(&self, shared: &Arc<Shared>) -> u64 {
        let made = self.made.as_ref();
        let together = made.and_then(|made| made.together.as_ref());
        if let Some(counted) = together.and_then(|together| together.counted(shared)) {
            return counted;
        }
        let is_it = |memory: &MemoryEntity| memory.shared().is_some_and(|s| Arc::ptr_eq(s, shared));
        let mut instances = self.instances.iter();
        match instances.any(|instance| instance.memories.iter().any(is_it)) {
            // An instance that defines the memory has counted its first pages.
            true => shared.ty().bytes(shared.ty().min),
            false => 0,
        }
    }

    pub(super) fn note_growth(&mut self, shared: &Arc<Shared>, bytes: u64) {
        let together = self.made_mut().together.get_or_insert_default();
        together.note_growth(shared, bytes);
    }
}
