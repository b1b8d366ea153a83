//! The items that the imports of an instance are resolved to.

use std::sync::Arc;

use precast_artifact::records::ExternKind;
use precast_artifact::shown;

use crate::error::{Error, LinkError};
use crate::externs::Extern;
use crate::global::Global;
use crate::imports::Import;
use crate::module::Module;
use crate::shared_memory::SharedMemory;
use crate::store::StoreContextMut;
use crate::types::ExternType;

use super::config::{InstanceConfig, Target};
use super::group::{Group, State};
use super::making::Making;
use super::member::{Dependencies, Exports, HostItem, Member, SharedMemories};
use super::{Inner, Instance};

/// The resolved imports of a module.
pub(super) struct Imports<T: Send + 'static> {
    pub(super) items: Vec<HostItem>,
    /// The instances that export items of a store, each once. All are in one group.
    pub(super) dependencies: Dependencies<T>,
    /// Imports that were redirected: their module, their name, and their target.
    redirected: Vec<(String, String, String)>,
}

/// Resolves the imports of a module: by rules first, then by the resolver, then by names. Waits for
/// the stores of other instances only until `making` is stopped.
///
/// # Errors
/// [`Error::NotInstantiated`], [`Error::Link`] with all imports that are missing or of another
/// type, [`Error::DifferentStores`], [`Error::Closed`], [`Error::InUse`].
pub(super) fn resolve<T: Send + 'static>(
    runtime: &Inner<T>,
    module: &Module,
    config: &InstanceConfig<T>,
    making: &Making,
) -> Result<Imports<T>, Error> {
    let mut imports = Imports {
        items: Vec::new(),
        dependencies: Dependencies::none(),
        redirected: Vec::new(),
    };
    let mut errors = Vec::new();
    for import in module.imports() {
        let (import_module, import_name, ty) = (import.module(), import.name(), import.ty());
        let (module, name) = config.redirections.target(import_module, import_name);
        let target = config.resolver.as_ref().and_then(|f| f(&ty, module, name));
        let (member, name) = match target {
            None => (runtime.member(module)?, name.to_owned()),
            Some(Target::Named(module, name)) => (runtime.member(&module)?, name),
            Some(Target::Instance(instance, name)) => (Arc::clone(instance.member()), name),
        };
        // From here on it is not released, even if somebody closes it.
        let dependency = Dependencies::one(Arc::clone(&member))?;
        if (member.name.as_str(), name.as_str()) != (import_module, import_name) {
            let to = match member.name.as_str() {
                "" => format!("`{}` of an anonymous instance", shown(&name)),
                module => format!("`{}`.`{}`", shown(module), shown(&name)),
            };
            let (module, name) = (import_module.to_owned(), import_name.to_owned());
            imports.redirected.push((module, name, to));
        }
        let found = match find(&member, &name, making)? {
            Some(item) => match host_type(&item).filter(|found| *found != ty) {
                None => {
                    imports.add(item, &member, dependency)?;
                    continue;
                }
                found => found,
            },
            None => None,
        };
        errors.push(LinkError {
            module: import_module.into(),
            name: import_name.into(),
            found: found.map(|found| found.to_string()),
            expected: ty.to_string(),
        });
    }
    if errors.is_empty() {
        Ok(imports)
    } else {
        Err(imports.explain(Error::Link(errors)))
    }
}

/// The item of this name.
fn find<T: Send + 'static>(
    member: &Arc<Member<T>>,
    name: &str,
    making: &Making,
) -> Result<Option<HostItem>, Error> {
    match (&member.items, &member.group) {
        (Exports::Host(items), _) => Ok(items.get(name).cloned()),
        (Exports::Guest(instance, module, shared), Some(group)) => {
            if let Some(memory) = shared_memory(module, shared, name) {
                return Ok(Some(HostItem::Shared(memory)));
            }
            // The instance will live in this store, or not at all.
            making.is_in(&group.gate);
            let is_open = || member.check().and_then(|()| making.closed.check());
            let find = |store: StoreContextMut<'_, _>| Ok(instance.get_export(store, name));
            let found = group.enter(member.seq, None, is_open, find)?;
            Ok(found.into_result()?.map(HostItem::Stored))
        }
        (Exports::Guest(..), None) => Ok(None),
    }
}

/// The type of an item that belongs to no store. Other types are compared when the instance is
/// made.
fn host_type(item: &HostItem) -> Option<ExternType> {
    match item {
        HostItem::Func(host) => Some(ExternType::Func(host.ty().clone())),
        HostItem::Const(ty, _) => Some(ExternType::Global(*ty)),
        // The type of a memory fits other types, too.
        HostItem::Shared(_) | HostItem::Stored(_) => None,
    }
}

/// The shared memory that a guest exports under this name.
fn shared_memory(module: &Module, memories: &SharedMemories, name: &str) -> Option<SharedMemory> {
    if memories.is_empty() {
        return None;
    }
    let export = module.code.artifact().export(name)?;
    let is_it = |index: u32| export.kind == ExternKind::Memory as u32 && export.index == index;
    let (_, memory) = memories.iter().find(|(index, _)| is_it(*index))?;
    memory.upgrade().as_ref().map(SharedMemory::from_vm)
}

impl<T: Send + 'static> Imports<T> {
    /// Adds an item of an instance, which `dependency` keeps.
    fn add(
        &mut self,
        item: HostItem,
        member: &Arc<Member<T>>,
        dependency: Dependencies<T>,
    ) -> Result<(), Error> {
        if matches!(item, HostItem::Stored(_)) && !self.dependencies.contain(member) {
            if let Some(other) = self.dependencies.first()
                && !same_group(other.group.as_ref(), member.group.as_ref())
            {
                return Err(Error::DifferentStores {
                    first: Instance::label(other),
                    second: Instance::label(member),
                });
            }
            self.dependencies.append(dependency);
        }
        self.items.push(item);
        Ok(())
    }

    /// Adds the targets of redirected imports to a linking error.
    pub(super) fn explain(&self, error: Error) -> Error {
        let Error::Link(mut errors) = error else {
            return error;
        };
        for error in &mut errors {
            let of = |r: &&(String, String, String)| r.0 == error.module && r.1 == error.name;
            if let Some((.., to)) = self.redirected.iter().find(of) {
                error.found = Some(match error.found.take() {
                    Some(found) => format!("{found} at {to}, where it is redirected to"),
                    None => format!("nothing at {to}, where it is redirected to"),
                });
            }
        }
        Error::Link(errors)
    }
}

fn same_group<T: Send + 'static>(a: Option<&Arc<Group<T>>>, b: Option<&Arc<Group<T>>>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if Arc::ptr_eq(a, b))
}

/// The imports for an instance in this store.
pub(super) fn of_store<T: Send + 'static>(
    items: Vec<HostItem>,
    store: &mut StoreContextMut<'_, State<T>>,
) -> Result<Vec<Import>, Error> {
    let import = |item| {
        Ok(match item {
            HostItem::Func(host) => Import::Host(host),
            HostItem::Const(ty, value) => {
                Import::Extern(Extern::Global(Global::new(&mut *store, ty, value)?))
            }
            HostItem::Shared(memory) => Import::Extern(memory.into()),
            HostItem::Stored(item) => Import::Extern(item),
        })
    };
    items.into_iter().map(import).collect()
}
