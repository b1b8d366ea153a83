//! Globals. The VM context has their values, or pointers to them if they are imported. Constants
//! are folded into the code.

use cranelift_codegen::ir::types::{F32, F64, I8X16, I64};
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Type, Value};
use precast_artifact::promises::Promise;

use super::FuncTranslator;
use super::promises::with_promise;
use super::state::{Region, vm_offset};
use crate::const_expr::ConstValue;
use crate::signature::clif_type;
use crate::symbol::GlobalIndex;

/// Alias analysis does not distinguish globals from this index on.
const MAX_REGIONS: u32 = 1024;

impl FuncTranslator<'_, '_> {
    pub(super) fn global_get(&mut self, index: u32) {
        let index = GlobalIndex::from_u32(index);
        let global = &self.env.module.globals[index];
        let ty = clif_type(global.ty);
        if let Some(value) = self.env.plan.globals[index].constant {
            let value = self.global_constant(ty, value);
            return self.push(value);
        }
        let (base, offset, flags) = self.global_place(index, ty);
        let flags = with_promise(flags, Promise::global(global.mutable));
        let value = self.builder.ins().load(ty, flags, base, vm_offset(offset));
        self.push(value);
    }

    pub(super) fn global_set(&mut self, index: u32) {
        let index = GlobalIndex::from_u32(index);
        let value = self.pop();
        let ty = clif_type(self.env.module.globals[index].ty);
        let (base, offset, flags) = self.global_place(index, ty);
        self.builder
            .ins()
            .store(flags, value, base, vm_offset(offset));
    }

    /// The address of a global's value (base and offset), and the flags of an access to it.
    fn global_place(&mut self, index: GlobalIndex, ty: Type) -> (Value, usize, MemFlagsData) {
        let plan = self.env.plan.globals[index];
        // The number of alias regions in a function is limited.
        let region = match plan.private && index.as_u32() < MAX_REGIONS {
            true => Region::Global(index.as_u32()),
            false => Region::SharedGlobal,
        };
        let region = self.region(region);
        let mut flags = MemFlagsData::new()
            .with_notrap()
            .with_alias_region(Some(region));
        if ty == I8X16 {
            flags.set_endianness(Endianness::Little);
        } else {
            flags.set_aligned();
        }
        let offset = plan.offset as usize;
        if self.env.module.is_imported_global(index) {
            (
                self.read(Promise::ImportedGlobal, self.vmctx, offset),
                0,
                flags,
            )
        } else {
            (self.vmctx, offset, flags)
        }
    }

    fn global_constant(&mut self, ty: Type, ConstValue(bits): ConstValue) -> Value {
        match ty {
            F32 => self.builder.ins().f32const(f32::from_bits(bits as u32)),
            F64 => self.builder.ins().f64const(f64::from_bits(bits as u64)),
            I8X16 => {
                let bytes = self
                    .builder
                    .func
                    .dfg
                    .constants
                    .insert(bits.to_le_bytes()[..].into());
                self.builder.ins().vconst(ty, bytes)
            }
            I64 => self.builder.ins().iconst(ty, (bits as u64).cast_signed()),
            _ => self
                .builder
                .ins()
                .iconst(ty, i64::from((bits as u32).cast_signed())),
        }
    }
}
