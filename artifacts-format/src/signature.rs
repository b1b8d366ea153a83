//! Signatures and their identity across modules.
//!
//! A `call_indirect` through a table that modules may share compares a 64-bit *type id*. Up to
//! [`MAX_ENCODED_VALUES`] parameters and results together, the id **is** the signature, with three
//! bits per value. So two ids are equal exactly if the signatures are, no registry is needed, and
//! opening a module registers nothing. All other types get an id from a table of the loader, for
//! the whole process; such ids have their top bit set. Machine code finds them in slots of the GOT.
//! They are:
//! - types with too many values, or with values beyond [`MAX_ENCODED_TYPE`];
//! - types that refer to other types, because a number in the artifact means nothing elsewhere;
//! - types that are not final, have a supertype, or belong to a recursive group of several types (a
//!   [`TypeRecord`](crate::records::TypeRecord) says so), because these differ from other types
//!   with the same parameters and results.
//!
//! A hash would be simpler but could collide, and a collision would be type confusion.
//!
//! # Identity of types that refer to types
//! The loader interns recursive groups by their structure: references inside the group are relative
//! to its start, all others are ids. Groups come in the order of the module, so every id is known
//! where it is needed. Two groups of two modules are the same exactly if their structures are, as
//! [the specification](https://webassembly.github.io/spec/core/valid/conventions.html) says. The
//! loader interns the groups of a module when the module is opened, if the module has such types,
//! and keeps them for as long as the process lives: ids are in the GOT of modules, in function
//! references, in tags and in types that hosts hold, so counting the uses of an id would be needed
//! in many places, and easily wrong in one of them. The number of types that modules bring is
//! limited instead.
//!
//! A final expected type is compared in one instruction, because it has no subtypes but itself. For
//! other types, code compares the ids first, and calls
//! [`Builtin::IsSubtype`](crate::Builtin::IsSubtype) if the ids differ.
//!
//! # How types of garbage collection join
//! Structures and arrays are members of the same recursive groups, so their ids come from the same
//! table, and [`ValType`] has room for their abstract heap types and for concrete types beyond the
//! signatures. Their records are a table of their own, whose rows name the group as a `TypeRecord`
//! does. Nothing that exists has to change: a function reference keeps its 64-bit id, a cast is the
//! comparison and the builtin above, and an object's header is one such id. So the ABI stays the
//! same.

use crate::ValType;
use crate::target::Arch;

/// Maximum number of parameters and results together that a type id can encode by itself.
pub const MAX_ENCODED_VALUES: usize = 20;

/// Maximum number of a value type that a type id can encode by itself.
pub const MAX_ENCODED_TYPE: u64 = 7;

/// The bit that is set in type ids from the loader's table, and in no others.
pub const INTERNED_TYPE_ID: u64 = 1 << 63;

/// Maximum number of parameters of a native entry, exit or shim; longer signatures use arrays.
pub const MAX_NATIVE_PARAMS: usize = 16;

/// The type id of a final type in a recursive group of its own, or `None` if it cannot be its own
/// id: it is too long, or has a type beyond [`MAX_ENCODED_TYPE`].
///
/// Base-8 digits from the least significant: parameters, a zero, results.
pub fn type_id(params: &[ValType], results: &[ValType]) -> Option<u64> {
    let digit = |t: &ValType| u64::from(t.number());
    encode(params.iter().map(digit), results.iter().map(digit))
}

/// [`type_id`] of types that come one by one. `None` is for a type without a number, which no type
/// with an id of its own has.
#[inline]
pub fn type_id_of(
    params: impl IntoIterator<Item = Option<ValType>>,
    results: impl IntoIterator<Item = Option<ValType>>,
) -> Option<u64> {
    let digit = |t: Option<ValType>| t.map_or(u64::MAX, |t| u64::from(t.number()));
    encode(
        params.into_iter().map(digit),
        results.into_iter().map(digit),
    )
}

/// [`type_id`] of valid value types as an artifact holds them.
pub(crate) fn type_id_of_numbers(params: &[u32], results: &[u32]) -> Option<u64> {
    let digit = |n: &u32| u64::from(*n);
    encode(params.iter().map(digit), results.iter().map(digit))
}

#[inline]
fn encode(params: impl Iterator<Item = u64>, results: impl Iterator<Item = u64>) -> Option<u64> {
    let (mut id, mut values) = (0, 0);
    for digit in params {
        if values == MAX_ENCODED_VALUES || digit > MAX_ENCODED_TYPE {
            return None;
        }
        id |= digit << (3 * values);
        values += 1;
    }
    for digit in results {
        if values == MAX_ENCODED_VALUES || digit > MAX_ENCODED_TYPE {
            return None;
        }
        values += 1;
        id |= digit << (3 * values);
    }
    Some(id)
}

/// Whether the native convention covers this signature: at most one result, at most
/// [`MAX_NATIVE_PARAMS`] parameters, no `v128` (whose C type differs between targets).
pub fn is_native(params: &[ValType], results: &[ValType]) -> bool {
    results.len() <= 1
        && params.len() <= MAX_NATIVE_PARAMS
        && !params.iter().chain(results).any(|t| *t == ValType::V128)
}

/// Whether the `tail` and the C convention agree for functions with one pointer and then these
/// parameters, and with these results. They agree on x86-64, where both use the same registers, as
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
    use ValType::{F64, I32, I64};

    const EXTERNREF: ValType = ValType::EXTERNREF;

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
            (&[EXTERNREF; 20], &[]),
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
        assert_eq!(type_id(&[I32; 21], &[]), None);
        assert_eq!(type_id(&[], &[I32; 21]), None);
        assert_eq!(type_id(&[], &[I32; 20]).map(u64::count_ones), Some(20));
        assert_eq!(
            type_id_of([Some(I32), Some(I64)], [Some(F64)]),
            Some(0o4021)
        );
        assert_eq!(type_id_of([Some(I32), None], []), None);
        assert_eq!(type_id(&[I32], &[ValType::EXNREF]), None);
        assert_eq!(type_id(&[ValType::EXNREF], &[]), None);
        assert_eq!(
            type_id(&[EXTERNREF; 20], &[]).map(|id| id & INTERNED_TYPE_ID),
            Some(0)
        );
    }
}
