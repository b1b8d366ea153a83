//! Types of the type section: recursive groups, and what other sections say about types.
//!
//! A group is identified by its structure: references to its own types are relative to its first
//! type ([`LOCAL`]), and all other references are signatures. So equal groups of a module have the
//! same signatures.

use cranelift_entity::PrimaryMap;
use precast_artifact::{HeapType, RefType, ValType};
use wasmparser::{AbstractHeapType, CompositeInnerType, SubType, UnpackedIndex};

use crate::Error;
use crate::module::{Signature, TypeKind};
use crate::symbol::{SigIndex, TypeIndex};

/// The bit that marks a reference to a type of the group that is being read: the other bits are the
/// type's position in the group. A module has far fewer types than this number.
const LOCAL: u32 = 1 << 28;

/// The types that are known so far, which later types and sections refer to.
pub(super) struct Types<'a> {
    types: &'a PrimaryMap<TypeIndex, SigIndex>,
}

impl<'a> Types<'a> {
    pub(super) fn new(types: &'a PrimaryMap<TypeIndex, SigIndex>) -> Self {
        Self { types }
    }

    /// The signature of a known type. Any other type is one of the group that is being read, and
    /// the result is its [local](LOCAL) index.
    fn index(&self, index: UnpackedIndex) -> Result<u32, Error> {
        let UnpackedIndex::Module(index) = index else {
            return Err(unsupported("a type of no module"));
        };
        Ok(match self.types.get(TypeIndex::from_u32(index)) {
            Some(signature) => signature.as_u32(),
            None => LOCAL | (index - self.types.len() as u32),
        })
    }

    pub(super) fn val_type(&self, ty: wasmparser::ValType) -> Result<ValType, Error> {
        val_type(ty, |index| self.index(index))
    }

    /// The signature of a type of a group with `len` types, whose own types are
    /// [local](LOCAL).
    pub(super) fn signature(&self, ty: &SubType, len: u32) -> Result<Signature, Error> {
        let CompositeInnerType::Func(func) = &ty.composite_type.inner else {
            return Err(unsupported("a type that is not a function type"));
        };
        let supertype = match ty.supertype_idxs.first() {
            Some(index) => Some(SigIndex::from_u32(self.index(index.unpack())?)),
            None => None,
        };
        let values = |types: &[wasmparser::ValType]| {
            let types = types.iter().map(|ty| self.val_type(*ty));
            types.collect::<Result<Box<[_]>, Error>>()
        };
        let is_plain = len == 1 && ty.is_final && supertype.is_none();
        Ok(Signature {
            params: values(func.params())?,
            results: values(func.results())?,
            kind: (!is_plain).then_some(TypeKind {
                is_final: ty.is_final,
                supertype,
                group: SigIndex::from_u32(LOCAL),
                group_len: len,
            }),
        })
    }
}

/// A type of values; `concrete` is the signature that an index refers to.
///
/// # Errors
/// [`Error::Unsupported`] for types of objects of garbage collection, and errors of `concrete`.
pub(crate) fn val_type(
    ty: wasmparser::ValType,
    concrete: impl FnOnce(UnpackedIndex) -> Result<u32, Error>,
) -> Result<ValType, Error> {
    let ty = match ty {
        wasmparser::ValType::I32 => return Ok(ValType::I32),
        wasmparser::ValType::I64 => return Ok(ValType::I64),
        wasmparser::ValType::F32 => return Ok(ValType::F32),
        wasmparser::ValType::F64 => return Ok(ValType::F64),
        wasmparser::ValType::V128 => return Ok(ValType::V128),
        wasmparser::ValType::Ref(ty) => ty,
    };
    let heap = match ty.heap_type() {
        wasmparser::HeapType::Concrete(index) => HeapType::Concrete(concrete(index)?),
        wasmparser::HeapType::Abstract { shared: false, ty } => match ty {
            AbstractHeapType::Func => HeapType::Func,
            AbstractHeapType::Extern => HeapType::Extern,
            AbstractHeapType::Exn => HeapType::Exn,
            AbstractHeapType::NoFunc => HeapType::NoFunc,
            AbstractHeapType::NoExtern => HeapType::NoExtern,
            AbstractHeapType::NoExn => HeapType::NoExn,
            other => return Err(unsupported(&format!("the heap type {other:?}"))),
        },
        other => return Err(unsupported(&format!("the heap type {other:?}"))),
    };
    Ok(ValType::Ref(RefType::new(ty.is_nullable(), heap)))
}

/// The signature of a type with [local](LOCAL) indices, if its group starts at `first`.
pub(super) fn placed(signature: &Signature, first: SigIndex) -> Signature {
    let index = |index: u32| match index & LOCAL {
        0 => index,
        _ => first.as_u32() + (index ^ LOCAL),
    };
    let value = |ty: &ValType| match *ty {
        ValType::Ref(RefType {
            nullable,
            heap: HeapType::Concrete(i),
        }) => ValType::Ref(RefType::new(nullable, HeapType::Concrete(index(i)))),
        ty => ty,
    };
    let sig = |of: SigIndex| SigIndex::from_u32(index(of.as_u32()));
    Signature {
        params: signature.params.iter().map(value).collect(),
        results: signature.results.iter().map(value).collect(),
        kind: signature.kind.map(|kind| TypeKind {
            supertype: kind.supertype.map(sig),
            group: sig(kind.group),
            ..kind
        }),
    }
}

fn unsupported(what: &str) -> Error {
    Error::Unsupported {
        proposal: "gc".to_owned(),
        offset: 0,
        message: format!("found {what}"),
    }
}
