//! The name of a module, read from the metadata without bincode.
//!
//! The loader shows the name in backtraces and reads nothing else of the metadata, so it does not
//! need a decoder. In bincode's encoding, a length is one byte up to 250; the bytes 251, 252 and
//! 253 say that the length follows in two, four or eight bytes. The name is the third field of the
//! metadata, behind two strings; the test `module_name_is_read_as_bincode_reads_it` checks this.

/// The name of the module that an artifact was compiled from, read from the artifact's metadata.
/// `None` if the module has no name, or if the bytes are not metadata.
pub fn module_name(metadata: &[u8]) -> Option<&str> {
    let mut rest = metadata;
    string(&mut rest)?;
    string(&mut rest)?;
    match rest.split_off_first()? {
        1 => std::str::from_utf8(string(&mut rest)?).ok(),
        _ => None,
    }
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = match rest.split_off_first()? {
        251 => number(rest.split_off(..2)?),
        252 => number(rest.split_off(..4)?),
        253 => number(rest.split_off(..8)?),
        len @ 0..=250 => (*len).into(),
        _ => return None,
    };
    rest.split_off(..usize::try_from(len).ok()?)
}

fn number(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().rev();
    digits.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(all(test, feature = "metadata"))]
mod tests {
    use super::*;
    use crate::metadata::Metadata;

    #[test]
    fn module_name_is_read_as_bincode_reads_it() {
        for len in [0, 1, 250, 251, 252, 65_535, 65_536, 100_000] {
            let name = "ä".repeat(len);
            let metadata = Metadata {
                producer: "p".repeat(len),
                target: "x86_64".into(),
                module_name: Some(name.clone()),
                source_len: 1 << 40,
                ..Metadata::default()
            };
            assert_eq!(module_name(&metadata.encode()), Some(&*name));
        }
        assert_eq!(module_name(&Metadata::default().encode()), None);
    }

    #[test]
    fn any_bytes_are_harmless() {
        let metadata = Metadata {
            producer: "precast".into(),
            module_name: Some("hello".into()),
            ..Metadata::default()
        };
        let good = metadata.encode();
        for at in 0..good.len() {
            module_name(&good[..at]);
            for byte in [0, 1, 2, 127, 250, 251, 252, 253, 254, 255] {
                let mut bad = good.clone();
                bad[at] = byte;
                module_name(&bad);
            }
        }
        assert_eq!(module_name(&[253; 9]), None);
        assert_eq!(module_name(&[0, 0, 1, 1, 0xff]), None, "not UTF-8");
    }
}
