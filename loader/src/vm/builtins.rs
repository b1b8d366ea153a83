//! Routines that machine code calls through its store.
//!
//! They run on the stack of the guest, in the [`HOST_RESERVE`] below its limit. A routine that
//! traps must have nothing left to drop at that point, see [`raise`].
//!
//! [`HOST_RESERVE`]: crate::sys::stack::HOST_RESERVE

mod atomics;
mod caller;
mod listening;
mod ranges;

use std::panic::{AssertUnwindSafe, catch_unwind};

use precast_artifact::vm::{VmBuiltins, VmContextHeader, VmFuncRef};
use precast_artifact::{Builtin, TrapCode};

use super::activation::{goes_on, raise};
use super::deadline;
use super::ending::Ending;
use super::exception;
use super::quota::{self, Denied};
use super::store::StoreCore;
use crate::error::Error;
use crate::types;

pub(crate) use atomics::place as atomic_place;
use caller::{or_raise, parts};

/// The table of routines, to which the context of each store has a pointer.
pub(crate) static BUILTINS: Builtins = Builtins(VmBuiltins({
    let mut table = [std::ptr::null(); Builtin::COUNT];
    table[Builtin::MemoryGrow.position()] = memory_grow as *const ();
    table[Builtin::MemoryInit.position()] = ranges::memory_init as *const ();
    table[Builtin::MemMove.position()] = mem_move as *const ();
    table[Builtin::MemSet.position()] = mem_set as *const ();
    table[Builtin::TableGrow.position()] = table_grow as *const ();
    table[Builtin::TableInit.position()] = ranges::table_init as *const ();
    table[Builtin::TableCopy.position()] = ranges::table_copy as *const ();
    table[Builtin::TableFill.position()] = ranges::table_fill as *const ();
    table[Builtin::RefFunc.position()] = ref_func as *const ();
    table[Builtin::RaiseTrap.position()] = raise_trap as *const ();
    table[Builtin::MemoryCopy.position()] = ranges::memory_copy as *const ();
    table[Builtin::MemoryFill.position()] = ranges::memory_fill as *const ();
    table[Builtin::ExceptionNew.position()] = exception::exception_new as *const ();
    table[Builtin::ExceptionGet.position()] = exception::exception_get as *const ();
    table[Builtin::ExceptionThrow.position()] = exception::exception_throw as *const ();
    table[Builtin::MemoryWait32.position()] = atomics::memory_wait32 as *const ();
    table[Builtin::MemoryWait64.position()] = atomics::memory_wait64 as *const ();
    table[Builtin::MemoryNotify.position()] = atomics::memory_notify as *const ();
    table[Builtin::Interrupted.position()] = deadline::interrupted as *const ();
    table[Builtin::IsSubtype.position()] = is_subtype as *const ();
    table[Builtin::FunctionBefore.position()] = listening::function_before as *const ();
    table[Builtin::FunctionAfter.position()] = listening::function_after as *const ();
    table
}));

/// A [`VmBuiltins`] that all threads share.
pub(crate) struct Builtins(pub(crate) VmBuiltins);

// SAFETY: addresses of code, which nobody changes.
unsafe impl Sync for Builtins {}

unsafe extern "C" fn memory_grow(vmctx: *mut VmContextHeader, memory: u32, delta: u64) -> u64 {
    // SAFETY: called by machine code with its own context and one of its memories.
    unsafe {
        let (instance, core) = parts(vmctx);
        let (memory, core) = (instance.memory(memory), core.this);
        grown(core, || quota::grow_memory(core, memory, delta))
    }
}

unsafe extern "C" fn mem_move(dst: *mut u8, src: *const u8, len: u64) {
    // SAFETY: machine code has checked both ranges.
    unsafe { std::ptr::copy(src, dst, len as usize) }
}

unsafe extern "C" fn mem_set(dst: *mut u8, value: u32, len: u64) {
    // SAFETY: machine code has checked the range.
    unsafe { std::ptr::write_bytes(dst, value as u8, len as usize) }
}

unsafe extern "C" fn table_grow(
    vmctx: *mut VmContextHeader,
    table: u32,
    delta: u64,
    init: u64,
) -> u64 {
    // SAFETY: called by machine code with its own context and one of its tables.
    unsafe {
        let (instance, core) = parts(vmctx);
        let (table, core) = (instance.table(table), core.this);
        grown(core, || quota::grow_table(core, table, delta, init))
    }
}

/// Returns the size before growing to machine code, or -1. Ends the activation if the host's
/// limiter returns an error or panics.
///
/// # Safety
/// As for [`raise`].
unsafe fn grown(core: *mut StoreCore, grow: impl FnOnce() -> Result<u64, Denied>) -> u64 {
    let grown = catch_unwind(AssertUnwindSafe(grow));
    goes_on(core);
    let ending = match grown {
        Ok(Ok(before)) => return before,
        Ok(Err(Denied::Failed(_))) => return u64::MAX,
        Ok(Err(Denied::Ended(error))) => Ending::Error(error),
        Err(panic) => Ending::Panic(panic),
    };
    // SAFETY: by this function's contract; `ending` is moved, nothing else is left to drop.
    unsafe { raise(core, ending) }
}

unsafe extern "C" fn ref_func(vmctx: *mut VmContextHeader, function: u32) -> *const VmFuncRef {
    // SAFETY: called by machine code with its own context and one of its functions, for which the
    // compiler made a slot.
    unsafe {
        let (instance, core) = parts(vmctx);
        let found = instance.func_ref(function).map_err(Error::from);
        or_raise(core, found).as_ptr()
    }
}

unsafe extern "C" fn is_subtype(_: *mut VmContextHeader, found: u64, expected: u64) -> u64 {
    types::is_subtype(found, expected).into()
}

unsafe extern "C" fn raise_trap(vmctx: *mut VmContextHeader, code: u32) -> ! {
    let code = TrapCode::from_number(code).unwrap_or(TrapCode::UnreachableCodeReached);
    // SAFETY: called by machine code with its own context, through a thunk.
    unsafe { raise((*vmctx).store.cast(), Ending::Trap(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_is_there() {
        assert!(BUILTINS.0.0.iter().all(|address| !address.is_null()));
    }
}
