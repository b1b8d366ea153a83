//! Linear memories that several threads use at the same time.

use std::cell::UnsafeCell;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use precast_artifact::{Strategy, TrapCode as Trap};

use crate::engine::Engine;
use crate::error::Error;
use crate::shared_limits::{Counts, Member, SharedLimits};
use crate::types::MemoryType;
use crate::vm::builtins::atomic_place;
use crate::vm::memory::MemoryEntity;
use crate::vm::parking::Woken;
use crate::vm::shared::{GrowError, Shared};

/// A linear memory that instances in several stores, on several threads, use at the same time.
///
/// It belongs to no store, and exists as long as a handle or an instance has it. Handles are cheap
/// to clone. Its bytes never move. Instances import it like any other item, and a module that
/// defines a shared memory exports it as one.
///
/// What the host does with the bytes cannot be a data race with wasm code or with other threads of
/// the host: [`read`](Self::read) and [`write`](Self::write) access each byte atomically, and
/// [`data`](Self::data) leaves it to its user. An instance that has a shared memory of its own is
/// never reset, reused or part of a snapshot.
///
/// What it takes is bounded by the [`SharedLimits`] that it is
/// [made within](Self::new_within), whoever makes it grow. Of other memories, only a store that
/// makes them grow judges the growth, by its own limits: as if the whole new length were the
/// store's, so that several stores together cannot pass the limit of the one that asks. A store
/// that only imports the memory does not count it, and [`grow`](Self::grow) asks no store.
///
/// ```
/// use precast_loader::{Engine, Error, MemoryType, SharedMemory};
///
/// let memory = SharedMemory::new(&Engine::default(), MemoryType::shared(1, 2))?;
/// std::thread::scope(|scope| {
///     scope.spawn(|| memory.write(0, b"hello"));
/// });
/// let mut bytes = [0; 5];
/// memory.read(0, &mut bytes)?;
/// assert_eq!(&bytes, b"hello");
/// assert_eq!(memory.grow(1)?, 1);
/// assert!(memory.grow(1).is_err(), "two pages are its maximum");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SharedMemory(Arc<Shared>);

/// How a wait at an address of a shared memory ended.
///
/// ```
/// use precast_loader::{Engine, MemoryType, SharedMemory, WaitResult};
/// use std::time::Duration;
///
/// let memory = SharedMemory::new(&Engine::default(), MemoryType::shared(1, 1)).unwrap();
/// let wait = |expected| memory.atomic_wait32(0, expected, Some(Duration::from_millis(1)));
/// assert_eq!(wait(7).unwrap(), WaitResult::Mismatch);
/// assert_eq!(wait(0).unwrap(), WaitResult::TimedOut);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitResult {
    /// Another thread has notified this thread.
    Ok = 0,
    /// The value at the address was another than expected.
    Mismatch = 1,
    /// The timeout has passed.
    TimedOut = 2,
}

impl SharedMemory {
    /// A memory of `ty.min` zero pages. Address space is reserved for its maximum. Modules of both
    /// strategies can import it.
    ///
    /// # Errors
    /// [`Error::InvalidType`] when there can be no such memory, or when it is not a shared one;
    /// [`Error::Limit`] and [`Error::Memory`] when there is no room for its maximum.
    pub fn new(_engine: &Engine, ty: MemoryType) -> Result<Self, Error> {
        Self::make(ty, None)
    }

    /// The same memory within limits that it shares with others: what it takes counts there, once,
    /// and not in the stores that share the limits, too. All its growth is judged by them, that of
    /// the host included.
    ///
    /// # Errors
    /// Those of [`SharedMemory::new`]; [`Error::Limit`] if the limits do not allow its minimum,
    /// and nothing is made then.
    pub fn new_within(
        _engine: &Engine,
        ty: MemoryType,
        limits: &SharedLimits,
    ) -> Result<Self, Error> {
        Self::make(ty, Some(Member::new(limits)))
    }

    fn make(ty: MemoryType, mut member: Option<Member>) -> Result<Self, Error> {
        ty.check()?;
        if !ty.shared {
            return Err(Error::InvalidType {
                what: "a shared memory",
                found: ty.to_string(),
                expected: "a shared type, as `MemoryType::shared` makes it".into(),
            });
        }
        if let Some(member) = &mut member {
            let bytes = ty.bytes(ty.min);
            member.ask(Counts::of_memory(bytes), (bytes, 0))?;
        }
        let memory = MemoryEntity::new(ty, Strategy::Guarded)?;
        Ok(Self(memory.share(member)))
    }

