//! Functions that the host makes, and its calls of functions with values.
//!
//! Such calls use the *array entry* of the function's signature. Calls with Rust types need not,
//! see [`typed_func`](crate::typed_func).

use std::sync::Arc;

use precast_artifact::vm::ValRaw;

use crate::error::Error;
use crate::func::Func;
use crate::host::Caller;
use crate::into_func::IntoFunc;
use crate::store::AsContextMut;
use crate::types::FuncType;
use crate::val::{Val, check_values};
use crate::vm::externrefs::Point;
use crate::vm::host::HostFunc;
use crate::vm::store::StoreCore;

impl Func {
    /// A host function from a closure over wasm's own types, see [`IntoFunc`].
    pub fn wrap<T: 'static, Params, Results>(
        mut store: impl AsContextMut<Data = T>,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Self {
        Self::from_host(store.as_context_mut().core(), Arc::new(func.into_host()))
    }

    /// A host function whose type is known only at run time.
    ///
    /// The closure gets the arguments and the results, which are zero or null at first. A result of
    /// a wrong type is an error for the caller of the wasm code.
    pub fn new<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        Self::from_host(
            store.as_context_mut().core(),
            Arc::new(HostFunc::new(ty, func)),
        )
    }

    /// Calls the function with values, whose types are checked during the call.
    ///
    /// # Errors
    /// [`Error::Count`], [`Error::Type`] and [`Error::WrongStore`] if the arguments or the number
    /// of results do not fit. Otherwise the error that ended the call early: [`Error::Trap`],
    /// [`Error::Host`], [`Error::Exit`] or any other error of a host function.
    ///
    /// # Panics
    /// The panic of a host function that the call reached continues here.
    pub fn call(
        &self,
        mut store: impl AsContextMut,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<(), Error> {
        let mut store = store.as_context_mut();
        let mut values = self.raw_params(store.core(), params, results.len())?;
        // SAFETY: as many values of the right types as the function takes, and room for its
        // results.
        unsafe { self.call_raw(store.core_ptr(), values.as_mut_ptr())? };
        // SAFETY: the function has written its results.
        unsafe { self.read_results(store.core(), &values, results) };
        Ok(())
    }

    /// The arguments of a call, with room for its results.
    ///
    /// # Errors
    /// [`Error::Count`], [`Error::Type`] and [`Error::WrongStore`].
    ///
    /// # Panics
    /// If the function belongs to another store.
    pub(crate) fn raw_params(
        &self,
        core: &mut StoreCore,
        params: &[Val],
        results: usize,
    ) -> Result<Vec<ValRaw>, Error> {
        let ty = FuncType::from_id(self.type_id(core));
        let counts = [
            ("arguments of a function", params.len(), ty.params().len()),
            (
                "places for results of a function",
                results,
                ty.results().len(),
            ),
        ];
        for (what, found, expected) in counts {
            if found != expected {
                return Err(Error::Count {
                    what,
                    found,
                    expected,
                });
            }
        }
        check_values("arguments of a function", params, ty.params(), core)?;
        core.collect_externrefs(Point::Host);
        let mut values = vec![ValRaw { v128: 0 }; params.len().max(results).max(1)];
        for (raw, param) in values.iter_mut().zip(params) {
            *raw = param.to_raw(core)?;
        }
        Ok(values)
    }

    /// # Safety
    /// A call of the function has written its results to `values`.
    pub(crate) unsafe fn read_results(
        &self,
        core: &StoreCore,
        values: &[ValRaw],
        results: &mut [Val],
    ) {
        let ty = FuncType::from_id(self.type_id(core));
        for ((result, raw), ty) in results.iter_mut().zip(values).zip(ty.results()) {
            // SAFETY: by this function's contract.
            *result = unsafe { Val::from_raw(*ty, *raw, core) };
        }
    }
}
