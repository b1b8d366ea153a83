//! The GOT of an artifact: what only the loader knows, in slots that code reads.
//!
//! The loader fills the slots in before any code of the artifact can run. They are in whole pages
//! of the artifact, which are writable only while the loader fills them in.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use precast_artifact::records::{GotKind, GotRecord};
use precast_artifact::{Artifact, Error as ArtifactError, HEADER_OFFSET, LibCall, Section};

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

/// Fills in the GOT of an artifact of this executable, unless it is filled in. The slots are read
/// each time, because those of a library that was unloaded and loaded again are empty again.
///
/// # Errors
/// As for [`patch`]. [`Error::Artifact`] if the last page of the GOT is not all the artifact's, or
/// if something else has written to the GOT.
///
/// # Safety
/// `artifact` is checked, its bytes are private memory, and no other code writes to its GOT.
pub(crate) unsafe fn patch_in_place(
    artifact: &Artifact<'_>,
    types: &[ConcreteFunc],
) -> Result<(), Error> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    let values = values(artifact, types)?;
    // SAFETY: by this function's contract, and there are as many slots as values.
    let slots = unsafe { std::slice::from_raw_parts(slots(artifact), values.len()) };
    let found = || slots.iter().map(|slot| slot.load(Ordering::Relaxed));
    if found().eq(values.iter().copied()) {
        return Ok(());
    }
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
    let mut both = found().zip(&values);
    if let Some(at) = both.position(|(found, value)| found != 0 && found != *value) {
        return Err(ArtifactError::Damaged {
            offset: start + 8 * at as u64,
            what: "a GOT in the text of an executable that something else has filled in: another \
                   copy of the loader in this process uses the artifact",
        }
        .into());
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

/// The first slot. Another thread may be filling it in with the same value.
fn slots(artifact: &Artifact<'_>) -> *const AtomicU64 {
    let start = HEADER_OFFSET + artifact.header().got.start as usize;
    let at = artifact.bytes().as_ptr().wrapping_add(start);
    at.cast()
}

/// The bytes of an artifact's file as the compiler wrote them: with zeros in the GOT, which has
/// addresses of this process once it is filled in, and which another thread may be filling in.
pub(crate) fn as_written(bytes: &[u8], got: Section) -> Vec<u8> {
    // The artifact may never have been checked.
    let start = (HEADER_OFFSET as u64).saturating_add(got.start);
    let inside = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
    let (start, end) = (inside(start), inside(start.saturating_add(got.len)));
    [&bytes[..start], &vec![0; end - start], &bytes[end..]].concat()
}

/// # Safety
/// As for [`patch`] and [`patch_in_place`].
unsafe fn write(artifact: &Artifact<'_>, values: &[u64]) -> Result<(), Error> {
    let slots = slots(artifact);
    let len = size_of_val(values).next_multiple_of(page_size());
    let Some(start) = NonNull::new(slots.cast_mut().cast::<u8>()) else {
        return Ok(());
    };
    // SAFETY: the GOT has pages of its own (checked: it starts on one, and what follows it starts
    // on another), there are as many values as slots (checked when parsing), and all code that
    // reads these bytes of the artifact meanwhile expects them to change.
    unsafe {
        protect(start, len, libc::PROT_READ | libc::PROT_WRITE)?;
        for (i, value) in values.iter().enumerate() {
            (*slots.add(i)).store(*value, Ordering::Relaxed);
        }
        protect(start, len, libc::PROT_READ)
    }
}
