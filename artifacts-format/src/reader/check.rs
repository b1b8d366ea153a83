//! The checks of [`Artifact::parse`], in their order.

use super::{Artifact, Error, FoundFile, Host, Mismatch, checksum, feature_names};
use crate::abi::LEAST_SAFE;
use crate::records::*;
use crate::target::{Arch, Os};
use crate::{ABI, FORMAT, HEADER_OFFSET, Header, Interruption, MAGIC, Section, Strategy, ValType};

/// Distance of a field from the start of the header.
macro_rules! field {
    ($name:ident) => {
        core::mem::offset_of!(Header, $name)
    };
}

/// The header, if magic and format are right, of a file of `len` bytes that starts with `bytes`.
pub(super) fn header(bytes: &[u8], len: usize) -> Result<&Header, Error> {
    let start = HEADER_OFFSET;
    let end = start + size_of::<Header>();
    let is_elf = bytes.starts_with(b"\x7fELF");
    match bytes.get(start..start + MAGIC.len()) {
        Some(magic) if is_elf && magic == MAGIC => {}
        Some(_) => return Err(Error::NotArtifact(FoundFile::sniff(bytes))),
        None if is_elf => {
            return Err(Error::Truncated {
                found: len as u64,
                expected: end as u64,
            });
        }
        None => return Err(Error::NotArtifact(FoundFile::sniff(bytes))),
    }
    let Some(header) = bytes.get(start..end) else {
        // The format number is known even where the rest of the header is missing.
        return Err(Error::Truncated {
            found: len as u64,
            expected: end as u64,
        });
    };
    let found = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if found != FORMAT {
        return Err(Error::Format {
            found,
            expected: FORMAT,
        });
    }
    let alignment = u32::try_from(align_of::<u64>()).unwrap_or(8);
    bytemuck::try_from_bytes(header).map_err(|_| Error::Misaligned {
        expected: alignment,
    })
}

