//! Value types, as the host sees them.
//!
//! They mean the same in every module, engine and store: a concrete type is an entry of the
//! process's [registry](super::registry), where equal types are one entry.

use std::fmt;

use precast_artifact::types as artifact;

use super::FuncType;
use super::registry::Entry;

/// A value type.
///
/// ```
/// use precast_loader::{Engine, FuncType, HeapType, RefType, ValType};
///
/// assert_eq!(ValType::FUNCREF.to_string(), "funcref");
/// let callback = FuncType::new(&Engine::default(), [ValType::I32], []);
/// let callback = RefType::new(false, HeapType::from(&callback));
/// assert_eq!(ValType::Ref(callback).to_string(), "(ref (func (i32) -> ()))");
/// assert!(ValType::Ref(callback).matches(ValType::FUNCREF));
/// ```
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

/// A reference type: what its references refer to, and whether null is one of them.
///
/// ```
/// use precast_loader::{HeapType, RefType};
///
/// let exception = RefType::new(false, HeapType::Exn);
/// assert!(!exception.is_nullable());
/// assert!(exception.matches(RefType::new(true, HeapType::Exn)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RefType {
    nullable: bool,
    heap_type: HeapType,
}

/// What references refer to.
///
/// ```
/// use precast_loader::HeapType;
///
/// assert!(HeapType::NoFunc.matches(HeapType::Func));
/// assert_eq!(HeapType::NoFunc.top(), HeapType::Func);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
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
    /// Functions of one type.
    ConcreteFunc(ConcreteFunc),
}

/// A function type that references refer to. Copying it costs nothing. It is kept for as long as
/// the process lives, see [`HeapType::from`].
///
/// ```
/// use precast_loader::{Engine, FuncType, HeapType, ValType};
///
/// let ty = FuncType::new(&Engine::default(), [ValType::I32], []);
/// let HeapType::ConcreteFunc(concrete) = HeapType::from(&ty) else {
///     panic!("the heap type of a function type");
/// };
/// assert_eq!(*concrete.ty(), ty);
/// ```
#[derive(Clone, Copy)]
pub struct ConcreteFunc(pub(super) &'static Entry);

impl ConcreteFunc {
    /// The function type.
    pub fn ty(self) -> &'static FuncType {
        self.0.ty()
    }

    /// The type id, see [`precast_artifact::signature`].
    pub(crate) fn id(self) -> u64 {
        self.0.id
    }
}

impl PartialEq for ConcreteFunc {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for ConcreteFunc {}

impl std::hash::Hash for ConcreteFunc {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl fmt::Debug for ConcreteFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConcreteFunc({:#x})", self.0.id)
    }
}

impl From<&FuncType> for HeapType {
    /// Functions of this type. The first time, the type is added to the types of the process.
    fn from(ty: &FuncType) -> Self {
        Self::ConcreteFunc(super::registry::concrete(ty))
    }
}

impl HeapType {
    /// The heap type at the top of the hierarchy that this one belongs to: [`HeapType::Func`],
    /// [`HeapType::Extern`] or [`HeapType::Exn`].
    pub const fn top(self) -> Self {
        match self {
            Self::Func | Self::NoFunc | Self::ConcreteFunc(_) => Self::Func,
            Self::Extern | Self::NoExtern => Self::Extern,
            Self::Exn | Self::NoExn => Self::Exn,
        }
    }

    const fn is_bottom(self) -> bool {
        matches!(self, Self::NoFunc | Self::NoExtern | Self::NoExn)
    }

    /// Whether all that this type has is also of the type `of`.
    pub fn matches(self, of: Self) -> bool {
        match (self, of) {
            (a, b) if a == b || b == a.top() => true,
            (a, b) if a.is_bottom() => a.top() == b.top(),
            (Self::ConcreteFunc(a), Self::ConcreteFunc(b)) => a.0.is_below(b.0),
            _ => false,
        }
    }
}

impl RefType {
    /// A reference type.
    pub const fn new(nullable: bool, heap_type: HeapType) -> Self {
        Self {
            nullable,
            heap_type,
        }
    }

    /// Whether the null reference is a value of the type.
    pub const fn is_nullable(self) -> bool {
        self.nullable
    }

    /// What the references refer to.
    pub const fn heap_type(self) -> HeapType {
        self.heap_type
    }

    /// Whether every value of this type is one of the type `of`.
    pub fn matches(self, of: Self) -> bool {
        (of.nullable || !self.nullable) && self.heap_type.matches(of.heap_type)
    }
}

impl ValType {
    /// Nullable references to functions.
    pub const FUNCREF: Self = Self::Ref(RefType::new(true, HeapType::Func));
    /// Nullable references to values of the host.
    pub const EXTERNREF: Self = Self::Ref(RefType::new(true, HeapType::Extern));
    /// Nullable references to exceptions.
    pub const EXNREF: Self = Self::Ref(RefType::new(true, HeapType::Exn));

