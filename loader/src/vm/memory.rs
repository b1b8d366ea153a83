//! A linear memory as its owner keeps it: its address space, its growth, and its reset to the
//! initial content.

use std::fs::File;
use std::ptr::NonNull;

use precast_artifact::Strategy;
use precast_artifact::abi::{GUARDED_RESERVATION, MASKED_OFFSET_LIMIT};
use precast_artifact::vm::VmMemory;

use super::keep::{Keeper, Learned};
use crate::error::Error;
use crate::sys::map::{Reservation, page_size};
use crate::types::{MAX_PAGES32, MemoryType, WASM_PAGE};

/// Maximum of pages of a memory with 64-bit addresses: a 47-bit address space can hold no more.
const MAX_PAGES64: u64 = 1 << 31;

/// Bytes that a checked memory can grow in place beyond its initial size.
const CHECKED_ROOM: u64 = 1 << 20;

/// A run of pages of the initial content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Image {
    /// First byte in the memory.
    pub(crate) guest: usize,
    /// The bytes, in the artifact's mapping, which outlives the memory.
    pub(crate) bytes: NonNull<[u8]>,
    /// Where they are in the artifact's file.
    pub(crate) offset: u64,
}

/// A linear memory.
#[derive(Debug)]
pub(crate) struct MemoryEntity {
    /// What machine code sees: in the VM context of the owning instance, or `own`.
    vm: *mut VmMemory,
    own: VmMemory,
    ty: MemoryType,
    /// Bytes that it starts with.
    initial: usize,
    /// Bytes that code of other instances takes it to have at least.
    expected: usize,
    guarded: bool,
    reservation: Reservation,
    images: Vec<Image>,
    keeper: Keeper,
    /// Whether anybody other than machine code may have written to it.
    written: bool,
    released: bool,
    /// Whether it was moved from its first place, where its images were mapped. A comparison of
    /// addresses does not show this, since it may have moved back.
    moved: bool,
}

impl MemoryEntity {
    /// A memory of `ty.min` zero pages, as modules with `strategy` have them.
    ///
    /// # Errors
    /// [`Error::Memory`] when the system refuses, [`Error::Limit`] beyond what there can be.
    pub(crate) fn new(ty: MemoryType, strategy: Strategy) -> Result<Self, Error> {
        Self::of_pages(ty, ty.min, strategy.guards(ty.memory64))
    }

    /// A memory of this type that starts with more pages than it must have, or as many.
    ///
    /// # Errors
    /// As for [`MemoryEntity::new`].
    pub(super) fn of_pages(ty: MemoryType, pages: u64, guarded: bool) -> Result<Self, Error> {
        let len = initial_len(ty, pages)?;
        let room = if guarded {
            usize::try_from(GUARDED_RESERVATION).unwrap_or(usize::MAX)
        } else {
            let most = ty.max.unwrap_or(u64::MAX).saturating_mul(WASM_PAGE);
            let room = (len as u64).saturating_add(CHECKED_ROOM).min(most);
            room_for(ty, usize::try_from(room).unwrap_or(usize::MAX))
        };
        let mut reservation = Reservation::new(room.next_multiple_of(page_size()))?;
        reservation.commit(0, len.next_multiple_of(page_size()))?;
        let own = VmMemory {
            base: reservation.base().as_ptr(),
            len,
            mask: mask_of(ty, guarded, len),
        };
        let (vm, images) = (std::ptr::null_mut(), Vec::new());
        Ok(Self {
            vm,
            own,
            ty,
            initial: len,
            expected: 0,
            guarded,
            reservation,
            images,
            keeper: Keeper::default(),
            written: false,
            released: false,
            moved: false,
        })
    }

