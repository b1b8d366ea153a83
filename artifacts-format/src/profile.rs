//! Profiles: how often each part of a module ran.
//!
//! A profile is a hint for the compiler, and nothing else: whoever reads one believes nothing in
//! it, so a false profile makes code slower but never wrong. It names places by their offsets in
//! the module, so it does not depend on how the module was compiled.
//!
//! ```text
//!   "precast profile\n"
//!   u32 version          what the numbers count; see VERSION
//!   u32 checksum         CRC-32 of the file, with this field taken as zero
//!   [u8; 32] module      BLAKE3 of the module
//!   u32 n, u32 m
//!   (u32 offset, u64 count) × n              ascending by offset
//!   (u32 offset, u64 index, u64 votes) × m   ascending by offset
//! ```
//! All numbers are little-endian. A place that is not in the file never ran.
//!
//! A *count* says how often the code behind the operator at an offset ran, or, at the offset of a
//! body, how often the function was called. The offsets with counters are those that
//! [`counters`](crate::counters) lists. A *target* says which index of the table an indirect call
//! used most. The index is the winner of a vote: each call with that index is one vote for it, and
//! each other call is one against (Boyer and Moore, "MJRTY", 1981). So at least `votes` calls had
//! this index, and if most calls have one index, it wins.

/// What the numbers of a profile count. A compiler that counts in other places needs another
/// number.
pub const VERSION: u32 = 1;

/// The first bytes of a profile.
const MAGIC: [u8; 16] = *b"precast profile\n";

/// Bytes in front of the counts.
const HEAD: usize = 64;
/// Position of the checksum.
const CHECKSUM: usize = 20;
const COUNT: usize = 12;
const TARGET: usize = 20;

/// How often each part of a module ran.
///
/// ```
/// use precast_artifact::Profile;
///
/// let profile = Profile::of([7; 32], [(40, 1000)], []);
/// assert_eq!(profile.count(40), 1000);
/// assert_eq!(profile.count(41), 0);
/// assert_eq!(Profile::decode(&profile.encode()), Ok(profile));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    module: [u8; 32],
    /// Ascending by offset. No count is zero.
    counts: Vec<(u32, u64)>,
    /// Ascending by offset. No votes are zero.
    targets: Vec<(u32, Target)>,
}

/// The index that most calls of an indirect call used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Index in the table.
    pub index: u64,
    /// Votes for the index, less those against it.
    pub votes: u64,
}

/// Bytes that are not a profile, or not one of the right module.
///
/// ```
/// use precast_artifact::{Profile, ProfileError};
///
/// assert_eq!(Profile::decode(b"something else"), Err(ProfileError::NotAProfile));
/// let profile = Profile::new([7; 32]);
/// let error = profile.check_module(&[8; 32]).unwrap_err();
/// assert!(matches!(error, ProfileError::OtherModule { found, .. } if found == [7; 32]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The bytes are something else.
    #[error("this is not a profile; expected a file that `precast run --profile-out` wrote")]
    NotAProfile,
    /// Another version of precast wrote the profile.
    #[error("the profile has version {found}, expected {VERSION}: make it again")]
    Version {
        /// The version.
        found: u32,
    },
    /// The bytes are not as they were written.
    #[error("the profile is damaged at byte {offset}: {what}; make it again")]
    Damaged {
        /// Offset in the file.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The profile is of another module, or of this one before it was changed.
    #[error(
        "the profile is of the module with BLAKE3 {}, expected one of {}: make a profile of this \
         module",
        crate::reader::hex(found),
        crate::reader::hex(expected)
    )]
    OtherModule {
        /// BLAKE3 of the profile's module.
        found: [u8; 32],
        /// BLAKE3 of the module.
        expected: [u8; 32],
    },
}

