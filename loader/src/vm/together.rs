//! What a store counts together with others: shared memories, and shared limits.
//!
//! The first pages of a shared memory count in the store whose instance defines it, until they are
//! released because only closed instances of the store have it ([`close`](super::close)). From the
//! first time that code or the host makes a shared memory grow through a store, it counts there
//! with its whole length, whichever thread has added to that. A store that only imports a shared
//! memory does not count it. If the memory was made within the limits that the store shares, it
//! counts in these limits itself, and not as a part of the store once more.
//!
//! Exceptions count in the shared limits by blocks, so that few throws ask. The first block of each
//! store is free: a thread that throws for the first time has nothing that it could drop when the
//! garbage of the others fills the limits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::shared::Shared;
use super::usage::{Demand, Usage};
use crate::error::Error;
use crate::shared_limits::{Counts, Member, SharedLimits};

/// Number of bytes of exceptions that a store may have before it asks the shared limits, and asks
/// for at once from then on.
const BLOCK: u64 = 64 << 10;

/// What few stores have.
#[derive(Default)]
pub(crate) struct Together {
    /// The shared memories that the store has made to grow, with the bytes that its usage has for
    /// each.
    grown: Vec<(Arc<Shared>, u64)>,
    /// What closed instances of the store have of shared memories. They keep these memories.
    unused: HashMap<*const Shared, Unused>,
    /// Bytes of exceptions that the shared limits count: whole blocks, beside the first one.
    exceptions: u64,
    member: Option<Member>,
}

/// What closed instances of a store have of a shared memory.
#[derive(Debug, Default)]
struct Unused {
    handles: usize,
    /// The bytes that the usage has for its first pages, if one of them defines it.
    bytes: Option<u64>,
}

/// The bytes that the shared limits count for so many bytes of exceptions.
fn blocks(bytes: u64) -> u64 {
    bytes.saturating_sub(BLOCK).next_multiple_of(BLOCK)
}

/// What a store takes, as the limits that it shares count it. `grown` are the shared memories that
/// the store has made to grow, and `exceptions` the bytes that count for exceptions.
fn counts(
    grown: &[(Arc<Shared>, u64)],
    exceptions: u64,
    limits: &SharedLimits,
    (instances, usage): (usize, Usage),
) -> Counts {
    let own = grown.iter().filter(|(shared, _)| shared.is_within(limits));
    let elsewhere: u64 = own.map(|(_, bytes)| bytes).sum();
    Counts {
        instances: instances as u64,
        memories: usage.memories as u64,
        tables: usage.tables as u64,
        memory_bytes: usage.memory_bytes.saturating_sub(elsewhere),
        table_elements: usage.table_elements,
        exception_bytes: exceptions,
    }
}

