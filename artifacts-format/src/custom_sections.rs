//! The custom sections of the module that its artifact keeps, in the module's order.
//!
//! ```text
//!   { length of the name: u64, length of the bytes: u64, name, bytes }*
//! ```
//!
//! Only hosts and tools read these sections, by name. So nothing is checked when an artifact is
//! opened, and a damaged table ends at the damage. Several sections may have one name.

/// The name of the custom section at which readers of DWARF start.
pub const DEBUG_INFO: &str = ".debug_info";

/// The name of a section that the compiler puts in front of [`DEBUG_INFO`] if the artifact keeps
/// the latter. It has four bytes: the offset of the code section's content in the module, from
/// which addresses in DWARF count.
pub const CODE_START: &str = "precast.code-start";

/// Encodes custom sections, each a name and bytes.
pub fn encode<'a>(sections: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in sections {
        for len in [name.len(), bytes.len()] {
            out.extend_from_slice(&(len as u64).to_le_bytes());
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

/// The name and the bytes of each custom section in what [`encode`] wrote.
pub fn entries(mut table: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    std::iter::from_fn(move || {
        let mut len = || {
            let bytes = table.split_off(..8)?;
            usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
        };
        let (name, bytes) = (len()?, len()?);
        let name = std::str::from_utf8(table.split_off(..name)?).ok()?;
        Some((name, table.split_off(..bytes)?))
    })
    .fuse()
}

/// Whether only debuggers read custom sections with this name, that is, DWARF and the names of
/// functions. A stripped artifact does not have these sections.
pub fn is_debug(name: &str) -> bool {
    name == "name" || name == CODE_START || name.starts_with(".debug_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written() {
        let sections = [("a", &b"12"[..]), ("", b""), ("ä", &[0; 300]), ("a", b"3")];
        let table = encode(sections);
        assert!(entries(&table).eq(sections));
        assert!(encode([]).is_empty());
    }

    #[test]
    fn a_damaged_table_ends_early() {
        let sections = [("name", &b"bytes"[..]), ("x", b"y")];
        let good = encode(sections);
        for len in 0..good.len() {
            let whole = entries(&good[..len]).count();
            assert_eq!(whole, usize::from(len >= 25), "{len}");
        }
        for at in 0..good.len() {
            for byte in [0, 1, 127, 128, 255] {
                let mut bad = good.clone();
                bad[at] = byte;
                let seen: usize = entries(&bad)
                    .map(|(name, bytes)| name.len() + bytes.len())
                    .sum();
                assert!(seen <= good.len());
            }
        }
    }
}
