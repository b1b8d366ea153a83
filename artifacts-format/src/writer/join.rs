//! Writes a file of variants, see [`variants`](crate::variants).

use std::collections::BTreeMap;

use bytemuck::{Zeroable, bytes_of};

use super::WriteError;
use crate::HEADER_OFFSET;
use crate::metadata::Metadata;
use crate::reader::Artifact;
use crate::variants::{MAGIC, MAX_VARIANTS, Piece, VERSION, VariantRecord};

/// Images of fewer bytes are not shared: an artifact in several pieces takes more system calls to
/// open than a whole artifact, and a small image is not worth them.
const MIN_SHARED: usize = 64 << 10;

/// Puts artifacts of one module, compiled with the same settings for several CPUs and targets, into
/// one file. Each is a view of all the bytes of its file, with its signatures. Among those that a
/// machine can run, the one that uses most CPU features is preferred.
///
/// # Errors
/// [`WriteError::Variants`] and [`WriteError::VariantSettings`].
pub fn join(artifacts: &[(Artifact<'_>, &[u8])]) -> Result<Vec<u8>, WriteError> {
    if artifacts.is_empty() || artifacts.len() > MAX_VARIANTS {
        return Err(WriteError::Variants(
            "there must be from 1 to 16 artifacts to join",
        ));
    }
    let mut sorted: Vec<_> = artifacts.iter().collect();
    // Equal numbers of features stay in the order in which they were given.
    sorted.sort_by_key(|(artifact, _)| {
        core::cmp::Reverse(artifact.header().cpu_features.count_ones())
    });
    let metadata = |artifact: &Artifact<'_>| {
        Metadata::decode(artifact.section(artifact.header().metadata))
            .map_err(|_| WriteError::Variants("the metadata of an artifact are damaged"))
    };
    let first = metadata(&sorted[0].0)?;
    let needs = |artifact: &Artifact<'_>| {
        let h = artifact.header();
        (h.arch, h.os, h.cpu_features)
    };
    for (i, (artifact, _)) in sorted.iter().enumerate() {
        let other = metadata(artifact)?;
        if other.source_digest != first.source_digest {
            return Err(WriteError::Variants(
                "the artifacts were compiled from different modules",
            ));
        }
        same_settings(&first, &other)?;
        if sorted[..i].iter().any(|(a, _)| needs(a) == needs(artifact)) {
            return Err(WriteError::Variants(
                "two artifacts are for the same target and CPU",
            ));
        }
    }

    let mut file = vec![0; 16 + sorted.len() * size_of::<VariantRecord>()];
    file[..8].copy_from_slice(&MAGIC);
    file[8..12].copy_from_slice(&VERSION.to_le_bytes());
    file[12..16].copy_from_slice(&(sorted.len() as u32).to_le_bytes());
    // Images that are in the file already.
    let mut images: Vec<(Piece, &[u8])> = Vec::new();
    for (i, (artifact, bytes)) in sorted.iter().enumerate() {
        let h = artifact.header();
        let page = u64::from(h.page_size);
        let image = artifact.section(h.image);
        let start = (HEADER_OFFSET as u64 + h.image.start) as usize;
        let end = start + image.len();
        let known = images
            .iter()
            .find(|(place, known)| place.start.is_multiple_of(page) && *known == image);
        let mut record = VariantRecord {
            cpu_features: h.cpu_features,
            arch: h.arch,
            os: h.os,
            page_size: h.page_size,
            pieces: 0,
            ..VariantRecord::zeroed()
        };
        let mut add = |file: &mut Vec<u8>, piece: Piece, bytes: &[u8]| {
            file.extend_from_slice(bytes);
            record.piece[record.pieces as usize] = piece;
            record.pieces += 1;
        };
        let append = |file: &mut Vec<u8>, bytes: &[u8]| {
            file.resize(file.len().next_multiple_of(h.page_size as usize), 0);
            Piece {
                start: file.len() as u64,
                len: bytes.len() as u64,
            }
        };
        match known.map(|known| known.0) {
            Some(shared) => {
                let piece = append(&mut file, &bytes[..start]);
                add(&mut file, piece, &bytes[..start]);
                add(&mut file, shared, &[]);
                let piece = append(&mut file, &bytes[end..]);
                add(&mut file, piece, &bytes[end..]);
            }
            None => {
                let piece = append(&mut file, bytes);
                add(&mut file, piece, bytes);
                let place = Piece {
                    start: piece.start + start as u64,
                    len: image.len() as u64,
                };
                if image.len() >= MIN_SHARED {
                    images.push((place, image));
                }
            }
        }
        let at = 16 + i * size_of::<VariantRecord>();
        file[at..at + size_of::<VariantRecord>()].copy_from_slice(bytes_of(&record));
    }
    Ok(file)
}

/// Checks that two artifacts have the same settings, but for the CPU.
fn same_settings(first: &Metadata, other: &Metadata) -> Result<(), WriteError> {
    let [first, other] = [first, other].map(|metadata| -> BTreeMap<_, _> {
        let settings = metadata.settings.iter().filter(|(name, _)| name != "cpu");
        settings.map(|(name, value)| (name, value)).collect()
    });
    let mut names = first.keys().chain(other.keys());
    let different = names.find(|name| first.get(*name) != other.get(*name));
    different.map_or(Ok(()), |name| {
        Err(WriteError::VariantSettings {
            name: (*name).clone(),
            values: [&first, &other].map(|of| of.get(name).map(|value| (*value).clone())),
        })
    })
}
