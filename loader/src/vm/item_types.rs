//! The types of a module's items, which its records and the types that it refers to give together.

use precast_artifact::records::{ExternKind, INDEX64, ImportRecord, MUTABLE};
use precast_artifact::types as artifact;

use super::module::MappedModule;
use crate::types::{ExternType, FuncType, GlobalType, TableType, ValType, maximum, memory_type};

/// The type of a module's signature; one without parameters and results if there is none.
fn signature_type(module: &MappedModule, signature: u32) -> FuncType {
    if let Some(ty) = module.types().get(signature as usize) {
        return ty.ty().clone();
    }
    let found = module.artifact().signature(signature);
    found.map_or_else(
        || FuncType::of([], []),
        |found| FuncType::of_artifact(found, &[]),
    )
}

/// The type id of a module's signature.
pub(crate) fn type_id(module: &MappedModule, signature: u32) -> u64 {
    match module.artifact().signatures().get(signature as usize) {
        Some(record) if record.type_id != 0 => record.type_id,
        _ => signature_type(module, signature).id(),
    }
}

/// The type with this number in a module.
fn val_type(module: &MappedModule, number: u32) -> Option<ValType> {
    let ty = artifact::ValType::from_number(number)?;
    Some(ValType::of_artifact(ty, module.types()))
}

pub(crate) fn table_type(module: &MappedModule, index: u32) -> Option<TableType> {
    let r = module.artifact().tables().get(index as usize)?;
    Some(TableType {
        element: val_type(module, r.element)?,
        min: r.min,
        max: maximum(r.max),
        table64: r.flags & INDEX64 != 0,
    })
}

pub(crate) fn global_type(module: &MappedModule, index: u32) -> Option<GlobalType> {
    let r = module.artifact().globals().get(index as usize)?;
    Some(GlobalType::new(
        val_type(module, r.ty)?,
        r.flags & MUTABLE != 0,
    ))
}

/// Type of an item of a module. The parser checks indices; a function whose own record is damaged
/// reads as one without parameters and results.
pub(crate) fn extern_type(module: &MappedModule, kind: ExternKind, index: u32) -> ExternType {
    let found = match kind {
        ExternKind::Func => func_type(module, index).map(ExternType::Func),
        ExternKind::Memory => memory_type(&module.artifact(), index).map(ExternType::Memory),
        ExternKind::Table => table_type(module, index).map(ExternType::Table),
        ExternKind::Global => global_type(module, index).map(ExternType::Global),
        ExternKind::Tag => tag_type(module, index).map(ExternType::Tag),
    };
    found.unwrap_or(ExternType::Func(FuncType::of([], [])))
}

/// Type of an import.
pub(crate) fn import_type(module: &MappedModule, import: &ImportRecord) -> ExternType {
    let kind = ExternKind::from_number(import.kind).unwrap_or(ExternKind::Func);
    if kind == ExternKind::Func {
        return ExternType::Func(signature_type(module, import.signature));
    }
    extern_type(module, kind, import.index)
}

fn tag_type(module: &MappedModule, index: u32) -> Option<FuncType> {
    let record = module.artifact().tags().get(index as usize)?;
    Some(signature_type(module, record.signature))
}

fn func_type(module: &MappedModule, index: u32) -> Option<FuncType> {
    let signature = module.artifact().function_signature(index).ok()?;
    Some(signature_type(module, signature))
}