    /// Whether the type is a reference type.
    pub const fn is_ref(self) -> bool {
        matches!(self, Self::Ref(_))
    }

    /// The reference type, if it is one.
    pub const fn as_ref(self) -> Option<RefType> {
        match self {
            Self::Ref(ty) => Some(ty),
            _ => None,
        }
    }

    /// Whether every value of this type is one of the type `of`.
    pub fn matches(self, of: Self) -> bool {
        match (self, of) {
            (Self::Ref(a), Self::Ref(b)) => a.matches(b),
            (a, b) => a == b,
        }
    }

    /// The heap type at the top of the hierarchy, if it is a reference type.
    pub(crate) const fn top(self) -> Option<HeapType> {
        match self {
            Self::Ref(ty) => Some(ty.heap_type.top()),
            _ => None,
        }
    }

    /// Whether values of this type are numbers of what a store keeps: external references and
    /// exceptions.
    pub(crate) const fn is_kept(self) -> bool {
        matches!(self.top(), Some(HeapType::Extern | HeapType::Exn))
    }

    /// Whether null is a value of this type.
    pub(crate) const fn is_nullable(self) -> bool {
        matches!(self, Self::Ref(ty) if ty.is_nullable())
    }

    /// The same type in the artifact's form, if it refers to no other type.
    pub(crate) const fn to_plain(self) -> Option<artifact::ValType> {
        use artifact::ValType as A;
        Some(match self {
            Self::I32 => A::I32,
            Self::I64 => A::I64,
            Self::F32 => A::F32,
            Self::F64 => A::F64,
            Self::V128 => A::V128,
            Self::Ref(RefType {
                nullable,
                heap_type,
            }) => {
                let heap = match heap_type {
                    HeapType::Func => artifact::HeapType::Func,
                    HeapType::Extern => artifact::HeapType::Extern,
                    HeapType::Exn => artifact::HeapType::Exn,
                    HeapType::NoFunc => artifact::HeapType::NoFunc,
                    HeapType::NoExtern => artifact::HeapType::NoExtern,
                    HeapType::NoExn => artifact::HeapType::NoExn,
                    HeapType::ConcreteFunc(_) => return None,
                };
                A::Ref(artifact::RefType::new(nullable, heap))
            }
        })
    }

    /// The type in an artifact, whose signatures have these types. They are empty for an artifact
    /// that refers to none of them.
    pub(crate) fn of_artifact(ty: artifact::ValType, types: &[ConcreteFunc]) -> Self {
        use artifact::ValType as A;
        match ty {
            A::I32 => Self::I32,
            A::I64 => Self::I64,
            A::F32 => Self::F32,
            A::F64 => Self::F64,
            A::V128 => Self::V128,
            A::Ref(artifact::RefType { nullable, heap }) => {
                let heap_type = match heap {
                    artifact::HeapType::Func => HeapType::Func,
                    artifact::HeapType::Extern => HeapType::Extern,
                    artifact::HeapType::Exn => HeapType::Exn,
                    artifact::HeapType::NoFunc => HeapType::NoFunc,
                    artifact::HeapType::NoExtern => HeapType::NoExtern,
                    artifact::HeapType::NoExn => HeapType::NoExn,
                    // The reader has checked that the signature exists.
                    artifact::HeapType::Concrete(index) => types
                        .get(index as usize)
                        .map_or(HeapType::NoFunc, |ty| HeapType::ConcreteFunc(*ty)),
                };
                Self::Ref(RefType {
                    nullable,
                    heap_type,
                })
            }
        }
    }
}

impl From<RefType> for ValType {
    fn from(ty: RefType) -> Self {
        Self::Ref(ty)
    }
}

impl fmt::Display for HeapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Func => f.write_str("func"),
            Self::Extern => f.write_str("extern"),
            Self::Exn => f.write_str("exn"),
            Self::NoFunc => f.write_str("nofunc"),
            Self::NoExtern => f.write_str("noextern"),
            Self::NoExn => f.write_str("noexn"),
            // A type may refer to itself, so what it refers to is shown by its number only.
            Self::ConcreteFunc(ty) if f.alternate() => write!(f, "type {:#x}", ty.id()),
            Self::ConcreteFunc(ty) => write!(f, "({:#})", ty.ty()),
        }
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.nullable, self.heap_type) {
            (true, HeapType::Func) => return f.write_str("funcref"),
            (true, HeapType::Extern) => return f.write_str("externref"),
            (true, HeapType::Exn) => return f.write_str("exnref"),
            (true, _) => f.write_str("(ref null ")?,
            (false, _) => f.write_str("(ref ")?,
        }
        self.heap_type.fmt(f)?;
        f.write_str(")")
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::I32 => f.write_str("i32"),
            Self::I64 => f.write_str("i64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::V128 => f.write_str("v128"),
            Self::Ref(ty) => ty.fmt(f),
        }
    }
}
