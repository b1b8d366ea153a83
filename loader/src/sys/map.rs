//! Address space: reservations, protection, file pages inside them.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use crate::error::Error;

/// Bytes of a page of this system.
pub(crate) fn page_size() -> usize {
    // SAFETY: no preconditions. A constant of the auxiliary vector: no system call.
    let size = unsafe { libc::getauxval(libc::AT_PAGESZ) };
    if size == 0 { 4096 } else { size as usize }
}

/// Address space that belongs to its owner alone. Unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: plain address space; who may read or write it is its owner's business.
unsafe impl Send for Reservation {}
// SAFETY: as above.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Reserves `len` bytes that nothing can access yet. `len` is a multiple of the page size and
    /// not zero.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new(len: usize) -> Result<Self, Error> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the system's choice touches nothing that exists.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Error::system(format!(
                "reserve {len} bytes of address space"
            )));
        }
        match NonNull::new(base.cast()) {
            Some(base) => Ok(Self { base, len }),
            None => Err(Error::system(
                "reserve address space: the system gave address zero",
            )),
        }
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Makes `len` bytes from `start` on readable and writable. Both are multiples of the page
    /// size.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn commit(&mut self, start: usize, len: usize) -> Result<(), Error> {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "inside the reservation"
        );
        if len == 0 {
            return Ok(());
        }
        // SAFETY: the range is inside this reservation.
        unsafe {
            protect(
                self.base.add(start),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
            )
        }
    }

    /// Takes the content of `len` bytes from `start` on away: they read as they did when they were
    /// mapped. Both are multiples of the page size.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn discard(&mut self, start: usize, len: usize) -> Result<(), Error> {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "inside the reservation"
        );
        // SAFETY: the range is inside this reservation, whose owner asked for it.
        let done = unsafe {
            libc::madvise(
                self.base.add(start).as_ptr().cast(),
                len,
                libc::MADV_DONTNEED,
            )
        };
        if done == 0 {
            Ok(())
        } else {
            Err(Error::system(format!("discard {len} bytes")))
        }
    }

    /// Takes content and access away, see [`Reservation::commit`].
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn decommit(&mut self, start: usize, len: usize) -> Result<(), Error> {
        self.discard(start, len)?;
        // SAFETY: the range is inside this reservation, whose owner asked for it.
        unsafe { protect(self.base.add(start), len, libc::PROT_NONE) }
    }

    /// Puts pages of a file there, copy-on-write. All numbers are multiples of the page size.
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
        let offset = libc::off_t::try_from(offset).unwrap_or(libc::off_t::MAX);
        // SAFETY: the range is inside this reservation, whose owner asked for it to be replaced.
        let at = unsafe {
            libc::mmap(
                self.base.as_ptr().add(start).cast(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_FIXED,
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
        // SAFETY: the reservation is the owner's, and nobody can use it after the owner. If the
        // system refuses (to split what it merged with a neighbour), the range stays unused.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// The first words of a file, at most `most` of them; fewer where it ends or cannot be read.
pub(crate) fn read_start(file: &File, most: usize) -> Vec<u64> {
    let mut words = Vec::<u64>::with_capacity(most);
    // SAFETY: the file is open, and there is room for that many bytes, every value of which is
    // valid; `pread` says how many of them it has written.
    unsafe {
        let read = libc::pread(
            file.as_raw_fd(),
            words.as_mut_ptr().cast(),
            most * size_of::<u64>(),
            0,
        );
        words.set_len(usize::try_from(read).unwrap_or(0) / size_of::<u64>());
    }
    words
}

/// Sets the protection of whole pages.
///
/// # Safety
/// The pages are mapped, and whoever uses them can live with the new protection.
///
/// # Errors
/// The system's.
pub(crate) unsafe fn protect(
    start: NonNull<u8>,
    len: usize,
    protection: libc::c_int,
) -> Result<(), Error> {
    // SAFETY: by this function's contract.
    if unsafe { protect_raw(start, len, protection) } {
        return Ok(());
    }
    Err(Error::system(format!(
        "change the protection of {len} bytes"
    )))
}

/// [`protect`] for signal handlers: whether the system did it.
///
/// # Safety
/// As for [`protect`].
pub(crate) unsafe fn protect_raw(start: NonNull<u8>, len: usize, protection: libc::c_int) -> bool {
    // SAFETY: by this function's contract.
    unsafe { libc::mprotect(start.as_ptr().cast(), len, protection) == 0 }
}
