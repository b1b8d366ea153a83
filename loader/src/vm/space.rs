//! Address space for memories, which is used again.
//!
//! Reserving the address space of a guarded memory, making its first bytes accessible, and
//! unmapping it takes the system more than twice as long as mapping and unmapping the accessible
//! bytes alone. So when an instance is dropped and not [parked](super::pool), the thread keeps the
//! address space of its memories, for up to [`MAX_SPACES`] memories of at most [`MAX_BYTES`] bytes
//! each that were never to be in [huge pages](super::huge). The next memory of any module that
//! needs as much address space takes it over.
//!
//! **Nothing of a memory stays.** What was accessible is replaced by a new mapping of zero pages
//! before the thread keeps the address space. So files that were mapped there are gone as well,
//! whether the loader mapped them or the host did, and so are locks, advice and protections.
//! Address space that is kept takes no memory (unless the process locks all that it maps).
//!
//! What was measured, in µs, for 8 MiB: `mmap` and `munmap` of these bytes 3.4; reserving 8 GiB and
//! unmapping them 5.9, with `mprotect` in between 7.9; replacing what was accessible 3.1.
//! Discarding what was accessible by `madvise` would take 0.5 µs, but leave whatever else the host
//! did to these pages. Mapping a file of the memory's length over all of the address space, so that
//! there is no access behind its end, takes 6.7, and every page that is written first becomes one
//! of the file.

use std::cell::Cell;

use smallvec::SmallVec;

use super::per_thread::{Own, Reserve, Reserves};
use crate::error::Error;
use crate::sys::map::{self, Kind, Reservation};

/// Maximum number of memories for which a thread keeps address space.
const MAX_SPACES: usize = 2;

/// Maximum number of bytes that were accessible in address space that is kept.
const MAX_BYTES: usize = 64 << 20;

/// What all threads keep.
static SPACES: Reserves<Spaces> = Reserves::new();

thread_local! {
    static OWN: Own<Spaces> = {
        map::on_shortage(Kind::AddressSpace, || SPACES.give_back());
        SPACES.begin()
    };

    /// Whether this thread is giving everything back, so that it keeps nothing of it.
    static GIVES_BACK: Cell<bool> = const { Cell::new(false) };
}

/// The address space that a thread keeps.
#[derive(Default)]
struct Spaces(SmallVec<[Space; MAX_SPACES]>);

impl Reserve for Spaces {
    fn give_back(self) -> bool {
        !self.0.is_empty()
    }
}

/// Works with what this thread keeps, unless the thread is ending or another one is emptying it.
fn with_own<R>(work: impl FnOnce(&mut Spaces) -> R) -> Option<R> {
    OWN.try_with(|own| own.with(work)).ok().flatten()
}

/// Drops a value. The thread keeps none of the address space that its memories had.
pub(super) fn keep_none_of<V>(value: V) {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            GIVES_BACK.set(self.0);
        }
    }
    // The value may panic when it is dropped.
    let _before = Before(GIVES_BACK.replace(true));
    drop(value);
}

/// Address space of `room` bytes, of which the first `accessible` bytes are zero and accessible;
/// both are whole pages. It may be what a memory of this thread had before.
///
/// # Errors
/// The system's.
pub(super) fn take(room: usize, accessible: usize) -> Result<Reservation, Error> {
    let found = with_own(|Spaces(spaces)| {
        let fits = |space: &Space| space.size() == (room, accessible);
        let has_room = |space: &Space| space.size().0 == room;
        let i = spaces.iter().position(fits);
        i.or_else(|| spaces.iter().position(has_room))
            .map(|i| spaces.remove(i))
    });
    match found.flatten() {
        Some(space) => space.with_accessible(accessible),
        None => Reservation::with_accessible(room, accessible),
    }
}

/// Keeps the address space of a memory that nobody uses any more, or drops it. What was kept first
/// makes room.
pub(super) fn keep(reservation: Reservation) {
    if GIVES_BACK.get() {
        return;
    }
    let Some(space) = Space::emptied(reservation) else {
        return;
    };
    let keep = |Spaces(spaces): &mut Spaces| {
        let full = spaces.len() >= MAX_SPACES;
        let first = full.then(|| spaces.remove(0));
        spaces.push(space);
        first
    };
    // Without a reserve, the space is dropped together with `keep`. The reserve is not locked where
    // what makes room is dropped.
    drop(with_own(keep));
}

