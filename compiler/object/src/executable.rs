//! Executables: a runner with an artifact as one more segment, without a linker.
//!
//! A runner is an ELF executable without a program, which has a [`PayloadRecord`] in a section of
//! its own. This module appends the artifact and the options to the runner's file, replaces the
//! program header of the runner's notes (which nothing reads at run time) by one that maps what was
//! appended, and fills in the record. New section headers follow, with sections for what was
//! appended and symbols for the guest's functions. So debuggers, profilers and disassemblers know
//! the functions, and `strip` leaves the program in place.
//!
//! The segment comes last in memory, behind all of the runner. It can be read and executed, like
//! the text of an object file, and never written to.

use precast_artifact::executable::{
    Options, PAYLOAD_MAGIC, PAYLOAD_SECTION, PAYLOAD_VERSION, PayloadRecord,
};
use precast_artifact::target::Arch;
use precast_artifact::{Aligned, Artifact, HEADER_OFFSET};

use crate::Error;
use crate::elf::{Elf, PT_LOAD, PT_NOTE, Program, SECTION_LEN, Section, Symbols};

/// Maximum address of the new segment. No program is linked to run at higher addresses.
const MAX_ADDRESS: u64 = 1 << 46;

/// Maximum number of the runner's sections. ELF uses section numbers from 0xff00 on for other
/// purposes, and new sections are added.
const MAX_SECTIONS: usize = 0xff00 - 16;

/// The executable that runs an artifact: a copy of the runner with the artifact and the options in
/// it.
///
/// # Errors
/// [`Error::Runner`] if the file is not a runner, or if it is of another version, for another
/// machine, or has a program already; [`Error::Artifact`] for a damaged artifact.
pub fn executable(runner: &[u8], artifact: &[u8], options: &Options) -> Result<Vec<u8>, Error> {
    let aligned = Aligned::new(artifact);
    let artifact = Artifact::parse(&aligned, None)?;
    let elf = Elf::parse(runner).ok_or_else(|| Error::runner("it is not an ELF executable"))?;
    let (sections, payload) = find_payload(&elf)?;
    check(&payload.record, &artifact)?;

    let programs = elf.programs().ok_or_else(damaged)?;
    let note = programs.iter().position(|program| program.kind == PT_NOTE);
    let note = note.ok_or_else(|| Error::runner("it has no header of notes to replace"))?;
    let loaded = programs.iter().filter(|program| program.kind == PT_LOAD);
    let top = loaded.map(|program| program.address.saturating_add(program.memory_len));
    let page = u64::from(artifact.header().page_size);
    let top = top.max().and_then(|top| top.checked_next_multiple_of(page));
    let address = top.filter(|top| *top < MAX_ADDRESS).ok_or_else(damaged)?;

    let mut file = runner.to_vec();
    let start = (file.len() as u64).next_multiple_of(page);
    file.resize(start as usize, 0);
    file.extend(artifact.bytes());
    align(&mut file, 8);
    let options_at = file.len() as u64 - start;
    let options = options.encode();
    file.extend(&options);
    let len = file.len() as u64 - start;
    let segment = Program {
        kind: PT_LOAD,
        flags: Program::READ | Program::EXECUTE,
        offset: start,
        address,
        file_len: len,
        memory_len: len,
        align: page,
    };
    elf.write_program(&mut file, note, segment);
    let record = PayloadRecord {
        artifact: address.wrapping_sub(payload.address),
        artifact_len: artifact.bytes().len() as u64,
        options: address
            .wrapping_add(options_at)
            .wrapping_sub(payload.address),
        options_len: options.len() as u64,
        ..payload.record
    };
    let bytes = bytemuck::bytes_of(&record);
    file[payload.offset..][..bytes.len()].copy_from_slice(bytes);
    let place = Appended {
        start,
        address,
        options_at,
        len,
    };
    write_sections(&mut file, &elf, &sections, &artifact, place);
    Ok(file)
}

/// The record of a runner, and its place in file and memory.
struct Payload {
    record: PayloadRecord,
    offset: usize,
    address: u64,
}

/// Where in file and memory something was appended.
struct Appended {
    start: u64,
    address: u64,
    options_at: u64,
    len: u64,
}

fn damaged() -> Error {
    Error::runner("it is damaged, or not complete")
}

/// The runner's sections, and its record.
fn find_payload(elf: &Elf<'_>) -> Result<(Vec<Section>, Payload), Error> {
    let expected = "it has no section for a program; expected a `precast-runner`";
    let sections = elf.sections().filter(|found| found.len() < MAX_SECTIONS);
    let sections = sections.ok_or_else(damaged)?;
    let name = PAYLOAD_SECTION.as_bytes();
    let found = sections
        .iter()
        .find(|section| elf.name(&sections, section) == Some(name));
    let found = found.ok_or_else(|| Error::runner(expected))?;
    let (offset, len) = (found.offset as usize, size_of::<PayloadRecord>());
    let end = offset.checked_add(len).ok_or_else(damaged)?;
    let bytes = elf.bytes.get(offset..end).ok_or_else(damaged)?;
    let record: PayloadRecord = bytemuck::pod_read_unaligned(bytes);
    let address = found.address;
    let payload = Payload {
        record,
        offset,
        address,
    };
    Ok((sections, payload))
}

