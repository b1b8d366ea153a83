//! A file mapped into memory: its bytes can be read, and the machine code in it can run.
//!
//! The mapping is private and read-only. Pages are executable from the moment they are mapped, and
//! never become executable later, so the loader works where the system forbids that (`PR_SET_MDWE`,
//! systemd's `MemoryDenyWriteExecute=`). Pages that were mapped with more access than they need
//! lose it, which every system allows.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use super::map::ask_twice;

/// The mapping of a whole file. Unmapped when dropped.
#[derive(Debug)]
pub(crate) struct FileMap {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: nobody writes to the bytes while the mapping lives, see `FileMap::new`.
unsafe impl Send for FileMap {}
// SAFETY: as above.
unsafe impl Sync for FileMap {}

impl FileMap {
    /// Maps `len` bytes of a file from `offset` on, which is a multiple of the page size, so that
    /// they can be read. From the offset `code` on, which is a multiple of the page size, they can
    /// also be executed.
    ///
    /// # Safety
    /// Nobody writes to the file or truncates it while the mapping lives.
    ///
    /// # Errors
    /// The system's.
    pub(crate) unsafe fn new(
        file: &File,
        offset: usize,
        len: usize,
        code: Option<usize>,
    ) -> io::Result<Self> {
        let access = match code {
            None => libc::PROT_READ,
            Some(_) => libc::PROT_READ | libc::PROT_EXEC,
        };
        // SAFETY: a new mapping at an address of the system's choice touches nothing that exists.
        let base = unsafe { map(std::ptr::null_mut(), len, access, 0, file, offset) };
        let base = base.map_err(explained)?;
        let map = Self { base, len };
        if let Some(code) = code
            && code > 0
        {
            // Dividing one mapping costs less than making two. Until this call, the bytes in front
            // of the code are executable as well, but no code has their address yet.
            let divide = || {
                // SAFETY: pages of this mapping, which no code has used yet.
                match unsafe { libc::mprotect(base.as_ptr().cast(), code, libc::PROT_READ) } {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            };
            // The reason is looked for while the mapping exists, which counts.
            ask_twice(divide).map_err(explained)?;
        }
        Ok(map)
    }

    /// Maps `len` bytes of a file from `offset` on in place of the bytes of this mapping from
    /// `start` on. They end within the last page of the mapping at the latest. `start` and `offset`
    /// are multiples of the page size; `len` may be another number only for the last part of a
    /// mapping.
    ///
    /// # Safety
    /// As for [`FileMap::new`], and nobody has used this part of the mapping yet.
    ///
    /// # Errors
    /// The system's.
    pub(crate) unsafe fn put(
        &self,
        file: &File,
        start: usize,
        len: usize,
        offset: usize,
    ) -> io::Result<()> {
        // SAFETY: nobody has used these pages of the mapping yet.
        unsafe { self.replace(file, start, len, offset, libc::PROT_READ) }
    }

    /// Maps a part of the file a second time, in its place, so that its code can run. The part
    /// starts at `start` in the mapping and at `offset` in the file. These and `len` are multiples
    /// of the page size, and the part ends within the last page of the mapping at the latest.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn make_executable(
        &self,
        file: &File,
        start: usize,
        len: usize,
        offset: usize,
    ) -> io::Result<()> {
        let access = libc::PROT_READ | libc::PROT_EXEC;
        // SAFETY: these are the same pages of the same file, so readers see no difference.
        unsafe { self.replace(file, start, len, offset, access) }
    }

    /// Maps pages of a file in the place of pages of this mapping.
    ///
    /// # Safety
    /// Nobody uses the pages, or they have the same content afterwards. Nobody writes to the file.
    ///
    /// # Errors
    /// The system's.
    unsafe fn replace(
        &self,
        file: &File,
        start: usize,
        len: usize,
        offset: usize,
        access: libc::c_int,
    ) -> io::Result<()> {
        let at = self.pages(start, len).as_ptr();
        // SAFETY: these are whole pages of this mapping; the rest is this function's contract.
        let part = unsafe { map(at, len, access, libc::MAP_FIXED, file, offset) };
        part.map(drop).map_err(explained)
    }

    /// The address of whole pages of the mapping.
    pub(crate) fn pages(&self, start: usize, len: usize) -> NonNull<u8> {
        let page = super::map::page_size();
        assert!(
            start
                .checked_add(len)
                .is_some_and(|end| end <= self.len.next_multiple_of(page)),
            "inside the mapping"
        );
        // SAFETY: inside the mapping, or just behind it.
        unsafe { self.base.add(start) }
    }
}

impl Deref for FileMap {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: mapped and readable for as long as `self` lives, and not written to.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        // SAFETY: the mapping is the owner's, and nobody can use it after the owner. If the system
        // refuses (to split what it merged with a neighbour), the range stays unused.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// # Safety
/// As for `mmap`, of a private mapping.
unsafe fn map(
    at: *mut u8,
    len: usize,
    access: libc::c_int,
    flags: libc::c_int,
    file: &File,
    offset: usize,
) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | flags;
    let offset = libc::off_t::try_from(offset).map_err(|_| ErrorKind::InvalidInput)?;
    // SAFETY: by this function's contract.
    let base = unsafe { super::map::mmap(at.cast(), len, access, flags, file.as_raw_fd(), offset) };
    match NonNull::new(base.cast()) {
        _ if base == libc::MAP_FAILED => Err(io::Error::last_os_error()),
        Some(base) => Ok(base),
        None => Err(io::Error::other("the system gave address zero")),
    }
}

/// Adds the likely reason to the system's refusal to map a file.
fn explained(error: io::Error) -> io::Error {
    let reason = match error.kind() {
        ErrorKind::PermissionDenied => Some(
            "the system forbids to run code from there; is the file system mounted `noexec`, or \
             does a security policy forbid it?"
                .to_owned(),
        ),
        _ if error.raw_os_error() == Some(libc::ENOMEM) => super::limits::reached(),
        _ => None,
    };
    match reason {
        Some(reason) => io::Error::new(error.kind(), format!("{error}: {reason}")),
        None => error,
    }
}
