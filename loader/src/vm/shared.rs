//! A linear memory that several threads use at the same time.
//!
//! ```text
//!   Shared  { head: VmMemory { base, len, mask, … }, reservation, waiters }
//!              ↑ every VM context with this memory has a pointer here
//! ```
//! The memory belongs to everything that uses it together: instances of any store on any thread,
//! and handles of the host. Its address space is reserved for all that it can ever be long, so the
//! base and the mask never change. Its length is only read and written atomically. It is made
//! longer under a lock: first the bytes become accessible, then the length says so. It never
//! shrinks, is never reset, and never becomes part of a snapshot.
//!
//! The bytes are everybody's. Rust code reads and writes them only by atomic accesses
//! ([`Shared::read`], [`Shared::write`]), so two threads of the host never race with an access that
//! is not atomic. Their accesses may overlap in different sizes, a word here and a byte there. The
//! memory model of Rust does not define races of such accesses. On both architectures each is one
//! instruction, which does not tear, so every byte that is read is one that was written. (The
//! operators `memory.copy` and `memory.fill` are calls of `memmove` and `memset` on behalf of
//! machine code, which is free to race.)

use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use precast_artifact::vm::VmMemory;

use super::bounds::range;
use super::huge;
use super::parking::Waiters;
use crate::error::Error;
use crate::lock::lock;
use crate::shared_limits::{Counts, Member, SharedLimits};
use crate::sys::map::{Reservation, page_size};
use crate::types::MemoryType;

/// A memory of several threads.
#[derive(Debug)]
pub(crate) struct Shared {
    head: UnsafeCell<VmMemory>,
    ty: MemoryType,
    guarded: bool,
    /// First and last address of its address space, exclusive.
    space: (usize, usize),
    /// The limits that it was made within.
    limits: Option<SharedLimits>,
    /// Locked by the thread that makes the memory longer.
    growth: Mutex<Growth>,
    /// The threads that wait for a notification.
    pub(crate) waiters: Waiters,
}

/// What changes when a shared memory grows.
#[derive(Debug)]
struct Growth {
    reservation: Reservation,
    /// What counts for it in the limits that it was made within. Dropped last.
    member: Option<Member>,
}

// SAFETY: the head's base never changes, its length is only accessed atomically, and so are the
// bytes that they describe, except by machine code.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Why a shared memory did not grow.
pub(crate) enum GrowError {
    /// Another thread has made it longer in between.
    Changed,
    /// The system has refused, or the limits that the memory was made within.
    Refused(Error),
}

impl Shared {
    /// A memory of this type in a reservation that has room for its maximum, with this base, length
    /// and mask, which is that of its maximum. What it takes counts in the limits of `member`.
    pub(crate) fn new(
        ty: MemoryType,
        guarded: bool,
        reservation: Reservation,
        head: VmMemory,
        member: Option<Member>,
    ) -> Self {
        let start = reservation.base().as_ptr() as usize;
        Self {
            head: UnsafeCell::new(head),
            ty,
            guarded,
            space: (start, start + reservation.len()),
            limits: member.as_ref().map(|member| member.limits().clone()),
            growth: Mutex::new(Growth {
                reservation,
                member,
            }),
            waiters: Waiters::default(),
        }
    }

    /// What machine code sees.
    pub(crate) fn head(&self) -> *mut VmMemory {
        self.head.get()
    }

    pub(crate) fn ty(&self) -> MemoryType {
        self.ty
    }

    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// Whether it was made within these limits.
    pub(crate) fn is_within(&self, limits: &SharedLimits) -> bool {
        let own = self.limits.as_ref();
        own.is_some_and(|own| own.are(limits))
    }

    pub(crate) fn space(&self) -> (usize, usize) {
        self.space
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        // SAFETY: the base never changes, and is not null.
        unsafe { NonNull::new_unchecked((*self.head.get()).base) }
    }

    pub(crate) fn len(&self) -> usize {
        // SAFETY: the length is aligned, and every thread accesses it atomically.
        let len = unsafe { AtomicUsize::from_ptr(&raw mut (*self.head.get()).len) };
        len.load(Ordering::SeqCst)
    }

    /// Makes the memory `new_len` bytes long, which are more than `len`, if it is `len` bytes long
    /// now. The caller has checked the maximum.
    pub(crate) fn grow(&self, len: usize, new_len: usize) -> Result<(), GrowError> {
        let mut growth = lock(&self.growth);
        let Growth {
            reservation,
            member,
        } = &mut *growth;
        if self.len() != len {
            return Err(GrowError::Changed);
        }
        let page = page_size();
        let (committed, needed) = (len.next_multiple_of(page), new_len.next_multiple_of(page));
        if needed > reservation.len() {
            return Err(GrowError::Refused(Error::Limit {
                what: "bytes of a shared memory",
                wanted: new_len as u64,
                limit: reservation.len() as u64,
            }));
        }
        if let Some(member) = member {
            let asked = member.ask(Counts::of_memory(new_len as u64), (new_len as u64, 0));
            asked.map_err(GrowError::Refused)?;
        }
        huge::ask(reservation, committed, needed, false);
        if let Err(error) = reservation.commit(committed, needed - committed) {
            if let Some(member) = member {
                member.settle(Counts::of_memory(len as u64));
            }
            return Err(GrowError::Refused(error));
        }
        // SAFETY: as for `len`.
        let place = unsafe { AtomicUsize::from_ptr(&raw mut (*self.head.get()).len) };
        place.store(new_len, Ordering::SeqCst);
        Ok(())
    }

