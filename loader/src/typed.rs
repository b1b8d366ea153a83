//! Rust types that stand for wasm types, and the machine-level calls with them.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use precast_artifact::signature::MAX_NATIVE_PARAMS;
use precast_artifact::vm::{ValRaw, VmFuncRef};

use crate::arch::Words;
use crate::error::Error;
use crate::exception::ExnRef;
use crate::externref::ExternRef;
use crate::func::Func;
use crate::types::{HeapType, RefType, ValType};
use crate::val::V128;
use crate::vm::store::StoreCore;

/// A Rust type for one wasm type: `i32`, `u32`, `i64`, `u64`, `f32`, `f64`, [`V128`],
/// `Option<Func>`, `Option<ExternRef>`, `Option<ExnRef>`, and [`Func`] for `(ref func)`.
///
/// # Safety
/// `Native` is how C passes the wasm type [`TYPE`](Self::TYPE) on this target, and the raw value is
/// in the first bytes of a [`ValRaw`].
///
/// ```
/// use precast_loader::{Linker, Error, WasmTy};
///
/// /// Defines a function that gives back what it gets.
/// fn echo<V: WasmTy + 'static>(linker: &mut Linker<()>, name: &str) -> Result<(), Error> {
///     linker.func_wrap("echo", name, |value: V| value)?;
///     Ok(())
/// }
/// ```
pub unsafe trait WasmTy: Sized {
    /// The wasm type.
    const TYPE: ValType;
    /// The type in a native call.
    #[doc(hidden)]
    type Native: Copy;
    #[doc(hidden)]
    fn into_native(self, core: &mut StoreCore) -> Result<Self::Native, Error>;
    /// # Safety
    /// `raw` is a value of this type that belongs to `core`.
    #[doc(hidden)]
    unsafe fn from_native(raw: Self::Native, core: &StoreCore) -> Self;
}

macro_rules! number {
    ($($T:ty, $Native:ty, $TYPE:ident;)*) => {
        $(
            // SAFETY: C passes numbers of the same width alike, whatever their sign.
            unsafe impl WasmTy for $T {
                const TYPE: ValType = ValType::$TYPE;
                type Native = $Native;
                #[inline]
                fn into_native(self, _: &mut StoreCore) -> Result<$Native, Error> {
                    Ok(self as $Native)
                }
                #[inline]
                unsafe fn from_native(raw: $Native, _: &StoreCore) -> Self {
                    raw as Self
                }
            }
        )*
    };
}

number! {
    i32, i32, I32;
    u32, i32, I32;
    i64, i64, I64;
    u64, i64, I64;
    f32, f32, F32;
    f64, f64, F64;
}

// SAFETY: vectors are never passed natively (`NATIVE` is false for every signature with one).
unsafe impl WasmTy for V128 {
    const TYPE: ValType = ValType::V128;
    type Native = u128;
    fn into_native(self, _: &mut StoreCore) -> Result<u128, Error> {
        Ok(self.as_u128())
    }
    unsafe fn from_native(raw: u128, _: &StoreCore) -> Self {
        raw.into()
    }
}

// SAFETY: a funcref is a pointer.
unsafe impl WasmTy for Option<Func> {
    const TYPE: ValType = ValType::FUNCREF;
    type Native = *const VmFuncRef;
    fn into_native(self, core: &mut StoreCore) -> Result<*const VmFuncRef, Error> {
        crate::val::func_to_raw(self.as_ref(), core)
    }
    unsafe fn from_native(raw: *const VmFuncRef, core: &StoreCore) -> Self {
        // SAFETY: machine code of this store gave it as a funcref.
        unsafe { Func::from_raw(core, raw) }
    }
}

// SAFETY: a reference to a function is a pointer, which is not null here.
unsafe impl WasmTy for Func {
    const TYPE: ValType = ValType::Ref(RefType::new(false, HeapType::Func));
    type Native = *const VmFuncRef;
    fn into_native(self, core: &mut StoreCore) -> Result<*const VmFuncRef, Error> {
        crate::val::func_to_raw(Some(&self), core)
    }
    unsafe fn from_native(raw: *const VmFuncRef, core: &StoreCore) -> Self {
        // SAFETY: machine code of this store gave it as a reference to a function.
        match unsafe { Self::from_raw(core, raw) } {
            Some(func) => func,
            None => unreachable!("machine code gave null as a reference that is never null"),
        }
    }
}

// SAFETY: an externref is a u64.
unsafe impl WasmTy for Option<ExternRef> {
    const TYPE: ValType = ValType::EXTERNREF;
    type Native = u64;
    fn into_native(self, core: &mut StoreCore) -> Result<u64, Error> {
        core.externref_to_raw(self.as_ref())
    }
    unsafe fn from_native(raw: u64, core: &StoreCore) -> Self {
        core.externref_from_raw(raw)
    }
}

