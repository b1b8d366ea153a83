//! Asks the limiter of a store, and the limits that it shares with others, before an item is made
//! or grows.
//!
//! The limiter is code of the host and a part of the store's data, so no reference to the whole
//! store is held while it runs. It cannot reach the items of the store.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use precast_artifact::Artifact;
use precast_artifact::records::{FROZEN, IMPORTED};

use super::externrefs::Point;
use super::memory::MemoryEntity;
use super::shared::{GrowError, Shared};
use super::state::State;
use super::store::StoreCore;
use super::table::TableEntity;
use super::together::Together;
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

/// What the store counts together with others.
///
/// # Safety
/// `core` is valid, and nobody else uses this part of it while the result exists.
#[inline(always)]
unsafe fn together<'a>(core: *mut StoreCore) -> Option<&'a mut Together> {
    // SAFETY: by this function's contract.
    unsafe { (*core).made.as_mut()?.together.as_mut() }
}

/// Counts the present lengths of the shared memories that the store has made to grow.
///
/// # Safety
/// As for [`together`].
unsafe fn recount(core: *mut StoreCore) {
    // SAFETY: by this function's contract.
    unsafe {
        if let Some(together) = together(core) {
            together.recount(&mut (*core).usage);
        }
    }
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
        if (*core).limiter.is_none() && together(core).is_none() {
            let limits = &(*core).limits;
            totals(limits, taken(core), demand)?;
            limits.check_memory(size(demand.largest_memory))?;
            return limits.check_table(size(demand.largest_table));
        }
        for_items(core, demand, artifact, state)
    }
}

/// [`for_instance`] if the host has a limiter, or the store counts something with others.
#[cold]
unsafe fn for_items(
    core: *mut StoreCore,
    demand: &Demand,
    artifact: &Artifact<'_>,
    state: Option<&State>,
) -> Result<(), Error> {
    // SAFETY: by the caller's contract; the items are no part of what decides.
    unsafe {
        let mut judge = Judge::of(core);
        let asked = ask(core, &mut judge, demand)?;
        judge_items(&mut judge, artifact, state)?;
        asked.keep();
        Ok(())
    }
}

/// Asks for each memory and table of an instance.
fn judge_items(
    judge: &mut Judge<'_>,
    artifact: &Artifact<'_>,
    state: Option<&State>,
) -> Result<(), Error> {
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

/// A permission of the shared limits, which count the item already. Dropping it without
/// [`Asked::keep`] corrects their count, because the item was not made.
struct Asked(*mut StoreCore);

impl Asked {
    /// The item was made, or its maker corrects the count if it was not.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // SAFETY: by the contracts of the functions that make this. The host's code that decides
        // has returned, or has panicked.
        unsafe { (*self.0).settle() }
    }
}

/// Compares the totals with the store's limits, and then with those that it shares.
///
/// # Safety
/// As for [`for_instance`], until the result is dropped; `judge` is what decides for the store.
unsafe fn ask(
    core: *mut StoreCore,
    judge: &mut Judge<'_>,
    demand: &Demand,
) -> Result<Asked, Error> {
    // SAFETY: by this function's contract.
    unsafe {
        recount(core);
        let taken = taken(core);
        totals(judge.as_limiter(), taken, demand)?;
        if let Some(together) = together(core) {
            together.ask(taken, demand)?;
        }
        Ok(Asked(core))
    }
}

/// Asks for a memory that the host makes. If it is not made then, the store is to
/// [`settle`](StoreCore::settle).
///
/// # Errors
/// As for [`for_instance`].
///
/// # Safety
/// As for [`for_instance`].
pub(crate) unsafe fn for_memory(core: *mut StoreCore, ty: MemoryType) -> Result<Demand, Error> {
    let demand = Demand::of_memory(ty);
    // SAFETY: by this function's contract.
    unsafe {
        let mut judge = Judge::of(core);
        let asked = ask(core, &mut judge, &demand)?;
        judge.memory(0, demand.memory_bytes, ty.max.map(|max| ty.bytes(max)))?;
        asked.keep();
    }
    Ok(demand)
}

