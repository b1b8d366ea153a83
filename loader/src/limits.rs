//! Limits on what the instances of a store may take.
//!
//! A store counts what its items take (`Usage`): linear memories and their bytes, tables and their
//! elements, instances. Before an item is made or grows, [`quota`](crate::vm::quota) compares the
//! counts with the [`StoreLimits`] of the store, or asks the host's own [`ResourceLimiter`]
//! instead.
//!
//! A store counts what wasm code can reach: the length of a memory, and neither its address space
//! nor the pages that were touched. Frozen tables, which are in the artifact, are not counted.
//! A memory that moves when it grows takes its pages along, so it counts once.

use crate::error::Error;

/// Default maximum number of items of one kind in a store, as in Wasmtime.
const DEFAULT_ITEMS: usize = 10_000;

/// Default maximum number of bytes of all linear memories of a store: four memories that are as
/// large as 32-bit addresses allow.
const DEFAULT_TOTAL_MEMORY: usize = 16 << 30;

/// Default maximum number of elements of all tables of a store, which take 80 MB.
const DEFAULT_TOTAL_ELEMENTS: usize = 10_000_000;

/// A host's own decisions about what the instances of a store may take, see
/// [`Store::limiter`](crate::Store::limiter).
///
/// The methods are Wasmtime's, except for the two totals. The store counts the items of instances
/// and of the host, whether wasm code or the host makes them grow. The memories of a closed
/// instance count until their pages are released.
///
/// A limiter runs in the middle of the guest's call. If it returns an error or panics, the call
/// ends with the error or the panic, as if a host function had done so.
///
/// ```
/// use precast_loader::{Engine, Error, Memory, MemoryType, ResourceLimiter, Store};
///
/// /// Bytes that are left for all memories.
/// struct Budget(usize);
///
/// impl ResourceLimiter for Budget {
///     fn memory_growing(
///         &mut self,
///         current: usize,
///         desired: usize,
///         _: Option<usize>,
///     ) -> Result<bool, Error> {
///         let left = self.0.checked_sub(desired - current);
///         self.0 = left.unwrap_or(self.0);
///         Ok(left.is_some())
///     }
///
///     fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, Error> {
///         Ok(true)
///     }
/// }
///
/// let mut store = Store::new(&Engine::default(), Budget(1 << 20));
/// store.limiter(|budget| budget);
/// let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
/// assert!(memory.grow(&mut store, 16).is_err());
/// assert_eq!(memory.grow(&mut store, 15)?, 1);
/// # Ok::<(), Error>(())
/// ```
pub trait ResourceLimiter: Send {
    /// Decides whether a linear memory may grow from `current` to `desired` bytes. `current` is 0
    /// for a memory that is being made. `maximum` is the maximum of its type, in bytes.
    ///
    /// The store asks only if the totals and the maximum allow the growth. After `false`,
    /// `memory.grow` gives -1, and [`Memory::grow`](crate::Memory::grow) and instantiation are
    /// errors.
    ///
    /// # Errors
    /// Any error ends the call, which `false` does not.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, Error>;

    /// Learns why a memory did not grow, after [`ResourceLimiter::memory_growing`] allowed it or
    /// was not asked.
    ///
    /// # Errors
    /// Any error ends the call, which otherwise goes on with -1.
    fn memory_grow_failed(&mut self, error: Error) -> Result<(), Error> {
        drop(error);
        Ok(())
    }

    /// The same as [`ResourceLimiter::memory_growing`] for a table, in elements.
    ///
    /// # Errors
    /// Any error ends the call, which `false` does not.
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, Error>;

    /// The same as [`ResourceLimiter::memory_grow_failed`] for a table.
    ///
    /// # Errors
    /// Any error ends the call, which otherwise goes on with -1.
    fn table_grow_failed(&mut self, error: Error) -> Result<(), Error> {
        drop(error);
        Ok(())
    }

    /// Maximum number of instances in the store.
    fn instances(&self) -> usize {
        DEFAULT_ITEMS
    }

    /// Maximum number of tables in the store.
    fn tables(&self) -> usize {
        DEFAULT_ITEMS
    }

    /// Maximum number of linear memories in the store.
    fn memories(&self) -> usize {
        DEFAULT_ITEMS
    }

    /// Maximum number of bytes of all linear memories of the store together. The exceptions that
    /// the store keeps may take as many again, see [`StoreLimitsBuilder::total_memory_size`].
    fn total_memory_size(&self) -> usize {
        DEFAULT_TOTAL_MEMORY
    }

    /// Maximum number of elements of all tables of the store together.
    fn total_table_elements(&self) -> usize {
        DEFAULT_TOTAL_ELEMENTS
    }
}

/// Fixed limits of a store; made with [`StoreLimitsBuilder`].
///
/// Every store has these from the start; see [`Store::set_limits`](crate::Store::set_limits).
///
/// ```
/// # use precast_loader::{Engine, Store, StoreLimitsBuilder};
/// let limits = StoreLimitsBuilder::new()
///     .total_memory_size(64 << 20)
///     .total_table_elements(100_000)
///     .build();
/// let mut store = Store::new(&Engine::default(), ());
/// store.set_limits(limits);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreLimits {
    memory_size: usize,
    table_elements: usize,
    instances: usize,
    tables: usize,
    memories: usize,
    total_memory_size: usize,
    total_table_elements: usize,
    trap_on_grow_failure: bool,
}

