//! A table as its owner, an instance or a store, keeps it.

use std::ptr::NonNull;

use precast_artifact::vm::VmTable;

use super::elements::Elements;
use crate::error::Error;
use crate::types::TableType;

/// A table as its owner, an instance or a store, keeps it.
#[derive(Debug)]
pub(crate) struct TableEntity {
    /// What machine code sees: in the VM context of the owning instance, or `own`.
    vm: *mut VmTable,
    own: VmTable,
    ty: TableType,
    elements: Elements,
    /// Minimum number of elements that code of importing instances relies on.
    expected: u64,
}

impl TableEntity {
    /// A table of `ty.min` times `init`.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is no memory for it.
    pub(crate) fn new(ty: TableType, init: u64) -> Result<Self, Error> {
        let len = usize::try_from(ty.min).unwrap_or(usize::MAX);
        let mut elements = Elements::new(len, init)?;
        let own = VmTable {
            base: elements.as_mut_ptr(),
            len,
        };
        Ok(Self {
            vm: std::ptr::null_mut(),
            own,
            ty,
            elements,
            expected: 0,
        })
    }

    /// Sets where machine code reads the base and the length of this table, and writes them there.
    /// `None` stands for the entity itself, which must not move any more.
    ///
    /// # Safety
    /// The pointer is valid for as long as the entity.
    pub(crate) unsafe fn set_vm(&mut self, vm: Option<NonNull<VmTable>>) {
        self.vm = vm.map_or(&raw mut self.own, NonNull::as_ptr);
        self.update();
    }

    fn update(&mut self) {
        let table = VmTable {
            base: self.elements.as_mut_ptr(),
            len: self.elements.len(),
        };
        // SAFETY: the owner has called `set_vm`.
        unsafe { self.vm.write(table) };
    }

    pub(crate) fn vm(&self) -> *mut VmTable {
        self.vm
    }

    /// The type with the present size as its minimum, which linking compares with.
    pub(crate) fn present_type(&self) -> TableType {
        TableType {
            min: self.elements.len() as u64,
            ..self.ty
        }
    }

    /// The elements. Machine code writes to them too, but never while the host holds this.
    pub(crate) fn elements(&mut self) -> &mut [u64] {
        &mut self.elements
    }

    pub(crate) fn elements_ref(&self) -> &[u64] {
        &self.elements
    }

    pub(crate) fn len(&self) -> usize {
        self.elements.len()
    }

    pub(crate) fn ty(&self) -> TableType {
        self.ty
    }

    /// Calls `visit` with the numbers of the external references in the table.
    pub(crate) fn visit_externrefs(&self, visit: &mut impl FnMut(u64)) {
        if self.ty.element.is_kept() {
            self.elements.iter().copied().for_each(visit);
        }
    }

    /// Notes that code of another instance, which imports the table, relies on this number of
    /// elements. The table has at least as many now.
    pub(super) fn expect(&mut self, elements: u64) {
        self.expected = self.expected.max(elements);
    }

    /// If importers rely on more than the initial size: the number of elements that they rely on,
    /// and the initial number.
    pub(crate) fn expected_beyond_initial(&self) -> Option<(u64, u64)> {
        (self.expected > self.ty.min).then_some((self.expected, self.ty.min))
    }

    /// Restores the initial size, and makes all elements null.
    ///
    /// # Errors
    /// [`Error::Memory`]; some elements may be left then.
    pub(crate) fn reset(&mut self) -> Result<(), Error> {
        // No importer relies on a larger size any more: otherwise the reset was refused.
        self.expected = 0;
        let len = usize::try_from(self.ty.min).unwrap_or(usize::MAX);
        self.elements.reset(len)?;
        // The table is updated at once, because code of other instances may use it if the system
        // refuses something else.
        self.update();
        Ok(())
    }

    /// Gives up the elements of a table whose owner is closed. No code of the store is running.
    ///
    /// The table stays as long as other instances take it to be, because the host may have made
    /// some that the caller does not know. The elements in that part become null, or stay if they
    /// must not be null. Returns how many elements nobody needs from now on.
    pub(crate) fn release(&mut self) -> u64 {
        let before = self.elements.len();
        let needed = usize::try_from(self.expected).unwrap_or(usize::MAX);
        if needed == 0 || self.ty.element.is_nullable() {
            // If there is no memory for the new elements, the old ones stay, which does no harm.
            if let Ok(elements) = Elements::new(needed.min(before), 0) {
                self.elements = elements;
                self.update();
            }
        }
        (before - self.elements.len()) as u64
    }

    /// The number of mappings that the table has of its own.
    pub(crate) fn mappings(&self) -> usize {
        self.elements.mappings()
    }

    /// Bytes that stay resident although nobody uses the table.
    pub(crate) fn kept(&self) -> usize {
        self.elements.kept()
    }

    /// Gives these bytes back, until [`TableEntity::renew`].
    pub(crate) fn discard_kept(&mut self) {
        self.elements.discard_kept();
        self.update();
    }

    /// Makes the elements again that [`TableEntity::discard_kept`] has given back, all of them
    /// null.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is no memory for them.
    pub(crate) fn renew(&mut self) -> Result<(), Error> {
        match self.len() as u64 == self.ty.min {
            true => Ok(()),
            false => self.reset(),
        }
    }

    /// The maximum of its type.
    pub(crate) fn max(&self) -> Option<u64> {
        self.ty.max
    }

    /// The maximum number of elements that the table can have.
    pub(crate) fn max_elements(&self) -> u64 {
        self.ty.max.unwrap_or(u64::MAX).min(u32::MAX.into())
    }

    /// Adds `delta` elements. The caller has checked the maximum.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is no memory for it.
    pub(crate) fn grow(&mut self, delta: u64, init: u64) -> Result<(), Error> {
        let added = usize::try_from(delta).unwrap_or(usize::MAX);
        self.elements.grow(added, init)?;
        self.update();
        Ok(())
    }
}
