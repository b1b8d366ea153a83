//! Checks of imports. All imports that do not fit are reported at once.

use std::sync::Arc;

use precast_artifact::records::{ExternKind, ImportRecord};

use crate::error::{Error, LinkError};
use crate::externs::Extern;
use crate::func::Func;
use crate::types::{ExternType, FuncType, MemoryType, TableType, is_subtype};
use crate::vm::host::HostFunc;
use crate::vm::item::RawImport;
use crate::vm::item_types::{extern_type, type_id};
use crate::vm::module::MappedModule;
use crate::vm::store::StoreCore;

/// What an import is linked to.
#[derive(Debug, Clone)]
pub(crate) enum Import {
    /// A host function that belongs to no store yet.
    Host(Arc<HostFunc>),
    /// An item of the store.
    Extern(Extern),
}

impl Import {
    /// The import as an instance takes it.
    ///
    /// # Panics
    /// If an item belongs to another store.
    pub(crate) fn to_raw(&self, core: &StoreCore) -> RawImport<'_> {
        match self {
            Self::Host(host) => RawImport::Host(host),
            Self::Extern(item) => item.to_raw(core),
        }
    }

    /// The item, which is made in the store if it belongs to no store yet.
    pub(crate) fn to_extern(&self, core: &mut StoreCore) -> Extern {
        match self {
            Self::Host(host) => Func::from_host(core, Arc::clone(host)).into(),
            Self::Extern(item) => item.clone(),
        }
    }

    /// Whether the import can be linked to this, as far as is known without a store.
    pub(crate) fn may_fit(&self, module: &MappedModule, record: &ImportRecord) -> bool {
        match self {
            Self::Host(host) => {
                record.kind == ExternKind::Func as u32
                    && has_type(module, record.signature, host.type_id())
            }
            Self::Extern(_) => true,
        }
    }
}

/// Checks that each import has an item of the right type.
///
/// # Errors
/// [`Error::Link`] with all imports that do not fit.
pub(crate) fn check_imports(
    core: &StoreCore,
    module: &MappedModule,
    imports: &[Import],
) -> Result<(), Error> {
    let artifact = module.artifact();
    let records = artifact.imports();
    if imports.len() > records.len() {
        return Err(Error::Count {
            what: "imports",
            found: imports.len(),
            expected: records.len(),
        });
    }
    let mut errors = Vec::new();
    for (i, record) in records.iter().enumerate() {
        let kind = ExternKind::from_number(record.kind).unwrap_or(ExternKind::Func);
        let found = match imports.get(i) {
            None => None,
            Some(import) => {
                // The common case comes first: it makes no types.
                if kind == ExternKind::Func && func_fits(core, module, record.signature, import) {
                    continue;
                }
                let expected = extern_type(module, kind, record.index);
                match mismatch(core, module, import, &expected) {
                    None => continue,
                    found => found,
                }
            }
        };
        errors.push(LinkError {
            module: artifact.str(record.module).unwrap_or_default().into(),
            name: artifact.str(record.name).unwrap_or_default().into(),
            found,
            expected: extern_type(module, kind, record.index).to_string(),
        });
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Link(errors))
    }
}

fn func_fits(core: &StoreCore, module: &MappedModule, signature: u32, import: &Import) -> bool {
    let found = match import {
        Import::Host(host) => host.type_id(),
        Import::Extern(Extern::Func(func)) => func.type_id(core),
        Import::Extern(_) => return false,
    };
    has_type(module, signature, found)
}

/// Whether functions of the type with this id fit an import of this signature.
fn has_type(module: &MappedModule, signature: u32, found: u64) -> bool {
    is_subtype(found, type_id(module, signature))
}

/// A description of the item, if it does not fit.
fn mismatch(
    core: &StoreCore,
    module: &MappedModule,
    import: &Import,
    expected: &ExternType,
) -> Option<String> {
    let found = match import {
        Import::Host(host) => ExternType::Func(host.ty().clone()),
        Import::Extern(Extern::Func(f)) => ExternType::Func(FuncType::from_id(f.type_id(core))),
        // SAFETY: the store owns the entity and is borrowed.
        Import::Extern(Extern::Memory(m)) => unsafe {
            let entity = m.entity(core);
            let found = entity.as_ref().present_type();
            let expects_guard = found.is_guarded_by(module.artifact().strategy());
            if expects_guard && !entity.as_ref().is_guarded() {
                return Some(format!("{found}, of a module with checked memories"));
            }
            ExternType::Memory(found)
        },
        Import::Extern(Extern::SharedMemory(m)) => {
            let (found, shared) = (m.present_type(), m.vm());
            let expects_guard = found.is_guarded_by(module.artifact().strategy());
            if expects_guard && !shared.is_guarded() {
                return Some(format!("{found}, of a module with checked memories"));
            }
            ExternType::Memory(found)
        }
        // SAFETY: the store owns the entity and is borrowed.
        Import::Extern(Extern::Table(t)) => unsafe {
            ExternType::Table(t.entity(core).as_ref().present_type())
        },
        Import::Extern(Extern::Global(g)) => ExternType::Global(g.ty()),
        Import::Extern(Extern::Tag(t)) => ExternType::Tag(FuncType::from_id(t.get(core).type_id)),
    };
    (!fits(&found, expected)).then(|| found.to_string())
}

/// Import matching (<https://webassembly.github.io/spec/core/valid/matching.html>).
fn fits(found: &ExternType, expected: &ExternType) -> bool {
    match (found, expected) {
        (ExternType::Func(f), ExternType::Func(e)) => f.matches(e),
        // Mutable globals must have equal types.
        (ExternType::Global(f), ExternType::Global(e)) => {
            f == e || !f.mutable && !e.mutable && f.content.matches(e.content)
        }
        (ExternType::Tag(f), ExternType::Tag(e)) => f == e,
        (ExternType::Memory(f), ExternType::Memory(e)) => {
            let MemoryType {
                min,
                max,
                memory64,
                shared,
                page_size_log2,
            } = *f;
            memory64 == e.memory64
                && shared == e.shared
                && page_size_log2 == e.page_size_log2
                && limits_fit(min, max, e.min, e.max)
        }
        (ExternType::Table(f), ExternType::Table(e)) => {
            let TableType {
                element,
                min,
                max,
                table64,
            } = *f;
            element == e.element && table64 == e.table64 && limits_fit(min, max, e.min, e.max)
        }
        _ => false,
    }
}

fn limits_fit(min: u64, max: Option<u64>, expected_min: u64, expected_max: Option<u64>) -> bool {
    min >= expected_min
        && expected_max.is_none_or(|expected| max.is_some_and(|max| max <= expected))
}
