//! Checks of where sections are: inside the file, the hot ones among the hot tables, and disjoint.
//!
//! Overlaps would do harm, because the loader writes to the GOT, executes the text, and
//! shows the image to a guest.

use super::check::{damaged, field, overlapping};
use super::{Artifact, Error};
use crate::header::{Align, HOT, SECTIONS, SectionInfo};
use crate::records::GotRecord;
use crate::{HEADER_OFFSET, Header, Interruption, Strategy};

/// Maximum page size that an artifact may be laid out for: the size of a page of linear memory.
const MAX_PAGE_SIZE: u32 = 1 << 16;

impl Artifact<'_> {
    pub(super) fn check_sections(&self) -> Result<(), Error> {
        let h = self.header;
        let (hot, others) = SECTIONS.split_at(HOT);
        if !h.page_size.is_power_of_two() || h.page_size > MAX_PAGE_SIZE {
            return Err(damaged(
                field!(page_size),
                "page size is not a power of two up to 64 KiB",
            ));
        }
        let room = h.file_len.saturating_sub(HEADER_OFFSET as u64);
        let hot_end = u64::from(h.hot_len);
        if hot_end > room {
            return Err(damaged(
                field!(hot_len),
                "the hot tables end behind the artifact",
            ));
        }
        self.check_places(hot, size_of::<Header>() as u64, hot_end)?;
        self.check_places(others, hot_end, room)?;
        if h.text.len >= u64::from(u32::MAX) {
            return Err(damaged(field!(text), "text of more than 4 GiB"));
        }
        if h.got.len / 8 != h.got_records.len / size_of::<GotRecord>() as u64 {
            return Err(damaged(
                field!(got),
                "the number of slots differs from the number of GOT records",
            ));
        }
        if Strategy::from_number(h.strategy).is_none() {
            return Err(damaged(field!(strategy), "unknown memory strategy"));
        }
        if Interruption::from_number(h.interruption).is_none() {
            return Err(damaged(field!(interruption), "unknown interruption"));
        }
        if h.features & !crate::features::ALL != 0 {
            return Err(damaged(
                field!(features),
                "the module uses a proposal that this reader does not know",
            ));
        }
        Ok(())
    }

    /// Checks that these sections are between `start` and `limit`, aligned, and do not overlap.
    /// They are in the order in which the writer puts them into the file, so sorting is rarely
    /// needed.
    fn check_places(&self, infos: &[SectionInfo], start: u64, limit: u64) -> Result<(), Error> {
        let page = u64::from(self.header.page_size);
        let mut in_order = true;
        let mut end = start;
        for info in infos {
            let section = info.of(self.header);
            if section.len == 0 {
                if section.start != 0 {
                    return Err(damaged(info.field, "section is empty but has a start"));
                }
                continue;
            }
            in_order &= section.start >= end;
            end = match section.start.checked_add(section.len) {
                Some(end) if section.start >= start && end <= limit => end,
                _ => {
                    return Err(damaged(
                        info.field,
                        "section outside of the file or of the hot tables",
                    ));
                }
            };
            if !section.len.is_multiple_of(info.record_len as u64) {
                return Err(damaged(
                    info.field,
                    "section is not a whole number of records",
                ));
            }
            let offset = section.start + HEADER_OFFSET as u64;
            if info.align == Align::Page && !offset.is_multiple_of(page) {
                return Err(damaged(info.field, "section is not page aligned"));
            }
            if info.record_len > 1 && !offset.is_multiple_of(8) {
                return Err(damaged(info.field, "section is not aligned to 8 bytes"));
            }
        }
        if in_order {
            return Ok(());
        }
        let present = infos.iter().filter_map(|info| {
            let section = info.of(self.header);
            let end = section.start + section.len;
            (section.len != 0).then_some((section.start, end, info.field))
        });
        overlapping(present.collect()).map_or(Ok(()), |field| {
            Err(damaged(field, "section overlaps another"))
        })
    }
}
