//! Dispatches each operator to the file of its family.

use precast_artifact::TrapCode;
use wasmparser::Operator;

use super::FuncTranslator;
use crate::operator::{Flow, class};

impl FuncTranslator<'_, '_> {
    /// Translates one operator.
    pub(super) fn operator(&mut self, operator: &Operator<'_>) {
        if !self.reachable {
            return self.unreachable_operator(operator);
        }
        match *operator {
            Operator::LocalGet { local_index } => self.local_get(local_index),
            Operator::LocalSet { local_index } => self.local_set(local_index),
            Operator::LocalTee { local_index } => self.local_tee(local_index),
            Operator::GlobalGet { global_index } => self.global_get(global_index),
            Operator::GlobalSet { global_index } => self.global_set(global_index),

            Operator::Block { blockty } => self.block(blockty),
            Operator::Loop { blockty } => self.loop_(blockty),
            Operator::If { blockty } => self.if_(blockty),
            Operator::Else => self.else_(),
            Operator::End => self.end(),
            Operator::Br { relative_depth } => self.br(relative_depth),
            Operator::BrIf { relative_depth } => self.br_if(relative_depth),
            Operator::BrTable { ref targets } => self.br_table(targets),
            Operator::Return => self.return_(),
            Operator::Select | Operator::TypedSelect { .. } => self.select(),
            Operator::Nop => {}
            Operator::Drop => {
                self.pop();
            }
            Operator::Unreachable => {
                self.trap(TrapCode::UnreachableCodeReached);
                self.reachable = false;
            }

            Operator::Call { function_index } => self.call(function_index),
            Operator::CallIndirect {
                type_index,
                table_index,
            } => {
                self.call_indirect(table_index, type_index);
            }
            Operator::ReturnCall { function_index } => self.return_call(function_index),
            Operator::ReturnCallIndirect {
                type_index,
                table_index,
            } => {
                self.return_call_indirect(table_index, type_index);
            }

            Operator::CallRef { type_index } => self.call_ref(type_index),
            Operator::ReturnCallRef { type_index } => self.return_call_ref(type_index),
            Operator::RefAsNonNull => self.ref_as_non_null(),
            Operator::BrOnNull { relative_depth } => self.br_on_null(relative_depth),
            Operator::BrOnNonNull { relative_depth } => self.br_on_non_null(relative_depth),

            Operator::Throw { tag_index } => self.throw(tag_index),
            Operator::ThrowRef => self.throw_ref(),
            Operator::TryTable { ref try_table } => self.try_table(try_table),
            Operator::Try { blockty } => self.try_(blockty),
            Operator::Catch { tag_index } => self.catch(Some(tag_index)),
            Operator::CatchAll => self.catch(None),
            Operator::Delegate { relative_depth } => self.delegate(relative_depth),
            Operator::Rethrow { relative_depth } => self.rethrow(relative_depth),

            Operator::RefNull { .. } => self.ref_null(),
            Operator::RefIsNull => self.ref_is_null(),
            Operator::RefFunc { function_index } => self.ref_func(function_index),

            Operator::TableGet { table } => self.table_get(table),
            Operator::TableSet { table } => self.table_set(table),
            Operator::TableSize { table } => self.table_size(table),
            Operator::TableGrow { table } => self.table_grow(table),
            Operator::TableFill { table } => self.table_fill(table),
            Operator::TableCopy {
                dst_table,
                src_table,
            } => self.table_copy(dst_table, src_table),
            Operator::TableInit { elem_index, table } => self.table_init(table, elem_index),
            Operator::ElemDrop { elem_index } => self.elem_drop(elem_index),

            Operator::MemorySize { mem } => self.memory_size(mem),
            Operator::MemoryGrow { mem } => self.memory_grow(mem),
            Operator::MemoryFill { mem } => self.memory_fill(mem),
            Operator::MemoryCopy { dst_mem, src_mem } => self.memory_copy(dst_mem, src_mem),
            Operator::MemoryInit { data_index, mem } => self.memory_init(mem, data_index),
            Operator::DataDrop { data_index } => self.data_drop(data_index),

            _ => {
                let known = self.scalar_access(operator)
                    || self.numeric(operator)
                    || self.simd(operator)
                    || self.wide(operator)
                    || self.atomic(operator);
                assert!(known, "the parser let {operator:?} pass");
            }
        }
    }

    /// Tracks the nesting of blocks for an operator that is never reached.
    fn unreachable_operator(&mut self, operator: &Operator<'_>) {
        match class(operator).flow {
            Flow::Opens | Flow::OpensLoop | Flow::OpensConditionally | Flow::OpensTry => {
                self.open_dead();
            }
            Flow::Divides => match *operator {
                Operator::Catch { tag_index } => self.catch(Some(tag_index)),
                Operator::CatchAll => self.catch(None),
                _ => self.else_(),
            },
            Flow::Closes => match *operator {
                Operator::Delegate { relative_depth } => self.delegate(relative_depth),
                _ => self.end(),
            },
            Flow::Straight
            | Flow::Branches
            | Flow::Returns
            | Flow::Calls
            | Flow::Traps
            | Flow::Throws => {}
        }
    }
}