    /// Maps pages of initial content into the memory, copy-on-write.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn map_image(&mut self, file: &File, image: Image) -> Result<(), Error> {
        self.reservation
            .map_file(image.guest, image.bytes.len(), file, image.offset)?;
        self.images.push(image);
        Ok(())
    }

    /// Tells where machine code looks for this memory, and puts its base and length there. `None`:
    /// in the entity itself, which must not move any more.
    ///
    /// # Safety
    /// The place is valid as long as the entity.
    pub(crate) unsafe fn publish(&mut self, vm: Option<NonNull<VmMemory>>) {
        let VmMemory { base, len, mask } = self.own;
        self.vm = vm.map_or(&raw mut self.own, NonNull::as_ptr);
        // SAFETY: by this function's contract.
        unsafe { self.vm.write(VmMemory { base, len, mask }) };
    }

    pub(crate) fn vm(&self) -> *mut VmMemory {
        self.vm
    }

    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded
    }

    pub(crate) fn ty(&self) -> MemoryType {
        self.ty
    }

    pub(crate) fn reservation(&self) -> &Reservation {
        &self.reservation
    }

    /// The type with the present size as its minimum, which linking compares with.
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

    /// The maximum number of pages that the memory can have.
    pub(crate) fn most_pages(&self) -> u64 {
        let most = most_pages(self.ty);
        self.ty.max.unwrap_or(most).min(most)
    }

    /// Bytes that are accessible from the start, in whole pages of the system.
    fn initial_len(&self) -> usize {
        self.initial.next_multiple_of(page_size())
    }

    /// Makes the memory `new_len` bytes long. These are whole pages of wasm, more than it has now,
    /// and the caller has checked the maximum.
    ///
    /// # Errors
    /// [`Error::Memory`]; nothing has changed then.
    pub(crate) fn grow(&mut self, new_len: u64) -> Result<(), Error> {
        let len = self.len();
        if self.released {
            return Err(too_long(new_len, len as u64));
        }
        let most = self.most_pages().saturating_mul(WASM_PAGE);
        let new_len = usize::try_from(new_len).unwrap_or(usize::MAX);
        let page = page_size();
        let (committed, needed) = (len.next_multiple_of(page), new_len.next_multiple_of(page));
        // Growth that the reservation has room for may need more of it to mask indices with.
        if needed <= self.reservation.len()
            && (self.guarded || room_for(self.ty, needed) <= self.reservation.len())
        {
            self.reservation.commit(committed, needed - committed)?;
        } else if self.guarded {
            // A guarded memory must not move, since code keeps its base. Its reservation holds all
            // that a 32-bit memory can have.
            return Err(too_long(new_len as u64, self.reservation.len() as u64));
        } else {
            // Twice the room, so that moving stays in proportion to growth.
            let room = (needed.saturating_mul(2) as u64).min(most);
            let room = room_for(self.ty, (room as usize).max(needed)).next_multiple_of(page);
            let least = room_for(self.ty, needed).next_multiple_of(page);
            let has_file = !self.images.is_empty() && !self.moved;
            let place = &mut self.reservation;
            place
                .move_to(committed, needed, room, has_file)
                .or_else(|_| place.move_to(committed, needed, least, has_file))?;
            self.moved = true;
        }
        let vm = VmMemory {
            base: self.reservation.base().as_ptr(),
            len: new_len,
            mask: mask_of(self.ty, self.guarded, new_len),
        };
        // SAFETY: published when it was made.
        unsafe { self.vm.write(vm) };
        Ok(())
    }

    /// Notes that somebody other than machine code is going to write to the memory.
    pub(crate) fn will_write(&mut self) {
        self.written = true;
    }

    /// Gives the pages back to the system. If the system refuses, they stay, which does no harm.
    /// Code may hold base and length, so these stay the same and the bytes stay accessible: they
    /// are the initial ones, or zero. The memory never grows again, and is no longer
    /// [resettable](Self::is_resettable). Returns how many bytes nobody needs from now on.
    pub(crate) fn release(&mut self) -> u64 {
        if self.released {
            return 0;
        }
        let bytes = self.len();
        self.reservation
            .discard(0, bytes.next_multiple_of(page_size()))
            .ok();
        self.released = true;
        bytes as u64
    }

    /// Takes another place, with its initial size and content, if it has left the first one: a
    /// memory of an instance, of whose place nobody knows but through the instance. Its images are
    /// in `file`.
    ///
    /// # Errors
    /// The system's; nothing has changed then.
    pub(super) fn come_back(&mut self, file: Option<&File>) -> Result<(), Error> {
        if !self.moved {
            return Ok(());
        }
        let pages = self.initial as u64 / WASM_PAGE;
        let mut again = Self::of_pages(self.ty, pages, self.guarded)?;
        if let Some(file) = file {
            for image in &self.images {
                again.map_image(file, *image)?;
            }
        }
        again.vm = self.vm;
        let VmMemory { base, len, mask } = again.own;
        // SAFETY: published when it was made.
        unsafe { self.vm.write(VmMemory { base, len, mask }) };
        *self = again;
        Ok(())
    }

    /// Notes that code of another instance, which imports the memory, takes it to have at least so
    /// many pages. It has as many now.
    pub(super) fn expect(&mut self, pages: u64) {
        let bytes = usize::try_from(pages.saturating_mul(WASM_PAGE)).unwrap_or(usize::MAX);
        self.expected = self.expected.max(bytes);
    }

    /// If the memory would be too short for others with its initial size: the pages that they take
    /// it to have at least, and the initial ones.
    pub(crate) fn expected_beyond_initial(&self) -> Option<(u64, u64)> {
        let pages = |bytes: usize| bytes as u64 / WASM_PAGE;
        (self.expected > self.initial).then(|| (pages(self.expected), pages(self.initial)))
    }

    /// Whether [`MemoryEntity::reset`] can restore the initial content.
    pub(crate) fn is_resettable(&self) -> bool {
        !self.released && !self.moved
    }

    /// Restores the size and content that the memory had when instantiation began. The owner calls
    /// [`MemoryEntity::publish`] afterwards. `ran` says whether machine code may have written to it.
    /// The cost is in proportion to the pages that tenants write, see [`keep`](super::keep).
    ///
    /// # Errors
    /// The system's; the memory must not be used any more then.
    pub(crate) fn reset(&mut self, ran: bool, learned: Option<&Learned>) -> Result<(), Error> {
        // Whoever expects more is gone, or there would be no reset.
        self.expected = 0;
        let initial = self.initial_len();
        let present = self.len().next_multiple_of(page_size());
        if ran || self.written || present > initial {
            // SAFETY: the owner resets it, so nobody uses it.
            unsafe {
                let Self {
                    reservation,
                    images,
                    ..
                } = self;
                self.keeper.restore(reservation, present, images, learned)?;
            }
            self.written = false;
        }
        if present > initial {
            self.reservation.close(initial, present - initial)?;
        }
        Ok(())
    }

    /// Bytes that stay resident although nobody uses the memory.
    pub(crate) fn kept(&self) -> usize {
        self.keeper.kept()
    }

    /// Gives the resident bytes back to the system.
    ///
    /// # Errors
    /// The system's; the memory must not be used any more then.
    pub(crate) fn discard_kept(&mut self) -> Result<(), Error> {
        self.keeper.discard(&mut self.reservation)
    }
}

