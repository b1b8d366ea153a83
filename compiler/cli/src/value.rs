//! Values of `run --invoke`: arguments in usual notations and in that of the text format, and
//! results.

use precast_loader::{ExternRef, HeapType, V128, Val, ValType};
use wast::parser::{Parse, ParseBuffer, parse};

/// A description of arguments of this type, with examples.
pub(crate) fn expected(ty: ValType) -> &'static str {
    match ty {
        ValType::I32 => "i32, such as -7 or 0xff",
        ValType::I64 => "i64, such as -7 or 0xff",
        ValType::F32 => "f32, such as -0.5, 0x1.8p3, inf or nan",
        ValType::F64 => "f64, such as -0.5, 0x1.8p3, inf or nan",
        ValType::V128 => "v128, such as 0xff or `i32x4 1 2 3 4`",
        ValType::Ref(ty) => match ty.heap_type().top() {
            HeapType::Extern if ty.is_nullable() => {
                "externref: null, or a text that the result shows"
            }
            HeapType::Extern => "a reference to a value of the host: a text that the result shows",
            _ if ty.is_nullable() => "a reference, of which only null can be written",
            _ => "a reference that is not null, which cannot be written",
        },
    }
}

/// An argument as a value of a type.
pub(crate) fn read(ty: ValType, text: &str) -> Option<Val> {
    Some(match ty {
        ValType::I32 => Val::I32(token(text)?),
        ValType::I64 => Val::I64(token(text)?),
        // Rust accepts more decimal numbers (`.5`, `NaN`), and the text format also accepts
        // hexadecimal numbers and payloads of NaNs. Rust makes infinity of numbers that are too
        // large, which the text format refuses, as integers are refused.
        ValType::F32 => Val::F32(match text.parse::<f32>() {
            Ok(value) if value.is_finite() || !has_digits(text) => value.to_bits(),
            _ => token::<wast::token::F32>(text)?.bits,
        }),
        ValType::F64 => Val::F64(match text.parse::<f64>() {
            Ok(value) if value.is_finite() || !has_digits(text) => value.to_bits(),
            _ => token::<wast::token::F64>(text)?.bits,
        }),
        ValType::V128 => Val::V128(V128::from(match text.strip_prefix("0x") {
            // Rust would accept a sign.
            Some(digits) if digits.contains('+') => return None,
            Some(digits) => u128::from_str_radix(&digits.replace('_', ""), 16).ok()?,
            None => u128::from_le_bytes(token::<wast::core::V128Const>(text)?.to_le_bytes()),
        })),
        ValType::Ref(reference) => match (text, reference.heap_type()) {
            ("null" | "ref.null", _) if reference.is_nullable() => Val::default_for(ty),
            ("null" | "ref.null", _) => return None,
            (text, HeapType::Extern) => Val::ExternRef(Some(ExternRef::new(text.to_owned()))),
            _ => return None,
        },
    })
}

/// Whether a number is written in digits, and not as `inf` or `nan`.
fn has_digits(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit())
}

fn token<T: for<'a> Parse<'a>>(text: &str) -> Option<T> {
    let buffer = ParseBuffer::new(text).ok()?;
    parse(&buffer).ok()
}

/// A result as text.
pub(crate) fn show(value: &Val) -> String {
    match value {
        Val::I32(v) => v.to_string(),
        Val::I64(v) => v.to_string(),
        Val::F32(bits) => match f32::from_bits(*bits) {
            value if value.is_nan() => shown_nan(value.is_sign_negative(), bits & 0x7f_ffff, 22),
            value => value.to_string(),
        },
        Val::F64(bits) => match f64::from_bits(*bits) {
            value if value.is_nan() => {
                shown_nan(value.is_sign_negative(), bits & 0xf_ffff_ffff_ffff, 51)
            }
            value => value.to_string(),
        },
        Val::V128(v) => format!("{:#034x}", v.as_u128()),
        Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None) => "null".to_owned(),
        Val::ExternRef(Some(value)) => match value.data().downcast_ref::<String>() {
            Some(text) => text.clone(),
            None => "externref".to_owned(),
        },
        other => other.ty().to_string(),
    }
}

