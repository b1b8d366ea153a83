//! Address space: reservations, protection, file pages inside them.
//!
//! A process can have only a limited number of mappings, and limited memory. A part of the loader
//! that keeps mappings or memory in reserve registers a function that gives them back
//! ([`on_shortage`]). When the system refuses a request for lack of them, the loader gives the
//! reserves back and asks the system once more.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;

/// What is kept in reserve.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Instances,
    AddressSpace,
}

/// For each kind: gives back what is kept in reserve, and returns whether there was anything.
static SHORTAGE: [OnceLock<fn() -> bool>; 2] = [const { OnceLock::new() }; 2];

/// Registers the function that gives back mappings and memory that are kept in reserve.
///
/// `relieve` can be called on any thread, whenever the loader asks the system for memory.
pub(crate) fn on_shortage(kind: Kind, relieve: fn() -> bool) {
    SHORTAGE[kind as usize].get_or_init(|| relieve);
}

/// Returns whether the system, which has just refused something, should be asked again.
#[cold]
fn relieved() -> bool {
    let refused = io::Error::last_os_error();
    refused.raw_os_error() == Some(libc::ENOMEM) && relieve()
}

/// Gives back all that is kept in reserve. Returns whether there was anything.
fn relieve() -> bool {
    let all = SHORTAGE.iter().filter_map(OnceLock::get);
    all.fold(false, |any, relieve| relieve() | any)
}

/// Asks the system for memory, and once more after a shortage.
///
/// # Errors
/// The system's.
pub(crate) fn ask_twice<V>(mut ask: impl FnMut() -> io::Result<V>) -> io::Result<V> {
    match ask() {
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && relieve() => ask(),
        result => result,
    }
}

/// Calls `mmap`, and again after a shortage.
///
/// # Safety
/// As for `mmap`.
pub(super) unsafe fn mmap(
    at: *mut libc::c_void,
    len: usize,
    access: libc::c_int,
    flags: libc::c_int,
    fd: libc::c_int,
    offset: libc::off_t,
) -> *mut libc::c_void {
    // SAFETY: by this function's contract. A call that failed has changed nothing.
    unsafe {
        match libc::mmap(at, len, access, flags, fd, offset) {
            libc::MAP_FAILED if relieved() => libc::mmap(at, len, access, flags, fd, offset),
            base => base,
        }
    }
}

/// Calls `mremap`, which may move the mapping, and again after a shortage.
///
/// # Safety
/// As for `mremap`.
unsafe fn mremap(at: *mut libc::c_void, old: usize, new: usize) -> *mut libc::c_void {
    // SAFETY: by this function's contract. A call that failed has changed nothing.
    unsafe {
        match libc::mremap(at, old, new, libc::MREMAP_MAYMOVE) {
            libc::MAP_FAILED if relieved() => libc::mremap(at, old, new, libc::MREMAP_MAYMOVE),
            base => base,
        }
    }
}

/// Bytes of a page of this system, a power of two.
#[inline]
pub(crate) fn page_size() -> usize {
    /// Zero before the first call. All threads find the same.
    static KNOWN: AtomicUsize = AtomicUsize::new(0);

    #[cold]
    fn find() -> usize {
        // SAFETY: no preconditions. The size is in the auxiliary vector, so this makes no system
        // call.
        let found = unsafe { libc::getauxval(libc::AT_PAGESZ) } as usize;
        let size = if found.is_power_of_two() { found } else { 4096 };
        KNOWN.store(size, Ordering::Relaxed);
        size
    }

    match KNOWN.load(Ordering::Relaxed) {
        0 => find(),
        size => size,
    }
}

/// The least number of whole pages that has so many bytes, in bytes. There is one.
#[inline]
pub(crate) fn whole_pages(bytes: usize) -> usize {
    let last = page_size() - 1;
    (bytes + last) & !last
}

/// Address space that belongs to its owner alone. Unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    base: NonNull<u8>,
    len: usize,
    /// No byte from here on is accessible.
    accessible: usize,
    /// No byte from here on was ever accessible. Each function that makes bytes accessible raises
    /// this (all such functions are in this file), so [`Reservation::clear`] knows all bytes that
    /// may have content.
    reach: usize,
    /// From here on, the system was asked for huge pages.
    huge: Option<usize>,
    /// Whether the system may remember advice about any of the bytes.
    has_advice: bool,
}

