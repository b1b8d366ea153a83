//! Value types, signatures and their identity across modules.
//!
//! A `call_indirect` through a table that modules may share compares a 64-bit *type id*. Up to
//! [`MAX_ENCODED_VALUES`] parameters and results together, the id **is** the signature, with three
//! bits per value. So two ids are equal exactly if the signatures are, no registry is needed, and
//! opening a module registers nothing. Longer signatures, and those with types beyond
//! [`MAX_ENCODED_TYPE`], are rare. They get an id from the loader's process-wide table, through a
//! slot of the GOT; such ids have their top bit set.
//! A hash would be simpler but could collide, and a collision would be type confusion.

use crate::target::Arch;

/// A value type, as one byte in the artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ValType {
    /// 32-bit integer.
    I32 = 1,
    /// 64-bit integer.
    I64 = 2,
    /// 32-bit float.
    F32 = 3,
    /// 64-bit float.
    F64 = 4,
    /// 128-bit vector.
    V128 = 5,
    /// Nullable reference to a function.
    FuncRef = 6,
    /// Nullable reference to a host value.
    ExternRef = 7,
    /// Nullable reference to an exception.
    ExnRef = 8,
}

impl ValType {
    /// The type that byte `b` stands for in an artifact.
    pub const fn from_byte(b: u8) -> Option<Self> {
        Some(match b {
            1 => Self::I32,
            2 => Self::I64,
            3 => Self::F32,
            4 => Self::F64,
            5 => Self::V128,
            6 => Self::FuncRef,
            7 => Self::ExternRef,
            8 => Self::ExnRef,
            _ => return None,
        })
    }

    /// Name in the WebAssembly text format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::V128 => "v128",
            Self::FuncRef => "funcref",
            Self::ExternRef => "externref",
            Self::ExnRef => "exnref",
        }
    }

    /// Whether the type is a reference type.
    pub const fn is_ref(self) -> bool {
        matches!(self, Self::FuncRef | Self::ExternRef | Self::ExnRef)
    }
}

impl core::fmt::Display for ValType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// Maximum number of parameters and results together that a type id can encode by itself.
pub const MAX_ENCODED_VALUES: usize = 20;

/// The greatest number of a value type that a type id can encode by itself.
pub const MAX_ENCODED_TYPE: u64 = 7;

/// The bit that is set in type ids from the loader's table, and in no others.
pub const INTERNED_TYPE_ID: u64 = 1 << 63;

/// Maximum number of parameters of a native entry, exit or shim; longer signatures use arrays.
pub const MAX_NATIVE_PARAMS: usize = 16;

/// The type id of a signature, or `None` if it cannot be its own id: it is too long, or has a type
/// beyond [`MAX_ENCODED_TYPE`].
///
/// Base-8 digits from the least significant: parameters, a zero, results.
pub fn type_id(params: &[ValType], results: &[ValType]) -> Option<u64> {
    let digit = |t: &ValType| *t as u64;
    encode(
        params.len() + results.len(),
        params.iter().map(digit),
        results.iter().map(digit),
    )
}

/// [`type_id`] of valid value types as an artifact holds them.
pub(crate) fn type_id_of_bytes(params: &[u8], results: &[u8]) -> Option<u64> {
    let digit = |b: &u8| u64::from(*b);
    encode(
        params.len() + results.len(),
        params.iter().map(digit),
        results.iter().map(digit),
    )
}

fn encode(
    values: usize,
    params: impl Iterator<Item = u64>,
    results: impl Iterator<Item = u64>,
) -> Option<u64> {
    if values > MAX_ENCODED_VALUES {
        return None;
    }
    let mut digits = params.chain([0]).chain(results).enumerate();
    digits.try_fold(0, |id, (i, digit)| {
        (digit <= MAX_ENCODED_TYPE).then_some(id | digit << (3 * i))
    })
}

/// Whether the native convention covers this signature: at most one result, at most
/// [`MAX_NATIVE_PARAMS`] parameters, no `v128` (whose C type differs between targets).
pub fn is_native(params: &[ValType], results: &[ValType]) -> bool {
    results.len() <= 1
        && params.len() <= MAX_NATIVE_PARAMS
        && !params.iter().chain(results).any(|t| *t == ValType::V128)
}

/// Whether the `tail` and the C convention agree for functions with one pointer and then these
/// parameters, and with these results. They do on x86-64, where both use the same registers, as
/// long as no value is on the stack.
pub fn is_tail_like_c(arch: Arch, params: &[ValType], results: &[ValType]) -> bool {
    let floats = params
        .iter()
        .filter(|t| matches!(t, ValType::F32 | ValType::F64))
        .count();
    arch == Arch::X86_64
        && is_native(params, results)
        && floats <= 8
        && 1 + params.len() - floats <= 6
}

#[cfg(test)]
mod tests {
    use super::*;
    use ValType::*;

    #[test]
    fn ids_tell_signatures_apart() {
        let all: [(&[ValType], &[ValType]); 8] = [
            (&[], &[]),
            (&[I32], &[]),
            (&[], &[I32]),
            (&[I32], &[I32]),
            (&[I32, I32], &[]),
            (&[I64], &[I32]),
            (&[I32], &[I64]),
            (&[ExternRef; 20], &[]),
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(
                    type_id(a.0, a.1) == type_id(b.0, b.1),
                    i == j,
                    "{a:?} {b:?}"
                );
            }
        }
        assert_eq!(type_id(&[I32, I64], &[F64]), Some(0o4021));
        assert_eq!(type_id(&[I32; 20], &[I32]), None);
        assert_eq!(type_id(&[I32], &[ExnRef]), None);
        assert_eq!(type_id(&[ExnRef], &[]), None);
        assert_eq!(
            type_id(&[ExternRef; 20], &[]).map(|id| id & INTERNED_TYPE_ID),
            Some(0)
        );
    }
}
