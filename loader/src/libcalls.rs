//! Operations that some CPUs have no instruction for, see [`LibCall`].

use precast_artifact::LibCall;

/// Address of a library call; `None` for one that this loader does not have.
pub(crate) fn address(call: LibCall) -> Option<usize> {
    Some(match call {
        LibCall::CeilF32 => ceil_f32 as *const () as usize,
        LibCall::CeilF64 => ceil_f64 as *const () as usize,
        LibCall::FloorF32 => floor_f32 as *const () as usize,
        LibCall::FloorF64 => floor_f64 as *const () as usize,
        LibCall::TruncF32 => trunc_f32 as *const () as usize,
        LibCall::TruncF64 => trunc_f64 as *const () as usize,
        LibCall::NearestF32 => nearest_f32 as *const () as usize,
        LibCall::NearestF64 => nearest_f64 as *const () as usize,
        LibCall::FmaF32 => fma_f32 as *const () as usize,
        LibCall::FmaF64 => fma_f64 as *const () as usize,
        #[cfg(target_arch = "x86_64")]
        LibCall::X86Pshufb => crate::arch::pshufb as *const () as usize,
        _ => return None,
    })
}

/// Rounding, with the result that WebAssembly wants for a NaN: a quiet one. The functions of `std`
/// give a signalling NaN back as it is.
macro_rules! unary {
    ($($name:ident $T:ident $Bits:ident $method:ident),* $(,)?) => {
        $(extern "C" fn $name(x: $T) -> $T {
            const QUIET: $Bits = 1 << ($T::MANTISSA_DIGITS - 2);
            if x.is_nan() { $T::from_bits(x.to_bits() | QUIET) } else { x.$method() }
        })*
    };
}

unary! {
    ceil_f32 f32 u32 ceil,
    ceil_f64 f64 u64 ceil,
    floor_f32 f32 u32 floor,
    floor_f64 f64 u64 floor,
    trunc_f32 f32 u32 trunc,
    trunc_f64 f64 u64 trunc,
    nearest_f32 f32 u32 round_ties_even,
    nearest_f64 f64 u64 round_ties_even,
}

extern "C" fn fma_f32(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

extern "C" fn fma_f64(a: f64, b: f64, c: f64) -> f64 {
    a.mul_add(b, c)
}