/// Address space of which the first bytes are accessible, and zero.
#[derive(Debug)]
struct Space(Reservation);

impl Space {
    /// Empties the address space of a memory that nobody uses any more. `None` if it is too large,
    /// if the system remembers advice about any of it, or if the system refuses.
    fn emptied(mut reservation: Reservation) -> Option<Self> {
        let fits = reservation.reach() <= MAX_BYTES && !reservation.has_advice();
        (fits && reservation.clear()).then_some(Self(reservation))
    }

    /// The bytes of address space, and how many of them are accessible.
    fn size(&self) -> (usize, usize) {
        (self.0.len(), self.0.reach())
    }

    /// The address space with as many accessible bytes, whole pages. All of them are zero.
    ///
    /// # Errors
    /// The system's.
    fn with_accessible(mut self, accessible: usize) -> Result<Reservation, Error> {
        self.0.open_cleared(accessible)?;
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::map::page_size;

    /// Whether `/proc` says that exactly the first bytes of a reservation are accessible.
    fn is_accessible(reservation: &Reservation, bytes: usize) -> bool {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let start = reservation.base().as_ptr() as usize;
        let end = start + reservation.len();
        let mut found = 0;
        for line in maps.lines() {
            let (range, rest) = line.split_once(' ').unwrap();
            let (from, to) = range.split_once('-').unwrap();
            let number = |hex| usize::from_str_radix(hex, 16).unwrap();
            // Other threads map next to the reservation meanwhile, where the system may join and
            // part mappings: then one that was listed is listed again.
            let (from, to) = (number(from).max(start + found), number(to).min(end));
            if from < to && !rest.starts_with("---p") {
                assert!(
                    rest.starts_with("rw-p") && rest.contains(" 00:00 0"),
                    "{line}"
                );
                assert_eq!(from, start + found, "{line}");
                found += to - from;
            }
        }
        found == bytes
    }

    /// Whatever was in a memory, and however large the next one is, the next one is zero and has
    /// not one page more than it should.
    #[test]
    fn nothing_stays() {
        let page = page_size();
        let (room, file) = (40 * page, std::fs::File::open("/proc/self/exe").unwrap());
        for before in [0, 1, 7, 40] {
            for after in [0, 1, 6, 7, 8, 40] {
                let mut old = Reservation::new(room).unwrap();
                old.commit(0, before * page).unwrap();
                if before >= 7 {
                    old.map_file(2 * page, 3 * page, &file, 0).unwrap();
                    // SAFETY: accessible pages of our own, which are made read-only.
                    unsafe {
                        let at = old.base().add(5 * page);
                        crate::sys::map::protect(at, page, libc::PROT_READ).unwrap();
                    }
                }
                if before > 0 {
                    // SAFETY: accessible pages of our own.
                    unsafe { old.base().write_bytes(0xaa, before.min(5) * page) };
                }
                let space = Space::emptied(old).unwrap();
                assert_eq!(space.size(), (room, before * page));
                assert!(is_accessible(&space.0, before * page));
                let new = space.with_accessible(after * page).unwrap();
                assert!(is_accessible(&new, after * page), "{before}, {after}");
                // SAFETY: accessible pages of our own.
                let bytes =
                    unsafe { std::slice::from_raw_parts(new.base().as_ptr(), after * page) };
                assert!(bytes.iter().all(|byte| *byte == 0), "{before}, {after}");
            }
        }
    }

    #[test]
    fn large_memories_are_not_kept() {
        for (bytes, is_kept) in [(MAX_BYTES, true), (MAX_BYTES + page_size(), false)] {
            let mut reservation = Reservation::new(2 * MAX_BYTES).unwrap();
            reservation.commit(0, bytes).unwrap();
            assert_eq!(Space::emptied(reservation).is_some(), is_kept);
        }
    }
}
