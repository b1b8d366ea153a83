//! How an activation ends early: the reason, and the frames that were active.
//!
//! When an activation ends early, the loader walks its frames, and those of the activations around
//! it, at once, while they still exist. It follows the frame pointers and writes the addresses to
//! an array of the store. A signal handler does this, so nothing is allocated. The host looks up
//! names and wasm offsets later.

use std::any::Any;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::activation::Around;
use crate::backtrace::{FrameInfo, WasmBacktrace};
use crate::error::Error;

/// Maximum number of frames in a backtrace, which has the innermost ones.
pub(crate) const MAX_FRAMES: usize = 64;

const _: () = assert!(MAX_FRAMES <= u64::BITS as usize, "a bit for each frame");

/// Why an activation of wasm code ended early.
pub(crate) enum Ending {
    Trap(precast_artifact::TrapCode),
    /// An access out of bounds that the system caught, at this address of the host.
    Fault(usize),
    Error(Error),
    Panic(Box<dyn Any + Send>),
}

/// What `work` returns; a panic of the host's code in there is an ending as well.
pub(crate) fn caught<R>(work: impl FnOnce() -> Result<R, Ending>) -> Result<R, Ending> {
    let result = catch_unwind(AssertUnwindSafe(work));
    result.unwrap_or_else(|panic| Err(Ending::Panic(panic)))
}

/// Does something with all of them that may run code of the host, even if that panics for some. The
/// first panic continues afterwards.
pub(crate) fn for_all<V>(all: impl IntoIterator<Item = V>, mut work: impl FnMut(V)) {
    let mut first = None;
    for one in all {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(one))) {
            first.get_or_insert(panic);
        }
    }
    if let Some(panic) = first {
        resume_unwind(panic);
    }
}

impl From<precast_artifact::TrapCode> for Ending {
    fn from(code: precast_artifact::TrapCode) -> Self {
        Self::Trap(code)
    }
}

impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

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
    /// They are not over.
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
    /// address, innermost first: several if calls are compiled in there.
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
            // The last one is the function that was called; the others are compiled into it.
            if let Some(called) = found.last_mut() {
                called.by_host = self.by_host >> i & 1 != 0;
            }
            frames.extend(found);
            // Calls that are compiled in make several frames of one.
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
