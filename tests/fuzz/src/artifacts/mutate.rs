//! Changes of an artifact at the offsets of its fields.
//!
//! Most changes put a value that is likely to matter into one field of one record: a bound, a
//! neighbour of the old value, the value of another field, or the offset of something else. The
//! checksum is corrected afterwards, so that the checks of the records are tested.

use std::mem::{offset_of, size_of};

use precast_artifact::header::{SECTIONS, SectionInfo};
use precast_artifact::records::VmLayout;
use precast_artifact::{Aligned, HEADER_OFFSET, Header, Section, reader};

use crate::Case;

/// The sections that are code and data of the guest, which are trusted together. Nothing else is
/// left out.
const TRUSTED: [&str; 4] = ["text", "frozen tables", "memory image", "GOT"];

/// A section that is changed.
fn pick_section(case: &mut Case, matches: fn(&SectionInfo) -> bool) -> &'static SectionInfo {
    let of_kind = |info: &&SectionInfo| matches(info) && !TRUSTED.contains(&info.title);
    let infos: Vec<&SectionInfo> = SECTIONS.iter().filter(of_kind).collect();
    infos[case.rng.usize(..infos.len())]
}

/// Whether a section consists of records. Their fields have 4 bytes and more, and refer to
/// something.
fn has_records(info: &SectionInfo) -> bool {
    info.record_len > 1
}

/// An artifact that is being changed, aligned like a mapping.
pub struct Mutant(Aligned);

