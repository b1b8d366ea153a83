//! Rust closures that can be host functions, and the shims for their types.
//!
//! The traits are sealed: their methods are in supertraits, in a module that no other crate can
//! name. A host function runs only in stores of the very `T` that it was made for, and only the
//! type parameter of [`IntoFunc`] says which `T` that is. An implementation of `IntoFunc` in
//! another crate could return a function of another `T`.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use precast_artifact::vm::{ValRaw, VmFuncImport};

use crate::arch::direct_shim;
use crate::error::{BoxError, Error};
use crate::host::Caller;
use crate::typed::{WasmParams, WasmResults, WasmTy, for_each_arity, read_value};
use crate::types::FuncType;
use crate::vm::externrefs::Point;
use crate::vm::host::{Body, HostFunc, Shims};
use crate::vm::shims::{array_shim, finish};
use crate::vm::store::StoreCore;

/// A closure that can be a host function: `Fn(A, B, …) -> R` or `Fn(Caller<'_, T>, A, B, …) -> R`
/// with up to 16 [`WasmTy`] parameters and a [`WasmRet`] result, `Send + Sync + 'static`.
///
/// This trait is sealed: it is implemented for all such closures and functions, and for nothing
/// else.
///
/// ```
/// use precast_loader::{Caller, Engine, Error, Linker};
///
/// fn draw() -> Result<u64, Error> {
///     Err(Error::host("the urn is empty"))
/// }
///
/// let mut linker: Linker<u32> = Linker::new(&Engine::default());
/// linker.func_wrap("env", "add", |a: i32, b: i32| a + b)?;
/// linker.func_wrap("env", "count", |mut caller: Caller<'_, u32>| *caller.data_mut() += 1)?;
/// linker.func_wrap("env", "draw", draw)?;
/// # Ok::<(), Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a host function of a store of `{T}`",
    label = "not a closure over wasm's own types",
    note = "a host function is a closure `Fn(A, B, …) -> R` or `Fn(Caller<'_, {T}>, A, B, …) -> R` \
            that is `Send + Sync + 'static`, where each parameter is a `WasmTy` and the result a \
            `WasmRet`"
)]
pub trait IntoFunc<T: 'static, Params, Results>: sealed::IntoHost<T, Params, Results> {}

impl<T: 'static, Params, Results, F> IntoFunc<T, Params, Results> for F where
    F: sealed::IntoHost<T, Params, Results>
{
}

/// What a host function may return: results, or a `Result` of results and any error that converts
/// into `Box<dyn std::error::Error + Send + Sync>`: [`Error`], those of the standard library, the
/// host's own, `anyhow::Error`. The caller of the wasm code finds it in [`Error::Host`]. This trait
/// is sealed.
///
/// ```
/// use precast_loader::{Engine, Error, Linker};
///
/// let mut linker: Linker<()> = Linker::new(&Engine::default());
/// linker.func_wrap("env", "nothing", || {})?;
/// linker.func_wrap("env", "two", || (1_i32, 2.5_f64))?;
/// linker.func_wrap("env", "perhaps", || -> Result<i64, std::io::Error> { Ok(3) })?;
/// # Ok::<(), Error>(())
/// ```
pub trait WasmRet: sealed::Ret {}

impl<R: sealed::Ret> WasmRet for R {}

pub(crate) mod sealed {
    use super::{Error, HostFunc, WasmResults};

    /// What [`IntoFunc`](super::IntoFunc) does.
    pub trait IntoHost<T: 'static, Params, Results>: Send + Sync + 'static {
        #[expect(private_interfaces, reason = "the trait is sealed")]
        fn into_host(self) -> HostFunc;
    }

    /// What [`WasmRet`](super::WasmRet) does.
    pub trait Ret {
        type Ok: WasmResults;
        fn into_result(self) -> Result<Self::Ok, Error>;
    }
}

impl<R: WasmResults> sealed::Ret for R {
    type Ok = R;
    #[inline]
    fn into_result(self) -> Result<R, Error> {
        Ok(self)
    }
}

impl<R: WasmResults, E: Into<BoxError> + 'static> sealed::Ret for Result<R, E> {
    type Ok = R;
    #[inline]
    fn into_result(self) -> Result<R, Error> {
        self.map_err(Error::host)
    }
}

