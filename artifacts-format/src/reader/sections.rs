//! Checks of where sections are: inside the file, the hot ones among the hot tables, and disjoint.
//!
//! Overlaps would do harm, because the loader writes to the link table, executes the text, and
//! shows the image to a guest.

use super::check::{damaged, field};
use super::{Artifact, Error};
use crate::records::*;
use crate::{HEADER_OFFSET, Header, Section, Strategy};

/// Maximum page size that an artifact may be laid out for: the size of a page of linear memory.
const MAX_PAGE_SIZE: u32 = 1 << 16;

/// A section, bytes of one of its records, and the distance of its header field from the header.
type Place = (Section, usize, usize);

impl Artifact<'_> {
    pub(super) fn check_sections(&self) -> Result<(), Error> {
        let h = self.header;
        macro_rules! place {
            ($name:ident: $record:ty) => {
                (h.$name, size_of::<$record>(), field!($name))
            };
        }
        let hot: [Place; 14] = [
            place!(strings: u8),
            place!(types: u8),
            place!(signatures: SignatureRecord),
            place!(imports: ImportRecord),
            place!(exports: ExportRecord),
            place!(memories: MemoryRecord),
            place!(tables: TableRecord),
            place!(globals: GlobalRecord),
            place!(const_ops: ConstOp),
            place!(table_inits: TableInitRecord),
            place!(elements: ElementRecord),
            place!(data: DataRecord),
            place!(links: LinkRecord),
            place!(template: u8),
        ];
        let cold: [Place; 13] = [
            place!(image: u8),
            place!(element_items: ConstOp),
            place!(images: ImageRecord),
            place!(functions: FunctionRecord),
            place!(traps: u8),
            place!(addresses: u8),
            place!(segments: u8),
            place!(metadata: u8),
            // An Elf64_Sym.
            place!(symtab: [u8; 24]),
            place!(strtab: u8),
            place!(rodata: u64),
            place!(text: u8),
            place!(link_table: u64),
        ];
        let room = (self.bytes.len() - HEADER_OFFSET) as u64;
        let hot_end = u64::from(h.hot_len);
        check_places(hot, size_of::<Header>() as u64, hot_end)?;
        check_places(cold, hot_end, room)?;
        self.check_alignment()?;
        if h.text.len >= u64::from(u32::MAX) {
            return Err(damaged(field!(text), "text of more than 4 GiB"));
        }
        if h.link_table.len / 8 != h.links.len / size_of::<LinkRecord>() as u64 {
            return Err(damaged(
                field!(link_table),
                "the number of slots differs from the number of link records",
            ));
        }
        if Strategy::from_number(h.strategy).is_none() {
            return Err(damaged(field!(strategy), "unknown memory strategy"));
        }
        Ok(())
    }

    /// Checks that each section that is mapped or protected by itself starts on a page boundary.
    fn check_alignment(&self) -> Result<(), Error> {
        let h = self.header;
        if !h.page_size.is_power_of_two() || h.page_size > MAX_PAGE_SIZE {
            return Err(damaged(
                field!(page_size),
                "page size is not a power of two up to 64 KiB",
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
        Ok(())
    }
}

/// Checks that sections are between `start` and `limit` and do not overlap. The writer puts
/// sections into the file in the order of `places`, so sorting is rarely needed.
fn check_places<const N: usize>(
    mut places: [Place; N],
    start: u64,
    limit: u64,
) -> Result<(), Error> {
    let mut in_order = true;
    let mut end = start;
    for &(section, record, field) in &places {
        if section.len == 0 {
            if section.start != 0 {
                return Err(damaged(field, "section is empty but has a start"));
            }
            continue;
        }
        in_order &= section.start >= end;
        end = match section.start.checked_add(section.len) {
            Some(end) if section.start >= start && end <= limit => end,
            _ => {
                return Err(damaged(
                    field,
                    "section outside of the file or of the hot tables",
                ));
            }
        };
        if !section.len.is_multiple_of(record as u64) {
            return Err(damaged(field, "section is not a whole number of records"));
        }
        if record > 1 && !section.start.is_multiple_of(8) {
            return Err(damaged(field, "section is not aligned to 8 bytes"));
        }
    }
    if in_order {
        return Ok(());
    }
    places.sort_unstable_by_key(|(section, ..)| section.start);
    let overlap = places
        .windows(2)
        .find(|pair| pair[0].0.start + pair[0].0.len > pair[1].0.start);
    overlap.map_or(Ok(()), |pair| {
        Err(damaged(pair[1].2, "section overlaps another"))
    })
}
