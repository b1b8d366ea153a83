//! An artifact that is a part of the executable, by the address of its first byte.

use std::borrow::Cow;

use precast_artifact::{Artifact, Error as ArtifactError, HEADER_OFFSET, Header};

use crate::error::Error;
use crate::got;

/// The first bytes of an artifact that is in an executable: the type of the symbol that
/// `precast_object::object_file` defines. [`Module::from_static`](crate::Module::from_static) takes
/// its address; the rest of the artifact follows in memory.
///
/// ```no_run
/// use precast_loader::StaticArtifact;
///
/// unsafe extern "C" {
///     /// The symbol that the build script named.
///     static GUEST: StaticArtifact;
/// }
/// let start: *const StaticArtifact = &raw const GUEST;
/// # assert!(!start.is_null());
/// ```
#[derive(Debug)]
#[repr(C, align(8))]
pub struct StaticArtifact {
    start: [u8; HEADER_OFFSET + size_of::<Header>()],
}

impl StaticArtifact {
    /// All bytes of the artifact.
    ///
    /// # Errors
    /// [`Error::Artifact`] if it does not start like an artifact of this format, or at an address
    /// where its code cannot run.
    ///
    /// # Safety
    /// As for [`Module::from_static`](crate::Module::from_static).
    pub(crate) unsafe fn bytes(artifact: *const Self) -> Result<&'static [u8], Error> {
        /// Code of aarch64 counts distances in these, from the one that it is in.
        const ALIGN: usize = 4096;
        if !artifact.addr().is_multiple_of(ALIGN) {
            let expected = ALIGN as u32;
            return Err(ArtifactError::Misaligned { expected }.into());
        }
        // SAFETY: there is at least a header's length behind the address, which nobody writes to.
        let start: &'static [u8] = unsafe { &(*artifact).start };
        let len = Artifact::file_len(start)?;
        // SAFETY: the artifact is as long as its header says, by the caller's contract.
        Ok(unsafe { std::slice::from_raw_parts(artifact.cast(), len) })
    }
}

/// An artifact in this executable: what [`include_artifact!`](crate::include_artifact) gives, and
/// [`Module::embedded`](crate::Module::embedded) takes.
///
/// ```no_run
/// use precast_loader::{EmbeddedArtifact, StaticArtifact};
///
/// unsafe extern "C" {
///     /// A symbol of an object file that the build script made.
///     static GUEST: StaticArtifact;
/// }
/// // SAFETY: the build script made the object with precast.
/// static EMBEDDED: EmbeddedArtifact = unsafe { EmbeddedArtifact::new(&raw const GUEST) };
/// ```
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedArtifact(*const StaticArtifact);

// SAFETY: a pointer to what nobody writes to.
unsafe impl Send for EmbeddedArtifact {}
// SAFETY: as above.
unsafe impl Sync for EmbeddedArtifact {}

impl EmbeddedArtifact {
    /// The artifact that starts at this address.
    ///
    /// # Safety
    /// As for [`Module::from_static`](crate::Module::from_static).
    pub const unsafe fn new(artifact: *const StaticArtifact) -> Self {
        Self(artifact)
    }

    /// The bytes of the artifact, as the compiler wrote them. They are a copy if the artifact has a
    /// GOT, which the loader fills in where it is.
    ///
    /// # Errors
    /// [`Error::Artifact`] if it does not start like an artifact of this format.
    pub fn bytes(self) -> Result<Cow<'static, [u8]>, Error> {
        // SAFETY: by the contract of `new`.
        let bytes = unsafe { StaticArtifact::bytes(self.0)? };
        let got = Artifact::reopen(bytes, bytes).map(|artifact| artifact.header().got);
        Ok(match got.filter(|got| got.len > 0) {
            Some(got) => Cow::Owned(got::as_written(bytes, got)),
            None => Cow::Borrowed(bytes),
        })
    }

    /// The number of bytes of the artifact.
    ///
    /// # Errors
    /// As for [`EmbeddedArtifact::bytes`].
    pub fn file_len(self) -> Result<usize, Error> {
        // SAFETY: by the contract of `new`.
        Ok(unsafe { StaticArtifact::bytes(self.0)? }.len())
    }

    /// The address of the first byte.
    pub(crate) fn start(self) -> *const StaticArtifact {
        self.0
    }
}
