//! A linear memory as its owner keeps it: its address space, its growth, and its reset to the
//! initial content.

use std::fs::File;
use std::ptr::NonNull;
use std::sync::Arc;

use precast_artifact::Strategy;
use precast_artifact::abi::{GUARDED_RESERVATION, MASKED_OFFSET_LIMIT};
use precast_artifact::vm::VmMemory;

use super::huge;
use super::images::Image;
use super::keep::{Keeper, Learned};
use super::shared::{GrowError, Shared};
use super::space;
use crate::error::Error;
use crate::shared_limits::Member;
use crate::sys::map::{Reservation, page_size, whole_pages};
use crate::types::MemoryType;

/// Maximum of bytes of a memory with 64-bit addresses: a 47-bit address space can hold no more.
const MAX_BYTES64: u64 = 1 << 47;

/// Bytes that a checked memory can grow in place beyond its initial size.
const CHECKED_ROOM: u64 = 1 << 20;

/// A linear memory.
#[derive(Debug)]
pub(crate) struct MemoryEntity {
    /// What machine code sees: in the VM context of the owning instance, or `own`.
    vm: *mut VmMemory,
    own: VmMemory,
    ty: MemoryType,
    /// Number of bytes that the memory starts with.
    initial: usize,
    /// Minimum length that code of importing instances relies on, in bytes.
    expected: usize,
    guarded: bool,
    place: Place,
    images: Vec<Image>,
    keeper: Keeper,
    /// Whether something other than machine code may have written to it.
    written: bool,
    released: bool,
    /// Whether it was moved from its first place, where its images were mapped. A comparison of
    /// addresses does not show this, since it may have moved back.
    moved: bool,
    /// Whether its pages are to have the usual size, however long it becomes, see
    /// [`huge`](super::huge).
    usual_pages: bool,
}

/// Where the bytes of a memory are.
#[derive(Debug)]
enum Place {
    /// In address space of its own.
    Own(Reservation),
    /// Where other threads use them too. `own` and the fields for writes and reset are unused then.
    Shared(Arc<Shared>),
}

impl MemoryEntity {
    /// A memory of `ty.min` zero pages, as modules with `strategy` have them.
    ///
    /// # Errors
    /// [`Error::Memory`] when the system refuses, [`Error::Limit`] beyond what there can be.
    pub(crate) fn new(ty: MemoryType, strategy: Strategy) -> Result<Self, Error> {
        let guarded = ty.is_guarded_by(strategy);
        Self::of_pages(ty, ty.min, guarded, Reservation::with_accessible)
    }

    /// A memory of an instance that starts with more pages than it must have, or as many. A memory
    /// that is to be shared has room for its maximum; [`MemoryEntity::share`] shares it.
    ///
    /// # Errors
    /// As for [`MemoryEntity::new`].
    pub(super) fn of_instance(ty: MemoryType, pages: u64, guarded: bool) -> Result<Self, Error> {
        Self::of_pages(ty, pages, guarded, space::take)
    }

    fn of_pages(
        ty: MemoryType,
        pages: u64,
        guarded: bool,
        reserve: fn(usize, usize) -> Result<Reservation, Error>,
    ) -> Result<Self, Error> {
        let len = initial_len(ty, pages)?;
        let room = if guarded {
            usize::try_from(GUARDED_RESERVATION).unwrap_or(usize::MAX)
        } else {
            let max_bytes = ty.bytes(ty.max.unwrap_or(u64::MAX));
            let room = match ty.shared {
                true if max_bytes > MAX_BYTES64 => return Err(too_long(max_bytes, MAX_BYTES64)),
                true => max_bytes,
                false => (len as u64).saturating_add(CHECKED_ROOM).min(max_bytes),
            };
            room_for(ty, usize::try_from(room).unwrap_or(usize::MAX))
        };
        let page = page_size();
        let reservation = reserve(room.next_multiple_of(page), len.next_multiple_of(page))?;
        let base = reservation.base().as_ptr();
        let own = VmMemory::new(base, len, mask_of(ty, guarded, len));
        let (vm, images) = (std::ptr::null_mut(), Vec::new());
        Ok(Self {
            vm,
            own,
            ty,
            initial: len,
            expected: 0,
            guarded,
            place: Place::Own(reservation),
            images,
            keeper: Keeper::default(),
            written: false,
            released: false,
            moved: false,
            usual_pages: false,
        })
    }

