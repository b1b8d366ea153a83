//! Values that cross between host and wasm.

use precast_artifact::vm::{ValRaw, VmFuncRef};

use crate::error::Error;
use crate::exception::ExnRef;
use crate::externref::ExternRef;
use crate::func::Func;
use crate::types::{FuncType, HeapType, RefType, ValType, is_subtype, names};
use crate::vm::externrefs::Point;
use crate::vm::store::StoreCore;

/// A 128-bit vector.
///
/// ```
/// use precast_loader::V128;
///
/// let lanes = V128::from(u128::from_le_bytes([7; 16]));
/// assert_eq!(lanes.as_u128() as u8, 7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct V128(u128);

impl From<u128> for V128 {
    fn from(bits: u128) -> Self {
        Self(bits)
    }
}

impl From<V128> for u128 {
    fn from(v: V128) -> Self {
        v.0
    }
}

impl V128 {
    /// The bits. Byte 0 is the least significant one.
    pub fn as_u128(self) -> u128 {
        self.0
    }
}

/// A wasm value of any type.
///
/// ```
/// use precast_loader::{Val, ValType};
///
/// let value = Val::from(2.5_f64);
/// assert_eq!(value.ty(), ValType::F64);
/// assert_eq!(value.f64(), Some(2.5));
/// assert_eq!(value.i32(), None);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Val {
    /// An `i32`.
    I32(i32),
    /// An `i64`.
    I64(i64),
    /// The bits of an `f32`.
    F32(u32),
    /// The bits of an `f64`.
    F64(u64),
    /// A `v128`.
    V128(V128),
    /// A `funcref`.
    FuncRef(Option<Func>),
    /// An `externref`.
    ExternRef(Option<ExternRef>),
    /// An `exnref`.
    ExnRef(Option<ExnRef>),
}

macro_rules! unwraps {
    ($($name:ident $unwrap:ident: $Variant:ident($v:ident) -> $T:ty = $e:expr),* $(,)?) => {
        impl Val {
            $(
                #[doc = concat!("The `", stringify!($name), "`, if it is one.")]
                pub fn $name(&self) -> Option<$T> {
                    match self { Self::$Variant($v) => Some($e), _ => None }
                }

                #[doc = concat!("The `", stringify!($name), "`.")]
                ///
                /// # Panics
                /// If it is of another type.
                pub fn $unwrap(&self) -> $T {
                    match self {
                        Self::$Variant($v) => $e,
                        other => panic!("found {}, expected {}", other.ty(), stringify!($name)),
                    }
                }
            )*
        }
    };
}

unwraps! {
    i32 unwrap_i32: I32(v) -> i32 = *v,
    i64 unwrap_i64: I64(v) -> i64 = *v,
    f32 unwrap_f32: F32(v) -> f32 = f32::from_bits(*v),
    f64 unwrap_f64: F64(v) -> f64 = f64::from_bits(*v),
    v128 unwrap_v128: V128(v) -> V128 = *v,
    funcref unwrap_funcref: FuncRef(v) -> Option<&Func> = v.as_ref(),
    externref unwrap_externref: ExternRef(v) -> Option<&ExternRef> = v.as_ref(),
    exnref unwrap_exnref: ExnRef(v) -> Option<&ExnRef> = v.as_ref(),
}

impl Val {
    /// The most general type that such a value has: [`ValType::FUNCREF`] for every function. Use
    /// [`Func::ty`] for the type of one.
    pub fn ty(&self) -> ValType {
        match self {
            Self::I32(_) => ValType::I32,
            Self::I64(_) => ValType::I64,
            Self::F32(_) => ValType::F32,
            Self::F64(_) => ValType::F64,
            Self::V128(_) => ValType::V128,
            Self::FuncRef(_) => ValType::FUNCREF,
            Self::ExternRef(_) => ValType::EXTERNREF,
            Self::ExnRef(_) => ValType::EXNREF,
        }
    }

    /// The null reference of type `funcref`.
    pub const fn null_func_ref() -> Self {
        Self::FuncRef(None)
    }

