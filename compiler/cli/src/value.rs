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
        ValType::Ref(reference) if text == "null" && reference.is_nullable() => {
            Val::default_for(ty)
        }
        ValType::Ref(reference) if reference.heap_type() == HeapType::Extern && text != "null" => {
            Val::ExternRef(Some(ExternRef::new(text.to_owned())))
        }
        ValType::Ref(_) => return None,
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
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        Val::V128(v) => format!("{:#034x}", v.as_u128()),
        Val::FuncRef(None) | Val::ExternRef(None) | Val::ExnRef(None) => "null".to_owned(),
        Val::ExternRef(Some(value)) => match value.data().downcast_ref::<String>() {
            Some(text) => text.clone(),
            None => "externref".to_owned(),
        },
        other => other.ty().to_string(),
    }
}

#[cfg(test)]
mod tests {
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
    fn vectors_and_references() {
        let four = format!("{:#034x}", 4_u128 << 96 | 3 << 64 | 2 << 32 | 1);
        assert_eq!(shown(ValType::V128, "i32x4 1 2 3 4"), Some(four));
        let low = shown(ValType::V128, "0xff");
        assert_eq!(low, Some(format!("{:#034x}", 255)));
        for text in ["1", "0x+5", "0x-5", "0x_+5", "0x", "+0x5"] {
            assert_eq!(shown(ValType::V128, text), None, "{text}");
        }
        assert_eq!(shown(ValType::FUNCREF, "null").as_deref(), Some("null"));
        assert_eq!(shown(ValType::FUNCREF, "f"), None);
        assert_eq!(shown(ValType::EXTERNREF, "x y").as_deref(), Some("x y"));
    }
}
