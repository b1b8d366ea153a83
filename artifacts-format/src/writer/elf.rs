//! Writes the parts of an artifact as an ELF file, in one pass.
//!
//! Sections are appended to an [`Output`] in the order that [`header`](crate::header) documents.
//! Addresses equal file offsets.
//!
//! The text comes last, so that a mapping of the whole file has only two parts, one that is read
//! and one that is executed. That saves a tenth of the time to open an artifact. The sections that
//! describe the text (symbols, section headers) are in front of it, so they get their place before
//! their content is known.
//!
//! The whole file is in segments, one for each kind of access. Tables in which tools and loaders
//! look things up are sections without an address, like debug information in other ELF files.
//! Program headers fit between the ELF header and [`HEADER_OFFSET`].

use core::mem::{offset_of, size_of, take};
use std::borrow::Cow;

use bytemuck::{Zeroable, cast_slice};
use object::Endianness;
use object::elf::{self, SymbolInfo};
use object::write::elf::{Encoder, Sym};

use super::output::{Front, Output, encoder, out_position};
use super::{ArtifactBuilder, Symbol, TextLayout, WriteError};
use crate::custom_sections;
use crate::header::{Access, ElfSection, HOT, SECTIONS, SectionInfo};
use crate::reader::Artifact;
use crate::records::{FunctionRecord, NONE};
use crate::target::Arch;
use crate::{ABI, FORMAT, HEADER_OFFSET, Header, MAGIC, Section};

/// Header and hot tables together.
const HOT_TABLES: ElfSection = ElfSection {
    name: ".precast",
    access: Access::Read,
    entry_len: 0,
};

/// The row of a section in the table of all sections.
macro_rules! info {
    ($field:ident) => {
        const { SectionInfo::at(offset_of!(Header, $field)) }
    };
}

/// Appends a section to the output, and sets in the header where it is.
macro_rules! put {
    ($out:expr, $header:expr, $field:ident, $bytes:expr) => {
        $out.put(&mut $header, info!($field), $bytes)
    };
}

pub(super) fn write(mut parts: ArtifactBuilder<'_>) -> Result<Vec<u8>, WriteError> {
    check("the text", parts.text.len() as u64)?;
    let page = u64::from(parts.page_size);
    let mut h = header(&parts);
    let mut out = Output::new(size_estimate(&parts), page);

    out.hot_tables(&mut h, &parts)?;
    out.image(&mut h, &mut parts);
    put!(out, h, element_items, cast_slice(&parts.element_items));
    put!(out, h, images, cast_slice(&parts.images));
    put!(out, h, functions, cast_slice(&parts.functions));
    put!(out, h, order, cast_slice(&order(&parts.functions)));
    put!(out, h, traps, &take(&mut parts.traps));
    put!(out, h, handlers, &take(&mut parts.handlers));
    put!(out, h, addresses, &take(&mut parts.addresses));
    let mut segments = Section::default();
    for bytes in take(&mut parts.segments) {
        segments = join(segments, out.append(1, &bytes));
    }
    out.describe(&mut h, info!(segments), segments);
    put!(out, h, metadata, &parts.metadata.encode());
    put!(out, h, custom_sections, &take(&mut parts.custom_sections));
    put!(out, h, counters, &take(&mut parts.counters));

    let encoder = encoder(parts.arch);
    let symbols = take(&mut parts.symbols);
    let names = out.symbols(&mut h, &symbols)?;
    let code = Code {
        rodata: take(&mut parts.rodata).into(),
        text: take(&mut parts.text).into(),
        slots: parts.got_records.len(),
    };
    let front = out.code(&mut h, encoder, code);
    out.fill_symbols(&h, encoder, &symbols, &names, front.text);
    out.finish(h, front, encoder, parts.arch)
}

/// The indices of functions in the order of their code, if that is another one.
fn order(functions: &[FunctionRecord]) -> Vec<u32> {
    if functions.is_sorted_by_key(|function| function.text_offset) {
        return Vec::new();
    }
    let mut order: Vec<u32> = (0_u32..).take(functions.len()).collect();
    order.sort_by_key(|i| functions[*i as usize].text_offset);
    order
}

