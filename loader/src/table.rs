//! Tables that are not frozen.

use std::ptr::NonNull;

use precast_artifact::ValType;
use precast_artifact::vm::ValRaw;

use crate::error::Error;
use crate::store::{AsContext, AsContextMut};
use crate::stored::Stored;
use crate::types::TableType;
use crate::val::Val;
use crate::vm::quota;
use crate::vm::store::StoreCore;
use crate::vm::table::TableEntity;

/// A table of a store.
///
/// ```
/// use precast_loader::{Engine, Error, Func, Store, Table, TableType, Val, ValType};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let ty = TableType::new(ValType::FuncRef, 2, None);
/// let table = Table::new(&mut store, ty, Val::FuncRef(None))?;
/// let func = Func::wrap(&mut store, || 7);
/// table.set(&mut store, 1, func.into())?;
/// assert!(matches!(table.get_element(&store, 0), Some(Val::FuncRef(None))));
/// assert!(table.get_element(&store, 2).is_none(), "it has two elements");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Table(Stored<TableEntity>);

impl Table {
    /// A table that the host makes, with `ty.min` times the element `init`.
    ///
    /// # Errors
    /// [`Error::InvalidType`] when there can be no such table, [`Error::Type`] when `init` is not
    /// of the element type, [`Error::Limit`] beyond the store's limits, [`Error::Memory`] when
    /// there is no memory for it, [`Error::Refused`] and any other error by the store's limiter.
    pub fn new(mut store: impl AsContextMut, ty: TableType, init: Val) -> Result<Self, Error> {
        ty.check()?;
        let mut store = store.as_context_mut();
        let init = element_to_raw(&init, ty.element, store.core())?;
        // SAFETY: the store is borrowed exclusively.
        let demand = unsafe { quota::for_table(store.core_ptr(), ty)? };
        let core = store.core();
        let mut entity = Box::new(TableEntity::new(ty, init)?);
        // SAFETY: a boxed entity does not move.
        unsafe { entity.set_vm(None) };
        let this = Self::from_entity(core, NonNull::from(&mut *entity));
        core.made_mut().tables.push(entity);
        core.usage.add(&demand);
        Ok(this)
    }

    pub(crate) fn from_entity(core: &StoreCore, entity: NonNull<TableEntity>) -> Self {
        Self(Stored::new(core, entity))
    }

    /// # Panics
    /// If the table belongs to another store.
    pub(crate) fn entity(&self, core: &StoreCore) -> NonNull<TableEntity> {
        self.0.get(core)
    }

    /// The type that the table was declared with.
    ///
    /// # Panics
    /// All methods panic if the table belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> TableType {
        self.0.borrow(&store.as_context().0.core).ty()
    }

    /// Number of elements.
    pub fn size(&self, store: impl AsContext) -> u64 {
        self.0.borrow(&store.as_context().0.core).len() as u64
    }

    /// The element at an index; `None` outside of the table.
    pub fn get_element(&self, store: impl AsContext, index: u64) -> Option<Val> {
        let store = store.as_context();
        let core = &store.0.core;
        let table = self.0.borrow(core);
        let raw = *table.elements_ref().get(usize::try_from(index).ok()?)?;
        // SAFETY: elements of a table are references of its element type that belong to its store.
        Some(unsafe { Val::from_raw(table.ty().element, ValRaw { externref: raw }, core) })
    }

    /// Sets an element.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], or [`Error::Type`] if `value` is not of the element type.
    pub fn set(&self, mut store: impl AsContextMut, index: u64, value: Val) -> Result<(), Error> {
        let mut store = store.as_context_mut();
        let core = store.core();
        let raw = element_to_raw(&value, self.0.borrow(core).ty().element, core)?;
        let table = self.0.borrow_mut(core);
        let size = table.len() as u64;
        let what = "elements of a table";
        let element = usize::try_from(index)
            .ok()
            .and_then(|i| table.elements().get_mut(i));
        *element.ok_or(Error::OutOfBounds {
            what,
            start: index,
            len: 1,
            size,
        })? = raw;
        Ok(())
    }

    /// Adds `delta` elements, and returns the number of elements before.
    ///
    /// # Errors
    /// [`Error::Type`] if `init` is not of the element type, [`Error::Limit`] beyond the table's
    /// maximum or the store's limits, [`Error::Memory`] if there is no memory for it,
    /// [`Error::Refused`] or any other error of the store's limiter.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64, init: Val) -> Result<u64, Error> {
        let mut store = store.as_context_mut();
        let core = store.core();
        let (entity, element) = (self.entity(core), self.0.borrow(core).ty().element);
        let raw = element_to_raw(&init, element, core)?;
        // SAFETY: the store owns the entity and is borrowed exclusively.
        Ok(unsafe { quota::grow_table(store.core_ptr(), entity, delta, raw)? })
    }
}

fn element_to_raw(value: &Val, element: ValType, core: &mut StoreCore) -> Result<u64, Error> {
    value.check("element of a table", element)?;
    // SAFETY: references are 8 bytes, see `ValRaw`.
    Ok(unsafe { value.to_raw_alone(core)?.externref })
}
