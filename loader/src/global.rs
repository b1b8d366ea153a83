//! Globals.

use std::ptr::NonNull;

use precast_artifact::vm::ValRaw;

use crate::error::Error;
use crate::store::{AsContext, AsContextMut};
use crate::stored::Stored;
use crate::types::GlobalType;
use crate::val::Val;
use crate::vm::global::{GlobalValue, HostGlobal, read_global, write_global};
use crate::vm::store::StoreCore;

/// A global of a store.
///
/// ```
/// use precast_loader::{Engine, Error, Global, GlobalType, Store, Val, ValType};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let counter = Global::new(&mut store, GlobalType::new(ValType::I32, true), Val::I32(1))?;
/// counter.set(&mut store, Val::I32(2))?;
/// assert_eq!(counter.get(&store).i32(), Some(2));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Global {
    place: Stored<GlobalValue>,
    ty: GlobalType,
}

impl Global {
    /// A global that the host makes.
    ///
    /// # Errors
    /// [`Error::Type`] if `value` is not of the global's type, [`Error::WrongStore`] for a function
    /// of another store.
    pub fn new(mut store: impl AsContextMut, ty: GlobalType, value: Val) -> Result<Self, Error> {
        let mut store = store.as_context_mut();
        let core = store.core();
        value.check("value of a global", ty.content, core)?;
        let value = value.to_raw_alone(core)?;
        let mut cell = Box::new(HostGlobal { value, ty });
        let this = Self::from_raw(core, NonNull::from(&mut cell.value).cast(), ty);
        core.made_mut().globals.push(cell);
        Ok(this)
    }

    pub(crate) fn from_raw(core: &StoreCore, value: NonNull<u8>, ty: GlobalType) -> Self {
        let place = Stored::new(core, value.cast());
        Self { place, ty }
    }

    pub(crate) fn belongs_to(&self, core: &StoreCore) -> bool {
        self.place.belongs_to(core)
    }

    /// # Panics
    /// If the global belongs to another store.
    pub(crate) fn value(&self, core: &StoreCore) -> NonNull<u8> {
        self.place.get(core).cast()
    }

    /// The type.
    pub fn ty(&self) -> GlobalType {
        self.ty
    }

    /// The value.
    ///
    /// # Panics
    /// If the global belongs to another store.
    pub fn get(&self, store: impl AsContext) -> Val {
        let store = store.as_context();
        let core = &store.0.core;
        // SAFETY: the store owns the global, whose place holds a value of its type.
        unsafe {
            Val::from_raw(
                self.ty.content,
                read_global(self.value(core), self.ty),
                core,
            )
        }
    }

    /// Sets the value.
    ///
    /// # Errors
    /// [`Error::Immutable`] for an immutable global, [`Error::Type`] if `value` is not of the
    /// global's type, [`Error::WrongStore`] for a function of another store.
    ///
    /// # Panics
    /// If the global belongs to another store.
    pub fn set(&self, mut store: impl AsContextMut, value: Val) -> Result<(), Error> {
        if !self.ty.mutable {
            return Err(Error::Immutable {
                found: self.ty.content,
            });
        }
        let mut store = store.as_context_mut();
        let core = store.core();
        value.check("value of a global", self.ty.content, core)?;
        let raw = value.to_raw_alone(core)?;
        // SAFETY: the store owns the global and is borrowed exclusively.
        unsafe { write_global(self.value(core), self.ty, raw) };
        Ok(())
    }

    /// Makes an external reference or an exception in it null, unless it must not be.
    pub(crate) fn release(&self, core: &mut StoreCore) {
        if self.ty.content.is_kept() && self.ty.content.is_nullable() {
            // SAFETY: the store owns the global and is borrowed exclusively.
            unsafe { write_global(self.value(core), self.ty, ValRaw { externref: 0 }) };
            core.allow_early_collection();
        }
    }
}