/// Copies an artifact without the sections that only people and tools read.
pub(super) fn strip(artifact: &Artifact<'_>) -> Result<Vec<u8>, WriteError> {
    let old = artifact.header();
    let arch = Arch::from_number(old.arch).ok_or(WriteError::Target { found: old.arch })?;
    let mut h = *old;
    (h.digest, h.checksum) = ([0; 32], 0);
    let mut out = Output::new(old.file_len, u64::from(old.page_size));
    let hot = Section {
        start: 0,
        len: u64::from(old.hot_len),
    };
    let tables = artifact.section(hot).get(size_of::<Header>()..);
    out.bytes.extend_from_slice(tables.unwrap_or(&[]));
    out.elf_section(HOT_TABLES, elf::SHT_PROGBITS, hot, 8);
    let left_out = [info!(addresses), info!(symtab), info!(strtab)];
    let kept = custom_sections::entries(artifact.section(old.custom_sections));
    let kept = custom_sections::encode(kept.filter(|(name, _)| !custom_sections::is_debug(name)));
    let with_code = [info!(rodata), info!(text), info!(got)];
    for info in &SECTIONS[HOT..] {
        let is_in = |list: &[&SectionInfo]| list.iter().any(|other| other.field == info.field);
        if is_in(&left_out) {
            info.set(&mut h, Section::default());
        } else if info.field == info!(custom_sections).field {
            out.put(&mut h, info, &kept);
        } else if !is_in(&with_code) {
            out.put(&mut h, info, artifact.section(info.of(old)));
        }
    }
    let code = Code {
        rodata: artifact.section(old.rodata).into(),
        text: artifact.section(old.text).into(),
        slots: artifact.got_records().len(),
    };
    let encoder = encoder(arch);
    let front = out.code(&mut h, encoder, code);
    out.finish(h, front, encoder, arch)
}

/// Machine code, and what has a fixed distance from it.
struct Code<'a> {
    rodata: Cow<'a, [u8]>,
    text: Cow<'a, [u8]>,
    /// Number of slots of the GOT.
    slots: usize,
}

impl Output {
    fn hot_tables(
        &mut self,
        h: &mut Header,
        parts: &ArtifactBuilder<'_>,
    ) -> Result<(), WriteError> {
        put!(self, *h, strings, &parts.strings);
        put!(self, *h, types, cast_slice(&parts.types));
        put!(self, *h, signatures, cast_slice(&parts.signatures));
        put!(self, *h, type_records, cast_slice(&parts.type_records));
        put!(self, *h, imports, cast_slice(&parts.imports));
        put!(self, *h, exports, cast_slice(&parts.exports));
        put!(self, *h, memories, cast_slice(&parts.memories));
        put!(self, *h, tables, cast_slice(&parts.tables));
        put!(self, *h, globals, cast_slice(&parts.globals));
        put!(self, *h, tags, cast_slice(&parts.tags));
        put!(self, *h, const_ops, cast_slice(&parts.const_ops));
        put!(self, *h, table_inits, cast_slice(&parts.table_inits));
        put!(self, *h, elements, cast_slice(&parts.elements));
        put!(self, *h, data, cast_slice(&parts.data));
        put!(self, *h, got_records, cast_slice(&parts.got_records));
        put!(self, *h, template, &parts.template);
        h.hot_len = check(
            "the header and hot tables",
            self.len() - HEADER_OFFSET as u64,
        )?;
        let hot = Section {
            start: 0,
            len: u64::from(h.hot_len),
        };
        self.elf_section(HOT_TABLES, elf::SHT_PROGBITS, hot, 8);
        Ok(())
    }

    /// Appends the pages of the memory image, copied in place from their pieces.
    fn image(&mut self, h: &mut Header, parts: &mut ArtifactBuilder<'_>) {
        let ends = parts.images.iter().map(|r| r.offset + r.len);
        let len = ends.max().unwrap_or(0);
        let image = self.append_zeros(self.page, len);
        self.describe(h, info!(image), image);
        if len == 0 {
            return;
        }
        let pages = &mut self.bytes[out_position(image) as usize..];
        for (offset, piece) in take(&mut parts.image_pieces) {
            pages[offset as usize..][..piece.len()].copy_from_slice(&piece);
        }
    }

