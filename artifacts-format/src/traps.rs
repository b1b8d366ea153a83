//! Trap table: maps the text offset of an instruction that can trap to its trap code.
//!
//! ```text
//!   u32 offset × n   ascending, without duplicates
//!   u8  code   × n   TrapCode of each
//! ```
//!
//! The length of the section gives n (five bytes per entry). Only explicit traps are listed: a
//! fault of a guarded memory access is recognised by the address that it accessed, not by its code.
//!
//! [`lookup`] runs inside a signal handler, so it neither allocates nor panics, whatever the bytes
//! are.

use crate::TrapCode;
use crate::offsets::{find, word};

const ENTRY: usize = 5;

/// The trap code at exactly this text offset.
pub fn lookup(table: &[u8], text_offset: u32) -> Option<TrapCode> {
    let n = table.len() / ENTRY;
    code(table, n, find(table, n, text_offset)?)
}

/// All entries in the order of the table. The iterator ends early where the bytes make no sense.
pub fn entries(table: &[u8]) -> impl Iterator<Item = (u32, TrapCode)> + '_ {
    let n = table.len() / ENTRY;
    (0..n).map_while(move |i| Some((word(table, i)?, code(table, n, i)?)))
}

/// Encodes a table of `traps`, whose offsets must be ascending, without duplicates.
///
/// # Panics
/// If they are not.
pub fn encode(traps: &[(u32, TrapCode)]) -> Vec<u8> {
    assert!(
        traps.is_sorted_by(|a, b| a.0 < b.0),
        "traps are not in ascending order"
    );
    let mut table = Vec::with_capacity(traps.len() * ENTRY);
    table.extend(traps.iter().flat_map(|t| t.0.to_le_bytes()));
    // Every code fits a byte; `code` below decodes it, and the tests cover every code.
    table.extend(traps.iter().map(|t| t.1 as u8));
    table
}

fn code(table: &[u8], n: usize, i: usize) -> Option<TrapCode> {
    TrapCode::from_number(u32::from(*table.get(4 * n + i)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_exactly_what_was_written() {
        let traps: Vec<(u32, TrapCode)> = TrapCode::ALL
            .iter()
            .enumerate()
            .map(|(i, c)| (7 * i as u32 + 3, *c))
            .collect();
        for len in 0..=traps.len() {
            let table = encode(&traps[..len]);
            assert_eq!(table.len(), 5 * len);
            assert!(entries(&table).eq(traps[..len].iter().copied()));
            for at in 0..120 {
                let expected = traps[..len].iter().find(|t| t.0 == at).map(|t| t.1);
                assert_eq!(lookup(&table, at), expected, "{at} of {len}");
            }
        }
        assert_eq!(
            lookup(
                &encode(&[(u32::MAX, TrapCode::UnreachableCodeReached)]),
                u32::MAX
            ),
            Some(TrapCode::UnreachableCodeReached)
        );
    }

    #[test]
    fn any_bytes_are_harmless() {
        let mut state = 1_u32;
        for len in 0..200 {
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            for at in [0, 1, u32::MAX, state] {
                let _: Option<TrapCode> = lookup(&bytes, at);
            }
            assert!(entries(&bytes).count() <= len / 5);
        }
    }

    #[test]
    #[should_panic(expected = "not in ascending order")]
    fn rejects_unsorted_traps() {
        encode(&[
            (4, TrapCode::UnreachableCodeReached),
            (4, TrapCode::UnreachableCodeReached),
        ]);
    }
}
