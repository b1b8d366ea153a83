//! The template of a VM context: the initial values of globals, as bytes.
//!
//! Machine code reads globals in the byte order of its target, so the template is the only part of
//! an artifact with big-endian data, on a big-endian target. A v128 has its lane 0 first on every
//! target, as in guest memory.

use cranelift_codegen::ir::Endianness;
use precast_artifact::ValType;

use crate::const_expr::ConstValue;
use crate::module::Module;
use crate::plan::Plan;

/// The initial bytes of the VM context, up to the last one that is not zero.
pub(super) fn template(module: &Module<'_>, plan: &Plan, order: Endianness) -> Vec<u8> {
    let mut template = Vec::new();
    for (index, global) in plan.globals.iter() {
        let Some(ConstValue(bits)) = global.init else {
            continue;
        };
        let mut bytes = bits.to_le_bytes();
        let size = match module.globals[index].ty {
            ValType::I32 | ValType::F32 => 4,
            ValType::I64 | ValType::F64 | ValType::Ref(_) => 8,
            ValType::V128 => 16,
        };
        if order == Endianness::Big && size < 16 {
            bytes[..size].reverse();
        }
        let Some(last) = bytes[..size].iter().rposition(|byte| *byte != 0) else {
            continue;
        };
        let (start, len) = (global.offset as usize, last + 1);
        template.resize(template.len().max(start + len), 0);
        template[start..start + len].copy_from_slice(&bytes[..len]);
    }
    template
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbol::GlobalIndex;

    #[test]
    fn globals_have_the_byte_order_of_the_target() {
        let wasm = wat::parse_str(
            "(module (global (mut i32) (i32.const 0x01020304)) (global (mut i64) (i64.const 5))
              (global (mut f32) (f32.const 1)) (global (mut i64) (i64.const 0))
              (global (mut v128) (v128.const i32x4 1 2 3 0)))",
        )
        .expect("valid text");
        let module = crate::parse::parse(&wasm).expect("a valid module");
        let plan = Plan::new(&module).expect("a small module");
        let at = |i| plan.globals[GlobalIndex::from_u32(i)].offset as usize;
        let little = template(&module, &plan, Endianness::Little);
        let big = template(&module, &plan, Endianness::Big);
        assert_eq!(little[at(0)..][..8], [4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(big[at(0)..][..8], [1, 2, 3, 4, 0, 0, 0, 0]);
        assert_eq!(little[at(1)..][..8], [5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(big[at(1)..][..8], [0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(little[at(2)..][..4], 1_f32.to_le_bytes());
        assert_eq!(big[at(2)..][..4], 1_f32.to_be_bytes());
        for template in [little, big] {
            assert_eq!(template[at(3)..][..8], [0; 8]);
            // The template ends with the last byte that is not zero.
            assert_eq!(template[at(4)..], [1, 0, 0, 0, 2, 0, 0, 0, 3]);
        }
    }
}
