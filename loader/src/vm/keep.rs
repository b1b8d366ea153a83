//! The reset of a memory to its initial content, and the pages that stay resident afterwards.
//!
//! ```text
//!   memory:  | kept: copied back | discarded | kept: zeroed | discarded              | no access |
//!            0                                                                       high
//! ```
//! A [`Plan`] names runs of pages that tenants write to again and again. When a tenant is gone, the
//! loader restores these by copying, or by zeroing where the initial content is zero, and the
//! system **discards everything else up to the highest byte that any tenant could reach**. So a
//! plan decides only about time and resident memory. Whatever it says, nothing of a tenant is left:
//! not what a host wrote through a pointer, what the kernel wrote for a host or what a debugger
//! wrote, and not in pages that are locked, swapped out, huge or shared with a forked child.
//! Nothing of this depends on signals.
//!
//! What is not kept lies in holes between and behind the runs. There are two ways to discard it:
//!
//! - **All holes**, whether anybody wrote to them or not, by one call of the system for each hole.
//! - If there are [several](SCAN_FROM), the system is asked once which pages are the process's own
//!   ([`pages::scan_again`]), and **only holes with such pages** are discarded. A page that is not
//!   the process's own reads as it did when it was mapped, except for the system's page of zeros in
//!   the place of an image, which counts as written: KSM may have put it there. The loader believes
//!   the answer only if it names every page that the last reset of the same memory has restored:
//!   these are the process's own, because the reset wrote to them. A system that knows the call but
//!   answers something else, a descriptor that is not the right one any more, or a process that was
//!   forked meanwhile gives no such answer. Then all holes are discarded.
//!
//! What tenants write to is [`Learned`] for all instances of an `InstancePre` together, so that a
//! new slot profits from what others have learned: now and then a reset asks the system first which
//! pages are the process's own ([`pages::own`]), and which of the kept ones differ from their
//! initial content. A page that was written in one of nine samples is worth keeping. A page that is
//! no longer written leaves the plan, and goes back to the system at the next reset. Samples become
//! rare when they bring nothing new.
//!
//! Alternatives that were measured, with the costs on one machine:
//!
//! - Write-protecting pages, and noting the first write to each in the signal handler (what this
//!   replaced): no system call at all in the steady state, 0.1 µs for one page. But if a thread had
//!   blocked SIGSEGV, or the host had installed another handler meanwhile, the process died at an
//!   ordinary store of a guest. Each page next to one of another kind is a mapping of its own, and
//!   beyond a few dozen pages the protection had to be given up. Whether a signal will arrive
//!   cannot be verified either: another thread may change that the next moment.
//! - Asking the system at each reset (`PAGEMAP_SCAN`): 1.3 µs for an empty memory, 2.3 µs with one
//!   page table, 11 µs and 42 µs with 256 and 1,024 own pages. Discarding the rest instead takes
//!   0.7 to 1.2 µs whatever is kept.
//! - Counting this thread's page faults (`getrusage`), and discarding only if there were any: 0.4
//!   µs, but pages also become writable without a fault (`mlockall` by another thread, huge pages
//!   that the system collapses in the background), so a tenant's bytes could stay.
//! - Comparing kept pages with their initial content, and writing only what differs: 72 ns a page,
//!   where zeroing takes 45 ns and copying 83 ns, whatever was written.
//! - Discarding several ranges by one `process_madvise`: each range costs nearly as much as by a
//!   call of its own, 0.7 µs. Asking costs 1.1 µs, 0.7 µs for each page table (2 MiB), and 0.04 µs
//!   for each run of pages that is found: for 32 pages that are 64 KiB apart 3.3 µs instead of 22
//!   µs. For one run of pages, asking is the slower way.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::images::Image;
use crate::error::Error;
use crate::sys::map::{Reservation, page_size};
use crate::sys::pages::{self, Answer};

/// A hole of fewer pages than this between kept pages is kept too, because discarding it costs more
/// than zeroing it.
const SHORT_HOLE: usize = 10;

/// From so many holes on, the loader asks the system which ones to discard. Then no hole is kept,
/// because each costs less than zeroing a page.
const SCAN_FROM: usize = 4;

/// A sample adds this to the score of a page that was written, and subtracts 1 from the score of
/// any other page.
const WRITTEN: u8 = 8;

/// The highest score.
const BEST: u8 = 32;

/// Maximum number of resets from one sample to the next.
const RAREST: u32 = 512;

