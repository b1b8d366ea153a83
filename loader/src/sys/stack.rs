//! Where the current thread's stack ends.
//!
//! ```text
//!   low      floor                       sp            high
//!    | reserve |  wasm code may use this  |  in use      |
//! ```
//!
//! The reserve is [`HOST_RESERVE`], but a quarter of a stack that is smaller than 1 MiB, and
//! [`MIN_RESERVE`] at least. So there is room for small guests in a stack of 256 KiB.
//!
//! The end is found once per thread, when wasm code is first entered on the thread. A thread that
//! pthread made has a stack of fixed size, which pthread knows. The stack of the initial thread
//! grows down on demand, as far as its resource limit and other mappings allow at that moment. So
//! the loader makes it grow before it enters wasm code, and again when it enters from deeper in the
//! host. The kernel takes nothing back, whatever limit is set later.
//!
//! glibc finds the initial stack by reading `/proc/self/maps`, which costs more than everything
//! else at startup, so the loader asks glibc only if there is no resource limit. Otherwise it uses
//! an address in the auxiliary vector: the kernel puts the name of the executable at the very start
//! of that stack, in front of environment and arguments. In a child that a thread other than the
//! initial one has forked, the only thread runs on that other thread's stack. The stack pointer
//! shows this.
//!
//! A call that can be suspended runs on a stack of its own. While it does, that stack is in a list
//! of the thread. Which of the stacks that the thread knows code runs on is seen by the stack
//! pointer, and not by what began or ended last, since the program may switch between stacks
//! itself.
//!
//! The loader does not know a stack that the program made itself, for a coroutine. Only the
//! configured limit holds there, see [`Config::max_wasm_stack`](crate::Config::max_wasm_stack).

use std::cell::Cell;
use std::ops::Range;

use precast_artifact::abi::{MACHINE_RESERVE, TRAMPOLINE_FRAME, UNCHECKED_FRAME};

use crate::arch;
use crate::sys::map::page_size;

/// Bytes of stack that are left for host functions, builtins and signal handlers below the lowest
/// address that wasm code may use.
pub(crate) const HOST_RESERVE: usize = 256 << 10;

/// Minimum of that reserve, on a small stack.
const MIN_RESERVE: usize = MACHINE_RESERVE + HOST_SHARE;

/// Bytes of stack that every host function and every builtin may use. A host function enters wasm
/// code again only if [`ENTRY_RESERVE`] bytes are left.
const HOST_SHARE: usize = 96 << 10;

/// Bytes of stack that must be left where wasm code is entered: the entry of an artifact takes its
/// frame, then a function takes one before it compares with the limit, and then a builtin raises
/// the trap. A host function that is called by its handle has no entry.
const ENTRY_RESERVE: usize = (TRAMPOLINE_FRAME + UNCHECKED_FRAME) as usize + RAISE_SHARE;

/// Bytes of stack for the code that raises a trap, with a signal's frame.
const RAISE_SHARE: usize = 16 << 10;

// When a host function or a builtin starts, machine code may have used its share of the reserve. If
// the host function enters wasm code again, the rest of the reserve must be enough for that.
const _: () = assert!(MIN_RESERVE <= HOST_RESERVE && ENTRY_RESERVE <= MIN_RESERVE);

/// Bytes by which the initial thread's stack grows beyond what is needed, so that entering wasm
/// code a little deeper in the host needs no system call.
const AHEAD: usize = 1 << 20;

/// Bytes of address space that the kernel leaves to the initial thread's stack, whatever its limit.
const KEPT_FREE: usize = 128 << 20;

thread_local! {
    /// [`FLOOR`], but `usize::MAX` while the thread runs code on further stacks.
    static ENOUGH: Cell<usize> = const { Cell::new(usize::MAX) };
    /// Lowest address that wasm code may use on this thread's stack; `usize::MAX` before the first
    /// entry.
    static FLOOR: Cell<usize> = const { Cell::new(usize::MAX) };
    /// The stack that the system made for this thread: from its lowest usable address, or the
    /// lowest that it may grow to, to its end.
    static RANGE: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    /// Bytes below the floor that are left for the host.
    static RESERVE: Cell<usize> = const { Cell::new(HOST_RESERVE) };
    /// The further stack that this thread has begun to run code on last, or null.
    #[cfg(feature = "async")]
    static FURTHER: Cell<*mut FurtherStack> = const { Cell::new(std::ptr::null_mut()) };
}

