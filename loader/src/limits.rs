//! What the instances of a store may take, and who decides.
//!
//! A store counts what its items take (`Usage`): linear memories and their bytes, tables and
//! their elements, instances. Before something is made or grows, [`quota`](crate::vm::quota) compares with the store's
//! [`StoreLimits`], or with what the host's own [`ResourceLimiter`] says, which takes their place.
//!
//! Counted is what wasm can reach: the length of a memory, not its address space nor the pages that
//! it has touched; tables that the artifact holds in a form that cannot change take nothing. A
//! memory that moves when it grows takes its pages along, so it is counted once.

use crate::error::Error;

/// Most items of one kind that a store has unless told otherwise, as in Wasmtime.
const DEFAULT_ITEMS: usize = 10_000;

/// Most bytes of all linear memories of a store unless told otherwise: four that are as large as
/// 32-bit addresses allow.
const DEFAULT_TOTAL_MEMORY: usize = 16 << 30;

/// Most elements of all tables of a store unless told otherwise: 80 MB.
const DEFAULT_TOTAL_ELEMENTS: usize = 10_000_000;

/// A host's own decisions about what the instances of a store may take, see
/// [`Store::limiter`](crate::Store::limiter).
///
/// The methods are Wasmtime's, but for the two totals. The store does the counting: for items of an
/// instance, of the host, grown by wasm code or by the host. A closed instance's memories count no
/// more once their pages are released.
///
/// A limiter runs in the middle of the guest's call. When it returns an error or panics, the call
/// ends with that, as if a host function had done so.
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
    /// Whether a linear memory may be made or grow, from `current` bytes (0: it is being made) to
    /// `desired`. `maximum` is that of its type, in bytes.
    ///
    /// Asked only for what the totals and the maximum allow. `false`: `memory.grow` gives -1, and
    /// the host's [`Memory::grow`](crate::Memory::grow) and instantiation are an error.
    ///
    /// # Errors
    /// Any; it ends the call, where `false` does not.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, Error>;

    /// Tells that a memory did not grow although [`ResourceLimiter::memory_growing`] allowed it or
    /// was not even asked, and why.
    ///
    /// # Errors
    /// Any; it ends the call, which otherwise goes on with -1.
    fn memory_grow_failed(&mut self, error: Error) -> Result<(), Error> {
        drop(error);
        Ok(())
    }

    /// As [`ResourceLimiter::memory_growing`], for a table and in elements.
    ///
    /// # Errors
    /// Any; it ends the call, where `false` does not.
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, Error>;

    /// As [`ResourceLimiter::memory_grow_failed`], for a table.
    ///
    /// # Errors
    /// Any; it ends the call, which otherwise goes on with -1.
    fn table_grow_failed(&mut self, error: Error) -> Result<(), Error> {
        drop(error);
        Ok(())
    }

    /// Most instances in the store.
    fn instances(&self) -> usize {
        DEFAULT_ITEMS
    }

    /// Most tables in the store.
    fn tables(&self) -> usize {
        DEFAULT_ITEMS
    }

    /// Most linear memories in the store.
    fn memories(&self) -> usize {
        DEFAULT_ITEMS
    }

    /// Most bytes of all linear memories of the store together.
    fn total_memory_size(&self) -> usize {
        DEFAULT_TOTAL_MEMORY
    }

    /// Most elements of all tables of the store together.
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
    /// All memories together 16 GiB, all tables together ten million elements; 10,000 instances,
    /// memories and tables each.
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

    /// Most bytes of any one linear memory; a single one is bounded by the total anyway.
    pub fn memory_size(mut self, bytes: usize) -> Self {
        self.0.memory_size = bytes;
        self
    }

    /// Most elements of any one table.
    pub fn table_elements(mut self, elements: usize) -> Self {
        self.0.table_elements = elements;
        self
    }

    /// Most bytes of all linear memories together.
    pub fn total_memory_size(mut self, bytes: usize) -> Self {
        self.0.total_memory_size = bytes;
        self
    }

    /// Most elements of all tables together.
    pub fn total_table_elements(mut self, elements: usize) -> Self {
        self.0.total_table_elements = elements;
        self
    }

    /// Most instances.
    pub fn instances(mut self, instances: usize) -> Self {
        self.0.instances = instances;
        self
    }

    /// Most tables.
    pub fn tables(mut self, tables: usize) -> Self {
        self.0.tables = tables;
        self
    }

    /// Most linear memories.
    pub fn memories(mut self, memories: usize) -> Self {
        self.0.memories = memories;
        self
    }

    /// Whether `memory.grow` and `table.grow` that fail end the call with an error that says why,
    /// instead of giving -1. Not what the specification says, but of use in finding out why a guest
    /// fails to allocate.
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

/// So that limits can be a part of the host's data: `store.limiter(|data| &mut data.limits)`.
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
/// [`Error::Limit`] if there are more than the limit.
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
