//! Host functions: Rust closures that wasm code calls.
//!
//! Each typed closure gets *shims*, machine-level functions made for its very types (see
//! [`into_func`](crate::into_func)). Wasm code
//! reaches the native one with the arguments in registers, through an exit trampoline of its own
//! module; or, where calling conventions allow, through the direct one, which notes the edge of the
//! wasm frames as an exit does and jumps on: no frame, no second call. The array shim serves
//! signatures that have no native form, and closures whose type is known at run time only.
//!
//! A shim catches panics. When the closure is done and everything it owned is dropped, an error or
//! panic ends the activation (see [`activation`](crate::activation)): nothing ever unwinds through
//! wasm frames.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use precast_artifact::TrapCode;
use precast_artifact::signature::is_tail_like_c;
use precast_artifact::vm::{ValRaw, VmContextHeader, VmFuncImport};

use crate::activation::raise;
use crate::arch::ARCH;
use crate::error::{Ending, Error};
use crate::externref::Point;
use crate::instance::{Extern, Instance, InstanceData};
use crate::interrupt;
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut, StoreCore, StoreInner};
use crate::types::FuncType;
use crate::val::Val;

/// What a host function sees of its caller: the store, and the calling instance's exports.
pub struct Caller<'a, T: 'static> {
    store: StoreContextMut<'a, T>,
    owner: *mut VmContextHeader,
}

impl<'a, T: 'static> Caller<'a, T> {
    /// # Safety
    /// `import` is a slot of a host function of a `Store<T>` that nobody else is using until the
    /// caller is gone.
    pub(crate) unsafe fn new(import: *const VmFuncImport) -> Self {
        // SAFETY: by this function's contract.
        unsafe {
            let store = (*import).store.cast::<StoreInner<T>>();
            Self {
                store: StoreContextMut(&mut *store),
                owner: (*import).owner,
            }
        }
    }

    /// An export of the instance that imported the host function; `None` if there is no such
    /// export, or no instance because the call came from the host or through a table.
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        if self.owner.is_null() {
            return None;
        }
        // SAFETY: the owner is a live instance of this store.
        let instance = unsafe { (*self.owner).instance.cast::<InstanceData>() };
        let core = self.store.core();
        // SAFETY: as above; the instance is not part of the store's own fields.
        unsafe { (*instance).export(core, name) }
    }

    /// The instance that imported the host function; `None` if the call came from the host or
    /// through a table.
    pub fn instance(&mut self) -> Option<Instance> {
        let owner = NonNull::new(self.owner)?;
        // SAFETY: the owner is a live instance of this store.
        let data = NonNull::new(unsafe { owner.as_ref().instance.cast() })?;
        Some(Instance::from_data(self.store.core(), data))
    }

    /// The host's data.
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The host's data.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }
}

impl<T: 'static> AsContext for Caller<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        self.store.as_context()
    }
}

impl<T: 'static> AsContextMut for Caller<'_, T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        self.store.as_context_mut()
    }
}

/// Calls the closure in the [`Body`] that `data` points to with values in an array.
pub(crate) type CallArray =
    unsafe fn(*const VmFuncImport, *const c_void, *mut ValRaw) -> Result<(), Error>;

/// A host function, of no store yet. It works in stores of one type `T` only, and whoever keeps it
/// says which (see [`Invariant`](crate::store::Invariant)): so it is no public type.
#[doc(hidden)]
pub struct HostFunc {
    ty: FuncType,
    type_id: u64,
    /// Takes the place of an exit; null where it cannot.
    direct_shim: *const u8,
    /// Called by a native exit; null where there is none for the signature.
    native_shim: *const u8,
    array_shim: *const u8,
    data: *const c_void,
    /// What `data` points to: a [`Body`].
    _body: Box<dyn Any + Send + Sync>,
}

// SAFETY: the closure is Send and Sync; the other pointers lead to code.
unsafe impl Send for HostFunc {}
// SAFETY: as above.
unsafe impl Sync for HostFunc {}

impl std::fmt::Debug for HostFunc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostFunc({})", self.ty)
    }
}

struct Dynamic<F> {
    ty: FuncType,
    func: F,
}

