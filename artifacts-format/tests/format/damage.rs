//! Damaged files give an error, never a panic, and the reader reads no bytes outside of them.

use precast_artifact::records::ExternKind;
use precast_artifact::target::Arch;
use precast_artifact::{
    ABI, Aligned, Artifact, Error, FORMAT, HEADER_OFFSET, Header, Host, Mismatch, addresses,
    custom_sections, metadata, reader, traps,
};

use crate::sample::{HOST, full_bytes};

pub fn header(bytes: &mut [u8]) -> &mut Header {
    bytemuck::from_bytes_mut(&mut bytes[HEADER_OFFSET..][..size_of::<Header>()])
}

/// Makes the checksum right again, as an attacker would.
pub fn seal(bytes: &mut [u8]) {
    let len = header(bytes).hot_len as usize;
    if let Some(covered) = bytes.get(HEADER_OFFSET..).and_then(|b| b.get(..len))
        && len >= size_of::<Header>()
    {
        let checksum = reader::checksum(covered);
        header(bytes).checksum = checksum;
    }
}

/// Reads everything that a loader or a tool could read. It only matters that this returns.
fn read_all(a: &Artifact<'_>) -> usize {
    let h = a.header();
    let mut seen = 0;
    for i in 0..a.signatures().len() as u32 + 1 {
        seen += a
            .signature(i)
            .map_or(0, |s| s.params().count() + s.results().count());
    }
    for import in a.imports() {
        seen += a.str(import.module).map_or(0, str::len) + a.str(import.name).map_or(0, str::len);
    }
    for export in a.exports() {
        seen += a
            .str(export.name)
            .and_then(|name| a.export(name))
            .map_or(0, |_| 1);
    }
    seen += a.memories().len() + a.tables().len() + a.globals().len() + a.const_ops().len();
    seen += a.elements().len() + a.element_items().len() + a.data().len() + a.images().len();
    seen += a.got_records().len() + a.table_inits().len();
    for at in [0, 1, 16, 17, 47, 48, u32::MAX] {
        seen += a.function_at(at).map_or(0, |f| f.0 as usize + 1);
        seen += traps::lookup(a.section(h.traps), at).map_or(0, |code| code as usize);
    }
    for i in [0, 1, 2, 3, u32::MAX] {
        seen += a.function(i).map_or(0, |f| f.text_len as usize);
        seen += a.function_signature(i).map_or(0, |s| s as usize);
        for ty in [
            precast_artifact::ValType::FUNCREF,
            precast_artifact::ValType::EXTERNREF,
        ] {
            seen += a
                .element_item(i as usize, ty)
                .map_or(0, |op| op.op as usize);
        }
        seen += a.function_name(i).map_or(0, <[u8]>::len);
        seen += addresses::entries(a.section(h.addresses), i).count();
        seen += addresses::changes(a.section(h.addresses), i).count();
        seen += addresses::locations(a.section(h.addresses), i, 113).len();
    }
    seen += a.image_runs().filter(Result::is_ok).count();
    seen += a.start_function().map_or(0, |start| start.map_or(1, |_| 2));
    seen += metadata::Metadata::decode(a.section(h.metadata)).map_or(0, |m| m.producer.len());
    seen += custom_sections::entries(a.section(h.custom_sections)).count();
    for section in [h.rodata, h.text, h.got, h.image, h.segments, h.template] {
        seen += a.section(section).len();
    }
    seen
}

#[test]
fn every_prefix_is_an_error() {
    let bytes = full_bytes();
    assert!(read_all(&Artifact::parse(&bytes, Some(&HOST)).expect("undamaged")) > 8192);
    for len in 0..bytes.len() {
        let error = Artifact::parse(&bytes[..len], Some(&HOST)).expect_err("truncated");
        let expected = match len {
            0..4 => matches!(error, Error::NotArtifact(_)),
            // Before the end of the magic number the bytes are those of any truncated ELF file.
            _ => matches!(error, Error::Truncated { found, .. } if found == len as u64),
        };
        assert!(expected, "{len}: {error}");
    }
    let longer = Aligned::new(&[&bytes[..], &[0]].concat());
    let error = Artifact::parse(&longer, None).expect_err("one byte too many");
    assert!(matches!(error, Error::TrailingBytes { found, expected } if found == expected + 1));
}

#[test]
fn every_damaged_byte_of_header_and_hot_tables_is_an_error() {
    let mut bytes = full_bytes();
    let end = HEADER_OFFSET + header(&mut bytes).hot_len as usize;
    for at in HEADER_OFFSET..end {
        for change in [1_u8, 0x10, 0x80, 0xff] {
            bytes[at] ^= change;
            assert!(
                Artifact::parse(&bytes, Some(&HOST)).is_err(),
                "{at:#x} ^ {change:#x}"
            );
            bytes[at] ^= change;
        }
    }
    assert!(
        Artifact::parse(&bytes, Some(&HOST)).is_ok(),
        "all is as it was"
    );
}

#[test]
fn every_damaged_byte_anywhere_changes_the_digest() {
    let mut bytes = full_bytes();
    let digest = header(&mut bytes).digest;
    for at in (0..bytes.len()).step_by(7) {
        bytes[at] ^= 0x40;
        assert!(
            Artifact::parse(&bytes, None).is_err()
                || Artifact::parse(&bytes, None)
                    .is_ok_and(|a| a.verify_digest(Some(&digest)).is_err()),
            "{at:#x}"
        );
        bytes[at] ^= 0x40;
    }
}