    pub(crate) fn from_vm(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    pub(crate) fn vm(&self) -> &Arc<Shared> {
        &self.0
    }

    /// The type that the memory was declared with.
    pub fn ty(&self) -> MemoryType {
        self.0.ty()
    }

    /// The type with the present size as its minimum, which linking compares with.
    pub(crate) fn present_type(&self) -> MemoryType {
        MemoryType {
            min: self.size(),
            ..self.ty()
        }
    }

    /// Size in pages. Another thread may have made it larger when this returns.
    pub fn size(&self) -> u64 {
        self.ty().pages(self.data_size() as u64)
    }

    /// Size in bytes. Another thread may have made it larger when this returns.
    pub fn data_size(&self) -> usize {
        self.0.len()
    }

    /// The bytes, to which other threads and wasm code may write at any moment. They stay where
    /// they are, and accessible, as long as the handle exists.
    ///
    /// Making a reference to the inside of a cell while another thread may write to the cell is
    /// undefined behaviour: read and write through the pointers of the cells by atomic accesses,
    /// such as those of [`AtomicU8::from_ptr`](std::sync::atomic::AtomicU8::from_ptr).
    pub fn data(&self) -> &[UnsafeCell<u8>] {
        let (base, len) = (self.0.base(), self.0.len());
        // SAFETY: `len` bytes from `base` on are accessible, do not move and do not become fewer,
        // while the handle exists; cells may be written to by others.
        unsafe { std::slice::from_raw_parts(base.as_ptr().cast(), len) }
    }

    /// Copies bytes out of the memory. What another thread writes in the meantime may be in there
    /// in part.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], and nothing is copied.
    pub fn read(&self, at: usize, to: &mut [u8]) -> Result<(), Error> {
        let len = to.len();
        let done = self.0.read(at as u64, to);
        done.then_some(())
            .ok_or_else(|| self.out_of_bounds(at, len))
    }

    /// Copies bytes into the memory. Another thread may see a part of them.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], and nothing is copied.
    pub fn write(&self, at: usize, from: &[u8]) -> Result<(), Error> {
        let done = self.0.write(at as u64, from);
        done.then_some(())
            .ok_or_else(|| self.out_of_bounds(at, from.len()))
    }

    /// Adds `delta` pages of zeros, and returns the number of pages before. Other threads may be
    /// using the memory.
    ///
    /// # Errors
    /// [`Error::Limit`] beyond the memory's maximum or the limits that it was made within,
    /// [`Error::Memory`] if the system refuses.
    pub fn grow(&self, delta: u64) -> Result<u64, Error> {
        let ty = self.ty();
        loop {
            let len = self.data_size();
            let (before, max) = (ty.pages(len as u64), ty.max.unwrap_or(0));
            if delta == 0 {
                return Ok(before);
            }
            let pages = before.saturating_add(delta);
            if pages > max {
                return Err(Error::Limit {
                    what: "pages of a shared memory",
                    wanted: pages,
                    limit: max,
                });
            }
            let new_len = usize::try_from(ty.bytes(pages)).unwrap_or(usize::MAX);
            match self.0.grow(len, new_len) {
                Ok(()) => return Ok(before),
                Err(GrowError::Changed) => {}
                Err(GrowError::Refused(error)) => return Err(error),
            }
        }
    }

    /// Wakes up to `count` threads that wait at an address, whether wasm code or the host, and
    /// returns how many: `memory.atomic.notify`.
    ///
    /// # Errors
    /// A [`Trap`] if the address is not a multiple of four or out of bounds.
    pub fn atomic_notify(&self, address: u64, count: u32) -> Result<u32, Trap> {
        atomic_place(&self.0, address, size_of::<u32>())?;
        Ok(self.0.waiters.notify(address, count))
    }

    /// Waits at an address until it is [notified](Self::atomic_notify), if the value there is
    /// `expected`: `memory.atomic.wait32`. Without a timeout it can wait for ever.
    ///
    /// # Errors
    /// A [`Trap`] if the address is not a multiple of four or out of bounds.
    pub fn atomic_wait32(
        &self,
        address: u64,
        expected: u32,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        let place = atomic_place(&self.0, address, size_of::<u32>())?;
        // SAFETY: in bounds and aligned.
        let is_expected = || unsafe { self.0.load32(place) } == expected;
        Ok(self.wait(address, is_expected, timeout))
    }

    /// [`SharedMemory::atomic_wait32`] with a value of 64 bits: `memory.atomic.wait64`.
    ///
    /// # Errors
    /// A [`Trap`] if the address is not a multiple of eight or out of bounds.
    pub fn atomic_wait64(
        &self,
        address: u64,
        expected: u64,
        timeout: Option<Duration>,
    ) -> Result<WaitResult, Trap> {
        let place = atomic_place(&self.0, address, size_of::<u64>())?;
        // SAFETY: in bounds and aligned.
        let is_expected = || unsafe { self.0.load64(place) } == expected;
        Ok(self.wait(address, is_expected, timeout))
    }

    fn wait(
        &self,
        address: u64,
        is_expected: impl FnOnce() -> bool,
        timeout: Option<Duration>,
    ) -> WaitResult {
        let go_on = || Ok::<(), Infallible>(());
        let waiters = &self.0.waiters;
        let Ok(woken) = waiters.wait(address, is_expected, timeout, |_| (), go_on);
        match woken {
            Woken::Notified => WaitResult::Ok,
            Woken::Mismatch => WaitResult::Mismatch,
            Woken::TimedOut => WaitResult::TimedOut,
        }
    }

    fn out_of_bounds(&self, at: usize, len: usize) -> Error {
        Error::OutOfBounds {
            what: "bytes of a shared memory",
            start: at as u64,
            len: len as u64,
            size: self.data_size() as u64,
        }
    }
}