/// Asks for a table that the host makes, in the same way.
///
/// # Errors
/// As for [`for_instance`].
///
/// # Safety
/// As for [`for_instance`].
pub(crate) unsafe fn for_table(core: *mut StoreCore, ty: TableType) -> Result<Demand, Error> {
    let demand = Demand::of_table(ty);
    // SAFETY: by this function's contract.
    unsafe {
        let mut judge = Judge::of(core);
        let asked = ask(core, &mut judge, &demand)?;
        judge.table(0, ty.min, ty.max)?;
        asked.keep();
    }
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
    unsafe {
        if exception_fits(core, bytes).is_ok() {
            return Ok(());
        }
        (*core).collect_externrefs_early(Point::Shim);
        let fitted = exception_fits(core, bytes);
        if fitted.is_err() {
            // This ends the call, so the next call can look again.
            (*core).allow_early_collection();
        }
        fitted
    }
}

/// Compares the exceptions of the store and another one with its limits, and those that it shares.
///
/// # Safety
/// As for [`for_instance`].
unsafe fn exception_fits(core: *mut StoreCore, bytes: usize) -> Result<(), Error> {
    // SAFETY: by this function's contract.
    unsafe {
        let total = (*core).exception_bytes().saturating_add(bytes) as u64;
        let max = Judge::of(core).as_limiter().total_memory_size();
        within(ALL_EXCEPTIONS, total, max)?;
        let taken = taken(core);
        match together(core) {
            Some(together) => together.ask_for_exceptions(taken, total),
            None => Ok(()),
        }
    }
}

