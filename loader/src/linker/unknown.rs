//! Definitions for imports that a host does not know.

use std::sync::Arc;

use super::Linker;
use crate::error::Error;
use crate::externs::Extern;
use crate::global::Global;
use crate::imports::Import;
use crate::memory::Memory;
use crate::module::Module;
use crate::shared_memory::SharedMemory;
use crate::store::AsContextMut;
use crate::table::Table;
use crate::tag::Tag;
use crate::types::ExternType;
use crate::val::Val;
use crate::vm::host::HostFunc;

impl<T: 'static> Linker<T> {
    /// Defines a host function for each imported function of a module that has no definition yet.
    /// Such a function fails with an error that names the import. This is for hosts that know which
    /// imports a guest never calls. Imports of other kinds stay undefined.
    ///
    /// # Errors
    /// None at present.
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> Result<&mut Self, Error> {
        for import in module.imports() {
            let (from, name) = (import.module(), import.name());
            let ExternType::Func(ty) = import.ty() else {
                continue;
            };
            if self.find(from, name).is_some() {
                continue;
            }
            let message = [
                "nothing is defined for `",
                from,
                "`.`",
                name,
                "`, which was called",
            ];
            let message = message.concat();
            let host = HostFunc::new::<T, _>(ty, move |_, _, _| Err(Error::msg(message.clone())));
            self.insert(from, name, Import::Host(Arc::new(host)))?;
        }
        Ok(self)
    }

    /// Defines something for each import of a module that has no definition yet: functions return
    /// zero and null, globals have these values, memories and tables are as small as the import
    /// allows and hold zeros and null. What is not a function is an item of `store`.
    ///
    /// # Errors
    /// As for [`Memory::new`], [`Table::new`] and [`Tag::new`].
    pub fn define_unknown_imports_as_default_values(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<&mut Self, Error> {
        let mut store = store.as_context_mut();
        for import in module.imports() {
            let (from, name) = (import.module(), import.name());
            if self.find(from, name).is_some() {
                continue;
            }
            let item: Extern = match import.ty() {
                ExternType::Func(ty) => {
                    // The results are zero and null before the closure is called.
                    let host = HostFunc::new::<T, _>(ty, |_, _, _| Ok(()));
                    self.insert(from, name, Import::Host(Arc::new(host)))?;
                    continue;
                }
                ExternType::Memory(ty) if ty.shared => SharedMemory::new(&self.engine, ty)?.into(),
                ExternType::Memory(ty) => Memory::new(&mut store, ty)?.into(),
                ExternType::Table(ty) => {
                    Table::new(&mut store, ty, Val::default_for(ty.element))?.into()
                }
                ExternType::Global(ty) => {
                    Global::new(&mut store, ty, Val::default_for(ty.content))?.into()
                }
                ExternType::Tag(ty) => Tag::new(&mut store, ty)?.into(),
            };
            self.insert(from, name, Import::Extern(item))?;
        }
        Ok(self)
    }
}