// SAFETY: plain address space; its owner decides who may read or write it.
unsafe impl Send for Reservation {}
// SAFETY: as above.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Reserves `len` bytes of address space without access. `len` is a multiple of the page size
    /// and not zero.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new(len: usize) -> Result<Self, Error> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the system's choice touches nothing that exists.
        let base = unsafe { mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Error::system(format!(
                "reserve {len} bytes of address space"
            )));
        }
        match NonNull::new(base.cast()) {
            Some(base) => Ok(Self {
                base,
                len,
                accessible: 0,
                reach: 0,
                huge: None,
                has_advice: false,
            }),
            None => Err(Error::system(
                "reserve address space: the system gave address zero",
            )),
        }
    }

    /// Reserves `len` bytes of address space, of which the first `accessible` bytes can be read and
    /// written. Both are multiples of the page size.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn with_accessible(len: usize, accessible: usize) -> Result<Self, Error> {
        let mut reservation = Self::new(len)?;
        reservation.commit(0, accessible)?;
        Ok(reservation)
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Number of bytes after which no byte is accessible, a multiple of the page size. The number
    /// is larger than what the owner has asked for only if the system has refused a change.
    pub(crate) fn accessible(&self) -> usize {
        self.accessible
    }

    /// Number of bytes after which no byte was ever accessible.
    pub(crate) fn reach(&self) -> usize {
        self.reach
    }

    /// Makes `len` bytes from `start` on, which are not accessible, readable and writable. Both are
    /// multiples of the page size.
    ///
    /// # Errors
    /// The system's. The bytes are not accessible then, or [`Reservation::accessible`] says that
    /// they may be.
    pub(crate) fn commit(&mut self, start: usize, len: usize) -> Result<(), Error> {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "inside the reservation"
        );
        if len == 0 {
            return Ok(());
        }
        let before = self.accessible;
        self.note_access(start + len);
        // SAFETY: the range is inside this reservation, and nobody uses it yet.
        unsafe {
            let at = self.base.add(start);
            protect(at, len, libc::PROT_READ | libc::PROT_WRITE).inspect_err(|_| {
                // If the range is in several mappings of the system, the first ones may be
                // accessible now.
                if libc::mprotect(at.as_ptr().cast(), len, libc::PROT_NONE) == 0 {
                    self.accessible = before;
                }
            })
        }
    }

    /// Notes that bytes up to `end` may be accessible from now on.
    fn note_access(&mut self, end: usize) {
        self.accessible = self.accessible.max(end);
        self.reach = self.reach.max(end);
    }

    /// Moves the reservation to another place with `room` bytes, of which the first `accessible`
    /// bytes can be read and written afterwards. The content of the first `used` bytes, which are
    /// accessible now, moves along. All numbers are multiples of the page size, only `used` may be
    /// zero, and `used <= accessible <= room`.
    ///
    /// If no page of a file is among them, the system moves the pages themselves. Otherwise they
    /// are copied. Pages of zeros are left out, so that a page that nobody has written takes no
    /// memory, and each page is given back once it is copied, so that none takes memory twice.
    ///
    /// # Errors
    /// The system's; nothing has changed then.
    pub(crate) fn move_to(
        &mut self,
        used: usize,
        accessible: usize,
        room: usize,
        has_file: bool,
    ) -> Result<(), Error> {
        assert!(used <= self.len && used <= accessible && accessible <= room);
        let base = if used == 0 || has_file {
            libc::MAP_FAILED
        } else {
            // SAFETY: the range is inside this reservation, whose owner asked for it; the system
            // chooses a free place, and the bytes that are added to a mapping without a file are
            // zero.
            unsafe {
                let old = self.base.as_ptr().cast();
                mremap(old, used, room)
            }
        };
        if let Some(base) = NonNull::new(base.cast()).filter(|_| base != libc::MAP_FAILED) {
            // The system has unmapped the first `used` bytes at their old place.
            let rest = (self.base, self.len);
            (self.base, self.len) = (base, room);
            (self.accessible, self.reach) = (room, room);
            // SAFETY: the rest of the old place belongs to this reservation.
            unsafe {
                if rest.1 > used {
                    libc::munmap(rest.0.add(used).as_ptr().cast(), rest.1 - used);
                }
            }
            // If the system refuses, this part, which nobody uses yet, keeps more access than it
            // needs, which does no harm.
            self.close(accessible, room - accessible).ok();
            return Ok(());
        }
        let mut moved = Self::new(room)?;
        moved.commit(0, accessible)?;
        // SAFETY: two different reservations, both accessible for `used` bytes.
        unsafe { move_pages(self.base, moved.base, used) };
        *self = moved;
        Ok(())
    }

    /// Discards the content of `len` bytes from `start` on: they have the content again that they
    /// had when they were mapped. Both numbers are multiples of the page size.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn discard(&mut self, start: usize, len: usize) -> Result<(), Error> {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "inside the reservation"
        );
        // SAFETY: the range is inside this reservation, whose owner asked for it.
        match unsafe { discard(self.base.add(start), len) } {
            true => Ok(()),
            false => Err(Error::system(format!("discard {len} bytes"))),
        }
    }

    /// Maps new pages in the place of all bytes that were ever accessible. They are zero and can be
    /// read and written, whatever was mapped there before. Returns whether that worked. If not, the
    /// reservation must not be used any more.
    #[must_use]
    pub(crate) fn clear(&mut self) -> bool {
        let len = self.reach;
        if len == 0 {
            return true;
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: the range is inside this reservation, whose owner asked for it to be replaced.
        let at = unsafe { mmap(self.base.as_ptr().cast(), len, access, flags, -1, 0) };
        self.accessible = len;
        at != libc::MAP_FAILED
    }

    /// Makes exactly the first `accessible` bytes of a reservation readable and writable, which was
    /// [cleared](Self::clear) and not used since. `accessible` is a multiple of the page size. All
    /// of the bytes are zero.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open_cleared(&mut self, accessible: usize) -> Result<(), Error> {
        let reach = self.reach;
        if accessible >= reach {
            return self.commit(reach, accessible - reach);
        }
        self.close(accessible, reach - accessible)?;
        self.reach = accessible;
        Ok(())
    }

    /// Moves the address space out, and leaves an empty reservation here.
    pub(crate) fn take(&mut self) -> Self {
        let nothing = Self {
            base: NonNull::dangling(),
            len: 0,
            accessible: 0,
            reach: 0,
            huge: None,
            has_advice: false,
        };
        std::mem::replace(self, nothing)
    }

    /// Asks the system for huge pages where bytes from `start` on are used first, if the address
    /// space of a whole one is accessible then. A system without huge pages refuses, which does no
    /// harm. `start` is a multiple of the page size.
    pub(crate) fn ask_for_huge_pages(&mut self, start: usize) {
        if self.advise(start, libc::MADV_HUGEPAGE) {
            self.huge = Some(start);
        }
    }

    /// Whether the system may remember advice about any of the bytes.
    pub(crate) fn has_advice(&self) -> bool {
        self.has_advice
    }

    /// The offset from which on the system was asked for huge pages.
    pub(crate) fn huge(&self) -> Option<usize> {
        self.huge
    }

    /// Like [`Reservation::commit`], and lets the system give memory to all `block` bytes around
    /// the end, which is one huge page at best. Their other bytes, which nobody has used yet, are
    /// not accessible afterwards. The first byte of these `block` bytes is at `start` or behind.
    ///
    /// # Errors
    /// As for [`Reservation::commit`].
    pub(crate) fn commit_ahead(
        &mut self,
        start: usize,
        len: usize,
        block: std::ops::Range<usize>,
    ) -> Result<(), Error> {
        let end = start + len;
        assert!(start <= block.start && block.start < end && end <= block.end);
        if self.commit(start, block.end - start).is_err() {
            return self.commit(start, len);
        }
        // SAFETY: accessible since now, so nobody uses it yet, and the byte is zero.
        unsafe { self.base.add(block.start).write_volatile(0) };
        self.close(end, block.end - end)
    }

    /// Discards the content of all bytes for which the system was asked for huge pages, and asks
    /// for pages of the usual size from now on.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn end_huge_pages(&mut self) -> Result<(), Error> {
        let Some(start) = self.huge else {
            return Ok(());
        };
        self.discard(start, self.reach.saturating_sub(start))?;
        if self.advise(start, libc::MADV_NOHUGEPAGE) {
            self.huge = None;
        }
        Ok(())
    }

    /// Gives advice on the bytes from `start` on. Returns whether the system takes it.
    fn advise(&mut self, start: usize, advice: libc::c_int) -> bool {
        assert!(start <= self.len, "inside the reservation");
        self.has_advice = true;
        // SAFETY: the range is inside this reservation, and no advice that is given here changes
        // the content.
        unsafe {
            let at = self.base.add(start).as_ptr().cast();
            libc::madvise(at, self.len - start, advice) == 0
        }
    }

    /// Asks the system for pages of the usual size only, so that the first use of a byte takes the
    /// memory of one such page. A system without huge pages refuses, which does no harm.
    #[cfg(feature = "async")]
    pub(crate) fn refuse_huge_pages(&mut self) {
        self.advise(0, libc::MADV_NOHUGEPAGE);
    }

    /// Takes away the access to `len` bytes from `start` on. Their content stays.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn close(&mut self, start: usize, len: usize) -> Result<(), Error> {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "inside the reservation"
        );
        if len == 0 {
            return Ok(());
        }
        // SAFETY: the range is inside this reservation, whose owner asked for it.
        unsafe { protect(self.base.add(start), len, libc::PROT_NONE)? };
        if start + len >= self.accessible {
            self.accessible = self.accessible.min(start);
        }
        Ok(())
    }

    /// Maps pages of a file into the reservation, copy-on-write. All numbers are multiples of the
    /// page size.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn map_file(
        &mut self,
        start: usize,
        len: usize,
        file: &File,
        offset: u64,
    ) -> Result<(), Error> {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "inside the reservation"
        );
        if len == 0 {
            return Ok(());
        }
        self.note_access(start + len);
        let offset = libc::off_t::try_from(offset).unwrap_or(libc::off_t::MAX);
        // SAFETY: the range is inside this reservation, whose owner asked for it to be replaced.
        let at = unsafe {
            mmap(
                self.base.as_ptr().add(start).cast(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE,
                file.as_raw_fd(),
                offset,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(Error::system(format!("map {len} bytes of a memory image")));
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        // SAFETY: the reservation is the owner's, and nobody can use it after the owner. If the
        // system refuses (to split what it merged with a neighbour), the range stays unused.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Copies the whole pages that are not zero to a place where every byte is zero, and discards them
/// at their old place, a few at a time.
///
/// # Safety
/// Both ranges can be read and written, nobody else uses them, and they do not overlap.
unsafe fn move_pages(from: NonNull<u8>, to: NonNull<u8>, len: usize) {
    const AT_ONCE: usize = 1 << 20;
    let page = page_size();
    for start in (0..len).step_by(AT_ONCE) {
        let end = (start + AT_ONCE).min(len);
        for at in (start..end).step_by(page) {
            // SAFETY: by this function's contract.
            unsafe {
                let words = from.add(at).cast::<u64>().as_ptr();
                let words = std::slice::from_raw_parts(words, page / size_of::<u64>());
                if words.iter().any(|word| *word != 0) {
                    to.add(at).copy_from_nonoverlapping(from.add(at), page);
                }
            }
        }
        // SAFETY: by this function's contract. If the system refuses, the pages are freed together
        // with the rest of the old place.
        unsafe {
            let place = from.add(start).as_ptr().cast();
            libc::madvise(place, end - start, libc::MADV_DONTNEED);
        }
    }
}

/// Discards the content of whole pages: they have the content again that they had when they were
/// mapped. Returns whether that worked.
///
/// # Safety
/// The pages are mapped, and nobody relies on their content.
pub(crate) unsafe fn discard(at: NonNull<u8>, len: usize) -> bool {
    /// For pages that a process has locked in memory. Linux has this since version 5.18.
    const DONTNEED_LOCKED: libc::c_int = 24;
    // SAFETY: by this function's contract.
    let discard = |advice| unsafe { libc::madvise(at.as_ptr().cast(), len, advice) == 0 };
    let refused = || io::Error::last_os_error().raw_os_error();
    discard(libc::MADV_DONTNEED)
        || (refused() == Some(libc::EINVAL) && discard(DONTNEED_LOCKED))
        || (relieved() && discard(libc::MADV_DONTNEED))
}

/// The first words of a file from `offset` on, at most `max` of them. The result has fewer words if
/// the file ends earlier or cannot be read.
pub(crate) fn read_start(file: &File, offset: u64, max: usize) -> Vec<u64> {
    let mut words = Vec::<u64>::with_capacity(max);
    let Ok(offset) = libc::off_t::try_from(offset) else {
        return words;
    };
    // SAFETY: the file is open, and the buffer has room for that many bytes. Every value of a byte
    // is valid, and `pread` says how many bytes it has written.
    unsafe {
        let read = libc::pread(
            file.as_raw_fd(),
            words.as_mut_ptr().cast(),
            max * size_of::<u64>(),
            offset,
        );
        words.set_len(usize::try_from(read).unwrap_or(0) / size_of::<u64>());
    }
    words
}

/// Sets the protection of whole pages.
///
/// # Safety
/// The pages are mapped, and all their users can work with the new protection.
///
/// # Errors
/// The system's.
pub(crate) unsafe fn protect(
    start: NonNull<u8>,
    len: usize,
    protection: libc::c_int,
) -> Result<(), Error> {
    let change = || {
        // SAFETY: by this function's contract.
        unsafe { libc::mprotect(start.as_ptr().cast(), len, protection) == 0 }
    };
    if change() || (relieved() && change()) {
        return Ok(());
    }
    Err(Error::system(format!(
        "change the protection of {len} bytes"
    )))
}
