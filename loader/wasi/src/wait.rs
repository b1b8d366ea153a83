//! Waiting for the system or for the end of the guest.
//!
//! A deadline, a cancelled context or a closed instance ends a guest that computes, and must also
//! end a guest that waits. Therefore every wait also waits for the interrupt of the store. The call
//! then fails with `INTR`. No guest sees that error, because its code ends when the call returns.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use precast_loader::InterruptHandle;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::errno::{Errno, Result};

/// Waits until one of the descriptors can be read or is at its end, for at most `timeout`, or for
/// ever if that is `None`. Returns whether one can be read.
///
/// # Errors
/// `INTR` if the guest must end, and those of the system.
pub(crate) fn readable(
    interrupt: Option<&InterruptHandle>,
    fds: &[BorrowedFd<'_>],
    timeout: Option<Duration>,
) -> Result<bool> {
    // Waiting for the interrupt takes more system calls, so first check without it.
    if one_of(fds, Some(Duration::ZERO))?.is_some() {
        return Ok(true);
    }
    if timeout == Some(Duration::ZERO) {
        return Ok(false);
    }
    let waited = interrupt.and_then(|handle| {
        let wait = |event: BorrowedFd<'_>| {
            let mut all = vec![event];
            all.extend_from_slice(fds);
            match one_of(&all, timeout)? {
                Some(0) => Err(Errno::INTR),
                ready => Ok(ready.is_some()),
            }
        };
        // If there is no descriptor for the interrupt, wait without it below.
        handle.wait(wait).ok()
    });
    waited.unwrap_or_else(|| Ok(one_of(fds, timeout)?.is_some()))
}

/// Waits for this time, or until `interrupt` can be read.
pub(crate) fn sleep(interrupt: BorrowedFd<'_>, time: Duration) {
    // Waiting for this descriptor cannot fail.
    one_of(&[interrupt], Some(time)).ok();
}

/// Waits until a descriptor can be read. Returns the index of the first one, or `None` after the
/// timeout.
fn one_of(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Result<Option<usize>> {
    let start = Instant::now();
    let mut fds: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN))
        .collect();
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        // A timeout that is too long for the system means to wait for ever.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(fds.iter().position(|fd| !fd.revents().is_empty())),
        }
    }
}
