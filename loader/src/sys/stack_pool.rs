//! Stacks for calls that can be suspended, kept for reuse.
//!
//! ```text
//!   low                                                                high
//!    | GUARD: no access | HOST_RESERVE |  wasm code may use this  | head |
//! ```
//!
//! The head is what the loader knows of the stack, so that a [`Stack`] is one pointer.
//!
//! Wasm code compares with its limit and never comes near the guard. The guard is for host
//! functions that use more than the reserve: the process ends then, as when a thread overflows its
//! stack.
//!
//! A stack takes memory as far as it was ever used. A thread keeps a few stacks as they are, for
//! the next calls. All others give their memory back, except for the topmost [`WARM`] bytes, when
//! their call is over. Nothing reads what an earlier call has left there: machine code and Rust
//! read only what they have written.
//!
//! No thread waits for the stacks that all threads share: a thread that finds them locked makes a
//! stack, or unmaps one.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Mutex;

use super::map::{Reservation, whole_pages};
use super::stack::HOST_RESERVE;
use crate::error::Error;
use crate::lock::lock_if_free;

/// Bytes without access below each stack. Few host functions have a frame that is larger, and could
/// skip the guard.
const GUARD: usize = 64 << 10;

/// Minimum size of a stack, in bytes.
const MIN: usize = HOST_RESERVE + (64 << 10);

/// Maximum size of a stack, in bytes: more than any system has, and so small that sums of sizes do
/// not overflow.
const MAX: usize = 1 << 48;

/// Bytes of a stack that stay resident while it is not used.
const WARM: usize = 32 << 10;

/// Maximum number of stacks that a thread keeps as they are.
const PER_THREAD: usize = 4;

/// The stacks that no thread keeps.
static POOL: Mutex<Vec<Stack>> = Mutex::new(Vec::new());

thread_local! {
    static OWN: RefCell<Vec<Stack>> = const { RefCell::new(Vec::new()) };
}

/// The size and the number of the stacks of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StackSettings {
    /// Bytes of address space of each stack.
    len: usize,
    /// How many stacks are kept for reuse.
    pub(crate) kept: usize,
}

impl StackSettings {
    /// Stacks of at least `bytes` bytes, of which `kept` are kept.
    pub(crate) fn new(bytes: usize, kept: usize) -> Self {
        let len = whole_pages(bytes.clamp(MIN, MAX) + size_of::<Head>()) + GUARD;
        Self { len, kept }
    }

    pub(crate) fn set_bytes(&mut self, bytes: usize) {
        *self = Self::new(bytes, self.kept);
    }
}

/// What is at the very top of a stack.
#[repr(align(16))]
struct Head {
    /// The address space of the stack, of which the head is a part.
    map: Reservation,
}

/// A stack for one call at a time.
#[derive(Debug)]
pub(crate) struct Stack(NonNull<Head>);

// SAFETY: plain memory that belongs to this value alone.
unsafe impl Send for Stack {}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: written when the stack was made, and nobody uses it after this. The head moves
        // out of the stack before its drop unmaps the stack.
        drop(unsafe { self.0.read() });
    }
}

impl Stack {
    /// A stack that was used before, or a new one.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn take(settings: StackSettings) -> Result<Self, Error> {
        let len = settings.len;
        let own = OWN.try_with(|own| find(&mut own.borrow_mut(), len));
        if let Some(stack) = own.ok().flatten() {
            return Ok(stack);
        }
        take_from(&POOL, len).map_or_else(|| Self::new(len), Ok)
    }

    fn new(len: usize) -> Result<Self, Error> {
        let mut map = Reservation::new(len)?;
        map.commit(GUARD, len - GUARD)?;
        map.refuse_huge_pages();
        // SAFETY: the topmost bytes of the reservation, which are accessible, aligned, and used for
        // nothing else.
        unsafe {
            let head = map.base().add(len - size_of::<Head>()).cast::<Head>();
            head.write(Head { map });
            Ok(Self(head))
        }
    }

    /// The address space.
    fn map(&self) -> &Reservation {
        // SAFETY: written when the stack was made, and never changed through another pointer.
        unsafe { &self.0.as_ref().map }
    }

    /// The addresses that the stack may use.
    pub(crate) fn range(&self) -> Range<usize> {
        let low = self.map().base().as_ptr() as usize;
        low + GUARD..self.0.as_ptr() as usize
    }

    /// Keeps the stack for later calls, if not too many are kept. Nothing uses it any more.
    pub(crate) fn park(self, kept: usize) {
        let mut rest = Some(self);
        let park = |own: &RefCell<Vec<Self>>| {
            rest = rest
                .take()
                .and_then(|stack| add(&mut own.borrow_mut(), PER_THREAD.min(kept), stack));
        };
        // While the thread ends, its own list is gone. The stack can go into the pool then.
        OWN.try_with(park).unwrap_or_default();
        let Some(mut this) = rest else {
            return;
        };
        // SAFETY: as for `map`; the head is above what is discarded.
        let map = unsafe { &mut this.0.as_mut().map };
        let cold = map.len() - GUARD - WARM;
        if kept > PER_THREAD && map.discard(GUARD, cold).is_ok() {
            // A stack that is left over is unmapped after the lock is released.
            drop(add_to(&POOL, kept - PER_THREAD, this));
        }
    }
}

