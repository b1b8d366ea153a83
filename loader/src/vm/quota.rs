//! Asks the limiter of a store before an item is made or grows.
//!
//! The limiter is code of the host and a part of the store's data, so no reference to the whole
//! store is held while it runs. It cannot reach the items of the store.

use std::marker::PhantomData;
use std::ptr::NonNull;

use precast_artifact::Artifact;
use precast_artifact::records::{FROZEN, IMPORTED};

use super::externrefs::Point;
use super::memory::MemoryEntity;
use super::shared::GrowError;
use super::state::State;
use super::store::StoreCore;
use super::table::TableEntity;
use super::usage::{Demand, Usage};
use crate::error::Error;
use crate::limits::{ResourceLimiter, StoreLimits, limit_error, within};
use crate::types::{MemoryType, TableType, maximum, memory_type};

/// Why an item does not grow, and what happens then.
pub(crate) enum Denied {
    /// Wasm code goes on with -1.
    Failed(Error),
    /// The call ends.
    Ended(Error),
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Failed(error) | Denied::Ended(error) => error,
        }
    }
}

/// What decides: the limits of the store, or the host's limiter.
enum Judge<'a> {
    /// The store's own limits. Their errors name the limit.
    Limits(&'a mut StoreLimits),
    Limiter(&'a mut dyn ResourceLimiter),
}

impl Judge<'_> {
    /// What decides for a store.
    ///
    /// # Safety
    /// `core` is the pointer that machine code uses. Nobody else uses the limits and the data of
    /// its store while the result exists.
    unsafe fn of<'a>(core: *mut StoreCore) -> Judge<'a> {
        // SAFETY: by this function's contract.
        unsafe {
            match (*core).limiter {
                None => Judge::Limits(&mut (*core).limits),
                Some(find) => Judge::Limiter(find(core, PhantomData)),
            }
        }
    }

    fn as_limiter(&mut self) -> &mut dyn ResourceLimiter {
        match self {
            Self::Limits(limits) => *limits,
            Self::Limiter(limiter) => *limiter,
        }
    }

    fn total_memory_size(&mut self) -> usize {
        match self {
            Self::Limits(limits) => limits.total_memory_size(),
            Self::Limiter(limiter) => limiter.total_memory_size(),
        }
    }

    fn memory(&mut self, current: u64, desired: u64, max: Option<u64>) -> Result<(), Denied> {
        let (current, desired, max) = (size(current), size(desired), max.map(size));
        let allowed = match self {
            Self::Limits(limits) => match limits.check_memory(desired) {
                Ok(()) => return Ok(()),
                Err(error) => return Err(self.memory_failed(error)),
            },
            Self::Limiter(limiter) => limiter.memory_growing(current, desired, max),
        };
        refused("bytes of a linear memory", desired, allowed)
    }

    fn memory_failed(&mut self, error: Error) -> Denied {
        let copy = copy_of(&error);
        match self.as_limiter().memory_grow_failed(copy) {
            Ok(()) => Denied::Failed(error),
            Err(error) => Denied::Ended(error),
        }
    }

    fn table(&mut self, current: u64, desired: u64, max: Option<u64>) -> Result<(), Denied> {
        let (current, desired, max) = (size(current), size(desired), max.map(size));
        let allowed = match self {
            Self::Limits(limits) => match limits.check_table(desired) {
                Ok(()) => return Ok(()),
                Err(error) => return Err(self.table_failed(error)),
            },
            Self::Limiter(limiter) => limiter.table_growing(current, desired, max),
        };
        refused("elements of a table", desired, allowed)
    }

    fn table_failed(&mut self, error: Error) -> Denied {
        let copy = copy_of(&error);
        match self.as_limiter().table_grow_failed(copy) {
            Ok(()) => Denied::Failed(error),
            Err(error) => Denied::Ended(error),
        }
    }
}

/// Turns the answer of the host's limiter into a result.
fn refused(what: &'static str, desired: usize, allowed: Result<bool, Error>) -> Result<(), Denied> {
    match allowed {
        Ok(true) => Ok(()),
        Ok(false) => Err(Denied::Failed(Error::Refused {
            what,
            wanted: desired as u64,
        })),
        Err(error) => Err(Denied::Ended(error)),
    }
}

/// A number of bytes or elements as a `usize`; the largest one if it does not fit.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A copy of an error that growth failed with, for the limiter.
fn copy_of(error: &Error) -> Error {
    match error {
        Error::Limit {
            what,
            wanted,
            limit,
        } => limit_error(what, *wanted, *limit),
        Error::Memory { action, source } => Error::Memory {
            action: action.clone(),
            source: match source.raw_os_error() {
                Some(code) => std::io::Error::from_raw_os_error(code),
                None => source.kind().into(),
            },
        },
        other => Error::host(other.to_string()),
    }
}