/// The maximum number of pages that a memory of this type could have without a maximum.
fn most_pages(ty: MemoryType) -> u64 {
    if ty.memory64 {
        MAX_PAGES64
    } else {
        MAX_PAGES32
    }
}

/// The bytes to reserve for a memory that is not guarded and may have this length.
fn room_for(ty: MemoryType, len: usize) -> usize {
    let len = len.max(page_size());
    if ty.memory64 {
        return len;
    }
    // No memory with 32-bit indices is longer than 2^32 bytes.
    len.next_power_of_two() + MASKED_OFFSET_LIMIT as usize
}

/// What [`VmMemory::mask`] is for a memory of this length.
fn mask_of(ty: MemoryType, guarded: bool, len: usize) -> usize {
    match (ty.memory64, guarded) {
        (true, _) => usize::MAX,
        (false, true) => u32::MAX as usize,
        (false, false) => len.next_power_of_two() - 1,
    }
}

fn too_long(wanted: u64, limit: u64) -> Error {
    Error::Limit {
        what: "bytes of a linear memory",
        wanted,
        limit,
    }
}

/// The initial bytes, if they can exist: a valid module may ask for more than any address space
/// has.
fn initial_len(ty: MemoryType, pages: u64) -> Result<usize, Error> {
    let limit = most_pages(ty) * WASM_PAGE;
    let wanted = pages.saturating_mul(WASM_PAGE);
    if wanted > limit {
        return Err(too_long(wanted, limit));
    }
    Ok(usize::try_from(wanted).unwrap_or(usize::MAX))
}