impl Default for StoreLimits {
    /// 16 GiB for all memories together, ten million elements for all tables together, and 10,000
    /// each of instances, memories and tables.
    fn default() -> Self {
        Self {
            memory_size: usize::MAX,
            table_elements: usize::MAX,
            instances: DEFAULT_ITEMS,
            tables: DEFAULT_ITEMS,
            memories: DEFAULT_ITEMS,
            total_memory_size: DEFAULT_TOTAL_MEMORY,
            total_table_elements: DEFAULT_TOTAL_ELEMENTS,
            trap_on_grow_failure: false,
        }
    }
}

/// Makes [`StoreLimits`], starting from the default ones.
///
/// ```
/// use precast_loader::StoreLimitsBuilder;
///
/// let limits = StoreLimitsBuilder::new().memory_size(1 << 20).instances(10).build();
/// ```
#[derive(Debug, Clone, Default)]
pub struct StoreLimitsBuilder(StoreLimits);

impl StoreLimitsBuilder {
    /// The default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the maximum number of bytes of each linear memory. The maximum for all memories
    /// together bounds a single memory, too.
    pub fn memory_size(mut self, bytes: usize) -> Self {
        self.0.memory_size = bytes;
        self
    }

    /// Sets the maximum number of elements of each table.
    pub fn table_elements(mut self, elements: usize) -> Self {
        self.0.table_elements = elements;
        self
    }

    /// Sets the maximum number of bytes of all linear memories together.
    ///
    /// The exceptions that the store keeps may take as many again. Those that nothing holds any
    /// more count until the store drops them, which it does together, after having looked at all.
    /// That takes time in proportion to what the guest holds (some 15 ms for 64 MiB of exceptions),
    /// and cannot be interrupted, but happens only when enough exceptions are new, so that throws
    /// cost little on average. A guest that holds more than about 98 % of what its exceptions may
    /// take therefore gets the error of the limit, although some of them may be held by nothing.
    pub fn total_memory_size(mut self, bytes: usize) -> Self {
        self.0.total_memory_size = bytes;
        self
    }

    /// Sets the maximum number of elements of all tables together.
    pub fn total_table_elements(mut self, elements: usize) -> Self {
        self.0.total_table_elements = elements;
        self
    }

    /// Sets the maximum number of instances.
    pub fn instances(mut self, instances: usize) -> Self {
        self.0.instances = instances;
        self
    }

    /// Sets the maximum number of tables.
    pub fn tables(mut self, tables: usize) -> Self {
        self.0.tables = tables;
        self
    }

    /// Sets the maximum number of linear memories.
    pub fn memories(mut self, memories: usize) -> Self {
        self.0.memories = memories;
        self
    }

    /// Sets whether a `memory.grow` or `table.grow` that fails ends the call with an error that
    /// says why, instead of giving -1. The specification wants -1, but the error helps to find out
    /// why a guest fails to allocate.
    pub fn trap_on_grow_failure(mut self, trap: bool) -> Self {
        self.0.trap_on_grow_failure = trap;
        self
    }

    /// The limits.
    pub fn build(self) -> StoreLimits {
        self.0
    }
}

impl StoreLimits {
    /// These limits, without one on the number of instances.
    pub(crate) fn of_any_instances(mut self) -> Self {
        self.instances = usize::MAX;
        self
    }

    pub(crate) fn check_memory(&self, bytes: usize) -> Result<(), Error> {
        within("bytes of a linear memory", bytes as u64, self.memory_size)
    }

    pub(crate) fn check_table(&self, elements: usize) -> Result<(), Error> {
        within("elements of a table", elements as u64, self.table_elements)
    }

    /// Whether growth that fails ends the call.
    pub(crate) fn ends_calls(&self) -> bool {
        self.trap_on_grow_failure
    }

    fn answer(&self, checked: Result<(), Error>) -> Result<bool, Error> {
        match checked {
            Ok(()) => Ok(true),
            Err(error) if self.trap_on_grow_failure => Err(error),
            Err(_) => Ok(false),
        }
    }

    fn failed(&self, error: Error) -> Result<(), Error> {
        if self.trap_on_grow_failure {
            return Err(error);
        }
        Ok(())
    }
}

/// Lets limits be a part of the host's data: `store.limiter(|data| &mut data.limits)`.
impl ResourceLimiter for StoreLimits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, Error> {
        self.answer(self.check_memory(desired))
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<(), Error> {
        self.failed(error)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, Error> {
        self.answer(self.check_table(desired))
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<(), Error> {
        self.failed(error)
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }

    fn total_memory_size(&self) -> usize {
        self.total_memory_size
    }

    fn total_table_elements(&self) -> usize {
        self.total_table_elements
    }
}

/// # Errors
/// [`Error::Limit`] if `wanted` is more than `limit`.
#[inline]
pub(crate) fn within(what: &'static str, wanted: u64, limit: usize) -> Result<(), Error> {
    if wanted <= limit as u64 {
        return Ok(());
    }
    Err(limit_error(what, wanted, limit as u64))
}

#[cold]
pub(crate) fn limit_error(what: &'static str, wanted: u64, limit: u64) -> Error {
    Error::Limit {
        what,
        wanted,
        limit,
    }
}
