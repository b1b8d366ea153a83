//! Operators on ranges of memories and tables.
//!
//! Code that reads the interrupt word
//! ([`Interruption::has_epochs`](precast_artifact::Interruption::has_epochs)) can be stopped in the
//! middle of a long range, after each [`PIECE`]. The whole range is checked first. The pieces that
//! are done stay done, and another thread could have seen them before the operator ended anyway.
//! Growth is not stopped, since limits bound it.

use std::ops::Range;

use precast_artifact::TrapCode;
use precast_artifact::abi::PIECE;
use precast_artifact::vm::VmContextHeader;

use super::caller::{or_raise, parts};
use crate::vm::bounds::range;
use crate::vm::ending::Ending;
use crate::vm::instance::InstanceData;
use crate::vm::stopping::ends;
use crate::vm::store::StoreCore;

/// Bytes of an element of a table.
const ELEMENT: u64 = size_of::<u64>() as u64;

/// The store whose code works on a range, and whether that code can be stopped half way.
#[derive(Clone, Copy)]
struct Worker {
    core: *mut StoreCore,
    can_stop: bool,
}

impl Worker {
    /// # Safety
    /// `vmctx` is the context of a live instance whose code is calling.
    unsafe fn new(vmctx: *mut VmContextHeader) -> Self {
        // SAFETY: by this function's contract.
        let (instance, core) = unsafe { parts(vmctx) };
        Self {
            core: core.this,
            can_stop: instance.interruption().has_epochs(),
        }
    }

    /// Calls `work` for the pieces of `0..len`, whose units are `size` bytes each. `from_end`
    /// starts with the last piece.
    fn pieces(
        self,
        len: u64,
        size: u64,
        from_end: bool,
        mut work: impl FnMut(Range<u64>) -> Result<(), Ending>,
    ) -> Result<(), Ending> {
        let piece = match self.can_stop {
            true => PIECE / size,
            false => u64::MAX,
        };
        let mut done = 0;
        loop {
            let next = piece.min(len - done);
            work(match from_end {
                true => len - done - next..len - done,
                false => done..done + next,
            })?;
            done += next;
            if done == len {
                return Ok(());
            }
            // SAFETY: the store runs the code that is calling.
            if unsafe { ends(self.core) } {
                return Err(TrapCode::Interrupt.into());
            }
        }
    }

    /// Returns, or ends the activation.
    ///
    /// # Safety
    /// As for [`or_raise`].
    unsafe fn end(self, result: Result<(), Ending>) {
        // SAFETY: by this function's contract.
        unsafe { or_raise(&mut *self.core, result) }
    }
}

pub(super) unsafe extern "C" fn memory_copy(
    vmctx: *mut VmContextHeader,
    dst: *mut u8,
    src: *const u8,
    len: u64,
) {
    // SAFETY: called by machine code with its own context. Machine code has checked both ranges.
    // Where they overlap, no piece overwrites what a later piece reads.
    unsafe {
        let worker = Worker::new(vmctx);
        let result = worker.pieces(len, 1, dst.cast_const() > src, |piece| {
            let (start, len) = (piece.start as usize, piece.end - piece.start);
            std::ptr::copy(src.add(start), dst.add(start), len as usize);
            Ok(())
        });
        worker.end(result);
    }
}

pub(super) unsafe extern "C" fn memory_fill(
    vmctx: *mut VmContextHeader,
    dst: *mut u8,
    value: u32,
    len: u64,
) {
    // SAFETY: called by machine code with its own context. Machine code has checked the range.
    unsafe {
        let worker = Worker::new(vmctx);
        let result = worker.pieces(len, 1, false, |piece| {
            let (start, len) = (piece.start as usize, piece.end - piece.start);
            std::ptr::write_bytes(dst.add(start), value as u8, len as usize);
            Ok(())
        });
        worker.end(result);
    }
}

pub(super) unsafe extern "C" fn memory_init(
    vmctx: *mut VmContextHeader,
    memory: u32,
    segment: u32,
    dst: u64,
    src: u64,
    len: u64,
) {
    let (size, out) = (1, TrapCode::MemoryOutOfBounds);
    // SAFETY: called by machine code with its own context and indices.
    unsafe {
        initialise(
            vmctx,
            size,
            out,
            [dst, src, len],
            |instance, [dst, src, len]| instance.memory_init(memory, segment, dst, src, len),
        );
    }
}

