//! Waiting at addresses of shared memories, and waking those who wait.

use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use precast_artifact::TrapCode;
use precast_artifact::vm::VmContextHeader;

use super::caller::{or_raise, parts};
use crate::vm::deadline;
use crate::vm::ending::{Ending, caught};
use crate::vm::interrupt::Interrupt;
use crate::vm::shared::Shared;

/// The place of an atomic access of `size` bytes.
///
/// # Errors
/// The trap for an address that is not a multiple of the size, or out of bounds.
pub(crate) fn place(shared: &Shared, at: u64, size: usize) -> Result<NonNull<u8>, TrapCode> {
    if !at.is_multiple_of(size as u64) {
        return Err(TrapCode::HeapMisaligned);
    }
    shared.place(at, size).ok_or(TrapCode::MemoryOutOfBounds)
}

/// The timeout of an instruction. A negative number of nanoseconds means that there is none.
fn timeout(nanoseconds: i64) -> Option<Duration> {
    nanoseconds.try_into().ok().map(Duration::from_nanos)
}

/// Waits on behalf of machine code.
///
/// # Safety
/// `vmctx` is the context of a live instance whose code is calling.
unsafe fn wait(
    vmctx: *mut VmContextHeader,
    memory: u32,
    at: u64,
    size: usize,
    is_expected: impl FnOnce(&Shared, NonNull<u8>) -> bool,
    timeout: Option<Duration>,
) -> Result<u32, Ending> {
    // SAFETY: by this function's contract. No reference to the instance or to its store is left
    // while the thread sleeps.
    let (shared, core, interrupt) = unsafe {
        let (instance, core) = parts(vmctx);
        let shared = instance.memory(memory).as_ref().shared().cloned();
        let shared = shared.ok_or(TrapCode::AtomicWaitNonSharedMemory)?;
        (shared, core.this, Interrupt::of(core.this))
    };
    let place = place(&shared, at, size)?;
    let is_expected = || is_expected(&shared, place);
    // SAFETY: the code that waits has called this through a thunk. It may be suspended here,
    // because it holds nothing that belongs to a thread.
    let go_on = || unsafe { deadline::go_on(core) };
    let waiters = &shared.waiters;
    let woken = waiters.wait(
        at,
        is_expected,
        timeout,
        |parker| interrupt.park(parker),
        go_on,
    )?;
    if interrupt.ends() {
        return Err(TrapCode::Interrupt.into());
    }
    Ok(woken as u32)
}

pub(super) unsafe extern "C" fn memory_wait32(
    vmctx: *mut VmContextHeader,
    memory: u32,
    at: u64,
    expected: u32,
    nanoseconds: i64,
) -> u32 {
    // SAFETY: called by machine code with its own context and one of its memories; a place is in
    // bounds and aligned.
    unsafe {
        let is_expected = |shared: &Shared, place| shared.load32(place) == expected;
        let timeout = timeout(nanoseconds);
        let wait = || wait(vmctx, memory, at, size_of::<u32>(), is_expected, timeout);
        let result = caught(wait);
        or_raise(parts(vmctx).1, result)
    }
}

pub(super) unsafe extern "C" fn memory_wait64(
    vmctx: *mut VmContextHeader,
    memory: u32,
    at: u64,
    expected: u64,
    nanoseconds: i64,
) -> u32 {
    // SAFETY: as above.
    unsafe {
        let is_expected = |shared: &Shared, place| shared.load64(place) == expected;
        let timeout = timeout(nanoseconds);
        let wait = || wait(vmctx, memory, at, size_of::<u64>(), is_expected, timeout);
        let result = caught(wait);
        or_raise(parts(vmctx).1, result)
    }
}

pub(super) unsafe extern "C" fn memory_notify(
    vmctx: *mut VmContextHeader,
    memory: u32,
    at: u64,
    count: u32,
) -> u32 {
    // SAFETY: called by machine code with its own context and one of its memories.
    unsafe {
        let (instance, core) = parts(vmctx);
        let memory = instance.memory(memory).as_ref();
        let result = match memory.shared() {
            Some(shared) => place(shared, at, size_of::<u32>())
                .map(|_| Arc::as_ref(shared).waiters.notify(at, count)),
            // Machine code calls this for shared memories only.
            None => Ok(0),
        };
        or_raise(core, result)
    }
}
