//! Why an activation ends early, and panics of the host's code, which must not unwind through wasm
//! frames.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::error::Error;

/// Why an activation of wasm code ended early.
pub(crate) enum Ending {
    Trap(precast_artifact::TrapCode),
    /// An access out of bounds that the system caught, at this address of the host.
    Fault(usize),
    Error(Error),
    Panic(Box<dyn Any + Send>),
}

/// Runs `work`. A panic in it, which is one of the host's code, is returned as an ending.
pub(crate) fn caught<R>(work: impl FnOnce() -> Result<R, Ending>) -> Result<R, Ending> {
    let result = catch_unwind(AssertUnwindSafe(work));
    result.unwrap_or_else(|panic| Err(Ending::Panic(panic)))
}

/// Calls `work` with every item, even if it panics for some of them, because it may run code of the
/// host. Afterwards the first panic continues.
pub(crate) fn for_all<V>(all: impl IntoIterator<Item = V>, mut work: impl FnMut(V)) {
    let mut first = None;
    for one in all {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(one))) {
            first.get_or_insert(panic);
        }
    }
    if let Some(panic) = first {
        resume_unwind(panic);
    }
}

impl From<precast_artifact::TrapCode> for Ending {
    fn from(code: precast_artifact::TrapCode) -> Self {
        Self::Trap(code)
    }
}

impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}
