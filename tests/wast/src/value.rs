//! Constants and result patterns of scripts.

use precast_loader::{ExternRef, Val};
use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

/// The argument for a constant of a script. A host reference becomes an [`ExternRef`] of the u32
/// that identifies it.
pub(crate) fn argument(arg: &WastArg<'_>) -> Result<Val, String> {
    let WastArg::Core(arg) = arg else {
        return Err("arguments of components are not supported".to_owned());
    };
    Ok(match arg {
        WastArgCore::I32(v) => Val::I32(*v),
        WastArgCore::I64(v) => Val::I64(*v),
        WastArgCore::F32(v) => Val::F32(v.bits),
        WastArgCore::F64(v) => Val::F64(v.bits),
        WastArgCore::V128(v) => Val::V128(u128::from_le_bytes(v.to_le_bytes()).into()),
        WastArgCore::RefExtern(n) => Val::ExternRef(Some(ExternRef::new(*n))),
        WastArgCore::RefNull(heap) if is_func(heap) => Val::FuncRef(None),
        WastArgCore::RefNull(heap) if is_extern(heap) => Val::ExternRef(None),
        WastArgCore::RefNull(heap) if is_exn(heap) => Val::ExnRef(None),
        WastArgCore::RefNull(_) | WastArgCore::RefHost(_) => {
            return Err(format!("arguments like {arg:?} are not supported"));
        }
    })
}

/// Compares results with the patterns of a script.
pub(crate) fn compare(found: &[Val], expected: &[WastRet<'_>]) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!(
            "found {} results, expected {}",
            found.len(),
            expected.len()
        ));
    }
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let WastRet::Core(expected) = expected else {
            return Err("results of components are not supported".to_owned());
        };
        if !matches(found, expected) {
            return Err(format!(
                "result {i}: found {found:x?}, expected {expected:x?}"
            ));
        }
    }
    Ok(())
}

fn matches(found: &Val, expected: &WastRetCore<'_>) -> bool {
    use WastRetCore as E;
    match (found, expected) {
        (_, E::Either(choices)) => choices.iter().any(|choice| matches(found, choice)),
        (Val::I32(v), E::I32(e)) => v == e,
        (Val::I64(v), E::I64(e)) => v == e,
        (Val::F32(v), E::F32(e)) => matches_f32(*v, e),
        (Val::F64(v), E::F64(e)) => matches_f64(*v, e),
        (Val::V128(v), E::V128(e)) => matches_v128(v.as_u128().to_le_bytes(), e),
        (Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None), E::RefNull(None)) => true,
        (Val::ExnRef(None), E::RefNull(Some(heap))) => is_exn(heap),
        (Val::FuncRef(None), E::RefNull(Some(heap))) => is_func(heap),
        (Val::ExternRef(None), E::RefNull(Some(heap))) => is_extern(heap),
        (Val::FuncRef(Some(_)), E::RefFunc(None)) => true,
        (Val::ExternRef(Some(_)), E::RefExtern(None)) => true,
        (Val::ExternRef(Some(v)), E::RefExtern(Some(e))) => v.data().downcast_ref() == Some(e),
        _ => false,
    }
}

/// Whether null of this type is the null reference of functions. Concrete types are function types.
fn is_func(heap: &HeapType<'_>) -> bool {
    use AbstractHeapType::{Func, NoFunc};
    matches!(heap, HeapType::Concrete(_)) || is_heap(heap, Func) || is_heap(heap, NoFunc)
}

fn is_extern(heap: &HeapType<'_>) -> bool {
    use AbstractHeapType::{Extern, NoExtern};
    is_heap(heap, Extern) || is_heap(heap, NoExtern)
}

fn is_exn(heap: &HeapType<'_>) -> bool {
    use AbstractHeapType::{Exn, NoExn};
    is_heap(heap, Exn) || is_heap(heap, NoExn)
}

fn is_heap(heap: &HeapType<'_>, expected: AbstractHeapType) -> bool {
    matches!(heap, HeapType::Abstract { shared: false, ty } if *ty == expected)
}

