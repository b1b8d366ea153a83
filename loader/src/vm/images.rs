//! The initial content of memories, in a memory file that the loader makes, of which each memory
//! maps a few pieces.
//!
//! Snapshots use such a file. So do artifacts whose images are in many pieces, or whose data is
//! scattered, see [`gather`](super::gather). The file is sealed, so it never changes.
//!
//! A piece may have holes between its content. **A page of a hole takes memory from the moment that
//! a guest reads it**, until the file is gone, and no limit of a store counts that. So pieces end
//! at the largest holes, up to [`MAX_CUTS`] of them, and the other holes have a bound,
//! [`MAX_HOLES`]. Behind a hole that would exceed it, long content begins a new piece as long as
//! there are cuts left, and other content is not mapped but copied for each instance. The content
//! of a module is a part of its artifact, so copies of it have a bound. A snapshot can have so much
//! content that copying it would take far more memory than its holes. So only short content of a
//! snapshot is copied, up to [`MAX_BEHIND_HOLES`], and the rest is mapped with its holes.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use smallvec::SmallVec;

use crate::sys::file_map::FileMap;
use crate::sys::sealed;

/// A piece may end at a hole of so many bytes. A shorter one costs less than two more mappings.
const LARGE_HOLE: usize = 1 << 20;

/// Maximum number of holes at which pieces of the memories of an instance end.
const MAX_CUTS: usize = 15;

/// Maximum number of bytes of all holes in pieces, as long as what is behind the others can be
/// copied.
const MAX_HOLES: usize = 64 << 20;

/// Content of so many bytes is long.
const LONG: usize = 1 << 20;

/// Maximum number of bytes that are copied for each instance of a snapshot, because they are behind
/// a hole.
const MAX_BEHIND_HOLES: usize = 16 << 20;

/// Where the content of memories is from.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    Module,
    Snapshot,
}

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

impl Image {
    /// Whether any of these bytes of the memory are in the image.
    pub(super) fn overlaps(&self, bytes: &Range<usize>) -> bool {
        self.guest < bytes.end && bytes.start < self.guest + self.bytes.len()
    }
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
    /// The bytes of the file.
    map: FileMap,
    /// The pieces that are mapped, with the numbers of their memories.
    images: Box<[(usize, Image)]>,
    copies: Box<[Copied]>,
}

/// Content that is copied for each instance.
#[derive(Debug)]
struct Copied {
    memory: usize,
    guest: usize,
    place: Range<usize>,
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
    pub(super) fn new(parts: &[Part<'_>], origin: Origin) -> io::Result<Option<Self>> {
        let layout = Layout::of(parts, origin);
        if layout.len == 0 {
            return Ok(None);
        }
        let contents = layout.offsets.iter().zip(parts);
        let contents = contents.map(|(at, part)| (*at as u64, part.content()));
        let file = sealed::of_parts(layout.len as u64, contents)?;
        // SAFETY: the file is sealed.
        let map = unsafe { FileMap::new(&file, 0, layout.len, None)? };
        let images = layout.pieces.iter().map(|piece| {
            let image = Image {
                guest: piece.guest,
                offset: piece.at as u64,
                bytes: NonNull::from(&map[piece.at..piece.at + piece.len]),
            };
            (piece.memory, image)
        });
        let copies = layout.copied.iter().map(|i| Copied {
            memory: parts[*i].memory,
            guest: parts[*i].guest,
            place: layout.offsets[*i]..layout.offsets[*i] + parts[*i].len,
        });
        let (images, copies) = (images.collect(), copies.collect());
        Ok(Some(Self {
            file,
            map,
            images,
            copies,
        }))
    }

    /// The file that the images are in.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// What is mapped: the number of the memory, and the image.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, Image)> {
        self.images.iter().copied()
    }

    /// Whether anything is copied for each instance.
    pub(super) fn has_copies(&self) -> bool {
        !self.copies.is_empty()
    }

    /// What is copied for each instance: the number of the memory, the first byte in it, and the
    /// bytes, which are whole pages and may be longer than the memory.
    pub(super) fn copies(&self) -> impl Iterator<Item = (usize, usize, &[u8])> {
        let bytes = |copied: &Copied| &self.map[copied.place.clone()];
        let copies = self.copies.iter();
        copies.map(move |copied| (copied.memory, copied.guest, bytes(copied)))
    }
}