impl Profile {
    /// A profile of a module, by its BLAKE3, of which nothing ran.
    pub fn new(module: [u8; 32]) -> Self {
        Self {
            module,
            counts: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// A profile of a module with these counts and targets, by their offsets. If an offset is there
    /// several times, the first one counts.
    pub fn of(
        module: [u8; 32],
        counts: impl IntoIterator<Item = (u32, u64)>,
        targets: impl IntoIterator<Item = (u32, Target)>,
    ) -> Self {
        let counts = counts.into_iter().filter(|(_, count)| *count != 0);
        let targets = targets.into_iter().filter(|(_, t)| t.votes != 0);
        Self {
            module,
            counts: sorted(counts.collect()),
            targets: sorted(targets.collect()),
        }
    }

    /// BLAKE3 of the module.
    pub fn module(&self) -> &[u8; 32] {
        &self.module
    }

    /// Checks that this is a profile of the module with this BLAKE3.
    ///
    /// # Errors
    /// [`ProfileError::OtherModule`] if not.
    pub fn check_module(&self, expected: &[u8; 32]) -> Result<(), ProfileError> {
        if self.module == *expected {
            return Ok(());
        }
        Err(ProfileError::OtherModule {
            found: self.module,
            expected: *expected,
        })
    }

    /// The places that ran, with their counts, ascending by offset.
    pub fn counts(&self) -> &[(u32, u64)] {
        &self.counts
    }

    /// What indirect calls called most, ascending by their offsets.
    pub fn targets(&self) -> &[(u32, Target)] {
        &self.targets
    }

    /// How often the code behind the operator at this offset ran, if a counter is there.
    pub fn count(&self, offset: u32) -> u64 {
        let found = self.counts.binary_search_by_key(&offset, |count| count.0);
        found.map_or(0, |i| self.counts[i].1)
    }

    /// The index that the indirect call at this offset used most.
    pub fn target(&self, offset: u32) -> Option<Target> {
        let found = self.targets.binary_search_by_key(&offset, |t| t.0);
        found.ok().map(|i| self.targets[i].1)
    }

    /// Adds what another profile of the same module counted.
    ///
    /// # Errors
    /// [`ProfileError::OtherModule`] for a profile of another module.
    pub fn add(&mut self, other: &Self) -> Result<(), ProfileError> {
        other.check_module(&self.module)?;
        let sum = |a: u64, b: u64| a.saturating_add(b);
        self.counts = merged(&self.counts, &other.counts, sum);
        self.targets = merged(&self.targets, &other.targets, Target::joined);
        self.targets.retain(|(_, target)| target.votes != 0);
        Ok(())
    }

    /// The bytes of the profile's file.
    pub fn encode(&self) -> Vec<u8> {
        let len = HEAD + self.counts.len() * COUNT + self.targets.len() * TARGET;
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.module);
        // The casts are right: a module has fewer places than bytes, which are below 4 GiB.
        bytes.extend_from_slice(&(self.counts.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(self.targets.len() as u32).to_le_bytes());
        for (offset, count) in &self.counts {
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        for (offset, Target { index, votes }) in &self.targets {
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(&index.to_le_bytes());
            bytes.extend_from_slice(&votes.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes);
        bytes[CHECKSUM..CHECKSUM + 4].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the bytes of a profile's file. It takes memory in proportion to their number.
    ///
    /// # Errors
    /// [`ProfileError`] for any bytes but those of a profile of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProfileError> {
        let damaged = |offset: usize, what| ProfileError::Damaged {
            offset: offset as u64,
            what,
        };
        if !bytes.starts_with(&MAGIC) {
            return Err(ProfileError::NotAProfile);
        }
        let cut = || damaged(bytes.len(), "the file ends too early");
        let found = u32_at(bytes, MAGIC.len()).ok_or_else(cut)?;
        if found != VERSION {
            return Err(ProfileError::Version { found });
        }
        let head = bytes.first_chunk::<HEAD>().ok_or_else(cut)?;
        let mut module = [0; 32];
        module.copy_from_slice(&head[24..56]);
        let lens = (u32_at(head, 56), u32_at(head, 60));
        let (Some(counts), Some(targets)) = lens else {
            return Err(cut());
        };
        let end = counts as u64 * COUNT as u64 + targets as u64 * TARGET as u64 + HEAD as u64;
        match (bytes.len() as u64).cmp(&end) {
            std::cmp::Ordering::Less => return Err(cut()),
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => {
                return Err(damaged(end as usize, "more bytes than it has numbers for"));
            }
        }
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..CHECKSUM]);
        hasher.update(&[0; 4]);
        hasher.update(&bytes[CHECKSUM + 4..]);
        if u32_at(head, CHECKSUM) != Some(hasher.finalize()) {
            return Err(damaged(CHECKSUM, "its checksum is another one"));
        }
        let (of_counts, of_targets) = bytes[HEAD..].split_at(counts as usize * COUNT);
        let counts = of_counts.chunks_exact(COUNT).map(|row| {
            let count = u64_at(row, 4).unwrap_or(0);
            (u32_at(row, 0).unwrap_or(0), count)
        });
        let targets = of_targets.chunks_exact(TARGET).map(|row| {
            let (index, votes) = (u64_at(row, 4).unwrap_or(0), u64_at(row, 12).unwrap_or(0));
            (u32_at(row, 0).unwrap_or(0), Target { index, votes })
        });
        let is_sorted = counts.clone().is_sorted_by(|a, b| a.0 < b.0)
            && targets.clone().is_sorted_by(|a, b| a.0 < b.0);
        if !is_sorted {
            return Err(damaged(HEAD, "its places are not in ascending order"));
        }
        Ok(Self::of(module, counts, targets))
    }

    /// BLAKE3 of the profile's file, which identifies the profile.
    pub fn digest(&self) -> [u8; 32] {
        blake3::hash(&self.encode()).into()
    }
}

impl Target {
    /// The result of both votes together.
    pub(crate) fn joined(self, other: Self) -> Self {
        if self.index == other.index {
            return Self {
                votes: self.votes.saturating_add(other.votes),
                ..self
            };
        }
        let (more, less) = match self.votes >= other.votes {
            true => (self, other),
            false => (other, self),
        };
        Self {
            votes: more.votes - less.votes,
            ..more
        }
    }
}

fn sorted<T>(mut rows: Vec<(u32, T)>) -> Vec<(u32, T)> {
    rows.sort_by_key(|row| row.0);
    rows.dedup_by_key(|row| row.0);
    rows
}

/// The rows of both lists, which are ascending by offset, with rows of the same offset joined.
fn merged<T: Copy>(a: &[(u32, T)], b: &[(u32, T)], join: impl Fn(T, T) -> T) -> Vec<(u32, T)> {
    let mut all = Vec::with_capacity(a.len().max(b.len()));
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    loop {
        let row = match (a.peek(), b.peek()) {
            (Some((left, _)), Some((right, _))) if left < right => a.next(),
            (Some((left, _)), Some((right, _))) if left > right => b.next(),
            (Some(_), Some(_)) => a.next().zip(b.next()).map(|(l, r)| (l.0, join(l.1, r.1))),
            (Some(_), None) => a.next(),
            (None, _) => b.next(),
        };
        match row {
            Some(row) => all.push(row),
            None => return all,
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Profile {
        let target = |index, votes| Target { index, votes };
        Profile {
            module: [7; 32],
            counts: vec![(10, 1), (20, u64::MAX), (u32::MAX, 3)],
            targets: vec![(15, target(4, 9)), (30, target(u64::MAX, 1))],
        }
    }

    /// The bytes with the checksum that they need.
    fn corrected(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes[CHECKSUM..CHECKSUM + 4].fill(0);
        let checksum = crc32fast::hash(&bytes);
        bytes[CHECKSUM..CHECKSUM + 4].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn reads_what_was_written() {
        let profile = sample();
        assert_eq!(Profile::decode(&profile.encode()), Ok(profile.clone()));
        assert_eq!(profile.count(20), u64::MAX);
        assert_eq!(profile.count(15), 0);
        assert_eq!(profile.target(15).map(|t| t.index), Some(4));
        assert_eq!(profile.target(10), None);
        let empty = Profile::new([1; 32]);
        assert_eq!(Profile::decode(&empty.encode()), Ok(empty));
    }

    #[test]
    fn profiles_add_up() {
        let mut sum = sample();
        sum.add(&sample()).unwrap();
        assert_eq!(sum.counts, [(10, 2), (20, u64::MAX), (u32::MAX, 6)]);
        assert_eq!(sum.target(15).map(|t| t.votes), Some(18));
        let mut other = Profile::new([7; 32]);
        other.counts = vec![(5, 1), (10, 1), (25, 1)];
        let votes = |index, votes| Target { index, votes };
        other.targets = vec![(15, votes(5, 20)), (30, votes(0, 1)), (31, votes(1, 1))];
        sum.add(&other).unwrap();
        let offsets: Vec<_> = sum.counts.iter().map(|count| count.0).collect();
        assert_eq!(offsets, [5, 10, 20, 25, u32::MAX]);
        assert_eq!(sum.count(10), 3);
        assert_eq!(sum.target(15), Some(votes(5, 2)));
        assert_eq!(sum.target(30), Some(votes(u64::MAX, 1)));
        assert_eq!(sum.target(31), Some(votes(1, 1)));
        let error = sum.add(&Profile::new([8; 32])).unwrap_err();
        assert!(matches!(error, ProfileError::OtherModule { .. }));
        assert_eq!(Profile::decode(&sum.encode()), Ok(sum));
    }

    #[test]
    fn damaged_bytes_are_errors() {
        let good = sample().encode();
        for len in 0..good.len() {
            let cut = Profile::decode(&good[..len]);
            assert!(cut.is_err(), "{len} bytes");
            if len >= CHECKSUM + 4 {
                let cut = Profile::decode(&corrected(good[..len].to_vec()));
                assert!(cut.is_err(), "{len} bytes with the right checksum");
            }
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(Profile::decode(&bad).is_err(), "byte {at}");
            if let Ok(profile) = Profile::decode(&corrected(bad)) {
                assert_eq!(Profile::decode(&profile.encode()), Ok(profile));
            }
        }
        let longer = corrected([&good[..], &[0]].concat());
        let error = Profile::decode(&longer).unwrap_err();
        assert!(error.to_string().contains("more bytes than"), "{error}");
        let mut twice = good.clone();
        twice.copy_within(HEAD..HEAD + 4, HEAD + COUNT);
        let error = Profile::decode(&corrected(twice)).unwrap_err();
        assert!(error.to_string().contains("ascending"), "{error}");
        // As many rows as can be named, and no bytes for them.
        let mut huge = good[..HEAD].to_vec();
        huge[56..64].fill(0xff);
        assert!(Profile::decode(&corrected(huge)).is_err());
        let mut newer = good;
        newer[16] = 2;
        let error = Profile::decode(&newer).unwrap_err();
        assert_eq!(error, ProfileError::Version { found: 2 });
        assert_eq!(Profile::decode(b"\0asm"), Err(ProfileError::NotAProfile));
    }
}
