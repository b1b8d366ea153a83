//! Tables that are not frozen.

use std::ops::Range;
use std::ptr::NonNull;

use precast_artifact::vm::ValRaw;

use crate::error::Error;
use crate::store::{AsContext, AsContextMut};
use crate::stored::Stored;
use crate::types::{TableType, ValType};
use crate::val::Val;
use crate::vm::activation::is_active_anywhere;
use crate::vm::quota;
use crate::vm::store::StoreCore;
use crate::vm::table::TableEntity;

/// A table of a store.
///
/// ```
/// use precast_loader::{Engine, Error, Func, Store, Table, TableType, Val, ValType};
///
/// let mut store = Store::new(&Engine::default(), ());
/// let ty = TableType::new(ValType::FUNCREF, 2, None);
/// let table = Table::new(&mut store, ty, Val::FuncRef(None))?;
/// let func = Func::wrap(&mut store, || 7);
/// table.set(&mut store, 1, func.into())?;
/// assert!(matches!(table.get(&store, 0), Some(Val::FuncRef(None))));
/// assert!(table.get(&store, 2).is_none(), "it has two elements");
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
        let made = TableEntity::new(ty, init);
        let mut entity = Box::new(made.inspect_err(|_| core.settle())?);
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

    pub(crate) fn belongs_to(&self, core: &StoreCore) -> bool {
        self.0.belongs_to(core)
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
    pub fn get(&self, store: impl AsContext, index: u64) -> Option<Val> {
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
        let range = range(index, 1, table.len())?;
        table.elements()[range].fill(raw);
        Ok(())
    }

    /// Sets `len` elements from `start` on.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], or [`Error::Type`] if `value` is not of the element type. Nothing
    /// changes then.
    pub fn fill(
        &self,
        mut store: impl AsContextMut,
        start: u64,
        value: Val,
        len: u64,
    ) -> Result<(), Error> {
        let mut store = store.as_context_mut();
        let core = store.core();
        let raw = element_to_raw(&value, self.0.borrow(core).ty().element, core)?;
        let table = self.0.borrow_mut(core);
        let range = range(start, len, table.len())?;
        table.elements()[range].fill(raw);
        Ok(())
    }

    /// Copies `len` elements of `from`, from `src` on, to this table from `dst` on. The tables may
    /// be the same.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], or [`Error::Type`] if the tables have elements of different types.
    /// Nothing changes then.
    ///
    /// # Panics
    /// If one of the tables belongs to another store.
    pub fn copy(
        &self,
        mut store: impl AsContextMut,
        dst: u64,
        from: &Self,
        src: u64,
        len: u64,
    ) -> Result<(), Error> {
        let mut store = store.as_context_mut();
        let core = store.core();
        let (expected, found) = (
            self.0.borrow(core).ty().element,
            from.0.borrow(core).ty().element,
        );
        if found != expected {
            return Err(Error::Type {
                what: "elements of a table".into(),
                found: found.to_string(),
                expected: expected.to_string(),
            });
        }
        let src = range(src, len, from.0.borrow(core).len())?;
        let dst = range(dst, len, self.0.borrow(core).len())?;
        if self.0 == from.0 {
            self.0
                .borrow_mut(core)
                .elements()
                .copy_within(src, dst.start);
            return Ok(());
        }
        let from = from.0.borrow(core).elements_ref()[src].to_vec();
        self.0.borrow_mut(core).elements()[dst].copy_from_slice(&from);
        Ok(())
    }

    /// Gives up its elements, see [`TableEntity::release`], unless code of the store is running.
    pub(crate) fn release(&self, core: &mut StoreCore) {
        // SAFETY: the store is valid.
        if unsafe { is_active_anywhere(core) } {
            return;
        }
        let elements = self.0.borrow_mut(core).release();
        core.usage.release_elements(elements);
        core.settle();
        core.allow_early_collection();
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
    value.check("element of a table", element, core)?;
    // SAFETY: references are 8 bytes, see `ValRaw`.
    Ok(unsafe { value.to_raw_alone(core)?.externref })
}

/// # Errors
/// [`Error::OutOfBounds`].
fn range(start: u64, len: u64, size: usize) -> Result<Range<usize>, Error> {
    let out_of_bounds = Error::OutOfBounds {
        what: "elements of a table",
        start,
        len,
        size: size as u64,
    };
    crate::vm::bounds::range(start, len, size).map_err(|_| out_of_bounds)
}
