//! Whether a range is inside of a memory, a table or a segment.

use std::ops::Range;

use precast_artifact::TrapCode;

/// The items `start..start + len` of `size` items.
///
/// # Errors
/// [`TrapCode::TableOutOfBounds`], which a check of something else replaces by its own error.
pub(crate) fn range(start: u64, len: u64, size: usize) -> Result<Range<usize>, TrapCode> {
    let end = start.checked_add(len).filter(|end| *end <= size as u64);
    end.map(|end| start as usize..end as usize)
        .ok_or(TrapCode::TableOutOfBounds)
}
