//! The bytes of an ELF file that is being written, and what describes them to ELF tools.
//!
//! Parts are appended. A part whose content depends on later ones gets its place first, and is
//! filled when its content is known. [`Output::finish`] fills in the ELF headers and the
//! [`Header`].

use core::mem::{size_of, take};

use bytemuck::bytes_of;
use object::Endianness;
use object::elf::{self, ProgramFlags, SectionFlags, SectionType};
use object::write::elf::{Encoder, FileHeader, FileHeaderLayout, ProgramHeader, SectionHeader};

use super::WriteError;
use crate::header::{Access, ElfSection, SectionInfo};
use crate::reader::{checksum, digest};
use crate::target::Arch;
use crate::{HEADER_OFFSET, Header, Section};

/// The section that holds the names of all sections.
const OWN_NAMES: ElfSection = ElfSection {
    name: ".shstrtab",
    access: Access::Lookup,
    entry_len: 0,
};

/// The file as written so far.
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    /// Bytes of a page.
    pub(super) page: u64,
    pub(super) sections: Vec<SectionHeader>,
    section_names: Vec<u8>,
    segments: Vec<ProgramHeader>,
}

/// Sections in front of the text that describe the text. Their place is reserved, and their content
/// comes later.
pub(super) struct Front {
    /// Names of the sections.
    names: Section,
    /// The section headers.
    headers: Section,
    /// Number of the text's section.
    pub(super) text: u32,
}

