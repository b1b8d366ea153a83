//! The signatures of a signed file, which follow the artifact.
//!
//! ```text
//!   0          the artifact, `file_len` bytes: what its digest covers
//!   file_len   zeros, up to a multiple of the artifact's page size
//!   start      u8 × 8   MAGIC
//!   start + 8  u32      VERSION
//!   start + 12 u32      number of signatures: 1 to MAX_SIGNATURES
//!   start + 16 FileSignature × number, up to the end of the file
//! ```
//!
//! So an artifact has the same digest with and without signatures, and signatures can be added and
//! removed. They are in pages of their own, because no digest covers them, and the last page of the
//! artifact holds machine code: bytes that were not checked are never executable. Machine code and
//! the loader's tables never refer to these bytes.
//!
//! A signature signs a [`message`]. This crate only reads and writes signatures;
//! `precast-signature` makes and checks them.

use bytemuck::{Pod, Zeroable};

use crate::reader::Error;

/// First bytes behind the padding.
pub const MAGIC: [u8; 8] = *b"precsign";

/// Version of the layout.
pub const VERSION: u32 = 1;

/// Maximum number of signatures of a file. It bounds the work of checking them.
pub const MAX_SIGNATURES: usize = 64;

/// Maximum number of bytes behind an artifact: padding and signatures.
pub const MAX_LEN: u64 = (1 << 16) + (FIXED + MAX_SIGNATURES * size_of::<FileSignature>()) as u64;

/// Number of bytes in front of the signatures, without padding.
const FIXED: usize = 16;

/// A signature of a file. Ids and signatures may be any bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FileSignature {
    /// Id of the key that made the signature: the first 16 bytes of the BLAKE3 hash of the public
    /// key.
    pub key: [u8; 16],
    /// The ed25519 signature of [`message`].
    pub signature: [u8; 64],
}

/// What a signature signs: a text that says what is signed, so that the signature is valid for
/// nothing else, and the artifact's [digest](crate::digest).
pub fn message(digest: &[u8; 32]) -> [u8; 64] {
    const WHAT: [u8; 32] = *b"precast artifact, BLAKE3 digest:";
    let mut message = [0; 64];
    message[..32].copy_from_slice(&WHAT);
    message[32..].copy_from_slice(digest);
    message
}

/// The bytes to write behind an artifact of `file_len` bytes. There are none if there are no
/// signatures.
///
/// # Panics
/// If there are more than [`MAX_SIGNATURES`].
pub fn encode(file_len: u64, page_size: u32, signatures: &[FileSignature]) -> Vec<u8> {
    assert!(signatures.len() <= MAX_SIGNATURES, "too many signatures");
    if signatures.is_empty() {
        return Vec::new();
    }
    let mut bytes = vec![0; padding(file_len, page_size) as usize];
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((signatures.len() as u32).to_le_bytes());
    bytes.extend_from_slice(bytemuck::cast_slice(signatures));
    bytes
}

/// The signatures in `tail`, the bytes of a file behind its artifact of `file_len` bytes.
///
/// # Errors
/// [`Error::TrailingBytes`] if the bytes are not signatures, and [`Error::Damaged`] if the
/// signatures are damaged or of an unknown version.
pub(crate) fn decode(
    tail: &[u8],
    file_len: u64,
    page_size: u32,
) -> Result<&[FileSignature], Error> {
    if tail.is_empty() {
        return Ok(&[]);
    }
    let pad = padding(file_len, page_size);
    let other = Error::TrailingBytes {
        found: file_len.saturating_add(tail.len() as u64),
        expected: file_len,
    };
    let parts = tail.split_at_checked(usize::try_from(pad).unwrap_or(usize::MAX));
    let Some((zeros, content)) = parts else {
        return Err(other);
    };
    if !content.starts_with(&MAGIC) {
        return Err(other);
    }
    let start = file_len.saturating_add(pad);
    let damaged = |offset: u64, what| Err(Error::Damaged { offset, what });
    let Some((fixed, records)) = content.split_first_chunk::<FIXED>() else {
        return damaged(start, "the signatures are truncated");
    };
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| fixed[at + i]));
    if word(8) != VERSION {
        return damaged(
            start + 8,
            "the signatures have a version that this reader does not know",
        );
    }
    let count = word(12) as usize;
    if count == 0 || count > MAX_SIGNATURES {
        return damaged(start + 12, "the number of signatures is not from 1 to 64");
    }
    if records.len() != count * size_of::<FileSignature>() {
        return damaged(
            start + 12,
            "the file does not end where its last signature ends",
        );
    }
    if zeros.iter().any(|byte| *byte != 0) {
        return damaged(
            file_len,
            "the bytes in front of the signatures are not zero",
        );
    }
    Ok(bytemuck::cast_slice(records))
}

/// Number of zeros between the artifact and the signatures. An impossible page size gives no
/// padding; the artifact is refused later.
fn padding(file_len: u64, page_size: u32) -> u64 {
    let page = u64::from(page_size).max(1);
    file_len.checked_next_multiple_of(page).unwrap_or(file_len) - file_len
}