// SAFETY: an exnref is a u64.
unsafe impl WasmTy for Option<ExnRef> {
    const TYPE: ValType = ValType::EXNREF;
    type Native = u64;
    fn into_native(self, core: &mut StoreCore) -> Result<u64, Error> {
        core.exnref_to_raw(self.as_ref())
    }
    unsafe fn from_native(raw: u64, core: &StoreCore) -> Self {
        core.exnref_from_raw(raw)
    }
}

const fn is_native<T: WasmTy>() -> bool {
    !matches!(T::TYPE, ValType::V128)
}

const fn is_word<T: WasmTy>() -> bool {
    matches!(T::TYPE, ValType::I32 | ValType::I64 | ValType::Ref(_))
}

const fn is_externref<T: WasmTy>() -> bool {
    T::TYPE.is_kept()
}

/// A native value in an integer register. The register is not initialised if the value is too long.
#[inline]
fn word<N: Copy>(native: N) -> MaybeUninit<u64> {
    let mut word = MaybeUninit::<u64>::uninit();
    if size_of::<N>() <= size_of::<u64>() {
        // SAFETY: the value fits, as the comparison shows.
        unsafe { word.as_mut_ptr().cast::<N>().write(native) };
    }
    word
}

/// The native value that an integer register holds.
///
/// # Safety
/// The register holds an `N`, which is no longer than it.
#[inline]
pub(crate) unsafe fn from_word<N>(word: u64) -> N {
    debug_assert!(size_of::<N>() <= size_of::<u64>());
    // SAFETY: by this function's contract.
    unsafe { (&raw const word).cast::<N>().read() }
}

/// Writes a value to an array of values.
///
/// # Safety
/// `at` is valid for a [`ValRaw`].
pub(crate) unsafe fn write_value<T: WasmTy>(
    value: T,
    at: *mut ValRaw,
    core: &mut StoreCore,
) -> Result<(), Error> {
    let native = value.into_native(core)?;
    const { assert!(size_of::<T::Native>() <= size_of::<ValRaw>()) };
    // SAFETY: by this function's contract; the size is asserted above.
    unsafe { at.cast::<T::Native>().write(native) };
    Ok(())
}

/// Reads a value from an array of values.
///
/// # Safety
/// `at` holds a value of this type that belongs to `core`.
pub(crate) unsafe fn read_value<T: WasmTy>(at: *const ValRaw, core: &mut StoreCore) -> T {
    // SAFETY: by this function's contract.
    unsafe { T::from_native(at.cast::<T::Native>().read(), core) }
}

/// Parameters of a typed function: one [`WasmTy`] or a tuple of up to 16.
///
/// # Safety
/// The conversions agree with [`types`](Self::types).
///
/// ```
/// use precast_loader::{Engine, FuncType, WasmParams, WasmResults};
///
/// fn func_type<P: WasmParams, R: WasmResults>() -> FuncType {
///     FuncType::new(&Engine::default(), P::types(), R::types())
/// }
///
/// assert_eq!(func_type::<(i32, f64), u64>().to_string(), "func (i32 f64) -> (i64)");
/// ```
pub unsafe trait WasmParams {
    #[doc(hidden)]
    const COUNT: usize;
    #[doc(hidden)]
    const NATIVE: bool;
    /// Whether all are integers or references, at most five.
    #[doc(hidden)]
    const WORDS: bool;
    /// Whether any is an external reference.
    #[doc(hidden)]
    const EXTERNREFS: bool;
    #[doc(hidden)]
    type Native;
    /// The wasm types.
    fn types() -> impl Iterator<Item = ValType>;
    /// What `native` is in registers, if `WORDS`.
    #[doc(hidden)]
    fn words(native: Self::Native) -> Words;
    #[doc(hidden)]
    fn params_into_native(self, core: &mut StoreCore) -> Result<Self::Native, Error>;
    /// # Safety
    /// `entry` is a native entry for these parameters and the results `R`.
    #[doc(hidden)]
    unsafe fn call_native<R: WasmResults>(
        entry: *const u8,
        ctx: *mut c_void,
        code: *const u8,
        params: Self::Native,
    ) -> R::Native;
    /// # Safety
    /// There is room for [`COUNT`](Self::COUNT) values.
    #[doc(hidden)]
    unsafe fn write_params(self, to: *mut ValRaw, core: &mut StoreCore) -> Result<(), Error>;
}