impl Mutant {
    pub fn new(bytes: &[u8]) -> Self {
        Self(Aligned::new(bytes))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    pub fn header_mut(&mut self) -> &mut Header {
        bytemuck::from_bytes_mut(&mut self.bytes_mut()[HEADER_OFFSET..][..size_of::<Header>()])
    }

    fn header(&self) -> Header {
        bytemuck::pod_read_unaligned(&self.bytes()[HEADER_OFFSET..][..size_of::<Header>()])
    }

    /// Corrects the checksum.
    pub fn seal(&mut self) {
        let hot = self.header().hot_len as usize;
        let covered = self.bytes().get(HEADER_OFFSET..HEADER_OFFSET + hot);
        if let Some(covered) = covered.filter(|bytes| bytes.len() >= size_of::<Header>()) {
            self.header_mut().checksum = reader::checksum(covered);
        }
    }

    /// The file offset of record `i` of a table. `None` if the record is not inside of the file.
    fn record(&self, section: Section, size: usize, i: usize) -> Option<usize> {
        let start = usize::try_from(section.start).ok()?;
        let at = HEADER_OFFSET.checked_add(start)?.checked_add(i * size)?;
        (at.checked_add(size)? <= self.0.len()).then_some(at)
    }

    fn get(&self, at: usize, width: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(&self.bytes()[at..at + width]);
        u64::from_le_bytes(bytes)
    }

    fn put(&mut self, at: usize, width: usize, value: u64) {
        self.bytes_mut()[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }

    /// Makes one random change.
    pub fn change(&mut self, case: &mut Case) {
        match case.rng.u32(..100) {
            0..45 => self.change_field(case),
            45..57 => self.change_layout(case),
            57..65 => self.change_section(case),
            65..73 => self.change_header(case),
            73..80 => self.swap(case),
            _ => self.change_bytes(case),
        }
    }

    /// A record of a section: its section, its number and its offset.
    fn pick(
        &self,
        case: &mut Case,
        matches: fn(&SectionInfo) -> bool,
    ) -> Option<(&'static SectionInfo, usize, usize)> {
        let info = pick_section(case, matches);
        let section = info.of(&self.header());
        let count = usize::try_from(section.len).ok()? / info.record_len;
        if count == 0 {
            return None;
        }
        let i = case.rng.usize(..count);
        Some((info, i, self.record(section, info.record_len, i)?))
    }

    /// Changes a field of a record.
    fn change_field(&mut self, case: &mut Case) {
        let Some((info, i, at)) = self.pick(case, has_records) else {
            return;
        };
        let (name, size) = (info.title, info.record_len);
        // Some fields have 8 bytes, some 2. The offsets of all are multiples of their sizes.
        let width = (*case.one_of(&[4, 4, 4, 4, 8, 2])).min(size);
        let field = case.rng.usize(..size / width) * width;
        let old = self.get(at + field, width);
        let new = self.interesting(case, old, width);
        self.put(at + field, width, new);
        case.show(|| format!("{name}[{i}] + {field}: {old:#x} becomes {new:#x} ({width} bytes)"));
    }

    /// Changes the layout of the VM context.
    fn change_layout(&mut self, case: &mut Case) {
        let field = case.rng.usize(..size_of::<VmLayout>() / 4) * 4;
        let at = HEADER_OFFSET + offset_of!(Header, vm) + field;
        let old = self.get(at, 4);
        let new = self.interesting(case, old, 4);
        self.put(at, 4, new);
        case.show(|| format!("vm + {field}: {old:#x} becomes {new:#x}"));
    }

    /// Changes the offset or the length of a section, often by the size of one of its records.
    fn change_section(&mut self, case: &mut Case) {
        let first = offset_of!(Header, strings);
        let count = (size_of::<Header>() - first) / size_of::<Section>();
        let i = case.rng.usize(..count);
        let at = HEADER_OFFSET + first + i * size_of::<Section>() + case.rng.usize(..2) * 8;
        let old = self.get(at, 8);
        let step = *case.one_of(&[1, 4, 8, 16, 24, 32, 64, 4096, 65536]);
        let new = match case.rng.u32(..4) {
            0 => old.wrapping_add(step),
            1 => old.wrapping_sub(step),
            2 => self.get(HEADER_OFFSET + first + case.rng.usize(..2 * count) * 8, 8),
            _ => self.interesting(case, old, 8),
        };
        self.put(at, 8, new);
        case.show(|| format!("section {i}: {old:#x} becomes {new:#x}"));
    }

    /// Changes any other field of the header, except those that identify the format and its
    /// version.
    fn change_header(&mut self, case: &mut Case) {
        let at = offset_of!(Header, hot_len);
        let field = at + case.rng.usize(..(offset_of!(Header, strings) - at) / 4) * 4;
        let old = self.get(HEADER_OFFSET + field, 4);
        let new = self.interesting(case, old, 4);
        self.put(HEADER_OFFSET + field, 4, new);
        case.show(|| format!("header + {field}: {old:#x} becomes {new:#x}"));
    }

    /// Swaps two records of a table, or replaces one by the other.
    fn swap(&mut self, case: &mut Case) {
        let Some((info, a, from)) = self.pick(case, has_records) else {
            return;
        };
        let (name, size) = (info.title, info.record_len);
        let section = info.of(&self.header());
        let b = case.rng.usize(..section.len as usize / size);
        let Some(to) = self.record(section, size, b) else {
            return;
        };
        let (first, second) = (from.min(to), from.max(to));
        if first == second {
            return;
        }
        let copy = case.once_in(2);
        let bytes = self.bytes_mut();
        if copy {
            bytes.copy_within(from..from + size, to);
        } else {
            let (head, tail) = bytes.split_at_mut(second);
            head[first..first + size].swap_with_slice(&mut tail[..size]);
        }
        case.show(|| {
            format!(
                "{name}[{b}] {} {name}[{a}]",
                if copy { "becomes" } else { "and" }
            )
        });
    }

    /// Changes some bytes of a section without records.
    fn change_bytes(&mut self, case: &mut Case) {
        let Some((info, i, at)) = self.pick(case, |info| !has_records(info)) else {
            return;
        };
        let (name, count) = (info.title, 1 + case.rng.usize(..8));
        let end = info.of(&self.header()).len as usize;
        for at in at..at + count.min(end - i) {
            let old = self.get(at, 1);
            let new = self.interesting(case, old, 1);
            self.put(at, 1, new);
            case.show(|| format!("{name}, byte at {at:#x}: {old:#x} becomes {new:#x}"));
        }
    }

    /// A value to replace `old` with.
    fn interesting(&self, case: &mut Case, old: u64, width: usize) -> u64 {
        let h = self.header();
        let max = u64::MAX >> (64 - 8 * width);
        let vm = [
            h.vm.size,
            h.vm.func_imports,
            h.vm.funcrefs,
            h.vm.data_dropped,
            h.vm.elem_dropped,
            h.vm.func_import_count,
            h.vm.funcref_count,
        ];
        let value = match case.rng.u32(..14) {
            0 => *case.one_of(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 16, 17, 24, 32, 48, 64]),
            1 => *case.one_of(&[max, max - 1, max - 7, max - 15, max >> 1, (max >> 1) + 1]),
            2 => old.wrapping_add(*case.one_of(&[1, 4, 8, 16, 24, 40, 48])),
            3 => old.wrapping_sub(*case.one_of(&[1, 4, 8, 16, 24, 40, 48])),
            4 => old ^ (1 << case.rng.u32(..8 * width as u32)),
            5 => old.wrapping_mul(2),
            6 | 7 => u64::from(*case.one_of(&vm)).wrapping_add(*case.one_of(&[0, 0, 8, 16])),
            8 | 9 => {
                // The value of the same or another field of another record.
                let other = self.pick(case, has_records);
                other.map_or(0, |(info, _, at)| {
                    self.get(at + case.rng.usize(..info.record_len / 4) * 4, 4)
                })
            }
            10 => {
                let info = pick_section(case, has_records);
                info.of(&h).len / info.record_len as u64
            }
            11 => {
                let info = pick_section(case, has_records);
                let start = info.of(&h).start;
                start.wrapping_add(*case.one_of(&[0, HEADER_OFFSET as u64]))
            }
            12 => *case.one_of(&[
                h.text.len,
                h.text.len.wrapping_sub(1),
                h.image.len,
                h.rodata.len,
                h.template.len,
                h.segments.len,
                h.file_len,
                4096,
                65536,
                1 << 32,
            ]),
            _ => case.rng.u64(..),
        };
        value & max
    }
}
