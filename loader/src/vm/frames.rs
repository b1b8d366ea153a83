//! The frames that are active in a store, which backtraces show.
//!
//! When an activation ends early, the loader walks its frames, and those of the activations around
//! it, at once, while they still exist. It follows the frame pointers and writes the addresses to
//! an array of the store. A signal handler does this, so nothing is allocated. The host looks up
//! names and wasm offsets later.

use std::mem::MaybeUninit;

use super::edges::SavedActivation;
#[cfg(feature = "async")]
use super::fibers::Fiber;
use crate::backtrace::{FrameInfo, WasmBacktrace};

/// Maximum number of frames in a backtrace, which has the innermost ones.
pub(crate) const MAX_FRAMES: usize = 64;

const _: () = assert!(MAX_FRAMES <= u64::BITS as usize, "a bit for each frame");

/// Addresses inside wasm code, innermost frame first.
pub(crate) struct RawFrames {
    pcs: [MaybeUninit<usize>; MAX_FRAMES],
    len: u32,
    truncated: bool,
    /// Whether the innermost address is that of the trapping instruction, and not a return address.
    exact: bool,
    /// A bit for each frame, which is set if the host called the function.
    by_host: u64,
    /// The reference of the exception that was thrown there, else zero.
    pub(crate) exnref: u64,
}

impl RawFrames {
    pub(crate) const EMPTY: Self = Self {
        pcs: [MaybeUninit::uninit(); MAX_FRAMES],
        len: 0,
        truncated: false,
        exact: false,
        by_host: 0,
        exnref: 0,
    };

    /// Walks the frames from `pc` and `fp` to the entry trampoline whose frame pointer is
    /// `entry_fp`, and those of the activations `around` this one. Allocates nothing.
    ///
    /// # Safety
    /// `fp` is the frame pointer of the wasm function that contains `pc` (a return address unless
    /// `exact`), and the chain of frame pointers from there on reaches `entry_fp`. Machine code of
    /// artifacts keeps frame pointers everywhere. The activations `around` are not over.
    pub(crate) unsafe fn walk(
        &mut self,
        pc: usize,
        fp: usize,
        entry_fp: usize,
        exact: bool,
        around: Around,
    ) {
        (self.len, self.truncated, self.exact) = (0, false, exact);
        (self.by_host, self.exnref) = (0, 0);
        // SAFETY: by this function's contract.
        unsafe {
            self.walk_activation(pc, fp, entry_fp);
            self.walk_around(around);
        }
    }

    /// Adds the frames of these activations.
    ///
    /// # Safety
    /// The activations are not over.
    pub(crate) unsafe fn walk_around(&mut self, around: Around) {
        for saved in around {
            if self.truncated {
                return;
            }
            // SAFETY: by this function's contract; each activation notes the edges of its frames.
            unsafe {
                let (pc, fp, entry_fp) = (*saved).frames();
                self.walk_activation(pc, fp, entry_fp);
            }
        }
    }

    /// # Safety
    /// As for [`RawFrames::walk`].
    unsafe fn walk_activation(&mut self, pc: usize, fp: usize, entry_fp: usize) {
        let before = self.len;
        let (mut pc, mut fp) = (pc, fp);
        // Outer frames are at higher addresses. Anything else ends the chain.
        while fp < entry_fp && fp != 0 {
            if self.len as usize == MAX_FRAMES {
                self.truncated = true;
                return;
            }
            self.pcs[self.len as usize].write(pc);
            self.len += 1;
            // SAFETY: by this function's contract `fp` is a frame: it starts with the caller's
            // frame pointer, and both targets put the return address behind that.
            unsafe {
                pc = *((fp + 8) as *const usize);
                fp = *(fp as *const usize);
            }
        }
        if self.len > before {
            self.by_host |= 1 << (self.len - 1);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.exnref = 0;
    }

    /// Looks up functions and offsets for people to read. `frames_at` returns the frames of an
    /// address, innermost first: several if calls are inlined there.
    pub(crate) fn resolve(&self, frames_at: impl Fn(usize) -> Vec<FrameInfo>) -> WasmBacktrace {
        let len = self.len as usize;
        let mut frames = Vec::with_capacity(len);
        let mut truncated = self.truncated;
        for (i, pc) in self.pcs[..len].iter().enumerate() {
            // SAFETY: `walk` wrote the first `len`.
            let pc = unsafe { pc.assume_init() };
            // A return address may be the first byte of the next function, so the byte before it
            // counts.
            let pc = if i == 0 && self.exact { pc } else { pc - 1 };
            let mut found = frames_at(pc);
            // The last one is the function that was called; the others are inlined into it.
            if let Some(called) = found.last_mut() {
                called.by_host = self.by_host >> i & 1 != 0;
            }
            frames.extend(found);
            // One frame of machine code can be several frames of wasm, because of inlined calls.
            if frames.len() > MAX_FRAMES || (frames.len() == MAX_FRAMES && i + 1 < len) {
                frames.truncate(MAX_FRAMES);
                truncated = true;
                break;
            }
        }
        WasmBacktrace {
            frames,
            truncated,
            fault: None,
        }
    }
}

/// The activations of a store around the innermost one, from the inside out: those on its stack,
/// then those on the stacks that run the fibers which are running.
pub(crate) struct Around {
    /// The next one on the same stack, or null.
    next: *const SavedActivation,
    /// The fiber whose stack that is, or null.
    #[cfg(feature = "async")]
    fiber: *const Fiber,
}

impl Around {
    /// The activations from `next` on, and those on the stacks around `fiber`, which is running.
    ///
    /// # Safety
    /// They are those of a store, none of which begins or ends while this is used.
    pub(super) unsafe fn new(
        next: *const SavedActivation,
        #[cfg(feature = "async")] fiber: *const Fiber,
    ) -> Self {
        Self {
            next,
            #[cfg(feature = "async")]
            fiber,
        }
    }
}

impl Iterator for Around {
    type Item = *const SavedActivation;

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: by the contract of `new`: what an activation has saved is on the stack for as
        // long as it lasts, and so is a fiber that is running.
        unsafe {
            #[cfg(feature = "async")]
            while self.next.is_null()
                && let Some(fiber) = self.fiber.as_ref()
            {
                self.next = fiber.active_elsewhere();
                self.fiber = fiber.around();
            }
            let found = self.next.as_ref()?;
            self.next = found.outer;
            Some(found)
        }
    }
}
