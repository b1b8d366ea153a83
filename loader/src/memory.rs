//! Linear memories.
//!
//! ```text
//!   guarded:  | accessible: len bytes | not accessible: rest of 4 GiB, and GUARDED_OFFSET_LIMIT |
//!             base                    base + len                     end of the reservation
//!   checked:  | accessible: len bytes | not accessible: room to grow |
//! ```
//! A guarded memory never moves, so machine code may keep its base; it faults on every access that
//! a 32-bit index and a small static offset can reach beyond `len`. A checked memory moves when it
//! outgrows its room, and machine code compares with `len` itself.

use std::ptr::NonNull;

use precast_artifact::abi::GUARDED_RESERVATION;
use precast_artifact::vm::VmMemory;

use crate::error::Error;
use crate::store::{AsContext, AsContextMut, StoreCore, StoreId};
use crate::sys::map::{Reservation, page_size};
use crate::types::MemoryType;

/// Bytes of a wasm page.
pub(crate) const WASM_PAGE: u64 = 65536;

/// Most pages of a memory with 32-bit addresses.
const MAX_PAGES32: u64 = 65536;

/// Most pages of a memory with 64-bit addresses: what a 47-bit address space can hold at all.
const MAX_PAGES64: u64 = 1 << 31;

/// Room that a checked memory gets for growing in place, beyond what it needs at once, in bytes.
const CHECKED_ROOM: u64 = 1 << 20;

/// A linear memory as its owner, an instance or a store, keeps it.
#[derive(Debug)]
pub(crate) struct MemoryEntity {
    /// What machine code sees: in the VM context of the owning instance, or `own`.
    vm: *mut VmMemory,
    own: VmMemory,
    ty: MemoryType,
    guarded: bool,
    reservation: Reservation,
}

impl MemoryEntity {
    /// A memory of `ty.min` zero pages.
    ///
    /// # Errors
    /// [`Error::Memory`] when the system refuses, [`Error::Limit`] beyond `limit` bytes.
    pub(crate) fn new(ty: MemoryType, guarded: bool, limit: u64) -> Result<Self, Error> {
        let len = ty.min.saturating_mul(WASM_PAGE);
        if len > limit {
            let what = "bytes of a linear memory";
            return Err(Error::Limit {
                what,
                wanted: len,
                limit,
            });
        }
        let room = if guarded {
            GUARDED_RESERVATION
        } else {
            let most = ty.max.unwrap_or(u64::MAX).saturating_mul(WASM_PAGE);
            len.saturating_add(CHECKED_ROOM)
                .min(most)
                .max(page_size() as u64)
        };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let mut reservation = Reservation::new(room.next_multiple_of(page_size()))?;
        reservation.commit(0, (len as usize).next_multiple_of(page_size()))?;
        let own = VmMemory {
            base: reservation.base().as_ptr(),
            len: len as usize,
        };
        Ok(Self {
            vm: std::ptr::null_mut(),
            own,
            ty,
            guarded,
            reservation,
        })
    }

    /// Tells where machine code looks for this memory, and puts its base and length there. `None`:
    /// in the entity itself, which must not move any more.
    ///
    /// # Safety
    /// The place is valid as long as the entity.
    pub(crate) unsafe fn publish(&mut self, vm: Option<NonNull<VmMemory>>) {
        let VmMemory { base, len } = self.own;
        self.vm = vm.map_or(&raw mut self.own, NonNull::as_ptr);
        // SAFETY: by this function's contract.
        unsafe { self.vm.write(VmMemory { base, len }) };
    }

    pub(crate) fn vm(&self) -> *mut VmMemory {
        self.vm
    }

    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded
    }

    pub(crate) fn reservation(&mut self) -> &mut Reservation {
        &mut self.reservation
    }

    /// The type, its minimum being the present size: what linking compares with.
    pub(crate) fn present_type(&self) -> MemoryType {
        MemoryType {
            min: self.len() as u64 / WASM_PAGE,
            ..self.ty
        }
    }

    pub(crate) fn base(&self) -> *mut u8 {
        // SAFETY: published when it was made.
        unsafe { (*self.vm).base }
    }

    pub(crate) fn len(&self) -> usize {
        // SAFETY: published when it was made.
        unsafe { (*self.vm).len }
    }

    /// Adds `delta` pages of zeros; the pages before, or `None` if it did not grow.
    pub(crate) fn grow(&mut self, delta: u64, limit: u64) -> Option<u64> {
        let len = self.len();
        let before = len as u64 / WASM_PAGE;
        let most = if self.ty.memory64 {
            MAX_PAGES64
        } else {
            MAX_PAGES32
        };
        let after = before.checked_add(delta)?;
        if after > self.ty.max.unwrap_or(most).min(most) || after * WASM_PAGE > limit {
            return None;
        }
        if delta == 0 {
            return Some(before);
        }
        let new_len = usize::try_from(after * WASM_PAGE).ok()?;
        let page = page_size();
        let (committed, needed) = (len.next_multiple_of(page), new_len.next_multiple_of(page));
        if needed <= self.reservation.len() {
            self.reservation
                .commit(committed, needed - committed)
                .ok()?;
        } else {
            // A checked memory: twice the room, so that copying stays in proportion to growth.
            let room = (needed.saturating_mul(2) as u64)
                .min(self.ty.max.unwrap_or(most).min(most) * WASM_PAGE);
            let room = (room as usize).max(needed).next_multiple_of(page);
            let mut moved = Reservation::new(room)
                .or_else(|_| Reservation::new(needed))
                .ok()?;
            moved.commit(0, needed).ok()?;
            // SAFETY: two different reservations, both accessible for `len` bytes.
            unsafe { std::ptr::copy_nonoverlapping(self.base(), moved.base().as_ptr(), len) };
            self.reservation = moved;
        }
        let base = self.reservation.base().as_ptr();
        // SAFETY: published when it was made.
        unsafe { self.vm.write(VmMemory { base, len: new_len }) };
        Some(before)
    }
}

