//! A checked view of an artifact's bytes.
//!
//! [`Artifact::parse`] checks in this order: magic, format, then everything that must match the
//! host (all mismatches in one error), then the checksum, then the bounds of every section and of
//! every reference inside the hot tables. Its cost grows with imports, exports, globals and tables,
//! not with functions. What is read lazily (functions, traps, addresses, names) is checked at the
//! time of reading, where damage means "not found".
//!
//! Accessors return slices of the bytes; nothing is copied and nothing allocated.

use bytemuck::Pod;

use crate::records::*;
use crate::target::{Arch, Os};
use crate::{ABI, FORMAT, HEADER_OFFSET, Header, MAGIC, Section, Strategy, ValType};

/// Distance of a field from the start of the header.
macro_rules! field {
    ($name:ident) => {
        core::mem::offset_of!(Header, $name)
    };
}

/// What the host offers, to be compared with what an artifact needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Architecture.
    pub arch: Arch,
    /// Operating system.
    pub os: Os,
    /// CPU features, bits as in [`Arch::features`].
    pub cpu_features: u64,
    /// Bytes of a page.
    pub page_size: u32,
}

/// One thing that an artifact needs and the host does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// Compiled for another ABI of the loader.
    #[error("it needs loader ABI {found}, this loader has {expected}: compile it again with a precast of the same ABI")]
    Abi {
        /// The artifact's.
        found: u32,
        /// The loader's.
        expected: u32,
    },
    /// Compiled for another architecture or system.
    #[error("it was compiled for {found}, this host is {expected}: compile with --target {expected}")]
    Target {
        /// The artifact's.
        found: String,
        /// The host's.
        expected: String,
    },
    /// Uses CPU features that this CPU does not have.
    #[error("it uses CPU features that this CPU lacks ({missing}): compile with --cpu baseline, or without these")]
    CpuFeatures {
        /// Names, separated by commas.
        missing: String,
    },
    /// Laid out for smaller pages than the host's.
    #[error("it is laid out for pages of {found} bytes, this host has pages of {expected}")]
    PageSize {
        /// The artifact's.
        found: u32,
        /// The host's.
        expected: u32,
    },
}

/// What a file is that is not an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FoundFile {
    /// No bytes.
    Empty,
    /// A WebAssembly core module.
    WasmModule,
    /// A WebAssembly component.
    WasmComponent,
    /// WebAssembly text.
    WasmText,
    /// Some other ELF file.
    OtherElf,
    /// Something else, with its first four bytes.
    Unknown([u8; 4]),
}

impl FoundFile {
    /// What `bytes` look like, if not an artifact.
    pub fn sniff(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::Empty,
            [0, b'a', b's', b'm', _, _, 1, 0, ..] => Self::WasmComponent,
            [0, b'a', b's', b'm', ..] => Self::WasmModule,
            [0x7f, b'E', b'L', b'F', ..] => Self::OtherElf,
            _ if bytes.trim_ascii_start().starts_with(b"(module") => Self::WasmText,
            _ => {
                let mut first = [0; 4];
                let n = bytes.len().min(4);
                first[..n].copy_from_slice(&bytes[..n]);
                Self::Unknown(first)
            }
        }
    }
}

impl core::fmt::Display for FoundFile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty file"),
            Self::WasmModule => {
                f.write_str("a WebAssembly module: compile it first, with `precast compile`")
            }
            Self::WasmComponent => {
                f.write_str("a WebAssembly component: only core modules can be compiled")
            }
            Self::WasmText => f.write_str("WebAssembly text: compile it first"),
            Self::OtherElf => f.write_str("an ELF file that precast did not write"),
            Self::Unknown(b) => {
                write!(f, "a file that starts with {:02x} {:02x} {:02x} {:02x}", b[0], b[1], b[2], b[3])
            }
        }
    }
}

