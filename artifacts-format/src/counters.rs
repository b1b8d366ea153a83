//! The counters of an artifact that was compiled to make profiles.
//!
//! Machine code counts in words at the end of the VM context, one for each *place*, and two for
//! each *site*, an indirect call. The section of the artifact says where they are, and what they
//! count:
//!
//! ```text
//!   CountersRecord
//!   u32 × places         offsets in the module, ascending; see below
//!   u32 × sites          offsets in the module of `call_indirect` operators, ascending
//!
//!   VM context, from `vm_offset` on:
//!   u64 × places         how often the code behind the place ran
//!   (u64, u64) × sites   index and votes; see [`Target`]
//! ```
//!
//! These places have counters: bodies (their first byte), `loop` (each time around), `if` (the
//! code before `else`), conditional branches (when they are not taken), `catch` clauses, and each
//! `end` to which a `br_table` or a clause of a `try_table` goes. What ran how often follows from
//! these counts for all other code, unless calls do not return.
//!
//! The order is that of the target. Threads do not wait for each other to count, and nothing that
//! machine code does depends on a counter.

use bytemuck::{Pod, Zeroable};

use crate::profile::{Profile, Target};

/// The start of the section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct CountersRecord {
    /// BLAKE3 of the module.
    pub module: [u8; 32],
    /// Offset in the VM context of the first counter.
    pub vm_offset: u32,
    /// Number of places.
    pub places: u32,
    /// Number of sites.
    pub sites: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<CountersRecord>() == 48);

/// The counters of an artifact.
#[derive(Debug, Clone, Copy)]
pub struct Counters<'a> {
    pub(crate) record: CountersRecord,
    /// Offsets of places and sites.
    pub(crate) offsets: &'a [u32],
}

impl Counters<'_> {
    /// Offset in the VM context of the first counter.
    pub fn vm_offset(&self) -> u32 {
        self.record.vm_offset
    }

    /// Number of words in the VM context.
    pub fn words(&self) -> usize {
        words(self.record.places, self.record.sites) as usize
    }

    /// Adds the words of a VM context to the sums of others. Missing sums are zero.
    pub fn add(&self, sums: &mut Vec<u64>, words: &[u64]) {
        sums.resize(self.words(), 0);
        let places = self.record.places as usize;
        for (sum, count) in sums.iter_mut().zip(words).take(places) {
            *sum = sum.saturating_add(*count);
        }
        let votes = sums.get_mut(places..).unwrap_or_default();
        let (votes, own) = (
            votes.as_chunks_mut().0,
            words.get(places..).unwrap_or_default(),
        );
        for ([index, votes], own) in votes.iter_mut().zip(own.as_chunks().0) {
            let target = |[index, votes]: [u64; 2]| Target { index, votes };
            let joined = target([*index, *votes]).joined(target(*own));
            (*index, *votes) = (joined.index, joined.votes);
        }
    }

    /// The profile of what was counted in these words. Missing words count as zero.
    pub fn profile(&self, words: &[u64]) -> Profile {
        let places = (self.record.places as usize).min(self.offsets.len());
        let (places, sites) = self.offsets.split_at(places);
        let (counts, votes) = words.split_at(places.len().min(words.len()));
        let targets = votes.chunks_exact(2).map(|pair| Target {
            index: pair[0],
            votes: pair[1],
        });
        Profile::of(
            self.record.module,
            places.iter().copied().zip(counts.iter().copied()),
            sites.iter().copied().zip(targets),
        )
    }
}

/// The section for the counters of a module, by its BLAKE3, from `vm_offset` on. The offsets are
/// ascending.
#[cfg(feature = "write")]
pub fn encode(module: [u8; 32], vm_offset: u32, places: &[u32], sites: &[u32]) -> Vec<u8> {
    let record = CountersRecord {
        module,
        vm_offset,
        places: places.len() as u32,
        sites: sites.len() as u32,
        reserved: 0,
    };
    let parts: [&[u8]; 3] = [
        bytemuck::bytes_of(&record),
        bytemuck::cast_slice(places),
        bytemuck::cast_slice(sites),
    ];
    parts.concat()
}

/// Number of words for this many places and sites.
pub fn words(places: u32, sites: u32) -> u64 {
    u64::from(places) + 2 * u64::from(sites)
}
