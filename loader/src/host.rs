//! Host functions: their callers, and closures whose type is known only at run time.

use std::ffi::c_void;
use std::ptr::NonNull;

use precast_artifact::vm::{ValRaw, VmContextHeader, VmFuncImport};

use crate::engine::Engine;
use crate::error::Error;
use crate::externs::Extern;
use crate::instance::Instance;
use crate::interface::ModuleExport;
use crate::store::{AsContext, AsContextMut, StoreContext, StoreContextMut, StoreInner};
use crate::types::FuncType;
use crate::val::Val;
use crate::vm::host::{Body, HostFunc, Shims};
use crate::vm::instance::InstanceData;
use crate::vm::shims::array_shim;
use crate::vm::store::StoreCore;

/// The caller of a host function: its store, and the exports of the calling instance.
///
/// ```
/// use precast_loader::{Caller, Engine, Error, Extern, Linker};
///
/// let mut linker: Linker<Vec<u8>> = Linker::new(&Engine::default());
/// let write = |mut caller: Caller<'_, Vec<u8>>, at: u32, len: u32| -> Result<(), Error> {
///     let memory = caller.get_export("memory").and_then(Extern::into_memory);
///     let memory = memory.ok_or_else(|| Error::host("the guest exports no memory"))?;
///     let (bytes, output) = memory.data_and_store_mut(&mut caller);
///     let bytes = bytes.get(at as usize..).and_then(|bytes| bytes.get(..len as usize));
///     output.extend(bytes.ok_or_else(|| Error::host("the text is outside of the memory"))?);
///     Ok(())
/// };
/// linker.func_wrap("env", "write", write)?;
/// # Ok::<(), Error>(())
/// ```
pub struct Caller<'a, T: 'static> {
    store: StoreContextMut<'a, T>,
    owner: *mut VmContextHeader,
}

// SAFETY: a caller is exclusive access to its store, and `T` is the only part of a store that may
// not be `Send`. Wasm code that another thread enters through it gets that thread's stack limit.
unsafe impl<T: Send> Send for Caller<'_, T> {}
// SAFETY: a shared caller gives out only shared references to the data, and reads fields.
unsafe impl<T: Sync> Sync for Caller<'_, T> {}

impl<'a, T: 'static> Caller<'a, T> {
    /// # Safety
    /// `import` is a slot of a host function of a `Store<T>` that nobody else is using until the
    /// caller is gone.
    pub(crate) unsafe fn new(import: *const VmFuncImport) -> Self {
        // SAFETY: by this function's contract.
        unsafe {
            let store = (*import).store.cast::<StoreInner<T>>();
            Self {
                store: StoreContextMut::new(NonNull::new_unchecked(store)),
                owner: (*import).owner,
            }
        }
    }

    /// An export of the [instance](Self::instance) that imported the host function. `None` if there
    /// is no such export or no instance.
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        if self.owner.is_null() {
            return None;
        }
        // SAFETY: the owner is a live instance of this store.
        let instance = unsafe { (*self.owner).instance.cast::<InstanceData>() };
        let core = self.store.core();
        // SAFETY: as above; the instance is not part of the store's own fields.
        let item = unsafe { (*instance).export(name)? };
        Some(Extern::from_item(core, item))
    }

    /// The export of the instance that imported the host function at a place in its module, see
    /// [`Module::get_export_index`](crate::Module::get_export_index).
    pub fn get_module_export(&mut self, export: &ModuleExport) -> Option<Extern> {
        self.instance()?.get_module_export(&mut *self, export)
    }

    /// The engine of the store.
    pub fn engine(&self) -> &Engine {
        self.store.engine()
    }

    /// The instance that imported the host function, and calls it or gave a reference to it: one
    /// that exports it again, or has put it into a table, from where others call it. An instance
    /// that imports such an export and calls it is meant itself.
    ///
    /// `None` for a function that no instance has imported: the host calls it, or has put it into a
    /// table.
    pub fn instance(&mut self) -> Option<Instance> {
        let owner = NonNull::new(self.owner)?;
        // SAFETY: the owner is a live instance of this store.
        let data = NonNull::new(unsafe { owner.as_ref().instance.cast() })?;
        Some(Instance::from_data(self.store.core(), data))
    }

    /// The data of the host.
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The data of the host.
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
            // SAFETY: `data` is the body of the closure below; the values are those of its type,
            // and there is room for its results.
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
                    result.check("result of a host function", *ty, &*core)?;
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
}