/// Whether the bits match the pattern. The fraction of a canonical NaN is only the quiet bit. The
/// fraction of an arithmetic NaN contains the quiet bit. The sign may be either.
fn matches_f32(bits: u32, expected: &NanPattern<F32>) -> bool {
    const QUIET: u32 = 0x7fc0_0000;
    match expected {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff == QUIET,
        NanPattern::ArithmeticNan => bits & QUIET == QUIET,
        NanPattern::Value(value) => bits == value.bits,
    }
}

fn matches_f64(bits: u64, expected: &NanPattern<F64>) -> bool {
    const QUIET: u64 = 0x7ff8_0000_0000_0000;
    match expected {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff_ffff_ffff == QUIET,
        NanPattern::ArithmeticNan => bits & QUIET == QUIET,
        NanPattern::Value(value) => bits == value.bits,
    }
}

fn matches_v128(bytes: [u8; 16], expected: &V128Pattern) -> bool {
    match expected {
        V128Pattern::I8x16(e) => lanes(bytes, i8::from_le_bytes) == *e,
        V128Pattern::I16x8(e) => lanes(bytes, i16::from_le_bytes) == *e,
        V128Pattern::I32x4(e) => lanes(bytes, i32::from_le_bytes) == *e,
        V128Pattern::I64x2(e) => lanes(bytes, i64::from_le_bytes) == *e,
        V128Pattern::F32x4(e) => {
            let found: [u32; 4] = lanes(bytes, u32::from_le_bytes);
            found.iter().zip(e).all(|(&found, e)| matches_f32(found, e))
        }
        V128Pattern::F64x2(e) => {
            let found: [u64; 2] = lanes(bytes, u64::from_le_bytes);
            found.iter().zip(e).all(|(&found, e)| matches_f64(found, e))
        }
    }
}

/// The lanes of a vector, starting with lane 0.
fn lanes<T, const LANES: usize, const BYTES: usize>(
    bytes: [u8; 16],
    read: impl Fn([u8; BYTES]) -> T,
) -> [T; LANES] {
    std::array::from_fn(|i| read(std::array::from_fn(|byte| bytes[i * BYTES + byte])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_patterns() {
        let canonical = [0x7fc0_0000, 0xffc0_0000];
        let arithmetic = [0x7fc0_0001, 0xffff_ffff];
        let none = [0x7f80_0001, 0x7f80_0000, 0xffbf_ffff, 0];
        for bits in canonical {
            assert!(matches_f32(bits, &NanPattern::CanonicalNan), "{bits:x}");
            assert!(matches_f32(bits, &NanPattern::ArithmeticNan), "{bits:x}");
        }
        for bits in arithmetic {
            assert!(!matches_f32(bits, &NanPattern::CanonicalNan), "{bits:x}");
            assert!(matches_f32(bits, &NanPattern::ArithmeticNan), "{bits:x}");
        }
        for bits in none {
            assert!(!matches_f32(bits, &NanPattern::CanonicalNan), "{bits:x}");
            assert!(!matches_f32(bits, &NanPattern::ArithmeticNan), "{bits:x}");
        }
        assert!(matches_f64(
            0xfff8_0000_0000_0000,
            &NanPattern::CanonicalNan
        ));
        assert!(!matches_f64(
            0xfff8_0000_0000_0001,
            &NanPattern::CanonicalNan
        ));
        assert!(matches_f64(
            0xfff8_0000_0000_0001,
            &NanPattern::ArithmeticNan
        ));
        assert!(!matches_f64(
            0xfff0_0000_0000_0001,
            &NanPattern::ArithmeticNan
        ));
    }

    #[test]
    fn lanes_are_little_endian() {
        let bytes: [u8; 16] = std::array::from_fn(|i| i as u8);
        assert!(matches_v128(
            bytes,
            &V128Pattern::I64x2([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908])
        ));
        assert!(matches_v128(
            bytes,
            &V128Pattern::I8x16(std::array::from_fn(|i| i as i8))
        ));
        assert!(!matches_v128(bytes, &V128Pattern::I16x8([0; 8])));
    }
}
