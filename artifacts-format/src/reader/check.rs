//! The first checks of [`Artifact::parse`]: the bytes are an artifact, the artifact fits the host,
//! and its header and hot tables have the right checksum. What the tables say is checked later.

use super::{Artifact, Error, FoundFile, Host, Mismatch, checksum, feature_names};
use crate::abi::LEAST_SAFE;
use crate::target::{Arch, Os};
use crate::{ABI, FORMAT, HEADER_OFFSET, Header, MAGIC, Section};

/// Distance of a field from the start of the header.
macro_rules! field {
    ($name:ident) => {
        core::mem::offset_of!(crate::Header, $name)
    };
}
pub(super) use field;

/// The header of a file of `len` bytes that starts with `bytes`, if its magic and format are right.
pub(super) fn header(bytes: &[u8], len: usize) -> Result<&Header, Error> {
    let start = HEADER_OFFSET;
    let end = start + size_of::<Header>();
    let is_elf = bytes.starts_with(b"\x7fELF");
    match bytes.get(start..start + MAGIC.len()) {
        Some(magic) if is_elf && magic == MAGIC => {}
        Some(_) => return Err(Error::NotArtifact(FoundFile::sniff(bytes))),
        None if is_elf => {
            return Err(Error::Truncated {
                found: len as u64,
                expected: end as u64,
            });
        }
        None => return Err(Error::NotArtifact(FoundFile::sniff(bytes))),
    }
    let Some(header) = bytes.get(start..end) else {
        // The format number would be readable, but the rest of the header is missing.
        return Err(Error::Truncated {
            found: len as u64,
            expected: end as u64,
        });
    };
    let found = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if found != FORMAT {
        return Err(Error::Format {
            found,
            expected: FORMAT,
        });
    }
    let alignment = u32::try_from(align_of::<u64>()).unwrap_or(8);
    bytemuck::try_from_bytes(header).map_err(|_| Error::Misaligned {
        expected: alignment,
    })
}

impl Artifact<'_> {
    /// What is wrong with the artifact's ABI, if it is not this reader's.
    pub(super) fn abi_mismatch(&self) -> Option<Mismatch> {
        match self.header.abi {
            ABI => None,
            found if found < LEAST_SAFE => Some(Mismatch::UnsafeAbi { found }),
            found => Some(Mismatch::Abi {
                found,
                expected: ABI,
            }),
        }
    }

    pub(super) fn check_host(&self, host: &Host) -> Result<(), Error> {
        let h = self.header;
        let mut mismatches: Vec<Mismatch> = self.abi_mismatch().into_iter().collect();
        let name = |arch: Option<Arch>, os: Option<Os>| match (arch, os) {
            (Some(arch), Some(os)) => format!("{}-unknown-{}-gnu", arch.name(), os.name()),
            _ => format!(
                "an unknown target (architecture {}, system {})",
                h.arch, h.os
            ),
        };
        if h.arch != host.arch as u32 || h.os != host.os as u32 || h.pointer_width != 8 {
            mismatches.push(Mismatch::Target {
                found: name(Arch::from_number(h.arch), Os::from_number(h.os)),
                expected: name(Some(host.arch), Some(host.os)),
            });
        } else {
            let missing = h.cpu_features & !host.cpu_features;
            if missing != 0 {
                mismatches.push(Mismatch::CpuFeatures {
                    missing: feature_names(host.arch, missing),
                });
            }
        }
        if host.page_size == 0 || !h.page_size.is_multiple_of(host.page_size) {
            mismatches.push(Mismatch::PageSize {
                found: h.page_size,
                expected: host.page_size,
            });
        }
        if mismatches.is_empty() {
            Ok(())
        } else {
            Err(Error::Mismatch(mismatches))
        }
    }

    pub(super) fn check_checksum(&self) -> Result<(), Error> {
        let len = self.header.hot_len;
        let covered = HEADER_OFFSET
            .checked_add(len as usize)
            .and_then(|end| {
                self.hot
                    .get(HEADER_OFFSET..end)
                    .or(self.bytes.get(HEADER_OFFSET..end))
            })
            .filter(|covered| covered.len() >= size_of::<Header>())
            .ok_or(damaged(
                field!(hot_len),
                "the hot tables are shorter than the header or longer than the file",
            ))?;
        let found = checksum(covered);
        let expected = self.header.checksum;
        if found == expected {
            Ok(())
        } else {
            Err(Error::Checksum {
                found,
                expected,
                len,
            })
        }
    }
}

/// The record of a place that begins before another place ends which begins no later, if there is
/// one. Each place has a start, an end, and the distance of its record from the header.
pub(super) fn overlapping(mut places: Vec<(u64, u64, usize)>) -> Option<usize> {
    places.sort_unstable();
    let mut pairs = places.windows(2);
    pairs
        .find(|pair| pair[0].1 > pair[1].0)
        .map(|pair| pair[1].2)
}

pub(super) fn damaged(header_offset: usize, what: &'static str) -> Error {
    Error::Damaged {
        offset: (HEADER_OFFSET + header_offset) as u64,
        what,
    }
}

/// Distance of record `i` of a table from the header.
pub(super) fn at<T>(section: Section, i: usize) -> usize {
    section.start as usize + i * size_of::<T>()
}