/// Why bytes cannot be used as an artifact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something else than an artifact.
    #[error("expected a precast artifact, found {0}")]
    NotArtifact(FoundFile),
    /// Shorter than it says, or than any artifact.
    #[error("the artifact is truncated: {found} bytes, expected {expected}")]
    Truncated {
        /// Bytes there are.
        found: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// Longer than it says.
    #[error("the artifact is {found} bytes long, but its header says {expected}")]
    TrailingBytes {
        /// Bytes there are.
        found: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// Written in a layout that this reader does not know.
    #[error("the artifact has format {found}, this loader reads format {expected}: compile it again")]
    Format {
        /// The artifact's.
        found: u32,
        /// The reader's.
        expected: u32,
    },
    /// Made for another loader or host.
    #[error("the artifact does not fit this host: {}", list(.0))]
    Mismatch(Vec<Mismatch>),
    /// Header or hot tables are damaged.
    #[error("the artifact is damaged: checksum of its first {len} bytes from offset {HEADER_OFFSET} is {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// Computed.
        found: u32,
        /// Stored.
        expected: u32,
        /// Bytes covered.
        len: u32,
    },
    /// The file's digest is not the expected one.
    #[error("the artifact's digest is {found}, expected {expected}")]
    Digest {
        /// Computed, in hexadecimal.
        found: String,
        /// Expected, in hexadecimal.
        expected: String,
    },
    /// A field has a value that cannot be.
    #[error("the artifact is damaged at offset {offset:#x}: {what}")]
    Damaged {
        /// File offset of the field, or of the start of its table.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The bytes in memory do not start at an address that records can be read from.
    #[error("the artifact's bytes are not aligned to {expected} bytes in memory")]
    Misaligned {
        /// Alignment needed.
        expected: u32,
    },
}

fn list(mismatches: &[Mismatch]) -> String {
    mismatches.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A signature of an artifact: parameters and results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature<'a> {
    types: &'a [u8],
    params: usize,
}

impl<'a> Signature<'a> {
    /// Types of the parameters.
    pub fn params(self) -> impl ExactSizeIterator<Item = ValType> + DoubleEndedIterator + Clone + 'a {
        self.types[..self.params].iter().map(|b| ValType::from_byte(*b).unwrap_or(ValType::I32))
    }

    /// Types of the results.
    pub fn results(self) -> impl ExactSizeIterator<Item = ValType> + DoubleEndedIterator + Clone + 'a {
        self.types[self.params..].iter().map(|b| ValType::from_byte(*b).unwrap_or(ValType::I32))
    }
}

/// A checked view of an artifact.
#[derive(Debug, Clone, Copy)]
pub struct Artifact<'a> {
    bytes: &'a [u8],
    header: &'a Header,
}

impl<'a> Artifact<'a> {
    /// Checks `bytes` and, where `host` is given, that the artifact fits it.
    ///
    /// # Errors
    /// Everything but [`Error::Digest`].
    pub fn parse(bytes: &'a [u8], host: Option<&Host>) -> Result<Self, Error> {
        let this = Self { bytes, header: header(bytes)? };
        if let Some(host) = host {
            this.check_host(host)?;
        }
        let expected = this.header.file_len;
        let found = bytes.len() as u64;
        if found < expected {
            return Err(Error::Truncated { found, expected });
        }
        this.check_checksum()?;
        if found > expected {
            return Err(Error::TrailingBytes { found, expected });
        }
        this.check_sections()?;
        this.check_tables()?;
        Ok(this)
    }

    /// The same view of the same bytes, without checking them again.
    ///
    /// Slices that damaged bytes would make impossible come out empty, as they do from
    /// [`Artifact::parse`], so this is no worse than wrong when the bytes were never checked.
    pub fn reopen(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.get(HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>())?;
        Some(Self { bytes, header: bytemuck::try_from_bytes(header).ok()? })
    }

    fn check_host(&self, host: &Host) -> Result<(), Error> {
        let h = self.header;
        let mut mismatches = Vec::new();
        if h.abi != ABI {
            mismatches.push(Mismatch::Abi { found: h.abi, expected: ABI });
        }
        let name = |arch: Option<Arch>, os: Option<Os>| match (arch, os) {
            (Some(arch), Some(os)) => format!("{}-unknown-{}-gnu", arch.name(), os.name()),
            _ => format!("an unknown target (architecture {}, system {})", h.arch, h.os),
        };
        if h.arch != host.arch as u32 || h.os != host.os as u32 || h.pointer_width != 8 {
            mismatches.push(Mismatch::Target {
                found: name(Arch::from_number(h.arch), Os::from_number(h.os)),
                expected: name(Some(host.arch), Some(host.os)),
            });
        } else {
            let missing = h.cpu_features & !host.cpu_features;
            if missing != 0 {
                mismatches
                    .push(Mismatch::CpuFeatures { missing: feature_names(host.arch, missing) });
            }
        }
        if host.page_size == 0 || !h.page_size.is_multiple_of(host.page_size) {
            mismatches
                .push(Mismatch::PageSize { found: h.page_size, expected: host.page_size });
        }
        if mismatches.is_empty() { Ok(()) } else { Err(Error::Mismatch(mismatches)) }
    }

