//! Tables that are not frozen. Elements are 8 bytes, and code reads and writes them inline; the
//! loader grows, copies and fills tables.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use precast_artifact::promises::Promise;
use precast_artifact::vm::VmTable;
use precast_artifact::{Builtin, TrapCode};
use std::mem::offset_of;

use super::FuncTranslator;
use crate::plan::SegmentPlan;
use crate::symbol::{ElemIndex, TableIndex};

impl FuncTranslator<'_, '_> {
    pub(super) fn table_get(&mut self, table: u32) {
        let index = self.pop();
        let table = TableIndex::from_u32(table);
        let element = self.table_element(table, index, TrapCode::TableOutOfBounds);
        let value = self.read(Promise::TableElements, element, 0);
        self.push(value);
    }

    pub(super) fn table_set(&mut self, table: u32) {
        let (index, value) = self.pop2();
        let table = TableIndex::from_u32(table);
        let element = self.table_element(table, index, TrapCode::TableOutOfBounds);
        self.write(Promise::TableElements, value, element, 0);
    }

    pub(super) fn table_size(&mut self, table: u32) {
        let table = TableIndex::from_u32(table);
        let len = self.table_len(table);
        self.push_index(len, self.env.module.tables[table].index64);
    }

    pub(super) fn table_grow(&mut self, table: u32) {
        let (init, delta) = self.pop2();
        let units = self.range_begins(delta);
        let delta = self.widen_index(delta);
        let index = self.index(table);
        let before = self.call_builtin(Builtin::TableGrow, &[index, delta, init]);
        let before = before.expect("a result");
        self.growth_ends(units, before);
        let index64 = self.env.module.tables[TableIndex::from_u32(table)].index64;
        self.push_index(before, index64);
    }

    pub(super) fn table_fill(&mut self, table: u32) {
        let (dst, value, len) = self.pop3();
        let units = self.range_begins(len);
        let (dst, len) = (self.widen_index(dst), self.widen_index(len));
        let table = self.index(table);
        self.call_builtin(Builtin::TableFill, &[table, dst, value, len]);
        self.range_succeeds(units);
    }

    pub(super) fn table_copy(&mut self, dst_table: u32, src_table: u32) {
        let (dst, src, len) = self.pop3();
        let units = self.range_begins(len);
        let (dst, src, len) = (
            self.widen_index(dst),
            self.widen_index(src),
            self.widen_index(len),
        );
        let (dst_table, src_table) = (self.index(dst_table), self.index(src_table));
        self.call_builtin(Builtin::TableCopy, &[dst_table, src_table, dst, src, len]);
        self.range_succeeds(units);
    }

    pub(super) fn table_init(&mut self, table: u32, segment: u32) {
        let (dst, src, len) = self.pop3();
        let units = self.range_begins(len);
        let (dst, src, len) = (
            self.widen_index(dst),
            self.widen_index(src),
            self.widen_index(len),
        );
        match self.env.plan.elements[ElemIndex::from_u32(segment)] {
            SegmentPlan::Record(_) => {
                let (table, segment) = (self.index(table), self.index(segment));
                self.call_builtin(Builtin::TableInit, &[table, segment, dst, src, len]);
            }
            SegmentPlan::Dropped | SegmentPlan::Unused => {
                self.check_dropped(src, len, TrapCode::TableOutOfBounds);
                // There is nothing to copy, so the range ends where it starts.
                let table_len = self.table_len(TableIndex::from_u32(table));
                let out = self
                    .builder
                    .ins()
                    .icmp(IntCC::UnsignedGreaterThan, dst, table_len);
                self.trapnz(out, TrapCode::TableOutOfBounds);
            }
        }
        self.range_succeeds(units);
    }

    pub(super) fn elem_drop(&mut self, segment: u32) {
        if let SegmentPlan::Record(record) = self.env.plan.elements[ElemIndex::from_u32(segment)] {
            self.set_dropped(self.env.plan.vm.elem_dropped, record);
        }
    }

    /// Address of an element, after a check that its index is in bounds.
    pub(super) fn table_element(
        &mut self,
        table: TableIndex,
        index: Value,
        code: TrapCode,
    ) -> Value {
        let index = self.widen_index(index);
        let len = self.table_len(table);
        let out = self
            .builder
            .ins()
            .icmp(IntCC::UnsignedGreaterThanOrEqual, index, len);
        self.trapnz(out, code);
        let base = self.table_base(table);
        let offset = self.builder.ins().ishl_imm_u(index, 3);
        let element = self.builder.ins().iadd(base, offset);
        if self
            .env
            .isa
            .flags()
            .enable_table_access_spectre_mitigation()
        {
            self.builder.ins().select_spectre_guard(out, base, element)
        } else {
            element
        }
    }

    /// Current number of elements.
    pub(super) fn table_len(&mut self, table: TableIndex) -> Value {
        if let Some(len) = self.env.plan.tables[table].fixed_len
            && Promise::FixedTableLen.is_constant()
        {
            return self.builder.ins().iconst(I64, len.cast_signed());
        }
        let (head, offset) = self.table_head(table);
        let place = offset + offset_of!(VmTable, len);
        self.read(Promise::GrowingTableLen, head, place)
    }

    fn table_base(&mut self, table: TableIndex) -> Value {
        let (head, offset) = self.table_head(table);
        let place = offset + offset_of!(VmTable, base);
        let is_fixed = self.env.plan.tables[table].fixed_len.is_some();
        self.read(Promise::table_base(is_fixed), head, place)
    }

    /// Base and offset of the [`VmTable`].
    fn table_head(&mut self, table: TableIndex) -> (Value, usize) {
        let place = self.env.plan.tables[table].offset as usize;
        if self.env.module.is_imported_table(table) {
            (self.read(Promise::ImportedTable, self.vmctx, place), 0)
        } else {
            (self.vmctx, place)
        }
    }
}