    /// Gives the pages back to the system. If the system refuses, they stay, which does no harm.
    /// The length stays the same, and the bytes are the initial ones, or zero. Nobody uses the
    /// memory.
    pub(super) fn release(&self) {
        let reservation = &mut lock(&self.growth).reservation;
        reservation.discard(0, reservation.reach()).ok();
    }

    /// The address of a value of `size` bytes.
    ///
    /// # Errors
    /// `None` if it is out of bounds.
    pub(crate) fn place(&self, at: u64, size: usize) -> Option<NonNull<u8>> {
        let range = range(at, size as u64, self.len()).ok()?;
        // SAFETY: inside the memory, which never shrinks.
        Some(unsafe { self.base().add(range.start) })
    }

    /// Copies bytes out of the memory, each by an atomic access. Returns whether all of them are in
    /// bounds; nothing is copied otherwise.
    pub(crate) fn read(&self, at: u64, to: &mut [u8]) -> bool {
        let Some(from) = self.place(at, to.len()) else {
            return false;
        };
        // SAFETY: `to.len()` bytes from `from` on are in bounds, and nobody makes references to
        // them.
        unsafe { copy_out(from.as_ptr(), to) };
        true
    }

    /// Copies bytes into the memory, as [`Shared::read`] copies them out.
    pub(crate) fn write(&self, at: u64, from: &[u8]) -> bool {
        let Some(to) = self.place(at, from.len()) else {
            return false;
        };
        // SAFETY: as above.
        unsafe { copy_in(from, to.as_ptr()) };
        true
    }

    /// The value at an address that is a multiple of its size, in bounds.
    ///
    /// # Safety
    /// The address is in bounds and aligned.
    pub(crate) unsafe fn load32(&self, place: NonNull<u8>) -> u32 {
        // SAFETY: by this function's contract; only atomic accesses and machine code get there.
        let value = unsafe { std::sync::atomic::AtomicU32::from_ptr(place.as_ptr().cast()) };
        u32::from_le(value.load(Ordering::SeqCst))
    }

    /// As [`Shared::load32`].
    ///
    /// # Safety
    /// As for [`Shared::load32`].
    pub(crate) unsafe fn load64(&self, place: NonNull<u8>) -> u64 {
        // SAFETY: as above.
        let value = unsafe { AtomicU64::from_ptr(place.as_ptr().cast()) };
        u64::from_le(value.load(Ordering::SeqCst))
    }
}

/// Bytes of the words that are copied at once.
const WORD: usize = size_of::<u64>();

/// Copies bytes that other threads may write to.
///
/// # Safety
/// `to.len()` bytes from `from` on can be read, and are accessed only atomically or by machine
/// code.
unsafe fn copy_out(from: *const u8, to: &mut [u8]) {
    let head = from.align_offset(WORD).min(to.len());
    let (first, rest) = to.split_at_mut(head);
    // SAFETY: by this function's contract; words are read only where the address is aligned.
    unsafe {
        let byte = |i: usize| AtomicU8::from_ptr(from.add(i).cast_mut()).load(Ordering::Relaxed);
        for (i, to) in first.iter_mut().enumerate() {
            *to = byte(i);
        }
        let (words, last) = rest.as_chunks_mut::<WORD>();
        for (i, to) in words.iter_mut().enumerate() {
            let word = from.add(head + WORD * i).cast::<u64>().cast_mut();
            *to = AtomicU64::from_ptr(word)
                .load(Ordering::Relaxed)
                .to_ne_bytes();
        }
        let done = head + WORD * words.len();
        for (i, to) in last.iter_mut().enumerate() {
            *to = byte(done + i);
        }
    }
}

/// Copies bytes to where other threads may read and write.
///
/// # Safety
/// As for [`copy_out`].
unsafe fn copy_in(from: &[u8], to: *mut u8) {
    let head = to.align_offset(WORD).min(from.len());
    let (first, rest) = from.split_at(head);
    // SAFETY: as above.
    unsafe {
        let byte =
            |i: usize, value: u8| AtomicU8::from_ptr(to.add(i)).store(value, Ordering::Relaxed);
        for (i, from) in first.iter().enumerate() {
            byte(i, *from);
        }
        let (words, last) = rest.as_chunks::<WORD>();
        for (i, from) in words.iter().enumerate() {
            let word = to.add(head + WORD * i).cast::<u64>();
            AtomicU64::from_ptr(word).store(u64::from_ne_bytes(*from), Ordering::Relaxed);
        }
        let done = head + WORD * words.len();
        for (i, from) in last.iter().enumerate() {
            byte(done + i, *from);
        }
    }
}