/// The loader learns what is written only in this many bytes of a memory: as many as a memory with
/// 32-bit addresses can have. Pages behind them are never kept, so that the host's own memory for
/// the scores is bounded.
const MAX_LEARNED: usize = 1 << 32;

/// A run of pages that stay resident; offsets in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: usize,
    end: usize,
    /// Their initial content; `None` is zero.
    from: Option<NonNull<u8>>,
}

/// What stays resident.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// They do not overlap, and are in ascending order.
    runs: Box<[Run]>,
    /// Whether the system is asked which holes to discard.
    scans: bool,
}

// SAFETY: `from` leads to bytes that nobody writes to, and that live as long as the `InstancePre`.
unsafe impl Send for Plan {}
// SAFETY: as above.
unsafe impl Sync for Plan {}

impl Plan {
    /// Restores the initial content of the first `high` bytes, of which the first `len` are
    /// accessible. The others are zero or were never written. Pages of the plan before `restored`
    /// were restored by it the last time. All three are whole pages. Returns how many bytes stay
    /// resident.
    ///
    /// # Errors
    /// The system's; the memory must not be used any more then.
    ///
    /// # Safety
    /// `memory` is one that the plan was made for, with these images, and nobody uses it now.
    unsafe fn restore(
        &self,
        memory: &mut Reservation,
        len: usize,
        high: usize,
        restored: usize,
        images: &[Image],
    ) -> Result<usize, Error> {
        let are_clean = self.scans && self.discard_written(memory, high, restored, images)?;
        let (mut done, mut kept) = (0, 0);
        for run in self.runs.iter().take_while(|run| run.start < high) {
            if run.start > done && !are_clean {
                memory.discard(done, run.start - done)?;
            }
            let end = run.end.min(high);
            if let Some(bytes) = run.end.min(len).checked_sub(run.start) {
                // SAFETY: accessible pages of a memory that nobody uses; `from` has as many bytes.
                unsafe {
                    let to = memory.base().add(run.start);
                    match run.from {
                        Some(from) => to.copy_from_nonoverlapping(from, bytes),
                        None => to.write_bytes(0, bytes),
                    }
                }
            }
            kept += end - run.start;
            done = end;
        }
        if high > done && !are_clean {
            memory.discard(done, high - done)?;
        }
        Ok(kept)
    }

    /// Discards the holes of the first `high` bytes in which pages may have been written. Returns
    /// whether this was enough, which is so if the system's answer names all pages of the plan
    /// before `restored`.
    ///
    /// # Errors
    /// As for [`Plan::restore`].
    fn discard_written(
        &self,
        memory: &mut Reservation,
        high: usize,
        restored: usize,
        images: &[Image],
    ) -> Result<bool, Error> {
        let before = |end: usize, start: usize| end.min(restored).saturating_sub(start);
        let expected: usize = self.runs.iter().map(|r| before(r.end, r.start)).sum();
        if expected == 0 {
            return Ok(false);
        }
        let (mut runs, mut named) = (self.runs.iter().peekable(), 0);
        // Everything before this was looked at.
        let mut done = 0;
        let mut result = Ok(());
        let answered = pages::scan_again(memory.base(), high, &mut |found, is_zero| {
            if is_zero && !images.iter().any(|image| image.overlaps(&found)) {
                return;
            }
            let mut at = found.start.max(done);
            while at < found.end && result.is_ok() {
                while runs.next_if(|run| run.end <= at).is_some() {}
                let next = runs.peek().filter(|run| run.start < high);
                done = match next {
                    Some(run) if run.start <= at => {
                        let end = found.end.min(run.end);
                        named += if is_zero { 0 } else { before(end, at) };
                        end
                    }
                    _ => {
                        let end = next.map_or(high, |run| run.start);
                        result = memory.discard(at, end - at);
                        end
                    }
                };
                at = done;
            }
        });
        result?;
        Ok(answered && named == expected)
    }
}

/// What was learned about one memory of the instances of an `InstancePre`.
#[derive(Debug)]
pub(crate) struct Learned {
    /// Number of the plan, which becomes larger whenever the plan changes.
    generation: AtomicU32,
    /// Resets of a slot from one sample to the next.
    interval: AtomicU32,
    /// Maximum number of bytes that a plan keeps.
    max: usize,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    plan: Arc<Plan>,
    /// Whether the system tells of all pages of a range at once.
    scans: bool,
    /// The scores by page. Later pages have the score zero.
    scores: Vec<u8>,
}