/// Compares `limits` with the counts and totals that the store would have with `demand`.
#[inline(always)]
fn totals(
    limits: &(impl ResourceLimiter + ?Sized),
    (instances, usage): (usize, Usage),
    demand: &Demand,
) -> Result<(), Error> {
    let Usage {
        memories,
        tables,
        memory_bytes,
        table_elements,
    } = usage;
    let instances = instances + demand.instances;
    if demand.instances > 0 {
        within("instances of a store", instances as u64, limits.instances())?;
    }
    if demand.memories > 0 {
        let count = (memories + demand.memories) as u64;
        within("linear memories of a store", count, limits.memories())?;
        let bytes = memory_bytes.saturating_add(demand.memory_bytes);
        within(ALL_MEMORIES, bytes, limits.total_memory_size())?;
    }
    if demand.tables > 0 {
        let count = (tables + demand.tables) as u64;
        within("tables of a store", count, limits.tables())?;
        let elements = table_elements.saturating_add(demand.table_elements);
        within(ALL_TABLES, elements, limits.total_table_elements())?;
    }
    Ok(())
}

/// The number of instances, and what the other items take.
///
/// # Safety
/// `core` is valid.
#[inline(always)]
unsafe fn taken(core: *const StoreCore) -> (usize, Usage) {
    // SAFETY: by this function's contract.
    unsafe { ((*core).instances.len(), (*core).usage) }
}

const ALL_MEMORIES: &str = "bytes of all linear memories of a store";
const ALL_EXCEPTIONS: &str = "bytes of all exceptions of a store";
const ALL_TABLES: &str = "elements of all tables of a store";

/// Asks for an instance of a module and its items.
///
/// # Errors
/// [`Error::Limit`], [`Error::Refused`], what the limiter fails with.
///
/// # Safety
/// `core` is the pointer that machine code uses, of a store that is used by nobody else until this
/// returns.
#[inline]
pub(crate) unsafe fn for_instance(
    core: *mut StoreCore,
    demand: &Demand,
    artifact: &Artifact<'_>,
    state: Option<&State>,
) -> Result<(), Error> {
    // SAFETY: by this function's contract.
    unsafe {
        if (*core).limiter.is_none() {
            let limits = &(*core).limits;
            totals(limits, taken(core), demand)?;
            limits.check_memory(size(demand.largest_memory))?;
            return limits.check_table(size(demand.largest_table));
        }
        for_items(core, demand, artifact, state)
    }
}

/// [`for_instance`] if the host has a limiter.
#[cold]
unsafe fn for_items(
    core: *mut StoreCore,
    demand: &Demand,
    artifact: &Artifact<'_>,
    state: Option<&State>,
) -> Result<(), Error> {
    // SAFETY: by the caller's contract.
    let (mut judge, taken) = unsafe { (Judge::of(core), taken(core)) };
    totals(judge.as_limiter(), taken, demand)?;
    let own = |flags: u32| flags & IMPORTED == 0;
    let memories = (0_u32..).zip(artifact.memories());
    for (own, (i, _)) in memories.filter(|(_, r)| own(r.flags)).enumerate() {
        if let Some(ty) = memory_type(artifact, i) {
            let pages = state.map_or(ty.min, |state| state.pages(own));
            judge.memory(0, ty.bytes(pages), ty.max.map(|max| ty.bytes(max)))?;
        }
    }
    let tables = artifact.tables().iter();
    for (own, record) in tables.filter(|r| own(r.flags)).enumerate() {
        if record.flags & FROZEN == 0 {
            let elements = state.map_or(record.min, |state| state.elements(own));
            judge.table(0, elements, maximum(record.max))?;
        }
    }
    Ok(())
}

/// Asks for a memory that the host makes.
///
/// # Errors
/// As for [`for_instance`].
///
/// # Safety
/// As for [`for_instance`].
pub(crate) unsafe fn for_memory(core: *mut StoreCore, ty: MemoryType) -> Result<Demand, Error> {
    let demand = Demand::of_memory(ty);
    // SAFETY: by this function's contract.
    let (mut judge, taken) = unsafe { (Judge::of(core), taken(core)) };
    totals(judge.as_limiter(), taken, &demand)?;
    judge.memory(0, demand.memory_bytes, ty.max.map(|max| ty.bytes(max)))?;
    Ok(demand)
}