    /// A memory that other threads use too, as an instance of this store has it.
    pub(crate) fn of_shared(shared: Arc<Shared>) -> Self {
        let (ty, guarded, vm) = (shared.ty(), shared.is_guarded(), shared.head());
        Self {
            vm,
            own: VmMemory::new(std::ptr::null_mut(), 0, 0),
            ty,
            initial: 0,
            expected: 0,
            guarded,
            place: Place::Shared(shared),
            images: Vec::new(),
            keeper: Keeper::default(),
            written: false,
            released: false,
            moved: false,
            usual_pages: false,
        }
    }

    /// Makes a memory that nobody uses yet one that other threads can use too. What it takes counts
    /// in the limits of `member`.
    pub(crate) fn share(self, member: Option<Member>) -> Arc<Shared> {
        match self.place {
            Place::Shared(shared) => shared,
            Place::Own(reservation) => {
                let (ty, guarded, head) = (self.ty, self.guarded, self.own);
                Arc::new(Shared::new(ty, guarded, reservation, head, member))
            }
        }
    }

    /// The memory as other threads can use it, if they can.
    pub(crate) fn shared(&self) -> Option<&Arc<Shared>> {
        match &self.place {
            Place::Own(_) => None,
            Place::Shared(shared) => Some(shared),
        }
    }

