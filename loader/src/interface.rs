//! What a module imports, exports, and needs.

use std::sync::Arc;

use precast_artifact::records::{ExportRecord, ExternKind, IMPORTED, ImportRecord};

use crate::module::Module;
use crate::types::ExternType;
use crate::vm::item_types::{extern_type, import_type};
use crate::vm::module::MappedModule;

/// An import of a module, see [`Module::imports`].
///
/// ```
/// use precast_loader::{ExternType, ImportType};
///
/// fn is_host_function(import: &ImportType<'_>) -> bool {
///     import.module() == "env" && matches!(import.ty(), ExternType::Func(_))
/// }
/// ```
#[derive(Clone, Copy)]
pub struct ImportType<'a> {
    code: &'a MappedModule,
    record: &'a ImportRecord,
}

impl<'a> ImportType<'a> {
    /// The module that the item is imported from.
    pub fn module(&self) -> &'a str {
        self.code
            .artifact()
            .str(self.record.module)
            .unwrap_or_default()
    }

    /// The name of the item in that module.
    pub fn name(&self) -> &'a str {
        self.code
            .artifact()
            .str(self.record.name)
            .unwrap_or_default()
    }

    /// The type that the item must have.
    pub fn ty(&self) -> ExternType {
        import_type(self.code, self.record)
    }
}

impl std::fmt::Debug for ImportType<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportType")
            .field("module", &self.module())
            .field("name", &self.name())
            .field("ty", &self.ty())
            .finish()
    }
}

/// An export of a module, see [`Module::exports`].
///
/// ```
/// use precast_loader::Module;
///
/// fn functions(module: &Module) -> Vec<&str> {
///     let functions = module.exports().filter(|export| export.ty().func().is_some());
///     functions.map(|export| export.name()).collect()
/// }
/// ```
#[derive(Clone, Copy)]
pub struct ExportType<'a> {
    code: &'a MappedModule,
    pub(crate) record: &'a ExportRecord,
}

impl<'a> ExportType<'a> {
    /// The name.
    pub fn name(&self) -> &'a str {
        self.code
            .artifact()
            .str(self.record.name)
            .unwrap_or_default()
    }

    /// The type.
    pub fn ty(&self) -> ExternType {
        let kind = ExternKind::from_number(self.record.kind).unwrap_or(ExternKind::Func);
        extern_type(self.code, kind, self.record.index)
    }

    /// Whether the item is one that the module imports.
    pub fn is_imported(&self) -> bool {
        let artifact = self.code.artifact();
        let index = self.record.index as usize;
        let flags = match ExternKind::from_number(self.record.kind) {
            Some(ExternKind::Memory) => artifact.memories().get(index).map(|r| r.flags),
            Some(ExternKind::Table) => artifact.tables().get(index).map(|r| r.flags),
            Some(ExternKind::Global) => artifact.globals().get(index).map(|r| r.flags),
            Some(ExternKind::Tag) => artifact.tags().get(index).map(|r| r.flags),
            Some(ExternKind::Func) | None => {
                return self.record.index < artifact.header().vm.func_import_count;
            }
        };
        flags.is_some_and(|flags| flags & IMPORTED != 0)
    }

    /// The import that the module exports again; `None` if the module defines the item. This takes
    /// time in proportion to the imports if the item [is imported](Self::is_imported).
    pub fn import(&self) -> Option<ImportType<'a>> {
        if !self.is_imported() {
            return None;
        }
        let (kind, index) = (self.record.kind, self.record.index);
        let mut imports = self.code.artifact().imports().iter();
        let record = imports.find(|import| (import.kind, import.index) == (kind, index))?;
        let code = self.code;
        Some(ImportType { code, record })
    }
}

impl std::fmt::Debug for ExportType<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportType")
            .field("name", &self.name())
            .field("ty", &self.ty())
            .finish()
    }
}

