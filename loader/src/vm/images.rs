//! The initial content of memories, in a memory file that the loader makes: one piece for each
//! memory, whose holes take no memory.
//!
//! Snapshots use such a file. So do artifacts whose images are in many pieces, each of which would
//! otherwise be a mapping of every instance. The file is sealed, so it never changes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use precast_artifact::Section;
use precast_artifact::records::IMPORTED;

use super::memory::Image;
use super::module::MappedModule;
use crate::sys::file_map::FileMap;
use crate::sys::sealed;

/// Maximum number of pieces of an artifact's images that are mapped from the artifact, unless the
/// pieces are large.
const MOST_PIECES: usize = 8;

/// Pieces that have this many bytes on average are mapped from the artifact, however many they are.
const LARGE: u64 = 1 << 20;

/// Whole pages of the initial content of a memory.
pub(super) struct Part<'a> {
    /// The number of the memory among those that the instance owns.
    pub(super) memory: usize,
    /// First byte in the memory.
    pub(super) guest: usize,
    pub(super) bytes: &'a [u8],
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
                    file.end = at + part.bytes.len();
                }
                None => {
                    offsets.push(end as u64);
                    places.push((part.memory, part.guest, end..end + part.bytes.len()));
                }
            }
        }
        let Some(len) = places.last().map(|(.., file)| file.end) else {
            return Ok(None);
        };
        let parts = offsets.iter().zip(parts);
        let file = sealed::of_parts(len as u64, parts.map(|(at, part)| (*at, part.bytes)))?;
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

    /// Puts the images of an artifact together if it has many. `None` if it has few, or if they are
    /// damaged, which is reported when they are mapped.
    pub(super) fn of_many(module: &MappedModule) -> Option<Self> {
        let artifact = module.artifact();
        let image = artifact.header().image;
        let count = artifact.images().len();
        if count <= MOST_PIECES || image.len / count as u64 >= LARGE {
            return None;
        }
        let imported = artifact
            .memories()
            .iter()
            .filter(|m| m.flags & IMPORTED != 0);
        let imported = imported.count();
        let mut parts = Vec::with_capacity(count);
        for run in artifact.image_runs() {
            let run = run.ok()?;
            parts.push(Part {
                memory: (run.memory as usize).checked_sub(imported)?,
                guest: usize::try_from(run.guest).ok()?,
                bytes: artifact.section(Section {
                    start: image.start + run.offset,
                    len: run.len,
                }),
            });
        }
        Self::new(&parts).ok().flatten()
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
