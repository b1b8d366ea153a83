//! Operations for which some CPUs have no instruction, see [`LibCall`].

use precast_artifact::LibCall;

/// Address of a library call; `None` for a call that this loader does not have.
pub(crate) fn address(call: LibCall) -> Option<usize> {
    Some(match call {
        LibCall::FmaF32 => fma_f32 as *const () as usize,
        LibCall::FmaF64 => fma_f64 as *const () as usize,
        #[cfg(target_arch = "x86_64")]
        LibCall::X86Pshufb => crate::arch::pshufb as *const () as usize,
        _ => return None,
    })
}

extern "C" fn fma_f32(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

extern "C" fn fma_f64(a: f64, b: f64, c: f64) -> f64 {
    a.mul_add(b, c)
}
