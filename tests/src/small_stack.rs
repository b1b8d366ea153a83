//! Threads with a stack of an exact size.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

type Run = Box<dyn FnOnce() + Send>;

/// Bytes without access below the stack.
const GUARD: usize = 64 << 10;

/// Runs on a thread whose stack has exactly this many bytes, with some without access below it.
/// (The standard library and the C library may give a thread a stack that is larger.)
///
/// # Panics
/// If the thread cannot be started, or panics.
pub fn on_stack_of(size: usize, run: impl FnOnce() + Send + 'static) {
    extern "C" fn start(run: *mut c_void) -> *mut c_void {
        // SAFETY: the pointer is that of the box below, which nobody else uses.
        let run = unsafe { Box::from_raw(run.cast::<Run>()) };
        let passed = catch_unwind(AssertUnwindSafe(run)).is_ok();
        usize::from(passed) as *mut c_void
    }
    let run: Run = Box::new(run);
    let run = Box::into_raw(Box::new(run)).cast();
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the mapping is new, and is the stack of a thread that has ended when it is unmapped.
    unsafe {
        let base = libc::mmap(null_mut(), GUARD + size, libc::PROT_NONE, flags, -1, 0);
        assert_ne!(base, libc::MAP_FAILED, "room for a stack");
        let low = base.byte_add(GUARD);
        assert_eq!(libc::mprotect(low, size, access), 0);
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        assert_eq!(libc::pthread_attr_init(&mut attributes), 0);
        let set = libc::pthread_attr_setstack(&mut attributes, low, size);
        assert_eq!(set, 0, "a stack of {size} bytes");
        let mut thread = std::mem::zeroed();
        let started = libc::pthread_create(&mut thread, &attributes, start, run);
        assert_eq!(started, 0, "a thread starts");
        let mut passed = null_mut();
        assert_eq!(libc::pthread_join(thread, &mut passed), 0);
        libc::pthread_attr_destroy(&mut attributes);
        libc::munmap(base, GUARD + size);
        assert!(!passed.is_null(), "the thread panicked");
    }
}
