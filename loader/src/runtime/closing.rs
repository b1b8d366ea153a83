//! Why an instance is closed, as a reason that threads can set and read without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

use super::context::Done;

/// Exit code of an instance that was closed because a context's deadline has passed; wazero's.
pub const EXIT_DEADLINE_EXCEEDED: u32 = 0xefff_ffff;
/// Exit code of an instance that was closed because a context was cancelled; wazero's.
pub const EXIT_CANCELED: u32 = 0xffff_ffff;

/// Why an instance is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    Exit(u32),
    Done(Done),
}

impl Closing {
    /// The reason as a number that is not zero.
    pub(super) fn bits(self) -> u64 {
        match self {
            Self::Exit(code) => 1 << 32 | u64::from(code),
            Self::Done(Done::DeadlineExceeded) => 2 << 32,
            Self::Done(Done::Canceled) => 3 << 32,
        }
    }

    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        Some(match bits >> 32 {
            0 => return None,
            1 => Self::Exit(bits as u32),
            2 => Self::Done(Done::DeadlineExceeded),
            _ => Self::Done(Done::Canceled),
        })
    }

    pub(super) fn exit_code(self) -> u32 {
        match self {
            Self::Exit(code) => code,
            Self::Done(Done::DeadlineExceeded) => EXIT_DEADLINE_EXCEEDED,
            Self::Done(Done::Canceled) => EXIT_CANCELED,
        }
    }

    /// The error for later uses of the closed instance.
    pub(super) fn error(self) -> Error {
        match self {
            Self::Exit(code) => Error::module_closed(code),
            Self::Done(Done::DeadlineExceeded) => Error::DeadlineExceeded,
            Self::Done(Done::Canceled) => Error::Canceled,
        }
    }
}

/// Whether and why something is closed. The first reason counts. Reading it takes no lock.
#[derive(Debug, Default)]
pub(super) struct Closed(AtomicU64);

impl Closed {
    /// Returns whether this was the first time.
    pub(super) fn set(&self, closing: Closing) -> bool {
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        let first = self.0.compare_exchange(0, closing.bits(), set, fetch);
        first.is_ok()
    }

    pub(super) fn get(&self) -> Option<Closing> {
        Closing::from_bits(self.0.load(Ordering::SeqCst))
    }

    /// # Errors
    /// [`Error::Closed`], [`Error::DeadlineExceeded`], [`Error::Canceled`].
    pub(super) fn check(&self) -> Result<(), Error> {
        self.get().map_or(Ok(()), |closing| Err(closing.error()))
    }
}
