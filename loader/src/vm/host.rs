//! Host functions as machine code and their stores keep them. How machine code calls them is in
//! [`shims`](super::shims).

use std::ffi::c_void;
use std::sync::Arc;

use precast_artifact::vm::{ValRaw, VmFuncImport, VmFuncRef, VmStoreContext};

use super::module::MappedModule;
use crate::error::Error;
use crate::types::FuncType;

/// Calls the closure in the [`Body`] that `data` points to with values in an array.
pub(crate) type CallArray =
    unsafe fn(*const VmFuncImport, *const c_void, *mut ValRaw) -> Result<(), Error>;

/// A host function that belongs to no store yet. It works only in stores of one type `T`, which the
/// type that holds it names (see [`Invariant`](crate::store::Invariant)). So this type is not
/// public.
pub(crate) struct HostFunc {
    ty: FuncType,
    type_id: u64,
    /// The shim that takes the place of an exit; null where calling conventions do not allow one.
    direct_shim: *const u8,
    /// The shim that a native exit calls; null if the signature has no native form.
    native_shim: *const u8,
    array_shim: *const u8,
    data: *const c_void,
    /// The [`Body`] that `data` points to.
    _body: Box<dyn std::any::Any + Send + Sync>,
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

impl HostFunc {
    pub(crate) fn with<C: Send + Sync + 'static>(
        ty: FuncType,
        shims: Shims,
        call: CallArray,
        closure: C,
    ) -> Self {
        let body = Box::new(Body { call, closure });
        let data = (&raw const *body).cast();
        let type_id = ty.id();
        let tail_like_c = ty.is_tail_like_c();
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

    /// The pointer that shims find in [`VmFuncImport::data`].
    pub(crate) fn data(&self) -> *const c_void {
        self.data
    }

    /// Code that wasm code can call without an exit of a module, or null.
    pub(crate) fn direct_shim(&self) -> *const u8 {
        self.direct_shim
    }

    /// The code that wasm code of a module with these exits calls, and the shim that the exit
    /// calls.
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

/// The machine-level functions for a closure. Null stands for none.
pub(crate) struct Shims {
    pub(crate) direct: *const u8,
    pub(crate) native: *const u8,
    pub(crate) array: *const u8,
}

/// What the `data` of an import slot points to.
#[repr(C)]
pub(crate) struct Body<C> {
    /// The first field, because callers with an array do not know the type of the closure.
    call: CallArray,
    pub(crate) closure: C,
}

/// A host function that a store owns.
#[repr(C)]
pub(crate) struct StoreFunc {
    /// The first field, because the context of the function reference is a pointer to this struct.
    import: VmFuncImport,
    pub(crate) func_ref: VmFuncRef,
    host: Arc<HostFunc>,
}

/// The address of this static, as array entry, marks function references of host functions. The
/// context of such a reference is a [`VmFuncImport`]: that of a [`StoreFunc`], or the import slot
/// of an instance that passes the function on. The host calls these functions without a trampoline.
pub(crate) static HOST_ENTRY: u8 = 0;

impl StoreFunc {
    /// A function of a store whose instances are of these modules.
    pub(crate) fn new<'a>(
        store: *mut VmStoreContext,
        modules: impl Iterator<Item = &'a MappedModule>,
        host: Arc<HostFunc>,
    ) -> Box<Self> {
        // Without a direct shim, the code is an exit of a module, see `fill`.
        let code = host.direct_shim();
        let import = VmFuncImport {
            code,
            ctx: std::ptr::null_mut(),
            shim: std::ptr::null(),
            data: host.data(),
            owner: std::ptr::null_mut(),
            store,
        };
        let func_ref = VmFuncRef {
            code,
            ctx: std::ptr::null_mut(),
            type_id: host.type_id(),
            array_entry: &raw const HOST_ENTRY,
            native_entry: std::ptr::null(),
        };
        let mut this = Box::new(Self {
            import,
            func_ref,
            host,
        });
        let ctx: *mut c_void = (&raw mut *this).cast();
        this.func_ref.ctx = ctx;
        this.import.ctx = ctx;
        for module in modules {
            this.fill(module);
        }
        this
    }

    /// Takes an exit of `module`, if the function has no code yet and the module has an exit for
    /// its signature.
    ///
    /// No wasm code can call the function before that: a caller's module has exits for every
    /// signature that it calls indirectly, and is added to the store before it runs.
    pub(crate) fn fill(&mut self, module: &MappedModule) {
        if !self.func_ref.code.is_null() {
            return;
        }
        if let Some(record) = module.exits_for(self.host.ty()) {
            let native = module.code(record.native_exit);
            let (code, shim) = self.host.exit(native, module.code(record.array_exit));
            self.func_ref.code = code;
            self.import.code = code;
            self.import.shim = shim;
        }
    }
}

/// The slot that leads to the host function behind a reference, if it is a host function's.
pub(crate) fn host_import(func_ref: &VmFuncRef) -> Option<*const VmFuncImport> {
    let is_host = std::ptr::eq(func_ref.array_entry, &raw const HOST_ENTRY);
    is_host.then(|| func_ref.ctx.cast_const().cast())
}

/// The host function behind a reference, if it is one of the store's own.
///
/// # Safety
/// The store that the reference belongs to lives as long as the result.
pub(crate) unsafe fn host_func<'a>(func_ref: &VmFuncRef) -> Option<&'a Arc<HostFunc>> {
    let import = host_import(func_ref)?;
    // SAFETY: the mark shows that the context is an import slot. A slot without an owner is the
    // first field of a `StoreFunc`, which the store owns.
    unsafe {
        let is_of_store = (*import).owner.is_null();
        is_of_store.then(|| &(*import.cast::<StoreFunc>()).host)
    }
}
