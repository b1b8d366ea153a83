//! Host functions that return futures: `wrap_async`, `func_wrap_async`.
//!
//! Wasm code calls such a function like any other host function, with its arguments in registers
//! where its signature allows that. Its shim polls the future on the stack of the guest's call,
//! which is suspended while the future is pending. A future that is ready at once costs no switch
//! of stacks.

use std::ffi::c_void;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use precast_artifact::vm::{ValRaw, VmFuncImport};

use crate::arch::direct_shim;
use crate::error::Error;
use crate::func::Func;
use crate::host::Caller;
use crate::imports::Import;
use crate::into_func::WasmRet;
use crate::linker::Linker;
use crate::store::AsContextMut;
use crate::typed::{WasmParams, WasmResults, WasmTy, for_each_arity};
use crate::types::FuncType;
use crate::val::Val;
use crate::vm::externrefs::Point;
use crate::vm::fiber::{Fiber, HostFuture, begin_to_poll, suspendable, wait_and_drop, wait_on};
use crate::vm::host::{Body, HostFunc, Shims};
use crate::vm::shims::{array_shim, finish_here};
use crate::vm::store::StoreCore;

/// Parameters of an asynchronous host function: a tuple of up to 16 [`WasmTy`] values that are
/// `Send`. This trait is sealed.
///
/// ```
/// use precast_loader::{Linker, Error, WasmTyList};
///
/// /// Defines a function that takes anything, and does nothing.
/// fn ignore<P: WasmTyList>(linker: &mut Linker<()>, name: &str) -> Result<(), Error> {
///     linker.func_wrap_async("test", name, |_, _: P| Box::new(async {}))?;
///     Ok(())
/// }
/// ```
pub trait WasmTyList: WasmParams + WasmResults + Send + 'static + sealed::List {}

impl<P: WasmParams + WasmResults + Send + 'static + sealed::List> WasmTyList for P {}

/// What a host function returns in Rust: a future of its result.
type Answer<'a, R> = Box<dyn Future<Output = R> + Send + 'a>;

const SHIMS: Shims = Shims {
    direct: std::ptr::null(),
    native: std::ptr::null(),
    array: array_shim as *const u8,
};

pub(crate) mod sealed {
    use super::{NativeCall, Shims, WasmParams};

    /// What [`WasmTyList`](super::WasmTyList) needs besides the values.
    pub trait List: WasmParams + Sized {
        /// Shims that make a call, for a signature with a native form.
        #[expect(private_bounds, private_interfaces, reason = "the trait is sealed")]
        fn shims<C: NativeCall<Self>>() -> Shims;
    }
}

/// What native shims for parameters `P` do.
pub(crate) trait NativeCall<P> {
    /// What they return to wasm code.
    type Native;

    /// Whether the result has external references.
    const EXTERNREFS: bool;

    /// # Safety
    /// `import` is the slot of the function, which wasm code has called with these arguments.
    unsafe fn call(import: *const VmFuncImport, params: P) -> Result<Self::Native, Error>;
}

macro_rules! list {
    ($($A:ident $a:ident)*) => {
        impl<$($A: WasmTy),*> sealed::List for ($($A,)*) {
            #[expect(
                private_bounds,
                private_interfaces,
                reason = "the trait is sealed"
            )]
            #[allow(unused_variables, clippy::unused_unit, reason = "for the empty tuple")]
            fn shims<C: NativeCall<Self>>() -> Shims {
                unsafe extern "C" fn native<C, $($A: WasmTy),*>(
                    import: *const VmFuncImport,
                    $($a: $A::Native),*
                ) -> C::Native
                where
                    C: NativeCall<($($A,)*)>,
                {
                    // SAFETY: machine code calls this through the native exit of the signature.
                    unsafe {
                        let call = AssertUnwindSafe(|| {
                            let core = (*import).store.cast::<StoreCore>();
                            let params = ($($A::from_native($a, &*core),)*);
                            if const { C::EXTERNREFS } {
                                (*core).collect_externrefs(Point::Shim);
                            }
                            C::call(import, params)
                        });
                        finish_here(import, catch_unwind(call))
                    }
                }

                direct_shim! {
                    fn direct<C, $($A: WasmTy),*>() -> native::<C, $($A),*>
                    where
                        C: NativeCall<($($A,)*)>
                }

                Shims {
                    direct: direct_shim!(direct::<C, $($A),*>),
                    native: native::<C, $($A),*> as *const u8,
                    array: SHIMS.array,
                }
            }
        }
    };
}

