//! Type checks of constant expressions and of elements.
//!
//! All operations of an expression have the type of its value or a subtype, because the operands
//! and the result of arithmetic have the same type. So a single pass that counts operands is the
//! whole type checker, and an integer cannot become a reference. All expressions together may not
//! have more operations than the table, so checking them takes no longer than reading each
//! operation once.

use super::check::{at, damaged};
use super::{Artifact, Error};
use crate::records::*;
use crate::types::{HeapType, RefType, ValType};

/// Checks the expressions of an artifact, one after the other.
pub(super) struct ExprChecker<'a> {
    artifact: Artifact<'a>,
    /// Number of operations that all expressions which are not checked yet may have together.
    left: usize,
}

impl<'a> ExprChecker<'a> {
    pub(super) fn new(artifact: Artifact<'a>) -> Self {
        let left = artifact.const_ops().len();
        Self { artifact, left }
    }

    /// Checks that `run` is an expression with a value of type `ty` that reads only the first
    /// `globals` globals. `record` is the distance of the record that holds `run` from the header.
    pub(super) fn check(
        &mut self,
        record: usize,
        run: Run,
        ty: ValType,
        globals: usize,
    ) -> Result<(), Error> {
        let a = &self.artifact;
        let table = a.header.const_ops;
        let (first, count) = (run.first as usize, run.count as usize);
        let ops = a.const_ops().get(first..first + count);
        let (Some(ops), Some(left)) = (ops, self.left.checked_sub(count)) else {
            return Err(damaged(
                record,
                "its constant expression is outside of the table, or shares operations",
            ));
        };
        self.left = left;
        let mut operands = 0_usize;
        for (i, op) in ops.iter().enumerate() {
            let ok = match arithmetic(op) {
                Some(of) if of == ty && operands >= 2 => {
                    operands -= 1;
                    true
                }
                Some(_) => false,
                None => {
                    operands += 1;
                    a.has_type(op, ty, globals)
                }
            };
            if !ok {
                return Err(damaged(
                    at::<ConstOp>(table, first + i),
                    "an operation of a constant expression is of another type",
                ));
            }
        }
        if operands != 1 {
            return Err(damaged(
                record,
                "its constant expression does not give one value",
            ));
        }
        Ok(())
    }
}

impl Artifact<'_> {
    /// The element at `index` among those of all element segments, as a reference of type `ty`.
    ///
    /// # Errors
    /// [`Error::Damaged`] if there is no such element, or it is of another type.
    pub fn element_item(&self, index: usize, ty: ValType) -> Result<ConstOp, Error> {
        let table = self.header.element_items;
        match self.element_items().get(index) {
            Some(op) if ty.is_ref() && self.has_type(op, ty, self.globals().len()) => Ok(*op),
            _ => Err(damaged(
                at::<ConstOp>(table, index),
                "an element of another type than its table's",
            )),
        }
    }

    /// Whether `op` has no operands and a value of type `ty`, and reads only the first `globals`
    /// globals.
    fn has_type(&self, op: &ConstOp, ty: ValType, globals: usize) -> bool {
        let Some(opcode) = ConstOpcode::from_number(op.op) else {
            return false;
        };
        let index = op.index as usize;
        match opcode {
            ConstOpcode::Const => match ty {
                ValType::I32 | ValType::F32 => op.bits <= u32::MAX.into(),
                ValType::I64 | ValType::F64 => true,
                ValType::V128 | ValType::Ref(_) => false,
            },
            ConstOpcode::GlobalGet => {
                let global = self.globals().get(..globals).and_then(|g| g.get(index));
                let global = global.filter(|g| g.flags & MUTABLE == 0);
                let found = global.and_then(|g| self.val_type(g.ty));
                found.is_some_and(|found| self.is_subtype(found, ty))
            }
            ConstOpcode::RefFunc => index < self.function_count() && self.is_func(op.index, ty),
            ConstOpcode::RefNull => ty.is_ref() && ty.is_defaultable(),
            ConstOpcode::I32Add
            | ConstOpcode::I32Sub
            | ConstOpcode::I32Mul
            | ConstOpcode::I64Add
            | ConstOpcode::I64Sub
            | ConstOpcode::I64Mul => false,
        }
    }

    /// Whether references to a function that exists are values of this type. The record of the
    /// function is read only if the type is that of a signature.
    fn is_func(&self, function: u32, ty: ValType) -> bool {
        let ValType::Ref(RefType { heap, .. }) = ty else {
            return false;
        };
        match heap {
            HeapType::Func => true,
            HeapType::Concrete(_) => self.function_signature(function).is_ok_and(|signature| {
                let found = RefType::new(false, HeapType::Concrete(signature));
                self.is_subtype(ValType::Ref(found), ty)
            }),
            HeapType::Extern
            | HeapType::Exn
            | HeapType::NoFunc
            | HeapType::NoExtern
            | HeapType::NoExn => false,
        }
    }
}

/// The type of the operands and of the value of an operation that has operands.
fn arithmetic(op: &ConstOp) -> Option<ValType> {
    match ConstOpcode::from_number(op.op)? {
        ConstOpcode::I32Add | ConstOpcode::I32Sub | ConstOpcode::I32Mul => Some(ValType::I32),
        ConstOpcode::I64Add | ConstOpcode::I64Sub | ConstOpcode::I64Mul => Some(ValType::I64),
        ConstOpcode::Const
        | ConstOpcode::GlobalGet
        | ConstOpcode::RefFunc
        | ConstOpcode::RefNull => None,
    }
}