    fn check_checksum(&self) -> Result<(), Error> {
        let len = self.header.hot_len;
        let covered = HEADER_OFFSET
            .checked_add(len as usize)
            .and_then(|end| self.bytes.get(HEADER_OFFSET..end))
            .filter(|covered| covered.len() >= size_of::<Header>())
            .ok_or(damaged(field!(hot_len), "length of the hot tables"))?;
        let found = checksum(covered);
        let expected = self.header.checksum;
        if found == expected { Ok(()) } else { Err(Error::Checksum { found, expected, len }) }
    }

    fn check_sections(&self) -> Result<(), Error> {
        let h = self.header;
        let hot: [(Section, usize, usize); 15] = [
            (h.strings, 1, field!(strings)),
            (h.types, 1, field!(types)),
            (h.signatures, size_of::<SignatureRecord>(), field!(signatures)),
            (h.imports, size_of::<ImportRecord>(), field!(imports)),
            (h.exports, size_of::<ExportRecord>(), field!(exports)),
            (h.memories, size_of::<MemoryRecord>(), field!(memories)),
            (h.tables, size_of::<TableRecord>(), field!(tables)),
            (h.globals, size_of::<GlobalRecord>(), field!(globals)),
            (h.const_ops, size_of::<ConstOp>(), field!(const_ops)),
            (h.table_inits, size_of::<TableInitRecord>(), field!(table_inits)),
            (h.elements, size_of::<ElementRecord>(), field!(elements)),
            (h.data, size_of::<DataRecord>(), field!(data)),
            (h.images, size_of::<ImageRecord>(), field!(images)),
            (h.links, size_of::<LinkRecord>(), field!(links)),
            (h.template, 1, field!(template)),
        ];
        let cold: [(Section, usize, usize); 12] = [
            (h.rodata, 8, field!(rodata)),
            (h.text, 1, field!(text)),
            (h.link_table, 8, field!(link_table)),
            (h.image, 1, field!(image)),
            (h.element_items, size_of::<ConstOp>(), field!(element_items)),
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
                    return Err(damaged(field, "section outside of the file or of the hot tables"));
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
            return Err(damaged(field!(page_size), "page size is not a power of two"));
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
            return Err(damaged(field!(link_table), "not one slot for each link record"));
        }
        if Strategy::from_number(h.strategy).is_none() {
            return Err(damaged(field!(strategy), "unknown memory strategy"));
        }
        Ok(())
    }