/// Asks for a table that the host makes.
///
/// # Errors
/// As for [`for_instance`].
///
/// # Safety
/// As for [`for_instance`].
pub(crate) unsafe fn for_table(core: *mut StoreCore, ty: TableType) -> Result<Demand, Error> {
    let demand = Demand::of_table(ty);
    // SAFETY: by this function's contract.
    let (mut judge, taken) = unsafe { (Judge::of(core), taken(core)) };
    totals(judge.as_limiter(), taken, &demand)?;
    judge.table(0, ty.min, ty.max)?;
    Ok(demand)
}

/// Asks for an exception of `bytes` bytes that machine code throws.
///
/// # Errors
/// [`Error::Limit`].
///
/// # Safety
/// As for [`for_instance`]. The machine code called a shim, from which this is called.
pub(crate) unsafe fn for_exception(core: *mut StoreCore, bytes: usize) -> Result<(), Error> {
    // SAFETY: by this function's contract.
    let (max, core) = unsafe { (Judge::of(core).total_memory_size(), &mut *core) };
    let fits = |core: &StoreCore| {
        let total = core.exception_bytes().saturating_add(bytes);
        within(ALL_EXCEPTIONS, total as u64, max)
    };
    if fits(core).is_err() {
        core.collect_externrefs_early(Point::Shim);
    }
    let fitted = fits(core);
    if fitted.is_err() {
        // This ends the call, so the next call can look again.
        core.allow_early_collection();
    }
    fitted
}

/// Adds `delta` pages to a memory if it may grow, and returns the number of pages before. A store
/// counts what its own code and host add to a shared memory.
///
/// # Safety
/// As for [`for_instance`]; the store owns the memory.
pub(crate) unsafe fn grow_memory(
    core: *mut StoreCore,
    mut memory: NonNull<MemoryEntity>,
    delta: u64,
) -> Result<u64, Denied> {
    // SAFETY: by this function's contract; the entity is no part of the host's data, which the
    // limiter is.
    let (mut judge, entity) = unsafe { (Judge::of(core), memory.as_mut()) };
    let ty = entity.ty();
    loop {
        let current = entity.len() as u64;
        if delta == 0 {
            return Ok(ty.pages(current));
        }
        let pages = ty.pages(current).saturating_add(delta);
        if pages > entity.max_pages() {
            let what = "pages of a linear memory";
            return Err(judge.memory_failed(limit_error(what, pages, entity.max_pages())));
        }
        let desired = ty.bytes(pages);
        // SAFETY: as above.
        let used = unsafe { (*core).usage.memory_bytes };
        let total = used.saturating_add(desired - current);
        let max = judge.as_limiter().total_memory_size();
        if let Err(error) = within(ALL_MEMORIES, total, max) {
            return Err(judge.memory_failed(error));
        }
        judge.memory(current, desired, ty.max.map(|max| ty.bytes(max)))?;
        match entity.grow(current, desired) {
            Ok(()) => {
                // SAFETY: as above.
                unsafe { (*core).usage.memory_bytes = total };
                return Ok(ty.pages(current));
            }
            // Another thread was faster, so that the limiter has judged another growth.
            Err(GrowError::Changed) => {}
            Err(GrowError::Refused(error)) => return Err(judge.memory_failed(error)),
        }
    }
}

/// Adds `delta` elements to a table if it may grow, and returns the number of elements before.
///
/// # Safety
/// As for [`for_instance`]; the store owns the table.
pub(crate) unsafe fn grow_table(
    core: *mut StoreCore,
    mut table: NonNull<TableEntity>,
    delta: u64,
    init: u64,
) -> Result<u64, Denied> {
    // SAFETY: by this function's contract; the entity is no part of the host's data, which the
    // limiter is.
    let (mut judge, entity) = unsafe { (Judge::of(core), table.as_mut()) };
    let current = entity.len() as u64;
    if delta == 0 {
        return Ok(current);
    }
    let desired = current.saturating_add(delta);
    if desired > entity.max_elements() {
        let what = "elements of a table";
        return Err(judge.table_failed(limit_error(what, desired, entity.max_elements())));
    }
    // SAFETY: as above.
    let used = unsafe { (*core).usage.table_elements };
    let total = used.saturating_add(delta);
    let max = judge.as_limiter().total_table_elements();
    if let Err(error) = within(ALL_TABLES, total, max) {
        return Err(judge.table_failed(error));
    }
    judge.table(current, desired, entity.max())?;
    if let Err(error) = entity.grow(delta, init) {
        return Err(judge.table_failed(error));
    }
    // SAFETY: as above.
    unsafe { (*core).usage.table_elements = total };
    Ok(current)
}
