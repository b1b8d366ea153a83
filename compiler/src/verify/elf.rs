//! Checks of what ELF tools see, and that it agrees with the header.

use object::elf::{EM_AARCH64, EM_RISCV, EM_S390, EM_X86_64, ET_DYN, PF_R, PF_W, PF_X, PT_LOAD};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind};
use precast_artifact::target::Arch;
use precast_artifact::{HEADER_OFFSET, Section};

use super::{Check, Code};

/// Checks the ELF file and returns the code that its symbols name, in the order of the symbols.
pub(super) fn check(check: &mut Check<'_>) -> Vec<Code> {
    let file = match ElfFile64::<Endianness>::parse(check.artifact.bytes()) {
        Ok(file) => file,
        Err(error) => {
            check.expect(false, || format!("not an ELF file: {error}"));
            return Vec::new();
        }
    };
    file_header(check, &file);
    segments(check, &file);
    sections(check, &file);
    symbols(check, &file)
}

type File<'a> = ElfFile64<'a, Endianness>;

fn file_header(check: &mut Check<'_>, file: &File<'_>) {
    let endian = file.endian();
    let header = file.elf_header();
    let machine = match Arch::from_number(check.header.arch) {
        Some(Arch::X86_64) => EM_X86_64,
        Some(Arch::Aarch64) => EM_AARCH64,
        Some(Arch::Riscv64) => EM_RISCV,
        Some(Arch::S390x) => EM_S390,
        None => return check.expect(false, || "unknown architecture".to_owned()),
    };
    check.expect(header.e_machine(endian) == machine, || {
        "the ELF header names another machine".to_owned()
    });
    check.expect(header.e_type(endian) == ET_DYN, || {
        "not a shared object".to_owned()
    });
}

fn segments(check: &mut Check<'_>, file: &File<'_>) {
    let endian = file.endian();
    let page = u64::from(check.header.page_size);
    let text = check.header.text;
    let text_start = text.start + HEADER_OFFSET as u64;
    let mut parts = Vec::new();
    let mut executable = Vec::new();
    for (i, segment) in file.elf_program_headers().iter().enumerate() {
        if segment.p_type(endian) != PT_LOAD {
            continue;
        }
        let flags = segment.p_flags(endian);
        let (start, len) = (segment.p_offset(endian), segment.p_filesz(endian));
        check.expect(flags & PF_R == PF_R, || {
            format!("segment {i} is not readable")
        });
        check.expect(flags & (PF_W | PF_X) != PF_W | PF_X, || {
            format!("segment {i} is writable and executable")
        });
        check.expect(
            segment.p_vaddr(endian) == start && segment.p_memsz(endian) == len,
            || format!("segment {i} is somewhere else in memory than in the file"),
        );
        check.expect(start.is_multiple_of(page), || {
            format!("segment {i} is not page aligned")
        });
        if flags & PF_X == PF_X {
            executable.push((start, len));
        }
        // If two segments shared a page, both would get the access of the segment that is mapped
        // last.
        parts.push((start, len.next_multiple_of(page), format!("segment {i}")));
    }
    check.disjoint("segments", parts);
    let expected = if text.len == 0 {
        vec![]
    } else {
        vec![(text_start, text.len)]
    };
    check.expect(executable == expected, || {
        format!("executable segments are {executable:x?}, the text is {expected:x?}")
    });
}

fn sections(check: &mut Check<'_>, file: &File<'_>) {
    let h = check.header;
    let hot = Section {
        start: 0,
        len: h.hot_len.into(),
    };
    let expected = [
        (".precast", hot),
        (".rodata", h.rodata),
        (".text", h.text),
        (".precast.link", h.got),
        (".precast.image", h.image),
        (".precast.elements", h.element_items),
        (".precast.images", h.images),
        (".precast.functions", h.functions),
        (".precast.traps", h.traps),
        (".precast.handlers", h.handlers),
        (".precast.addresses", h.addresses),
        (".precast.segments", h.segments),
        (".precast.meta", h.metadata),
        (".precast.custom", h.custom_sections),
        (".precast.order", h.order),
        (".precast.counters", h.counters),
        (".symtab", h.symtab),
        (".strtab", h.strtab),
    ];
    for (name, section) in expected {
        let range = file.section_by_name(name).and_then(|s| s.file_range());
        let expected =
            (section.len != 0).then_some((section.start + HEADER_OFFSET as u64, section.len));
        check.expect(range == expected, || {
            format!("section {name} is {range:x?} for ELF tools, {expected:x?} in the header")
        });
    }
    for section in file.sections() {
        let name = section.name().unwrap_or("?").to_owned();
        check.expect(section.relocations().next().is_none(), || {
            format!("section {name} has relocations")
        });
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
            continue;
        };
        let loaded = sh_flags & object::elf::SHF_ALLOC == object::elf::SHF_ALLOC;
        let address = section.address();
        let offset = section.file_range().map_or(0, |range| range.0);
        check.expect(address == if loaded { offset } else { 0 }, || {
            format!("section {name} has address {address:#x}, offset {offset:#x}")
        });
    }
}

fn symbols(check: &mut Check<'_>, file: &File<'_>) -> Vec<Code> {
    let text = check.header.text;
    let text_start = text.start + HEADER_OFFSET as u64;
    let text_index = file.section_by_name(".text").map(|section| section.index());
    let mut code = Vec::new();
    for (i, symbol) in file.symbols().enumerate() {
        let start = symbol.address().wrapping_sub(text_start);
        let end = start.checked_add(symbol.size());
        let inside = end.is_some_and(|end| end <= text.len) && symbol.section_index() == text_index;
        let named = symbol.name_bytes().is_ok_and(|name| !name.is_empty());
        check.expect(inside && named && symbol.kind() == SymbolKind::Text, || {
            format!("symbol {} is not a function with a name in the text", i + 1)
        });
        code.push(Code {
            start,
            len: symbol.size(),
        });
    }
    code
}
