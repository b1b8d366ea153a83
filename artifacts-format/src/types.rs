//! Value types, as numbers in the artifact.
//!
//! A number describes a type completely, except for a *concrete* heap type, whose number is the
//! index of a signature of the same artifact. So types of two artifacts cannot be compared by their
//! numbers; the loader gives each concrete type one identity for the whole process (see
//! [`signature`](crate::signature)).
//!
//! ```text
//!   1..=5                      i32, i64, f32, f64, v128
//!   6, 7, 8                    funcref, externref, exnref: the nullable references of 2.0
//!   bit 31  a reference that is none of these
//!   bit 30    nullable
//!   bit 29    concrete: bits 0..29 are the index of a signature
//!             else bits 0..29 are the number of an abstract heap type
//! ```
//! Each type has exactly one number, so equal numbers of one artifact are equal types.

/// A value type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 128-bit vector.
    V128,
    /// A reference.
    Ref(RefType),
}

/// A reference type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RefType {
    /// Whether the null reference is a value of the type.
    pub nullable: bool,
    /// What the references refer to.
    pub heap: HeapType,
}

/// What references refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeapType {
    /// Any function.
    Func,
    /// Any value of the host.
    Extern,
    /// Any exception.
    Exn,
    /// No function: only null.
    NoFunc,
    /// No value of the host: only null.
    NoExtern,
    /// No exception: only null.
    NoExn,
    /// Functions of the signature with this index in the artifact.
    Concrete(u32),
}

/// The maximum number of signatures, so that each has a number as a concrete type.
pub const MAX_SIGNATURES: usize = INDEX as usize;

const REF: u32 = 1 << 31;
const NULLABLE: u32 = 1 << 30;
const CONCRETE: u32 = 1 << 29;
const INDEX: u32 = CONCRETE - 1;

impl HeapType {
    /// The heap type at the top of the hierarchy that this one belongs to.
    pub const fn top(self) -> Self {
        match self {
            Self::Func | Self::NoFunc | Self::Concrete(_) => Self::Func,
            Self::Extern | Self::NoExtern => Self::Extern,
            Self::Exn | Self::NoExn => Self::Exn,
        }
    }

    /// Whether this is the heap type at the bottom of its hierarchy, to which nothing belongs.
    pub const fn is_bottom(self) -> bool {
        matches!(self, Self::NoFunc | Self::NoExtern | Self::NoExn)
    }

    const fn number(self) -> u32 {
        match self {
            Self::Func => 1,
            Self::Extern => 2,
            Self::Exn => 3,
            Self::NoFunc => 4,
            Self::NoExtern => 5,
            Self::NoExn => 6,
            Self::Concrete(index) => CONCRETE | index,
        }
    }

    const fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            1 => Self::Func,
            2 => Self::Extern,
            3 => Self::Exn,
            4 => Self::NoFunc,
            5 => Self::NoExtern,
            6 => Self::NoExn,
            n if n & !INDEX == CONCRETE => Self::Concrete(n & INDEX),
            _ => return None,
        })
    }
}

impl RefType {
    /// A reference type.
    pub const fn new(nullable: bool, heap: HeapType) -> Self {
        Self { nullable, heap }
    }
}

impl ValType {
    /// Nullable references to functions.
    pub const FUNCREF: Self = Self::Ref(RefType::new(true, HeapType::Func));
    /// Nullable references to values of the host.
    pub const EXTERNREF: Self = Self::Ref(RefType::new(true, HeapType::Extern));
    /// Nullable references to exceptions.
    pub const EXNREF: Self = Self::Ref(RefType::new(true, HeapType::Exn));

    /// The number that stands for the type in an artifact.
    pub const fn number(self) -> u32 {
        match self {
            Self::I32 => 1,
            Self::I64 => 2,
            Self::F32 => 3,
            Self::F64 => 4,
            Self::V128 => 5,
            Self::FUNCREF => 6,
            Self::EXTERNREF => 7,
            Self::EXNREF => 8,
            Self::Ref(RefType { nullable, heap }) => {
                REF | if nullable { NULLABLE } else { 0 } | heap.number()
            }
        }
    }

