//! Constant expressions.

use precast_artifact::records::*;
use precast_artifact::{Aligned, Artifact, ValType};

use super::{SectionOf, refused};
use crate::sample::{HOST, full};

#[test]
fn constant_expressions_of_other_types() {
    let ops: SectionOf = |h| h.const_ops;
    let globals: SectionOf = |h| h.globals;
    let ty = "of another type";
    let set = |opcode: ConstOpcode, index, bits| ConstOp {
        op: opcode as u32,
        index,
        bits,
    };
    // Operation 0 is the value of a funcref global, operation 1 that of a table of funcref.
    // Operation 2 is the offset of an element segment, operation 3 that of a data segment.
    for at in [0, 1] {
        for op in [
            set(ConstOpcode::Const, 0, 0x4141_4141),
            set(ConstOpcode::Const, 0, 0),
            set(ConstOpcode::RefFunc, 3, 0),
            set(ConstOpcode::GlobalGet, 0, 0),
            set(ConstOpcode::GlobalGet, 2, 0),
            set(ConstOpcode::I64Add, 0, 0),
        ] {
            refused(|b| b.const_ops[at] = op, ops, ty);
        }
    }
    // The global would read itself before it is initialised.
    refused(
        |b| b.const_ops[0] = set(ConstOpcode::GlobalGet, 1, 0),
        ops,
        ty,
    );
    for at in [2, 3] {
        for op in [
            set(ConstOpcode::RefFunc, 1, 0),
            set(ConstOpcode::RefNull, 0, 0),
            set(ConstOpcode::Const, 0, 1 << 32),
            // Global 0 is mutable.
            set(ConstOpcode::GlobalGet, 0, 0),
            set(ConstOpcode::GlobalGet, 1, 0),
            set(ConstOpcode::I32Add, 0, 0),
        ] {
            refused(|b| b.const_ops[at] = op, ops, ty);
        }
    }
    refused(|b| b.const_ops[0].op = 99, ops, ty);
    let shares = "outside of the table, or shares";
    let one = "does not give one value";
    let data: SectionOf = |h| h.data;
    refused(|b| b.globals[1].init_len = 5, globals, shares);
    refused(|b| b.globals[1].init = u32::MAX - 1, globals, shares);
    refused(|b| b.data[0].offset.first = 9, data, shares);
    refused(|b| b.globals[1].init_len = 2, globals, one);
    refused(|b| b.globals[1].init_len = 0, globals, one);
    refused(|b| b.data[0].offset.count = 0, data, one);
    refused(
        |b| {
            b.const_ops.push(set(ConstOpcode::Const, 0, 1));
            b.data[0].offset.count = 2;
        },
        data,
        one,
    );
    refused(
        |b| {
            b.import("env", "global", ExternKind::Global, 0);
            b.globals[0] = GlobalRecord {
                flags: IMPORTED,
                init: 0,
                init_len: 1,
                ..b.globals[0]
            };
            b.template.clear();
        },
        globals,
        "imported global has an initial value",
    );
}

#[test]
fn arithmetic_in_constant_expressions() {
    let sum = |left: ConstOp, right: ConstOp, opcode: ConstOpcode| {
        let mut b = full();
        b.import("env", "i32", ExternKind::Global, 0);
        let op = ConstOp {
            op: opcode as u32,
            index: 0,
            bits: 0,
        };
        b.globals.insert(
            0,
            GlobalRecord {
                ty: ValType::I32.number(),
                flags: IMPORTED,
                vm_offset: 152,
                init: NONE,
                init_len: 0,
                reserved: 0,
            },
        );
        b.data[0].offset = b.const_expr(&[left, right, op]);
        let bytes = Aligned::new(&b.finish().expect("small"));
        Artifact::parse(&bytes, Some(&HOST)).map(drop)
    };
    let constant = |bits| ConstOp {
        op: ConstOpcode::Const as u32,
        index: 0,
        bits,
    };
    let global = |index| ConstOp {
        op: ConstOpcode::GlobalGet as u32,
        index,
        bits: 0,
    };
    assert_eq!(sum(constant(1), constant(2), ConstOpcode::I32Add), Ok(()));
    assert_eq!(sum(global(0), constant(2), ConstOpcode::I32Mul), Ok(()));
    assert!(sum(global(2), constant(2), ConstOpcode::I32Mul).is_err());
    assert!(sum(constant(1), constant(2), ConstOpcode::I64Add).is_err());
}
