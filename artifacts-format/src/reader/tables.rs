//! Checks of the hot tables: indices, runs, types and flags of every record, table by table.

use super::check::{at, damaged, field};
use super::expr::ExprChecker;
use super::{Artifact, Error};
use crate::records::*;
use crate::signature::type_id_of_numbers;
use crate::types::{HeapType, MAX_SIGNATURES, RefType};
use crate::{LibCall, ValType};

/// Maximum number of pages of a memory with 32-bit and with 64-bit indices, and pages of 64 KiB.
const MAX_PAGES: [u64; 2] = [1 << 16, 1 << 48];

/// Maximum number of pages of one byte, with 32-bit and with 64-bit indices.
const MAX_BYTES: [u64; 2] = [u32::MAX as u64, u64::MAX];

/// Maximum number of elements of a table with 32-bit and with 64-bit indices.
const MAX_ELEMENTS: [u64; 2] = [u32::MAX as u64, u64::MAX];

impl Artifact<'_> {
    pub(super) fn check_tables(&self) -> Result<(), Error> {
        let strings = self.section(self.header.strings);
        let strings = core::str::from_utf8(strings)
            .map_err(|_| damaged(field!(strings), "names are not UTF-8"))?;
        self.check_signatures()?;
        self.check_types()?;
        self.check_imports(strings)?;
        self.check_memories()?;
        self.check_tables_and_globals()?;
        self.check_context()?;
        // Expressions may refer to any number of imported functions.
        let function_imports = self.scattered_function_imports();
        let mut exprs = ExprChecker::new(self.with_function_imports(&function_imports));
        self.check_globals(&mut exprs)?;
        self.check_segments(&mut exprs)?;
        self.check_exports(strings)?;
        self.check_got_records()
    }

    fn check_signatures(&self) -> Result<(), Error> {
        let h = self.header;
        let types = self.types();
        let count = self.signatures().len();
        if count > MAX_SIGNATURES {
            return Err(damaged(field!(signatures), "too many signatures"));
        }
        let is_type = |n: &u32| {
            let ty = ValType::from_number(*n);
            ty.is_some_and(|ty| ty.concrete().is_none_or(|index| (index as usize) < count))
        };
        for (i, s) in self.signatures().iter().enumerate() {
            let at = at::<SignatureRecord>(h.signatures, i);
            let (start, params) = (s.types as usize, s.params as usize);
            let Some(types) = types.get(start..start + params + s.results as usize) else {
                return Err(damaged(
                    at,
                    "value types of a signature outside of their table",
                ));
            };
            if !types.iter().all(is_type) {
                return Err(damaged(at, "unknown value type in a signature"));
            }
            let (params, results) = types.split_at(params);
            // Linking and typed calls compare only this id.
            let own = match self.type_record(i as u32) {
                Some(_) => 0,
                None => type_id_of_numbers(params, results).unwrap_or(0),
            };
            if s.type_id != own {
                return Err(damaged(at, "a signature has the type id of another"));
            }
            let trampolines = [s.native_entry, s.array_entry, s.native_exit, s.array_exit];
            if trampolines
                .iter()
                .any(|t| *t != NONE && u64::from(*t) >= h.text.len)
            {
                return Err(damaged(at, "trampoline outside of the text"));
            }
        }
        Ok(())
    }

    fn check_imports(&self, strings: &str) -> Result<(), Error> {
        let h = self.header;
        let vm = &h.vm;
        let mut counts = [0_u32; 5];
        for (i, import) in self.imports().iter().enumerate() {
            let at = at::<ImportRecord>(h.imports, i);
            if !is_name(strings, import.module) || !is_name(strings, import.name) {
                return Err(damaged(
                    at,
                    "the name of an import is outside of the strings",
                ));
            }
            let Some(kind) = ExternKind::from_number(import.kind) else {
                return Err(damaged(at, "unknown kind of import"));
            };
            if import.index != counts[kind as usize] {
                return Err(damaged(at, "the index of an import is out of order"));
            }
            counts[kind as usize] += 1;
            if kind == ExternKind::Func
                && (import.signature as usize >= self.signatures().len()
                    || (import.funcref != NONE && import.funcref >= vm.funcref_count))
            {
                return Err(damaged(
                    at,
                    "the signature or funcref slot of an imported function does not exist",
                ));
            }
        }
        if counts[ExternKind::Func as usize] != vm.func_import_count {
            return Err(damaged(
                field!(vm),
                "the number of imported functions differs from the imports",
            ));
        }
        let functions = self.function_count() as u64;
        if functions >= NONE.into() {
            return Err(damaged(field!(functions), "too many functions"));
        }
        if h.start_function != NONE && u64::from(h.start_function) >= functions {
            return Err(damaged(
                field!(start_function),
                "the index of the start function is out of bounds",
            ));
        }
        let (m, t, g) = (self.memories(), self.tables(), self.globals());
        let [_, tables, memories, globals, tags] = counts;
        if !imported_first(m.iter().map(|r| r.flags), memories)
            || !imported_first(t.iter().map(|r| r.flags), tables)
            || !imported_first(g.iter().map(|r| r.flags), globals)
            || !imported_first(self.tags().iter().map(|r| r.flags), tags)
        {
            return Err(damaged(
                field!(imports),
                "imports do not match the index spaces",
            ));
        }
        Ok(())
    }

    fn check_memories(&self) -> Result<(), Error> {
        let h = self.header;
        for (i, r) in self.memories().iter().enumerate() {
            let max = match r.page_shift {
                0 => Some(MAX_BYTES),
                16 => Some(MAX_PAGES),
                _ => None,
            };
            let good = r.flags & !(IMPORTED | INDEX64 | SHARED) == 0
                && (r.flags & SHARED == 0 || r.max != u64::MAX)
                && r.reserved == 0
                && max.is_some_and(|max| limits_ok(r.min, r.max, r.flags, max));
            if !good {
                return Err(damaged(
                    at::<MemoryRecord>(h.memories, i),
                    "a memory's record has unknown flags or impossible limits",
                ));
            }
        }
        Ok(())
    }

    /// Checks the records of tables, and those of globals except their initial values.
    fn check_tables_and_globals(&self) -> Result<(), Error> {
        let h = self.header;
        for (i, r) in self.tables().iter().enumerate() {
            let frozen = r.flags & FROZEN != 0;
            let element = self.ref_type(r.element);
            let funcref = element.is_some_and(|ty| ty.heap.top() == HeapType::Func);
            let is_filled = element.is_some_and(|ty| ty.nullable)
                || r.flags & (FROZEN | IMPORTED) != 0
                || self
                    .table_inits()
                    .binary_search_by_key(&(i as u32), |init| init.table)
                    .is_ok();
            let place = if frozen {
                let entries = r.min.saturating_add(1);
                let bytes = entries.saturating_mul(size_of::<FrozenEntry>() as u64);
                r.flags & IMPORTED == 0
                    && funcref
                    && r.vm_offset == NONE
                    && r.frozen.is_multiple_of(8)
                    && bytes.saturating_add(r.frozen.into()) <= h.rodata.len
            } else {
                r.frozen == NONE
            };
            let good = place
                && r.flags & !(IMPORTED | FROZEN | INDEX64) == 0
                && element.is_some()
                && is_filled
                && limits_ok(r.min, r.max, r.flags, MAX_ELEMENTS);
            if !good {
                return Err(damaged(
                    at::<TableRecord>(h.tables, i),
                    "a table's record has an impossible type, place, flags or limits",
                ));
            }
        }
        for (i, r) in self.globals().iter().enumerate() {
            let good = self.val_type(r.ty).is_some_and(|ty| {
                // The only reference that the template can hold is null.
                ty.is_defaultable() || r.flags & IMPORTED != 0 || r.init != NONE
            }) && r.flags & !(IMPORTED | MUTABLE) == 0
                && r.reserved == 0;
            if !good {
                return Err(damaged(
                    at::<GlobalRecord>(h.globals, i),
                    "a global's record has an unknown type or flags",
                ));
            }
        }
        for (i, r) in self.tags().iter().enumerate() {
            let signature = self.signatures().get(r.signature as usize);
            let good = signature.is_some_and(|s| s.results == 0)
                && r.flags & !IMPORTED == 0
                && r.reserved == 0;
            if !good {
                return Err(damaged(
                    at::<TagRecord>(h.tags, i),
                    "a tag's record has an impossible signature or flags",
                ));
            }
        }
        Ok(())
    }

    /// Checks initial values of globals. Those that the template holds are plain values, which
    /// [`context`](super::context) checks.
    fn check_globals(&self, exprs: &mut ExprChecker<'_>) -> Result<(), Error> {
        let h = self.header;
        for (i, r) in self.globals().iter().enumerate() {
            if r.init == NONE && r.init_len == 0 {
                continue;
            }
            let ty = self.val_type(r.ty);
            let Some(ty) = ty.filter(|_| r.flags & IMPORTED == 0) else {
                return Err(damaged(
                    at::<GlobalRecord>(h.globals, i),
                    "an imported global has an initial value",
                ));
            };
            let run = Run {
                first: r.init,
                count: r.init_len,
            };
            exprs.check(at::<GlobalRecord>(h.globals, i), run, ty, i)?;
        }
        Ok(())
    }

    /// Checks what instantiation goes through: initial values of tables, element and data segments.
    fn check_segments(&self, exprs: &mut ExprChecker<'_>) -> Result<(), Error> {
        let h = self.header;
        let (m, t, g) = (self.memories(), self.tables(), self.globals().len());
        // Only machine code sees frozen tables, so no segment may go into one.
        let table = |index: u32| {
            let table = t.get(index as usize);
            table.filter(|table| table.flags & FROZEN == 0)
        };
        let mut next = 0;
        for (i, r) in self.table_inits().iter().enumerate() {
            let at = at::<TableInitRecord>(h.table_inits, i);
            let table = table(r.table).filter(|_| r.reserved == 0 && r.table >= next);
            next = r.table.saturating_add(1);
            let Some(table) = table.filter(|table| table.flags & IMPORTED == 0) else {
                return Err(damaged(
                    at,
                    "the initial value of a table that is imported, frozen, out of order or missing",
                ));
            };
            let Some(element) = self.ref_type(table.element) else {
                return Err(damaged(at, "the initial value of a table of another type"));
            };
            exprs.check(at, r.value, ValType::Ref(element), g)?;
        }
        let (mut segment, mut items) = (0, 0_u64);
        for (i, r) in self.elements().iter().enumerate() {
            let target = table(r.table).map(|table| table.flags);
            let run = u64::from(r.items.first) == items && r.segment >= segment;
            items += u64::from(r.items.count);
            segment = r.segment.saturating_add(1);
            if !run || items > self.element_items().len() as u64 || r.segment == NONE {
                return Err(damaged(
                    at::<ElementRecord>(h.elements, i),
                    "an element segment is out of bounds or out of order",
                ));
            }
            let at = at::<ElementRecord>(h.elements, i);
            check_target(exprs, at, r.table, target, r.offset, g)?;
        }
        let (mut segment, mut bytes) = (0, 0_u64);
        for (i, r) in self.data().iter().enumerate() {
            let at = at::<DataRecord>(h.data, i);
            let target = m.get(r.memory as usize).map(|memory| memory.flags);
            let end = r.bytes.checked_add(r.len);
            let run = r.bytes == bytes && r.segment >= segment;
            segment = r.segment.saturating_add(1);
            match end {
                Some(end) if run && end <= h.segments.len && r.segment != NONE => bytes = end,
                _ => {
                    return Err(damaged(
                        at,
                        "a data segment is out of bounds or out of order",
                    ));
                }
            }
            check_target(exprs, at, r.memory, target, r.offset, g)?;
        }
        Ok(())
    }

    fn check_exports(&self, strings: &str) -> Result<(), Error> {
        let h = self.header;
        let (m, t, g) = (self.memories(), self.tables(), self.globals());
        let mut hash = 0;
        for (i, e) in self.exports().iter().enumerate() {
            let index = e.index as usize;
            let exists = match ExternKind::from_number(e.kind) {
                Some(ExternKind::Func) => index < self.function_count(),
                Some(ExternKind::Table) => t.get(index).is_some_and(|t| t.flags & FROZEN == 0),
                Some(ExternKind::Memory) => index < m.len(),
                Some(ExternKind::Global) => index < g.len(),
                Some(ExternKind::Tag) => index < self.tags().len(),
                None => false,
            };
            if !exists || e.hash < hash || !is_name(strings, e.name) {
                return Err(damaged(
                    at::<ExportRecord>(h.exports, i),
                    "an export has an unknown kind, name or index, or is out of order",
                ));
            }
            hash = e.hash;
        }
        Ok(())
    }

    fn check_got_records(&self) -> Result<(), Error> {
        let h = self.header;
        for (i, r) in self.got_records().iter().enumerate() {
            let known = match GotKind::from_number(r.kind) {
                Some(GotKind::LibCall) => LibCall::from_number(r.index).is_some(),
                Some(GotKind::TypeId) => (r.index as usize) < self.signatures().len(),
                None => false,
            };
            if !known {
                return Err(damaged(
                    at::<GotRecord>(h.got_records, i),
                    "a GOT record that this reader does not know",
                ));
            }
        }
        Ok(())
    }

    /// The type with this number, if the signature that it refers to exists.
    pub fn val_type(&self, number: u32) -> Option<ValType> {
        let ty = ValType::from_number(number)?;
        let exists = |index: u32| (index as usize) < self.signatures().len();
        ty.concrete().is_none_or(exists).then_some(ty)
    }

    /// The reference type with this number, if the signature that it refers to exists.
    pub fn ref_type(&self, number: u32) -> Option<RefType> {
        match self.val_type(number)? {
            ValType::Ref(ty) => Some(ty),
            _ => None,
        }
    }

    /// Number of functions in the index space: imported and defined ones.
    pub fn function_count(&self) -> usize {
        let defined = self.header.functions.len as usize / size_of::<FunctionRecord>();
        (self.header.vm.func_import_count as usize).saturating_add(defined)
    }
}

