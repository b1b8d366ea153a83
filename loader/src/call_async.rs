//! Calls that can be suspended, as futures: `call_async`, `instantiate_async`.
//!
//! The future of a call owns what gives access to the store, so nobody else uses the store while
//! the call is suspended. It is `Send` if that is, and any executor can poll it, on any thread. See
//! [`fiber`](crate::vm::fiber) for how a call is suspended.

use precast_artifact::vm::{ValRaw, VmFuncRef};

use crate::error::Error;
use crate::externs::Extern;
use crate::func::Func;
use crate::instance::{Begun, Instance};
use crate::instance_pre::InstancePre;
use crate::linker::Linker;
use crate::module::Module;
use crate::store::{AsContextMut, StoreContextMut};
use crate::typed::{WasmParams, WasmResults};
use crate::typed_func::TypedFunc;
use crate::val::Val;
use crate::vm::activation::enter_on_fiber;
use crate::vm::externrefs::Point;
use crate::vm::fiber::GuestCall;
use crate::vm::host::{HostFunc, host_import};
use crate::vm::store::StoreCore;

/// A call on a stack of its own.
///
/// # Safety
/// As for [`GuestCall::new`]; the caller holds the access to the store for as long as the future.
unsafe fn on_fiber<T, F, R>(store: &StoreContextMut<'_, T>, call: F) -> GuestCall<F, R>
where
    T: Send + 'static,
    F: FnOnce(*mut StoreCore, usize) -> Result<R, Error>,
{
    let settings = store.engine().config().async_stacks();
    // SAFETY: by this function's contract.
    unsafe { GuestCall::new(store.core_ptr(), settings, call) }
}

/// Calls a function from the fiber itself.
///
/// # Errors
/// The error that ended the call early.
///
/// # Safety
/// `func_ref` is a function of `core`, `values` are its arguments with room for its results, and
/// this is the only call of a fiber whose stack ends at `low`.
unsafe fn call_raw(
    func_ref: *const VmFuncRef,
    core: *mut StoreCore,
    low: usize,
    values: *mut ValRaw,
) -> Result<(), Error> {
    // SAFETY: by this function's contract; the entry is an array entry unless it is the mark.
    unsafe {
        if let Some(import) = host_import(&*func_ref) {
            return HostFunc::call(import, values);
        }
        let (ctx, code) = ((*func_ref).ctx, (*func_ref).code);
        let entry: unsafe extern "C" fn(*mut std::ffi::c_void, *const u8, *mut ValRaw) =
            std::mem::transmute((*func_ref).array_entry);
        enter_on_fiber(core, low, || entry(ctx, code, values))
    }
}

/// Values on their way to a fiber and back.
struct Values(Vec<ValRaw>);

// SAFETY: references of a store, which moves to another thread together with them.
unsafe impl Send for Values {}

/// A start function on its way to a fiber.
struct Start(VmFuncRef);

// SAFETY: as above.
unsafe impl Send for Start {}

impl Func {
    /// Calls the function like [`Func::call`], but on a stack of its own, so that host functions
    /// can wait without blocking the thread (see [`Func::wrap_async`]). The call begins when the
    /// future is first polled.
    ///
    /// Dropping the future before it is ready ends the call: no more wasm code runs, as after a
    /// trap, and the futures of host functions are dropped. The store can be used again then. After
    /// a future was leaked, every later call of wasm code in its store, and every later
    /// `call_async`, fails with [`Error::Suspended`]. A host function that the host itself calls by
    /// [`Func::call`] needs no wasm code, and runs as before.
    ///
    /// # Errors
    /// As for [`Func::call`]; [`Error::Memory`] if there is no room for a stack.
    ///
    /// # Panics
    /// As for [`Func::call`], in the poll of the future.
    pub async fn call_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<(), Error> {
        let func = *self;
        let call = {
            let mut store = store.as_context_mut();
            let mut values = Values(func.raw_params(store.core(), params, results.len())?);
            // SAFETY: `store` is held until the future is gone; as many values of the right types
            // as the function takes, and room for its results.
            unsafe {
                on_fiber(&store, move |core, low| {
                    let func_ref = func.func_ref(&*core).as_ptr();
                    call_raw(func_ref, core, low, Values::as_mut_ptr(&mut values))?;
                    Ok(values)
                })
            }
        };
        let values = call.await?;
        // SAFETY: the function has written its results.
        unsafe { func.read_results(store.as_context_mut().core(), &values.0, results) };
        Ok(())
    }
}

impl Values {
    /// A method, so that a closure that calls it captures the whole value.
    fn as_mut_ptr(&mut self) -> *mut ValRaw {
        self.0.as_mut_ptr()
    }
}

impl<P: WasmParams, R: WasmResults> TypedFunc<P, R> {
    /// Calls the function like [`TypedFunc::call`], but on a stack of its own, so that host
    /// functions can wait without blocking the thread, see [`Func::call_async`].
    ///
    /// ```
    /// use precast_loader::{Error, Store, TypedFunc};
    ///
    /// /// The future can move between threads, because the data of the store can.
    /// fn answer(
    ///     mut store: Store<u32>,
    ///     question: TypedFunc<i32, i32>,
    /// ) -> impl Future<Output = Result<i32, Error>> + Send {
    ///     async move { question.call_async(&mut store, 42).await }
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`TypedFunc::call`]; [`Error::Memory`] if there is no room for a stack.
    ///
    /// # Panics
    /// As for [`TypedFunc::call`], in the poll of the future.
    pub async fn call_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        params: P,
    ) -> Result<R, Error> {
        let func = *self.func();
        let call = {
            let mut store = store.as_context_mut();
            // Panics if the function belongs to another store.
            func.func_ref(store.core());
            // SAFETY: `store` is held until the future is gone; the type was checked when this was
            // made.
            unsafe {
                on_fiber(&store, move |core, low| {
                    Self::enter(func, core, low, params)
                })
            }
        };
        call.await
    }

    /// # Safety
    /// The function is one of `core` and of this type, and this is the only call of a fiber whose
    /// stack ends at `low`.
    unsafe fn enter(func: Func, core: *mut StoreCore, low: usize, params: P) -> Result<R, Error> {
        // SAFETY: by this function's contract; the array has room for parameters and results, of
        // which there are at most 16.
        unsafe {
            let func_ref = func.func_ref(&*core).as_ptr();
            let (ctx, code) = ((*func_ref).ctx, (*func_ref).code);
            let entry = (*func_ref).native_entry;
            if const { P::EXTERNREFS } {
                (*core).collect_externrefs(Point::Host);
            }
            if P::NATIVE && R::NATIVE && !entry.is_null() {
                let params = params.params_into_native(&mut *core)?;
                let call = || P::call_native::<R>(entry, ctx, code, params);
                let raw = enter_on_fiber(core, low, call)?;
                return Ok(R::results_from_native(raw, &mut *core));
            }
            const { assert!(P::COUNT <= 16 && R::COUNT <= 16) };
            let mut values = [ValRaw { v128: 0 }; 16];
            params.write_params(values.as_mut_ptr(), &mut *core)?;
            call_raw(func_ref, core, low, values.as_mut_ptr())?;
            Ok(R::read_results(values.as_ptr(), &mut *core))
        }
    }
}