    /// Reserves room for the symbols, whose values depend on where the text will be, and appends
    /// their names. Returns the offset of each name.
    fn symbols(&mut self, h: &mut Header, symbols: &[Symbol<'_>]) -> Result<Vec<u32>, WriteError> {
        if symbols.is_empty() {
            return Ok(Vec::new());
        }
        let mut strings = vec![0];
        let mut names = Vec::with_capacity(symbols.len());
        for symbol in symbols {
            names.push(check("the symbols' names", strings.len() as u64)?);
            // A NUL would end the name early.
            strings.extend(symbol.name.bytes().map(|b| if b == 0 { b'?' } else { b }));
            strings.push(0);
        }
        let records = self.append_zeros(8, 24 * (symbols.len() as u64 + 1));
        self.describe(h, info!(symtab), records);
        // The symbols' names are in the next section, and all symbols are local.
        let strtab = self.next_section();
        if let Some(symtab) = self.sections.last_mut() {
            symtab.sh_link = strtab;
            symtab.sh_info = symbols.len() as u32 + 1;
        }
        put!(self, *h, strtab, &strings);
        Ok(names)
    }

    fn fill_symbols(
        &mut self,
        h: &Header,
        encoder: Encoder<Endianness>,
        symbols: &[Symbol<'_>],
        names: &[u32],
        text_section: u32,
    ) {
        if symbols.is_empty() {
            return;
        }
        let text = out_position(h.text);
        let mut records = Vec::with_capacity(h.symtab.len as usize);
        encoder.null_symbol(&mut records);
        for (symbol, name) in symbols.iter().zip(names) {
            encoder.symbol(
                &mut records,
                &Sym {
                    section: Some(text_section),
                    st_name: *name,
                    st_info: SymbolInfo::new(elf::STB_LOCAL, elf::STT_FUNC),
                    st_other: Default::default(),
                    st_shndx: elf::SHN_UNDEF,
                    st_value: text + u64::from(symbol.text_offset),
                    st_size: u64::from(symbol.text_len),
                },
            );
        }
        self.fill(h.symtab, &records);
    }

    /// Reserves room for what describes the text, then appends rodata, text and GOT.
    fn code(&mut self, h: &mut Header, encoder: Encoder<Endianness>, code: Code<'_>) -> Front {
        let layout = TextLayout {
            page_size: h.page_size,
            rodata_len: code.rodata.len() as u64,
            text_len: code.text.len() as u64,
        };
        let coming = [
            (info!(rodata), code.rodata.len()),
            (info!(text), code.text.len()),
            (info!(got), code.slots),
        ];
        let coming = coming.iter().filter(|(_, len)| *len > 0);
        let names_coming = coming.filter_map(|(info, _)| Some(info.elf?.name));
        let mut front = self.reserve_section_headers(encoder, names_coming);

        // Without text there is nothing to align for.
        let text_align = if code.text.is_empty() {
            TextLayout::RODATA_ALIGN
        } else {
            self.page
        };
        let text_start = (self.len() + layout.rodata_before_text()).next_multiple_of(text_align);
        self.pad_to(text_start - layout.rodata_before_text());
        put!(self, *h, rodata, &code.rodata);
        self.segment(elf::PF_R, 0, self.len());
        if !code.text.is_empty() {
            self.pad_to(text_start);
        }
        front.text = self.next_section();
        put!(self, *h, text, &code.text);
        drop(code.text);
        self.segment_of(elf::PF_R | elf::PF_X, h.text);
        let slots = self.append_zeros(self.page, 8 * code.slots as u64);
        self.describe(h, info!(got), slots);
        self.segment_of(elf::PF_R | elf::PF_W, h.got);
        if code.slots > 0 {
            // A loader can write to these pages even if a linker has put other code behind the
            // artifact.
            self.pad_to(self.len().next_multiple_of(self.page));
        }
        front
    }
}

/// The header, except the fields that depend on where sections are.
fn header(parts: &ArtifactBuilder<'_>) -> Header {
    Header {
        magic: MAGIC,
        format: FORMAT,
        abi: ABI,
        arch: parts.arch as u32,
        os: parts.os as u32,
        cpu_features: parts.cpu_features,
        page_size: parts.page_size,
        pointer_width: 8,
        strategy: parts.strategy as u32,
        start_function: parts.start_function.unwrap_or(NONE),
        vm: parts.vm,
        interruption: parts.interruption as u32,
        features: parts.features,
        ..Header::zeroed()
    }
}

fn join(first: Section, second: Section) -> Section {
    if first.len == 0 {
        second
    } else {
        Section {
            len: first.len + second.len,
            ..first
        }
    }
}

fn check(what: &'static str, found: u64) -> Result<u32, WriteError> {
    let limit = u64::from(u32::MAX) - 1;
    match u32::try_from(found) {
        Ok(fits) if found <= limit => Ok(fits),
        _ => Err(WriteError::TooLarge { what, found, limit }),
    }
}

/// An estimate of the size of the file, so that the buffer is allocated once.
fn size_estimate(parts: &ArtifactBuilder<'_>) -> u64 {
    let image: u64 = parts.images.iter().map(|r| r.len).sum();
    let names: usize = parts.symbols.iter().map(|s| s.name.len() + 25).sum();
    let pieces = parts.text.len()
        + parts.rodata.len()
        + parts.traps.len()
        + parts.addresses.len()
        + parts.custom_sections.len()
        + parts.counters.len()
        + names
        + 16 * (parts.functions.len() + parts.element_items.len() + parts.const_ops.len())
        + 32 * (parts.imports.len() + parts.exports.len() + parts.data.len())
        + parts.strings.len()
        + parts.template.len();
    image + parts.segments_len + pieces as u64 + 4 * u64::from(parts.page_size) + (16 << 10)
}