    /// The null reference of type `externref`.
    pub const fn null_extern_ref() -> Self {
        Self::ExternRef(None)
    }

    /// The null reference of type `exnref`.
    pub const fn null_exn_ref() -> Self {
        Self::ExnRef(None)
    }

    /// The value zero, or the null reference. It is not a value of `ty` itself if that has no null
    /// reference, but shows what a value of `ty` is.
    pub fn default_for(ty: ValType) -> Self {
        match ty {
            ValType::I32 => Self::I32(0),
            ValType::I64 => Self::I64(0),
            ValType::F32 => Self::F32(0),
            ValType::F64 => Self::F64(0),
            ValType::V128 => Self::V128(V128(0)),
            ValType::Ref(ty) => match ty.heap_type() {
                HeapType::Func | HeapType::NoFunc | HeapType::ConcreteFunc(_) => {
                    Self::FuncRef(None)
                }
                HeapType::Extern | HeapType::NoExtern => Self::ExternRef(None),
                HeapType::Exn | HeapType::NoExn => Self::ExnRef(None),
            },
        }
    }

    /// Whether the value is of type `expected`. A function of another store than `core` is of every
    /// function type: to use it is another error.
    fn is_of(&self, expected: ValType, core: Option<&StoreCore>) -> bool {
        let ValType::Ref(expected) = expected else {
            return self.ty() == expected;
        };
        let (is_null, bottom) = match self {
            Self::FuncRef(func) => (func.is_none(), HeapType::NoFunc),
            Self::ExternRef(value) => (value.is_none(), HeapType::NoExtern),
            Self::ExnRef(value) => (value.is_none(), HeapType::NoExn),
            _ => return false,
        };
        if is_null {
            return RefType::new(true, bottom).matches(expected);
        }
        match (self, expected.heap_type()) {
            (Self::FuncRef(Some(func)), HeapType::ConcreteFunc(ty)) => {
                let own = core.filter(|core| func.belongs_to(core));
                own.is_none_or(|core| is_subtype(func.type_id(core), ty.id()))
            }
            (_, heap) => heap == bottom.top(),
        }
    }

    /// What the value is, for errors.
    fn found(&self, core: Option<&StoreCore>) -> String {
        match (self, core) {
            (Self::FuncRef(Some(func)), Some(core)) if func.belongs_to(core) => {
                format!("(ref ({}))", FuncType::from_id(func.type_id(core)))
            }
            (Self::FuncRef(None) | Self::ExternRef(None) | Self::ExnRef(None), _) => {
                format!("a null {}", self.ty())
            }
            _ => self.ty().to_string(),
        }
    }

    /// Checks that the value is of type `expected`.
    pub(crate) fn check(
        &self,
        what: &str,
        expected: ValType,
        core: &StoreCore,
    ) -> Result<(), Error> {
        self.check_in(what, expected, Some(core))
    }

    /// [`Val::check`] of a value that belongs to no store.
    pub(crate) fn check_of_no_store(&self, what: &str, expected: ValType) -> Result<(), Error> {
        self.check_in(what, expected, None)
    }

    fn check_in(
        &self,
        what: &str,
        expected: ValType,
        core: Option<&StoreCore>,
    ) -> Result<(), Error> {
        if self.is_of(expected, core) {
            return Ok(());
        }
        Err(Error::Type {
            what: what.to_string(),
            found: self.found(core),
            expected: expected.to_string(),
        })
    }

    /// [`Val::to_raw`] while the host holds no other raw value, so that references that nothing
    /// holds can be dropped.
    ///
    /// # Errors
    /// As for [`Val::to_raw`].
    pub(crate) fn to_raw_alone(&self, core: &mut StoreCore) -> Result<ValRaw, Error> {
        core.collect_externrefs(Point::Host);
        self.to_raw(core)
    }