/// Results of a typed function: `()`, one [`WasmTy`] or a tuple of up to 16.
///
/// # Safety
/// The conversions agree with [`types`](Self::types).
///
/// ```
/// use precast_loader::{Error, Instance, Store, WasmResults};
///
/// fn call<R: WasmResults>(store: &mut Store<()>, of: Instance, name: &str) -> Result<R, Error> {
///     of.get_typed_func::<(), R>(&mut *store, name)?.call(store, ())
/// }
/// ```
pub unsafe trait WasmResults: Sized {
    #[doc(hidden)]
    const COUNT: usize;
    #[doc(hidden)]
    const NATIVE: bool;
    /// Whether there is one integer or reference, or nothing.
    #[doc(hidden)]
    const WORD: bool;
    /// Whether any is an external reference.
    #[doc(hidden)]
    const EXTERNREFS: bool;
    #[doc(hidden)]
    type Native;
    /// The wasm types.
    fn types() -> impl Iterator<Item = ValType>;
    #[doc(hidden)]
    fn results_into_native(self, core: &mut StoreCore) -> Result<Self::Native, Error>;
    /// # Safety
    /// `raw` is what a native call gave; it belongs to `core`.
    #[doc(hidden)]
    unsafe fn results_from_native(raw: Self::Native, core: &mut StoreCore) -> Self;
    /// # Safety
    /// There is room for [`COUNT`](Self::COUNT) values.
    #[doc(hidden)]
    unsafe fn write_results(self, to: *mut ValRaw, core: &mut StoreCore) -> Result<(), Error>;
    /// # Safety
    /// There are [`COUNT`](Self::COUNT) values of these types.
    #[doc(hidden)]
    unsafe fn read_results(from: *const ValRaw, core: &mut StoreCore) -> Self;
}

/// The machine-level type of a native entry.
macro_rules! native_entry {
    ($R:ty $(, $A:ty)*) => { unsafe extern "C" fn(*mut c_void, *const u8 $(, $A)*) -> $R };
}

// SAFETY: one value of `T::TYPE`.
unsafe impl<T: WasmTy> WasmParams for T {
    const COUNT: usize = 1;
    const NATIVE: bool = is_native::<T>();
    const WORDS: bool = is_word::<T>();
    const EXTERNREFS: bool = is_externref::<T>();
    type Native = T::Native;
    fn types() -> impl Iterator<Item = ValType> {
        [T::TYPE].into_iter()
    }
    #[inline]
    fn words(native: T::Native) -> Words {
        let mut words = [MaybeUninit::uninit(); 5];
        words[0] = word(native);
        words
    }
    #[inline]
    fn params_into_native(self, core: &mut StoreCore) -> Result<T::Native, Error> {
        WasmTy::into_native(self, core)
    }
    #[inline]
    unsafe fn call_native<R: WasmResults>(
        entry: *const u8,
        ctx: *mut c_void,
        code: *const u8,
        param: T::Native,
    ) -> R::Native {
        // SAFETY: by this function's contract.
        unsafe {
            std::mem::transmute::<*const u8, native_entry!(R::Native, T::Native)>(entry)(
                ctx, code, param,
            )
        }
    }
    unsafe fn write_params(self, to: *mut ValRaw, core: &mut StoreCore) -> Result<(), Error> {
        // SAFETY: by this function's contract.
        unsafe { write_value(self, to, core) }
    }
}

// SAFETY: one value of `T::TYPE`.
unsafe impl<T: WasmTy> WasmResults for T {
    const COUNT: usize = 1;
    const NATIVE: bool = is_native::<T>();
    const WORD: bool = is_word::<T>();
    const EXTERNREFS: bool = is_externref::<T>();
    type Native = T::Native;
    fn types() -> impl Iterator<Item = ValType> {
        [T::TYPE].into_iter()
    }
    #[inline]
    fn results_into_native(self, core: &mut StoreCore) -> Result<T::Native, Error> {
        WasmTy::into_native(self, core)
    }
    #[inline]
    unsafe fn results_from_native(raw: T::Native, core: &mut StoreCore) -> Self {
        // SAFETY: by this function's contract.
        unsafe { T::from_native(raw, core) }
    }
    unsafe fn write_results(self, to: *mut ValRaw, core: &mut StoreCore) -> Result<(), Error> {
        // SAFETY: by this function's contract.
        unsafe { write_value(self, to, core) }
    }
    unsafe fn read_results(from: *const ValRaw, core: &mut StoreCore) -> Self {
        // SAFETY: by this function's contract.
        unsafe { read_value(from, core) }
    }
}

