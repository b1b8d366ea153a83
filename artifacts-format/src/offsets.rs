//! The front of a table that is searched by text offsets: `u32` offsets, ascending, without
//! duplicates, little-endian. The tables of [`traps`](crate::traps) and
//! [`handlers`](crate::handlers) begin like this.
//!
//! Nothing here allocates or panics, whatever the bytes are, because a signal handler and a throw
//! look things up. If the offsets are not ascending, the result may be wrong, but nothing worse
//! happens.

/// The position of this offset among the first `n` offsets of the table.
pub(crate) fn find(table: &[u8], n: usize, text_offset: u32) -> Option<usize> {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = word(table, middle)?;
        if found == text_offset {
            return Some(middle);
        }
        if found < text_offset {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    None
}

/// The word at this place of a table that consists of words, or begins with them.
pub(crate) fn word(table: &[u8], i: usize) -> Option<u32> {
    let (words, _) = table.as_chunks::<4>();
    words.get(i).map(|bytes| u32::from_le_bytes(*bytes))
}