    /// # Errors
    /// [`Error::WrongStore`] for a function or exception of another store, [`Error::Limit`] for too
    /// many references.
    pub(crate) fn to_raw(&self, core: &mut StoreCore) -> Result<ValRaw, Error> {
        Ok(match self {
            // The upper half is defined too, because a table element or a global is read as a
            // whole.
            Self::I32(v) => ValRaw {
                i64: i64::from(*v as u32),
            },
            Self::I64(v) => ValRaw { i64: *v },
            Self::F32(v) => ValRaw { f64: u64::from(*v) },
            Self::F64(v) => ValRaw { f64: *v },
            Self::V128(v) => ValRaw { v128: v.0 },
            Self::FuncRef(v) => ValRaw {
                funcref: func_to_raw(v.as_ref(), core)?,
            },
            Self::ExternRef(v) => ValRaw {
                externref: core.externref_to_raw(v.as_ref())?,
            },
            Self::ExnRef(v) => ValRaw {
                exnref: core.exnref_to_raw(v.as_ref())?,
            },
        })
    }

    /// # Safety
    /// `raw` holds a value of type `ty` that belongs to `core`.
    pub(crate) unsafe fn from_raw(ty: ValType, raw: ValRaw, core: &StoreCore) -> Self {
        // SAFETY: by this function's contract.
        unsafe {
            match ty {
                ValType::I32 => Self::I32(raw.i32),
                ValType::I64 => Self::I64(raw.i64),
                ValType::F32 => Self::F32(raw.f32),
                ValType::F64 => Self::F64(raw.f64),
                ValType::V128 => Self::V128(V128(raw.v128)),
                ValType::Ref(ty) => match ty.heap_type() {
                    HeapType::Func | HeapType::NoFunc | HeapType::ConcreteFunc(_) => {
                        Self::FuncRef(Func::from_raw(core, raw.funcref))
                    }
                    HeapType::Extern | HeapType::NoExtern => {
                        Self::ExternRef(core.externref_from_raw(raw.externref))
                    }
                    HeapType::Exn | HeapType::NoExn => {
                        Self::ExnRef(core.exnref_from_raw(raw.exnref))
                    }
                },
            }
        }
    }
}

/// Checks that values are of these types, one for one.
///
/// # Errors
/// [`Error::Type`].
pub(crate) fn check_values(
    what: &str,
    values: &[Val],
    expected: &[ValType],
    core: &StoreCore,
) -> Result<(), Error> {
    let is_of = |(value, ty): (&Val, &ValType)| value.is_of(*ty, Some(core));
    if values.len() == expected.len() && values.iter().zip(expected).all(is_of) {
        return Ok(());
    }
    let found: Vec<_> = values.iter().map(|value| value.found(Some(core))).collect();
    Err(Error::Type {
        what: what.to_string(),
        found: format!("({})", found.join(" ")),
        expected: format!("({})", names(expected)),
    })
}

/// # Errors
/// [`Error::WrongStore`] for a function of another store.
pub(crate) fn func_to_raw(
    func: Option<&Func>,
    core: &StoreCore,
) -> Result<*const VmFuncRef, Error> {
    match func {
        None => Ok(std::ptr::null()),
        Some(func) if func.belongs_to(core) => Ok(func.func_ref(core).as_ptr()),
        Some(_) => Err(Error::WrongStore {
            what: "the function",
        }),
    }
}

macro_rules! from {
    ($($T:ty => $v:ident $e:expr),* $(,)?) => {
        $(impl From<$T> for Val {
            fn from($v: $T) -> Self {
                $e
            }
        })*
    };
}

from! {
    i32 => v Self::I32(v),
    u32 => v Self::I32(v as i32),
    i64 => v Self::I64(v),
    u64 => v Self::I64(v as i64),
    f32 => v Self::F32(v.to_bits()),
    f64 => v Self::F64(v.to_bits()),
    V128 => v Self::V128(v),
    u128 => v Self::V128(v.into()),
    Func => v Self::FuncRef(Some(v)),
    Option<Func> => v Self::FuncRef(v),
    ExternRef => v Self::ExternRef(Some(v)),
    Option<ExternRef> => v Self::ExternRef(v),
    ExnRef => v Self::ExnRef(Some(v)),
    Option<ExnRef> => v Self::ExnRef(v),
}
