//! The values of globals, wherever they are.

use std::ptr::NonNull;

use precast_artifact::vm::ValRaw;

use crate::types::{GlobalType, ValType};

/// The first byte of the value of a global, which [`read_global`] and [`write_global`] know the
/// size of.
#[derive(Debug)]
pub(crate) struct GlobalValue(#[expect(dead_code, reason = "only its address is used")] u8);

/// The value of a global that the host made.
#[derive(Debug)]
pub(crate) struct HostGlobal {
    pub(crate) value: ValRaw,
    pub(crate) ty: GlobalType,
}

impl HostGlobal {
    /// Calls `visit` with the number of the external reference in it, if there is one.
    pub(crate) fn visit_externref(&self, visit: &mut impl FnMut(u64)) {
        if self.ty.content.is_kept() {
            // SAFETY: the value is of this type.
            visit(unsafe { self.value.externref });
        }
    }
}

/// Reads the value of a global, which has 16 bytes for a `v128` and 8 bytes for every other type.
///
/// # Safety
/// `at` is valid for so many bytes.
pub(crate) unsafe fn read_global(at: NonNull<u8>, ty: GlobalType) -> ValRaw {
    // SAFETY: by this function's contract.
    unsafe {
        match ty.content {
            ValType::V128 => ValRaw {
                v128: at.cast::<u128>().read_unaligned(),
            },
            _ => ValRaw {
                i64: at.cast::<i64>().read(),
            },
        }
    }
}

/// Writes the value of a global, see [`read_global`].
///
/// # Safety
/// `at` is valid for so many bytes.
pub(crate) unsafe fn write_global(at: NonNull<u8>, ty: GlobalType, value: ValRaw) {
    // SAFETY: by this function's contract.
    unsafe {
        match ty.content {
            ValType::V128 => at.cast::<u128>().write_unaligned(value.v128),
            _ => at.cast::<i64>().write(value.i64),
        }
    }
}
