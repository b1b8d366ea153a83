//! Traps and wasm backtraces.
//!
//! When an activation ends early its frames are walked at once, while they still exist, by frame
//! pointers, into a fixed array of the store (a signal handler does this: nothing is allocated).
//! Names and wasm offsets are looked up later, on the host's side.

use std::fmt;
use std::mem::MaybeUninit;

use precast_artifact::{TrapCode, shown};

use crate::store::StoreCore;

/// Most frames that a backtrace keeps: the innermost ones.
pub(crate) const MAX_FRAMES: usize = 64;

/// A trap: why wasm code stopped, and where.
#[derive(Debug, Clone)]
pub struct Trap {
    code: TrapCode,
    backtrace: WasmBacktrace,
}

impl Trap {
    pub(crate) fn new(code: TrapCode, backtrace: WasmBacktrace) -> Self {
        Self { code, backtrace }
    }

    /// Why.
    pub fn code(&self) -> TrapCode {
        self.code
    }

    /// Where: the wasm frames, innermost first.
    pub fn backtrace(&self) -> &WasmBacktrace {
        &self.backtrace
    }
}

impl From<TrapCode> for Trap {
    /// A trap that a host function raises.
    fn from(code: TrapCode) -> Self {
        Self::new(code, WasmBacktrace::default())
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wasm trap: {}{}", self.code, self.backtrace)
    }
}

impl std::error::Error for Trap {}

/// The wasm frames that were active, innermost first.
#[derive(Debug, Clone, Default)]
pub struct WasmBacktrace {
    frames: Vec<Frame>,
    truncated: bool,
}

/// A wasm frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Index of the function in its module.
    pub function: u32,
    /// Its name: from the module's name section, or made from the index. It is as the module has it,
    /// whatever characters that may be; what displays a backtrace shows them as [`shown`] says.
    pub name: String,
    /// Offset of the instruction in the wasm module, if the artifact has address maps.
    pub wasm_offset: Option<u32>,
}

impl WasmBacktrace {
    /// The frames, innermost first.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Whether outer frames were left out because there were too many.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

impl fmt::Display for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.frames.is_empty() {
            return Ok(());
        }
        f.write_str("\nwasm backtrace, innermost first:")?;
        for (i, frame) in self.frames.iter().enumerate() {
            write!(f, "\n{i:>4}: ")?;
            match frame.wasm_offset {
                Some(offset) => write!(f, "{offset:#8x} ")?,
                None => f.write_str("       ? ")?,
            }
            write!(f, "{}", shown(&frame.name))?;
        }
        if self.truncated {
            f.write_str("\n      ...")?;
        }
        Ok(())
    }
}

/// Addresses inside wasm code, innermost frame first.
pub(crate) struct RawFrames {
    pcs: [MaybeUninit<usize>; MAX_FRAMES],
    len: usize,
    truncated: bool,
    /// Whether the innermost address is that of the trapping instruction itself, not a return
    /// address.
    exact: bool,
}

impl RawFrames {
    pub(crate) const EMPTY: Self = Self {
        pcs: [MaybeUninit::uninit(); MAX_FRAMES],
        len: 0,
        truncated: false,
        exact: false,
    };

    /// Walks the frames from `pc` and `fp` to the entry trampoline whose frame pointer is
    /// `entry_fp`. Allocates nothing.
    ///
    /// # Safety
    /// `fp` is the frame pointer of the wasm function that contains `pc` (a return address unless
    /// `exact`), and the chain of frame pointers from there on reaches `entry_fp`. Machine code of artifacts keeps frame pointers
    /// everywhere.
    pub(crate) unsafe fn walk(&mut self, pc: usize, fp: usize, entry_fp: usize, exact: bool) {
        (self.len, self.truncated, self.exact) = (0, false, exact);
        let (mut pc, mut fp) = (pc, fp);
        // Frames grow towards higher addresses; anything else is the end of the chain.
        while fp < entry_fp && fp != 0 {
            if self.len == MAX_FRAMES {
                self.truncated = true;
                return;
            }
            self.pcs[self.len].write(pc);
            self.len += 1;
            // SAFETY: by this function's contract `fp` is a frame: it starts with the caller's
            // frame pointer, and both targets put the return address behind that.
            unsafe {
                pc = *((fp + 8) as *const usize);
                fp = *(fp as *const usize);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Looks up what people want to read.
    pub(crate) fn resolve(&self, core: &StoreCore) -> WasmBacktrace {
        let mut frames = Vec::with_capacity(self.len);
        for (i, pc) in self.pcs[..self.len].iter().enumerate() {
            // SAFETY: `walk` wrote the first `len`.
            let pc = unsafe { pc.assume_init() };
            // A return address may be the first byte of the next function.
            let pc = if i == 0 && self.exact { pc } else { pc - 1 };
            if let Some(frame) = core.module_at(pc).and_then(|m| m.frame_at(pc)) {
                frames.push(frame);
            }
        }
        WasmBacktrace {
            frames,
            truncated: self.truncated,
        }
    }
}