    fn check_tables(&self) -> Result<(), Error> {
        let h = self.header;
        let vm = &h.vm;
        let vm_field = field!(vm);
        if !vm.size.is_multiple_of(16) || u64::from(vm.size) < h.template.len {
            return Err(damaged(vm_field, "size of the VM context"));
        }
        let inside = |offset: u32, len: u64| u64::from(offset) + len <= u64::from(vm.size);
        let aligned = |offset: u32, to: u32| offset.is_multiple_of(to);
        let parts = [
            (vm.func_imports, 48 * u64::from(vm.func_import_count), 8),
            (vm.funcrefs, 40 * u64::from(vm.funcref_count), 8),
            (vm.data_dropped, self.data().len() as u64, 1),
            (vm.elem_dropped, self.elements().len() as u64, 1),
        ];
        if vm.size < 16 || parts.iter().any(|p| !inside(p.0, p.1) || !aligned(p.0, p.2)) {
            return Err(damaged(vm_field, "part of the VM context outside of it"));
        }
        let ops = self.const_ops().len();
        let run_ok = |run: Run, len: usize| (run.first as usize) + (run.count as usize) <= len;
        let types = self.section(h.types);
        for (i, s) in self.signatures().iter().enumerate() {
            let at = at::<SignatureRecord>(h.signatures, i);
            let end = s.types as usize + s.params as usize + s.results as usize;
            let Some(types) = types.get(s.types as usize..end) else {
                return Err(damaged(at, "value types of a signature outside of their table"));
            };
            if types.iter().any(|b| ValType::from_byte(*b).is_none()) {
                return Err(damaged(at, "unknown value type in a signature"));
            }
            let trampolines = [s.native_entry, s.array_entry, s.native_exit, s.array_exit];
            if trampolines.iter().any(|t| *t != NONE && u64::from(*t) >= h.text.len) {
                return Err(damaged(at, "trampoline outside of the text"));
            }
        }
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
                return Err(damaged(at, "signature or funcref slot of an imported function"));
            }
        }
        if counts[0] != vm.func_import_count {
            return Err(damaged(vm_field, "number of imported functions"));
        }
        let flags = |len: usize, imported: u32, flag: &dyn Fn(usize) -> u32| {
            (0..len).all(|i| (flag(i) & IMPORTED != 0) == (i < imported as usize))
                && imported as usize <= len
        };
        let (m, t, g) = (self.memories(), self.tables(), self.globals());
        if !flags(m.len(), counts[ExternKind::Memory as usize], &|i| m[i].flags)
            || !flags(t.len(), counts[ExternKind::Table as usize], &|i| t[i].flags)
            || !flags(g.len(), counts[ExternKind::Global as usize], &|i| g[i].flags)
        {
            return Err(damaged(field!(imports), "imports do not match the index spaces"));
        }
        let part = |flags: u32, size: u64| if flags & IMPORTED != 0 { 8 } else { size };
        for (i, r) in m.iter().enumerate() {
            let bad = !inside(r.vm_offset, part(r.flags, 16))
                || !aligned(r.vm_offset, 8)
                || r.page_shift > 16
                || r.min.checked_shl(r.page_shift).is_none_or(|b| b >> r.page_shift != r.min)
                || r.min > r.max;
            if bad {
                return Err(damaged(at::<MemoryRecord>(h.memories, i), "a memory's record"));
            }
        }
        for (i, r) in t.iter().enumerate() {
            let element = u8::try_from(r.element).ok().and_then(ValType::from_byte);
            let place = if r.flags & FROZEN != 0 {
                u64::from(r.frozen) + r.min.saturating_mul(8) <= h.rodata.len
            } else {
                inside(r.vm_offset, part(r.flags, 16)) && aligned(r.vm_offset, 8)
            };
            if !place || !element.is_some_and(ValType::is_ref) || r.min > r.max {
                return Err(damaged(at::<TableRecord>(h.tables, i), "a table's record"));
            }
        }
        for (i, r) in g.iter().enumerate() {
            let ty = u8::try_from(r.ty).ok().and_then(ValType::from_byte);
            let size = if ty == Some(ValType::V128) { 16 } else { 8 };
            let bad = ty.is_none()
                || !inside(r.vm_offset, part(r.flags, size))
                || !aligned(r.vm_offset, 8)
                || (r.init != NONE && !run_ok(Run { first: r.init, count: r.init_len }, ops));
            if bad {
                return Err(damaged(at::<GlobalRecord>(h.globals, i), "a global's record"));
            }
        }
        for (i, r) in self.table_inits().iter().enumerate() {
            if r.table as usize >= t.len() || !run_ok(r.value, ops) {
                return Err(damaged(at::<TableInitRecord>(h.table_inits, i), "a table's value"));
            }
        }
        let items = self.element_items().len();
        for (i, r) in self.elements().iter().enumerate() {
            let target = r.table == NONE || (r.table as usize) < t.len();
            if !target || !run_ok(r.offset, ops) || !run_ok(r.items, items) {
                return Err(damaged(at::<ElementRecord>(h.elements, i), "an element segment"));
            }
        }
        for (i, r) in self.data().iter().enumerate() {
            let target = r.memory == NONE || (r.memory as usize) < m.len();
            let bytes = r.bytes.checked_add(r.len).is_some_and(|end| end <= h.segments.len);
            if !target || !run_ok(r.offset, ops) || !bytes {
                return Err(damaged(at::<DataRecord>(h.data, i), "a data segment"));
            }
        }
        let page = u64::from(h.page_size);
        for (i, r) in self.images().iter().enumerate() {
            let bad = [r.guest, r.offset, r.len].iter().any(|n| !n.is_multiple_of(page))
                || r.offset.checked_add(r.len).is_none_or(|end| end > h.image.len)
                || m.get(r.memory as usize).is_none_or(|m| {
                    m.flags & IMPORTED != 0
                        || r.guest.checked_add(r.len).is_none_or(|end| {
                            end > (m.min << m.page_shift).next_multiple_of(page)
                        })
                });
            if bad {
                return Err(damaged(at::<ImageRecord>(h.images, i), "a run of the memory image"));
            }
        }
        for (i, r) in self.links().iter().enumerate() {
            if LinkKind::from_number(r.kind).is_none() {
                return Err(damaged(at::<LinkRecord>(h.links, i), "unknown kind of link record"));
            }
        }
        Ok(())
    }

    /// Computes the digest of the whole file.
    ///
    /// # Errors
    /// [`Error::Digest`] when it is not the one that the header holds, or not `expected`.
    pub fn verify_digest(&self, expected: Option<&[u8; 32]>) -> Result<(), Error> {
        let found = digest(self.bytes);
        for expected in [Some(&self.header.digest), expected].into_iter().flatten() {
            if found != *expected {
                return Err(Error::Digest { found: hex(&found), expected: hex(expected) });
            }
        }
        Ok(())
    }

    /// The header.
    pub fn header(&self) -> &'a Header {
        self.header
    }

    /// All bytes of the file.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How memory accesses are kept in bounds.
    pub fn strategy(&self) -> Strategy {
        Strategy::from_number(self.header.strategy).unwrap_or(Strategy::Checked)
    }

    /// The bytes of a section.
    pub fn section(&self, section: Section) -> &'a [u8] {
        let start = (HEADER_OFFSET as u64).saturating_add(section.start);
        let end = start.saturating_add(section.len);
        match (usize::try_from(start), usize::try_from(end)) {
            (Ok(start), Ok(end)) => self.bytes.get(start..end).unwrap_or(&[]),
            _ => &[],
        }
    }

    fn records<T: Pod>(&self, section: Section) -> &'a [T] {
        bytemuck::try_cast_slice(self.section(section)).unwrap_or(&[])
    }

    /// A name.
    pub fn str(&self, s: Slice) -> Option<&'a str> {
        let end = (s.offset as usize).checked_add(s.len as usize)?;
        let bytes = self.section(self.header.strings).get(s.offset as usize..end)?;
        core::str::from_utf8(bytes).ok()
    }

    /// Signatures.
    pub fn signatures(&self) -> &'a [SignatureRecord] {
        self.records(self.header.signatures)
    }

    /// Parameters and results of signature `index`.
    pub fn signature(&self, index: u32) -> Option<Signature<'a>> {
        let record = self.signatures().get(index as usize)?;
        let params = record.params as usize;
        let start = record.types as usize;
        let end = start + params + record.results as usize;
        Some(Signature { types: self.section(self.header.types).get(start..end)?, params })
    }

    /// Imports, in the module's order.
    pub fn imports(&self) -> &'a [ImportRecord] {
        self.records(self.header.imports)
    }

    /// Exports, sorted by hash.
    pub fn exports(&self) -> &'a [ExportRecord] {
        self.records(self.header.exports)
    }

    /// The export of this name.
    pub fn export(&self, name: &str) -> Option<&'a ExportRecord> {
        let hash = crate::name_hash(name);
        let exports = self.exports();
        let first = exports.partition_point(|e| e.hash < hash);
        exports[first..]
            .iter()
            .take_while(|e| e.hash == hash)
            .find(|e| self.str(e.name) == Some(name))
    }

    /// Memories, in index space order.
    pub fn memories(&self) -> &'a [MemoryRecord] {
        self.records(self.header.memories)
    }

    /// Tables, in index space order.
    pub fn tables(&self) -> &'a [TableRecord] {
        self.records(self.header.tables)
    }

    /// Globals, in index space order.
    pub fn globals(&self) -> &'a [GlobalRecord] {
        self.records(self.header.globals)
    }

    /// Operations of constant expressions.
    pub fn const_ops(&self) -> &'a [ConstOp] {
        self.records(self.header.const_ops)
    }

    /// Initial values of tables.
    pub fn table_inits(&self) -> &'a [TableInitRecord] {
        self.records(self.header.table_inits)
    }

    /// Element segments.
    pub fn elements(&self) -> &'a [ElementRecord] {
        self.records(self.header.elements)
    }

    /// Elements of element segments.
    pub fn element_items(&self) -> &'a [ConstOp] {
        self.records(self.header.element_items)
    }

    /// Data segments.
    pub fn data(&self) -> &'a [DataRecord] {
        self.records(self.header.data)
    }

    /// Runs of the memory image.
    pub fn images(&self) -> &'a [ImageRecord] {
        self.records(self.header.images)
    }

    /// Link records, one for each slot of the link table.
    pub fn links(&self) -> &'a [LinkRecord] {
        self.records(self.header.links)
    }

    /// Defined functions.
    pub fn functions(&self) -> &'a [FunctionRecord] {
        self.records(self.header.functions)
    }

    /// The defined function whose code contains this text offset, and its position.
    pub fn function_at(&self, text_offset: u32) -> Option<(u32, &'a FunctionRecord)> {
        let functions = self.functions();
        let i = functions.partition_point(|f| f.text_offset <= text_offset).checked_sub(1)?;
        let function = &functions[i];
        (text_offset - function.text_offset < function.text_len).then_some((i as u32, function))
    }

    /// Symbol name of defined function `index`, as bytes that people read.
    pub fn function_name(&self, index: u32) -> Option<&'a [u8]> {
        // Elf64_Sym: st_name is the first field; symbol 0 is the null symbol.
        let at = (index as usize).checked_add(1)?.checked_mul(24)?;
        let name = self.section(self.header.symtab).get(at..at.checked_add(4)?)?;
        let name = u32::from_le_bytes(name.try_into().ok()?) as usize;
        let strings = self.section(self.header.strtab).get(name..)?;
        strings.get(..strings.iter().position(|b| *b == 0)?)
    }
}