/// Calls a macro with each list of names from none to sixteen.
macro_rules! for_each_arity {
    ($m:ident) => {
        for_each_arity!(@ $m [] A1 a1, A2 a2, A3 a3, A4 a4, A5 a5, A6 a6, A7 a7, A8 a8, A9 a9,
            A10 a10, A11 a11, A12 a12, A13 a13, A14 a14, A15 a15, A16 a16);
    };
    (@ $m:ident [$($done:tt)*]) => { $m! { $($done)* } };
    (@ $m:ident [$($done:tt)*] $A:ident $a:ident $(, $($rest:tt)*)?) => {
        $m! { $($done)* }
        for_each_arity!(@ $m [$($done)* $A $a] $($($rest)*)?);
    };
}
pub(crate) use for_each_arity;

const fn count(types: &[ValType]) -> usize {
    types.len()
}

macro_rules! tuples {
    ($($A:ident $a:ident)*) => {
        #[allow(
            unused_variables,
            unused_mut,
            unused_assignments,
            unused_unsafe,
            clippy::unused_unit,
            reason = "for the empty tuple"
        )]
        // SAFETY: the values in order, each of its own type.
        unsafe impl<$($A: WasmTy),*> WasmParams for ($($A,)*) {
            const COUNT: usize = count(&[$($A::TYPE),*]);
            const NATIVE: bool = true $(&& is_native::<$A>())*;
            const WORDS: bool = <Self as WasmParams>::COUNT <= 5 $(&& is_word::<$A>())*;
            const EXTERNREFS: bool = false $(|| is_externref::<$A>())*;
            type Native = ($($A::Native,)*);
            fn types() -> impl Iterator<Item = ValType> {
                [$($A::TYPE),*].into_iter()
            }
            #[inline]
            fn words(($($a,)*): Self::Native) -> Words {
                let mut words = [MaybeUninit::uninit(); 5];
                let mut rest = words.iter_mut();
                $(if let Some(next) = rest.next() { *next = word($a); })*
                words
            }
            #[inline]
            fn params_into_native(self, core: &mut StoreCore) -> Result<Self::Native, Error> {
                let ($($a,)*) = self;
                Ok(($($a.into_native(core)?,)*))
            }
            #[inline]
            unsafe fn call_native<Res: WasmResults>(
                entry: *const u8,
                ctx: *mut c_void,
                code: *const u8,
                ($($a,)*): Self::Native,
            ) -> Res::Native {
                // SAFETY: by this function's contract.
                unsafe {
                    std::mem::transmute::<*const u8, native_entry!(Res::Native $(, $A::Native)*)>(
                        entry,
                    )(ctx, code $(, $a)*)
                }
            }
            unsafe fn write_params(
                self,
                mut to: *mut ValRaw,
                core: &mut StoreCore,
            ) -> Result<(), Error> {
                let ($($a,)*) = self;
                // SAFETY: by this function's contract.
                unsafe {
                    $(write_value($a, to, core)?; to = to.add(1);)*
                }
                Ok(())
            }
        }

        #[allow(
            unused_variables,
            unused_mut,
            unused_assignments,
            unused_unsafe,
            clippy::unused_unit,
            reason = "for the empty tuple"
        )]
        // SAFETY: the values in order, each of its own type. Two or more are never native.
        unsafe impl<$($A: WasmTy),*> WasmResults for ($($A,)*) {
            const COUNT: usize = count(&[$($A::TYPE),*]);
            const NATIVE: bool = <Self as WasmResults>::COUNT == 0;
            const WORD: bool = <Self as WasmResults>::COUNT == 0;
            const EXTERNREFS: bool = false $(|| is_externref::<$A>())*;
            type Native = ();
            fn types() -> impl Iterator<Item = ValType> {
                [$($A::TYPE),*].into_iter()
            }
            #[inline]
            fn results_into_native(self, _: &mut StoreCore) -> Result<(), Error> {
                Ok(())
            }
            #[inline]
            unsafe fn results_from_native(_: (), core: &mut StoreCore) -> Self {
                // Only the empty tuple gets here, which reads nothing.
                let zero = [ValRaw { v128: 0 }; 16];
                // SAFETY: zero is a value of every type.
                unsafe { Self::read_results(zero.as_ptr(), core) }
            }
            unsafe fn write_results(
                self,
                mut to: *mut ValRaw,
                core: &mut StoreCore,
            ) -> Result<(), Error> {
                let ($($a,)*) = self;
                // SAFETY: by this function's contract.
                unsafe {
                    $(write_value($a, to, core)?; to = to.add(1);)*
                }
                Ok(())
            }
            unsafe fn read_results(mut from: *const ValRaw, core: &mut StoreCore) -> Self {
                // SAFETY: by this function's contract.
                unsafe {
                    $(let $a = read_value::<$A>(from, core); from = from.add(1);)*
                    ($($a,)*)
                }
            }
        }
    };
}

for_each_arity!(tuples);

const _: () = assert!(
    MAX_NATIVE_PARAMS == 16,
    "the longest tuple has a native form"
);
