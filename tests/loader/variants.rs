//! Files with variants for several CPUs: the best is opened in every way, and runs like an artifact
//! in a file of its own.

use precast_artifact::{Aligned, Artifact, writer};
use precast_loader::{Engine, Error, Instance, Linker, Module, Store, TrustedKeys};
use precast_signature::SecretKey;
use precast_tests::{ArtifactFile, artifact, strategies};

/// A module with an image that variants share, and code that tells them apart: the constant.
fn wat(number: u32) -> String {
    let large = "x".repeat(80_000);
    format!(
        r#"(module
            (memory (export "m") 3)
            (data (i32.const 100000) "{large}")
            (data (i32.const 0) "image")
            (data (i32.const 70000) "more")
            (func (export "f") (result i32) (i32.const {number}))
            (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0))))"#
    )
}

fn aligned(bytes: &[u8]) -> &'static [u8] {
    Aligned::new(bytes).leak()
}

/// Changes what a made artifact says it needs, and of which module it is, and seals it again.
fn needing(bytes: &[u8], cpu_features: u64) -> &'static [u8] {
    use precast_artifact::{HEADER_OFFSET, Header, digest, reader};
    use std::mem::offset_of;
    let mut bytes = bytes.to_vec();
    let mut set = |at: usize, with: &[u8]| {
        bytes[HEADER_OFFSET + at..][..with.len()].copy_from_slice(with);
        bytes.clone()
    };
    let hot = aligned(&set(
        offset_of!(Header, cpu_features),
        &cpu_features.to_le_bytes(),
    ));
    let hot_len = Artifact::hot_end(hot).unwrap();
    let all = set(offset_of!(Header, digest), &digest(hot));
    let sum = reader::checksum(&all[HEADER_OFFSET..hot_len]);
    aligned(&set(offset_of!(Header, checksum), &sum.to_le_bytes()))
}

fn join(files: &[&'static [u8]]) -> Vec<u8> {
    let views: Vec<_> = files
        .iter()
        .map(|bytes| (Artifact::parse(bytes, None).unwrap(), *bytes))
        .collect();
    writer::join(&views).unwrap()
}

/// The features that the artifact needs anyway, and those that no CPU has.
fn features(bytes: &[u8]) -> (u64, u64) {
    let needed = Artifact::parse(aligned(bytes), None)
        .unwrap()
        .header()
        .cpu_features;
    (needed, needed | 1 << 63)
}

fn values(engine: &Engine, module: &Module) -> [i32; 4] {
    let mut store = Store::new(engine, ());
    let linker: Linker<()> = Linker::new(engine);
    let instance: Instance = linker.instantiate(&mut store, module).unwrap();
    let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
    let load = instance
        .get_typed_func::<i32, i32>(&mut store, "load")
        .unwrap();
    let f = f.call(&mut store, ()).unwrap();
    [f, 0, 70000, 69999].map(|at| match at == f {
        true => f,
        false => load.call(&mut store, at).unwrap(),
    })
}

#[test]
fn the_variant_that_this_machine_can_run_is_opened() {
    let engine = Engine::default();
    let key = SecretKey::from_seed(&[1; 32]);
    let keys = TrustedKeys::new([key.public()]);
    for strategy in strategies() {
        let plain = artifact(&wat(7), strategy);
        let (possible, impossible) = features(&plain);
        let better = needing(&plain, impossible);
        let sign = |bytes: &'static [u8]| {
            let signed = key.sign_file(&Artifact::parse(bytes, None).unwrap());
            aligned(&signed.unwrap())
        };
        let own = needing(&plain, possible);
        // The variant for this machine comes second, so its image is a part of the first.
        let bytes = join(&[sign(own), sign(better)]);
        assert!(bytes.len() < own.len() + better.len() + 4 * 65536);
        let file = ArtifactFile::new(&bytes);
        let digest = Artifact::parse(own, None).unwrap().header().digest;
        // SAFETY: the artifacts are from our own compiler.
        let (sealed, copied) = unsafe {
            (
                Module::open_sealed(&engine, file.path()).unwrap(),
                Module::from_bytes(&engine, &bytes).unwrap(),
            )
        };
        let modules = [
            file.open(&engine),
            sealed,
            copied,
            Module::open_verified(&engine, file.path(), &digest).unwrap(),
            Module::from_bytes_verified(&engine, &bytes, &digest).unwrap(),
            Module::open_signed(&engine, file.path(), &keys).unwrap(),
            Module::from_bytes_signed(&engine, &bytes, &keys).unwrap(),
        ];
        for module in &modules {
            assert_eq!(*module.digest(), digest);
            let expected = [7, i32::from(b'i'), i32::from(b'm'), 0];
            assert_eq!(values(&engine, module), expected);
            assert_eq!(values(&engine, module), expected, "reused");
        }
    }
}

#[test]
fn a_missing_variant_is_an_error_that_names_those_that_are_there() {
    let engine = Engine::default();
    for strategy in strategies() {
        let plain = artifact(&wat(7), strategy);
        let file = join(&[needing(&plain, features(&plain).1)]);
        let file = ArtifactFile::new(&file);
        let open = |result: Result<Module, Error>| result.unwrap_err().to_string();
        // SAFETY: nothing runs.
        let error = open(unsafe { Module::open(&engine, file.path()) });
        assert!(error.contains("no variant for this host"), "{error}");
        assert!(error.contains("unknown feature 63"), "{error}");
        let error = open(Module::open_verified(&engine, file.path(), &[0; 32]));
        assert!(error.contains("no variant for this host"), "{error}");
    }
}

#[test]
fn a_variant_whose_digest_is_another_does_not_run() {
    let engine = Engine::default();
    for strategy in strategies() {
        let plain = artifact(&wat(7), strategy);
        let own = needing(&plain, features(&plain).0);
        let mut bytes = join(&[own, needing(&plain, features(&plain).1)]);
        let digest = Artifact::parse(own, None).unwrap().header().digest;
        let file = ArtifactFile::new(&bytes);
        drop(Module::open_verified(&engine, file.path(), &digest).unwrap());
        let error = Module::open_verified(&engine, file.path(), &[1; 32]).unwrap_err();
        assert!(matches!(error, Error::Artifact(_)), "{error}");
        // A bit of the code of the last variant, which is the one that runs here.
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let file = ArtifactFile::new(&bytes);
        let error = Module::open_verified(&engine, file.path(), &digest).unwrap_err();
        assert!(matches!(error, Error::Artifact(_)), "{error}");
    }
}

/// Whatever the records say, opening is an error or opens what they lead to, without harm.
#[test]
fn records_that_lie_do_no_harm() {
    let engine = Engine::default();
    for strategy in strategies() {
        let plain = artifact(&wat(7), strategy);
        let (possible, impossible) = features(&plain);
        let good = join(&[needing(&plain, possible), needing(&plain, impossible)]);
        for at in 0..16 + 2 * 72 {
            for change in [1, 0x10, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= change;
                let file = ArtifactFile::new(&bad);
                // SAFETY: the code is not run.
                drop(unsafe { Module::open(&engine, file.path()) });
                Module::open_verified(&engine, file.path(), &[0; 32]).unwrap_err();
            }
        }
    }
}
