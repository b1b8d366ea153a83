//! The end of a store, and closing an instance in a store that goes on.
//!
//! When a store is dropped, its instances are parked for the next store of the thread.
//!
//! Tables and import slots of the store may lead to functions of the instance, and machine code may
//! hold its context, or base and length of its memories. So every part of it lives until the store
//! is dropped (see [`precast_artifact::promises`]). Closing does these things:
//!
//! - It gives the pages of the instance's memories back to the system. Base, length and access stay
//!   the same, and the bytes are the initial ones again. The memories cannot grow any more.
//! - Wherever the store has the address of code that is called with the instance's context, it
//!   writes the address of [`closed`], which ends the activation with [`Error::Closed`]. So no code
//!   of the instance is entered any more, except by running code that has read the old address.
//!   That code finds the instance as it was.
//! - If no code of the store is running and no open instance imports from this one, its tables and
//!   globals give up what they hold ([`StoreCore::empty_instance`]). Instances of the host may
//!   import its tables all the same, so what they rely on stays ([`TableEntity::release`]). Shared
//!   memories, its own and imported ones, give their pages back if nobody has them any more but
//!   closed instances of the store.
//!
//! [`TableEntity::release`]: super::table::TableEntity::release

use std::ptr::NonNull;

use precast_artifact::vm::{VmContextHeader, VmFuncImport, VmFuncRef};

use super::activation::raise;
use super::ending::Ending;
use super::instance::{Closed, InstanceData};
use super::pool;
use super::store::StoreCore;
use crate::arch::closed_entry;
use crate::error::Error;

impl Drop for StoreCore {
    fn drop(&mut self) {
        self.forget_interrupts();
        let ran = self.ran();
        for instance in self.instances.drain(..) {
            pool::park(instance, ran);
        }
    }
}

impl StoreCore {
    /// Closes an instance of this store. The exit code of the first call counts.
    ///
    /// # Safety
    /// The instance is one of this store's, and no reference to it or another one is held.
    pub(crate) unsafe fn close_instance(
        &mut self,
        instance: NonNull<InstanceData>,
        exit_code: u32,
    ) {
        // SAFETY: by this function's contract, here and below.
        let (ctx, has_importers) = unsafe {
            let instance = &mut *instance.as_ptr();
            if instance.closed.is_some() {
                return;
            }
            instance.closed = Some(Closed {
                exit_code,
                entry: closed as *const u8,
                emptied: false,
            });
            for memory in &mut instance.memories {
                self.usage.release(memory.release());
            }
            self.settle();
            (instance.vmctx, instance.has_importers)
        };
        if has_importers {
            for other in &mut self.instances {
                other.replace_code(ctx, closed as *const u8);
            }
        } else {
            // SAFETY: as above.
            unsafe { (*instance.as_ptr()).replace_code(ctx, closed as *const u8) };
        }
    }
}

impl StoreCore {
    /// Gives back what a closed instance has in tables and globals of its own.
    ///
    /// # Safety
    /// As for [`StoreCore::close_instance`]. No code of the store is running, and no code of the
    /// instance runs any more.
    pub(crate) unsafe fn empty_instance(&mut self, instance: NonNull<InstanceData>) {
        // SAFETY: by this function's contract.
        let instance = unsafe { &mut *instance.as_ptr() };
        for table in &mut instance.tables {
            self.usage.release_elements(table.release());
        }
        instance.forget_kept_globals();
        let closed = instance.closed.as_mut();
        if closed.is_some_and(|closed| !std::mem::replace(&mut closed.emptied, true)) {
            let own = instance.memories.iter().map(|memory| (memory, true));
            let imported = instance.shared_imports.iter();
            let imported = imported.map(|memory| (&**memory, false));
            for (memory, is_own) in own.chain(imported) {
                if let Some(shared) = memory.shared() {
                    let together = self.made_mut().together.get_or_insert_default();
                    let bytes = together.give_up(shared, is_own);
                    self.usage.release(bytes);
                }
            }
        }
        self.settle();
        // What the references led to is worth a collection, if the store needs its memory.
        self.allow_early_collection();
    }
}

impl InstanceData {
    /// Writes `code` wherever this instance has the address of code for this context.
    fn replace_code(&mut self, ctx: NonNull<VmContextHeader>, code: *const u8) {
        let ctx = ctx.as_ptr().cast();
        let vm = self.module.artifact().header().vm;
        let imports = self.at::<VmFuncImport>(vm.func_imports);
        for i in 0..vm.func_import_count as usize {
            // SAFETY: the parser checked that the slots are inside the context.
            unsafe {
                let slot = imports.add(i);
                if (*slot).ctx == ctx {
                    (*slot).code = code;
                }
            }
        }
        let refs = self.at::<VmFuncRef>(vm.funcrefs);
        for i in 0..vm.funcref_count as usize {
            // SAFETY: as above. A slot that is not filled has no context.
            unsafe {
                let slot = refs.add(i);
                if (*slot).ctx == ctx {
                    (*slot).code = code;
                }
            }
        }
    }
}

closed_entry!(closed => call_of_closed);

/// Ends the activation. [`closed`] continues here.
///
/// # Safety
/// Called in place of a function of the closed instance that `ctx` belongs to, the edge of the wasm
/// frames being stored.
pub(crate) unsafe extern "C" fn call_of_closed(ctx: *mut VmContextHeader) -> ! {
    // SAFETY: by this function's contract.
    unsafe {
        let instance = (*ctx).instance.cast::<InstanceData>();
        let exit_code = (*instance).closed.map_or(0, |closed| closed.exit_code);
        let ending = Ending::Error(Error::module_closed(exit_code));
        raise((*ctx).store.cast(), ending)
    }
}