impl HostFunc {
    pub(crate) fn new<T: 'static, F>(ty: FuncType, func: F) -> Self
    where
        F: Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), Error> + Send + Sync + 'static,
    {
        unsafe fn call<T: 'static, F>(
            import: *const VmFuncImport,
            data: *const c_void,
            values: *mut ValRaw,
        ) -> Result<(), Error>
        where
            F: Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<(), Error> + 'static,
        {
            // SAFETY: `data` is the body of the closure below; the values are those of its type, and there is
            // room for its results.
            unsafe {
                let Dynamic { ty, func } = &(*data.cast::<Body<Dynamic<F>>>()).closure;
                let core = (*import).store.cast::<StoreCore>();
                let params: Vec<_> = (0..)
                    .zip(ty.params())
                    .map(|(i, ty)| Val::from_raw(*ty, *values.add(i), &*core))
                    .collect();
                let mut results: Vec<_> = ty
                    .results()
                    .iter()
                    .map(|ty| Val::default_for(*ty))
                    .collect();
                func(Caller::new(import), &params, &mut results)?;
                for (i, (result, ty)) in results.iter().zip(ty.results()).enumerate() {
                    result.check("result of a host function", *ty)?;
                    *values.add(i) = result.to_raw(&mut *core)?;
                }
                Ok(())
            }
        }
        let closure = Dynamic {
            ty: ty.clone(),
            func,
        };
        Self::with(
            ty,
            Shims {
                direct: std::ptr::null(),
                native: std::ptr::null(),
                array: array_shim as *const u8,
            },
            call::<T, F>,
            closure,
        )
    }

    pub(crate) fn with<C: Send + Sync + 'static>(
        ty: FuncType,
        shims: Shims,
        call: CallArray,
        closure: C,
    ) -> Self {
        let body = Box::new(Body { call, closure });
        let data = (&raw const *body).cast();
        let type_id = ty.id();
        let tail_like_c = is_tail_like_c(ARCH, ty.params(), ty.results());
        Self {
            direct_shim: if tail_like_c {
                shims.direct
            } else {
                std::ptr::null()
            },
            ty,
            type_id,
            native_shim: shims.native,
            array_shim: shims.array,
            data,
            _body: body,
        }
    }

    pub(crate) fn ty(&self) -> &FuncType {
        &self.ty
    }

    pub(crate) fn type_id(&self) -> u64 {
        self.type_id
    }

    /// What shims find in [`VmFuncImport::data`].
    pub(crate) fn data(&self) -> *const c_void {
        self.data
    }

    /// Code for wasm to call that needs no module's exit, or null.
    pub(crate) fn direct_shim(&self) -> *const u8 {
        self.direct_shim
    }

    /// What wasm code of a module with these exits calls, and the shim that an exit goes on to.
    pub(crate) fn exit(&self, native: *const u8, array: *const u8) -> (*const u8, *const u8) {
        if !self.direct_shim.is_null() {
            (self.direct_shim, self.native_shim)
        } else if native.is_null() || self.native_shim.is_null() {
            (array, self.array_shim)
        } else {
            (native, self.native_shim)
        }
    }

    /// Calls the function behind an import slot from the host.
    ///
    /// # Safety
    /// The values fit its type, with room for the results; `import` is a host function's slot in
    /// a store that nobody else is using.
    pub(crate) unsafe fn call(
        import: *const VmFuncImport,
        values: *mut ValRaw,
    ) -> Result<(), Error> {
        // SAFETY: by this function's contract.
        unsafe {
            let data = (*import).data;
            (*data.cast::<CallArray>())(import, data, values)
        }
    }
}

/// The machine-level functions made for a closure; null: none.
pub(crate) struct Shims {
    pub(crate) direct: *const u8,
    pub(crate) native: *const u8,
    pub(crate) array: *const u8,
}

/// What the `data` of an import slot points to.
#[repr(C)]
pub(crate) struct Body<C> {
    /// First: who calls through an array does not know the closure's type.
    call: CallArray,
    pub(crate) closure: C,
}

/// Ends the activation if the closure failed or panicked.
///
/// # Safety
/// Called by a shim that was called by machine code, its closure being done.
pub(crate) unsafe fn finish<R>(
    import: *const VmFuncImport,
    result: std::thread::Result<Result<R, Error>>,
) -> R {
    let ending = match result {
        // SAFETY: the slot's store is live: its code is calling.
        Ok(Ok(result)) if unsafe { !interrupt::is_raised((*import).store) } => return result,
        Ok(Ok(_)) => Ending::Trap(TrapCode::Interrupt),
        Ok(Err(error)) => Ending::Error(error),
        Err(panic) => Ending::Panic(panic),
    };
    // SAFETY: by this function's contract; `ending` is moved, nothing else is left to drop.
    unsafe { raise((*import).store.cast(), ending) }
}

pub(crate) unsafe extern "C" fn array_shim(import: *const VmFuncImport, values: *mut ValRaw) {
    // SAFETY: machine code calls this through an exit of the function's signature.
    unsafe {
        let call = AssertUnwindSafe(|| {
            // The arguments are still in a frame of machine code.
            (*(*import).store.cast::<StoreCore>()).collect_externrefs(Point::Shim);
            HostFunc::call(import, values)
        });
        finish(import, catch_unwind(call));
    }
}
