//! Table of handlers: maps a call to the code that handles an exception that it throws.
//!
//! ```text
//!   u32 return × n    text offset of the return address of a call, ascending, no duplicates
//!   u32 handler × n   text offset of the code that handles what the call throws
//!   u32 frame × n     bytes from the frame pointer down to the stack pointer during the call
//! ```
//!
//! The length of the section gives n (twelve bytes for each entry). A call without an entry passes
//! exceptions on to the caller of its function. A handler takes every exception: the function's
//! code compares the tag, and throws an exception again if none of its clauses catches it. So a
//! throw looks up one number for each frame, and code that throws nothing pays nothing.
//!
//! A handler expects the stack pointer and the frame pointer of the call, and the address of the
//! exception in the first payload register; it may clobber all other registers.
//!
//! [`lookup`] neither allocates nor panics, whatever the bytes are, but its result need not make
//! sense.

use crate::offsets::{find, word};

const ENTRY: usize = 12;

/// The code that handles the exceptions of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handler {
    /// Text offset of the code.
    pub code: u32,
    /// Bytes from the frame pointer down to the stack pointer during the call.
    pub frame: u32,
}

/// The handler of the call that returns to exactly this text offset.
pub fn lookup(table: &[u8], text_offset: u32) -> Option<Handler> {
    let n = table.len() / ENTRY;
    handler(table, n, find(table, n, text_offset)?)
}

/// All entries in the order of the table: offset of the return address, and handler.
pub fn entries(table: &[u8]) -> impl Iterator<Item = (u32, Handler)> + '_ {
    let n = table.len() / ENTRY;
    (0..n).map_while(move |i| Some((word(table, i)?, handler(table, n, i)?)))
}

/// Encodes a table of handlers by the offsets of the calls' return addresses, which must be
/// ascending, without duplicates.
///
/// # Panics
/// If they are not.
pub fn encode(handlers: &[(u32, Handler)]) -> Vec<u8> {
    assert!(
        handlers.is_sorted_by(|a, b| a.0 < b.0),
        "handlers are not in ascending order"
    );
    let calls = handlers.iter().map(|(call, _)| *call);
    let code = handlers.iter().map(|(_, handler)| handler.code);
    let frames = handlers.iter().map(|(_, handler)| handler.frame);
    let words = calls.chain(code).chain(frames);
    words.flat_map(u32::to_le_bytes).collect()
}

fn handler(table: &[u8], n: usize, i: usize) -> Option<Handler> {
    Some(Handler {
        code: word(table, n + i)?,
        frame: word(table, 2 * n + i)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_exactly_what_was_written() {
        let handlers: Vec<(u32, Handler)> = (0..20)
            .map(|i| {
                (
                    7 * i + 3,
                    Handler {
                        code: 1000 - i,
                        frame: 16 * i,
                    },
                )
            })
            .collect();
        for len in 0..=handlers.len() {
            let table = encode(&handlers[..len]);
            assert_eq!(table.len(), ENTRY * len);
            assert!(entries(&table).eq(handlers[..len].iter().copied()));
            for at in 0..150 {
                let expected = handlers[..len].iter().find(|h| h.0 == at).map(|h| h.1);
                assert_eq!(lookup(&table, at), expected, "{at} of {len}");
            }
        }
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
                let _: Option<Handler> = lookup(&bytes, at);
            }
            assert_eq!(entries(&bytes).count(), len / ENTRY);
        }
    }

    #[test]
    #[should_panic(expected = "not in ascending order")]
    fn rejects_unsorted_handlers() {
        let handler = Handler { code: 0, frame: 0 };
        encode(&[(4, handler), (4, handler)]);
    }
}