    /// Maps pages of initial content into the memory, copy-on-write.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn map_image(&mut self, file: &File, image: Image) -> Result<(), Error> {
        // A memory is shared after its initial content is mapped.
        if let Place::Own(reservation) = &mut self.place {
            reservation.map_file(image.guest, image.bytes.len(), file, image.offset)?;
        }
        self.images.push(image);
        Ok(())
    }

    /// Sets where machine code reads the base and the length of this memory, and writes them there.
    /// `None` stands for the entity itself, which must not move any more. A shared memory stays
    /// where it is.
    ///
    /// # Safety
    /// The place is valid as long as the entity.
    pub(crate) unsafe fn set_vm(&mut self, vm: Option<NonNull<VmMemory>>) {
        if let Place::Shared(_) = self.place {
            return;
        }
        let own = self.own;
        self.vm = vm.map_or(&raw mut self.own, NonNull::as_ptr);
        // SAFETY: by this function's contract.
        unsafe { self.vm.write(own) };
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

    /// First and last address of its address space, exclusive.
    pub(crate) fn space(&self) -> (usize, usize) {
        match &self.place {
            Place::Own(reservation) => {
                let start = reservation.base().as_ptr() as usize;
                (start, start + reservation.len())
            }
            Place::Shared(shared) => shared.space(),
        }
    }

    /// The type with the present size as its minimum, which linking compares with.
    pub(crate) fn present_type(&self) -> MemoryType {
        MemoryType {
            min: self.ty.pages(self.len() as u64),
            ..self.ty
        }
    }

    pub(crate) fn base(&self) -> *mut u8 {
        // SAFETY: the owner has called `set_vm`; the base of a shared memory never changes.
        unsafe { (*self.vm).base }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.place {
            // SAFETY: the owner has called `set_vm`.
            Place::Own(_) => unsafe { (*self.vm).len },
            Place::Shared(shared) => shared.len(),
        }
    }

    /// The maximum number of pages that the memory can have.
    pub(crate) fn max_pages(&self) -> u64 {
        let possible = max_pages(self.ty);
        self.ty.max.unwrap_or(possible).min(possible)
    }

    /// Bytes that are accessible from the start, in whole pages of the system.
    fn initial_len(&self) -> usize {
        whole_pages(self.initial)
    }

    /// Makes the memory `new_len` bytes long, if it is `len` bytes long now. These are whole pages
    /// of wasm, more than it has now, and the caller has checked the maximum.
    ///
    /// # Errors
    /// [`Error::Memory`]; nothing has changed then.
    pub(crate) fn grow(&mut self, len: u64, new_len: u64) -> Result<(), GrowError> {
        let new_len = usize::try_from(new_len).unwrap_or(usize::MAX);
        match &self.place {
            Place::Own(_) => self.grow_own(new_len).map_err(GrowError::Refused),
            Place::Shared(shared) => shared.grow(len as usize, new_len),
        }
    }

    fn grow_own(&mut self, new_len: usize) -> Result<(), Error> {
        let len = self.len();
        let max_bytes = self.ty.bytes(self.max_pages());
        let Place::Own(reservation) = &mut self.place else {
            return Ok(());
        };
        if self.released {
            return Err(too_long(new_len as u64, len as u64));
        }
        let page = page_size();
        let (committed, needed) = (len.next_multiple_of(page), new_len.next_multiple_of(page));
        // Growth that the reservation has room for may need more of it to mask indices with.
        if needed <= reservation.len()
            && (self.guarded || room_for(self.ty, needed) <= reservation.len())
        {
            // A memory that will have to move has one mapping until then.
            match (self.guarded || self.moved) && !self.usual_pages {
                true => huge::grow(reservation, committed, needed, self.moved)?,
                false => reservation.commit(committed, needed - committed)?,
            }
        } else if self.guarded {
            // A guarded memory must not move, since code keeps its base. Its reservation holds all
            // that a 32-bit memory can have.
            return Err(too_long(new_len as u64, reservation.len() as u64));
        } else {
            // Twice the room, so that moving stays in proportion to growth.
            let room = (needed.saturating_mul(2) as u64).min(max_bytes);
            let room = room_for(self.ty, (room as usize).max(needed)).next_multiple_of(page);
            let min_room = room_for(self.ty, needed).next_multiple_of(page);
            let has_file = !self.images.is_empty() && !self.moved;
            reservation
                .move_to(committed, needed, room, has_file)
                .or_else(|_| reservation.move_to(committed, needed, min_room, has_file))?;
            self.moved = true;
            huge::ask(reservation, committed, needed, true);
        }
        let mask = mask_of(self.ty, self.guarded, new_len);
        let vm = VmMemory::new(reservation.base().as_ptr(), new_len, mask);
        // SAFETY: the owner has called `set_vm`.
        unsafe { self.vm.write(vm) };
        Ok(())
    }

    /// Notes that something other than machine code is going to write to the memory.
    pub(crate) fn will_write(&mut self) {
        self.written = true;
    }

    /// Gives the pages back to the system. If the system refuses, they stay, which does no harm.
    /// Code may hold base and length, so these stay the same and the bytes stay accessible: they
    /// are the initial ones, or zero. The memory never grows again, and is no longer
    /// [resettable](Self::is_resettable). Returns how many bytes nobody needs from now on: none of
    /// a memory that other threads may be using, see [`Shared::release`].
    pub(crate) fn release(&mut self) -> u64 {
        let bytes = self.len();
        let Place::Own(reservation) = &mut self.place else {
            return 0;
        };
        if self.released {
            return 0;
        }
        reservation.discard(0, reservation.reach()).ok();
        self.released = true;
        bytes as u64
    }

    /// Gives the address space of a memory that nobody uses any more to the next one of this
    /// thread, unless it has moved, or is other threads' too.
    pub(super) fn retire(&mut self) {
        if self.moved {
            return;
        }
        if let Place::Own(reservation) = &mut self.place {
            space::keep(reservation.take());
        }
    }

    /// If the memory of an instance has moved, replaces its reservation by a new one with the
    /// initial size and content. Nobody may know the memory's address but through the instance. The
    /// images are in `file`.
    ///
    /// # Errors
    /// The system's; nothing has changed then.
    pub(super) fn come_back(&mut self, file: Option<&File>) -> Result<(), Error> {
        if !self.moved {
            return Ok(());
        }
        let pages = self.ty.pages(self.initial as u64);
        let mut again = Self::of_instance(self.ty, pages, self.guarded)?;
        if let Some(file) = file {
            for image in &self.images {
                again.map_image(file, *image)?;
            }
        }
        again.vm = self.vm;
        // SAFETY: the owner has called `set_vm`.
        unsafe { self.vm.write(again.own) };
        *self = again;
        Ok(())
    }

    /// Notes that code of another instance, which imports the memory, relies on this number of
    /// pages. The memory has at least as many now.
    pub(super) fn expect(&mut self, pages: u64) {
        let bytes = usize::try_from(self.ty.bytes(pages)).unwrap_or(usize::MAX);
        self.expected = self.expected.max(bytes);
    }

    /// If importers rely on more than the initial size: the number of pages that they rely on, and
    /// the initial number. A shared memory never gets its initial size again.
    pub(crate) fn expected_beyond_initial(&self) -> Option<(u64, u64)> {
        let pages = |bytes: usize| self.ty.pages(bytes as u64);
        (self.expected > self.initial && self.shared().is_none())
            .then(|| (pages(self.expected), pages(self.initial)))
    }

    /// Whether [`MemoryEntity::reset`] can restore the initial content: never that of a memory that
    /// other threads may be using.
    pub(crate) fn is_resettable(&self) -> bool {
        !self.released && !self.moved && self.shared().is_none()
    }

    /// Restores the size and content that the memory had when instantiation began. The owner calls
    /// [`MemoryEntity::set_vm`] afterwards. `ran` says whether machine code may have written to
    /// it. The cost is in proportion to the pages that tenants write, see [`keep`](super::keep).
    ///
    /// # Errors
    /// The system's. Nobody may take the memory over then, and anything may be left in it, but code
    /// of others can still use it.
    pub(crate) fn reset(&mut self, ran: bool, learned: Option<&Learned>) -> Result<(), Error> {
        // No importer relies on a larger size any more: otherwise the reset was refused.
        self.expected = 0;
        let initial = self.initial_len();
        let present = whole_pages(self.len());
        self.usual_pages = present <= learned.map_or(0, Learned::max);
        if ran || self.written || present > initial {
            if let Place::Own(reservation) = &mut self.place {
                let (keeper, mut end) = (&mut self.keeper, present);
                if let Some(huge) = reservation.huge() {
                    // What may be in huge pages is discarded below.
                    keeper.cut(huge);
                    end = end.min(huge);
                }
                // SAFETY: the owner resets it, so nobody uses it.
                unsafe { keeper.restore(reservation, end, &self.images, learned)? };
            }
            self.written = false;
        }
        let Place::Own(reservation) = &mut self.place else {
            return Ok(());
        };
        let accessible = reservation.accessible();
        if accessible > present {
            // The system has refused to make the memory longer, and to take the access away again.
            reservation.discard(present, accessible - present)?;
        }
        if accessible > initial || reservation.huge().is_some() {
            // First the length is shorter, since code of other instances may use the memory if
            // something is refused.
            // SAFETY: the owner has called `set_vm`.
            unsafe { self.vm.write(self.own) };
            reservation.end_huge_pages()?;
            reservation.close(initial, reservation.accessible() - initial)?;
        }
        Ok(())
    }

    /// The number of mappings of a memory that was reset, at most: what is accessible, what is not,
    /// with and without advice about huge pages, and each image, which divides a mapping. Zero for
    /// a shared memory.
    pub(crate) fn mappings(&self) -> usize {
        match &self.place {
            Place::Own(own) => 2 + usize::from(own.has_advice()) + 2 * self.images.len(),
            Place::Shared(_) => 0,
        }
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
        match &mut self.place {
            Place::Own(reservation) => self.keeper.discard(reservation),
            Place::Shared(_) => Ok(()),
        }
    }
}

/// The maximum number of pages that a memory of this type could have without a maximum.
fn max_pages(ty: MemoryType) -> u64 {
    match ty.memory64 {
        true => ty.pages(MAX_BYTES64),
        false => ty.largest(),
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

/// What [`VmMemory::mask`] is for a memory of this length. That of a shared memory must not change,
/// since code reads it apart from the length.
fn mask_of(ty: MemoryType, guarded: bool, len: usize) -> usize {
    let len = match ty.max {
        Some(max) if ty.shared => usize::try_from(ty.bytes(max)).unwrap_or(usize::MAX),
        _ => len,
    };
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
    let limit = ty.bytes(max_pages(ty));
    let wanted = ty.bytes(pages);
    if wanted > limit {
        return Err(too_long(wanted, limit));
    }
    Ok(usize::try_from(wanted).unwrap_or(usize::MAX))
}