for_each_arity!(list);

/// The calls of a closure.
struct Typed<T, F, R>(PhantomData<(T, F, R)>);

impl<T: Send + 'static, F, P: WasmTyList, R: WasmRet> NativeCall<P> for Typed<T, F, R>
where
    F: for<'a> Fn(Caller<'a, T>, P) -> Answer<'a, R> + 'static,
{
    type Native = <R::Ok as WasmResults>::Native;

    const EXTERNREFS: bool = <R::Ok as WasmResults>::EXTERNREFS;

    #[inline]
    unsafe fn call(import: *const VmFuncImport, params: P) -> Result<Self::Native, Error> {
        let convert = |result: R::Ok, core: &mut StoreCore| result.results_into_native(core);
        // SAFETY: by the contract of this function.
        unsafe { Self::run(import, params, convert) }
    }
}

impl<T: Send + 'static, F, R: WasmRet> Typed<T, F, R> {
    /// Calls the closure in the body of a slot, waits for its future, and converts the result.
    ///
    /// # Errors
    /// That of the closure or of `convert`; an error if the call cannot be suspended, or is to end.
    ///
    /// # Safety
    /// `import` is the slot of a function with an `F`, which was just called.
    #[inline]
    unsafe fn run<P: WasmTyList, O>(
        import: *const VmFuncImport,
        params: P,
        convert: impl Fn(R::Ok, &mut StoreCore) -> Result<O, Error> + Copy,
    ) -> Result<O, Error>
    where
        F: for<'a> Fn(Caller<'a, T>, P) -> Answer<'a, R> + 'static,
    {
        // SAFETY: by this function's contract; nothing is held here but the future.
        unsafe {
            let fiber = suspendable((*import).store.cast())?;
            match Self::begin(fiber, import, params, convert)? {
                ControlFlow::Break(done) => Ok(done),
                ControlFlow::Continue(future) => {
                    let result = wait_on(fiber, future)?;
                    Self::end(import, result, convert)
                }
            }
        }
    }

    /// What happens before the code can be suspended: makes the future, polls it once, and if it is
    /// ready, that is all.
    ///
    /// This and [`end`](Self::end) are never inlined: they may use thread-locals, and their caller
    /// may continue on another thread than it began on.
    ///
    /// # Errors
    /// That of the closure or of `convert`.
    ///
    /// # Safety
    /// As for [`Typed::run`]; `fiber` is what [`suspendable`] has returned.
    #[inline(never)]
    unsafe fn begin<'a, P: WasmTyList, O>(
        fiber: NonNull<Fiber>,
        import: *const VmFuncImport,
        params: P,
        convert: impl Fn(R::Ok, &mut StoreCore) -> Result<O, Error>,
    ) -> Result<ControlFlow<O, HostFuture<'a, R>>, Error>
    where
        F: Fn(Caller<'a, T>, P) -> Answer<'a, R> + 'static,
    {
        // SAFETY: by this function's contract; `data` is a body with an `F`.
        unsafe {
            let func = &(*(*import).data.cast::<Body<F>>()).closure;
            let future = Box::into_pin(func(Caller::new(import), params));
            match begin_to_poll(fiber, future) {
                ControlFlow::Continue(future) => Ok(ControlFlow::Continue(future)),
                ControlFlow::Break(result) => {
                    let core = &mut *(*import).store.cast::<StoreCore>();
                    convert(result.into_result()?, core).map(ControlFlow::Break)
                }
            }
        }
    }

    /// What happens after the code was suspended.
    ///
    /// # Errors
    /// As for [`Typed::begin`].
    ///
    /// # Safety
    /// As for [`Typed::run`].
    #[inline(never)]
    unsafe fn end<O>(
        import: *const VmFuncImport,
        result: R,
        convert: impl Fn(R::Ok, &mut StoreCore) -> Result<O, Error>,
    ) -> Result<O, Error> {
        // SAFETY: by this function's contract.
        let core = unsafe { &mut *(*import).store.cast::<StoreCore>() };
        convert(result.into_result()?, core)
    }
}

