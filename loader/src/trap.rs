//! Traps and wasm backtraces.

use std::fmt;

use precast_artifact::{TrapCode, shown};

/// A trap: why wasm code stopped, and where.
///
/// ```
/// use precast_loader::{Error, TrapCode};
///
/// fn is_division_by_zero(error: &Error) -> bool {
///     error.trap().is_some_and(|trap| trap.code() == TrapCode::IntegerDivideByZero)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Trap {
    code: TrapCode,
    backtrace: WasmBacktrace,
}

impl Trap {
    pub(crate) fn new(code: TrapCode, backtrace: WasmBacktrace) -> Self {
        Self { code, backtrace }
    }

    /// The reason.
    pub fn code(&self) -> TrapCode {
        self.code
    }

    /// The wasm frames that were active, innermost first.
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
///
/// ```
/// use precast_loader::Error;
///
/// fn innermost_function(error: &Error) -> Option<&str> {
///     Some(&error.backtrace()?.frames().first()?.name)
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct WasmBacktrace {
    pub(crate) frames: Vec<Frame>,
    pub(crate) truncated: bool,
}

/// A wasm frame.
///
/// ```
/// use precast_loader::Frame;
///
/// /// Where the frame is, as `wasm-objdump` counts.
/// fn place(frame: &Frame) -> String {
///     match frame.wasm_offset {
///         Some(offset) => format!("func[{}] at {offset:#x}", frame.function),
///         None => format!("func[{}]", frame.function),
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Index of the function in its module.
    pub function: u32,
    /// The name of the function, from the module's name section or made from the index. It is as
    /// the module has it and may have any characters. A displayed backtrace shows them as [`shown`]
    /// does.
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