/// The reserve of a stack of `stack` bytes. 0 stands for a stack that the loader does not know.
fn reserve_of(stack: usize) -> usize {
    match stack {
        0 => HOST_RESERVE,
        stack => (stack / 4).clamp(MIN_RESERVE, HOST_RESERVE),
    }
}

/// The stack limit for wasm code that is entered now and may use `max` bytes of stack. `None` if
/// the host has used so much stack that code cannot be entered at all, since code takes up to
/// [`ENTRY_RESERVE`] bytes before it has raised a trap at the limit.
#[inline]
pub(crate) fn limit(max: usize) -> Option<usize> {
    let sp = arch::stack_pointer();
    let by_config = sp.saturating_sub(max);
    if by_config >= ENOUGH.get() {
        Some(by_config)
    } else {
        limit_near_floor(sp, by_config)
    }
}

/// Whether code can be entered once more inside of an activation with this stack limit, which is on
/// the stack that this code runs on.
pub(crate) fn has_room(limit: usize) -> bool {
    let sp = arch::stack_pointer();
    let reserve = match further_with(sp) {
        Some(_) => HOST_RESERVE,
        None => RESERVE.get(),
    };
    has_room_below(sp, limit, reserve)
}

fn has_room_below(sp: usize, limit: usize, reserve: usize) -> bool {
    sp >= limit.saturating_sub(reserve - ENTRY_RESERVE)
}

/// Whether an activation that was entered with the stack pointer `entry` is on the stack that this
/// code runs on, further up. All stacks that the loader does not know count as one.
pub(crate) fn is_this(entry: usize) -> bool {
    let sp = arch::stack_pointer();
    sp <= entry && stack_with(entry) == stack_with(sp)
}

/// The stack that `address` is on, if this thread runs code on it and the loader knows it.
pub(crate) fn stack_with(address: usize) -> Option<Range<usize>> {
    if let Some(further) = further_with(address) {
        return Some(further);
    }
    if FLOOR.get() == usize::MAX {
        find(arch::stack_pointer());
    }
    Some(own()).filter(|own| own.contains(&address))
}

/// The stack that the system made for this thread, if wasm code was entered on the thread before.
fn own() -> Range<usize> {
    let (low, high) = RANGE.get();
    low..high
}

#[cfg(not(feature = "async"))]
fn further_with(_: usize) -> Option<Range<usize>> {
    None
}

/// The further stack of this thread that `address` is on.
#[cfg(feature = "async")]
fn further_with(address: usize) -> Option<Range<usize>> {
    let mut next = FURTHER.get();
    // SAFETY: a stack is in the list only as long as it is there, see `FurtherStack::enter`, and
    // the list changes on this thread only.
    while let Some(stack) = unsafe { next.as_ref() } {
        if stack.range.contains(&address) {
            return Some(stack.range.clone());
        }
        next = stack.older;
    }
    None
}

/// A stack of fixed size that is not the thread's own, while the thread runs code on it.
#[cfg(feature = "async")]
pub(crate) struct FurtherStack {
    range: Range<usize>,
    newer: *mut FurtherStack,
    older: *mut FurtherStack,
}

#[cfg(feature = "async")]
impl FurtherStack {
    pub(crate) fn new(range: Range<usize>) -> Self {
        let (newer, older) = (std::ptr::null_mut(), std::ptr::null_mut());
        Self {
            range,
            newer,
            older,
        }
    }

    /// This thread begins to run code on a stack.
    ///
    /// # Safety
    /// `this` is valid, and reached by nothing else, until [`FurtherStack::leave`] is called, once
    /// and on the same thread.
    pub(crate) unsafe fn enter(this: *mut Self) {
        // SAFETY: by this function's contract, which everything in the list was put there by.
        unsafe {
            let older = FURTHER.replace(this);
            ((*this).newer, (*this).older) = (std::ptr::null_mut(), older);
            if !older.is_null() {
                (*older).newer = this;
            }
        }
        ENOUGH.set(usize::MAX);
    }