impl HostFunc {
    /// A host function that returns a future, from a closure over wasm's own types.
    pub(crate) fn wrap_async<T: Send + 'static, F, P: WasmTyList, R: WasmRet>(func: F) -> Self
    where
        F: for<'a> Fn(Caller<'a, T>, P) -> Answer<'a, R> + Send + Sync + 'static,
    {
        unsafe fn array<T: Send + 'static, F, P: WasmTyList, R: WasmRet>(
            import: *const VmFuncImport,
            _: *const c_void,
            values: *mut ValRaw,
        ) -> Result<(), Error>
        where
            F: for<'a> Fn(Caller<'a, T>, P) -> Answer<'a, R> + 'static,
        {
            // SAFETY: the values are those of the signature, with room for the results.
            unsafe {
                let params = P::read_results(values, &mut *(*import).store.cast());
                let convert =
                    |result: R::Ok, core: &mut StoreCore| result.write_results(values, core);
                Typed::<T, F, R>::run(import, params, convert)
            }
        }

        let ty = FuncType::of(<P as WasmParams>::types(), <R::Ok as WasmResults>::types());
        let is_native = <P as WasmParams>::NATIVE && <R::Ok as WasmResults>::NATIVE;
        let shims = match is_native {
            true => P::shims::<Typed<T, F, R>>(),
            false => SHIMS,
        };
        Self::with(ty, shims, array::<T, F, P, R>, func)
    }

    /// A host function that returns a future, and whose type is known only at run time.
    pub(crate) fn new_async<T: Send + 'static, F>(ty: FuncType, func: F) -> Self
    where
        F: for<'a> Fn(Caller<'a, T>, &'a [Val], &'a mut [Val]) -> Answer<'a, Result<(), Error>>
            + Send
            + Sync
            + 'static,
    {
        struct Dynamic<F> {
            ty: FuncType,
            func: F,
        }

        #[inline(never)]
        unsafe fn begin(
            ty: &FuncType,
            import: *const VmFuncImport,
            values: *mut ValRaw,
        ) -> (Vec<Val>, Vec<Val>) {
            // SAFETY: by the contract of `call`.
            unsafe {
                let core = (*import).store.cast::<StoreCore>();
                let param = |(i, ty): (usize, &_)| Val::from_raw(*ty, *values.add(i), &*core);
                let params = ty.params().iter().enumerate().map(param).collect();
                let results = ty.results().iter().copied().map(Val::default_for).collect();
                (params, results)
            }
        }

        #[inline(never)]
        unsafe fn start<'a, T: 'static, F>(
            func: &F,
            import: *const VmFuncImport,
            params: &'a [Val],
            results: &'a mut [Val],
        ) -> HostFuture<'a, Result<(), Error>>
        where
            F: Fn(Caller<'a, T>, &'a [Val], &'a mut [Val]) -> Answer<'a, Result<(), Error>>,
        {
            // SAFETY: by the contract of `call`.
            Box::into_pin(func(unsafe { Caller::new(import) }, params, results))
        }

        #[inline(never)]
        unsafe fn end(
            ty: &FuncType,
            import: *const VmFuncImport,
            done: Result<Result<(), Error>, Error>,
            (_, results): (Vec<Val>, Vec<Val>),
            values: *mut ValRaw,
        ) -> Result<(), Error> {
            done??;
            // SAFETY: by the contract of `call`.
            let core = unsafe { &mut *(*import).store.cast::<StoreCore>() };
            for (i, (result, ty)) in results.iter().zip(ty.results()).enumerate() {
                result.check("result of a host function", *ty, core)?;
                let raw = result.to_raw(core)?;
                // SAFETY: as above.
                unsafe { *values.add(i) = raw };
            }
            Ok(())
        }

        unsafe fn call<T: Send + 'static, F>(
            import: *const VmFuncImport,
            data: *const c_void,
            values: *mut ValRaw,
        ) -> Result<(), Error>
        where
            F: for<'a> Fn(Caller<'a, T>, &'a [Val], &'a mut [Val]) -> Answer<'a, Result<(), Error>>
                + 'static,
        {
            // SAFETY: `data` is the body of the closure below; the values are those of its type,
            // and there is room for its results; nothing is held here but the future and values.
            unsafe {
                let fiber = suspendable((*import).store.cast())?;
                let Dynamic { ty, func } = &(*data.cast::<Body<Dynamic<F>>>()).closure;
                let (params, mut results) = begin(ty, import, values);
                let future = start(func, import, &params, &mut results);
                let done = wait_and_drop(fiber, future);
                end(ty, import, done, (params, results), values)
            }
        }
        let closure = Dynamic {
            ty: ty.clone(),
            func,
        };
        Self::with(ty, SHIMS, call::<T, F>, closure)
    }
}

