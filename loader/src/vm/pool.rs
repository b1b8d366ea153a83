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
//! thread that dropped the handle, and on other threads when they next look for an instance and
//! find none. A thread that is idle keeps them until then, or until the host calls
//! [`release_idle`], which ends a round: what was parked in an earlier round has not been used in
//! this one.
//!
//! A thread also keeps some address space of instances that it does not park, see
//! [`space`](super::space).
//!
//! Parked instances hold mappings and memory. Two bounds hold for the pages of memories, the
//! elements of tables and the large contexts that stay resident, one for the thread and one for the
//! process. The instances that were parked first give back first what they can, which is all but
//! the contexts, and those with large contexts go after that. Two bounds hold for mappings,
//! [`MAX_MAPPINGS`] of all threads and [`MAX_OF_THREAD`], and an instance with many of its own is
//! not parked: a host that has no mappings left cannot even start threads, and only what the loader
//! itself asks for can be met with what is parked. When the system refuses memory or mappings to
//! such a request, all that *any* thread has parked is dropped, see
//! [`per_thread`](super::per_thread).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ending::for_all;
use super::instance::InstanceData;
use super::owner::{Limits, Owner};
use super::per_thread::{Own, Reserve, Reserves};
use super::share::{Share, Total};
use super::space;
use crate::sys::map::{self, Kind};

/// Maximum number of mappings of all parked instances of the process: a quarter of what Linux
/// allows a process by default (`vm.max_map_count`).
const MAX_MAPPINGS: usize = 1 << 14;

/// Maximum number of mappings of all parked instances of a thread. So no module keeps other modules
/// from reuse on other threads, as long as there are at most 64 of them.
const MAX_OF_THREAD: usize = MAX_MAPPINGS / 64;

/// Maximum number of mappings of an instance that is parked. Each mapping costs a system call when
/// an instance is made, so a few instances with more would take what many others need.
const MAX_OF_INSTANCE: usize = 64;

/// The pools of all threads that have one.
static POOLS: Reserves<Parked> = Reserves::new();

/// Bytes that the instances of all threads keep resident.
static RESIDENT: Total = Total::new(1 << 20);

/// The mappings of the instances of all threads.
static MAPPINGS: Total = Total::new(8);

thread_local! {
    static OWN: Own<Parked> = {
        map::on_shortage(Kind::Instances, || POOLS.give_back());
        POOLS.begin()
    };
}

/// Number of times that idle instances were released.
static ROUND: AtomicU64 = AtomicU64::new(0);

/// An instance in a pool. Its context points to it, so it must not move.
struct Entry {
    instance: Box<InstanceData>,
    /// The round in which it was parked.
    round: u64,
}

/// One thread's pool.
struct Parked {
    /// The parked instances, the least recently parked one first.
    entries: Vec<Entry>,
    /// Bytes that they keep resident.
    resident: usize,
    /// Bytes that they may keep resident together.
    resident_share: Share,
    /// Mappings that they have.
    mappings: usize,
    /// Mappings that they may have together.
    mapping_share: Share,
}

impl Default for Parked {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            resident: 0,
            resident_share: Share::new(&RESIDENT),
            mappings: 0,
            mapping_share: Share::new(&MAPPINGS),
        }
    }
}

impl Parked {
    fn find(&self, is_wanted: impl Fn(&InstanceData) -> bool) -> Option<usize> {
        self.entries.iter().position(|e| is_wanted(&e.instance))
    }

    fn remove(&mut self, i: usize) -> Entry {
        let entry = self.entries.remove(i);
        self.resident -= entry.instance.resident();
        self.mappings -= entry.instance.mappings();
        entry
    }

    /// Parks an instance, for which there is room.
    fn insert(&mut self, i: usize, entry: Entry) {
        self.resident += entry.instance.resident();
        self.mappings += entry.instance.mappings();
        self.entries.insert(i, entry);
    }

    /// Takes out the instances whose `InstancePre` is gone, and those parked before this round.
    fn take_closed_or_older(&mut self, round: u64) -> Vec<Entry> {
        let taken = self.entries.extract_if(.., |entry| {
            let owner = entry.instance.owner.as_ref();
            entry.round < round || owner.is_none_or(|o| o.is_closed())
        });
        let taken: Vec<_> = taken.collect();
        self.resident -= taken.iter().map(|e| e.instance.resident()).sum::<usize>();
        self.mappings -= taken.iter().map(|e| e.instance.mappings()).sum::<usize>();
        taken
    }

    fn take_closed(&mut self) -> Vec<Entry> {
        let taken = self.take_closed_or_older(0);
        if !taken.is_empty() {
            self.shrink_shares();
        }
        taken
    }

    /// Gives up what this thread has no use for of its parts of what all threads may keep.
    fn shrink_shares(&mut self) {
        self.resident_share.shrink(self.resident);
        self.mapping_share.shrink(self.mappings);
    }

