//! Routines that machine code calls through its store.
//!
//! They run on the guest's stack, below the limit that leaves [`HOST_RESERVE`] for them. Those that
//! can trap have nothing to drop when they do, see [`raise`].
//!
//! [`HOST_RESERVE`]: crate::sys::stack::HOST_RESERVE

use std::panic::{AssertUnwindSafe, catch_unwind};

use precast_artifact::vm::{VmBuiltins, VmContextHeader, VmFuncRef};
use precast_artifact::{Builtin, TrapCode};

use crate::activation::raise;
use crate::error::{Ending, Error};
use crate::instance::InstanceData;
use crate::limits::ask::{self, Denied};
use crate::store::StoreCore;

/// The table that stores lead machine code to.
pub(crate) static BUILTINS: Builtins = Builtins(VmBuiltins({
    let mut table = [std::ptr::null(); Builtin::COUNT];
    table[Builtin::MemoryGrow.position()] = memory_grow as *const ();
    table[Builtin::MemoryInit.position()] = memory_init as *const ();
    table[Builtin::MemMove.position()] = mem_move as *const ();
    table[Builtin::MemSet.position()] = mem_set as *const ();
    table[Builtin::TableGrow.position()] = table_grow as *const ();
    table[Builtin::TableInit.position()] = table_init as *const ();
    table[Builtin::TableCopy.position()] = table_copy as *const ();
    table[Builtin::TableFill.position()] = table_fill as *const ();
    table[Builtin::RefFunc.position()] = ref_func as *const ();
    table[Builtin::RaiseTrap.position()] = raise_trap as *const ();
    table
}));

/// A [`VmBuiltins`] that threads share.
pub(crate) struct Builtins(pub(crate) VmBuiltins);

// SAFETY: addresses of code, which nobody changes.
unsafe impl Sync for Builtins {}

/// The instance and the store of a VM context.
///
/// # Safety
/// `vmctx` is the context of a live instance whose code is calling; the references end before it
/// goes on.
unsafe fn parts<'a>(vmctx: *mut VmContextHeader) -> (&'a mut InstanceData, &'a mut StoreCore) {
    // SAFETY: by this function's contract; the store is not part of the instance.
    unsafe { (&mut *(*vmctx).instance.cast(), &mut *(*vmctx).store.cast()) }
}

/// Goes on with the value, or ends the activation.
///
/// # Safety
/// As for [`raise`].
unsafe fn or_raise<T, E: Into<Ending>>(core: &mut StoreCore, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        // SAFETY: by this function's contract.
        Err(ending) => unsafe { raise(core.this, ending.into()) },
    }
}

unsafe extern "C" fn memory_grow(vmctx: *mut VmContextHeader, memory: u32, delta: u64) -> u64 {
    // SAFETY: called by machine code with its own context and one of its memories.
    unsafe {
        let (instance, core) = parts(vmctx);
        let (memory, core) = (instance.memory(memory), core.this);
        grown(core, || ask::grow_memory(core, memory, delta))
    }
}

unsafe extern "C" fn memory_init(
    vmctx: *mut VmContextHeader,
    memory: u32,
    segment: u32,
    dst: u64,
    src: u64,
    len: u64,
) {
    // SAFETY: called by machine code with its own context and indices.
    unsafe {
        let (instance, core) = parts(vmctx);
        let result = instance.memory_init(memory, segment, dst, src, len);
        or_raise(core, result);
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
        grown(core, || ask::grow_table(core, table, delta, init))
    }
}

/// The size before growing, or -1, for machine code; ends the activation if the host's limiter says
/// so, or panics.
///
/// # Safety
/// As for [`raise`].
unsafe fn grown(core: *mut StoreCore, grow: impl FnOnce() -> Result<u64, Denied>) -> u64 {
    let ending = match catch_unwind(AssertUnwindSafe(grow)) {
        Ok(Ok(before)) => return before,
        Ok(Err(Denied::Failed(_))) => return u64::MAX,
        Ok(Err(Denied::Ended(error))) => Ending::Error(error),
        Err(panic) => Ending::Panic(panic),
    };
    // SAFETY: by this function's contract; `ending` is moved, nothing else is left to drop.
    unsafe { raise(core, ending) }
}

unsafe extern "C" fn table_init(
    vmctx: *mut VmContextHeader,
    table: u32,
    segment: u32,
    dst: u64,
    src: u64,
    len: u64,
) {
    // SAFETY: called by machine code with its own context and indices.
    unsafe {
        let (instance, core) = parts(vmctx);
        let result = instance.table_init(table, segment, dst, src, len);
        or_raise(core, result);
    }
}

unsafe extern "C" fn table_copy(
    vmctx: *mut VmContextHeader,
    dst_table: u32,
    src_table: u32,
    dst: u64,
    src: u64,
    len: u64,
) {
    // SAFETY: called by machine code with its own context and two of its tables.
    unsafe {
        let (instance, core) = parts(vmctx);
        let (mut to, mut from) = (instance.table(dst_table), instance.table(src_table));
        let result = if to == from {
            copy_within(to.as_mut().elements(), dst, src, len)
        } else {
            copy(
                to.as_mut().elements(),
                from.as_mut().elements(),
                dst,
                src,
                len,
            )
        };
        or_raise(core, result);
    }
}

unsafe extern "C" fn table_fill(
    vmctx: *mut VmContextHeader,
    table: u32,
    dst: u64,
    value: u64,
    len: u64,
) {
    // SAFETY: called by machine code with its own context and one of its tables.
    unsafe {
        let (instance, core) = parts(vmctx);
        let elements = instance.table(table).as_mut().elements();
        let result = range(dst, len, elements.len()).map(|range| elements[range].fill(value));
        or_raise(core, result);
    }
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

unsafe extern "C" fn raise_trap(vmctx: *mut VmContextHeader, code: u32) -> ! {
    let code = TrapCode::from_number(code).unwrap_or(TrapCode::Unreachable);
    // SAFETY: called by machine code with its own context, through a thunk.
    unsafe { raise((*vmctx).store.cast(), Ending::Trap(code)) }
}

/// The elements `start..start + len` of a table of `size` elements.
pub(crate) fn range(start: u64, len: u64, size: usize) -> Result<std::ops::Range<usize>, TrapCode> {
    let end = start.checked_add(len).filter(|end| *end <= size as u64);
    end.map(|end| start as usize..end as usize)
        .ok_or(TrapCode::TableOutOfBounds)
}

fn copy_within(elements: &mut [u64], dst: u64, src: u64, len: u64) -> Result<(), TrapCode> {
    let to = range(dst, len, elements.len())?;
    let from = range(src, len, elements.len())?;
    elements.copy_within(from, to.start);
    Ok(())
}

fn copy(to: &mut [u64], from: &[u64], dst: u64, src: u64, len: u64) -> Result<(), TrapCode> {
    let dst = range(dst, len, to.len())?;
    let src = range(src, len, from.len())?;
    to[dst].copy_from_slice(&from[src]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_is_there() {
        assert!(BUILTINS.0.0.iter().all(|address| !address.is_null()));
    }
}