pub(super) unsafe extern "C" fn table_init(
    vmctx: *mut VmContextHeader,
    table: u32,
    segment: u32,
    dst: u64,
    src: u64,
    len: u64,
) {
    let (size, out) = (ELEMENT, TrapCode::TableOutOfBounds);
    // SAFETY: called by machine code with its own context and indices.
    unsafe {
        initialise(
            vmctx,
            size,
            out,
            [dst, src, len],
            |instance, [dst, src, len]| instance.table_init(table, segment, dst, src, len),
        );
    }
}

/// Copies a range of a segment piece by piece: `copy` is given the destination, the source and the
/// length of each. An item of the segment has `size` bytes; `out` is the trap if the range is out
/// of bounds.
///
/// # Safety
/// As for [`Worker::new`].
unsafe fn initialise<E: Into<Ending>>(
    vmctx: *mut VmContextHeader,
    size: u64,
    out: TrapCode,
    [dst, src, len]: [u64; 3],
    mut copy: impl FnMut(&mut InstanceData, [u64; 3]) -> Result<(), E>,
) {
    // SAFETY: by this function's contract; what `copy` captures needs no drop.
    unsafe {
        let worker = Worker::new(vmctx);
        // The last piece comes first: if that piece is in bounds, so is the whole range.
        let result = worker.pieces(len, size, true, |piece| {
            let (dst, src) = (at(dst, &piece, out)?, at(src, &piece, out)?);
            let range = [dst, src, piece.end - piece.start];
            copy(parts(vmctx).0, range).map_err(Into::into)
        });
        worker.end(result);
    }
}

pub(super) unsafe extern "C" fn table_copy(
    vmctx: *mut VmContextHeader,
    dst_table: u32,
    src_table: u32,
    dst: u64,
    src: u64,
    len: u64,
) {
    // SAFETY: called by machine code with its own context and two of its tables.
    unsafe {
        let worker = Worker::new(vmctx);
        let (instance, _) = parts(vmctx);
        let (mut to, mut from) = (instance.table(dst_table), instance.table(src_table));
        let result = if to == from {
            let elements = to.as_mut().elements();
            check_both(dst, elements.len(), src, elements.len(), len).and_then(|()| {
                worker.pieces(len, ELEMENT, dst > src, |piece| {
                    let source = range(src + piece.start, piece.end - piece.start, elements.len())?;
                    elements.copy_within(source, (dst + piece.start) as usize);
                    Ok(())
                })
            })
        } else {
            let (to, from) = (to.as_mut().elements(), from.as_mut().elements());
            check_both(dst, to.len(), src, from.len(), len).and_then(|()| {
                worker.pieces(len, ELEMENT, false, |piece| {
                    let len = piece.end - piece.start;
                    let target = range(dst + piece.start, len, to.len())?;
                    let source = range(src + piece.start, len, from.len())?;
                    to[target].copy_from_slice(&from[source]);
                    Ok(())
                })
            })
        };
        worker.end(result);
    }
}

pub(super) unsafe extern "C" fn table_fill(
    vmctx: *mut VmContextHeader,
    table: u32,
    dst: u64,
    value: u64,
    len: u64,
) {
    // SAFETY: called by machine code with its own context and one of its tables.
    unsafe {
        let worker = Worker::new(vmctx);
        let (instance, _) = parts(vmctx);
        let elements = instance.table(table).as_mut().elements();
        let range = range(dst, len, elements.len()).map_err(Ending::from);
        let result = range.and_then(|range| {
            let elements = &mut elements[range];
            worker.pieces(len, ELEMENT, false, |piece| {
                elements[piece.start as usize..piece.end as usize].fill(value);
                Ok(())
            })
        });
        worker.end(result);
    }
}

/// The start of a piece of a range.
fn at(start: u64, piece: &Range<u64>, out: TrapCode) -> Result<u64, TrapCode> {
    start.checked_add(piece.start).ok_or(out)
}

fn check_both(
    dst: u64,
    dst_size: usize,
    src: u64,
    src_size: usize,
    len: u64,
) -> Result<(), Ending> {
    range(dst, len, dst_size)?;
    range(src, len, src_size)?;
    Ok(())
}