/// A NaN as in the text format, which tells all NaNs apart. The payload of a canonical one, which
/// has only its highest bit, is left out.
fn shown_nan(is_negative: bool, payload: impl Into<u64>, highest: u32) -> String {
    let sign = if is_negative { "-" } else { "" };
    match payload.into() {
        payload if payload == 1 << highest => format!("{sign}nan"),
        payload => format!("{sign}nan:{payload:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use precast_loader::RefType;

    use super::*;

    fn shown(ty: ValType, text: &str) -> Option<String> {
        read(ty, text).map(|value| show(&value))
    }

    #[test]
    fn integers() {
        for (text, value) in [
            ("-1", "-1"),
            ("4294967295", "-1"),
            ("0xffff_ffff", "-1"),
            ("-0x10", "-16"),
            ("+7", "7"),
            ("-0x80000000", "-2147483648"),
        ] {
            assert_eq!(shown(ValType::I32, text).as_deref(), Some(value), "{text}");
        }
        for text in ["4294967296", "-2147483649", "x", "", "1 2", "0x", "1.0"] {
            assert_eq!(shown(ValType::I32, text), None, "{text}");
        }
        let min = shown(ValType::I64, "-0x8000000000000000");
        assert_eq!(min, Some(i64::MIN.to_string()));
    }

    #[test]
    fn floats() {
        for (text, value) in [
            ("0x1.8p3", 12.0),
            ("-0x1p-1", -0.5),
            (".5", 0.5),
            ("1e3", 1000.0),
            ("inf", f64::INFINITY),
        ] {
            let Some(Val::F64(bits)) = read(ValType::F64, text) else {
                panic!("{text}");
            };
            assert_eq!(f64::from_bits(bits), value, "{text}");
        }
        let Some(Val::F32(bits)) = read(ValType::F32, "nan:0x200001") else {
            panic!("a payload");
        };
        assert_eq!(bits, 0x7fa0_0001);
        for text in ["0x", "one", "1e999", "-1e999", "0x1p9999", "1e309_"] {
            for ty in [ValType::F32, ValType::F64] {
                assert!(read(ty, text).is_none(), "{text}");
            }
        }
        assert!(read(ValType::F32, "1e39").is_none() && read(ValType::F64, "1e39").is_some());
    }

    #[test]
    fn nans_are_told_apart() {
        for (text, single, double) in [
            ("nan", 0x7fc0_0000, 0x7ff8_0000_0000_0000),
            ("-nan", 0xffc0_0000, 0xfff8_0000_0000_0000),
            ("nan:0x1", 0x7f80_0001, 0x7ff0_0000_0000_0001),
            ("-nan:0x1", 0xff80_0001, 0xfff0_0000_0000_0001),
            ("nan:0x7fffff", 0x7fff_ffff, 0x7ff0_0000_007f_ffff),
        ] {
            let read = |ty| read(ty, text).expect("a NaN");
            let (f32, f64) = (read(ValType::F32), read(ValType::F64));
            assert!(matches!(f32, Val::F32(bits) if bits == single), "{f32:?}");
            assert!(matches!(f64, Val::F64(bits) if bits == double), "{f64:?}");
            assert_eq!((show(&f32), show(&f64)), (text.to_owned(), text.to_owned()));
        }
        assert_eq!(shown(ValType::F32, "NaN").as_deref(), Some("nan"));
        assert_eq!(shown(ValType::F32, "nan:0x400000").as_deref(), Some("nan"));
        assert_eq!(shown(ValType::F32, "nan:0x800000"), None);
        let double = "nan:0xfffffffffffff";
        assert_eq!(shown(ValType::F64, double).as_deref(), Some(double));
    }

    #[test]
    fn vectors_and_references() {
        let four = format!("{:#034x}", 4_u128 << 96 | 3 << 64 | 2 << 32 | 1);
        assert_eq!(shown(ValType::V128, "i32x4 1 2 3 4"), Some(four));
        let low = shown(ValType::V128, "0xff");
        assert_eq!(low, Some(format!("{:#034x}", 255)));
        for text in ["1", "0x+5", "0x-5", "0x_+5", "0x", "+0x5"] {
            assert_eq!(shown(ValType::V128, text), None, "{text}");
        }
        for null in ["null", "ref.null"] {
            for ty in [ValType::FUNCREF, ValType::EXTERNREF] {
                let value = read(ty, null).expect("a null reference");
                assert!(matches!(value, Val::FuncRef(None) | Val::ExternRef(None)));
                assert_eq!(show(&value), "null");
            }
            let some = ValType::Ref(RefType::new(false, HeapType::Extern));
            assert_eq!(shown(some, null), None);
        }
        assert_eq!(shown(ValType::FUNCREF, "f"), None);
        assert_eq!(shown(ValType::EXTERNREF, "x y").as_deref(), Some("x y"));
    }
}