    /// Makes room for so many more mappings, and returns whether there is room. Other instances
    /// are moved to `lost` for it.
    fn make_room_for_mappings(&mut self, mappings: usize, lost: &mut Vec<Entry>) -> bool {
        let fits = |this: &mut Self| {
            let wanted = this.mappings + mappings;
            wanted <= MAX_OF_THREAD && this.mapping_share.cover(wanted, MAX_MAPPINGS)
        };
        while mappings > 0 && !fits(self) {
            if !self.mapping_share.could_cover(mappings, MAX_MAPPINGS) {
                return false;
            }
            let Some(i) = self.find(|i| i.mappings() > 0) else {
                return false;
            };
            lost.push(self.remove(i));
        }
        true
    }

    /// Makes room for `bytes` more resident bytes, and returns whether there is room. Other
    /// instances give their bytes back for it. Those that fail to do so are moved to `lost`, and so
    /// are those with large contexts if there is nothing else.
    fn make_room(&mut self, bytes: usize, limits: Limits, lost: &mut Vec<Entry>) -> bool {
        let max = limits.resident_per_process;
        loop {
            let wanted = self.resident + bytes;
            if wanted <= limits.resident_per_thread && self.resident_share.cover(wanted, max) {
                return true;
            }
            // What can never fit takes nothing from others.
            if bytes > limits.resident_per_thread || !self.resident_share.could_cover(bytes, max) {
                return false;
            }
            let kept = self.find(|i| i.kept() > 0);
            let Some(i) = kept.or_else(|| self.find(|i| i.resident() > 0)) else {
                return false;
            };
            let mut entry = self.remove(i);
            if kept.is_some() && entry.instance.discard_kept().is_ok() {
                self.insert(i, entry);
            } else {
                lost.push(entry);
            }
        }
    }
}

impl Reserve for Parked {
    fn give_back(self) -> bool {
        let any = !self.entries.is_empty();
        for_all(self.entries, space::keep_none_of);
        any
    }
}

/// Works with this thread's pool, unless the thread is ending or another one is emptying the pool.
fn with_own<R>(work: impl FnOnce(&mut Parked) -> R) -> Option<R> {
    OWN.try_with(|own| own.with(work)).ok().flatten()
}

/// Ends the reuse of an owner's instances. The parked ones of this thread are dropped at once.
pub(crate) fn close(owner: &Owner) {
    owner.close();
    for_all(with_own(Parked::take_closed).into_iter().flatten(), drop);
}

/// Drops the instances of all threads that were parked before the last call of this function, and
/// those whose `InstancePre` is gone. A thread that is using its pool at this moment keeps it.
pub(crate) fn release_idle() {
    let round = ROUND.fetch_add(1, Ordering::Relaxed);
    let mut taken = Vec::new();
    POOLS.for_each(
        |parked| {
            let taken = parked.take_closed_or_older(round);
            // A thread may have a part of which it has not used anything since.
            parked.shrink_shares();
            taken
        },
        |entries| taken.extend(entries),
    );
    for_all(taken, space::keep_none_of);
}

/// Takes a parked instance over. `None` also if there is no memory for what it gave back.
pub(crate) fn take(owner: &Arc<Owner>) -> Option<Box<InstanceData>> {
    let mut closed = Vec::new();
    let found = with_own(|parked| {
        let mut entries = parked.entries.iter();
        let found = entries.rposition(|entry| is_of(&entry.instance, owner));
        if found.is_none() {
            closed = parked.take_closed();
        }
        Some(parked.remove(found?))
    });
    // The pool is not locked here, since the drop of an instance may drop other stores.
    for_all(closed, drop);
    let mut found = found.flatten()?.instance;
    found.renew().is_ok().then_some(found)
}

/// Resets an instance whose store is being dropped, and keeps it if that works and there is room.
/// `ran` says whether code of the store ever ran.
pub(crate) fn park(mut instance: Box<InstanceData>, ran: bool) {
    let limits = match &instance.owner {
        Some(owner) if !owner.is_closed() => owner.limits,
        _ => return,
    };
    if limits.instances == 0 || instance.mappings() > MAX_OF_INSTANCE {
        return;
    }
    if !instance.is_resettable() || instance.reset(ran).is_err() {
        return;
    }
    // A table that was long before the reset may be short now.
    let mappings = instance.mappings();
    let mut lost = Vec::new();
    let round = ROUND.load(Ordering::Relaxed);
    let mut entry = Entry { instance, round };
    let work = |parked: &mut Parked| {
        if parked.entries.len() >= limits.instances {
            lost.push(parked.remove(0));
        }
        if !parked.make_room_for_mappings(mappings, &mut lost) {
            lost.push(entry);
            return;
        }
        let mut has_room = |entry: &Entry| {
            let resident = entry.instance.resident();
            resident == 0 || parked.make_room(resident, limits, &mut lost)
        };
        if has_room(&entry) || (entry.instance.discard_kept().is_ok() && has_room(&entry)) {
            parked.insert(parked.entries.len(), entry);
        } else {
            lost.push(entry);
        }
    };
    // Without a pool, the instance is dropped together with `work`.
    with_own(work).unwrap_or_default();
    // The pool is not locked here, as above.
    for_all(lost, drop);
}

/// Whether an instance was made for this owner, which can take it over.
fn is_of(instance: &InstanceData, owner: &Arc<Owner>) -> bool {
    let own = instance.owner.as_ref();
    own.is_some_and(|own| Arc::ptr_eq(own, owner))
}