/// Takes a stack of this size out of a pool, unless another thread keeps the pool locked.
fn take_from(pool: &Mutex<Vec<Stack>>, len: usize) -> Option<Stack> {
    let mut pool = lock_if_free(|| pool.try_lock())?;
    find(&mut pool, len)
}

/// Adds a stack to a pool of at most `max`, and returns the one that has no place there.
fn add_to(pool: &Mutex<Vec<Stack>>, max: usize, stack: Stack) -> Option<Stack> {
    match lock_if_free(|| pool.try_lock()) {
        Some(mut pool) => add(&mut pool, max, stack),
        None => Some(stack),
    }
}

/// Adds a stack to a list of at most `max`, and returns the one that has no place there. If the
/// list is full, that is a stack of another size, if there is one: nobody may want such stacks any
/// more, and they would keep their places for ever.
fn add(stacks: &mut Vec<Stack>, max: usize, stack: Stack) -> Option<Stack> {
    match stacks.len().cmp(&max) {
        Ordering::Less => {
            stacks.push(stack);
            None
        }
        Ordering::Equal => {
            let is_other = |other: &Stack| other.map().len() != stack.map().len();
            match stacks.iter().position(is_other) {
                Some(other) => Some(std::mem::replace(&mut stacks[other], stack)),
                None => Some(stack),
            }
        }
        // Another engine keeps more.
        Ordering::Greater => Some(stack),
    }
}

/// Takes a stack of this size out of a list.
fn find(stacks: &mut Vec<Stack>, len: usize) -> Option<Stack> {
    let found = stacks.iter().rposition(|stack| stack.map().len() == len)?;
    Some(stacks.swap_remove(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::map::page_size;

    #[test]
    fn a_stack_is_used_again_and_has_a_guard() {
        let take = |bytes| Stack::take(StackSettings::new(bytes, 16)).unwrap();
        let stack = take(1 << 20);
        let range = stack.range();
        assert!((1 << 20..(1 << 20) + page_size()).contains(&range.len()));
        assert!(range.end.is_multiple_of(16));
        stack.park(16);
        let again = take(1 << 20);
        assert_eq!(again.range(), range);
        // A stack of another size is not the same one.
        let other = take(0);
        assert!((MIN..MIN + page_size()).contains(&other.range().len()));
        assert_ne!(other.range().end, range.end);
        again.park(0);
        other.park(0);
    }

    #[test]
    fn stacks_of_a_size_that_nobody_wants_make_room() {
        // A thread of its own: other tests may have left stacks on this one.
        let check = || {
            let take = |bytes| Stack::take(StackSettings::new(bytes, 4)).unwrap();
            let all: Vec<_> = (0..PER_THREAD).map(|_| take(5 << 20)).collect();
            all.into_iter().for_each(|stack| stack.park(4));
            let stack = take(6 << 20);
            let range = stack.range();
            stack.park(4);
            OWN.with_borrow(|own| assert_eq!(own.len(), PER_THREAD));
            assert_eq!(take(6 << 20).range(), range);
        };
        std::thread::spawn(check).join().unwrap();
    }

    /// As in a child process whose parent forked while another thread held the lock.
    #[test]
    fn nobody_waits_for_a_pool_that_stays_locked() {
        let pool = Mutex::new(Vec::new());
        let stack = Stack::new(1 << 20).unwrap();
        let base = stack.range();
        let held = pool.lock().unwrap();
        let stack = add_to(&pool, 10, stack).expect("it is not kept");
        assert!(take_from(&pool, 1 << 20).is_none());
        drop(held);
        assert!(add_to(&pool, 10, stack).is_none());
        assert_eq!(take_from(&pool, 1 << 20).unwrap().range(), base);
    }

    #[test]
    fn a_stack_in_the_pool_has_given_its_memory_back() {
        let take = |_| Stack::take(StackSettings::new(3 << 20, 100)).unwrap();
        let stacks: Vec<_> = (0..=PER_THREAD).map(take).collect();
        for stack in &stacks {
            // SAFETY: the lowest word of a stack that nobody uses.
            unsafe { (stack.range().start as *mut u64).write(7) };
        }
        for stack in stacks {
            stack.park(100);
        }
        let words = (0..=PER_THREAD).map(take);
        // SAFETY: as above.
        let words = words.map(|stack| unsafe { (stack.range().start as *const u64).read() });
        assert_eq!(words.filter(|word| *word == 0).count(), 1);
    }
}