/// The memories and tables that an instance of a module has of its own, see
/// [`Module::resources_required`].
///
/// ```
/// use precast_loader::Module;
///
/// fn is_small(module: &Module) -> bool {
///     let required = module.resources_required();
///     required.max_initial_memory_size.unwrap_or(0) <= 16 && required.num_memories <= 1
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourcesRequired {
    /// Number of memories that the module defines.
    pub num_memories: u32,
    /// The largest number of pages that one of them has at the start; `None` without memories. A
    /// page has 64 KiB, unless the type of the memory says otherwise.
    pub max_initial_memory_size: Option<u64>,
    /// Number of tables that the module defines.
    pub num_tables: u32,
    /// The largest number of elements that one of them has at the start; `None` without tables.
    pub max_initial_table_size: Option<u64>,
}

impl Module {
    /// What an instance has of its own, before any code runs, for hosts that decide by it which
    /// modules they take. [`StoreLimits`](crate::StoreLimits) hold for what an instance really
    /// makes, and for growth too.
    pub fn resources_required(&self) -> ResourcesRequired {
        let artifact = self.code.artifact();
        let memories = artifact.memories().iter();
        let memories = memories.filter(|memory| memory.flags & IMPORTED == 0);
        let tables = artifact.tables().iter();
        let tables = tables.filter(|table| table.flags & IMPORTED == 0);
        ResourcesRequired {
            num_memories: memories.clone().count() as u32,
            max_initial_memory_size: memories.map(|memory| memory.min).max(),
            num_tables: tables.clone().count() as u32,
            max_initial_table_size: tables.map(|table| table.min).max(),
        }
    }
}

/// Where a module keeps an export, for hosts that look the same export up in many instances. See
/// [`Instance::get_module_export`](crate::Instance::get_module_export).
///
/// ```
/// use precast_loader::{Error, InstancePre, Store};
///
/// fn sum(pre: &InstancePre<()>, rounds: u32) -> Result<i32, Error> {
///     let run = pre.module().get_export_index("run");
///     let run = run.ok_or_else(|| Error::msg("the guest exports no function `run`"))?;
///     let mut sum = 0;
///     for _ in 0..rounds {
///         let mut store = Store::new(pre.module().engine(), ());
///         let instance = pre.instantiate(&mut store)?;
///         let func = instance.get_module_export(&mut store, &run);
///         let func = func.and_then(|item| item.into_func());
///         let func = func.ok_or_else(|| Error::msg("`run` is not a function"))?;
///         sum += func.typed::<(), i32>(&store)?.call(&mut store, ())?;
///     }
///     Ok(sum)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct ModuleExport {
    module: Arc<MappedModule>,
    position: usize,
}

impl ModuleExport {
    /// The record of the export, if `module` is the module that it is of.
    pub(crate) fn of<'a>(&self, module: &'a Arc<MappedModule>) -> Option<&'a ExportRecord> {
        let same = Arc::ptr_eq(&self.module, module);
        same.then(|| module.artifact().exports().get(self.position))?
    }
}

impl Module {
    /// The imports, in the module's order.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = ImportType<'_>> {
        let code = &*self.code;
        let imports = code.artifact().imports().iter();
        imports.map(move |record| ImportType { code, record })
    }

    /// The exports, in the module's order.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = ExportType<'_>> {
        exports(&self.code)
    }

    /// The type of the export of this name.
    pub fn get_export(&self, name: &str) -> Option<ExternType> {
        let code = &*self.code;
        let record = code.artifact().export(name)?;
        Some(ExportType { code, record }.ty())
    }

    /// The place of the export of this name in the module. Looking an export up by its place saves
    /// the search by name in each of many instances.
    pub fn get_export_index(&self, name: &str) -> Option<ModuleExport> {
        Some(ModuleExport {
            module: Arc::clone(&self.code),
            position: self.code.artifact().export_position(name)?,
        })
    }
}

/// The exports of a module, in its order: the artifact has them sorted by hash.
pub(crate) fn exports(
    code: &MappedModule,
) -> impl ExactSizeIterator<Item = ExportType<'_>> + use<'_> {
    let mut exports: Vec<_> = code.artifact().exports().iter().collect();
    exports.sort_by_key(|export| export.ordinal);
    let exports = exports.into_iter();
    exports.map(move |record| ExportType { code, record })
}
