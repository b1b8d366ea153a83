//! Which pages of a range are the process's own copies, and neither pages of a file nor the
//! system's page of zeros.
//!
//! The system can put its page of zeros in the place of a page that a process has filled with
//! zeros, if the process lets it look for such pages (KSM, `PR_SET_MEMORY_MERGE`, with
//! `use_zero_pages`). So a page of zeros says only of memory that was zero at first that nobody
//! wrote there.
//!
//! Linux 6.7 and later answer for a whole range at once (`PAGEMAP_SCAN`, [`Answer::Scan`]). Where
//! that is refused (by an older kernel, by a filter of system calls, by an emulation of Linux), the
//! entries of the pages are read one by one from the same file, for as many pages as that is worth
//! ([`Answer::Entries`]). Without `/proc` there is no answer.
//!
//! The file belongs to the process that opened it: in a forked child, it would describe the
//! parent's pages. So a page of memory, which the system wipes in children, marks the process that
//! opened the file. (The number of the process would not do: a child in a namespace of its own can
//! have the same number.)
//!
//! An answer may still be wrong, if the host closed the descriptor or if the system implements the
//! interface differently. So callers take it as a hint, or check that it names pages that they know
//! to be the process's own.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::RwLock;

use super::map::page_size;
use super::process::ProcessMark;

/// Maximum number of pages whose entries are read one by one.
const MAX_READ: usize = 1 << 14;

/// Maximum number of regions that one call of the system returns.
const REGIONS: usize = 128;

static PAGEMAP: RwLock<Option<Pagemap>> = RwLock::new(None);

/// What an answer is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// There is no answer.
    None,
    /// The entries of the first pages of the range. No page among them that is present or swapped
    /// is left out.
    Entries,
    /// The system's answer for the whole range.
    Scan,
}

/// `/proc/self/pagemap`.
struct Pagemap {
    file: File,
    /// The process that opened the file.
    mark: ProcessMark,
}

impl Pagemap {
    /// `None` without `/proc`, or if the system cannot wipe a page in children (before Linux 4.14).
    fn open() -> Option<Self> {
        let file = File::open("/proc/self/pagemap").ok()?;
        let mark = ProcessMark::of_page()?;
        Some(Self { file, mark })
    }
}

/// `struct page_region` of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of the kernel.
#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
const IS_PFNZERO: u64 = 1 << 5;
const IS_HUGE: u64 = 1 << 6;

/// `_IOWR('f', 16, struct pm_scan_arg)`, the same on every architecture that this crate knows.
const PAGEMAP_SCAN: u32 =
    (3 << 30) | ((size_of::<Scan>() as u32) << 16) | ((b'f' as u32) << 8) | 16;

/// Calls `give` for the process's own pages among those of `len` bytes from `base` on, in ascending
/// order, with their offsets in bytes, and whether they are part of a huge page. Perhaps only a
/// part of a huge page was written.
///
/// This never waits: there is no answer while another thread opens the file.
pub(crate) fn own(
    base: NonNull<u8>,
    len: usize,
    give: &mut dyn FnMut(Range<usize>, bool),
) -> Answer {
    if !PAGEMAP.try_read().is_ok_and(|map| is_own(&map)) {
        let Ok(mut pagemap) = PAGEMAP.try_write() else {
            return Answer::None;
        };
        if !is_own(&pagemap) {
            *pagemap = Pagemap::open();
        }
    }
    let base = base.as_ptr() as usize;
    let tells = Tells::Huge;
    with_file(|file| match scan(file, base, len, tells, give) {
        true => Answer::Scan,
        false if read(file, base, len, give) => Answer::Entries,
        false => Answer::None,
    })
    .unwrap_or(Answer::None)
}

/// Like [`own`], but only if [`own`] has opened the file before and the system answers for the
/// whole range. Returns whether there is an answer. `give` may have been called for some pages
/// although there is none.
///
/// `give` is also called for the places of the system's page of zeros, for which it is given true.
pub(crate) fn scan_again(
    base: NonNull<u8>,
    len: usize,
    give: &mut dyn FnMut(Range<usize>, bool),
) -> bool {
    let base = base.as_ptr() as usize;
    with_file(|file| scan(file, base, len, Tells::Zero, give)).unwrap_or(false)
}

fn with_file<R>(work: impl FnOnce(&File) -> R) -> Option<R> {
    let pagemap = PAGEMAP.try_read().ok()?;
    let pagemap = pagemap.as_ref().filter(|pagemap| pagemap.mark.is_own())?;
    Some(work(&pagemap.file))
}

