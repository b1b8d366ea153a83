//! Instances kept for reuse.
//!
//! When a store is dropped, each of its instances that came from an
//! [`InstancePre`](crate::InstancePre) is reset to its initial state (see [`keep`](super::keep))
//! and parked with the thread that dropped the store. The next instance of the same `InstancePre`
//! on that thread takes it over. This makes no system call, allocates nothing, touches nothing that
//! another thread writes to, and never waits.
//!
//! An instance is parked only after its reset, so the bytes of one tenant are gone before anything
//! else happens on the thread. If a step of the reset fails, the instance is dropped. An instance
//! belongs to one `InstancePre` for good, so bytes never move between modules.
//!
//! When the last handle of an `InstancePre` is dropped, so are its parked instances: at once on the
//! thread that dropped the handle, and on other threads when they next find no instance or park
//! one.
//!
//! A thread also keeps some address space of instances that it does not park, see
//! [`space`](super::space).
//!
//! Parked instances hold mappings and memory. Two bounds hold for the memory, one for the thread
//! and one for the process, and the instances that were parked first give theirs back first. When
//! the system refuses memory or mappings to a thread, that thread drops what *all* threads have
//! parked ([`relieve`]). So each thread's pool has a lock, for which nobody ever waits: a thread
//! that finds its own pool locked goes on without it.

#![expect(
    clippy::vec_box,
    reason = "contexts point to their instance, which must not move"
)]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use smallvec::SmallVec;

use super::instance::InstanceData;
use super::keep::Learned;
use super::space::{MAX_SPACES, Space};
use crate::error::Error;
use crate::sys::map::{self, Reservation};

/// Unit, in bytes, of a thread's share of what the process may keep resident. It is large, so that
/// threads seldom write to the same place.
const SHARE: usize = 1 << 20;

/// The pools of all threads that have one.
static POOLS: Mutex<Vec<Arc<Pool>>> = Mutex::new(Vec::new());

/// The shares of all threads.
static SHARED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN: Own = Own::new();

    /// Whether this thread is giving everything back, so that it keeps nothing of it.
    static GIVES_BACK: Cell<bool> = const { Cell::new(false) };
}

/// What a thread may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Instances.
    pub(crate) instances: usize,
    /// Bytes of their memories that stay resident.
    pub(crate) resident_per_thread: usize,
    /// The same for all threads together.
    pub(crate) resident_per_process: usize,
}

/// The identity of an [`InstancePre`](crate::InstancePre), which can take its parked instances over
/// until it closes this.
#[derive(Debug)]
pub(crate) struct Owner {
    limits: Limits,
    /// What is known of the writes of instances to the memories that they own, by memory.
    learned: Box<[Learned]>,
    closed: AtomicBool,
}

impl Owner {
    /// The owner of instances that have `memories` memories of their own.
    pub(crate) fn new(limits: Limits, memories: usize) -> Self {
        let learned = (0..memories).map(|_| Learned::new(limits.resident_per_thread));
        Self {
            limits,
            learned: learned.collect(),
            closed: AtomicBool::new(false),
        }
    }

    /// Ends the reuse of instances. The parked ones of this thread are dropped at once.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        drop(with_own(Parked::take_closed));
    }

    pub(crate) fn learned(&self) -> &[Learned] {
        &self.learned
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// One thread's pool.
type Pool = Mutex<Parked>;

#[derive(Default)]
struct Parked {
    /// The parked instances, the least recently parked one first.
    instances: Vec<Box<InstanceData>>,
    /// Bytes that they keep resident.
    resident: usize,
    /// Bytes that they may keep resident together; a part of [`SHARED`].
    share: usize,
    /// Address space for new memories.
    spaces: SmallVec<[Space; MAX_SPACES]>,
}

impl Parked {
    fn remove(&mut self, i: usize) -> Box<InstanceData> {
        let instance = self.instances.remove(i);
        self.resident -= instance.kept();
        instance
    }

    fn take_closed(&mut self) -> Vec<Box<InstanceData>> {
        let closed = self.instances.extract_if(.., |instance| {
            instance.owner.as_ref().is_none_or(|o| o.is_closed())
        });
        let closed: Vec<_> = closed.collect();
        self.resident -= closed.iter().map(|i| i.kept()).sum::<usize>();
        closed
    }

    fn take_all(&mut self) -> Everything {
        self.resident = 0;
        self.share(0);
        Everything {
            instances: std::mem::take(&mut self.instances),
            spaces: std::mem::take(&mut self.spaces),
        }
    }

    /// Makes room for `bytes` more resident bytes, and returns whether there is room. Other
    /// instances give their bytes back for it. Those that fail to do so are moved to `lost`.
    fn make_room(
        &mut self,
        bytes: usize,
        limits: Limits,
        lost: &mut Vec<Box<InstanceData>>,
    ) -> bool {
        loop {
            let wanted = self.resident + bytes;
            if wanted <= limits.resident_per_thread && self.has_share(wanted, limits) {
                return true;
            }
            let Some(i) = self.instances.iter().position(|i| i.kept() > 0) else {
                return false;
            };
            self.resident -= self.instances[i].kept();
            if self.instances[i].discard_kept().is_err() {
                lost.push(self.instances.remove(i));
            }
        }
    }

    /// Changes the share to at least `bytes` bytes, and not to many more. Returns whether that is
    /// possible.
    fn has_share(&mut self, bytes: usize, limits: Limits) -> bool {
        let fits = bytes <= self.share;
        if fits && self.share <= 2 * bytes + 4 * SHARE {
            return true;
        }
        let wanted = bytes.next_multiple_of(SHARE);
        let others = SHARED.load(Ordering::Relaxed) - self.share;
        if !fits && others.saturating_add(wanted) > limits.resident_per_process {
            return false;
        }
        self.share(wanted);
        true
    }

    fn share(&mut self, bytes: usize) {
        SHARED.fetch_add(bytes, Ordering::Relaxed);
        SHARED.fetch_sub(self.share, Ordering::Relaxed);
        self.share = bytes;
    }
}

/// What a thread keeps.
#[derive(Default)]
struct Everything {
    instances: Vec<Box<InstanceData>>,
    spaces: SmallVec<[Space; MAX_SPACES]>,
}

impl Everything {
    /// Drops it. Returns whether there was anything.
    fn give_back(self) -> bool {
        let any = !self.instances.is_empty() || !self.spaces.is_empty();
        let before = GIVES_BACK.replace(true);
        drop(self);
        GIVES_BACK.set(before);
        any
    }
}

/// A thread's hold on its pool.
struct Own(Arc<Pool>);

impl Own {
    fn new() -> Self {
        map::on_shortage(relieve);
        let pool = Arc::<Pool>::default();
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.push(Arc::clone(&pool));
        Self(pool)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| !Arc::ptr_eq(pool, &self.0));
        drop(pools);
        let mut parked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = parked.take_all();
        drop(parked);
        all.give_back();
    }
}

