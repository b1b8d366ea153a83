//! Several artifacts in one file: the same module for several CPUs and targets. A loader opens the
//! best of them that its machine can run.
//!
//! ```text
//!   0    u8 × 8                  MAGIC
//!   8    u32                     VERSION
//!   12   u32                     number of variants: 1 to MAX_VARIANTS
//!   16   VariantRecord × number  the preferred ones first
//!        pieces of artifacts     each at a multiple of its artifact's page size
//! ```
//!
//! A variant is a whole artifact, which may have signatures, in one to three pieces of whole pages.
//! The pieces, put together in their order, are the artifact's file. So each variant has the same
//! digest and signatures as its own file. Variants share a piece by naming the same place. Memory
//! images are mostly the same for all CPUs, and are in the file once then, unless they are small,
//! because an artifact in one piece is opened faster. Hot tables are small, and each variant has
//! its own.
//!
//! The file is no ELF file, because an ELF file has one architecture. No checksum covers the
//! records: they only say where artifacts are, and each artifact is checked by itself.

use bytemuck::{Pod, Zeroable};

use crate::reader::{Error, Host, feature_names};
use crate::target::{Arch, Os};

/// First bytes of a file of variants.
pub const MAGIC: [u8; 8] = *b"precvar\n";

/// Version of the layout.
pub const VERSION: u32 = 1;

/// Maximum number of variants. All records are in the first 4096 bytes.
pub const MAX_VARIANTS: usize = 16;

/// Maximum number of pieces of a variant.
pub const MAX_PIECES: usize = 3;

/// Bytes in front of the records.
const FIXED: usize = 16;

/// A run of bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct Piece {
    /// File offset of the first byte: a multiple of the page size.
    pub start: u64,
    /// Number of bytes: a multiple of the page size, except in the last piece.
    pub len: u64,
}

/// A variant: what it needs, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct VariantRecord {
    /// CPU features that the code uses: bits as in [`Arch::features`].
    pub cpu_features: u64,
    /// [`Arch`].
    pub arch: u32,
    /// [`Os`].
    pub os: u32,
    /// Page size that the artifact is laid out for.
    pub page_size: u32,
    /// Number of pieces.
    pub pieces: u32,
    /// The pieces; those beyond the number are zero.
    pub piece: [Piece; MAX_PIECES],
}

impl VariantRecord {
    /// The pieces, in the order of the artifact.
    pub fn pieces(&self) -> &[Piece] {
        &self.piece[..(self.pieces as usize).min(MAX_PIECES)]
    }

    /// Length of the artifact's file in bytes.
    pub fn len(&self) -> u64 {
        self.pieces()
            .iter()
            .fold(0, |sum, piece| sum.saturating_add(piece.len))
    }

    /// Whether there are no bytes. [`parse`] returns no such variant.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The target and the CPU features of the variant, for messages.
    pub fn describe(&self) -> String {
        let arch = Arch::from_number(self.arch);
        let name = arch.map_or("unknown", Arch::name);
        let os = Os::from_number(self.os).map_or("unknown", Os::name);
        match arch {
            Some(arch) if self.cpu_features != 0 => {
                let features = feature_names(arch, self.cpu_features);
                format!("{name}-{os} with {features}")
            }
            _ => format!("{name}-{os}"),
        }
    }

    fn is_possible(&self, file_len: u64) -> bool {
        let page = u64::from(self.page_size);
        let count = self.pieces as usize;
        let in_file = |piece: &Piece| {
            let end = piece.start.checked_add(piece.len);
            piece.len > 0
                && piece.start.is_multiple_of(page)
                && end.is_some_and(|end| end <= file_len)
        };
        self.page_size.is_power_of_two()
            && self.page_size <= 1 << 16
            && (1..=MAX_PIECES).contains(&count)
            && self.piece[..count].iter().all(in_file)
            && self.piece[..count - 1]
                .iter()
                .all(|piece| piece.len.is_multiple_of(page))
            && self.piece[count..].iter().all(|p| *p == Piece::default())
    }
}

/// The variants of a file of `file_len` bytes. `start` must have the first 4096 bytes of the file
/// at least, or the whole file. `None` if the file is not one of variants.
///
/// # Errors
/// [`Error::Damaged`], and [`Error::TrailingBytes`] if the file goes on behind the last variant.
pub fn parse(start: &[u8], file_len: u64) -> Result<Option<Vec<VariantRecord>>, Error> {
    if !start.starts_with(&MAGIC) {
        return Ok(None);
    }
    let damaged = |offset: usize, what| Error::Damaged {
        offset: offset as u64,
        what,
    };
    let short = damaged(0, "the records of variants are truncated");
    let Some(fixed) = start.first_chunk::<FIXED>() else {
        return Err(short);
    };
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| fixed[at + i]));
    if word(8) != VERSION {
        let what = "the file of variants has a version that this reader does not know";
        return Err(damaged(8, what));
    }
    let count = word(12) as usize;
    if count == 0 || count > MAX_VARIANTS {
        return Err(damaged(12, "the number of variants is not from 1 to 16"));
    }
    let size = size_of::<VariantRecord>();
    let mut records = Vec::with_capacity(count);
    for i in 0..count {
        let at = FIXED + i * size;
        let Some(bytes) = start.get(at..at + size) else {
            return Err(short);
        };
        let record: VariantRecord = bytemuck::pod_read_unaligned(bytes);
        if !record.is_possible(file_len) {
            return Err(damaged(at, "a variant is not in whole pages of the file"));
        }
        records.push(record);
    }
    let ends = records.iter().flat_map(VariantRecord::pieces);
    let expected = ends.map(|piece| piece.start + piece.len).max().unwrap_or(0);
    if expected != file_len {
        return Err(Error::TrailingBytes {
            found: file_len,
            expected,
        });
    }
    Ok(Some(records))
}

/// The first variant that this host can run.
///
/// # Errors
/// [`Error::NoVariant`].
pub fn choose<'a>(records: &'a [VariantRecord], host: &Host) -> Result<&'a VariantRecord, Error> {
    let fits = |record: &&VariantRecord| {
        record.arch == host.arch as u32
            && record.os == host.os as u32
            && record.cpu_features & !host.cpu_features == 0
            && host.page_size != 0
            && record.page_size.is_multiple_of(host.page_size)
    };
    records.iter().find(fits).ok_or_else(|| Error::NoVariant {
        found: records.iter().map(VariantRecord::describe).collect(),
        expected: format!(
            "{}-{}, pages of {} bytes",
            host.arch.name(),
            host.os.name(),
            host.page_size
        ),
    })
}