/// An attacker who corrects the checksum can make records say anything. Reading them is harmless
/// all the same.
#[test]
fn damage_with_a_right_checksum_is_harmless() {
    let good = full_bytes();
    let mut bytes = full_bytes();
    let end = HEADER_OFFSET + header(&mut bytes).hot_len as usize;
    let (mut accepted, mut refused) = (0, 0);
    for at in HEADER_OFFSET..bytes.len() {
        // Any bytes are valid in the pages of the image, which only the guest reads.
        if at >= end && (0x2008..0x5000).contains(&at) {
            continue;
        }
        for value in [
            0,
            1,
            0x7f,
            0x80,
            0xff,
            bytes[at].wrapping_add(1),
            bytes[at].wrapping_sub(1),
        ] {
            bytes[at] = value;
            if at < end {
                seal(&mut bytes);
            }
            match Artifact::parse(&bytes, Some(&HOST)) {
                Ok(artifact) => {
                    accepted += 1;
                    assert!(read_all(&artifact) < 1 << 20);
                }
                Err(_) => refused += 1,
            }
            bytes[at] = good[at];
        }
        header(&mut bytes).checksum =
            bytemuck::from_bytes::<Header>(&good[HEADER_OFFSET..][..size_of::<Header>()]).checksum;
    }
    assert!(
        accepted > 1000 && refused > 1000,
        "{accepted} accepted, {refused} refused"
    );
}

/// Header fields with extreme values: sections that overlap, overflow or are huge.
#[test]
fn extreme_fields_are_harmless() {
    let mut bytes = full_bytes();
    let good: Header = *header(&mut bytes);
    for field in (0..size_of::<Header>()).step_by(4) {
        for value in [0, 1, 7, 8, 0x7fff_ffff, 0x8000_0000, 0xffff_fff8, u32::MAX] {
            for width in [4, 8] {
                let place = &mut bytemuck::bytes_of_mut(header(&mut bytes))[field..];
                let extreme = u64::from(value) | u64::from(value) << 32;
                let width = width.min(place.len());
                place[..width].copy_from_slice(&extreme.to_le_bytes()[..width]);
                seal(&mut bytes);
                if let Ok(artifact) = Artifact::parse(&bytes, None) {
                    assert!(read_all(&artifact) < 1 << 20);
                }
                *header(&mut bytes) = good;
            }
        }
    }
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Header), host: Host, message: &str) {
    let mut bytes = full_bytes();
    change(header(&mut bytes));
    seal(&mut bytes);
    let error = Artifact::parse(&bytes, Some(&host)).expect_err(message);
    assert_eq!(error.to_string(), message);
}

#[test]
fn errors_about_versions_say_what_was_found_and_expected() {
    refused(
        |h| h.format = FORMAT + 1,
        HOST,
        &format!(
            "the artifact has format {}, this loader reads format {FORMAT}: compile it again",
            FORMAT + 1
        ),
    );
    refused(
        |h| h.abi = ABI + 1,
        HOST,
        &format!(
            "the artifact does not fit this host: it needs loader ABI {}, this loader has {ABI}: \
             compile it again with a precast of the same ABI",
            ABI + 1
        ),
    );
}

#[test]
fn all_mismatches_with_the_host_are_in_one_error() {
    let host = Host {
        cpu_features: 0b01,
        page_size: 16384,
        ..HOST
    };
    let mut bytes = full_bytes();
    header(&mut bytes).abi = ABI + 1;
    seal(&mut bytes);
    let error = Artifact::parse(&bytes, Some(&host)).expect_err("nothing fits");
    let Error::Mismatch(mismatches) = &error else {
        panic!("{error}")
    };
    assert!(
        matches!(
            &mismatches[..],
            [
                Mismatch::Abi { .. },
                Mismatch::CpuFeatures { missing },
                Mismatch::PageSize { found: 4096, expected: 16384 }
            ] if missing == "ssse3"
        ),
        "{error}"
    );
    let error = Artifact::parse(
        &bytes,
        Some(&Host {
            arch: Arch::Aarch64,
            ..HOST
        }),
    );
    assert!(
        error
            .expect_err("another architecture")
            .to_string()
            .contains("aarch64")
    );
}

#[test]
fn errors_about_other_files_name_their_kind() {
    for (bytes, name) in [
        (&b""[..], "an empty file"),
        (b"\0asm\x01\0\0\0", "a WebAssembly module"),
        (b"\0asm\x0d\0\x01\0", "a WebAssembly component"),
        (b"  (module)", "WebAssembly text"),
        (b"#!/bin/sh\n", "a file that starts with 23 21 2f 62"),
        (b"ab", "a file that starts with 61 62"),
        (
            &[&b"\x7fELF"[..], &[0; 2000]].concat(),
            "an ELF file that is no artifact; if it was made of one, by `precast exe` or \
             `--emit obj`, use the artifact",
        ),
    ] {
        let error = Artifact::parse(&Aligned::new(bytes), None).expect_err(name);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn exports_are_found_among_equal_hashes() {
    // `name_hash` of these is the same.
    let (a, b) = ("costarring", "liquid");
    assert_eq!(
        precast_artifact::name_hash(a),
        precast_artifact::name_hash(b)
    );
    let mut builder = crate::sample::full();
    builder.export(b, ExternKind::Func, 2);
    builder.export(a, ExternKind::Func, 1);
    let bytes = Aligned::new(&builder.finish().expect("small"));
    let artifact = Artifact::parse(&bytes, Some(&HOST)).expect("undamaged");
    assert_eq!(artifact.export(a).map(|e| e.index), Some(1));
    assert_eq!(artifact.export(b).map(|e| e.index), Some(2));
}
