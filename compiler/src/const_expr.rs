//! Constant expressions: initial values of globals, and offsets of segments.
//!
//! A [`ConstExpr`] is a program for a stack machine. [`ConstExpr::fold`] evaluates it if the
//! compiler can. If not, because the expression reads an imported global or refers to a function,
//! the loader evaluates its [`ConstOp`]s.

use cranelift_entity::EntityRef;
use precast_artifact::records::{ConstOp, ConstOpcode};
use wasmparser::{Operator, RefType, WasmFeatures};

use crate::Error;
use crate::error::feature_name;
use crate::features::of_type;
use crate::operator::find_class;
use crate::symbol::{FuncIndex, GlobalIndex};

/// A validated constant expression of the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConstExpr {
    instrs: Vec<ConstInstr>,
    /// The proposals of the operators, except for those that [`ConstExpr::features`] adds.
    features: WasmFeatures,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConstInstr {
    /// Push a constant.
    Const(ConstValue),
    /// Push the value of a global.
    GlobalGet(GlobalIndex),
    /// Push a reference to a function.
    RefFunc(FuncIndex),
    /// Push the null reference.
    RefNull,
    /// Pop two operands, push the result: 32-bit or 64-bit wrapping arithmetic.
    Binary(BinaryOp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    I32Add,
    I32Sub,
    I32Mul,
    I64Add,
    I64Sub,
    I64Mul,
}

/// The bits of a constant, zero extended. The null reference is all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConstValue(pub(crate) u128);

impl ConstValue {
    /// The low 64 bits. An i32 is zero extended, as an index into a memory or table is.
    pub(crate) fn as_u64(self) -> u64 {
        self.0 as u64
    }
}

impl ConstExpr {
    /// The expression `ref.func f`.
    pub(crate) fn ref_func(f: FuncIndex) -> Self {
        Self {
            instrs: vec![ConstInstr::RefFunc(f)],
            features: WasmFeatures::empty(),
        }
    }

    /// Parses a validated expression.
    pub(crate) fn parse(expr: &wasmparser::ConstExpr<'_>) -> Result<Self, Error> {
        let mut instrs = Vec::with_capacity(1);
        let mut features = WasmFeatures::empty();
        let mut reader = expr.get_operators_reader();
        while !reader.eof() {
            let (operator, offset) = reader.read_with_offset()?;
            features |= match operator {
                Operator::RefNull { hty } => {
                    let ty = RefType::new(true, hty).map(wasmparser::ValType::Ref);
                    let ty = ty.map_or(Ok(WasmFeatures::empty()), of_type);
                    WasmFeatures::REFERENCE_TYPES | ty.map_err(|error| error.at(offset))?
                }
                Operator::RefFunc { .. } => WasmFeatures::REFERENCE_TYPES,
                Operator::V128Const { .. } => WasmFeatures::SIMD,
                _ => WasmFeatures::empty(),
            };
            instrs.push(match operator {
                Operator::I32Const { value } => constant(u128::from(value.cast_unsigned())),
                Operator::I64Const { value } => constant(u128::from(value.cast_unsigned())),
                Operator::F32Const { value } => constant(u128::from(value.bits())),
                Operator::F64Const { value } => constant(u128::from(value.bits())),
                Operator::V128Const { value } => constant(value.i128().cast_unsigned()),
                Operator::RefNull { .. } => ConstInstr::RefNull,
                Operator::RefFunc { function_index } => {
                    ConstInstr::RefFunc(FuncIndex::from_u32(function_index))
                }
                Operator::GlobalGet { global_index } => {
                    ConstInstr::GlobalGet(GlobalIndex::from_u32(global_index))
                }
                Operator::I32Add => ConstInstr::Binary(BinaryOp::I32Add),
                Operator::I32Sub => ConstInstr::Binary(BinaryOp::I32Sub),
                Operator::I32Mul => ConstInstr::Binary(BinaryOp::I32Mul),
                Operator::I64Add => ConstInstr::Binary(BinaryOp::I64Add),
                Operator::I64Sub => ConstInstr::Binary(BinaryOp::I64Sub),
                Operator::I64Mul => ConstInstr::Binary(BinaryOp::I64Mul),
                Operator::End => break,
                other => {
                    let proposal = find_class(&other).err().unwrap_or("unknown");
                    return Err(Error::Unsupported {
                        proposal: feature_name(proposal),
                        offset,
                        message: format!("{other:?} in a constant expression"),
                    });
                }
            });
        }
        Ok(Self { instrs, features })
    }

    /// The proposals that the expression uses, in a module with this number of imported globals.
    pub(crate) fn features(&self, imported_globals: usize) -> WasmFeatures {
        let of = |instr: &ConstInstr| match instr {
            ConstInstr::Binary(_) => WasmFeatures::EXTENDED_CONST,
            // Before this proposal, an expression could read imported globals only.
            ConstInstr::GlobalGet(index) if index.index() >= imported_globals => {
                WasmFeatures::FUNCTION_REFERENCES
            }
            ConstInstr::GlobalGet(_)
            | ConstInstr::Const(_)
            | ConstInstr::RefFunc(_)
            | ConstInstr::RefNull => WasmFeatures::empty(),
        };
        self.instrs
            .iter()
            .fold(self.features, |all, instr| all | of(instr))
    }

    /// The value, if it depends only on constants and on globals whose values `global` returns.
    pub(crate) fn fold(
        &self,
        global: impl Fn(GlobalIndex) -> Option<ConstValue>,
    ) -> Option<ConstValue> {
        let mut stack = Vec::with_capacity(2);
        for instr in &self.instrs {
            let value = match *instr {
                ConstInstr::Const(value) => value,
                ConstInstr::GlobalGet(index) => global(index)?,
                ConstInstr::RefFunc(_) => return None,
                ConstInstr::RefNull => ConstValue(0),
                ConstInstr::Binary(op) => {
                    let b = stack.pop()?;
                    op.apply(stack.pop()?, b)
                }
            };
            stack.push(value);
        }
        stack.pop()
    }

    /// The function that the expression refers to, if it is a single `ref.func`.
    pub(crate) fn as_ref_func(&self) -> Option<FuncIndex> {
        match self.instrs[..] {
            [ConstInstr::RefFunc(f)] => Some(f),
            _ => None,
        }
    }

    /// Whether the expression is the null reference.
    pub(crate) fn is_null(&self) -> bool {
        self.instrs == [ConstInstr::RefNull]
    }

    /// All functions that the expression refers to.
    pub(crate) fn functions(&self) -> impl Iterator<Item = FuncIndex> {
        self.instrs.iter().filter_map(|instr| match instr {
            ConstInstr::RefFunc(f) => Some(*f),
            _ => None,
        })
    }

    /// The operations that the loader evaluates.
    pub(crate) fn ops(&self) -> impl Iterator<Item = ConstOp> {
        self.instrs.iter().map(|instr| {
            let (op, index, bits) = match *instr {
                // The loader never evaluates a v128 constant: `fold` always can.
                ConstInstr::Const(value) => (ConstOpcode::Const, 0, value.as_u64()),
                ConstInstr::GlobalGet(i) => (ConstOpcode::GlobalGet, i.as_u32(), 0),
                ConstInstr::RefFunc(i) => (ConstOpcode::RefFunc, i.as_u32(), 0),
                ConstInstr::RefNull => (ConstOpcode::RefNull, 0, 0),
                ConstInstr::Binary(op) => (op.opcode(), 0, 0),
            };
            ConstOp {
                op: op as u32,
                index,
                bits,
            }
        })
    }
}

impl BinaryOp {
    fn apply(self, a: ConstValue, b: ConstValue) -> ConstValue {
        let (a, b) = (a.as_u64(), b.as_u64());
        let (a32, b32) = (a as u32, b as u32);
        ConstValue(match self {
            Self::I32Add => a32.wrapping_add(b32).into(),
            Self::I32Sub => a32.wrapping_sub(b32).into(),
            Self::I32Mul => a32.wrapping_mul(b32).into(),
            Self::I64Add => a.wrapping_add(b).into(),
            Self::I64Sub => a.wrapping_sub(b).into(),
            Self::I64Mul => a.wrapping_mul(b).into(),
        })
    }

    fn opcode(self) -> ConstOpcode {
        match self {
            Self::I32Add => ConstOpcode::I32Add,
            Self::I32Sub => ConstOpcode::I32Sub,
            Self::I32Mul => ConstOpcode::I32Mul,
            Self::I64Add => ConstOpcode::I64Add,
            Self::I64Sub => ConstOpcode::I64Sub,
            Self::I64Mul => ConstOpcode::I64Mul,
        }
    }
}

fn constant(bits: u128) -> ConstInstr {
    ConstInstr::Const(ConstValue(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expr(instrs: &[ConstInstr]) -> ConstExpr {
        ConstExpr {
            instrs: instrs.to_vec(),
            features: WasmFeatures::empty(),
        }
    }

    #[test]
    fn expressions_fold_if_their_globals_are_known() {
        let known = |i: GlobalIndex| (i.index() == 0).then_some(ConstValue(5));
        let sum = expr(&[
            ConstInstr::GlobalGet(GlobalIndex::new(0)),
            constant(7),
            ConstInstr::Binary(BinaryOp::I32Sub),
        ]);
        assert_eq!(sum.fold(known), Some(ConstValue(0xffff_fffe)));
        assert_eq!(sum.fold(|_| None), None);
        assert_eq!(ConstExpr::ref_func(FuncIndex::new(3)).fold(known), None);
    }

    #[test]
    fn operations_are_in_program_order() {
        let product = expr(&[
            constant(u128::from(u64::MAX)),
            ConstInstr::GlobalGet(GlobalIndex::new(2)),
            ConstInstr::Binary(BinaryOp::I64Mul),
        ]);
        let ops: Vec<_> = product.ops().map(|op| (op.op, op.index, op.bits)).collect();
        let expected = [
            (ConstOpcode::Const as u32, 0, u64::MAX),
            (ConstOpcode::GlobalGet as u32, 2, 0),
            (ConstOpcode::I64Mul as u32, 0, 0),
        ];
        assert_eq!(ops, expected);
    }
}
