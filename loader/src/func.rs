//! Functions, and calls from the host.
//!
//! A typed call goes straight to the *native entry* of the function's signature: the arguments are
//! in registers, and nothing is boxed. Signatures without a native entry (see
//! [`is_native`](precast_artifact::signature::is_native)) and untyped calls use the *array entry*.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use precast_artifact::vm::{ValRaw, VmFuncRef};

use crate::arch::{CALLS_WASM, call_wasm};
use crate::error::Error;
use crate::host::Caller;
use crate::into_func::IntoFunc;
use crate::store::{AsContext, AsContextMut, Invariant};
use crate::stored::Stored;
use crate::typed::{WasmParams, WasmResults, from_word};
use crate::types::FuncType;
use crate::val::{Val, check_values};
use crate::vm::activation::{enter, enter_outermost, is_active};
use crate::vm::externrefs::Point;
#[cfg(feature = "async")]
use crate::vm::fiber::HostCall;
use crate::vm::host::{HOST_ENTRY, HostFunc, StoreFunc};
use crate::vm::store::StoreCore;

/// A function of a store: of an instance, or one that the host made.
///
/// ```
/// use precast_loader::{Engine, Error, Func, Store, Val};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let double = Func::wrap(&mut store, |x: i32| 2 * x);
/// let mut results = [Val::I32(0)];
/// double.call(&mut store, &[Val::I32(21)], &mut results)?;
/// assert_eq!(results[0].i32(), Some(42));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Func(Stored<VmFuncRef>);

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

    pub(crate) fn from_host(core: &mut StoreCore, host: Arc<HostFunc>) -> Self {
        let mut func = StoreFunc::new(core.this.cast(), core.modules(), host);
        let this = Self::from_ref(core, NonNull::from(&mut func.func_ref));
        core.made_mut().funcs.push(func);
        this
    }

    /// # Safety
    /// `raw` is null or a function reference that belongs to `core`.
    pub(crate) unsafe fn from_raw(core: &StoreCore, raw: *const VmFuncRef) -> Option<Self> {
        Some(Self::from_ref(core, NonNull::new(raw.cast_mut())?))
    }

    pub(crate) fn from_ref(core: &StoreCore, func_ref: NonNull<VmFuncRef>) -> Self {
        Self(Stored::new(core, func_ref))
    }

    /// # Panics
    /// If the function belongs to another store.
    #[inline]
    pub(crate) fn func_ref(&self, core: &StoreCore) -> NonNull<VmFuncRef> {
        self.0.get(core)
    }

    pub(crate) fn belongs_to(&self, core: &StoreCore) -> bool {
        self.0.belongs_to(core)
    }

    /// The type.
    ///
    /// # Panics
    /// As do all methods, if the function belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        FuncType::from_id(self.0.borrow(&store.as_context().0.core).type_id)
    }

    pub(crate) fn type_id(&self, core: &StoreCore) -> u64 {
        self.0.borrow(core).type_id
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
        let ty = FuncType::from_id(self.0.borrow(core).type_id);
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
        let ty = FuncType::from_id(self.0.borrow(core).type_id);
        for ((result, raw), ty) in results.iter_mut().zip(values).zip(ty.results()) {
            // SAFETY: by this function's contract.
            *result = unsafe { Val::from_raw(*ty, *raw, core) };
        }
    }

    /// # Safety
    /// `core` is the function's store, `values` are its arguments with room for its results.
    pub(crate) unsafe fn call_raw(
        &self,
        core: *mut StoreCore,
        values: *mut ValRaw,
    ) -> Result<(), Error> {
        // SAFETY: by this function's contract; the entry is an array entry unless it is the mark.
        unsafe {
            let func_ref = self.0.get_again().as_ptr();
            let (ctx, code, entry) = ((*func_ref).ctx, (*func_ref).code, (*func_ref).array_entry);
            if std::ptr::eq(entry, &raw const HOST_ENTRY) {
                #[cfg(feature = "async")]
                let _call = HostCall::begin(core);
                return HostFunc::call(ctx.cast_const().cast(), values);
            }
            let entry: unsafe extern "C" fn(*mut c_void, *const u8, *mut ValRaw) =
                std::mem::transmute(entry);
            enter(core, || entry(ctx, code, values))
        }
    }

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
        let expected = FuncType::of(P::types(), R::types());
        let found = self.type_id(&store.as_context().0.core);
        if found != expected.id() {
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
            let func_ref = self.func.0.get_again().as_ptr();
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