    /// This thread runs code on a stack no longer, or not for now. Stacks are left in any order.
    ///
    /// # Safety
    /// As for [`FurtherStack::enter`].
    pub(crate) unsafe fn leave(this: *mut Self) {
        // SAFETY: by the contract of `enter`.
        unsafe {
            let (newer, older) = ((*this).newer, (*this).older);
            if !older.is_null() {
                (*older).newer = newer;
            }
            if newer.is_null() {
                FURTHER.set(older);
            } else {
                (*newer).older = older;
            }
        }
        if FURTHER.get().is_null() {
            ENOUGH.set(FLOOR.get());
        }
    }
}

#[cold]
#[inline(never)]
fn limit_near_floor(sp: usize, by_config: usize) -> Option<usize> {
    if let Some(further) = further_with(sp) {
        let floor = further.start + HOST_RESERVE;
        return has_room_below(sp, floor, HOST_RESERVE).then(|| by_config.max(floor));
    }
    if FLOOR.get() == usize::MAX {
        find(sp);
    }
    if !own().contains(&sp) {
        return Some(by_config);
    }
    // The present end of the stack. It is above the start of the range only if the stack may still
    // grow.
    let reserve = RESERVE.get();
    let end = FLOOR.get() - reserve;
    if by_config < FLOOR.get() && own().start < end {
        grow(sp, by_config.saturating_sub(reserve + AHEAD), end);
    }
    has_room_below(sp, FLOOR.get(), reserve).then(|| by_config.max(FLOOR.get()))
}

/// Finds the stack of this thread.
fn find(sp: usize) {
    // SAFETY: no preconditions.
    let may_grow = unsafe { libc::getpid() == libc::gettid() };
    let initial = if may_grow { initial_stack(sp) } else { None };
    let range = initial.or_else(thread_stack).unwrap_or(0..0);
    RANGE.set((range.start, range.end));
    // The loader relies on no part of a stack that may grow until it has made it grow.
    let end = if may_grow { range.end } else { range.start };
    RESERVE.set(reserve_of(range.len()));
    set_floor(end + RESERVE.get());
}

fn set_floor(floor: usize) {
    FLOOR.set(floor);
    #[cfg(feature = "async")]
    if !FURTHER.get().is_null() {
        return;
    }
    ENOUGH.set(floor);
}

/// Makes the stack that ends at `end` grow down to `target`, or as far as the kernel lets it.
fn grow(sp: usize, target: usize, end: usize) {
    let (low, high) = RANGE.get();
    let mut target = target.max(low);
    if target < end && !can_grow_to(target) {
        // The resource limit may be lower by now.
        let now = initial_stack(sp);
        target = now.as_ref().map_or(target, |now| now.start.max(low));
        // The kernel keeps the range below a stack of this size free, so a refusal says nothing:
        // Valgrind and its like make stacks grow themselves, and do not know growth by a system
        // call.
        let is_kept_free = now.is_some_and(|now| now.len() <= KEPT_FREE);
        // Otherwise try half of the way again and again. The last try is a page that is in use.
        while target < end && !can_grow_to(target) && !is_kept_free {
            target = (target + ((sp - target) / 2).max(page_size())).min(sp);
        }
        // Later entries do not try to grow further.
        RANGE.set((target.min(end), high));
    }
    set_floor(target.min(end) + RESERVE.get());
}

/// Makes the stack grow to an address, and returns whether that was possible.
///
/// The kernel reads a word at the address, so nothing is written and a refusal is no signal: a
/// futex call compares the word and returns at once.
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

/// The stack of the initial thread, as far as it may grow, if `sp` is in it.
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
    // The name has at most PATH_MAX bytes, and nothing else is between it and the start of the
    // stack.
    let high = (name + libc::PATH_MAX as usize).next_multiple_of(page_size());
    let size = usize::try_from(stack.rlim_cur).unwrap_or(usize::MAX);
    let range = high.saturating_sub(size)..high;
    range.contains(&sp).then_some(range)
}

/// The stack of this thread as pthread knows it, without its guard.
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
