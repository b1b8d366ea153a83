//! Host functions that return futures: `wrap_async`, `func_wrap_async`.
//!
//! Such a function is called like one whose type is known only at run time, with its values in an
//! array. Its shim polls the future on the stack of the guest's call, which is suspended while the
//! future is pending. A future that is ready at once costs no switch of stacks.

use std::ffi::c_void;
use std::future::Future;
use std::sync::Arc;

use precast_artifact::vm::{ValRaw, VmFuncImport};

use crate::error::Error;
use crate::func::Func;
use crate::host::Caller;
use crate::imports::Import;
use crate::into_func::WasmRet;
use crate::linker::Linker;
use crate::store::AsContextMut;
use crate::typed::{WasmParams, WasmResults};
use crate::types::FuncType;
use crate::val::Val;
use crate::vm::fiber::{HostFuture, suspendable, wait_and_drop};
use crate::vm::host::{Body, HostFunc, Shims};
use crate::vm::shims::array_shim;
use crate::vm::store::StoreCore;

/// Parameters of an asynchronous host function: a tuple of up to 16 [`WasmTy`](crate::WasmTy)
/// values.
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
pub trait WasmTyList: WasmParams + WasmResults + Send + 'static {}

impl<P: WasmParams + WasmResults + Send + 'static> WasmTyList for P {}

/// What a host function returns in Rust: a future of its result.
type Answer<'a, R> = Box<dyn Future<Output = R> + Send + 'a>;

const SHIMS: Shims = Shims {
    direct: std::ptr::null(),
    native: std::ptr::null(),
    array: array_shim as *const u8,
};

impl HostFunc {
    /// A host function that returns a future, from a closure over wasm's own types.
    pub(crate) fn wrap_async<T: Send + 'static, F, P: WasmTyList, R: WasmRet>(func: F) -> Self
    where
        F: for<'a> Fn(Caller<'a, T>, P) -> Answer<'a, R> + Send + Sync + 'static,
    {
        /// The parts before and after the wait are functions that are never inlined: they may use
        /// thread-locals, and the call may continue on another thread than it began on.
        #[inline(never)]
        unsafe fn begin<'a, T: 'static, F, P: WasmTyList, R>(
            import: *const VmFuncImport,
            data: *const c_void,
            values: *mut ValRaw,
        ) -> HostFuture<'a, R>
        where
            F: Fn(Caller<'a, T>, P) -> Answer<'a, R> + 'static,
        {
            // SAFETY: by the contract of `call`.
            unsafe {
                let core = (*import).store.cast::<StoreCore>();
                let params = P::read_results(values, &mut *core);
                let func = &(*data.cast::<Body<F>>()).closure;
                Box::into_pin(func(Caller::new(import), params))
            }
        }

        #[inline(never)]
        unsafe fn end<R: WasmRet>(
            import: *const VmFuncImport,
            result: R,
            values: *mut ValRaw,
        ) -> Result<(), Error> {
            // SAFETY: by the contract of `call`.
            let core = unsafe { &mut *(*import).store.cast::<StoreCore>() };
            // SAFETY: as above.
            unsafe { result.into_result()?.write_results(values, core) }
        }

        unsafe fn call<T: Send + 'static, F, P: WasmTyList, R: WasmRet>(
            import: *const VmFuncImport,
            data: *const c_void,
            values: *mut ValRaw,
        ) -> Result<(), Error>
        where
            F: for<'a> Fn(Caller<'a, T>, P) -> Answer<'a, R> + 'static,
        {
            // SAFETY: the values are those of the signature, with room for the results; `data` is a
            // body with an `F`; nothing is held here but the future.
            unsafe {
                let fiber = suspendable((*import).store.cast())?;
                let future = begin::<T, F, P, R>(import, data, values);
                let result = wait_and_drop(fiber, future)?;
                end(import, result, values)
            }
        }

        let ty = FuncType::of(<P as WasmParams>::types(), <R::Ok as WasmResults>::types());
        Self::with(ty, SHIMS, call::<T, F, P, R>, func)
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