/// Checks where an element or data segment goes: `index` is its table or memory, and `flags` are
/// that table's or memory's, if it exists.
fn check_target(
    exprs: &mut ExprChecker<'_>,
    record: usize,
    index: u32,
    flags: Option<u32>,
    offset: Run,
    globals: usize,
) -> Result<(), Error> {
    match flags {
        Some(flags) if flags & INDEX64 != 0 => exprs.check(record, offset, ValType::I64, globals),
        Some(_) => exprs.check(record, offset, ValType::I32, globals),
        None if index == NONE && offset.count == 0 => Ok(()),
        None => Err(damaged(record, "a segment whose target does not exist")),
    }
}

/// Whether the first `count` items of an index space are the imported ones.
fn imported_first(flags: impl ExactSizeIterator<Item = u32>, count: u32) -> bool {
    let count = count as usize;
    count <= flags.len()
        && flags
            .enumerate()
            .all(|(i, flags)| (flags & IMPORTED != 0) == (i < count))
}

/// Whether a module can have these limits; `largest` is for 32-bit and for 64-bit indices.
fn limits_ok(min: u64, max: u64, flags: u32, largest: [u64; 2]) -> bool {
    let largest = largest[usize::from(flags & INDEX64 != 0)];
    min <= max && min <= largest && (max <= largest || max == u64::MAX)
}

/// Whether a slice of the strings is inside them and is UTF-8.
fn is_name(strings: &str, name: Slice) -> bool {
    let (start, end) = (
        name.offset as usize,
        name.offset as usize + name.len as usize,
    );
    strings.get(start..end).is_some()
}