fn is_own(pagemap: &Option<Pagemap>) -> bool {
    pagemap
        .as_ref()
        .is_some_and(|pagemap| pagemap.mark.is_own())
}

/// What a scan tells of pages.
#[derive(Clone, Copy)]
enum Tells {
    /// Whether they are huge. Those of zeros are left out.
    Huge,
    /// Whether they are the system's page of zeros.
    Zero,
}

fn scan(
    file: &File,
    base: usize,
    len: usize,
    tells: Tells,
    give: &mut dyn FnMut(Range<usize>, bool),
) -> bool {
    let (left_out, told) = match tells {
        Tells::Huge => (IS_FILE | IS_PFNZERO, IS_HUGE),
        Tells::Zero => (IS_FILE, IS_PFNZERO),
    };
    let mut regions = [Region::default(); REGIONS];
    let end = (base + len) as u64;
    let mut start = base as u64;
    while start < end {
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            flags: 0,
            start,
            end,
            walk_end: 0,
            vec: regions.as_mut_ptr() as u64,
            vec_len: regions.len() as u64,
            max_pages: 0,
            category_inverted: left_out,
            category_mask: left_out,
            category_anyof_mask: IS_PRESENT | IS_SWAPPED,
            return_mask: told,
        };
        // SAFETY: the kernel writes to the structure and to as many regions as there are.
        let found = unsafe { libc::ioctl(file.as_raw_fd(), PAGEMAP_SCAN as _, &raw mut scan) };
        let Some(found) = usize::try_from(found).ok().and_then(|n| regions.get(..n)) else {
            return false;
        };
        for region in found {
            let offset = |address: u64| (address.clamp(base as u64, end) - base as u64) as usize;
            let range = offset(region.start)..offset(region.end);
            give(range, region.categories & told != 0);
        }
        // An answer may cover only a part of the range.
        if scan.walk_end <= start {
            return false;
        }
        start = scan.walk_end;
    }
    true
}

fn read(file: &File, base: usize, len: usize, give: &mut dyn FnMut(Range<usize>, bool)) -> bool {
    const SIZE: usize = size_of::<u64>();
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const OF_FILE: u64 = 1 << 61;
    let size = page_size();
    let (first, count) = (base / size, len / size);
    let mut entries = [0_u8; 512 * SIZE];
    for from in (0..count.min(MAX_READ)).step_by(512) {
        let part = &mut entries[..(count - from).min(512) * SIZE];
        let done = file.read_exact_at(part, ((first + from) * SIZE) as u64);
        if done.is_err() {
            return false;
        }
        let (entries, _) = part.as_chunks::<SIZE>();
        for (page, entry) in (from..).zip(entries) {
            let entry = u64::from_ne_bytes(*entry);
            if entry & (PRESENT | SWAPPED) != 0 && entry & OF_FILE == 0 {
                give(page * size..(page + 1) * size, false);
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::map::Reservation;
    use super::*;

    type Find = fn(&File, usize, usize, &mut dyn FnMut(Range<usize>, bool)) -> bool;

    /// Both ways find what was written, and nothing that was only read.
    #[test]
    fn written_pages_are_found() {
        let size = page_size();
        let mut pages = Reservation::new(3000 * size).unwrap();
        pages.commit(0, 2000 * size).unwrap();
        let base = pages.base();
        let written: Vec<usize> = (0..2000).filter(|i| i % 7 == 0 || *i > 1990).collect();
        for page in 0..2000 {
            // SAFETY: accessible pages of our own.
            unsafe {
                let at = base.add(page * size);
                if written.contains(&page) {
                    at.write_volatile(1);
                } else if page % 3 == 0 {
                    at.read_volatile();
                }
            }
        }
        let file = File::open("/proc/self/pagemap").unwrap();
        let scan: Find = |file, base, len, give| scan(file, base, len, Tells::Huge, give);
        for find in [scan, read] {
            let mut found = Vec::new();
            let answered = find(
                &file,
                base.as_ptr() as usize,
                3000 * size,
                &mut |range, huge| {
                    assert!(!huge);
                    found.extend((range.start / size)..(range.end / size));
                },
            );
            // Before Linux 6.7 there is only the other way, which also gives pages that were read.
            if answered {
                found.retain(|page| page % 3 != 0 || written.contains(page));
                assert_eq!(found, written);
            }
        }
    }
}
