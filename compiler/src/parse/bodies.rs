//! Validates function bodies in parallel, and gathers what they refer to.

use std::sync::{Mutex, PoisonError};

use cranelift_entity::{EntityRef, EntitySet};
use wasmparser::{
    FuncToValidate, FuncValidatorAllocations, FunctionBody, Operator, OperatorsReader,
    OperatorsReaderAllocations, ValidatorResources,
};

use super::{features, validated};
use crate::Error;
use crate::error::feature_name;
use crate::module::Facts;
use crate::operator::find_class;
use crate::symbol::{DataIndex, ElemIndex, FuncIndex, TableIndex, TypeIndex};
use crate::workers::Workers;

/// Validating code is about this many times as fast as compiling it.
const FASTER: usize = 16;

/// A function of the module: what the validator knows about it, and its body.
pub(super) type Function<'a> = (FuncToValidate<ValidatorResources>, FunctionBody<'a>);

/// Validates all function bodies and gathers what they refer to.
pub(super) fn validate_bodies(
    functions: &[Function<'_>],
    workers: Workers,
) -> Result<Facts, Error> {
    let bytes = functions
        .iter()
        .map(|(_, body)| body.as_bytes().len())
        .sum::<usize>();
    let states = Mutex::new(Vec::<(Facts, Allocations)>::new());
    workers.map(
        functions,
        bytes / FASTER,
        &states,
        |(facts, allocations), function| validate_body(function, facts, allocations),
    )?;
    let states = states.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut all = Facts::default();
    for (facts, _) in states {
        all.merge(facts);
    }
    Ok(all)
}

#[derive(Default)]
struct Allocations {
    validator: FuncValidatorAllocations,
    reader: OperatorsReaderAllocations,
}

fn validate_body(
    (function, body): &Function<'_>,
    facts: &mut Facts,
    allocations: &mut Allocations,
) -> Result<(), Error> {
    let function = FuncToValidate {
        resources: function.resources.clone(),
        index: function.index,
        ty: function.ty,
        features: function.features,
    };
    let mut validator = function.into_validator(std::mem::take(&mut allocations.validator));
    let mut reader = body.get_binary_reader();
    reader.set_features(validated(features()));
    validator.read_locals(&mut reader)?;
    let mut locals = body.get_locals_reader()?;
    for _ in 0..locals.get_count() {
        let offset = locals.original_position();
        let (_, ty) = locals.read()?;
        facts.record_type(ty).map_err(|error| error.at(offset))?;
    }
    let mut reader =
        OperatorsReader::new_with_allocs(reader, std::mem::take(&mut allocations.reader));
    while !reader.eof() {
        let (operator, offset) = reader.read_with_offset()?;
        if let Operator::CallRef { .. } | Operator::ReturnCallRef { .. } = operator
            && let Some(Some(wasmparser::ValType::Ref(ty))) = validator.get_operand_type(0)
            && !ty.is_nullable()
        {
            // The cast is right: modules are below 4 GiB.
            facts.non_null_calls.insert(offset as u32);
        }
        validator.op(offset, &operator)?;
        let recorded = facts.record(&operator);
        recorded.map_err(|error| error.at(offset))?;
    }
    reader.finish()?;
    allocations.validator = validator.into_allocations();
    allocations.reader = reader.into_allocations();
    Ok(())
}

impl Facts {
    /// Records what a valid operator refers to.
    ///
    /// # Errors
    /// [`Error::Unsupported`], without an offset, if this compiler does not implement the operator
    /// or a type that it names.
    fn record(&mut self, operator: &Operator<'_>) -> Result<(), Error> {
        let class = find_class(operator).map_err(|proposal| Error::Unsupported {
            proposal: feature_name(proposal),
            offset: 0,
            message: format!("found {operator:?}"),
        })?;
        self.add_features(Some(class.feature));
        if class.names_types {
            self.record_types_of(operator)?;
        }
        match *operator {
            Operator::CallIndirect {
                type_index,
                table_index,
            }
            | Operator::ReturnCallIndirect {
                type_index,
                table_index,
            } => {
                let table = TableIndex::from_u32(table_index);
                self.indirect_calls
                    .insert((table, TypeIndex::from_u32(type_index)));
            }
            Operator::CallRef { type_index } | Operator::ReturnCallRef { type_index } => {
                self.ref_calls.insert(TypeIndex::from_u32(type_index));
            }
            Operator::TableGet { table }
            | Operator::TableSet { table }
            | Operator::TableFill { table } => {
                self.tables_accessed.insert(TableIndex::from_u32(table));
            }
            Operator::TableGrow { table } => {
                self.tables_accessed.insert(TableIndex::from_u32(table));
                self.tables_grown.insert(TableIndex::from_u32(table));
            }
            Operator::TableCopy {
                dst_table,
                src_table,
            } => {
                self.tables_accessed.insert(TableIndex::from_u32(dst_table));
                self.tables_accessed.insert(TableIndex::from_u32(src_table));
            }
            Operator::TableInit { elem_index, table } => {
                self.tables_accessed.insert(TableIndex::from_u32(table));
                self.elements_named.insert(ElemIndex::from_u32(elem_index));
            }
            Operator::ElemDrop { elem_index } => {
                self.elements_named.insert(ElemIndex::from_u32(elem_index));
            }
            Operator::MemoryInit { data_index, .. } | Operator::DataDrop { data_index } => {
                self.data_named.insert(DataIndex::from_u32(data_index));
            }
            Operator::RefFunc { function_index } => {
                self.functions_referenced
                    .insert(FuncIndex::from_u32(function_index));
            }
            _ => assert!(!class.has_facts, "{operator:?} is not recorded"),
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, other: Self) {
        fn extend<K: EntityRef>(set: &mut EntitySet<K>, other: &EntitySet<K>) {
            for key in other.iter() {
                set.insert(key);
            }
        }
        extend(&mut self.tables_accessed, &other.tables_accessed);
        extend(&mut self.tables_grown, &other.tables_grown);
        extend(&mut self.data_named, &other.data_named);
        extend(&mut self.elements_named, &other.elements_named);
        extend(&mut self.functions_referenced, &other.functions_referenced);
        self.indirect_calls.extend(other.indirect_calls);
        self.ref_calls.extend(other.ref_calls);
        self.non_null_calls.extend(other.non_null_calls);
        self.add_features(other.features);
    }
}