    /// The type that this number stands for. Whether the signature of a concrete type exists is not
    /// checked.
    pub const fn from_number(n: u32) -> Option<Self> {
        Some(match n {
            1 => Self::I32,
            2 => Self::I64,
            3 => Self::F32,
            4 => Self::F64,
            5 => Self::V128,
            6 => Self::FUNCREF,
            7 => Self::EXTERNREF,
            8 => Self::EXNREF,
            n if n & REF != 0 => {
                let nullable = n & NULLABLE != 0;
                match HeapType::from_number(n & !(REF | NULLABLE)) {
                    // These types have the numbers 6 to 8.
                    Some(HeapType::Func | HeapType::Extern | HeapType::Exn) if nullable => {
                        return None;
                    }
                    Some(heap) => Self::Ref(RefType::new(nullable, heap)),
                    None => return None,
                }
            }
            _ => return None,
        })
    }

    /// Whether the type is a reference type.
    pub const fn is_ref(self) -> bool {
        matches!(self, Self::Ref(_))
    }

    /// The signature that the type refers to, if it is a concrete reference type.
    pub const fn concrete(self) -> Option<u32> {
        match self {
            Self::Ref(RefType {
                heap: HeapType::Concrete(index),
                ..
            }) => Some(index),
            _ => None,
        }
    }

    /// Whether the type has a default value, which is zero or null.
    pub const fn is_defaultable(self) -> bool {
        !matches!(
            self,
            Self::Ref(RefType {
                nullable: false,
                ..
            })
        )
    }
}

impl core::fmt::Display for ValType {
    /// The type in the WebAssembly text format. A concrete type is the index of its signature in
    /// the artifact.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let heap = match *self {
            Self::I32 => return f.write_str("i32"),
            Self::I64 => return f.write_str("i64"),
            Self::F32 => return f.write_str("f32"),
            Self::F64 => return f.write_str("f64"),
            Self::V128 => return f.write_str("v128"),
            Self::FUNCREF => return f.write_str("funcref"),
            Self::EXTERNREF => return f.write_str("externref"),
            Self::EXNREF => return f.write_str("exnref"),
            Self::Ref(RefType { nullable, heap }) => {
                f.write_str(if nullable { "(ref null " } else { "(ref " })?;
                heap
            }
        };
        match heap {
            HeapType::Func => f.write_str("func)"),
            HeapType::Extern => f.write_str("extern)"),
            HeapType::Exn => f.write_str("exn)"),
            HeapType::NoFunc => f.write_str("nofunc)"),
            HeapType::NoExtern => f.write_str("noextern)"),
            HeapType::NoExn => f.write_str("noexn)"),
            HeapType::Concrete(index) => write!(f, "{index})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_number() {
        let heaps = [
            HeapType::Func,
            HeapType::Extern,
            HeapType::Exn,
            HeapType::NoFunc,
            HeapType::NoExtern,
            HeapType::NoExn,
            HeapType::Concrete(0),
            HeapType::Concrete(INDEX),
        ];
        let refs = heaps.into_iter().flat_map(|heap| {
            [true, false].map(|nullable| ValType::Ref(RefType::new(nullable, heap)))
        });
        let types = [
            ValType::I32,
            ValType::I64,
            ValType::F32,
            ValType::F64,
            ValType::V128,
        ];
        let all: Vec<_> = types.into_iter().chain(refs).collect();
        for (i, ty) in all.iter().enumerate() {
            assert_eq!(ValType::from_number(ty.number()), Some(*ty));
            assert!(all[..i].iter().all(|other| other.number() != ty.number()));
        }
        for n in [
            0,
            9,
            255,
            1 << 29,
            REF,
            REF | 7,
            REF | NULLABLE | 1,
            REF | NULLABLE | 3,
        ] {
            assert_eq!(ValType::from_number(n), None, "{n:#x}");
        }
    }
}
