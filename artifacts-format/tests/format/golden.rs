//! Artifacts of each format that was ever released. They must open forever, unless their ABI was
//! withdrawn because its code can leave the sandbox: those must be refused forever, with that
//! reason.
//!
//! `golden/FORMAT-ABI.precast` is what the builder made of `sample::full` when these numbers were
//! current. With `PRECAST_BLESS` set, the file of the current numbers is written anew. That is
//! right as long as these numbers are not released, or if only bytes changed that no reader reads.

use std::fs;
use std::path::PathBuf;

use precast_artifact::abi::LEAST_SAFE;
use precast_artifact::metadata::Metadata;
use precast_artifact::{
    ABI, Aligned, Artifact, FORMAT, HEADER_OFFSET, Header, TrapCode, addresses, traps,
};

use crate::sample::{HOST, full};

fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "format", "golden"]
        .iter()
        .collect()
}

#[test]
fn the_builder_writes_the_golden_bytes() {
    let path = directory().join(format!("{FORMAT}-{ABI}.precast"));
    let bytes = full().finish().expect("small");
    if std::env::var_os("PRECAST_BLESS").is_some() {
        fs::write(&path, &bytes).expect("writable");
    }
    let golden = fs::read(&path).unwrap_or_default();
    let first = golden.iter().zip(&bytes).position(|(a, b)| a != b);
    assert!(
        golden == bytes,
        "the builder writes {} bytes where {} has {}, and the first difference is at {first:#x?}: \
         see the top of this file",
        bytes.len(),
        path.display(),
        golden.len(),
    );
}

#[test]
fn golden_artifacts_open() {
    let (mut opened, mut refused) = (0, 0);
    for entry in fs::read_dir(directory()).expect("there are some") {
        let path = entry.expect("readable").path();
        let bytes = Aligned::new(&fs::read(&path).expect("readable"));
        // The test reads the number itself, because the reader refuses withdrawn artifacts.
        let at = HEADER_OFFSET + core::mem::offset_of!(Header, abi);
        let abi: u32 = bytemuck::pod_read_unaligned(&bytes[at..at + 4]);
        if abi < LEAST_SAFE {
            for host in [Some(&HOST), None] {
                let error = Artifact::parse(&bytes, host).expect_err("withdrawn");
                assert_eq!(
                    error.to_string(),
                    format!(
                        "the artifact does not fit this host: it was made for loader ABI {abi}, \
                         and code made for ABI 1 and 2 can leave the sandbox: compile it again \
                         with a precast of today"
                    )
                );
            }
            refused += 1;
            continue;
        }
        let a = Artifact::parse(&bytes, Some(&HOST)).unwrap_or_else(|error| {
            panic!("{}: {error}", path.display());
        });
        let h = a.header();
        a.verify_digest(None).expect("undamaged");
        assert_eq!(a.export("run").map(|e| e.index), Some(2));
        assert_eq!(a.imports().len(), 2);
        assert_eq!(a.function_name(1), Some(&b"run"[..]));
        assert_eq!(a.function_at(17).map(|f| f.0), Some(1));
        assert_eq!(
            traps::lookup(a.section(h.traps), 16),
            Some(TrapCode::UnreachableCodeReached)
        );
        let places = addresses::lookup(a.section(h.addresses), 1, 3);
        let places: Vec<_> = places.iter().map(|p| (p.function, p.wasm)).collect();
        assert_eq!(places, [(0, 101), (1, 110)]);
        assert_eq!(&a.section(h.image)[1..9], b"page TWO");
        let metadata = Metadata::decode(a.section(h.metadata)).expect("undamaged");
        assert_eq!(metadata.module_name.as_deref(), Some("sample"));
        opened += 1;
    }
    assert!(opened > 0 && refused > 0);
}
