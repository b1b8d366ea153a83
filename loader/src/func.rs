//! Functions as the host has them. How they are called with values is in [`calls`](crate::calls),
//! and with Rust types in [`typed_func`](crate::typed_func).

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use precast_artifact::vm::{ValRaw, VmFuncRef};

use crate::error::Error;
use crate::store::AsContext;
use crate::stored::Stored;
use crate::types::FuncType;
use crate::vm::activation::enter;
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

    /// [`Func::func_ref`] without the check, for callers that have called it before.
    #[inline]
    pub(crate) fn func_ref_again(&self) -> NonNull<VmFuncRef> {
        self.0.get_again()
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

    /// # Safety
    /// `core` is the function's store, `values` are its arguments with room for its results.
    pub(crate) unsafe fn call_raw(
        &self,
        core: *mut StoreCore,
        values: *mut ValRaw,
    ) -> Result<(), Error> {
        // SAFETY: by this function's contract; the entry is an array entry unless it is the mark.
        unsafe {
            let func_ref = self.func_ref_again().as_ptr();
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
}