/// A linear memory of a store.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    store: StoreId,
    entity: NonNull<MemoryEntity>,
}

// SAFETY: the pointer is only followed by who shows the store that owns what it points to.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// A memory that the host makes, of `ty.min` zero pages.
    ///
    /// # Errors
    /// [`Error::Memory`] when the system refuses, [`Error::Limit`] beyond the store's limits.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Self, Error> {
        let mut store = store.as_context_mut();
        let core = store.core();
        let guarded = !ty.memory64;
        let mut entity = Box::new(MemoryEntity::new(ty, guarded, core.limits.memory_bytes)?);
        // SAFETY: a boxed entity does not move.
        unsafe { entity.publish(None) };
        if guarded {
            let (base, len) = (entity.reservation.base(), entity.reservation.len());
            core.add_guarded(base.as_ptr() as usize, len);
        }
        let this = Self::from_entity(core, NonNull::from(&mut *entity));
        core.memories.push(entity);
        Ok(this)
    }

    pub(crate) fn from_entity(core: &StoreCore, entity: NonNull<MemoryEntity>) -> Self {
        Self {
            store: core.id,
            entity,
        }
    }

    /// # Panics
    /// If the memory belongs to another store.
    pub(crate) fn entity(&self, core: &StoreCore) -> NonNull<MemoryEntity> {
        assert!(
            self.store == core.id,
            "a memory was used with a store that does not own it"
        );
        self.entity
    }

    fn get<'a>(&self, core: &'a StoreCore) -> &'a MemoryEntity {
        // SAFETY: the store owns the entity and is borrowed; machine code is not running.
        unsafe { self.entity(core).as_ref() }
    }

    /// The type it was declared with.
    ///
    /// # Panics
    /// As do all methods, if the memory belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> MemoryType {
        self.get(&store.as_context().0.core).ty
    }

    /// Size in pages of 64 KiB.
    pub fn size(&self, store: impl AsContext) -> u64 {
        self.data_size(store) as u64 / WASM_PAGE
    }

    /// Size in bytes.
    pub fn data_size(&self, store: impl AsContext) -> usize {
        self.get(&store.as_context().0.core).len()
    }

    /// First byte; valid until the memory grows.
    pub fn data_ptr(&self, store: impl AsContext) -> *mut u8 {
        self.get(&store.as_context().0.core).base()
    }

    /// The bytes.
    pub fn data<'a, T: 'static>(&self, store: impl Into<crate::StoreContext<'a, T>>) -> &'a [u8] {
        let entity = self.get(&store.into().0.core);
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

    /// The bytes and the host's data, both at once.
    pub fn data_and_store_mut<'a, T: 'static>(
        &self,
        store: impl Into<crate::StoreContextMut<'a, T>>,
    ) -> (&'a mut [u8], &'a mut T) {
        let store = store.into();
        let entity = self.get(&store.0.core);
        let (base, len) = (entity.base(), entity.len());
        // SAFETY: as above, exclusively; the host's data is not part of any linear memory.
        (
            unsafe { std::slice::from_raw_parts_mut(base, len) },
            &mut store.0.data,
        )
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; nothing is copied then.
    pub fn read(&self, store: impl AsContext, at: usize, to: &mut [u8]) -> Result<(), Error> {
        let store = store.as_context();
        let size = self.get(&store.0.core).len();
        let from = self.data(store).get(at..at.saturating_add(to.len()));
        to.copy_from_slice(from.ok_or_else(|| out_of_bounds(at, to.len(), size))?);
        Ok(())
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; nothing is copied then.
    pub fn write(&self, mut store: impl AsContextMut, at: usize, from: &[u8]) -> Result<(), Error> {
        let bytes = self.data_mut(store.as_context_mut());
        let size = bytes.len();
        let to = bytes.get_mut(at..at.saturating_add(from.len()));
        to.ok_or_else(|| out_of_bounds(at, from.len(), size))?
            .copy_from_slice(from);
        Ok(())
    }

    /// Adds `delta` pages of zeros and returns the number of pages before.
    ///
    /// # Errors
    /// [`Error::Limit`] when the memory's maximum, the store's limits or the system forbid it.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64) -> Result<u64, Error> {
        let mut store = store.as_context_mut();
        let core = store.core();
        let limit = core.limits.memory_bytes;
        let mut entity = self.entity(core);
        // SAFETY: the store owns the entity and is borrowed exclusively.
        let entity = unsafe { entity.as_mut() };
        entity.grow(delta, limit).ok_or_else(|| Error::Limit {
            what: "pages of a linear memory",
            wanted: entity.present_type().min.saturating_add(delta),
            limit: entity.ty.max.unwrap_or(MAX_PAGES32).min(limit / WASM_PAGE),
        })
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
