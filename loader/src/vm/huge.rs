//! Large memories in huge pages.
//!
//! ```text
//!   memory:  | pages of the usual size | huge pages               | begun: no access | no access |
//!            0                       FIRST                       len
//! ```
//! The first use of a page is a page fault. A guest that fills its memory has one for each 4 KiB,
//! and with huge pages one for each 2 MiB. So the loader asks the system for huge pages (`madvise`)
//! when a memory grows beyond [`FIRST`] bytes. The system gives one if a byte of it is used for the
//! first time while all of its 2 MiB are accessible. It does so at its own multiples of 2 MiB, so
//! the place of a memory does not matter (Linux 6.7 and later place reservations of guarded
//! memories at a multiple anyway).
//!
//! - **Begun.** Most allocators grow a memory by 64 KiB at a time, and use these before they ask
//!   for more. Then no 2 MiB are ever accessible and unused. So growth that reaches into a huge
//!   page makes all of it accessible for a moment, uses a byte, and takes the access to the rest
//!   away again. The system divides the huge page into small ones then, without moving it, and
//!   later growth finds its memory there. This takes up to 2 MiB more than the guest has asked for,
//!   which is at most a quarter of what the memory has. Memories of several threads go without,
//!   since other threads could use the rest in that moment.
//! - **Not the first bytes, nor what a memory starts with.** Small memories stay what they are, and
//!   instantiation makes no call more. Nobody knows of the initial bytes how many will be used.
//! - **A guest that uses a byte here and there** makes the system provide up to 512 times the
//!   memory that it would take in small pages, but never more than the memory is long (and what is
//!   begun).
//! - **Reused instances.** A reset discards all that may be in huge pages, and keeps none of it
//!   resident, since to discard a part of a huge page frees nothing. But to zero pages that are
//!   kept is faster than to get new ones of any size. So a memory whose last tenant had no more
//!   than a pool may keep has pages of the usual size from then on, see
//!   [`MemoryEntity::reset`](super::memory::MemoryEntity::reset).
//! - **Checked memories** grow by moving, and the system moves only one mapping at a time. So their
//!   whole place is asked for when they move beyond [`FIRST`] bytes.
//! - **Only 2 MiB.** Kernels of aarch64 with pages of 16 and 64 KiB have huge pages of 32 and 512
//!   MiB, which are too much to provide for one byte, and a fourth and a sixteenth of the faults.
//!
//! What was measured, as ratios to the time without huge pages, on a virtual machine: filling a
//! buffer of 64 MiB once 0.27, random accesses to 256 MiB 0.64, hash tables of 64 and 256 MiB 0.75,
//! compression with large tables 0.84, a sieve 0.9, a binary tree that grows by 64 KiB 0.9; SQLite,
//! CPython and QuickJS with 50 to 100 MiB, which grow by 64 KiB, 0.91 (without what is begun 1.00).
//! An instance with 128 MiB from its making to its end took 0.27, one that grows by 64 KiB 0.37,
//! and one that is reused 0.4 and 0.5. With 32 MiB, a reused one took 1.8, which is why it gets
//! none. A huge page costs as much as 20 to 60 small ones that are used: a program that asks for
//! 256 MiB and uses a byte of each 2 MiB takes 20 ms longer.
//!
//! Tried and dropped: to let the system put small pages together whenever growth has filled 2 MiB
//! (`MADV_COLLAPSE`). It copies them, which made growth by 64 KiB 1.2 to 1.8 times as long, and
//! accesses were no faster afterwards.

use std::ops::Range;
use std::sync::OnceLock;

use crate::error::Error;
use crate::sys::map::Reservation;

/// Bytes of the huge pages that are asked for.
const SIZE: usize = 2 << 20;

/// Huge pages are asked for in memories that grow beyond this many bytes, and only for what is
/// behind them.
const FIRST: usize = 8 << 20;

