//! Where the current thread's stack ends.
//!
//! ```text
//!   low           floor                       sp            high
//!    | HOST_RESERVE |  wasm code may use this  |  in use      |
//! ```
//!
//! Found out once per thread, when wasm code is entered on it first. A thread that pthread made has
//! a stack of fixed size, which pthread knows. The initial thread's stack grows down on demand, as far
//! as its resource limit and other mappings allow at that moment; so it is made to grow before wasm
//! code is entered, and again when that is from deeper in the host: what the kernel has given it does
//! not take back, whatever limit is set later.
//!
//! glibc would find the initial stack by reading `/proc/self/maps`, which costs more than everything
//! else at startup, so it is asked only if there is no resource limit. The kernel puts the name of the
//! executable at the very start of that stack, before environment and arguments, and tells where. A
//! child that another thread forked has one thread too, but on that other thread's stack, as the
//! stack pointer shows.
//!
//! A stack that the program made itself (a coroutine's) is unknown. The configured limit alone holds
//! there, see [`Config::max_wasm_stack`](crate::Config::max_wasm_stack).

use std::cell::Cell;
use std::ops::Range;

use precast_artifact::abi::MACHINE_RESERVE;

use crate::arch;
use crate::sys::map::page_size;

/// Stack that is left for host functions, builtins and signal handlers below the lowest address
/// that wasm code may use, in bytes.
pub(crate) const HOST_RESERVE: usize = 256 << 10;

// Machine code may have taken its share when a host function or builtin starts, and again when the host
// function enters wasm code; half of the rest is the host function's.
const _: () = assert!(2 * MACHINE_RESERVE + (64 << 10) <= HOST_RESERVE);

/// How much further than needed the initial thread's stack is made to grow, so that entering wasm code
/// a little deeper in the host needs no system call.
const AHEAD: usize = 1 << 20;

/// Bytes of address space that the kernel leaves to the initial thread's stack, whatever its limit.
const KEPT_FREE: usize = 128 << 20;

thread_local! {
    /// Lowest address that wasm code may use on this thread's stack; `usize::MAX`: not asked yet.
    static FLOOR: Cell<usize> = const { Cell::new(usize::MAX) };
    /// The stack that the system made for this thread: from its lowest usable address, or the
    /// lowest that it may grow to, to its end.
    static RANGE: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// The limit for wasm code that is entered now and may use `most` bytes of stack. `None`: the host has
/// used so much that code cannot be entered at all, since it takes up to [`MACHINE_RESERVE`] bytes
/// before it looks at the limit.
#[inline]
pub(crate) fn limit(most: usize) -> Option<usize> {
    let sp = arch::stack_pointer();
    let by_config = sp.saturating_sub(most);
    if by_config >= FLOOR.get() {
        Some(by_config)
    } else {
        limit_near_floor(sp, by_config)
    }
}

/// Whether code with this limit, that of an activation around the present one, can be entered again.
pub(crate) fn has_room(limit: usize) -> bool {
    arch::stack_pointer() >= limit.saturating_sub(HOST_RESERVE - MACHINE_RESERVE)
}

/// The stack that the system made for this thread, if wasm code was entered on the thread before.
pub(crate) fn range() -> Range<usize> {
    let (low, high) = RANGE.get();
    low..high
}

#[cold]
#[inline(never)]
fn limit_near_floor(sp: usize, by_config: usize) -> Option<usize> {
    if FLOOR.get() == usize::MAX {
        find(sp);
    }
    if !range().contains(&sp) {
        return Some(by_config);
    }
    // Where the stack ends that there is now: higher than `low` only if it may still grow.
    let end = FLOOR.get() - HOST_RESERVE;
    if by_config < FLOOR.get() && range().start < end {
        grow(sp, by_config.saturating_sub(HOST_RESERVE + AHEAD), end);
    }
    has_room(FLOOR.get()).then(|| by_config.max(FLOOR.get()))
}

/// Finds the stack of this thread.
fn find(sp: usize) {
    // SAFETY: no preconditions.
    let may_grow = unsafe { libc::getpid() == libc::gettid() };
    let initial = if may_grow { initial_stack(sp) } else { None };
    let range = initial.or_else(thread_stack).unwrap_or(0..0);
    RANGE.set((range.start, range.end));
    // Nothing is known to be there of one that may grow, until it is asked for.
    let end = if may_grow { range.end } else { range.start };
    FLOOR.set(end + HOST_RESERVE);
}

/// Makes the stack that ends at `end` grow down to `target`, or as far as the kernel lets it.
fn grow(sp: usize, target: usize, end: usize) {
    let (low, high) = RANGE.get();
    let mut target = target.max(low);
    if target < end && !can_grow_to(target) {
        // The limit may be a lower one by now.
        let now = initial_stack(sp);
        target = now.as_ref().map_or(target, |now| now.start.max(low));
        // Below a stack of such a size nothing is mapped, so that a refusal is no answer: programs
        // like Valgrind's make stacks grow themselves, and know of no growth by a system call.
        let is_kept_free = now.is_some_and(|now| now.len() <= KEPT_FREE);
        // Else half the way again and again. The last try is a page that is in use.
        while target < end && !can_grow_to(target) && !is_kept_free {
            target = (target + ((sp - target) / 2).max(page_size())).min(sp);
        }
        // Nothing further down is asked for later.
        RANGE.set((target.min(end), high));
    }
    FLOOR.set(target.min(end) + HOST_RESERVE);
}

/// Makes the stack grow to an address, and tells whether it could.
///
/// The kernel is asked to read from there, so nothing is written, and a refusal is no signal: whether
/// to wait for a word there, which it is not to wait for.
fn can_grow_to(address: usize) -> bool {
    let word = address.next_multiple_of(4);
    let (wait, expected) = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 1);
    let no_time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call only reads the word and the time.
    let done = unsafe { libc::syscall(libc::SYS_futex, word, wait, expected, &raw const no_time) };
    done == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
}

/// The initial thread's stack as far as it may grow, if `sp` is in it.
fn initial_stack(sp: usize) -> Option<Range<usize>> {
    // SAFETY: no preconditions.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) } as usize;
    // SAFETY: zero is a valid rlimit, and the call only writes to it.
    let mut stack: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut stack) };
    if name == 0 || asked != 0 || stack.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    // The name has at most PATH_MAX bytes and is all there is between its start and the stack's.
    let high = (name + libc::PATH_MAX as usize).next_multiple_of(page_size());
    let size = usize::try_from(stack.rlim_cur).unwrap_or(usize::MAX);
    let range = high.saturating_sub(size)..high;
    range.contains(&sp).then_some(range)
}

/// This thread's stack by pthread, without its guard.
fn thread_stack() -> Option<Range<usize>> {
    // SAFETY: the attributes are initialised by pthread_getattr_np before they are read, and
    // destroyed once.
    unsafe {
        let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let (mut low, mut size, mut guard) = (std::ptr::null_mut(), 0, 0);
        let found = libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size) == 0
            && libc::pthread_attr_getguardsize(attributes.as_ptr(), &mut guard) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        let low = low as usize;
        found.then_some(low + guard..low + size)
    }
}
