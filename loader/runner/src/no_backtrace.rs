//! Keeps what unwinds stacks, and what reads debug information, out of the runner.
//!
//! A panic of the runner ends it (`panic = "abort"`), and it has no symbols that a backtrace could
//! show. The standard library prints one all the same if `RUST_BACKTRACE` is set, and brings a
//! reader of DWARF, a decompressor and a demangler for it, which are a quarter of a runner. All of
//! them are reached from frames that [`_Unwind_Backtrace`] reports. Here it reports none, so link
//! time optimisation finds that nothing calls them. Panics print their message and their place as
//! ever. Backtraces of the guest are the loader's, which walks frames by itself.
//!
//! The other functions of this interface (that of the Itanium C++ ABI) are called only while a
//! stack is unwound, so they are never reached. They are defined because a linker takes the library
//! of all of them for any that is missing.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`: there are no more frames.
const END_OF_STACK: c_int = 5;

/// Calls `report` for each frame of the stack: for none.
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