/// Runs the start function of an instance, if there is one, on a stack of its own.
async fn finish<S: AsContextMut<Data: Send>>(
    mut store: S,
    begin: impl FnOnce(&mut StoreContextMut<'_, S::Data>) -> Result<Begun, Error>,
) -> Result<Instance, Error> {
    let (instance, call) = {
        let mut store = store.as_context_mut();
        let Begun { instance, start } = begin(&mut store)?;
        let Some(start) = start.map(Start) else {
            return Ok(instance);
        };
        // SAFETY: `store` is held until the future is gone. A start function has no parameters and
        // no results.
        let call = unsafe {
            on_fiber(&store, move |core, low| {
                call_raw(start.func_ref(), core, low, &mut ValRaw { v128: 0 })
            })
        };
        (instance, call)
    };
    call.await?;
    Ok(instance)
}

impl Start {
    /// A method, so that a closure that calls it captures the whole value.
    fn func_ref(&self) -> &VmFuncRef {
        &self.0
    }
}

impl Instance {
    /// Does what [`Instance::new`] does. The start function runs on a stack of its own, see
    /// [`Func::call_async`].
    ///
    /// # Errors
    /// As for [`Instance::new`].
    ///
    /// # Panics
    /// As for [`Instance::new`].
    pub async fn new_async(
        store: impl AsContextMut<Data: Send>,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Self, Error> {
        finish(store, |store| Self::begin_new(store, module, imports)).await
    }
}

impl<T: Send + 'static> InstancePre<T> {
    /// Does what [`InstancePre::instantiate`] does. The start function runs on a stack of its own,
    /// see [`Func::call_async`]. Without a start function, the future is ready at once.
    ///
    /// # Errors
    /// As for [`InstancePre::instantiate`].
    ///
    /// # Panics
    /// As for [`InstancePre::instantiate`].
    pub async fn instantiate_async(
        &self,
        store: impl AsContextMut<Data = T>,
    ) -> Result<Instance, Error> {
        finish(store, |store| self.begin(store)).await
    }
}

impl<T: Send + 'static> Linker<T> {
    /// Does what [`Linker::instantiate`] does. The start function runs on a stack of its own, see
    /// [`Func::call_async`].
    ///
    /// # Errors
    /// As for [`Linker::instantiate`].
    pub async fn instantiate_async(
        &self,
        store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance, Error> {
        self.instantiate_pre(module)?.instantiate_async(store).await
    }
}
