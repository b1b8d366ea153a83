//! Linear memories.
//!
//! ```text
//!   guarded:  | accessible: len bytes | not accessible: rest of 4 GiB, and GUARDED_OFFSET_LIMIT |
//!             base                    base + len                     end of the reservation
//!   checked:  | accessible: len bytes | not accessible: room to grow |
//! ```
//! A guarded memory never moves, so machine code may keep its base. Every access beyond `len` that
//! a 32-bit index and a small static offset can reach is a fault. A checked memory moves when it
//! outgrows its room, and machine code compares each access with `len`.

pub(crate) mod access;

use std::ptr::NonNull;

use precast_artifact::Strategy;

use crate::error::Error;
use crate::store::{AsContext, AsContextMut};
use crate::stored::Stored;
use crate::types::MemoryType;
use crate::vm::memory::MemoryEntity;
use crate::vm::quota;
use crate::vm::store::StoreCore;

/// A linear memory of a store.
///
/// ```
/// use precast_loader::{Engine, Error, Memory, MemoryType, Store};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
/// memory.write(&mut store, 100, b"hello")?;
/// assert_eq!(memory.data(&store)[100..105], *b"hello");
/// assert_eq!(memory.grow(&mut store, 1)?, 1);
/// assert!(memory.grow(&mut store, 1).is_err(), "two pages are its maximum");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Memory(Stored<MemoryEntity>);

impl Memory {
    /// A memory of `ty.min` zero pages that the host makes.
    ///
    /// # Errors
    /// [`Error::InvalidType`] when there can be no such memory, [`Error::Memory`] when the system
    /// refuses, [`Error::Limit`] beyond the store's limits, [`Error::Refused`] and any other error
    /// by its limiter.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Self, Error> {
        ty.check()?;
        if ty.shared {
            return Err(Error::InvalidType {
                what: "a linear memory of one store",
                found: ty.to_string(),
                expected: "a memory that is not shared; `SharedMemory::new` makes those".into(),
            });
        }
        let mut store = store.as_context_mut();
        // SAFETY: the store is borrowed exclusively.
        let demand = unsafe { quota::for_memory(store.core_ptr(), ty)? };
        let core = store.core();
        // The memory is guarded if it can be, so that modules of both strategies can import it.
        let made = MemoryEntity::new(ty, Strategy::Guarded);
        let mut entity = Box::new(made.inspect_err(|_| core.settle())?);
        // SAFETY: a boxed entity does not move.
        unsafe { entity.set_vm(None) };
        let pointer = NonNull::from(&mut *entity);
        core.add_guarded(pointer);
        let this = Self::from_entity(core, pointer);
        core.made_mut().memories.push(entity);
        core.usage.add(&demand);
        Ok(this)
    }

    pub(crate) fn from_entity(core: &StoreCore, entity: NonNull<MemoryEntity>) -> Self {
        Self(Stored::new(core, entity))
    }

    pub(crate) fn belongs_to(&self, core: &StoreCore) -> bool {
        self.0.belongs_to(core)
    }

    /// # Panics
    /// If the memory belongs to another store.
    pub(crate) fn entity(&self, core: &StoreCore) -> NonNull<MemoryEntity> {
        self.0.get(core)
    }

    /// The type that the memory was declared with.
    ///
    /// # Panics
    /// All methods panic if the memory belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> MemoryType {
        self.0.borrow(&store.as_context().0.core).ty()
    }

    /// Size in pages, of 64 KiB unless the [type](MemoryType::page_size_log2) says otherwise.
    pub fn size(&self, store: impl AsContext) -> u64 {
        let store = store.as_context();
        let entity = self.0.borrow(&store.0.core);
        entity.ty().pages(entity.len() as u64)
    }

    /// Size in bytes.
    pub fn data_size(&self, store: impl AsContext) -> usize {
        self.0.borrow(&store.as_context().0.core).len()
    }

    /// First byte; valid until the memory grows or its instance is [reset](crate::Instance::reset).
    pub fn data_ptr(&self, mut store: impl AsContextMut) -> *mut u8 {
        self.writable(store.as_context_mut().core()).as_mut_ptr()
    }

    /// All bytes, of which the host may write to any.
    fn writable<'a>(&self, core: &'a mut StoreCore) -> &'a mut [u8] {
        let entity = self.0.borrow_mut(core);
        entity.will_write();
        // SAFETY: `len` bytes from `base` on are accessible as long as the store is borrowed.
        unsafe { std::slice::from_raw_parts_mut(entity.base(), entity.len()) }
    }

    /// The bytes.
    pub fn data<'a, T: 'static>(&self, store: impl Into<crate::StoreContext<'a, T>>) -> &'a [u8] {
        let entity = self.0.borrow(&store.into().0.core);
        // SAFETY: `len` bytes from `base` on are readable as long as the store is borrowed.
        unsafe { std::slice::from_raw_parts(entity.base(), entity.len()) }
    }

    /// The bytes.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<crate::StoreContextMut<'a, T>>,
    ) -> &'a mut [u8] {
        self.data_and_store_mut(store).0
    }

    /// The bytes and the data of the host, both at once.
    pub fn data_and_store_mut<'a, T: 'static>(
        &self,
        store: impl Into<crate::StoreContextMut<'a, T>>,
    ) -> (&'a mut [u8], &'a mut T) {
        let store = store.into();
        let (core, data) = store.into_parts();
        (self.writable(core), data)
    }

    /// Copies bytes out of the memory.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], and nothing is copied.
    pub fn read(&self, store: impl AsContext, at: usize, to: &mut [u8]) -> Result<(), Error> {
        let store = store.as_context();
        let size = self.0.borrow(&store.0.core).len();
        let from = self.data(store).get(at..at.saturating_add(to.len()));
        to.copy_from_slice(from.ok_or_else(|| out_of_bounds(at, to.len(), size))?);
        Ok(())
    }

    /// Copies bytes into the memory.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; nothing is copied then.
    pub fn write(&self, mut store: impl AsContextMut, at: usize, from: &[u8]) -> Result<(), Error> {
        let mut store = store.as_context_mut();
        let entity = self.0.borrow_mut(store.core());
        let size = entity.len();
        if at.checked_add(from.len()).is_none_or(|end| end > size) {
            return Err(out_of_bounds(at, from.len(), size));
        }
        entity.will_write();
        // SAFETY: the range is in bounds, and the store is borrowed exclusively.
        unsafe {
            std::ptr::copy_nonoverlapping(from.as_ptr(), entity.base().add(at), from.len());
        }
        Ok(())
    }

    /// Gives its pages back to the system, see [`MemoryEntity::release`].
    pub(crate) fn release(&self, core: &mut StoreCore) {
        let bytes = self.0.borrow_mut(core).release();
        core.usage.release(bytes);
        core.settle();
    }

    /// Adds `delta` pages of zeros, and returns the number of pages before.
    ///
    /// # Errors
    /// [`Error::Limit`] beyond the memory's maximum or the store's limits, [`Error::Memory`] if the
    /// system refuses, [`Error::Refused`] or any other error of the store's limiter.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64) -> Result<u64, Error> {
        let mut store = store.as_context_mut();
        let entity = self.entity(store.core());
        // SAFETY: the store owns the entity and is borrowed exclusively.
        Ok(unsafe { quota::grow_memory(store.core_ptr(), entity, delta)? })
    }
}

fn out_of_bounds(at: usize, len: usize, size: usize) -> Error {
    let what = "bytes of a linear memory";
    Error::OutOfBounds {
        what,
        start: at as u64,
        len: len as u64,
        size: size as u64,
    }
}