impl Artifact<'_> {
    pub(super) fn check_host(&self, host: &Host) -> Result<(), Error> {
        let h = self.header;
        let mut mismatches = Vec::new();
        if h.abi < LEAST_SAFE {
            mismatches.push(Mismatch::UnsafeAbi { found: h.abi });
        } else if h.abi != ABI {
            mismatches.push(Mismatch::Abi {
                found: h.abi,
                expected: ABI,
            });
        }
        let name = |arch: Option<Arch>, os: Option<Os>| match (arch, os) {
            (Some(arch), Some(os)) => format!("{}-unknown-{}-gnu", arch.name(), os.name()),
            _ => format!(
                "an unknown target (architecture {}, system {})",
                h.arch, h.os
            ),
        };
        if h.arch != host.arch as u32 || h.os != host.os as u32 || h.pointer_width != 8 {
            mismatches.push(Mismatch::Target {
                found: name(Arch::from_number(h.arch), Os::from_number(h.os)),
                expected: name(Some(host.arch), Some(host.os)),
            });
        } else {
            let missing = h.cpu_features & !host.cpu_features;
            if missing != 0 {
                mismatches.push(Mismatch::CpuFeatures {
                    missing: feature_names(host.arch, missing),
                });
            }
        }
        if host.page_size == 0 || !h.page_size.is_multiple_of(host.page_size) {
            mismatches.push(Mismatch::PageSize {
                found: h.page_size,
                expected: host.page_size,
            });
        }
        if mismatches.is_empty() {
            Ok(())
        } else {
            Err(Error::Mismatch(mismatches))
        }
    }

    pub(super) fn check_checksum(&self) -> Result<(), Error> {
        let len = self.header.hot_len;
        let covered = HEADER_OFFSET
            .checked_add(len as usize)
            .and_then(|end| {
                self.hot
                    .get(HEADER_OFFSET..end)
                    .or(self.bytes.get(HEADER_OFFSET..end))
            })
            .filter(|covered| covered.len() >= size_of::<Header>())
            .ok_or(damaged(field!(hot_len), "length of the hot tables"))?;
        let found = checksum(covered);
        let expected = self.header.checksum;
        if found == expected {
            Ok(())
        } else {
            Err(Error::Checksum {
                found,
                expected,
                len,
            })
        }
    }

    pub(super) fn check_sections(&self) -> Result<(), Error> {
        let h = self.header;
        let hot: [(Section, usize, usize); 14] = [
            (h.strings, 1, field!(strings)),
            (h.types, 1, field!(types)),
            (
                h.signatures,
                size_of::<SignatureRecord>(),
                field!(signatures),
            ),
            (h.imports, size_of::<ImportRecord>(), field!(imports)),
            (h.exports, size_of::<ExportRecord>(), field!(exports)),
            (h.memories, size_of::<MemoryRecord>(), field!(memories)),
            (h.tables, size_of::<TableRecord>(), field!(tables)),
            (h.globals, size_of::<GlobalRecord>(), field!(globals)),
            (h.const_ops, size_of::<ConstOp>(), field!(const_ops)),
            (
                h.table_inits,
                size_of::<TableInitRecord>(),
                field!(table_inits),
            ),
            (h.elements, size_of::<ElementRecord>(), field!(elements)),
            (h.data, size_of::<DataRecord>(), field!(data)),
            (h.links, size_of::<LinkRecord>(), field!(links)),
            (h.template, 1, field!(template)),
        ];
        let cold: [(Section, usize, usize); 13] = [
            (h.rodata, 8, field!(rodata)),
            (h.text, 1, field!(text)),
            (h.link_table, 8, field!(link_table)),
            (h.image, 1, field!(image)),
            (h.element_items, size_of::<ConstOp>(), field!(element_items)),
            (h.images, size_of::<ImageRecord>(), field!(images)),
            (h.segments, 1, field!(segments)),
            (h.functions, size_of::<FunctionRecord>(), field!(functions)),
            (h.traps, 1, field!(traps)),
            (h.addresses, 1, field!(addresses)),
            (h.metadata, 1, field!(metadata)),
            (h.symtab, 24, field!(symtab)),
            (h.strtab, 1, field!(strtab)),
        ];
        let room = (self.bytes.len() - HEADER_OFFSET) as u64;
        for (table, limit) in [(&hot[..], u64::from(h.hot_len)), (&cold[..], room)] {
            for &(section, size, field) in table {
                let end = section.start.checked_add(section.len);
                if end.is_none_or(|end| end > limit) {
                    return Err(damaged(
                        field,
                        "section outside of the file or of the hot tables",
                    ));
                }
                if !section.len.is_multiple_of(size as u64) {
                    return Err(damaged(field, "section is not a whole number of records"));
                }
                if size > 1 && !section.start.is_multiple_of(8) {
                    return Err(damaged(field, "section is not aligned to 8 bytes"));
                }
            }
        }
        if !h.page_size.is_power_of_two() {
            return Err(damaged(
                field!(page_size),
                "page size is not a power of two",
            ));
        }
        for (section, field) in [
            (h.text, field!(text)),
            (h.link_table, field!(link_table)),
            (h.image, field!(image)),
        ] {
            let offset = section.start + HEADER_OFFSET as u64;
            if section.len > 0 && !offset.is_multiple_of(u64::from(h.page_size)) {
                return Err(damaged(field, "section is not page aligned"));
            }
        }
        if h.text.len >= u64::from(u32::MAX) {
            return Err(damaged(field!(text), "text of more than 4 GiB"));
        }
        if h.link_table.len / 8 != h.links.len / size_of::<LinkRecord>() as u64 {
            return Err(damaged(
                field!(link_table),
                "not one slot for each link record",
            ));
        }
        if Strategy::from_number(h.strategy).is_none() {
            return Err(damaged(field!(strategy), "unknown memory strategy"));
        }
        Ok(())
    }

    pub(super) fn check_tables(&self) -> Result<(), Error> {
        self.check_vm_layout()?;
        self.check_signatures()?;
        self.check_imports()?;
        self.check_items()?;
        self.check_initialisers()
    }

    fn check_vm_layout(&self) -> Result<(), Error> {
        let h = self.header;
        let vm = &h.vm;
        let vm_field = field!(vm);
        if !vm.size.is_multiple_of(16) || u64::from(vm.size) < h.template.len {
            return Err(damaged(vm_field, "size of the VM context"));
        }
        if Interruption::from_number(vm.interruption).is_none() {
            return Err(damaged(vm_field, "unknown interruption"));
        }
        let parts = [
            (vm.func_imports, 48 * u64::from(vm.func_import_count), 8),
            (vm.funcrefs, 40 * u64::from(vm.funcref_count), 8),
            (vm.data_dropped, self.data().len() as u64, 1),
            (vm.elem_dropped, self.elements().len() as u64, 1),
        ];
        let bad = |p: &(u32, u64, u32)| !self.in_context(p.0, p.1) || !p.0.is_multiple_of(p.2);
        if vm.func_imports < 16 || parts.iter().any(bad) {
            return Err(damaged(vm_field, "part of the VM context outside of it"));
        }
        Ok(())
    }

    /// Whether `len` bytes from `offset` on are inside the VM context.
    fn in_context(&self, offset: u32, len: u64) -> bool {
        u64::from(offset) + len <= u64::from(self.header.vm.size)
    }

    fn check_signatures(&self) -> Result<(), Error> {
        let h = self.header;
        let types = self.section(h.types);
        for (i, s) in self.signatures().iter().enumerate() {
            let at = at::<SignatureRecord>(h.signatures, i);
            let end = s.types as usize + s.params as usize + s.results as usize;
            let Some(types) = types.get(s.types as usize..end) else {
                return Err(damaged(
                    at,
                    "value types of a signature outside of their table",
                ));
            };
            if types.iter().any(|b| ValType::from_byte(*b).is_none()) {
                return Err(damaged(at, "unknown value type in a signature"));
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

    fn check_imports(&self) -> Result<(), Error> {
        let h = self.header;
        let vm = &h.vm;
        let mut counts = [0_u32; 4];
        for (i, import) in self.imports().iter().enumerate() {
            let at = at::<ImportRecord>(h.imports, i);
            if self.str(import.module).is_none() || self.str(import.name).is_none() {
                return Err(damaged(at, "name of an import"));
            }
            let Some(kind) = ExternKind::from_number(import.kind) else {
                return Err(damaged(at, "unknown kind of import"));
            };
            if import.index != counts[kind as usize] {
                return Err(damaged(at, "index of an import"));
            }
            counts[kind as usize] += 1;
            if kind == ExternKind::Func
                && (import.signature as usize >= self.signatures().len()
                    || (import.funcref != NONE && import.funcref >= vm.funcref_count))
            {
                return Err(damaged(
                    at,
                    "signature or funcref slot of an imported function",
                ));
            }
        }
        if counts[0] != vm.func_import_count {
            return Err(damaged(field!(vm), "number of imported functions"));
        }
        let flags = |len: usize, imported: u32, flag: &dyn Fn(usize) -> u32| {
            (0..len).all(|i| (flag(i) & IMPORTED != 0) == (i < imported as usize))
                && imported as usize <= len
        };
        let (m, t, g) = (self.memories(), self.tables(), self.globals());
        if !flags(m.len(), counts[ExternKind::Memory as usize], &|i| {
            m[i].flags
        }) || !flags(t.len(), counts[ExternKind::Table as usize], &|i| t[i].flags)
            || !flags(g.len(), counts[ExternKind::Global as usize], &|i| {
                g[i].flags
            })
        {
            return Err(damaged(
                field!(imports),
                "imports do not match the index spaces",
            ));
        }
        Ok(())
    }

    fn check_items(&self) -> Result<(), Error> {
        let h = self.header;
        let (m, t, g) = (self.memories(), self.tables(), self.globals());
        let ops = self.const_ops().len();
        // The place of an item in the VM context: the item, or a pointer to an imported one.
        let placed = |offset: u32, flags: u32, size: u64| {
            let size = if flags & IMPORTED != 0 { 8 } else { size };
            self.in_context(offset, size) && offset.is_multiple_of(8)
        };
        for (i, r) in m.iter().enumerate() {
            let bad = !placed(r.vm_offset, r.flags, 16) || r.page_shift > 16 || r.min > r.max;
            if bad {
                return Err(damaged(
                    at::<MemoryRecord>(h.memories, i),
                    "a memory's record",
                ));
            }
        }
        for (i, r) in t.iter().enumerate() {
            let element = u8::try_from(r.element).ok().and_then(ValType::from_byte);
            let place = if r.flags & FROZEN != 0 {
                let entries = r.min.saturating_add(1);
                entries.saturating_mul(8).saturating_add(r.frozen.into()) <= h.rodata.len
            } else {
                placed(r.vm_offset, r.flags, 16)
            };
            if !place || !element.is_some_and(ValType::is_ref) || r.min > r.max {
                return Err(damaged(at::<TableRecord>(h.tables, i), "a table's record"));
            }
        }
        for (i, r) in g.iter().enumerate() {
            let ty = u8::try_from(r.ty).ok().and_then(ValType::from_byte);
            let size = if ty == Some(ValType::V128) { 16 } else { 8 };
            let bad = ty.is_none()
                || !placed(r.vm_offset, r.flags, size)
                || (r.init != NONE
                    && !run_ok(
                        Run {
                            first: r.init,
                            count: r.init_len,
                        },
                        ops,
                    ));
            if bad {
                return Err(damaged(
                    at::<GlobalRecord>(h.globals, i),
                    "a global's record",
                ));
            }
        }
        Ok(())
    }

    fn check_initialisers(&self) -> Result<(), Error> {
        let h = self.header;
        let (m, t) = (self.memories(), self.tables());
        let ops = self.const_ops().len();
        for (i, r) in self.table_inits().iter().enumerate() {
            if r.table as usize >= t.len() || !run_ok(r.value, ops) {
                return Err(damaged(
                    at::<TableInitRecord>(h.table_inits, i),
                    "a table's value",
                ));
            }
        }
        let items = self.element_items().len();
        for (i, r) in self.elements().iter().enumerate() {
            let target = r.table == NONE || (r.table as usize) < t.len();
            if !target || !run_ok(r.offset, ops) || !run_ok(r.items, items) {
                return Err(damaged(
                    at::<ElementRecord>(h.elements, i),
                    "an element segment",
                ));
            }
        }
        for (i, r) in self.data().iter().enumerate() {
            let target = r.memory == NONE || (r.memory as usize) < m.len();
            let bytes = r
                .bytes
                .checked_add(r.len)
                .is_some_and(|end| end <= h.segments.len);
            if !target || !run_ok(r.offset, ops) || !bytes {
                return Err(damaged(at::<DataRecord>(h.data, i), "a data segment"));
            }
        }
        for (i, r) in self.links().iter().enumerate() {
            if LinkKind::from_number(r.kind).is_none() {
                return Err(damaged(
                    at::<LinkRecord>(h.links, i),
                    "unknown kind of link record",
                ));
            }
        }
        Ok(())
    }

    /// Checks the records of the memory image, which [`Artifact::parse`] leaves out: a sparse image
    /// has one for each run of pages, and only who maps them all needs them.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn check_images(&self) -> Result<(), Error> {
        let (h, m) = (self.header, self.memories());
        let page = u64::from(h.page_size);
        for (i, r) in self.images().iter().enumerate() {
            let bad = [r.guest, r.offset, r.len]
                .iter()
                .any(|n| !n.is_multiple_of(page))
                || r.offset
                    .checked_add(r.len)
                    .is_none_or(|end| end > h.image.len)
                || m.get(r.memory as usize).is_none_or(|m| {
                    m.flags & IMPORTED != 0
                        || r.guest
                            .checked_add(r.len)
                            .is_none_or(|end| end > initial_end(m, page))
                });
            if bad {
                return Err(damaged(
                    at::<ImageRecord>(h.images, i),
                    "a run of the memory image",
                ));
            }
        }
        Ok(())
    }
}

/// Bytes of a memory at the start, in whole pages of the artifact. A memory may ask for more than a
/// u64 can count: its module is valid, though no instance of it can ever be made.
fn initial_end(memory: &MemoryRecord, page: u64) -> u64 {
    let len = u128::from(memory.min) << memory.page_shift;
    u64::try_from(len.next_multiple_of(page.into())).unwrap_or(u64::MAX)
}

/// Whether a run of records is inside a table of `len` records.
fn run_ok(run: Run, len: usize) -> bool {
    run.first as usize + run.count as usize <= len
}

fn damaged(header_offset: usize, what: &'static str) -> Error {
    Error::Damaged {
        offset: (HEADER_OFFSET + header_offset) as u64,
        what,
    }
}

/// Distance of record `i` of a table from the header.
fn at<T>(section: Section, i: usize) -> usize {
    section.start as usize + i * size_of::<T>()
}
