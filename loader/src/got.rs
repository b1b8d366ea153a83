//! The GOT of an artifact: what only the loader knows, in slots that code reads.
//!
//! The loader fills the slots in before any code of the artifact can run. They are in whole pages
//! of the artifact, which can be written to only meanwhile.

use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use precast_artifact::records::{GotKind, GotRecord};
use precast_artifact::{Artifact, Error as ArtifactError, HEADER_OFFSET, LibCall};

use crate::error::Error;
use crate::libcalls;
use crate::sys::map::{page_size, protect};
use crate::types::{ConcreteFunc, type_id_in};

/// Fills in the GOT of a mapped artifact.
///
/// # Errors
/// [`Error::Artifact`] if there is a record that this loader does not know; the system's.
///
/// # Safety
/// `artifact` is checked, and its bytes are a private mapping, in which nobody uses the pages of
/// the GOT yet.
pub(crate) unsafe fn patch(artifact: &Artifact<'_>, types: &[ConcreteFunc]) -> Result<(), Error> {
    let values = values(artifact, types)?;
    // SAFETY: by this function's contract.
    unsafe { write(artifact, &values) }
}

/// Fills in the GOT of an artifact of this executable, unless it is filled in.
///
/// # Errors
/// As for [`patch`]. [`Error::Artifact`] if the last page of the GOT is not all the artifact's.
///
/// # Safety
/// `artifact` is checked, and its bytes are private memory, of which nobody writes to the GOT
/// elsewhere.
pub(crate) unsafe fn patch_in_place(
    artifact: &Artifact<'_>,
    types: &[ConcreteFunc],
) -> Result<(), Error> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    let values = values(artifact, types)?;
    let section = artifact.header().got;
    let start = HEADER_OFFSET as u64 + section.start;
    let bytes = artifact.bytes();
    let page = page_size() as u64;
    let end = (start + section.len).next_multiple_of(page);
    let first = bytes.as_ptr().addr() as u64 + start;
    if end > bytes.len() as u64 || !first.is_multiple_of(page) {
        return Err(ArtifactError::Damaged {
            offset: start,
            what: "a GOT in the text of an executable that shares a page with other code: an older \
                   compiler wrote the artifact, or its linker did not keep the alignment",
        }
        .into());
    }
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let slots = slots(artifact);
    let is_filled = values.iter().enumerate().all(|(i, value)| {
        // SAFETY: there are as many slots as values, and only the owner of the lock writes there.
        unsafe { slots.add(i).read_volatile() == *value }
    });
    if is_filled {
        return Ok(());
    }
    // SAFETY: by this function's contract. The pages are the artifact's alone, as was checked, and
    // code that reads the slots meanwhile finds the same values again.
    unsafe { write(artifact, &values) }
}

/// The values of the slots.
fn values(artifact: &Artifact<'_>, types: &[ConcreteFunc]) -> Result<Vec<u64>, ArtifactError> {
    let records = artifact.got_records().iter().enumerate();
    let value = |(i, record)| {
        got_value(artifact, types, record).ok_or(ArtifactError::Damaged {
            offset: HEADER_OFFSET as u64 + artifact.header().got_records.start + 8 * i as u64,
            what: "a GOT record that this loader does not know",
        })
    };
    records.map(value).collect()
}

/// The value of the slot of a GOT record; `None` for a record that this loader does not know.
pub(crate) fn got_value(
    artifact: &Artifact<'_>,
    types: &[ConcreteFunc],
    record: &GotRecord,
) -> Option<u64> {
    Some(match GotKind::from_number(record.kind)? {
        GotKind::LibCall => libcalls::address(LibCall::from_number(record.index)?)? as u64,
        GotKind::TypeId => type_id_in(artifact, types, record.index)?,
    })
}

/// The first slot.
fn slots(artifact: &Artifact<'_>) -> *mut u64 {
    let start = HEADER_OFFSET + artifact.header().got.start as usize;
    let at = artifact.bytes().as_ptr().wrapping_add(start);
    at.cast_mut().cast()
}

/// # Safety
/// As for [`patch`] and [`patch_in_place`].
unsafe fn write(artifact: &Artifact<'_>, values: &[u64]) -> Result<(), Error> {
    let slots = slots(artifact);
    let len = size_of_val(values).next_multiple_of(page_size());
    let Some(start) = NonNull::new(slots.cast::<u8>()) else {
        return Ok(());
    };
    // SAFETY: the GOT has pages of its own (checked: it starts on one, and what follows it starts
    // on another), there are as many values as slots (checked when parsing), and nobody reads these
    // bytes of the artifact meanwhile.
    unsafe {
        protect(start, len, libc::PROT_READ | libc::PROT_WRITE)?;
        std::ptr::copy_nonoverlapping(values.as_ptr(), slots, values.len());
        protect(start, len, libc::PROT_READ)
    }
}
