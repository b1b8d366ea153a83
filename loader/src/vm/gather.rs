//! Initial content of memories that is in many places, put together in one file.
//!
//! An artifact has the content of a memory as page runs that are mapped, each by itself, and as
//! segments that are copied when an instance is made. Two kinds of memories would be expensive for
//! every instance, so the first instance of the module gathers their content in a file, of which
//! instances map one piece for each memory, or a few where holes are large, see [`Images`]:
//!
//! - **Many small runs** in the memories of a module, because each is a mapping of every instance.
//! - **Scattered segments.** The compiler has no page runs for segments that are far from each
//!   other and short, because the artifact would be many times as large as the module. Each copied
//!   segment costs a page fault, so 1,024 of them take 1.5 ms when an instance is made and again
//!   whenever one is reused. In the file, pages with content take memory, and later those of holes
//!   that instances have touched, once for all instances. The file stays as long as the module,
//!   though, while the pages of an instance go with it. So the content has a bound,
//!   [`MAX_COPIED`], and so do holes.
//!
//! The order in which segments are copied is that of the module, so later ones win. A memory of
//! which any segment has an unknown place, or one out of bounds, keeps all of its segments for
//! instantiation, where the first that does not fit traps. So does one of which any segment is not
//! sure, see [`sure`].
//!
//! If the system has no memory files, or no memory for one, everything is mapped and copied for
//! each instance as if nothing were gathered.

use precast_artifact::Artifact;
use precast_artifact::Section;
use precast_artifact::records::{ConstOpcode, DataRecord, IMPORTED, MemoryRecord, NONE, Run};

use super::images::{Images, Origin, Part};
use crate::sys::map::page_size;

/// Maximum number of runs that are mapped from the artifact for each instance. If the memories of
/// an instance have more together, those of each memory with several are gathered, unless they are
/// large.
const MAX_RUNS: usize = 8;

/// Runs that have this many bytes on average are mapped from the artifact, however many they are.
const LARGE: u64 = 1 << 20;

/// Maximum number of bytes, in whole pages, that the segments of all memories take in the file.
const MAX_COPIED: usize = 16 << 20;

/// Neighbouring parts are written to the file together up to this many bytes.
const MAX_AT_ONCE: usize = 1 << 20;

/// The memories whose content was gathered.
#[derive(Debug)]
pub(crate) struct Gathered {
    images: Images,
    /// For each memory of the instance's own: whether its runs, and its segments, are in the file.
    memories: Box<[(bool, bool)]>,
    /// Whether some runs are to be mapped from the artifact.
    leaves_runs: bool,
    /// Whether every segment that the artifact has is in the file.
    has_all_segments: bool,
}

/// The content of one memory.
#[derive(Default)]
struct Content<'a> {
    /// First byte in the memory, and bytes: first `runs` runs, then segments.
    pieces: Vec<(usize, &'a [u8])>,
    runs: usize,
    run_bytes: u64,
    /// Whether the place of some segment is not known before instantiation, or that segment or an
    /// earlier one may fail.
    is_open: bool,
}

impl Content<'_> {
    /// Whether the runs are to be one. A memory with a single run gains nothing.
    fn has_small_runs(&self) -> bool {
        self.runs > 1 && self.run_bytes / (self.runs as u64) < LARGE
    }

    fn has_scattered_segments(&self) -> bool {
        !self.is_open && self.pieces.len() > self.runs
    }
}