impl Together {
    /// Asks the shared limits, if there are any, for more than a store takes now. The demand counts
    /// as taken until the store [settles](Together::settle) what it takes.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub(super) fn ask(&mut self, taken: (usize, Usage), demand: &Demand) -> Result<(), Error> {
        let Some(member) = &mut self.member else {
            return Ok(());
        };
        let mut wanted = counts(&self.grown, self.exceptions, member.limits(), taken);
        let more = |count: &mut u64, by: u64| *count = count.saturating_add(by);
        more(&mut wanted.instances, demand.instances as u64);
        more(&mut wanted.memories, demand.memories as u64);
        more(&mut wanted.tables, demand.tables as u64);
        more(&mut wanted.memory_bytes, demand.memory_bytes);
        more(&mut wanted.table_elements, demand.table_elements);
        let largest = (demand.largest_memory, demand.largest_table);
        member.ask(wanted, largest)
    }

    /// Asks the shared limits, if there are any, for exceptions of so many bytes in all.
    ///
    /// # Errors
    /// [`Error::Limit`].
    #[inline]
    pub(super) fn ask_for_exceptions(
        &mut self,
        taken: (usize, Usage),
        bytes: u64,
    ) -> Result<(), Error> {
        match bytes > self.exceptions + BLOCK {
            true => self.ask_for_blocks(taken, blocks(bytes)),
            false => Ok(()),
        }
    }

    #[cold]
    fn ask_for_blocks(&mut self, taken: (usize, Usage), wanted: u64) -> Result<(), Error> {
        if let Some(member) = &mut self.member {
            let wanted = counts(&self.grown, wanted, member.limits(), taken);
            member.ask(wanted, (0, 0))?;
        }
        self.exceptions = wanted;
        Ok(())
    }

    /// Notes that exceptions take only so many bytes now. Returns whether fewer count.
    pub(super) fn forget_exceptions(&mut self, bytes: u64) -> bool {
        let before = self.exceptions;
        self.exceptions = before.min(blocks(bytes));
        self.exceptions < before
    }

    /// Whether growth that fails ends the call, because of the shared limits.
    pub(super) fn ends_calls(&self) -> bool {
        let member = self.member.as_ref();
        member.is_some_and(|member| member.limits().end_calls())
    }

    /// Shares limits with others from now on.
    pub(super) fn share_limits(&mut self, limits: &SharedLimits, exceptions: u64) {
        self.exceptions = blocks(exceptions);
        self.member = Some(Member::new(limits));
    }

    /// Tells the shared limits what the store takes now.
    pub(super) fn settle(&mut self, taken: (usize, Usage)) {
        if let Some(member) = &mut self.member {
            member.settle(counts(&self.grown, self.exceptions, member.limits(), taken));
        }
    }

    /// Counts the present lengths of the shared memories that the store has made to grow. Other
    /// threads may have added to them.
    pub(super) fn recount(&mut self, usage: &mut Usage) {
        for (shared, counted) in &mut self.grown {
            let bytes = shared.len() as u64;
            usage.resize((*counted, 0), (bytes, 0));
            *counted = bytes;
        }
    }

    /// The bytes that the usage has for a shared memory that the store has made to grow, or that a
    /// closed instance defines.
    pub(super) fn counted(&self, shared: &Arc<Shared>) -> Option<u64> {
        let mut grown = self.grown.iter();
        let found = grown.find(|(other, _)| Arc::ptr_eq(other, shared));
        let unused = || self.unused.get(&Arc::as_ptr(shared))?.bytes;
        found.map(|(_, counted)| *counted).or_else(unused)
    }

    /// Notes that the store has made a shared memory so many bytes long.
    pub(super) fn note_growth(&mut self, shared: &Arc<Shared>, bytes: u64) {
        let mut grown = self.grown.iter_mut();
        match grown.find(|(other, _)| Arc::ptr_eq(other, shared)) {
            Some((_, counted)) => *counted = bytes,
            None => self.grown.push((Arc::clone(shared), bytes)),
        }
    }

    /// Notes that a closed instance has a handle of a shared memory, which is its own or imported.
    /// The instance keeps the handle and does not use it any more. Gives the pages back if nobody
    /// else has the memory, and returns how many bytes the usage has for it, which count no more.
    pub(super) fn give_up(&mut self, shared: &Arc<Shared>, is_own: bool) -> u64 {
        let unused = self.unused.entry(Arc::as_ptr(shared)).or_default();
        unused.handles += 1;
        if is_own {
            let ty = shared.ty();
            unused.bytes = Some(ty.bytes(ty.min));
        }
        let mut grown = self.grown.iter();
        let grown = grown.position(|(other, _)| Arc::ptr_eq(other, shared));
        if Arc::strong_count(shared) > unused.handles + usize::from(grown.is_some()) {
            return 0;
        }
        // What another thread did before it dropped its handle is done before the pages go.
        fence(Ordering::Acquire);
        shared.release();
        let first = unused.bytes.as_mut().map_or(0, std::mem::take);
        grown.map_or(first, |grown| self.grown.swap_remove(grown).1)
    }

    /// Whether a shared memory was made within the limits that the store shares.
    pub(super) fn has_in_common(&self, shared: &Shared) -> bool {
        let member = self.member.as_ref();
        member.is_some_and(|member| shared.is_within(member.limits()))
    }
}
