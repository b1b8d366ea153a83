//! Keeps the code that unwinds stacks and reads debug information out of the runner.
//!
//! A panic ends the runner (`panic = "abort"`), which has no symbols that a backtrace could show.
//! The standard library prints a backtrace all the same if `RUST_BACKTRACE` is set. For that it
//! brings a reader of DWARF, a decompressor and a demangler, which are a quarter of a runner. All
//! of them are only called for frames that [`_Unwind_Backtrace`] reports. The function below
//! reports none, so link-time optimisation removes them. Panics still print their message and
//! place. The loader makes backtraces of the guest itself.
//!
//! The other functions of this interface (that of the Itanium C++ ABI) are called only while a
//! stack is unwound, so they are never reached. They are defined because the linker would add the
//! whole unwinding library if one of them were missing.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`: there are no more frames.
const END_OF_STACK: c_int = 5;

/// Should call `report` for each frame of the stack, but reports none.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_report: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

macro_rules! unreached {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> ! {
            std::process::abort()
        }
    )*};
}

unreached! {
    _Unwind_DeleteException
    _Unwind_FindEnclosingFunction
    _Unwind_GetCFA
    _Unwind_GetDataRelBase
    _Unwind_GetIP
    _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData
    _Unwind_GetRegionStart
    _Unwind_GetTextRelBase
    _Unwind_RaiseException
    _Unwind_Resume
    _Unwind_SetGR
    _Unwind_SetIP
}
