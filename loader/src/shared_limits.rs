//! Limits that several stores share.
//!
//! A [`SharedLimits`] keeps the sums of what its members take. Members are stores, and shared
//! memories, which belong to no store: a [`Member`] says how much of the sums is for it. It asks
//! before it takes more, and gives everything back when it is dropped. The sums are behind a mutex
//! that is held only while numbers are compared and added, so that no code of guests or hosts ever
//! runs under it.

use std::sync::{Arc, Mutex};

use crate::error::Error;
use crate::limits::{ResourceLimiter, StoreLimits, within};
use crate::lock::lock;

/// Limits on what several stores and shared memories take, all together.
///
/// They hold beside the limits that each store has for itself. What counts, and when:
///
/// - The instances, memories and tables of each store that
///   [shares the limits](crate::Store::share_limits), until the store is dropped.
/// - The exceptions that each of these stores keeps, beside the first 64 KiB of each store, and in
///   blocks of 64 KiB. Together they may take as much as all memories may take, beside these.
/// - Each [`SharedMemory`](crate::SharedMemory) that was
///   [made within the limits](crate::SharedMemory::new_within), once, whoever imports it and
///   whoever makes it grow, until nobody has it any more.
///
/// Limits on single memories and tables hold for each. If growth that fails is to end calls
/// ([`trap_on_grow_failure`](crate::StoreLimitsBuilder::trap_on_grow_failure)), it does so in all
/// these stores. Clones are of the same limits.
///
/// ```
/// use precast_loader::{Engine, Error, Memory, MemoryType};
/// use precast_loader::{SharedLimits, SharedMemory, Store, StoreLimitsBuilder};
///
/// let engine = Engine::default();
/// let limits = StoreLimitsBuilder::new().total_memory_size(3 << 16).build();
/// let limits = SharedLimits::new(limits);
/// let shared = SharedMemory::new_within(&engine, MemoryType::shared(1, 9), &limits)?;
/// let mut store = Store::new(&engine, ());
/// store.share_limits(&limits);
/// Memory::new(&mut store, MemoryType::new(1, None))?;
/// assert_eq!(shared.grow(1)?, 1);
/// assert!(shared.grow(1).is_err(), "three pages are taken");
/// drop(store);
/// assert_eq!(shared.grow(1)?, 2);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SharedLimits(Arc<Mutex<Sums>>);

#[derive(Debug, Default)]
struct Sums {
    limits: StoreLimits,
    taken: Counts,
}

impl SharedLimits {
    /// Limits that nobody shares yet.
    pub fn new(limits: StoreLimits) -> Self {
        let sums = Sums {
            limits,
            taken: Counts::default(),
        };
        Self(Arc::new(Mutex::new(sums)))
    }

    /// Sets limits for later items and growth. Items that exist stay, even if they exceed the
    /// limits.
    pub fn set(&self, limits: StoreLimits) {
        lock(&self.0).limits = limits;
    }

    /// Whether these are the same limits.
    pub(crate) fn are(&self, others: &Self) -> bool {
        Arc::ptr_eq(&self.0, &others.0)
    }

    /// Whether growth that fails ends the call.
    pub(crate) fn end_calls(&self) -> bool {
        lock(&self.0).limits.ends_calls()
    }
}

/// What a member takes, or all of them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) instances: u64,
    pub(crate) memories: u64,
    pub(crate) tables: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) table_elements: u64,
    pub(crate) exception_bytes: u64,
}

impl Counts {
    /// Those of a memory with so many bytes.
    pub(crate) fn of_memory(bytes: u64) -> Self {
        Self {
            memories: 1,
            memory_bytes: bytes,
            ..Self::default()
        }
    }

    /// These counts, where those of a member change.
    fn with(&self, before: &Self, after: &Self) -> Self {
        let change = |of: fn(&Self) -> u64| {
            let others = of(self).saturating_sub(of(before));
            others.saturating_add(of(after))
        };
        Self {
            instances: change(|counts| counts.instances),
            memories: change(|counts| counts.memories),
            tables: change(|counts| counts.tables),
            memory_bytes: change(|counts| counts.memory_bytes),
            table_elements: change(|counts| counts.table_elements),
            exception_bytes: change(|counts| counts.exception_bytes),
        }
    }
}

/// Something that shares limits, and how much of the sums is for it.
#[derive(Debug)]
pub(crate) struct Member {
    limits: SharedLimits,
    counted: Counts,
}

impl Member {
    /// A member that takes nothing yet.
    pub(crate) fn new(limits: &SharedLimits) -> Self {
        Self {
            limits: limits.clone(),
            counted: Counts::default(),
        }
    }

    pub(crate) fn limits(&self) -> &SharedLimits {
        &self.limits
    }

    /// Counts `wanted` for this member from now on, if the limits allow what becomes more. The
    /// largest memory of what is new has so many bytes, and the largest table so many elements.
    ///
    /// # Errors
    /// [`Error::Limit`]; nothing has changed then.
    pub(crate) fn ask(
        &mut self,
        wanted: Counts,
        (largest_memory, largest_table): (u64, u64),
    ) -> Result<(), Error> {
        let mut sums = lock(&self.limits.0);
        let (limits, taken) = (&sums.limits, &sums.taken);
        let all = taken.with(&self.counted, &wanted);
        let check = |what, of: fn(&Counts) -> u64, limit| match of(&all) > of(taken) {
            true => within(what, of(&all), limit),
            false => Ok(()),
        };
        check(
            "instances of all stores together",
            |counts| counts.instances,
            limits.instances(),
        )?;
        check(
            "linear memories of all stores together",
            |counts| counts.memories,
            limits.memories(),
        )?;
        check(
            "bytes of all linear memories of all stores together",
            |counts| counts.memory_bytes,
            limits.total_memory_size(),
        )?;
        check(
            "tables of all stores together",
            |counts| counts.tables,
            limits.tables(),
        )?;
        check(
            "elements of all tables of all stores together",
            |counts| counts.table_elements,
            limits.total_table_elements(),
        )?;
        check(
            "bytes of all exceptions of all stores together",
            |counts| counts.exception_bytes,
            limits.total_memory_size(),
        )?;
        limits.check_memory(usize::try_from(largest_memory).unwrap_or(usize::MAX))?;
        limits.check_table(usize::try_from(largest_table).unwrap_or(usize::MAX))?;
        sums.taken = all;
        self.counted = wanted;
        Ok(())
    }

    /// Counts what this member takes now, whatever the limits are.
    pub(crate) fn settle(&mut self, taken: Counts) {
        let mut sums = lock(&self.limits.0);
        sums.taken = sums.taken.with(&self.counted, &taken);
        self.counted = taken;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.settle(Counts::default());
    }
}
