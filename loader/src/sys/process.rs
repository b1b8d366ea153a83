//! Whether something was made by this process, or by a parent that has forked since, and threads
//! that do not trouble such children.
//!
//! The number of the process alone would not do: a child in a namespace of its own can have the
//! same number. So a page of memory, which the system wipes in children, marks the process.

use std::io;
use std::sync::{Arc, Barrier};
use std::thread::Builder;

use super::map::{Reservation, page_size};

/// A mark that only the process has that made it, and not its children by `fork`. Those who need
/// it are this crate and `precast-wasi`, for threads that only the process itself has.
///
/// ```
/// use precast_loader::ProcessMark;
///
/// assert!(ProcessMark::new().is_own());
/// ```
pub struct ProcessMark {
    /// Its first byte is 1 in this process. `None` if the system cannot wipe a page in children
    /// (before Linux 4.14), or has no memory; the number decides then.
    page: Option<Reservation>,
    number: u32,
}

impl ProcessMark {
    /// A mark of this process.
    #[expect(clippy::new_without_default, reason = "no value is a default one")]
    pub fn new() -> Self {
        Self {
            page: wiped_in_children(),
            number: std::process::id(),
        }
    }

    /// A mark that no child has, whatever its number is. `None` if the system cannot wipe a page in
    /// children, or has no memory.
    pub(crate) fn of_page() -> Option<Self> {
        Some(Self::new()).filter(|mark| mark.page.is_some())
    }

    /// Whether this process has made the mark.
    pub fn is_own(&self) -> bool {
        match &self.page {
            // SAFETY: an accessible page of our own.
            Some(page) => unsafe { page.base().as_ptr().read_volatile() == 1 },
            None => std::process::id() == self.number,
        }
    }
}

/// Starts a thread, and returns when the thread runs. This crate and `precast-wasi` start with it
/// the threads that they keep, of which the host does not know.
///
/// A thread that starts holds a lock of Rust's standard library for a moment. If a host forked in
/// that moment, no thread of the child could ever start.
///
/// # Errors
/// The system's error if the thread cannot be started.
pub fn start_thread(builder: Builder, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let started = Arc::new(Barrier::new(2));
    let runs = Arc::clone(&started);
    builder.spawn(move || {
        runs.wait();
        drop(runs);
        run();
    })?;
    started.wait();
    Ok(())
}

fn wiped_in_children() -> Option<Reservation> {
    let mut page = Reservation::new(page_size()).ok()?;
    page.commit(0, page_size()).ok()?;
    // SAFETY: an accessible page of our own.
    unsafe {
        let at = page.base().as_ptr();
        if libc::madvise(at.cast(), page_size(), libc::MADV_WIPEONFORK) != 0 {
            return None;
        }
        at.write_volatile(1);
    }
    Some(page)
}