fn damaged(header_offset: usize, what: &'static str) -> Error {
    Error::Damaged { offset: (HEADER_OFFSET + header_offset) as u64, what }
}

/// Distance of record `i` of a table from the header.
fn at<T>(section: Section, i: usize) -> usize {
    section.start as usize + i * size_of::<T>()
}

fn header(bytes: &[u8]) -> Result<&Header, Error> {
    let start = HEADER_OFFSET;
    let end = start + size_of::<Header>();
    let is_elf = bytes.starts_with(b"\x7fELF");
    match bytes.get(start..start + MAGIC.len()) {
        Some(magic) if is_elf && magic == MAGIC => {}
        Some(_) => return Err(Error::NotArtifact(FoundFile::sniff(bytes))),
        None if is_elf => {
            return Err(Error::Truncated { found: bytes.len() as u64, expected: end as u64 });
        }
        None => return Err(Error::NotArtifact(FoundFile::sniff(bytes))),
    }
    let Some(header) = bytes.get(start..end) else {
        // The format number is known even where the rest of the header is missing.
        return Err(Error::Truncated { found: bytes.len() as u64, expected: end as u64 });
    };
    let found = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if found != FORMAT {
        return Err(Error::Format { found, expected: FORMAT });
    }
    let alignment = u32::try_from(align_of::<u64>()).unwrap_or(8);
    bytemuck::try_from_bytes(header).map_err(|_| Error::Misaligned { expected: alignment })
}

