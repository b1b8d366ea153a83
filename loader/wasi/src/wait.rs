//! Waiting for the system, until the guest is to end.
//!
//! A deadline, a cancelled context or a closed instance ends a guest that computes, and must end one
//! that waits: so every wait is for the interrupt of the store as well. The call fails with `INTR` then,
//! which no guest sees, because its code ends when the call returns.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use precast_loader::InterruptHandle;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::errno::{Errno, Result};

/// Waits until one of the descriptors can be read, or is at its end, at most for `timeout` (`None`: for
/// ever). Whether one can.
///
/// # Errors
/// `INTR` if the guest is to end; the system's.
pub(crate) fn readable(
    interrupt: Option<&InterruptHandle>,
    fds: &[BorrowedFd<'_>],
    timeout: Option<Duration>,
) -> Result<bool> {
    // The event costs system calls of its own, and what is there already needs none.
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
        // Without a descriptor for the event it waits as it can.
        handle.wait(wait).ok()
    });
    waited.unwrap_or_else(|| Ok(one_of(fds, timeout)?.is_some()))
}

/// Waits for so long, or until `interrupt` can be read.
pub(crate) fn sleep(interrupt: BorrowedFd<'_>, time: Duration) {
    // Nothing can be wrong with the descriptor.
    one_of(&[interrupt], Some(time)).ok();
}

/// The first descriptor that can be read.
fn one_of(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Result<Option<usize>> {
    let start = Instant::now();
    let mut fds: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN))
        .collect();
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        // Longer than the system can count is for ever.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(fds.iter().position(|fd| !fd.revents().is_empty())),
        }
    }
}
