//! Where the current thread's stack ends.

use std::cell::Cell;

use crate::arch;

/// Stack that is left for host functions, builtins and signal handlers below the lowest address
/// that wasm code may use, in bytes.
pub(crate) const HOST_RESERVE: usize = 256 << 10;

thread_local! {
    /// Lowest address that wasm code may use on this thread's stack; `usize::MAX`: not asked yet.
    static FLOOR: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The limit for wasm code that is entered now and may use `most` bytes of stack.
///
/// Without knowledge of the thread's stack (a stack that the program made itself), `most` is all
/// there is to go by.
#[inline]
pub(crate) fn limit(most: usize) -> usize {
    let sp = arch::stack_pointer();
    let by_config = sp.saturating_sub(most);
    if by_config >= FLOOR.get() {
        by_config
    } else {
        limit_near_floor(sp, by_config)
    }
}

#[cold]
#[inline(never)]
fn limit_near_floor(sp: usize, by_config: usize) -> usize {
    if FLOOR.get() == usize::MAX {
        let lowest = lowest(sp).unwrap_or(1);
        FLOOR.set(lowest.saturating_add(HOST_RESERVE).min(usize::MAX - 1));
    }
    let floor = FLOOR.get();
    if sp < floor.saturating_sub(HOST_RESERVE) {
        by_config
    } else {
        by_config.max(floor)
    }
}

fn lowest(sp: usize) -> Option<usize> {
    // SAFETY: no preconditions.
    if unsafe { libc::getpid() == libc::gettid() } {
        // The main thread's stack grows on demand up to its resource limit. glibc would read
        // /proc/self/maps to find its start, which costs more than everything else at startup;
        // what lies above `sp` (arguments and environment, at most a quarter of the limit) is
        // little in a process that is not built to abuse it, and the reserve covers it.
        // SAFETY: zero is a valid rlimit, and the call only writes to it.
        let mut stack: libc::rlimit = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        if unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut stack) } != 0
            || stack.rlim_cur == libc::RLIM_INFINITY
        {
            return None;
        }
        let used_above = HOST_RESERVE / 2;
        let size = usize::try_from(stack.rlim_cur)
            .ok()?
            .saturating_sub(used_above);
        return Some(sp.saturating_sub(size));
    }
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
        found.then_some(low as usize + guard)
    }
}