/// Where the system says how large its huge pages are, and for which memory they are.
const SIZE_FILE: &str = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size";
const ENABLED_FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Whether the system gives huge pages of this size to those who ask.
fn is_offered() -> bool {
    static OFFERED: OnceLock<bool> = OnceLock::new();
    *OFFERED.get_or_init(|| {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        is_offer(&read(SIZE_FILE), &read(ENABLED_FILE))
    })
}

/// Whether the two files say so.
fn is_offer(size: &str, enabled: &str) -> bool {
    let size = size.trim().parse::<usize>();
    size.is_ok_and(|size| size == SIZE) && !enabled.is_empty() && !enabled.contains("[never]")
}

/// Asks for huge pages before a memory grows from `from` to `to` bytes, whole pages, unless they
/// were asked for before. `is_one_mapping`: the system can move the memory only while all of it has
/// the same advice.
pub(super) fn ask(memory: &mut Reservation, from: usize, to: usize, is_one_mapping: bool) {
    if to > FIRST && memory.huge().is_none() && is_offered() {
        memory.ask_for_huge_pages(if is_one_mapping { 0 } else { from.max(FIRST) });
    }
}

/// Makes the bytes from `from` to `to` of a memory accessible, whole pages, which only its owner
/// uses.
///
/// # Errors
/// As for [`Reservation::commit`].
pub(super) fn grow(
    memory: &mut Reservation,
    from: usize,
    to: usize,
    is_one_mapping: bool,
) -> Result<(), Error> {
    ask(memory, from, to, is_one_mapping);
    let base = memory.base().as_ptr() as usize;
    let first = memory.huge().map(|first| first.max(from));
    let begun = first.and_then(|first| begun(base, first, to));
    match begun.filter(|block| block.end <= memory.len()) {
        Some(block) => memory.commit_ahead(from, to - from, block),
        None => memory.commit(from, to - from),
    }
}

/// The place of the huge page in which growth to `to` bytes ends, if it begins at `first` or behind
/// and the growth does not fill it.
fn begun(base: usize, first: usize, to: usize) -> Option<Range<usize>> {
    let start = (base + to) / SIZE * SIZE;
    let start = start.checked_sub(base)?;
    (start >= first && start < to).then_some(start..start + SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers() {
        let always = "[always] madvise never\n";
        let madvise = "always [madvise] never\n";
        assert!(is_offer("2097152\n", always) && is_offer("2097152\n", madvise));
        assert!(!is_offer("2097152\n", "always madvise [never]\n"));
        // Those of aarch64 with pages of 16 and 64 KiB.
        assert!(!is_offer("33554432\n", madvise) && !is_offer("536870912\n", madvise));
        assert!(!is_offer("", madvise) && !is_offer("2097152\n", "") && !is_offer("?", madvise));
    }

    /// Growth by any steps from any place: each huge page that begins behind the first bytes is
    /// begun once, by the growth that reaches into it and not to its end.
    #[test]
    fn places() {
        const PAGE: usize = 65536;
        for base in [0, PAGE, SIZE - PAGE, 77 * SIZE + 5 * PAGE] {
            for step in [1, 3, 31, 32, 33, 100] {
                let (mut len, mut found) = (FIRST, Vec::new());
                while len < FIRST + 20 * SIZE {
                    let to = len + step * PAGE;
                    if let Some(block) = begun(base, len, to) {
                        assert!(block.start >= len && block.start < to && to < block.end);
                        assert!(block.len() == SIZE && (base + block.start).is_multiple_of(SIZE));
                        found.push(block.start);
                    }
                    len = to;
                }
                assert!(found.is_sorted_by(|a, b| a < b));
                if step == 1 {
                    let all = (FIRST..len).filter(|at| (base + at).is_multiple_of(SIZE));
                    let all = all.filter(|at| at % PAGE == 0);
                    assert!(found.iter().copied().eq(all), "{base}");
                }
            }
        }
    }
}