impl Learned {
    /// Nothing is known yet. Plans will keep at most `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            generation: AtomicU32::new(0),
            interval: AtomicU32::new(1),
            max,
            found: Mutex::default(),
        }
    }

    /// Maximum number of bytes that a plan keeps.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    fn ask_less(&self) {
        let interval = self.interval.load(Ordering::Relaxed);
        let next = (2 * interval).min(RAREST);
        self.interval.store(next, Ordering::Relaxed);
    }

    /// Adds a sample, which says for each page from the first one on whether it was written.
    fn add(&self, found: &mut Found, written: &[bool], images: &[Image]) {
        let pages = found.scores.len().max(written.len());
        found.scores.resize(pages, 0);
        let written = written.iter().chain(std::iter::repeat(&false));
        for (score, written) in found.scores.iter_mut().zip(written) {
            *score = if *written {
                (*score + WRITTEN).min(BEST)
            } else {
                score.saturating_sub(1)
            };
        }
        let plan = if found.scores.iter().all(|score| *score == 0) {
            Plan::default()
        } else {
            plan(&found.scores, images, self.max, found.scans)
        };
        if plan == *found.plan {
            return self.ask_less();
        }
        found.plan = Arc::new(plan);
        self.generation.fetch_add(1, Ordering::Release);
        let interval = self.interval.load(Ordering::Relaxed);
        self.interval
            .store((interval / 4).max(1), Ordering::Relaxed);
    }
}

/// The plan for pages of these scores.
fn plan(scores: &[u8], images: &[Image], max: usize, can_scan: bool) -> Plan {
    if can_scan {
        let runs = runs(scores, images, max, 1);
        let follows = |pair: &[Run]| pair[0].end == pair[1].start;
        let gaps = runs.windows(2).filter(|pair| !follows(pair)).count();
        let before = usize::from(runs.first().is_some_and(|run| run.start > 0));
        if before + gaps + 1 >= SCAN_FROM {
            return Plan { runs, scans: true };
        }
    }
    Plan {
        runs: runs(scores, images, max, SHORT_HOLE),
        scans: false,
    }
}

/// The runs of pages with a score, and of holes of fewer than `short` pages between them.
fn runs(scores: &[u8], images: &[Image], max: usize, short: usize) -> Box<[Run]> {
    let size = page_size();
    let mut runs: Vec<Run> = Vec::new();
    let mut pages = max / size;
    let mut next = 0;
    while next < scores.len() {
        let hole = scores[next..].iter().position(|score| *score > 0);
        // The last hole ends with the memory.
        let hole = hole.unwrap_or(scores.len() - next);
        let first = if hole < short { next } else { next + hole };
        next = (next + hole + 1).min(scores.len());
        for page in first..next {
            if pages == 0 {
                return runs.into();
            }
            pages -= 1;
            add_page(&mut runs, page * size, images);
        }
    }
    runs.into()
}

/// Appends the page at this offset to the list of runs.
fn add_page(runs: &mut Vec<Run>, at: usize, images: &[Image]) {
    let size = page_size();
    let from = initial(images, at).filter(|from| !is_zero(*from));
    let last = runs.last_mut().filter(|last| last.end == at);
    match (last, from) {
        (Some(last), None) if last.from.is_none() => last.end += size,
        (Some(last), Some(from))
            if last.from.is_some_and(|first| {
                first.as_ptr().wrapping_add(at - last.start) == from.as_ptr()
            }) =>
        {
            last.end += size;
        }
        (_, from) => runs.push(Run {
            start: at,
            end: at + size,
            from,
        }),
    }
}

/// The initial content of the page at an offset, if it is in an image.
fn initial(images: &[Image], at: usize) -> Option<NonNull<u8>> {
    let inside = |image: &&Image| (image.guest..image.guest + image.bytes.len()).contains(&at);
    let image = images.iter().find(inside)?;
    // SAFETY: inside of the image, which is whole pages.
    Some(unsafe { image.bytes.cast::<u8>().add(at - image.guest) })
}

/// Whether a page that is readable, and that nobody writes to now, is zero.
fn is_zero(page: NonNull<u8>) -> bool {
    // SAFETY: by the callers: a page of an image, or of a memory that nobody uses.
    let words = unsafe {
        std::slice::from_raw_parts(page.cast::<u64>().as_ptr(), page_size() / size_of::<u64>())
    };
    words.iter().all(|word| *word == 0)
}

