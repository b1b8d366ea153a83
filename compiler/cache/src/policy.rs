//! The rule by which a cache keeps entries. It keeps those that are pinned, and the most recently
//! used of the others, within a maximal age and a maximal number of bytes of all entries.
//!
//! The rule applies to entries in a directory ([`budget`](crate::budget)) and to modules in memory
//! ([`kept`](crate::kept)). Another policy belongs here. What the policy needs to know about an
//! entry becomes a field of [`Candidate`], which both callers fill in. What a user may choose
//! becomes a field of [`Options`](crate::Options).

use std::cmp::Reverse;
use std::time::Duration;

/// An entry or a module that a cache may keep.
pub(crate) struct Candidate<T> {
    /// Identifies the candidate. Of two that were last used at the same time, the one with the
    /// lesser `id` is removed first.
    pub(crate) id: T,
    /// The size in bytes.
    pub(crate) bytes: u64,
    /// The time since the last use.
    pub(crate) unused_for: Duration,
    /// Whether the candidate must be kept.
    pub(crate) pinned: bool,
}

/// The candidates to remove, the least recently used first. These are the ones that have not been
/// used for `max_age`, and as many others as are necessary for the rest to fit into `max_bytes`.
/// Pinned candidates count, but they are never removed.
pub(crate) fn superfluous<T: Copy + Ord>(
    mut candidates: Vec<Candidate<T>>,
    max_bytes: Option<u64>,
    max_age: Option<Duration>,
) -> Vec<T> {
    let mut total: u64 = candidates.iter().map(|candidate| candidate.bytes).sum();
    candidates.retain(|candidate| !candidate.pinned);
    candidates.sort_unstable_by_key(|candidate| (Reverse(candidate.unused_for), candidate.id));
    candidates.retain(|candidate| {
        let too_old = max_age.is_some_and(|max| candidate.unused_for > max);
        let too_many = max_bytes.is_some_and(|max| total > max);
        if too_old || too_many {
            total -= candidate.bytes;
        }
        too_old || too_many
    });
    candidates.iter().map(|candidate| candidate.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the removed entries among entries of 10 bytes that were unused for 1, 2, 3, …
    /// seconds.
    fn go(count: u64, pinned: &[u64], max_bytes: Option<u64>, max_age: Option<u64>) -> Vec<u64> {
        let candidates = (1..=count).map(|id| Candidate {
            id,
            bytes: 10,
            unused_for: Duration::from_secs(id),
            pinned: pinned.contains(&id),
        });
        let max_age = max_age.map(Duration::from_secs);
        superfluous(candidates.collect(), max_bytes, max_age)
    }

    #[test]
    fn least_recently_used_first_until_the_rest_fits() {
        assert_eq!(go(4, &[], None, None), [0; 0]);
        assert_eq!(go(4, &[], Some(40), None), [0; 0]);
        assert_eq!(go(4, &[], Some(39), None), [4]);
        assert_eq!(go(4, &[], Some(20), None), [4, 3]);
        assert_eq!(go(4, &[], Some(0), None), [4, 3, 2, 1]);
    }

    #[test]
    fn age_and_size_add_up() {
        assert_eq!(go(4, &[], None, Some(3)), [4]);
        assert_eq!(go(4, &[], Some(20), Some(3)), [4, 3]);
    }

    #[test]
    fn pinned_entries_count_and_stay() {
        assert_eq!(go(4, &[4], Some(20), None), [3, 2]);
        assert_eq!(go(2, &[1, 2], Some(0), Some(0)), [0; 0]);
    }

    #[test]
    fn equal_ages_go_by_identity() {
        let candidate = |id| Candidate {
            id,
            bytes: 1,
            unused_for: Duration::ZERO,
            pinned: false,
        };
        let candidates = vec![candidate('b'), candidate('a'), candidate('c')];
        assert_eq!(superfluous(candidates, Some(1), None), ['a', 'b']);
    }
}
