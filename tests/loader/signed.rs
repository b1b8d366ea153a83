//! Modules that run because a trusted key has signed them, and those that do not run.

use std::fs::File;
use std::os::unix::fs::FileExt;

use precast_artifact::{Aligned, Artifact};
use precast_loader::{Engine, Error, Linker, Module, SignatureError, Store, TrustedKeys};
use precast_signature::SecretKey;
use precast_tests::{ArtifactFile, artifact, strategies};

const WAT: &str = r#"(module
    (memory 1)
    (data (i32.const 0) "signed")
    (func (export "f") (result i32) (i32.load8_u (i32.const 0))))"#;

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn trusting(key: &SecretKey) -> TrustedKeys {
    TrustedKeys::new([key.public()])
}

fn parse(bytes: &[u8]) -> Artifact<'static> {
    Artifact::parse(Aligned::new(bytes).leak(), None).unwrap()
}

fn f(engine: &Engine, module: &Module) -> i32 {
    let mut store = Store::new(engine, ());
    let linker = Linker::<()>::new(engine);
    let instance = linker.instantiate(&mut store, module).unwrap();
    let f = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
    f.call(&mut store, ()).unwrap()
}

#[test]
fn a_signed_module_runs_however_it_is_opened() {
    let engine = Engine::default();
    let key = key(1);
    let keys = trusting(&key);
    for strategy in strategies() {
        let plain = artifact(WAT, strategy);
        let signed = key.sign_file(&parse(&plain)).unwrap();
        let digest = parse(&plain).header().digest;
        let file = ArtifactFile::new(&signed);
        let by_key = Module::open_signed(&engine, file.path(), &keys).unwrap();
        assert_eq!(by_key.signers(), [key.public().id()]);
        let bytes = Module::from_bytes_signed(&engine, &signed, &keys).unwrap();
        assert_eq!(bytes.signers(), [key.public().id()]);
        let verified = Module::open_verified(&engine, file.path(), &digest).unwrap();
        // SAFETY: the artifact is from our own compiler.
        let sealed = unsafe { Module::open_sealed(&engine, file.path()) }.unwrap();
        let mapped = file.open(&engine);
        for module in [&verified, &sealed, &mapped] {
            assert!(module.signers().is_empty());
        }
        assert_eq!(mapped.serialize().unwrap(), signed, "with the signatures");
        for module in [by_key, bytes, verified, sealed, mapped] {
            assert_eq!(*module.digest(), digest);
            assert_eq!(f(&engine, &module), i32::from(b's'));
        }
    }
}

#[test]
fn nothing_else_runs() {
    let engine = Engine::default();
    let (own, other) = (key(1), key(2));
    for strategy in strategies() {
        let plain = artifact(WAT, strategy);
        let signed = own.sign_file(&parse(&plain)).unwrap();
        let open = |bytes: &[u8], key| {
            let file = ArtifactFile::new(bytes);
            let from_file = Module::open_signed(&engine, file.path(), &trusting(key));
            let from_bytes = Module::from_bytes_signed(&engine, bytes, &trusting(key));
            let (a, b) = (from_file.unwrap_err(), from_bytes.unwrap_err());
            assert_eq!(a.to_string(), b.to_string());
            a
        };
        let refused = |error: Error, expected: fn(&SignatureError) -> bool| match error {
            Error::Signature(error) => assert!(expected(&error), "{error}"),
            error => panic!("expected an error about signatures, found {error}"),
        };
        refused(open(&plain, &own), |e| *e == SignatureError::NotSigned);
        let not_trusted = |e: &SignatureError| matches!(e, SignatureError::NotTrusted { .. });
        refused(open(&signed, &other), not_trusted);
        let mut damaged = signed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        refused(open(&damaged, &own), not_trusted);
        // Code that was changed, with the digest and the checksum made right again.
        let mut changed = plain.clone();
        let text = 512 + parse(&plain).header().text.start as usize;
        changed[text] ^= 1;
        refused(
            open(&[&changed[..], &signed[plain.len()..]].concat(), &own),
            |e| matches!(e, SignatureError::Artifact(_)),
        );
        let digest = precast_artifact::digest(&changed);
        changed[512 + 24..512 + 56].copy_from_slice(&digest);
        let hot = parse(&plain).header().hot_len as usize;
        let checksum = precast_artifact::reader::checksum(&changed[512..512 + hot]);
        changed[512 + 16..512 + 20].copy_from_slice(&checksum.to_le_bytes());
        parse(&changed).verify_digest(None).unwrap();
        let all = [&changed[..], &signed[plain.len()..]].concat();
        refused(open(&all, &own), not_trusted);
        // Truncated in the signature, and in the artifact.
        for len in [signed.len() - 1, plain.len() + 1, plain.len() - 1] {
            let error = open(&signed[..len], &own);
            assert!(matches!(error, Error::Artifact(_)), "{len}: {error}");
        }
    }
}

#[test]
fn a_file_that_changes_after_the_check_changes_nothing() {
    let engine = Engine::default();
    let key = key(1);
    for strategy in strategies() {
        let signed = key.sign_file(&parse(&artifact(WAT, strategy))).unwrap();
        let file = ArtifactFile::new(&signed);
        let module = Module::open_signed(&engine, file.path(), &trusting(&key)).unwrap();
        let writer = File::options().write(true).open(file.path()).unwrap();
        writer.write_all_at(&vec![0xcc; signed.len()], 0).unwrap();
        assert_eq!(f(&engine, &module), i32::from(b's'));
        writer.set_len(0).unwrap();
        let other = Engine::default();
        assert_eq!(f(&other, &module.with_engine(&other)), i32::from(b's'));
    }
}

/// No digest covers the bytes of signatures, so none of them may be where code can run.
#[test]
fn signatures_are_never_executable() {
    let key = key(1);
    for strategy in strategies() {
        let plain = artifact(WAT, strategy);
        let file = ArtifactFile::new(&key.sign_file(&parse(&plain)).unwrap());
        let engine = Engine::default();
        let mapped = file.open(&engine);
        let sealed = Module::open_signed(&engine, file.path(), &trusting(&key)).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut seen = 0;
        // Other tests have mapped artifacts of their own.
        let path = file.path().canonicalize().unwrap();
        let name = path.to_str().unwrap();
        let is_ours = |line: &&str| line.contains(" r-xp ") && line.ends_with(name);
        for line in maps.lines().filter(is_ours) {
            let mut fields = line.split_whitespace();
            let range = fields.next().unwrap().split_once('-').unwrap();
            let number = |hex| u64::from_str_radix(hex, 16).unwrap();
            let offset = number(fields.nth(1).unwrap());
            let end = offset + number(range.1) - number(range.0);
            seen += 1;
            assert!(end <= (plain.len() as u64).next_multiple_of(4096), "{line}");
        }
        // Under emulation, the list is of another process's mappings.
        assert!(seen > 0 || cfg!(target_arch = "aarch64"));
        drop((mapped, sealed));
    }
}