/// Whether two such pages are equal.
fn is_same(a: NonNull<u8>, b: NonNull<u8>) -> bool {
    // SAFETY: as for `is_zero`.
    let bytes = |page: NonNull<u8>| unsafe {
        std::slice::from_raw_parts(page.as_ptr().cast_const(), page_size())
    };
    bytes(a) == bytes(b)
}

/// The plan that one memory uses, and which of its bytes are resident.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    plan: Option<Arc<Plan>>,
    generation: u32,
    /// The pages of the plan before this many bytes were restored by it the last time.
    restored: usize,
    /// Resets until the next sample.
    until_sample: u32,
    /// Nothing is resident beyond this many bytes, which are whole pages.
    high: usize,
    /// Bytes that the last reset left resident.
    kept: usize,
}

impl Keeper {
    /// Bytes that the last reset left resident.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// Notes that nothing from `end` on will be resident when the memory is used again.
    pub(super) fn cut(&mut self, end: usize) {
        self.high = self.high.min(end);
    }

    /// Restores the initial content, which is `images` and zero elsewhere. The first `len` bytes
    /// are accessible. Without `learned`, nothing stays resident.
    ///
    /// # Errors
    /// The system's; the memory must not be used any more then.
    ///
    /// # Safety
    /// Nobody uses the memory now, and `learned` is about memories with the same images.
    pub(super) unsafe fn restore(
        &mut self,
        memory: &mut Reservation,
        len: usize,
        images: &[Image],
        learned: Option<&Learned>,
    ) -> Result<(), Error> {
        self.high = self.high.max(len);
        match learned.filter(|learned| learned.max > 0) {
            Some(learned) => {
                if self.until_sample == 0 {
                    self.sample(memory, len, images, learned);
                    self.until_sample = learned.interval.load(Ordering::Relaxed);
                }
                self.until_sample -= 1;
                self.renew(learned);
            }
            None => self.set_plan(None),
        }
        let nothing = Plan::default();
        let plan = self.plan.as_deref().unwrap_or(&nothing);
        // SAFETY: by this function's contract.
        self.kept =
            unsafe { plan.restore(memory, len, self.high, self.restored.min(len), images)? };
        self.restored = len;
        self.high = plan.runs.last().map_or(0, |run| run.end).min(self.high);
        Ok(())
    }

    /// Gives all pages back to the system: the memory has its initial content again.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn discard(&mut self, memory: &mut Reservation) -> Result<(), Error> {
        if self.high > 0 {
            memory.discard(0, self.high)?;
        }
        (self.high, self.kept, self.restored) = (0, 0, 0);
        Ok(())
    }

    /// Takes the latest plan, unless another thread is just changing it.
    fn renew(&mut self, learned: &Learned) {
        if self.generation != learned.generation.load(Ordering::Acquire)
            && let Ok(found) = learned.found.try_lock()
        {
            self.generation = learned.generation.load(Ordering::Acquire);
            self.set_plan(Some(Arc::clone(&found.plan)));
        }
    }

    fn set_plan(&mut self, plan: Option<Arc<Plan>>) {
        self.plan = plan;
        self.restored = 0;
    }

    /// Finds out what was written, if the system can tell and no other thread is just doing so.
    fn sample(&self, memory: &Reservation, len: usize, images: &[Image], learned: &Learned) {
        let (size, base) = (page_size(), memory.base());
        let len = len.min(MAX_LEARNED);
        let Ok(mut found) = learned.found.try_lock() else {
            return;
        };
        let mut written = vec![false; len / size];
        // SAFETY: accessible pages of the memory.
        let page = |page: usize| unsafe { base.add(page * size) };
        let differs = |number: usize| match initial(images, number * size) {
            Some(from) => !is_same(page(number), from),
            None => !is_zero(page(number)),
        };
        let numbers = |bytes: Range<usize>| bytes.start / size..bytes.end / size;
        let answer = pages::own(base, len, &mut |range, huge| {
            for number in numbers(range) {
                written[number] = !huge || differs(number);
            }
        });
        if answer == Answer::None {
            learned.ask_less();
            return;
        }
        found.scans = answer == Answer::Scan;
        // Kept pages are always the process's own.
        for run in self.plan.iter().flat_map(|plan| &plan.runs) {
            for number in numbers(run.start.min(len)..run.end.min(len)) {
                written[number] = differs(number);
            }
        }
        learned.add(&mut found, &written, images);
    }
}

#[cfg(test)]
mod tests;