impl Gathered {
    /// Gathers the content that is in many places. `None` if there is none, or if the artifact is
    /// damaged, which is reported when the content is mapped.
    pub(super) fn of(artifact: &Artifact<'_>) -> Option<Self> {
        let mut copied = artifact.data().iter().filter(|r| r.memory != NONE);
        if copied.next().is_none() && artifact.images().len() <= MAX_RUNS {
            return None;
        }
        let mut contents = contents(artifact)?;
        let (mut parts, mut room) = (Vec::new(), MAX_COPIED);
        let mut memories = Vec::with_capacity(contents.len());
        let mut leaves_runs = false;
        let has_many_runs = contents.iter().map(|content| content.runs).sum::<usize>() > MAX_RUNS;
        for (i, content) in contents.iter_mut().enumerate() {
            let mut found = Vec::new();
            let mut has_segments = content.has_scattered_segments();
            if has_segments {
                found = pages(i, &content.pieces, page_size());
                let len: usize = found.iter().map(|part| part.len).sum();
                has_segments = len <= room;
                room -= if has_segments { len } else { 0 };
            }
            let has_runs = has_segments || (has_many_runs && content.has_small_runs());
            if has_runs && !has_segments {
                found = pages(i, &content.pieces[..content.runs], page_size());
            }
            leaves_runs |= !has_runs && content.runs > 0;
            memories.push((has_runs, has_segments));
            if has_runs {
                parts.append(&mut found);
            }
        }
        let images = Images::new(&parts, Origin::Module).ok().flatten()?;
        let imported = artifact.memories().len() - memories.len();
        let has_all_segments = artifact.data().iter().all(|record| {
            let own = (record.memory as usize).checked_sub(imported);
            let own = own.and_then(|i| memories.get(i));
            own.is_some_and(|(_, segments)| *segments)
        });
        Some(Self {
            images,
            memories: memories.into(),
            leaves_runs,
            has_all_segments,
        })
    }

    pub(crate) fn images(&self) -> &Images {
        &self.images
    }

    /// Whether the runs of a memory are in the file, by its number among those that the instance
    /// owns.
    pub(crate) fn has_runs(&self, memory: usize) -> bool {
        self.memories.get(memory).is_some_and(|(runs, _)| *runs)
    }

    /// Whether the segments of a memory are in the file.
    pub(crate) fn has_segments(&self, memory: usize) -> bool {
        let memory = self.memories.get(memory);
        memory.is_some_and(|(_, segments)| *segments)
    }

    /// Whether every segment that the artifact has is in the file.
    pub(crate) fn has_all_segments(&self) -> bool {
        self.has_all_segments
    }

    /// Whether some runs are to be mapped from the artifact.
    pub(crate) fn leaves_runs(&self) -> bool {
        self.leaves_runs
    }
}

/// The content of the memories that an instance owns. `None` for damage.
fn contents<'a>(artifact: &Artifact<'a>) -> Option<Vec<Content<'a>>> {
    let memories = artifact.memories();
    let imported = memories.iter().filter(|m| m.flags & IMPORTED != 0).count();
    let mut contents: Vec<_> = memories.iter().map(|_| Content::default()).collect();
    for run in artifact.image_runs() {
        let run = run.ok()?;
        let content = contents.get_mut(run.memory as usize)?;
        let section = Section {
            start: artifact.header().image.start + run.offset,
            len: run.len,
        };
        let guest = usize::try_from(run.guest).ok()?;
        content.pieces.push((guest, artifact.section(section)));
        content.runs += 1;
        content.run_bytes += run.len;
    }
    let sure = sure(artifact);
    let records = artifact.data().iter().enumerate();
    for (i, record) in records.filter(|(_, r)| r.memory != NONE) {
        let index = record.memory as usize;
        let (content, memory) = (contents.get_mut(index)?, memories.get(index)?);
        match segment(artifact, record, memory).filter(|_| i < sure) {
            Some((_, [])) => {}
            Some(piece) => content.pieces.push(piece),
            None => content.is_open = true,
        }
    }
    // Imported memories come first.
    contents.drain(..imported);
    Some(contents)
}

/// The number of data segments in front of the first segment whose failure is observable. Such a
/// failure ends instantiation, but functions that an earlier element segment has put into an
/// imported table are there: they see the effects of no segment behind it. The compiler has the
/// same rule, in `compiler/src/plan/sure.rs`.
fn sure(artifact: &Artifact<'_>) -> usize {
    let (tables, memories) = (artifact.tables(), artifact.memories());
    let mut escapes = false;
    for record in artifact.elements().iter().filter(|r| r.table != NONE) {
        let table = tables.get(record.table as usize);
        let place = place(artifact, record.offset, u64::from(record.items.count));
        if escapes && place.zip(table).is_none_or(|((_, end), t)| end > t.min) {
            return 0;
        }
        escapes |= table.is_some_and(|table| table.flags & IMPORTED != 0);
    }
    let fails = |record: &DataRecord| {
        let memory = memories.get(record.memory as usize);
        record.memory != NONE && memory.and_then(|m| segment(artifact, record, m)).is_none()
    };
    let first = artifact.data().iter().position(fails);
    first.filter(|_| escapes).unwrap_or(artifact.data().len())
}

