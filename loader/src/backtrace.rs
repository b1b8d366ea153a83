//! Backtraces of wasm code.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use precast_artifact::shown;

/// Maximum number of bytes of a name in a backtrace.
pub(crate) const MAX_NAME: usize = 4096;

/// A mapped artifact as frames hold it. The layer above implements this, see
/// [`vm::module`](crate::vm).
pub(crate) trait FrameModule: Any + Send + Sync + fmt::Debug {
    /// The name of the module, from its name section.
    fn name(&self) -> Option<&str>;
}

/// The wasm frames that were active in a store, innermost first.
///
/// These are the frames of all calls of the host into the store that were active, not only of the
/// innermost call. [`FrameInfo::is_called_by_host`] tells where one of these calls began.
///
/// ```
/// use precast_loader::Error;
///
/// fn innermost_function(error: &Error) -> Option<&str> {
///     error.backtrace()?.frames().first()?.func_name()
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct WasmBacktrace {
    pub(crate) frames: Vec<FrameInfo>,
    pub(crate) truncated: bool,
    pub(crate) fault: Option<MemoryFault>,
}

/// An access to a linear memory that was out of bounds, see [`Error::memory_fault`].
///
/// [`Error::memory_fault`]: crate::Error::memory_fault
///
/// ```
/// use precast_loader::{Error, MemoryFault};
///
/// /// How far behind the end of its memory a guest has read or written.
/// fn distance(error: &Error) -> Option<u64> {
///     let MemoryFault { address, size, .. } = error.memory_fault()?;
///     address.checked_sub(size)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryFault {
    /// The first address in the memory that the access could not reach, with the offset of the
    /// instruction. So an access of several bytes may have begun before it.
    pub address: u64,
    /// How many bytes the memory had.
    pub size: u64,
}

impl fmt::Display for MemoryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, size } = self;
        write!(
            f,
            "memory fault at address {address:#x} of a memory of {size:#x} bytes"
        )
    }
}

/// A wasm frame.
///
/// A frame keeps the mapping of its module.
///
/// ```
/// use precast_loader::FrameInfo;
///
/// /// Where the frame is, as `wasm-objdump` counts.
/// fn place(frame: &FrameInfo) -> String {
///     match frame.module_offset() {
///         Some(offset) => format!("func[{}] at {offset:#x}", frame.func_index()),
///         None => format!("func[{}]", frame.func_index()),
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct FrameInfo {
    pub(crate) function: u32,
    pub(crate) name: String,
    pub(crate) wasm_offset: Option<u32>,
    pub(crate) by_host: bool,
    pub(crate) module: Arc<dyn FrameModule>,
}

impl FrameInfo {
    /// Index of the function in its module.
    pub fn func_index(&self) -> u32 {
        self.function
    }

    /// The name of the function, from the module's name section or made from the index; `None` if
    /// the artifact has no names. The name is kept as it is in the module and may contain any
    /// characters; its first 4096 bytes are kept. A displayed backtrace shows them as [`shown`]
    /// does.
    pub fn func_name(&self) -> Option<&str> {
        (!self.name.is_empty()).then_some(&*self.name)
    }

    /// Offset of the instruction in the wasm module, if the artifact has address maps.
    pub fn module_offset(&self) -> Option<usize> {
        Some(self.wasm_offset? as usize)
    }

    /// The name of the module, from its name section; the first 4096 bytes.
    pub fn module_name(&self) -> Option<&str> {
        self.module.name()
    }

    /// Whether the host called the function. The frame after this one, if there is any, is of the
    /// wasm code that had called that host function.
    pub fn is_called_by_host(&self) -> bool {
        self.by_host
    }
}

impl WasmBacktrace {
    /// The frames, innermost first.
    pub fn frames(&self) -> &[FrameInfo] {
        &self.frames
    }

    /// Whether outer frames were left out because there were too many.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

impl fmt::Display for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fault) = self.fault {
            write!(f, "\n{fault}")?;
        }
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
            if let Some(module) = frame.module_name() {
                write!(f, "{}!", shown(module))?;
            }
            write!(f, "{}", shown(&frame.name))?;
            if frame.by_host && i + 1 < self.frames.len() {
                f.write_str("\n      (host)")?;
            }
        }
        if self.truncated {
            f.write_str("\n      ...")?;
        }
        Ok(())
    }
}