/// Works with this thread's pool, unless the thread is ending or another one is emptying the pool.
fn with_own<R>(work: impl FnOnce(&mut Parked) -> R) -> Option<R> {
    OWN.try_with(|own| try_with(&own.0, work)).ok().flatten()
}

fn try_with<R>(pool: &Pool, work: impl FnOnce(&mut Parked) -> R) -> Option<R> {
    match pool.try_lock() {
        Ok(mut parked) => Some(work(&mut parked)),
        Err(TryLockError::Poisoned(parked)) => Some(work(&mut parked.into_inner())),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Takes a parked instance over.
pub(crate) fn take(owner: &Arc<Owner>) -> Option<Box<InstanceData>> {
    let mut closed = Vec::new();
    let found = with_own(|parked| {
        let found = parked
            .instances
            .iter()
            .rposition(|instance| is_of(instance, owner));
        if found.is_none() {
            closed = parked.take_closed();
        }
        Some(parked.remove(found?))
    });
    // The pool is not locked here, since the drop of an instance may drop other stores.
    drop(closed);
    found.flatten()
}

/// Resets an instance whose store is being dropped, and keeps it if that works and there is room.
/// `ran` says whether code of the store ever ran.
pub(crate) fn park(mut instance: Box<InstanceData>, ran: bool) {
    let limits = match &instance.owner {
        Some(owner) if !owner.is_closed() => owner.limits,
        _ => return,
    };
    if limits.instances == 0 {
        return;
    }
    if !instance.is_resettable() || instance.reset(ran).is_err() {
        return;
    }
    let mut lost = Vec::new();
    let work = |parked: &mut Parked| {
        if parked.instances.len() >= limits.instances {
            lost.push(parked.remove(0));
        }
        let kept = instance.kept();
        let has_room = kept == 0 || parked.make_room(kept, limits, &mut lost);
        if has_room || instance.discard_kept().is_ok() {
            parked.resident += instance.kept();
            parked.instances.push(instance);
        } else {
            lost.push(instance);
        }
    };
    // Without a pool, the instance is dropped together with `work`.
    with_own(work).unwrap_or_default();
    // The pool is not locked here, as above.
    drop(lost);
}

/// Address space of `room` bytes, of which the first `accessible` bytes are zero and accessible;
/// both are whole pages. It may be what a memory of this thread had before.
///
/// # Errors
/// The system's.
pub(super) fn space(room: usize, accessible: usize) -> Result<Reservation, Error> {
    let found = with_own(|parked| {
        let fits = |space: &Space| space.size() == (room, accessible);
        let has_room = |space: &Space| space.size().0 == room;
        let spaces = &parked.spaces;
        let i = spaces.iter().position(fits);
        i.or_else(|| spaces.iter().position(has_room))
            .map(|i| parked.spaces.remove(i))
    });
    match found.flatten() {
        Some(space) => space.with_accessible(accessible),
        None => Reservation::with_accessible(room, accessible),
    }
}

/// Keeps the address space of a memory that nobody uses any more, or drops it. What was kept first
/// makes room.
pub(super) fn keep_space(reservation: Reservation) {
    if GIVES_BACK.get() {
        return;
    }
    let Some(space) = Space::emptied(reservation) else {
        return;
    };
    let keep = |parked: &mut Parked| {
        let full = parked.spaces.len() >= MAX_SPACES;
        let first = full.then(|| parked.spaces.remove(0));
        parked.spaces.push(space);
        first
    };
    // Without a pool, the space is dropped together with `keep`. The pool is not locked where what
    // makes room is dropped.
    drop(with_own(keep));
}

/// Whether an instance was made for this owner, which can take it over.
fn is_of(instance: &InstanceData, owner: &Arc<Owner>) -> bool {
    let own = instance.owner.as_ref();
    own.is_some_and(|own| Arc::ptr_eq(own, owner))
}

/// Drops what all threads have parked. Returns whether there was anything.
///
/// This waits for no thread, because it can be called in the middle of anything. A thread that is
/// using its pool at this moment keeps it.
fn relieve() -> bool {
    let mut any = false;
    for i in 0.. {
        // Nothing is allocated here, and nothing is dropped while the list is locked.
        let Some(pool) = POOLS
            .try_lock()
            .ok()
            .and_then(|pools| pools.get(i).cloned())
        else {
            break;
        };
        let all = try_with(&pool, Parked::take_all).unwrap_or_default();
        any |= all.give_back();
    }
    any
}