fn check(record: &PayloadRecord, artifact: &Artifact<'_>) -> Result<(), Error> {
    if record.magic != PAYLOAD_MAGIC {
        return Err(damaged());
    }
    if record.version != PAYLOAD_VERSION {
        let (found, expected) = (record.version, PAYLOAD_VERSION);
        return Err(Error::runner(&format!(
            "it is of version {found}, expected {expected}: use the runner of this precast's release"
        )));
    }
    if record.artifact != 0 {
        return Err(Error::runner(
            "it has a program already; expected one without",
        ));
    }
    let header = artifact.header();
    let name = |arch: u32| Arch::from_number(arch).map_or("an unknown machine", Arch::name);
    if record.arch != header.arch {
        let (runner, program) = (name(record.arch), name(header.arch));
        return Err(Error::runner(&format!(
            "it is for {runner}, and the program for {program}"
        )));
    }
    for (what, runner, program) in [
        ("format", record.format, header.format),
        ("ABI", record.abi, header.abi),
    ] {
        if runner != program {
            return Err(Error::runner(&format!(
                "it runs artifacts of {what} {runner}, and the program is of {what} {program}: use the \
                 runner of the compiler's release"
            )));
        }
    }
    Ok(())
}

fn align(file: &mut Vec<u8>, to: usize) {
    file.resize(file.len().next_multiple_of(to), 0);
}

/// Writes the section headers: the runner's, without its symbols, and those of what was appended.
fn write_sections(
    file: &mut Vec<u8>,
    elf: &Elf<'_>,
    sections: &[Section],
    artifact: &Artifact<'_>,
    place: Appended,
) {
    let Appended {
        start,
        address,
        options_at,
        len,
    } = place;
    let mut names = Vec::new();
    let mut kept: Vec<Section> = Vec::new();
    for section in sections {
        let mut section = *section;
        let name = elf.name(sections, &section).unwrap_or_default().to_vec();
        if section.is_symbols() || section.is_unallocated_strings() {
            // An empty section stays in its place, because sections refer to each other by number.
            section = Section::default();
        } else {
            section.name = name_of(&mut names, &name);
        }
        kept.push(section);
    }
    let mut add = |names: &mut Vec<u8>, name: &str, section: Section| {
        let name = name_of(names, name.as_bytes());
        kept.push(Section { name, ..section });
        kept.len() as u32 - 1
    };
    let text = artifact.header().text;
    let (code, code_len) = (HEADER_OFFSET as u64 + text.start, text.len);
    let part = |flags, from: u64, to: u64| Section {
        kind: Section::PROGBITS,
        flags,
        offset: start + from,
        address: address + from,
        len: to - from,
        align: 8,
        ..Section::default()
    };
    add(
        &mut names,
        ".precast.data",
        part(Section::ALLOCATED, 0, code),
    );
    let flags = Section::ALLOCATED | Section::EXECUTED;
    let code_section = part(flags, code, code + code_len);
    let code_section = add(&mut names, ".precast.text", code_section);
    let rest = part(Section::ALLOCATED, code + code_len, options_at);
    add(&mut names, ".precast.rest", rest);
    let options = part(Section::ALLOCATED, options_at, len);
    add(&mut names, ".precast.options", options);

    let mut symbols = Symbols::new(code_section as u16);
    for (i, function) in (0..).zip(artifact.functions()) {
        if let Some(name) = artifact.function_name(i) {
            let at = address + code + u64::from(function.text_offset);
            symbols.function(name, at, function.text_len.into());
        }
    }
    let at = |file: &mut Vec<u8>, bytes: &[u8]| {
        align(file, 8);
        let offset = file.len() as u64;
        file.extend(bytes);
        (offset, bytes.len() as u64)
    };
    let (offset, len) = at(file, &symbols.table);
    let table = Section {
        kind: Section::SYMTAB,
        offset,
        len,
        link: code_section + 3 + 1,
        // All symbols are local.
        info: symbols.count(),
        align: 8,
        entry_len: Symbols::LEN,
        ..Section::default()
    };
    add(&mut names, ".symtab", table);
    let (offset, len) = at(file, &symbols.strings);
    let strings = Section {
        kind: Section::STRTAB,
        offset,
        len,
        align: 1,
        ..Section::default()
    };
    let strings = add(&mut names, ".strtab", strings);
    debug_assert_eq!(strings, table.link);
    let last = add(&mut names, ".shstrtab", strings_of_names());
    let (offset, len) = at(file, &names);
    kept[last as usize].offset = offset;
    kept[last as usize].len = len;
    let headers: Vec<u8> = kept.iter().flat_map(Section::encode).collect();
    debug_assert_eq!(headers.len(), kept.len() * SECTION_LEN);
    let (offset, _) = at(file, &headers);
    elf.write_section_table(file, offset, kept.len() as u16, last as u16);
}

fn strings_of_names() -> Section {
    Section {
        kind: Section::STRTAB,
        align: 1,
        ..Section::default()
    }
}

/// Adds a name, and returns its offset.
fn name_of(names: &mut Vec<u8>, name: &[u8]) -> u32 {
    let offset = names.len() as u32;
    names.extend(name);
    names.push(0);
    offset
}