/// Names of CPU feature bits, separated by commas.
pub fn feature_names(arch: Arch, bits: u64) -> String {
    let known = arch.features();
    let mut names: Vec<String> = Vec::new();
    for bit in 0..64 {
        if bits & (1 << bit) != 0 {
            names.push(known.get(bit).map_or_else(|| format!("unknown feature {bit}"), |n| (*n).into()));
        }
    }
    names.join(", ")
}

/// CRC-32 of header and hot tables (`covered` starts at the header), the field itself as zero.
pub fn checksum(covered: &[u8]) -> u32 {
    let at = core::mem::offset_of!(Header, checksum);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&covered[..at]);
    crc.update(&[0; 4]);
    crc.update(&covered[at + 4..]);
    crc.finalize()
}

/// BLAKE3 of a whole artifact, checksum and digest fields as zero.
pub fn digest(file: &[u8]) -> [u8; 32] {
    let sum = HEADER_OFFSET + core::mem::offset_of!(Header, checksum);
    let dig = HEADER_OFFSET + core::mem::offset_of!(Header, digest);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&file[..sum]);
    hasher.update(&[0; 4]);
    hasher.update(&file[sum + 4..dig]);
    hasher.update(&[0; 32]);
    hasher.update(&file[dig + 32..]);
    hasher.finalize().into()
}

/// Hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

const _: () = assert!(cfg!(target_endian = "little"), "artifacts are read in place: little-endian");