impl Func {
    /// A host function from a closure that returns a future. Wasm code that calls the function is
    /// suspended while the future is pending, and its thread does other things.
    ///
    /// The parameters are a tuple, and the result of the future is a [`WasmRet`]. The function can
    /// be called only by calls that can be suspended ([`Func::call_async`] and the like), without a
    /// synchronous host function in between: otherwise the call ends with [`Error::NotAsync`].
    ///
    /// ```
    /// use precast_loader::{Engine, Error, Func, Store};
    ///
    /// # fn block_on<F: Future>(future: F) -> F::Output {
    /// #     let mut future = std::pin::pin!(future);
    /// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop {
    /// #         if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut context) {
    /// #             return done;
    /// #         }
    /// #     }
    /// # }
    /// let mut store = Store::new(&Engine::default(), 40);
    /// let add = Func::wrap_async(&mut store, |caller, (more,): (i32,)| {
    ///     Box::new(async move { *caller.data() + more })
    /// });
    /// let add = add.typed::<i32, i32>(&store)?;
    /// assert_eq!(block_on(add.call_async(&mut store, 2))?, 42);
    /// assert!(matches!(add.call(&mut store, 2), Err(Error::NotAsync)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wrap_async<T: Send + 'static, F, P: WasmTyList, R: WasmRet>(
        mut store: impl AsContextMut<Data = T>,
        func: F,
    ) -> Self
    where
        F: for<'a> Fn(Caller<'a, T>, P) -> Box<dyn Future<Output = R> + Send + 'a>
            + Send
            + Sync
            + 'static,
    {
        let host = Arc::new(HostFunc::wrap_async(func));
        Self::from_host(store.as_context_mut().core(), host)
    }

    /// [`Func::new`] from a closure that returns a future, see [`Func::wrap_async`].
    pub fn new_async<T: Send + 'static, F>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: F,
    ) -> Self
    where
        F: for<'a> Fn(
                Caller<'a, T>,
                &'a [Val],
                &'a mut [Val],
            ) -> Box<dyn Future<Output = Result<(), Error>> + Send + 'a>
            + Send
            + Sync
            + 'static,
    {
        let host = Arc::new(HostFunc::new_async(ty, func));
        Self::from_host(store.as_context_mut().core(), host)
    }
}

impl<T: Send + 'static> Linker<T> {
    /// Defines a host function from a closure that returns a future, see [`Func::wrap_async`].
    ///
    /// # Errors
    /// [`Error::Duplicate`].
    pub fn func_wrap_async<F, P: WasmTyList, R: WasmRet>(
        &mut self,
        module: &str,
        name: &str,
        func: F,
    ) -> Result<&mut Self, Error>
    where
        F: for<'a> Fn(Caller<'a, T>, P) -> Box<dyn Future<Output = R> + Send + 'a>
            + Send
            + Sync
            + 'static,
    {
        let host = Arc::new(HostFunc::wrap_async(func));
        self.insert(module, name, Import::Host(host))
    }

    /// Defines a host function from a closure that returns a future, with a type that is known only
    /// at run time, see [`Func::new_async`].
    ///
    /// # Errors
    /// [`Error::Duplicate`].
    pub fn func_new_async<F>(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: F,
    ) -> Result<&mut Self, Error>
    where
        F: for<'a> Fn(
                Caller<'a, T>,
                &'a [Val],
                &'a mut [Val],
            ) -> Box<dyn Future<Output = Result<(), Error>> + Send + 'a>
            + Send
            + Sync
            + 'static,
    {
        let host = Arc::new(HostFunc::new_async(ty, func));
        self.insert(module, name, Import::Host(host))
    }
}
