//! The tables of a little-endian ELF64 file that must be read and written to make an executable.
//!
//! All reads are checked against the file's length, so any bytes are harmless.

/// Kind of a program header: a segment to map.
pub(crate) const PT_LOAD: u32 = 1;
/// Kind of a program header: notes.
pub(crate) const PT_NOTE: u32 = 4;

/// Bytes of a program header.
const PROGRAM_LEN: usize = 56;
/// Bytes of a section header.
pub(crate) const SECTION_LEN: usize = 64;

/// An ELF executable, position-independent or not.
pub(crate) struct Elf<'a> {
    pub(crate) bytes: &'a [u8],
    programs: usize,
    sections: usize,
}

/// A program header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) file_len: u64,
    pub(crate) memory_len: u64,
    pub(crate) align: u64,
}

impl Program {
    pub(crate) const EXECUTE: u32 = 1;
    pub(crate) const READ: u32 = 4;
}

/// A section header.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Section {
    /// Offset in the names.
    pub(crate) name: u32,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
    pub(crate) align: u64,
    pub(crate) entry_len: u64,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl<'a> Elf<'a> {
    /// `None` if the bytes are no ELF64 executable for a little-endian machine.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        const EXEC: u16 = 2;
        const DYN: u16 = 3;
        let is_elf = bytes.starts_with(b"\x7fELF\x02\x01\x01");
        let is_executable = matches!(u16_at(bytes, 16)?, EXEC | DYN);
        let sizes = u16_at(bytes, 54)? as usize == PROGRAM_LEN
            && matches!(u16_at(bytes, 58)? as usize, 0 | SECTION_LEN);
        Some(Self {
            bytes,
            programs: usize::try_from(u64_at(bytes, 32)?).ok()?,
            sections: usize::try_from(u64_at(bytes, 40)?).ok()?,
        })
        .filter(|_| is_elf && is_executable && sizes)
    }

    /// The program headers; `None` if they are not in the file.
    pub(crate) fn programs(&self) -> Option<Vec<Program>> {
        let count = u16_at(self.bytes, 56)?;
        self.table(self.programs, count, PROGRAM_LEN, |b| {
            Some(Program {
                kind: u32_at(b, 0)?,
                flags: u32_at(b, 4)?,
                offset: u64_at(b, 8)?,
                address: u64_at(b, 16)?,
                file_len: u64_at(b, 32)?,
                memory_len: u64_at(b, 40)?,
                align: u64_at(b, 48)?,
            })
        })
    }

    /// Replaces a program header in a copy of the file.
    pub(crate) fn write_program(&self, file: &mut [u8], i: usize, program: Program) {
        let Program {
            kind,
            flags,
            offset,
            address,
            file_len,
            memory_len,
            align,
        } = program;
        let mut bytes = Vec::with_capacity(PROGRAM_LEN);
        bytes.extend(kind.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        for field in [offset, address, address, file_len, memory_len, align] {
            bytes.extend(field.to_le_bytes());
        }
        file[self.programs + i * PROGRAM_LEN..][..PROGRAM_LEN].copy_from_slice(&bytes);
    }

    /// The section headers; `None` if they are not in the file.
    pub(crate) fn sections(&self) -> Option<Vec<Section>> {
        let count = u16_at(self.bytes, 60)?;
        self.table(self.sections, count, SECTION_LEN, |b| {
            Some(Section {
                name: u32_at(b, 0)?,
                kind: u32_at(b, 4)?,
                flags: u64_at(b, 8)?,
                address: u64_at(b, 16)?,
                offset: u64_at(b, 24)?,
                len: u64_at(b, 32)?,
                link: u32_at(b, 40)?,
                info: u32_at(b, 44)?,
                align: u64_at(b, 48)?,
                entry_len: u64_at(b, 56)?,
            })
        })
    }

    /// The headers of `len` bytes each in a table; `None` if they are not in the file.
    fn table<T>(
        &self,
        start: usize,
        count: u16,
        len: usize,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Option<Vec<T>> {
        (0..usize::from(count))
            .map(|i| read(self.bytes.get(start.checked_add(i * len)?..)?.get(..len)?))
            .collect()
    }

    /// The name of a section.
    pub(crate) fn name(&self, sections: &[Section], section: &Section) -> Option<&'a [u8]> {
        let names = sections.get(usize::from(u16_at(self.bytes, 62)?))?;
        let at = usize::try_from(names.offset).ok()?;
        let names = self.bytes.get(at..)?;
        let name = names.get(section.name as usize..)?;
        name.get(..name.iter().position(|byte| *byte == 0)?)
    }

    /// Sets the offset and the number of the section headers in a copy of the file, and which
    /// section has the names.
    pub(crate) fn write_section_table(&self, file: &mut [u8], at: u64, count: u16, names: u16) {
        file[40..48].copy_from_slice(&at.to_le_bytes());
        file[58..60].copy_from_slice(&(SECTION_LEN as u16).to_le_bytes());
        file[60..62].copy_from_slice(&count.to_le_bytes());
        file[62..64].copy_from_slice(&names.to_le_bytes());
    }
}

impl Section {
    pub(crate) const PROGBITS: u32 = 1;
    pub(crate) const SYMTAB: u32 = 2;
    pub(crate) const STRTAB: u32 = 3;
    pub(crate) const ALLOCATED: u64 = 2;
    pub(crate) const EXECUTED: u64 = 4;

    pub(crate) fn is_symbols(&self) -> bool {
        self.kind == Self::SYMTAB
    }

    /// Strings of symbols, or names of sections, but not those of dynamic symbols.
    pub(crate) fn is_unallocated_strings(&self) -> bool {
        self.kind == Self::STRTAB && self.flags & Self::ALLOCATED == 0
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SECTION_LEN);
        bytes.extend(self.name.to_le_bytes());
        bytes.extend(self.kind.to_le_bytes());
        for field in [self.flags, self.address, self.offset, self.len] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(self.link.to_le_bytes());
        bytes.extend(self.info.to_le_bytes());
        bytes.extend(self.align.to_le_bytes());
        bytes.extend(self.entry_len.to_le_bytes());
        bytes
    }
}

/// A table of local symbols, all in one section.
pub(crate) struct Symbols {
    pub(crate) table: Vec<u8>,
    pub(crate) strings: Vec<u8>,
    section: u16,
}

impl Symbols {
    /// Bytes of a symbol.
    pub(crate) const LEN: u64 = 24;

    pub(crate) fn new(section: u16) -> Self {
        Self {
            table: vec![0; Self::LEN as usize],
            strings: vec![0],
            section,
        }
    }

    pub(crate) fn function(&mut self, name: &[u8], address: u64, len: u64) {
        const FUNC: u8 = 2;
        self.table.extend((self.strings.len() as u32).to_le_bytes());
        self.table.extend([FUNC, 0]);
        self.table.extend(self.section.to_le_bytes());
        self.table.extend(address.to_le_bytes());
        self.table.extend(len.to_le_bytes());
        self.strings.extend(name);
        self.strings.push(0);
    }

    pub(crate) fn count(&self) -> u32 {
        (self.table.len() as u64 / Self::LEN) as u32
    }
}
