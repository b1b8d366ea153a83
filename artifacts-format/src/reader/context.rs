//! Checks of the VM context: its parts do not overlap, and its template has no bytes where pointers
//! go.
//!
//! ```text
//!   header │ globals, memories, tables │ func_imports │ funcrefs │ tags │ dropped flags
//!          └ in any order, disjoint    └ each starts at or behind the end of the one before it
//! ```
//! The loader writes pointers into every part but the globals, resets everything in front of
//! `func_imports`, and calls through what it finds in import slots and references. So a global over
//! the header, or template bytes where a pointer goes, would let an artifact write or call
//! anywhere.

use super::check::{at, damaged, field, overlapping};
use super::{Artifact, Error};
use crate::ValType;
use crate::records::*;
use crate::vm::{VmContextHeader, VmFuncImport, VmFuncRef, VmMemory, VmTable, VmTag};

/// Largest VM context, in bytes.
const MAX_SIZE: u32 = 1 << 30;

/// The part of the VM context that belongs to a global, memory or table.
#[derive(Clone, Copy)]
struct Part {
    start: u32,
    size: u32,
    align: u32,
    /// Whether the template may have bytes there, which is so only for a value that is no
    /// reference.
    is_plain: bool,
    /// Distance of its record from the header.
    record: usize,
}

impl Part {
    /// The part of an item that takes `size` bytes, or of the pointer to it if it is imported.
    fn new(start: u32, size: usize, flags: u32, is_plain: bool, record: usize) -> Self {
        let imported = flags & IMPORTED != 0;
        Self {
            start,
            size: if imported { size_of::<usize>() } else { size } as u32,
            align: 8,
            is_plain: is_plain && !imported,
            record,
        }
    }

    fn end(self) -> u64 {
        u64::from(self.start) + u64::from(self.size)
    }
}

impl Artifact<'_> {
    pub(super) fn check_context(&self) -> Result<(), Error> {
        let h = self.header;
        let vm = &h.vm;
        let bad = |what| Err(damaged(field!(vm), what));
        if !vm.size.is_multiple_of(16) || vm.size > MAX_SIZE {
            return bad("the size of the VM context is too large or not a multiple of 16");
        }
        let imports = size_of::<VmFuncImport>() as u64 * u64::from(vm.func_import_count);
        let references = size_of::<VmFuncRef>() as u64 * u64::from(vm.funcref_count);
        let regions = [
            (vm.func_imports, imports, 8),
            (vm.funcrefs, references, 8),
            (vm.data_dropped, self.data().len() as u64, 1),
            (vm.elem_dropped, self.elements().len() as u64, 1),
        ];
        let mut end = size_of::<VmContextHeader>() as u64;
        for (start, len, align) in regions {
            if u64::from(start) < end || !start.is_multiple_of(align) {
                return bad("a part of the VM context that overlaps what is before it");
            }
            end = u64::from(start) + len;
        }
        if end > vm.size.into() {
            return bad("a part of the VM context outside of it");
        }
        self.check_tags()?;
        self.check_parts()
    }

    /// Checks that tags are between the funcref slots and the dropped flags, each at or behind the
    /// end of the one before it.
    fn check_tags(&self) -> Result<(), Error> {
        let h = self.header;
        let references = size_of::<VmFuncRef>() as u64 * u64::from(h.vm.funcref_count);
        let mut end = u64::from(h.vm.funcrefs) + references;
        for (i, r) in self.tags().iter().enumerate() {
            let record = at::<TagRecord>(h.tags, i);
            let part = Part::new(r.vm_offset, size_of::<VmTag>(), r.flags, false, record);
            let good = u64::from(part.start) >= end
                && part.start.is_multiple_of(part.align)
                && part.end() <= h.vm.data_dropped.into();
            if !good {
                return Err(damaged(
                    record,
                    "its place in the VM context is not one for tags, or overlaps another",
                ));
            }
            end = part.end();
        }
        Ok(())
    }

    /// Checks that globals, memories and tables are between the header and the import slots and do
    /// not overlap, and that the template has bytes for values only.
    fn check_parts(&self) -> Result<(), Error> {
        let header = size_of::<VmContextHeader>();
        let end = u64::from(self.header.vm.func_imports);
        let template = self.section(self.header.template);
        let forged = damaged(
            field!(template),
            "a template with bytes where pointers or references go",
        );
        let is_zero = |start: usize, end: usize| {
            let bytes = template.get(start..end.min(template.len()));
            bytes.is_none_or(|bytes| bytes.iter().all(|b| *b == 0))
        };
        if template.len() as u64 > end || !is_zero(0, header) {
            return Err(forged);
        }
        let mut in_order = true;
        let mut last = header as u64;
        for part in self.parts() {
            in_order &= u64::from(part.start) >= last;
            last = part.end();
            let inside = part.start as usize >= header && last <= end;
            if !inside || !part.start.is_multiple_of(part.align) {
                return Err(damaged(
                    part.record,
                    "its place in the VM context is not among globals, memories and tables",
                ));
            }
            if !part.is_plain && !is_zero(part.start as usize, last as usize) {
                return Err(forged);
            }
        }
        if in_order {
            return Ok(());
        }
        let parts = self.parts();
        let places = parts.map(|part| (part.start.into(), part.end(), part.record));
        overlapping(places.collect()).map_or(Ok(()), |record| {
            let what = "its place in the VM context overlaps another";
            Err(damaged(record, what))
        })
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        let h = self.header;
        let globals = self.globals().iter().enumerate().map(move |(i, g)| {
            let ty = ValType::from_number(g.ty);
            let size = if ty == Some(ValType::V128) { 16 } else { 8 };
            let is_plain = ty.is_some_and(|ty| !ty.is_ref());
            let record = at::<GlobalRecord>(h.globals, i);
            let part = Part::new(g.vm_offset, size, g.flags, is_plain, record);
            Part {
                align: part.size,
                ..part
            }
        });
        let memories = self.memories().iter().enumerate().map(move |(i, m)| {
            let record = at::<MemoryRecord>(h.memories, i);
            // The context has a pointer to a shared memory, as to an imported one.
            let flags = match m.flags & SHARED {
                0 => m.flags,
                _ => m.flags | IMPORTED,
            };
            Part::new(m.vm_offset, size_of::<VmMemory>(), flags, false, record)
        });
        let tables = self.tables().iter().enumerate().map(move |(i, t)| {
            let record = at::<TableRecord>(h.tables, i);
            let part = Part::new(t.vm_offset, size_of::<VmTable>(), t.flags, false, record);
            (t.flags & FROZEN == 0).then_some(part)
        });
        globals.chain(memories).chain(tables.flatten())
    }
}
