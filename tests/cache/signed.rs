//! Caches that use only what trusted keys have signed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use precast_cache::{CompilationCache, Options};
use precast_compiler::Settings;
use precast_loader::{Engine, TrustedKeys};
use precast_signature::SecretKey;

use crate::scratch::Scratch;

const WAT: &str = r#"(module (func (export "f") (result i32) (i32.const 7)))"#;

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn trusting(number: u8) -> Options {
    Options::new().require_signatures(TrustedKeys::new([key(number).public()]))
}

/// How often the cache hit the disk, compiled, stored and refused an entry, after one request.
fn one(cache: &CompilationCache) -> [u64; 4] {
    let wasm = wat::parse_str(WAT).unwrap();
    let engine = Engine::default();
    drop(
        cache
            .get_or_compile(&engine, &wasm, &Settings::default())
            .unwrap(),
    );
    let stats = cache.stats();
    [
        stats.disk_hits,
        stats.compilations,
        stats.stores,
        stats.damaged,
    ]
}

#[test]
fn only_signed_entries_are_used() {
    let scratch = Scratch::new("signed");
    let open = |options: Options| options.open(scratch.path()).unwrap();
    // A cache that cannot sign leaves an entry without a signature as it is.
    assert_eq!(one(&open(Options::new())), [0, 1, 1, 0]);
    assert_eq!(one(&open(trusting(1))), [0, 1, 0, 1]);
    assert_eq!(one(&open(Options::new())), [1, 0, 0, 0]);
    // A cache that can sign replaces it.
    assert_eq!(one(&open(trusting(1).sign(key(1))))[1..3], [1, 1]);
    assert_eq!(one(&open(trusting(1))), [1, 0, 0, 0]);
    assert_eq!(
        one(&open(Options::new())),
        [1, 0, 0, 0],
        "others use it too"
    );
    assert_eq!(one(&open(trusting(2))), [0, 1, 0, 1], "another key");
}

#[test]
fn an_entry_that_was_changed_is_not_used() {
    let scratch = Scratch::new("signed-changed");
    let open = || trusting(1).sign(key(1)).open(scratch.path()).unwrap();
    assert_eq!(one(&open()), [0, 1, 1, 0]);
    let entry = open().entries().unwrap().remove(0).path;
    let bytes = fs::read(&entry).unwrap();
    // The last byte is one of the signature.
    for at in [600, 4100, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::set_permissions(&entry, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&entry, &changed).unwrap();
        let [hits, compiled, stored, _] = one(&open());
        assert_eq!([hits, compiled, stored], [0, 1, 1], "{at}");
        assert_eq!(one(&open()), [1, 0, 0, 0], "{at}");
    }
}

/// Otherwise each process would compile each module again, and replace the entry of the others.
#[test]
fn a_cache_must_trust_what_it_signs() {
    let scratch = Scratch::new("untrusted");
    let open = |options: Options| options.open(scratch.path()).map_err(|e| e.to_string());
    let error = open(trusting(1).sign(key(2))).unwrap_err();
    let expected = format!(
        "a cache that signs with key {} could not use what it stores: the key is not trusted; add",
        key(2).public().id()
    );
    assert!(error.starts_with(&expected), "{error}");
    let both = || TrustedKeys::new([key(1), key(2)].map(|key| key.public()));
    let two = both().require(2.try_into().unwrap());
    let error = open(Options::new().require_signatures(two).sign(key(2))).unwrap_err();
    assert!(error.contains("several keys are required"), "{error}");

    // A change of keys: trust both, then sign with the new one, then trust only the new one.
    let both = |number| Options::new().require_signatures(both()).sign(key(number));
    assert_eq!(one(&open(trusting(1).sign(key(1))).unwrap()), [0, 1, 1, 0]);
    assert_eq!(one(&open(both(1)).unwrap()), [1, 0, 0, 0]);
    assert_eq!(one(&open(both(2)).unwrap()), [1, 0, 0, 0]);
    assert_eq!(one(&open(trusting(2).sign(key(2))).unwrap())[1..3], [1, 1]);
    assert_eq!(one(&open(both(1)).unwrap()), [1, 0, 0, 0]);
}
