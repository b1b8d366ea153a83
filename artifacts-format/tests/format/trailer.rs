//! Signatures behind an artifact: they change nothing about the artifact, and any other bytes there
//! are an error.

use precast_artifact::trailer::{FileSignature, MAX_SIGNATURES, encode};
use precast_artifact::{Aligned, Artifact, Error, Section};

use crate::damage::{header, seal};
use crate::sample::{HOST, full};

fn signatures(count: usize) -> Vec<FileSignature> {
    let signature = |i: usize| FileSignature {
        key: [i as u8; 16],
        signature: [0xa5; 64],
    };
    (0..count).map(signature).collect()
}

/// The artifact of all tables, and the same with this many signatures behind it.
fn files(count: usize) -> (Vec<u8>, Vec<u8>) {
    let plain = full().finish().expect("small parts");
    let mut signed = plain.clone();
    signed.extend(encode(plain.len() as u64, 4096, &signatures(count)));
    (plain, signed)
}

#[test]
fn signatures_change_nothing_of_the_artifact() {
    for count in [0, 1, 2, MAX_SIGNATURES] {
        let (plain, signed) = files(count);
        let aligned = Aligned::new(&signed);
        let artifact = Artifact::parse(&aligned, Some(&HOST)).expect("a signed artifact");
        assert_eq!(artifact.bytes(), plain);
        assert_eq!(artifact.file_signatures(), Ok(&signatures(count)[..]));
        artifact.verify_digest(None).expect("the same digest");
        // The signatures share no page with machine code.
        let Section { start, len } = artifact.header().text;
        let code_end = (512 + start + len).next_multiple_of(4096);
        assert!(count == 0 || signed.len() as u64 - (16 + 80 * count as u64) >= code_end);
    }
}

#[test]
#[should_panic(expected = "too many signatures")]
fn there_is_a_bound() {
    files(MAX_SIGNATURES + 1);
}

#[test]
fn any_other_length_is_an_error() {
    let (plain, signed) = files(2);
    for len in plain.len() + 1..signed.len() + 200 {
        if len == signed.len() {
            continue;
        }
        let mut bytes = signed.clone();
        bytes.resize(len, 0);
        let error = Artifact::parse(&Aligned::new(&bytes), Some(&HOST)).expect_err("damaged");
        assert!(
            matches!(error, Error::TrailingBytes { .. } | Error::Damaged { .. }),
            "{len}: {error}"
        );
    }
}

#[test]
fn a_damaged_byte_is_an_error_or_in_a_signature() {
    let (plain, signed) = files(1);
    let records = signed.len() - size_of::<FileSignature>();
    for at in plain.len()..signed.len() {
        let mut bytes = Aligned::new(&signed);
        bytes[at] ^= 0x40;
        let found = Artifact::parse(&bytes, Some(&HOST));
        assert_eq!(found.is_ok(), at >= records, "{at:#x}");
    }
}

#[test]
fn a_section_cannot_reach_into_the_signatures() {
    let (plain, signed) = files(1);
    let mut bytes = Aligned::new(&signed);
    header(&mut bytes).strtab = Section {
        start: plain.len() as u64 - 512,
        len: 8,
    };
    seal(&mut bytes);
    let error = Artifact::parse(&bytes, Some(&HOST)).expect_err("behind the artifact");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");

    let mut bytes = Aligned::new(&signed);
    header(&mut bytes).hot_len = plain.len() as u32 + 8 - 512;
    seal(&mut bytes);
    let error = Artifact::parse(&bytes, Some(&HOST)).expect_err("hot tables behind the artifact");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}