macro_rules! into_func {
    ($($A:ident $a:ident)*) => {
        impl<T: 'static, F, Ret, $($A: WasmTy),*> sealed::IntoHost<T, ($($A,)*), Ret> for F
        where
            F: Fn($($A),*) -> Ret + Send + Sync + 'static,
            Ret: WasmRet,
        {
            #[expect(private_interfaces, reason = "the trait is sealed")]
            fn into_host(self) -> HostFunc {
                let func = move |_: Caller<'_, T>, $($a: $A),*| self($($a),*);
                sealed::IntoHost::<T, (Caller<'_, T>, $($A,)*), Ret>::into_host(func)
            }
        }

        #[allow(unused_variables, unused_mut, unused_assignments, reason = "for no parameters")]
        impl<T: 'static, F, Ret, $($A: WasmTy),*>
            sealed::IntoHost<T, (Caller<'_, T>, $($A,)*), Ret> for F
        where
            F: Fn(Caller<'_, T>, $($A),*) -> Ret + Send + Sync + 'static,
            Ret: WasmRet,
        {
            #[expect(private_interfaces, reason = "the trait is sealed")]
            fn into_host(self) -> HostFunc {
                unsafe extern "C" fn native<T: 'static, F, Ret, $($A: WasmTy),*>(
                    import: *const VmFuncImport,
                    $($a: $A::Native),*
                ) -> <Ret::Ok as WasmResults>::Native
                where
                    F: Fn(Caller<'_, T>, $($A),*) -> Ret + 'static,
                    Ret: WasmRet,
                {
                    // SAFETY: machine code calls this through the native exit of the signature;
                    // `data` is a body with an `F`.
                    unsafe {
                        let call = AssertUnwindSafe(|| {
                            let core = (*import).store.cast::<StoreCore>();
                            let func = &(*(*import).data.cast::<Body<F>>()).closure;
                            $(let $a = $A::from_native($a, &*core);)*
                            if const { <Ret::Ok as WasmResults>::EXTERNREFS } {
                                (*core).collect_externrefs(Point::Shim);
                            }
                            let result = func(Caller::new(import), $($a),*).into_result()?;
                            result.results_into_native(&mut *core)
                        });
                        finish(import, catch_unwind(call))
                    }
                }

                unsafe fn array<T: 'static, F, Ret, $($A: WasmTy),*>(
                    import: *const VmFuncImport,
                    data: *const c_void,
                    values: *mut ValRaw,
                ) -> Result<(), Error>
                where
                    F: Fn(Caller<'_, T>, $($A),*) -> Ret + 'static,
                    Ret: WasmRet,
                {
                    // SAFETY: the values are those of the signature, with room for the results;
                    // `data` is a body with an `F`.
                    unsafe {
                        let core = (*import).store.cast::<StoreCore>();
                        let mut at = values.cast_const();
                        $(let $a = read_value::<$A>(at, &mut *core); at = at.add(1);)*
                        let func = &(*data.cast::<Body<F>>()).closure;
                        let result = func(Caller::new(import), $($a),*).into_result()?;
                        result.write_results(values, &mut *core)
                    }
                }

                direct_shim! {
                    fn direct<T: 'static, F, Ret, $($A: WasmTy),*>() -> native::<T, F, Ret, $($A),*>
                    where
                        F: Fn(Caller<'_, T>, $($A),*) -> Ret + 'static,
                        Ret: WasmRet,
                }

                let ty = FuncType::of([$($A::TYPE),*], <Ret::Ok as WasmResults>::types());
                let is_native = <($($A,)*) as WasmParams>::NATIVE
                    && <Ret::Ok as WasmResults>::NATIVE;
                let mut shims = Shims {
                    direct: std::ptr::null(),
                    native: std::ptr::null(),
                    array: array_shim as *const u8,
                };
                if is_native {
                    shims.direct = direct_shim!(direct::<T, F, Ret, $($A),*>);
                    shims.native = native::<T, F, Ret, $($A),*> as *const u8;
                }
                let call = array::<T, F, Ret, $($A),*>;
                HostFunc::with(ty, shims, call, self)
            }
        }
    };
}

for_each_arity!(into_func);