impl Output {
    pub(super) fn new(capacity: u64, page: u64) -> Self {
        let mut bytes = Vec::with_capacity(usize::try_from(capacity).unwrap_or(0));
        bytes.resize(HEADER_OFFSET + size_of::<Header>(), 0);
        Self {
            bytes,
            page,
            sections: Vec::new(),
            section_names: vec![0],
            segments: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The number that ELF tools give to the section that is described next. Section 0 is empty.
    pub(super) fn next_section(&self) -> u32 {
        self.sections.len() as u32 + 1
    }

    pub(super) fn pad_to(&mut self, offset: u64) {
        self.bytes.resize(offset as usize, 0);
    }

    /// Appends bytes and returns where they are, relative to the header; all zero if there are
    /// none.
    pub(super) fn append(&mut self, align: u64, bytes: &[u8]) -> Section {
        if bytes.is_empty() {
            return Section::default();
        }
        self.pad_to(self.len().next_multiple_of(align));
        let start = self.len() - HEADER_OFFSET as u64;
        self.bytes.extend_from_slice(bytes);
        Section {
            start,
            len: bytes.len() as u64,
        }
    }

    pub(super) fn append_zeros(&mut self, align: u64, len: u64) -> Section {
        if len == 0 {
            return Section::default();
        }
        let start = self.len().next_multiple_of(align);
        self.pad_to(start + len);
        Section {
            start: start - HEADER_OFFSET as u64,
            len,
        }
    }

    /// Reserves room for the section headers and their names: those of the sections so far, those
    /// of the sections that are still to come, and that of the section of names, which is the last.
    pub(super) fn reserve_section_headers(
        &mut self,
        encoder: Encoder<Endianness>,
        coming: impl Iterator<Item = &'static str>,
    ) -> Front {
        let mut count = self.sections.len() as u64 + 2;
        let mut names = self.section_names.len() + OWN_NAMES.name.len() + 1;
        for name in coming {
            count += 1;
            names += name.len() + 1;
        }
        Front {
            names: self.append_zeros(1, names as u64),
            headers: self.append_zeros(8, count * encoder.section_header_size()),
            text: 0,
        }
    }

    /// Writes the content of a part that was reserved with the same length.
    pub(super) fn fill(&mut self, place: Section, bytes: &[u8]) {
        let start = out_position(place) as usize;
        self.bytes[start..start + place.len as usize].copy_from_slice(bytes);
    }

    /// Appends a section and describes it.
    pub(super) fn put(&mut self, h: &mut Header, info: &SectionInfo, bytes: &[u8]) {
        let place = self.append(info.align.bytes(self.page), bytes);
        self.describe(h, info, place);
    }

    /// Sets in the header where a section is, and adds it to the sections that ELF tools see.
    pub(super) fn describe(&mut self, h: &mut Header, info: &SectionInfo, place: Section) {
        info.set(h, place);
        let Some(section) = info.elf else {
            return;
        };
        let sh_type = match section.name {
            ".symtab" => elf::SHT_SYMTAB,
            ".strtab" => elf::SHT_STRTAB,
            _ => elf::SHT_PROGBITS,
        };
        self.elf_section(section, sh_type, place, info.align.bytes(self.page));
    }

    /// Adds a section header for ELF tools, unless the section is absent.
    pub(super) fn elf_section(
        &mut self,
        section: ElfSection,
        sh_type: SectionType,
        place: Section,
        align: u64,
    ) {
        if place.len == 0 {
            return;
        }
        let sh_name = self.section_names.len() as u32;
        self.section_names
            .extend_from_slice(section.name.as_bytes());
        self.section_names.push(0);
        let offset = out_position(place);
        let (sh_flags, sh_addr) = match section.access {
            Access::Lookup => (SectionFlags::default(), 0),
            Access::Read => (elf::SHF_ALLOC, offset),
            Access::Execute => (elf::SHF_ALLOC | elf::SHF_EXECINSTR, offset),
            Access::Write => (elf::SHF_ALLOC | elf::SHF_WRITE, offset),
        };
        self.sections.push(SectionHeader {
            sh_name,
            sh_type,
            sh_flags,
            sh_addr,
            sh_offset: offset,
            sh_size: place.len,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: align,
            sh_entsize: section.entry_len,
        });
    }

    pub(super) fn segment_of(&mut self, flags: ProgramFlags, place: Section) {
        if place.len != 0 {
            let start = out_position(place);
            self.segment(flags, start, start + place.len);
        }
    }

    pub(super) fn segment(&mut self, p_flags: ProgramFlags, start: u64, end: u64) {
        self.segments.push(ProgramHeader {
            p_type: elf::PT_LOAD,
            p_flags,
            p_offset: start,
            p_vaddr: start,
            p_paddr: start,
            p_filesz: end - start,
            p_memsz: end - start,
            p_align: self.page,
        });
    }

    pub(super) fn finish(
        mut self,
        mut h: Header,
        front: Front,
        encoder: Encoder<Endianness>,
        arch: Arch,
    ) -> Result<Vec<u8>, WriteError> {
        self.elf_section(OWN_NAMES, elf::SHT_STRTAB, front.names, 1);
        let names = take(&mut self.section_names);
        self.fill(front.names, &names);

        // This segment says that no executable stack is needed.
        self.segments.push(ProgramHeader {
            p_type: elf::PT_GNU_STACK,
            p_flags: elf::PF_R | elf::PF_W,
            p_offset: 0,
            p_vaddr: 0,
            p_paddr: 0,
            p_filesz: 0,
            p_memsz: 0,
            p_align: 16,
        });
        let layout = FileHeaderLayout {
            e_phoff: encoder.file_header_size(),
            segment_num: self.segments.len() as u32,
            e_shoff: out_position(front.headers),
            section_num: self.sections.len() as u32 + 1,
            shstrtab_index: self.sections.len() as u32,
        };
        let mut headers = Vec::with_capacity(front.headers.len as usize);
        encoder.null_section_header(&mut headers, &layout);
        for section in &self.sections {
            encoder.section_header(&mut headers, section);
        }
        self.fill(front.headers, &headers);
        let mut start = Vec::with_capacity(HEADER_OFFSET);
        let file_header = FileHeader {
            e_type: elf::ET_DYN,
            e_machine: machine(arch),
            e_flags: match arch {
                Arch::Riscv64 => elf::EF_RISCV_RVC | elf::EF_RISCV_FLOAT_ABI_DOUBLE,
                Arch::X86_64 | Arch::Aarch64 | Arch::S390x => Default::default(),
            },
            ..FileHeader::default()
        };
        let written = encoder.file_header(&mut start, &file_header, &layout);
        written.expect("only counts above 65000 are refused, and there are about 15 sections");
        for segment in &self.segments {
            encoder.program_header(&mut start, segment);
        }
        assert!(
            start.len() <= HEADER_OFFSET,
            "program headers reach into the header"
        );
        self.bytes[..start.len()].copy_from_slice(&start);

        h.file_len = self.len();
        let place = HEADER_OFFSET..HEADER_OFFSET + size_of::<Header>();
        self.bytes[place.clone()].copy_from_slice(bytes_of(&h));
        h.digest = digest(&self.bytes);
        self.bytes[place.clone()].copy_from_slice(bytes_of(&h));
        h.checksum = checksum(&self.bytes[HEADER_OFFSET..][..h.hot_len as usize]);
        self.bytes[place].copy_from_slice(bytes_of(&h));
        Ok(self.bytes)
    }
}

/// File offset of a section.
pub(super) fn out_position(section: Section) -> u64 {
    section.start + HEADER_OFFSET as u64
}

/// ELF structures have the architecture's byte order; precast's own records are little-endian.
pub(super) fn encoder(arch: Arch) -> Encoder<Endianness> {
    let endian = match arch {
        Arch::S390x => Endianness::Big,
        Arch::X86_64 | Arch::Aarch64 | Arch::Riscv64 => Endianness::Little,
    };
    Encoder::new(endian, true, machine(arch))
}

fn machine(arch: Arch) -> elf::Machine {
    match arch {
        Arch::X86_64 => elf::EM_X86_64,
        Arch::Aarch64 => elf::EM_AARCH64,
        Arch::Riscv64 => elf::EM_RISCV,
        Arch::S390x => elf::EM_S390,
    }
}
