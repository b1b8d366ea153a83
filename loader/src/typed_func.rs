//! Functions with a type that is known when the host is compiled, and calls of them.
//!
//! A typed call goes straight to the *native entry* of the function's signature: the arguments are
//! in registers, and nothing is boxed. Signatures without a native entry (see
//! [`is_native`](precast_artifact::signature::is_native)) use the *array entry*.

use std::marker::PhantomData;

use precast_artifact::vm::ValRaw;

use crate::arch::{CALLS_WASM, call_wasm};
use crate::error::Error;
use crate::func::Func;
use crate::store::{AsContext, AsContextMut, Invariant};
use crate::typed::{WasmParams, WasmResults, from_word};
use crate::types::{FuncType, own_id};
use crate::vm::activation::{enter, enter_outermost, is_active};
use crate::vm::externrefs::Point;
use crate::vm::store::StoreCore;

impl Func {
    /// The function with a type that is checked once, here. Results may have a more general type
    /// than the function's, and parameters a more special one: `Option<Func>` is a type for the
    /// result of every function that gives a reference to a function.
    ///
    /// # Errors
    /// [`Error::Type`] if the function has another type.
    pub fn typed<P: WasmParams, R: WasmResults>(
        &self,
        store: impl AsContext,
    ) -> Result<TypedFunc<P, R>, Error> {
        let found = self.type_id(&store.as_context().0.core);
        if own_id(P::types(), R::types()) != Some(found) {
            let expected = FuncType::of(P::types(), R::types());
            let found = FuncType::from_id(found);
            if !found.can_be_called_as(&expected) {
                return Err(Error::Type {
                    what: "function".into(),
                    found: found.to_string(),
                    expected: expected.to_string(),
                });
            }
        }
        Ok(TypedFunc {
            func: *self,
            types: PhantomData,
        })
    }
}

/// A function whose type was checked when this was made, and is known when the host is compiled.
///
/// ```
/// use precast_loader::{Engine, Error, Func, Store, TypedFunc};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let add = Func::wrap(&mut store, |a: i64, b: i64| a + b);
/// let add: TypedFunc<(i64, i64), i64> = add.typed(&store)?;
/// assert_eq!(add.call(&mut store, (1, 2))?, 3);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct TypedFunc<P, R> {
    func: Func,
    types: Invariant<(P, R)>,
}

impl<P, R> Clone for TypedFunc<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, R> Copy for TypedFunc<P, R> {}

impl<P: WasmParams, R: WasmResults> TypedFunc<P, R> {
    /// The function.
    pub fn func(&self) -> &Func {
        &self.func
    }

    /// Calls it.
    ///
    /// # Errors
    /// The error that ended the call early, see [`Func::call`], and [`Error::Type`] if an argument
    /// is a function of another store.
    ///
    /// # Panics
    /// The panic of a host function that the call reached continues here. This also panics if the
    /// function belongs to another store.
    #[inline(always)]
    pub fn call(&self, mut store: impl AsContextMut, params: P) -> Result<R, Error> {
        let core = store.as_context_mut().core_ptr();
        // SAFETY: the type was checked when this was made; the store is the right one (`func_ref`
        // checks it), is borrowed exclusively, and no reference to it is used until the call is
        // over.
        unsafe {
            let func_ref = self.func.func_ref(&*core).as_ptr();
            if const { P::EXTERNREFS } {
                (*core).collect_externrefs(Point::Host);
            }
            if !P::NATIVE || !R::NATIVE || (*func_ref).native_entry.is_null() {
                return self.call_array(core, params);
            }
            if const { !CALLS_WASM || !P::WORDS || !R::WORD } {
                return self.call_native(core, params);
            }
            if is_active(core) {
                return self.call_nested(core, params);
            }
            let (ctx, code) = ((*func_ref).ctx, (*func_ref).code);
            let words = P::words(params.params_into_native(&mut *core)?);
            let vm = &raw mut (*core).vm;
            let word = enter_outermost(core, || call_wasm(vm, ctx, code, words))?;
            Ok(R::results_from_native(from_word(word), &mut *core))
        }
    }

    /// # Safety
    /// As in `call`; there is a native entry.
    #[inline(always)]
    unsafe fn call_native(&self, core: *mut StoreCore, params: P) -> Result<R, Error> {
        // SAFETY: by this function's contract.
        unsafe {
            let func_ref = self.func.func_ref_again().as_ptr();
            let (ctx, code) = ((*func_ref).ctx, (*func_ref).code);
            let entry = (*func_ref).native_entry;
            let params = params.params_into_native(&mut *core)?;
            let raw = enter(core, || P::call_native::<R>(entry, ctx, code, params))?;
            Ok(R::results_from_native(raw, &mut *core))
        }
    }

    /// # Safety
    /// As for `call_native`.
    #[cold]
    #[inline(never)]
    unsafe fn call_nested(&self, core: *mut StoreCore, params: P) -> Result<R, Error> {
        // SAFETY: by this function's contract.
        unsafe { self.call_native(core, params) }
    }

    /// # Safety
    /// As in `call`.
    #[inline(never)]
    unsafe fn call_array(&self, core: *mut StoreCore, params: P) -> Result<R, Error> {
        // SAFETY: by this function's contract; the array has room for parameters and results.
        unsafe {
            let mut values = vec![ValRaw { v128: 0 }; P::COUNT.max(R::COUNT).max(1)];
            params.write_params(values.as_mut_ptr(), &mut *core)?;
            self.func.call_raw(core, values.as_mut_ptr())?;
            Ok(R::read_results(values.as_ptr(), &mut *core))
        }
    }
}