/// A part of a memory, from its first content to its last, that is mapped from the file.
#[derive(Debug)]
struct Piece {
    memory: usize,
    guest: usize,
    len: usize,
    /// Where it is in the file.
    at: usize,
}

/// Where parts are in a file: first the pieces, then what is copied.
struct Layout {
    pieces: Vec<Piece>,
    /// The numbers of the parts that are in no piece.
    copied: Vec<usize>,
    /// The place of each part.
    offsets: Vec<usize>,
    /// Bytes of the file.
    len: usize,
}

impl Layout {
    fn of(parts: &[Part<'_>], origin: Origin) -> Self {
        let cuts = cuts(parts);
        let (mut pieces, mut copied) = (Vec::<Piece>::new(), Vec::new());
        let mut offsets = vec![0; parts.len()];
        let (mut len, mut room) = (0, MAX_HOLES);
        let (mut room_for_copies, longest) = match origin {
            Origin::Module => (usize::MAX, usize::MAX),
            Origin::Snapshot => (MAX_BEHIND_HOLES, LONG - 1),
        };
        let mut more = MAX_CUTS - cuts.len();
        for (i, part) in parts.iter().enumerate() {
            let last = pieces.last_mut();
            let last = last.filter(|last| last.memory == part.memory && !cuts.contains(&i));
            let hole = |last: &Piece| part.guest - last.guest - last.len;
            let is_new = |last: &Piece| part.len >= LONG && more > 0 && hole(last) > room;
            match last {
                Some(piece) if !is_new(piece) => {
                    let hole = hole(piece);
                    if hole > room && part.len <= longest.min(room_for_copies) {
                        room_for_copies -= part.len;
                        copied.push(i);
                        continue;
                    }
                    room = room.saturating_sub(hole);
                    let from_start = part.guest - piece.guest;
                    piece.len = from_start + part.len;
                    offsets[i] = piece.at + from_start;
                    len = piece.at + piece.len;
                }
                last => {
                    more -= usize::from(last.is_some());
                    pieces.push(Piece {
                        memory: part.memory,
                        guest: part.guest,
                        len: part.len,
                        at: len,
                    });
                    offsets[i] = len;
                    len += part.len;
                }
            }
        }
        for i in &copied {
            offsets[*i] = len;
            len += parts[*i].len;
        }
        Self {
            pieces,
            copied,
            offsets,
            len,
        }
    }
}

/// The numbers of the parts before which there are the largest holes.
fn cuts(parts: &[Part<'_>]) -> SmallVec<[usize; MAX_CUTS]> {
    let holes = parts.windows(2).zip(1..).filter_map(|(pair, i)| {
        let [before, part] = pair else { return None };
        let is_same = before.memory == part.memory;
        let hole = is_same.then(|| part.guest - (before.guest + before.len))?;
        (hole >= LARGE_HOLE).then_some((hole, i))
    });
    let mut holes: Vec<_> = holes.collect();
    holes.sort_unstable();
    holes.iter().rev().map(|(_, i)| *i).take(MAX_CUTS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    /// A part of one page, whose content tells its place.
    fn part(memory: usize, guest: usize, content: &[u8]) -> Part<'_> {
        let pieces = [(0, content)].into();
        Part {
            memory,
            guest,
            len: PAGE,
            pieces,
        }
    }

    /// Random parts: pieces and copies together are the content, and holes have a bound.
    #[test]
    fn nothing_is_lost_and_holes_have_a_bound() {
        let mut beyond = 0;
        for seed in 1..120_u64 {
            let mut state = seed * 977;
            let mut random = |max: usize| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 20) as usize % max
            };
            let max_pages = [1, 20, 600, 3000][random(4)];
            // How many of ten parts are long.
            let long = [0, 0, 1, 9][random(4)];
            let mut parts: Vec<Part<'_>> = Vec::new();
            for memory in 0..1 + random(3) {
                let mut at = random(9) * PAGE;
                for _ in 0..1 + random(300) {
                    let len = if random(10) < long { LONG } else { PAGE };
                    let page = part(memory, at, &[]);
                    parts.push(Part { len, ..page });
                    at += len - PAGE + PAGE * (1 + random(max_pages));
                }
            }
            let memories = parts.last().unwrap().memory + 1;
            let origin = [Origin::Module, Origin::Snapshot][random(2)];
            let layout = Layout::of(&parts, origin);
            assert!(layout.pieces.len() <= memories + MAX_CUTS, "{seed}");
            let mapped: usize = layout.pieces.iter().map(|piece| piece.len).sum();
            let copied: usize = layout.copied.iter().map(|i| parts[*i].len).sum();
            let content = parts.iter().map(|part| part.len).sum::<usize>() - copied;
            let exceeds = mapped - content > MAX_HOLES;
            match origin {
                Origin::Module => assert!(!exceeds, "{seed}"),
                // Holes exceed their bound if a part does not fit into what may be copied, or is
                // long.
                Origin::Snapshot => assert!(copied <= MAX_BEHIND_HOLES, "{seed}"),
            }
            beyond += usize::from(exceeds);
            assert_eq!(layout.len, mapped + copied);
            let mut places: Vec<_> = layout.offsets.iter().zip(&parts).collect();
            places.sort_unstable_by_key(|(at, _)| **at);
            let apart = |pair: &[(&usize, &Part<'_>)]| pair[0].0 + pair[0].1.len <= *pair[1].0;
            assert!(places.windows(2).all(apart));
            for (i, part) in parts.iter().enumerate() {
                let is_in = |piece: &&Piece| {
                    let from = part.guest.checked_sub(piece.guest);
                    piece.memory == part.memory && from.is_some_and(|from| from < piece.len)
                };
                match layout.pieces.iter().find(is_in) {
                    Some(piece) if !layout.copied.contains(&i) => {
                        let place = layout.offsets[i] - piece.at;
                        assert_eq!(place, part.guest - piece.guest);
                    }
                    _ => assert!(layout.copied.contains(&i), "{seed}"),
                }
            }
        }
        assert!(beyond > 0);
    }

    /// A snapshot with more holes than pieces may have: what is long is mapped, and what is copied
    /// has a bound.
    #[test]
    fn long_content_behind_holes_is_not_copied() {
        let of = |guest, len| Part {
            len,
            ..part(0, guest, &[])
        };
        let layout = |short: usize, long: usize| {
            let mut parts: Vec<_> = (0..short).map(|i| of(2 * i * PAGE, PAGE)).collect();
            if long > 0 {
                parts.push(of(2 * short * PAGE, long * PAGE));
            }
            let layout = Layout::of(&parts, Origin::Snapshot);
            let copied = layout.copied.iter().map(|i| parts[*i].len).sum::<usize>();
            let mapped = layout.pieces.iter().map(|piece| piece.len).sum::<usize>();
            (layout.pieces.len(), copied, mapped)
        };
        let fitting = MAX_HOLES / PAGE;
        assert_eq!(layout(fitting + 1, 0), (1, 0, MAX_HOLES * 2 + PAGE));
        let (pieces, copied, mapped) = layout(fitting + 1000, 10_000);
        assert_eq!((pieces, copied), (2, 999 * PAGE));
        assert_eq!(mapped, MAX_HOLES * 2 + PAGE + 10_000 * PAGE);
        // More than may be copied is mapped with its holes.
        let (pieces, copied, mapped) = layout(3 * fitting, 0);
        assert_eq!((pieces, copied), (1, MAX_BEHIND_HOLES));
        assert_eq!(mapped, (6 * fitting - 1) * PAGE);
    }

    #[test]
    fn pieces_end_at_the_largest_holes() {
        let page = vec![7; PAGE];
        let at = [0, 2, 2 + 400, 2 + 400 + 256, 2 + 400 + 257 + 256];
        let parts: Vec<_> = at.iter().map(|at| part(0, at * PAGE, &page)).collect();
        let layout = Layout::of(&parts, Origin::Snapshot);
        let pieces = layout.pieces.iter();
        let pieces: Vec<_> = pieces.map(|p| (p.guest / PAGE, p.len / PAGE)).collect();
        assert_eq!(pieces, [(0, 3), (402, 257), (915, 1)]);
        // The smallest of more holes than there can be cuts is in a piece.
        let mut at = 0;
        let mut parts = Vec::new();
        for i in 0..20 {
            at += LARGE_HOLE + PAGE * (1 + (i * 7) % 20);
            parts.push(part(0, at, &page));
        }
        let layout = Layout::of(&parts, Origin::Snapshot);
        assert_eq!(
            (layout.pieces.len(), layout.copied.len()),
            (MAX_CUTS + 1, 0)
        );
        let holes: usize = layout.pieces.iter().map(|piece| piece.len).sum();
        assert!(holes - 20 * PAGE <= 4 * (LARGE_HOLE + 6 * PAGE));
    }
}
