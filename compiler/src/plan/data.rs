//! Decides which data segments are in the memory image.
//!
//! The image is mapped page by page. So a segment of one byte may cost a page in the artifact, and
//! a segment far from all others costs a mapping in every instance. Compilers write segments that
//! are close together. A memory whose segments are scattered over too many pages for their size has
//! no image. The loader copies the segments of such a memory, once for all instances if it can
//! compute their offsets.

use cranelift_entity::{EntitySet, PrimaryMap};

use super::{SegmentPlan, Sure, record};
use crate::const_expr::ConstValue;
use crate::module::Module;
use crate::symbol::{DataIndex, GlobalIndex, MemoryIndex};

/// The size of a page in these estimates; the target's pages may be larger.
const PAGE: u64 = 4096;

/// Bytes of image pages that are allowed for each byte of the memory's segments.
const PER_BYTE: u64 = 16;

/// Bytes of image pages that are allowed for a memory in addition.
const SPARE: u64 = 1 << 20;

/// Maximum number of runs of neighbouring segments in an image, each of which is a mapping.
const MAX_RUNS: u64 = 1024;

/// Two segments that are further apart than this, in bytes, are not neighbours.
const APART: u64 = 64 << 10;

/// The plan for each segment, the segments with a data record, and the segments in the image with
/// their memory and their offset in it.
pub(super) type DataPlans = (
    PrimaryMap<DataIndex, SegmentPlan>,
    Vec<DataIndex>,
    Vec<(MemoryIndex, u64, DataIndex)>,
);

/// Plans the data segments.
pub(super) fn plan(
    module: &Module<'_>,
    sure: Sure,
    known: impl Fn(GlobalIndex) -> Option<ConstValue>,
) -> DataPlans {
    let mut places = PrimaryMap::<DataIndex, Option<u64>>::new();
    for (index, segment) in module.data.iter() {
        places.push(segment.active.as_ref().and_then(|(memory, offset)| {
            if module.is_imported_memory(*memory) || !sure.has_data(index) {
                return None;
            }
            let bytes = module.memories[*memory].min_bytes();
            let start = offset.fold(&known)?.as_u64();
            let end = start.checked_add(segment.bytes.len() as u64)?;
            (end <= bytes).then_some(start)
        }));
    }
    let (mut plans, mut records, mut image) = (PrimaryMap::new(), Vec::new(), Vec::new());
    let mut deferred = scattered(module, &places);
    for (index, segment) in module.data.iter() {
        plans.push(match &segment.active {
            Some((memory, _)) => match places[index] {
                Some(start) if !deferred.contains(*memory) => {
                    image.push((*memory, start, index));
                    SegmentPlan::Dropped
                }
                _ => {
                    deferred.insert(*memory);
                    record(&mut records, index)
                }
            },
            None if module.facts.data_named.contains(index) => record(&mut records, index),
            None => SegmentPlan::Unused,
        });
    }
    (plans, records, image)
}

/// The memories whose images would take too many pages or mappings for what they hold.
fn scattered(
    module: &Module<'_>,
    places: &PrimaryMap<DataIndex, Option<u64>>,
) -> EntitySet<MemoryIndex> {
    let mut segments: Vec<(MemoryIndex, u64, u64)> = module
        .data
        .iter()
        .filter(|(_, segment)| !segment.bytes.is_empty())
        .filter_map(|(index, segment)| {
            let (memory, _) = segment.active.as_ref()?;
            Some((*memory, places[index]?, segment.bytes.len() as u64))
        })
        .collect();
    segments.sort_unstable();
    let mut scattered = EntitySet::new();
    for of_memory in segments.chunk_by(|a, b| a.0 == b.0) {
        // The first page that is not counted yet, and the end of the segments seen so far.
        let (mut next, mut end) = (0, 0);
        let (mut bytes, mut pages, mut runs) = (0, 0, 0);
        for &(_, start, len) in of_memory {
            let (first, last) = (start / PAGE, (start + len - 1) / PAGE);
            pages += (last + 1).saturating_sub(first.max(next));
            next = next.max(last + 1);
            runs += u64::from(runs == 0 || start > end + APART);
            end = end.max(start + len);
            bytes += len;
        }
        if pages * PAGE > bytes * PER_BYTE + SPARE || runs > MAX_RUNS {
            scattered.insert(of_memory[0].0);
        }
    }
    scattered
}
