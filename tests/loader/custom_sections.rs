//! Custom sections that an artifact keeps are found by their names, whatever the table says.

use precast_artifact::{Artifact, HEADER_OFFSET};
use precast_loader::{Engine, Module};
use precast_tests::handmade;

fn open(bytes: &[u8]) -> Module {
    // SAFETY: the code is never called.
    unsafe { Module::from_bytes(&Engine::default(), bytes) }.unwrap()
}

#[test]
fn sections_are_found_by_name() {
    let module = open(&handmade());
    let of = |name| module.custom_sections(name).collect::<Vec<_>>();
    assert_eq!(of("config"), [b"a=1", b"b=2"]);
    assert_eq!(of("other"), [b""]);
    assert!(of("conf").is_empty() && of("").is_empty());
}

#[test]
fn a_damaged_table_ends_early() {
    let good = handmade();
    let table = Artifact::parse(&good, None)
        .unwrap()
        .header()
        .custom_sections;
    let (start, len) = (HEADER_OFFSET + table.start as usize, table.len as usize);
    for at in start..start + len {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            let module = open(&bytes);
            let found = module.custom_sections("config");
            assert!(found.map(<[u8]>::len).sum::<usize>() <= len);
        }
    }
}