/// Adds `delta` pages to a memory if it may grow, and returns the number of pages before. A store
/// judges a shared memory by its whole length, whoever has made it so long.
///
/// # Safety
/// As for [`for_instance`]; the store owns the memory.
pub(crate) unsafe fn grow_memory(
    core: *mut StoreCore,
    mut memory: NonNull<MemoryEntity>,
    delta: u64,
) -> Result<u64, Denied> {
    // SAFETY: by this function's contract, here and below; the memory is no part of the host's
    // data, which the limiter is.
    unsafe {
        let ty = memory.as_ref().ty();
        let max_bytes = ty.max.map(|max| ty.bytes(max));
        loop {
            let current = memory.as_ref().len() as u64;
            if delta == 0 {
                return Ok(ty.pages(current));
            }
            let pages = ty.pages(current).saturating_add(delta);
            let max = memory.as_ref().max_pages();
            if pages > max {
                let error = limit_error("pages of a linear memory", pages, max);
                return Err(memory_failed(core, error));
            }
            let desired = ty.bytes(pages);
            let shared = memory.as_ref().shared().map(Arc::clone);
            recount(core);
            let counted = match &shared {
                None => current,
                Some(shared) => (*core).counted(shared),
            };
            // More may count already, if another thread has just made the memory longer.
            let others = (*core).usage.memory_bytes.saturating_sub(counted);
            let total = others.saturating_add(desired);
            let max = Judge::of(core).as_limiter().total_memory_size();
            if let Err(error) = within(ALL_MEMORIES, total, max) {
                return Err(memory_failed(core, error));
            }
            let demand = Demand {
                memory_bytes: desired.saturating_sub(counted),
                largest_memory: desired,
                ..Demand::default()
            };
            let asked = match ask_to_grow(core, shared.as_deref(), &demand) {
                Ok(asked) => asked,
                Err(error) => return Err(memory_failed(core, error)),
            };
            let judged = Judge::of(core).memory(current, desired, max_bytes);
            judged.map_err(|denied| denied_in(core, denied))?;
            match memory.as_mut().grow(current, desired) {
                Ok(()) => {
                    asked.keep();
                    (*core).usage.memory_bytes = total;
                    if let Some(shared) = &shared {
                        (*core).note_growth(shared, desired);
                    }
                    return Ok(ty.pages(current));
                }
                // Another thread has grown the memory in the meantime, so the limiter was asked
                // about a growth that no longer applies.
                Err(GrowError::Changed) => drop(asked),
                Err(GrowError::Refused(error)) => {
                    drop(asked);
                    return Err(memory_failed(core, error));
                }
            }
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
    // SAFETY: by this function's contract, here and below; the entity is no part of the host's
    // data, which the limiter is.
    unsafe {
        let entity = table.as_mut();
        let current = entity.len() as u64;
        if delta == 0 {
            return Ok(current);
        }
        let desired = current.saturating_add(delta);
        if desired > entity.max_elements() {
            let error = limit_error("elements of a table", desired, entity.max_elements());
            return Err(table_failed(core, error));
        }
        let used = (*core).usage.table_elements;
        let total = used.saturating_add(delta);
        let max = Judge::of(core).as_limiter().total_table_elements();
        if let Err(error) = within(ALL_TABLES, total, max) {
            return Err(table_failed(core, error));
        }
        let demand = Demand {
            table_elements: delta,
            largest_table: desired,
            ..Demand::default()
        };
        let asked = match ask_to_grow(core, None, &demand) {
            Ok(asked) => asked,
            Err(error) => return Err(table_failed(core, error)),
        };
        let judged = Judge::of(core).table(current, desired, entity.max());
        judged.map_err(|denied| denied_in(core, denied))?;
        if let Err(error) = entity.grow(delta, init) {
            drop(asked);
            return Err(table_failed(core, error));
        }
        asked.keep();
        (*core).usage.table_elements = total;
        Ok(current)
    }
}

/// Asks the limits that the store shares. A memory that was made within them asks by itself.
///
/// # Safety
/// As for [`for_instance`], until the result is dropped.
unsafe fn ask_to_grow(
    core: *mut StoreCore,
    shared: Option<&Shared>,
    demand: &Demand,
) -> Result<Asked, Error> {
    // SAFETY: by this function's contract.
    let (taken, together) = unsafe { (taken(core), together(core)) };
    if let Some(together) = together
        && !shared.is_some_and(|shared| together.has_in_common(shared))
    {
        together.ask(taken, demand)?;
    }
    Ok(Asked(core))
}

/// Tells the limiter that a memory did not grow. Its answer decides what happens, unless the limits
/// that the store shares end the call.
///
/// # Safety
/// As for [`for_instance`].
#[cold]
unsafe fn memory_failed(core: *mut StoreCore, error: Error) -> Denied {
    // SAFETY: by this function's contract.
    unsafe {
        match ends_calls(core) {
            true => Denied::Ended(error),
            false => Judge::of(core).memory_failed(error),
        }
    }
}

/// [`memory_failed`] for a table.
///
/// # Safety
/// As for [`for_instance`].
#[cold]
unsafe fn table_failed(core: *mut StoreCore, error: Error) -> Denied {
    // SAFETY: by this function's contract.
    unsafe {
        match ends_calls(core) {
            true => Denied::Ended(error),
            false => Judge::of(core).table_failed(error),
        }
    }
}

/// What a denial of the store's own is, if the limits that it shares may end the call.
///
/// # Safety
/// As for [`for_instance`].
#[cold]
unsafe fn denied_in(core: *mut StoreCore, denied: Denied) -> Denied {
    // SAFETY: by this function's contract.
    let ends = unsafe { ends_calls(core) };
    match denied {
        Denied::Failed(error) if ends => Denied::Ended(error),
        denied => denied,
    }
}

/// Whether growth that fails ends the call, because of the limits that the store shares.
///
/// # Safety
/// As for [`for_instance`].
unsafe fn ends_calls(core: *mut StoreCore) -> bool {
    // SAFETY: by this function's contract.
    let together = unsafe { together(core) };
    together.is_some_and(|together| together.ends_calls())
}
