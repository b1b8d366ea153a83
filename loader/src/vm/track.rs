//! Which pages of a memory an instance wrote to, so that putting them back costs no system call.
//!
//! ```text
//!   Off      writable; nothing is known. Reset: madvise drops every page that was written.
//!   Tracked  read-only but for the pages in `known`. The first write to any other page faults; the
//!            handler adds it to `known` and lets it through. Reset: copy the known pages back.
//!   Open     was Tracked, made writable as a whole for a host that writes anywhere. Reset as Off,
//!            then Tracked again.
//! ```
//!
//! Why so: dropping pages (`madvise`) costs a system call and a page fault for each page that the
//! next instance touches again, some microseconds altogether; copying a page back costs well under
//! a tenth of one. Instances of one module write to the same few pages again and again (stack,
//! globals, allocator), so after the first uses of a slot nothing faults any more. Asking the kernel
//! which pages are dirty (`PAGEMAP_SCAN`, soft-dirty bits) costs a system call each time and faults
//! again after each reset.
//!
//! An instance that writes to more than [`MOST`] pages, or a host that keeps writing through slices,
//! turns tracking off for that slot: then `madvise` is the better way.
//!
//! [`Track::fault`] runs in the signal handler: it allocates nothing and takes no lock.

use std::ptr::NonNull;

use crate::error::Error;
use crate::sys::map::{self, page_size};

/// Most pages that are kept and copied back.
pub(super) const MOST: usize = 32;

/// How often a host may ask for a whole memory before tracking is given up.
const MOST_OPENED: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    Tracked,
    Open,
}

/// The state of one memory.
#[derive(Debug)]
pub(super) struct Track {
    mode: Mode,
    /// Never to be tracked again.
    given_up: bool,
    opened: u32,
    known: [u32; MOST],
    len: usize,
}

impl Track {
    pub(super) const OFF: Self = Self {
        mode: Mode::Off,
        given_up: false,
        opened: 0,
        known: [0; MOST],
        len: 0,
    };

    /// The pages to copy back; `None` when every page has to be dropped instead.
    pub(super) fn known(&self) -> Option<&[u32]> {
        (self.mode == Mode::Tracked).then(|| &self.known[..self.len])
    }

    /// Starts over, after every page was dropped: `len` bytes from `base` on are watched from now
    /// on, unless that was given up.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Safety
    /// These are the accessible pages of a guarded memory that nobody uses now.
    pub(super) unsafe fn start(&mut self, base: NonNull<u8>, len: usize) -> Result<(), Error> {
        self.len = 0;
        self.mode = Mode::Off;
        if !self.given_up && len > 0 {
            // SAFETY: by this function's contract.
            unsafe { map::protect(base, len, libc::PROT_READ)? };
            self.mode = Mode::Tracked;
        }
        Ok(())
    }

    /// Lets a write to the page of `offset` through, if it is one that is watched: whether it is.
    ///
    /// # Safety
    /// `base` and `len` are those of [`Track::start`].
    pub(super) unsafe fn fault(&mut self, base: NonNull<u8>, len: usize, offset: usize) -> bool {
        if self.mode != Mode::Tracked || offset >= len {
            return false;
        }
        let size = page_size();
        let page = (offset / size) as u32;
        if self.known().is_some_and(|known| known.contains(&page)) {
            return false;
        }
        if self.len < MOST {
            // SAFETY: by this function's contract; the page is inside.
            let done = unsafe {
                let page = base.add(page as usize * size);
                map::protect_raw(page, size, libc::PROT_READ | libc::PROT_WRITE)
            };
            if done {
                self.known[self.len] = page;
                self.len += 1;
                return true;
            }
            // Each page that differs from its neighbours is a mapping of its own, of which a
            // process may have only so many. As a whole the memory is one.
        }
        // SAFETY: by this function's contract.
        if !unsafe { map::protect_raw(base, len, libc::PROT_READ | libc::PROT_WRITE) } {
            return false;
        }
        self.given_up = true;
        self.mode = Mode::Off;
        true
    }

    /// Whether the page of `offset` can be written to without a fault.
    pub(super) fn is_writable(&self, offset: usize) -> bool {
        self.known()
            .is_none_or(|known| known.contains(&((offset / page_size()) as u32)))
    }

    /// Makes everything writable, for a host that may write anywhere.
    ///
    /// # Safety
    /// As for [`Track::fault`].
    pub(super) unsafe fn open(&mut self, base: NonNull<u8>, len: usize) {
        if self.mode == Mode::Tracked {
            // SAFETY: by this function's contract.
            let done = unsafe { map::protect_raw(base, len, libc::PROT_READ | libc::PROT_WRITE) };
            // The pages were writable before; the system can only refuse to merge mappings, which
            // it never needs memory for.
            assert!(done, "a mapping of our own can be made writable");
            self.mode = Mode::Open;
            self.opened += 1;
            self.given_up |= self.opened >= MOST_OPENED;
        }
    }
}
