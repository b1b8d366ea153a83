//! The initial content of memories, in a memory file that the loader makes: one piece for each
//! memory, whose holes take no memory.
//!
//! Snapshots use such a file. So do artifacts whose images are in many pieces, or whose data is
//! scattered, see [`gather`](super::gather). The file is sealed, so it never changes.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use smallvec::SmallVec;

use crate::sys::file_map::FileMap;
use crate::sys::sealed;

/// A run of pages of the initial content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Image {
    /// First byte in the memory.
    pub(crate) guest: usize,
    /// The bytes, in the artifact's mapping, which outlives the memory.
    pub(crate) bytes: NonNull<[u8]>,
    /// Where they are in the artifact's file.
    pub(crate) offset: u64,
}

/// Whole pages of the initial content of a memory.
pub(super) struct Part<'a> {
    /// The number of the memory among those that the instance owns.
    pub(super) memory: usize,
    /// First byte in the memory.
    pub(super) guest: usize,
    /// Number of bytes.
    pub(super) len: usize,
    /// The bytes that are not zero, with their offset in this part. Where pieces overlap, the later
    /// one counts.
    pub(super) pieces: SmallVec<[(usize, &'a [u8]); 1]>,
}

impl<'a> Part<'a> {
    pub(super) fn content(&self) -> Cow<'a, [u8]> {
        if let [(0, bytes)] = *self.pieces
            && bytes.len() == self.len
        {
            return Cow::Borrowed(bytes);
        }
        let mut content = vec![0; self.len];
        for (at, bytes) in &self.pieces {
            content[*at..][..bytes.len()].copy_from_slice(bytes);
        }
        Cow::Owned(content)
    }
}

/// Images of memories in one file.
#[derive(Debug)]
pub(crate) struct Images {
    file: File,
    /// Keeps the bytes of the images mapped.
    _map: FileMap,
    images: Box<[(usize, Image)]>,
}

// SAFETY: the pointers of the images lead into the mapping, which nobody writes to.
unsafe impl Send for Images {}
// SAFETY: as above.
unsafe impl Sync for Images {}

impl Images {
    /// Writes parts to a file, in ascending order of memory and offset. `None` if there are no
    /// parts.
    ///
    /// # Errors
    /// The system's: no memory files, no memory.
    pub(super) fn new(parts: &[Part<'_>]) -> io::Result<Option<Self>> {
        // For each memory: its part of the file, and the offset of that part in the memory.
        let mut places: Vec<(usize, usize, Range<usize>)> = Vec::new();
        let mut offsets = Vec::with_capacity(parts.len());
        for part in parts {
            let end = places.last().map_or(0, |(.., file)| file.end);
            match places.last_mut().filter(|last| last.0 == part.memory) {
                Some((_, guest, file)) => {
                    let at = file.start + (part.guest - *guest);
                    offsets.push(at as u64);
                    file.end = at + part.len;
                }
                None => {
                    offsets.push(end as u64);
                    places.push((part.memory, part.guest, end..end + part.len));
                }
            }
        }
        let Some(len) = places.last().map(|(.., file)| file.end) else {
            return Ok(None);
        };
        let parts = offsets.iter().zip(parts);
        let file = sealed::of_parts(len as u64, parts.map(|(at, part)| (*at, part.content())))?;
        // SAFETY: the file is sealed.
        let map = unsafe { FileMap::new(&file, 0, len, None)? };
        let images = places.into_iter().map(|(memory, guest, place)| {
            let image = Image {
                guest,
                offset: place.start as u64,
                bytes: NonNull::from(&map[place]),
            };
            (memory, image)
        });
        let images = images.collect();
        Ok(Some(Self {
            file,
            _map: map,
            images,
        }))
    }

    /// The file that the images are in.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The number of the memory, and the image.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, Image)> {
        self.images.iter().copied()
    }
}
