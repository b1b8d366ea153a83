//! The memory image: the initial content of memories that data segments make, as pages to map.
//!
//! The file only has pages with a byte that is not zero. Neighbouring pages make a run, which costs
//! the loader one mapping. A short hole between two runs is filled with zero pages, because a few
//! such pages in the file are cheaper than another mapping in every instance. Holes together never
//! outweigh the pages with content (beyond [`HOLES_ALWAYS`]), so they at most double the image of a
//! module whose segments are far apart.
//!
//! Segments are copied in the module's order, so that later ones win where they overlap. Their
//! bytes are copied directly from the module into the file.

use std::collections::BTreeMap;
use std::ops::Range;

use precast_artifact::records::ImageRecord;
use precast_artifact::writer::ArtifactBuilder;

use crate::module::Module;
use crate::plan::Plan;
use crate::symbol::MemoryIndex;

/// Maximum number of bytes of a hole that is filled.
const MAX_HOLE: u64 = 64 << 10;

/// Number of bytes that all filled holes may have together, even if there is less content.
const HOLES_ALWAYS: u64 = 256 << 10;

/// Adds the images of all memories.
pub(super) fn add<'a>(b: &mut ArtifactBuilder<'a>, module: &Module<'a>, plan: &Plan) {
    let mut by_memory = BTreeMap::<MemoryIndex, Vec<(u64, &'a [u8])>>::new();
    for &(memory, start, segment) in &plan.image {
        by_memory
            .entry(memory)
            .or_default()
            .push((start, module.data[segment].bytes));
    }
    let mut end = 0;
    for (memory, segments) in by_memory {
        let runs = runs(&segments, u64::from(b.page_size));
        let first = b.images.len();
        for run in runs {
            let len = run.end - run.start;
            b.images.push(ImageRecord {
                memory: memory.as_u32(),
                reserved: 0,
                guest: run.start,
                offset: end,
                len,
            });
            end += len;
        }
        let runs = &b.images[first..];
        for (start, bytes) in segments {
            b.image_pieces
                .extend(pieces(runs, start, bytes).map(|(at, p)| (at, p.into())));
        }
    }
}

/// The parts of a segment that are in one of `runs`: offset in the image section, and bytes. The
/// other parts are zero.
fn pieces<'a>(
    runs: &[ImageRecord],
    start: u64,
    bytes: &'a [u8],
) -> impl Iterator<Item = (u64, &'a [u8])> {
    let end = start + bytes.len() as u64;
    let first = runs.partition_point(|run| run.guest + run.len <= start);
    runs[first..]
        .iter()
        .take_while(move |run| run.guest < end)
        .filter_map(move |run| {
            let from = start.max(run.guest);
            let to = end.min(run.guest + run.len);
            let part = &bytes[(from - start) as usize..(to - start) as usize];
            (!part.is_empty()).then_some((run.offset + (from - run.guest), part))
        })
}

/// Runs of pages, as page-aligned ranges of addresses in the memory, ascending. The segments have
/// only zeros outside of the runs.
fn runs(segments: &[(u64, &[u8])], page: u64) -> Vec<Range<u64>> {
    let mut pages: Vec<u64> = Vec::new();
    for &(start, bytes) in segments {
        let (mut at, mut rest) = (start, bytes);
        while !rest.is_empty() {
            let number = at / page;
            let in_page = ((number + 1) * page - at).min(rest.len() as u64);
            let (part, after) = rest.split_at(in_page as usize);
            if pages.last() != Some(&number) && part.iter().any(|byte| *byte != 0) {
                pages.push(number);
            }
            (at, rest) = (at + in_page, after);
        }
    }
    pages.sort_unstable();
    pages.dedup();

    let mut budget = (pages.len() as u64 * page).max(HOLES_ALWAYS);
    let mut runs: Vec<Range<u64>> = Vec::new();
    for number in pages {
        let (start, end) = (number * page, (number + 1) * page);
        match runs.last_mut() {
            Some(run) if start - run.end <= MAX_HOLE.min(budget) => {
                budget -= start - run.end;
                run.end = end;
            }
            _ => runs.push(start..end),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    fn image(segments: &[(u64, &[u8])]) -> Vec<(u64, Vec<u8>)> {
        let mut offset = 0;
        let records: Vec<ImageRecord> = runs(segments, PAGE)
            .into_iter()
            .map(|run| {
                let len = run.end - run.start;
                offset += len;
                ImageRecord {
                    memory: 0,
                    reserved: 0,
                    guest: run.start,
                    offset: offset - len,
                    len,
                }
            })
            .collect();
        let mut bytes = vec![0; offset as usize];
        for &(start, segment) in segments {
            for (at, piece) in pieces(&records, start, segment) {
                bytes[at as usize..][..piece.len()].copy_from_slice(piece);
            }
        }
        let part = |r: &ImageRecord| bytes[r.offset as usize..][..r.len as usize].to_vec();
        records.iter().map(|r| (r.guest, part(r))).collect()
    }

    /// Compares the image with a memory that the segments were copied into one by one.
    fn check(segments: &[(u64, &[u8])]) -> Vec<(u64, u64)> {
        let len = segments
            .iter()
            .map(|(start, b)| start + b.len() as u64)
            .max()
            .unwrap_or(0);
        let len = len.next_multiple_of(PAGE) as usize;
        let (mut expected, mut found) = (vec![0; len], vec![0; len]);
        for (start, bytes) in segments {
            expected[*start as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        let image = image(segments);
        for (guest, bytes) in &image {
            found[*guest as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        assert!(found == expected);
        image
            .iter()
            .map(|(guest, bytes)| (guest / PAGE, bytes.len() as u64 / PAGE))
            .collect()
    }

    #[test]
    fn zero_pages_are_left_out() {
        let big = vec![0; 1 << 20];
        assert_eq!(check(&[]), []);
        assert_eq!(check(&[(5, b"")]), []);
        assert_eq!(check(&[(0, &big)]), []);
        assert_eq!(check(&[(1000, b"a"), (1 << 20, b"b")]), [(0, 1), (256, 1)]);
        let mut middle = big.clone();
        middle[4096 * 100] = 1;
        assert_eq!(check(&[(4096, &middle)]), [(101, 1)]);
    }

    #[test]
    fn segments_overlap_in_order() {
        assert_eq!(
            check(&[(4090, b"0123456789"), (4092, b"xx"), (4094, &[0; 4])]),
            [(0, 2)]
        );
        // The second page ends up all zero, but is kept, because a later segment zeroed it.
        let zeros = [0; 8192];
        assert_eq!(
            check(&[(4096, b"gone"), (8192, b"stays"), (0, &zeros)]),
            [(1, 2)]
        );
    }

    #[test]
    fn short_holes_are_filled_as_long_as_they_do_not_outweigh_content() {
        let at = |page: u64| (page * PAGE, &b"x"[..]);
        assert_eq!(check(&[at(0), at(17)]), [(0, 18)]);
        assert_eq!(check(&[at(0), at(18)]), [(0, 1), (18, 1)]);
        let scattered: Vec<(u64, &[u8])> = (0..200).map(|i| at(i * 17)).collect();
        let runs = check(&scattered);
        let pages: u64 = runs.iter().map(|r| r.1).sum();
        assert_eq!(
            pages,
            200 + 192,
            "holes of 16 pages, for no more than 200 pages"
        );
    }
}
