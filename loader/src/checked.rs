//! Which artifacts of this executable were checked before, so that to open one again costs less.
//!
//! An artifact in the executable never changes, by the contract of [`Module::from_static`], so it
//! passes the same checks for as long as the process lives. The loader remembers the addresses of
//! those that have passed. Another artifact that is at the same address later, against the
//! contract, has another digest in its header and is checked. What the loader has written into an
//! artifact is no part of this: the [GOT](crate::got) is looked at each time.
//!
//! There is no lock, and nothing is allocated. A thread that does not see what another one has just
//! noted checks once more.
//!
//! [`Module::from_static`]: crate::Module::from_static

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use precast_artifact::Artifact;

/// Maximum number of artifacts that are remembered. A process that opens more, for example from
/// libraries that it loads and unloads, has the later ones checked each time.
const MAX: usize = 64;

struct Checked {
    /// The address, or 0 if the place is free.
    start: AtomicUsize,
    /// The start of the digest, or 0 until it is known.
    digest: AtomicU64,
}

static CHECKED: [Checked; MAX] = [const {
    Checked {
        start: AtomicUsize::new(0),
        digest: AtomicU64::new(0),
    }
}; MAX];

/// The first bytes of the digest of an artifact, as a number that is not zero.
fn digest(artifact: &Artifact<'_>) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = artifact.header().digest;
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) | 1
}

/// Whether the artifact passed all checks at this place before. What [`remember`]'s caller did
/// before has happened then.
pub(crate) fn is_checked(artifact: &Artifact<'_>) -> bool {
    let (start, digest) = (artifact.bytes().as_ptr().addr(), digest(artifact));
    let starts = CHECKED
        .iter()
        .map(|known| (known, known.start.load(Ordering::Relaxed)));
    starts
        .take_while(|(_, found)| *found != 0)
        .any(|(known, found)| found == start && known.digest.load(Ordering::Acquire) == digest)
}

/// Remembers that the artifact passed all checks at this place.
pub(crate) fn remember(artifact: &Artifact<'_>) {
    let start = artifact.bytes().as_ptr().addr();
    let free = CHECKED.iter().find(|known| {
        let exchange = known
            .start
            .compare_exchange(0, start, Ordering::Relaxed, Ordering::Relaxed);
        exchange.is_ok()
    });
    if let Some(place) = free {
        place.digest.store(digest(artifact), Ordering::Release);
    }
}