/// The place of a segment in a memory of the initial size, if it is known and in bounds, and its
/// bytes.
fn segment<'a>(
    artifact: &Artifact<'a>,
    record: &DataRecord,
    memory: &MemoryRecord,
) -> Option<(usize, &'a [u8])> {
    let (start, end) = place(artifact, record.offset, record.len)?;
    let initial = memory.min.saturating_mul(1 << memory.page_shift);
    let segments = artifact.section(artifact.header().segments);
    let bytes = segments.get(record.bytes as usize..(record.bytes + record.len) as usize)?;
    (end <= initial).then_some((usize::try_from(start).ok()?, bytes))
}

/// Where a segment of this length starts and ends, if its offset is a constant.
fn place(artifact: &Artifact<'_>, offset: Run, len: u64) -> Option<(u64, u64)> {
    let first = offset.first as usize;
    let ops = artifact.const_ops();
    let [op] = ops.get(first..first.checked_add(offset.count as usize)?)? else {
        return None;
    };
    let is_constant = ConstOpcode::from_number(op.op)? == ConstOpcode::Const;
    is_constant.then_some((op.bits, op.bits.checked_add(len)?))
}

/// Whole pages of a memory that belong together.
struct Pages {
    first: usize,
    end: usize,
    /// The numbers of the pieces that are in them, with their places.
    pieces: Vec<(usize, usize)>,
}

/// Sorts pieces of a memory, of which later ones win, into parts of whole pages that do not
/// overlap, in ascending order.
fn pages<'a>(memory: usize, pieces: &[(usize, &'a [u8])], page: usize) -> Vec<Part<'a>> {
    let mut order: Vec<(usize, usize)> = pieces.iter().map(|piece| piece.0).zip(0..).collect();
    order.sort_unstable();
    let mut found: Vec<Pages> = Vec::new();
    for (start, i) in order {
        let bytes = pieces[i].1;
        let first = start - start % page;
        let end = (start + bytes.len()).next_multiple_of(page);
        let last = found.last_mut().filter(|last| {
            first < last.end || (first == last.end && end - last.first <= MAX_AT_ONCE)
        });
        match last {
            Some(last) => {
                last.end = end.max(last.end);
                last.pieces.push((i, start));
            }
            None => found.push(Pages {
                first,
                end,
                pieces: vec![(i, start)],
            }),
        }
    }
    let part = |mut pages: Pages| {
        pages.pieces.sort_unstable();
        let relative = |(i, start): (usize, usize)| (start - pages.first, pieces[i].1);
        Part {
            memory,
            guest: pages.first,
            len: pages.end - pages.first,
            pieces: pages.pieces.iter().copied().map(relative).collect(),
        }
    };
    found.into_iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random pieces, put together in pages of any size, are what copying them in order leaves.
    #[test]
    fn parts_are_what_copying_leaves() {
        for page in [4096, 16384, 65536] {
            for seed in 0..40_u64 {
                let mut state = seed * 77 + 1;
                let mut random = |max: usize| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 20) as usize % max
                };
                let size = 40 * page;
                let bytes: Vec<Vec<u8>> = (0..random(40))
                    .map(|i| vec![i as u8 + 1; 1 + random(3 * page)])
                    .collect();
                let pieces: Vec<(usize, &[u8])> = bytes
                    .iter()
                    .map(|bytes| (random(size - bytes.len()), &**bytes))
                    .collect();
                let (mut expected, mut found) = (vec![0; size], vec![0; size]);
                for (at, bytes) in &pieces {
                    expected[*at..][..bytes.len()].copy_from_slice(bytes);
                }
                let mut last = 0;
                for part in pages(3, &pieces, page) {
                    assert!(part.memory == 3 && part.len > 0 && part.guest >= last);
                    assert!(part.guest.is_multiple_of(page) && part.len.is_multiple_of(page));
                    last = part.guest + part.len;
                    found[part.guest..last].copy_from_slice(&part.content());
                }
                assert!(found == expected, "seed {seed}");
            }
        }
    }
}
